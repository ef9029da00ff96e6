"""``tvcs verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tensorvcs.errors import CorruptionError, with_hint

from ..arguments import prints
from ..text import count_text, printable

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("verify")
@click.argument("revision", metavar="[REV]", required=False)
@prints
def command(caller: Caller, out: Output, revision: str | None) -> None:
    """Check every digest, link and checksum.

    Only what REV reaches; everything when omitted. Nothing is changed. The exit code is 1 when
    something is damaged.

    \b
    Examples:
      tvcs verify
      tvcs verify v1
    """
    with caller.repository() as repo:
        with out.progress("Verifying") as progress:
            report = repo.verify(revision, progress=progress)
        document = {
            "is_sound": report.is_sound,
            "commit_count": report.commit_count,
            "node_count": report.node_count,
            "value_count": report.value_count,
            "problems": [_problem_document(where, error) for where, error in report.problems],
        }
        checked = (
            f"{count_text(report.commit_count, 'commit')}, "
            f"{count_text(report.node_count, 'node')}, {count_text(report.value_count, 'value')}"
        )
        lines = [f"{printable(where)}: {error}" for where, error in report.problems]
        if report.is_sound:
            lines.append(f"Sound: {checked}")
        out.show(document, lines)
        if not report.is_sound:
            problems = count_text(len(report.problems), "problem")
            raise with_hint(
                CorruptionError(f"{problems} in {checked}"),
                "keep a copy of the repository as it is, and restore what is named from another",
            )


def _problem_document(where: str, error: Exception) -> dict[str, Any]:
    return {"where": where, "kind": type(error).__name__, "problem": str(error)}
