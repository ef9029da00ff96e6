"""``tvcs verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import CorruptionError, with_hint

from ..arguments import prints
from ..documents import key_document
from ..text import printable

if TYPE_CHECKING:
    from tensorvcs import Repair, TouchedSamples, VerifyReport

    from ..context import Caller
    from ..output import Output


@click.command("verify")
@click.argument("revision", metavar="[REV]", required=False)
@click.option(
    "--repair",
    is_flag=True,
    help="Mend what needs no other repository: the format file and its copy, each from the other.",
)
@click.option(
    "--repair-from",
    metavar="REMOTE",
    help="Bring back what is damaged from a remote: its name, a URL or a path.",
)
@prints
def command(
    caller: Caller, out: Output, revision: str | None, repair: bool, repair_from: str | None
) -> None:
    """Check every digest, link and checksum.

    Only what REV reaches; everything when omitted. Nothing is changed without --repair or
    --repair-from. What is damaged is listed with the branches, columns and samples that it
    touches, and the exit code is 1.

    With --repair, a format file that is damaged or missing is written anew from its copy, or the
    copy from it. What an older version made without them gets a checksum and a copy.

    With --repair-from, which does that as well, damaged and lost values, commits and trees are
    first brought back from another repository that has them, each checked against its digest. A
    damaged pack is written anew; the old file stays under the name damaged-<file>, to be removed
    by hand. What cannot be had is listed, and the exit code is 1.

    \b
    Examples:
      tvcs verify
      tvcs verify v1
      tvcs verify --repair
      tvcs verify --repair-from origin
    """
    if revision is not None and (repair or repair_from is not None):
        option = "--repair" if repair_from is None else "--repair-from"
        raise click.UsageError(f"{option} mends the whole repository and takes no REV")
    with caller.repository() as repo:
        with out.progress("Verifying") as progress:
            report = repo.verify(
                revision, repair=repair, repair_from=repair_from, progress=progress
            )
        checked = (
            f"{count_text(report.commit_count, 'commit')}, "
            f"{count_text(report.node_count, 'node')}, {count_text(report.value_count, 'value')}"
        )
        out.show(_document(report), _lines(report, checked))
        if not report.is_sound:
            problems = count_text(report.problem_count, "problem")
            raise with_hint(CorruptionError(f"{problems} in {checked}"), _hint(report))


def _hint(report: VerifyReport) -> str:
    hints = {error.hint for _, error in report.problems}
    if len(hints) == 1 and report.repair is None and CorruptionError.hint not in hints:
        return str(hints.pop())
    if report.repair is None or not report.repair.source:
        return (
            "keep a copy of the repository as it is, and bring back what is named from another: "
            "tvcs verify --repair-from REMOTE"
        )
    return "what is named could not be had from there; another repository may have it"


def _lines(report: VerifyReport, checked: str) -> list[str]:
    lines = [] if report.repair is None else [_repair_line(report.repair)]
    lines += [f"{printable(where)}: {printable(str(error))}" for where, error in report.problems]
    unlisted = report.problem_count - len(report.problems)
    if unlisted:
        lines.append(f"and {count_text(unlisted, 'other problem')}")
    if report.touched:
        lines += ["", "Samples that cannot be read:"]
        lines += [f"  {printable(str(samples))}" for samples in report.touched]
    if report.is_sound:
        absent = ""
        if report.absent_count:
            absent = f"; {report.absent_count:,} are not in this partial clone"
        lines.append(f"Sound: {checked}{absent}")
    return lines


def _repair_line(repair: Repair) -> str:
    files = f"written anew from their copies: {', '.join(repair.files)}" if repair.files else ""
    if not repair.source:
        return f"Mended here: {files or 'nothing'}"
    mended = f"{count_text(repair.value_count, 'value')}, "
    mended += count_text(repair.object_count, "object")
    packs = f"; {count_text(len(repair.packs), 'pack')} written anew" if repair.packs else ""
    return f"Mended from {printable(repair.source)}: {mended}{packs}{'; ' * bool(files)}{files}"


def _document(report: VerifyReport) -> dict[str, Any]:
    document: dict[str, Any] = {
        "is_sound": report.is_sound,
        "commit_count": report.commit_count,
        "node_count": report.node_count,
        "value_count": report.value_count,
        "absent_count": report.absent_count,
        "problem_count": report.problem_count,
        "problems": [_problem_document(where, error) for where, error in report.problems],
        "touched": [_touched_document(samples) for samples in report.touched],
    }
    if report.repair is not None:
        document["repair"] = {
            "source": report.repair.source,
            "packs": report.repair.packs,
            "value_count": report.repair.value_count,
            "object_count": report.repair.object_count,
            "files": report.repair.files,
        }
    return document


def _problem_document(where: str, error: Exception) -> dict[str, Any]:
    return {"where": where, "kind": type(error).__name__, "problem": str(error)}


def _touched_document(samples: TouchedSamples) -> dict[str, Any]:
    return {
        "version": samples.version,
        "column": samples.column,
        "sample_count": samples.sample_count,
        "keys": [key_document(key) for key in samples.keys],
    }
