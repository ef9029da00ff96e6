"""``tvcs recover``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import CorruptionError, with_hint

from ..arguments import prints
from ..text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import RecoveryReport

    from ..context import Caller
    from ..output import Output


@click.command("recover")
@click.option("--dry-run", "-n", is_flag=True, help="Only tell what would be recovered.")
@prints
def command(caller: Caller, out: Output, dry_run: bool) -> None:
    """Make a new database of all that is left in a damaged one.

    For a repository that cannot be opened or read, because the file .tensorvcs/lmdb/data.mdb was
    cut or has bad blocks. Commits, trees and small values are in it, with the branches and the
    operation log; samples in packs are not, and stay as they are. Every page of the file is looked
    at, also those that are not in use any more, and what is found proves itself by its digest.

    Branches and tags are taken from the database where it can be read; else from the operation log;
    else from what stands on old pages. Each is listed with its witness. A branch whose commit is
    lost stays where it was, and recovered/BRANCH is made at the last commit that is whole. What is
    missing is listed by branch and sample, and the exit code is 1 then: 'tvcs verify --repair-from'
    brings it back from a remote that has it.

    The new file takes the place of the old one in one step. The old one is kept in the folder
    lmdb-damaged-1 beside it, to be removed by hand. A database that is sound is left as it is.

    \b
    Examples:
      tvcs recover --dry-run
      tvcs recover
      tvcs recover --json
    """
    with out.progress("Recovering") as progress:
        report = caller.recover(dry_run=dry_run, progress=progress)
    out.show(_document(report), _lines(report))
    if not report.is_complete:
        raise with_hint(
            CorruptionError("not all of the repository could be recovered"),
            "bring back what is named from another repository: tvcs verify --repair-from REMOTE",
        )


def _lines(report: RecoveryReport) -> Iterator[str]:
    if not report.damage:
        yield "Sound: nothing to recover"
        return
    yield f"Damaged: {printable(report.damage)}"
    yield (
        f"{'Would recover' if report.is_dry_run else 'Recovered'} "
        f"{count_text(report.object_count, 'object')}, "
        f"{count_text(report.loose_count, 'loose value')}, "
        f"{count_text(report.pack_count, 'pack')}, "
        f"{count_text(report.operation_count, 'operation')} "
        f"from {count_text(report.page_count, 'page')}"
    )
    for decision in report.refs:
        yield f"  {printable(str(decision))}"
    for names, what in (
        (report.rebuilt_packs, "had lost its record and is whole"),
        (report.rewritten_packs, "had lost its record and is damaged: written anew"),
        (report.unreadable_packs, "cannot be read"),
    ):
        for name in names:
            yield f"  pack {name} {what}"
    missing = report.missing
    yield from (f"{printable(where)}: {printable(str(error))}" for where, error in missing.problems)
    if missing.problem_count > len(missing.problems):
        yield f"and {count_text(missing.problem_count - len(missing.problems), 'other problem')}"
    if missing.touched:
        yield "Samples that cannot be read:"
        yield from (f"  {printable(str(samples))}" for samples in missing.touched)
    if report.kept_as:
        yield f"The damaged file is kept in {report.kept_as}"


def _document(report: RecoveryReport) -> dict[str, Any]:
    return {
        "damage": report.damage or None,
        "is_dry_run": report.is_dry_run,
        "is_complete": report.is_complete,
        "page_count": report.page_count,
        "object_count": report.object_count,
        "loose_count": report.loose_count,
        "pack_count": report.pack_count,
        "rebuilt_packs": report.rebuilt_packs,
        "rewritten_packs": report.rewritten_packs,
        "unreadable_packs": report.unreadable_packs,
        "operation_count": report.operation_count,
        "refs": [
            {
                "name": decision.name,
                "value": (
                    None
                    if decision.value is None
                    else decision.value.decode(errors="backslashreplace")
                ),
                "witness": decision.witness,
                "problem": decision.problem or None,
            }
            for decision in report.refs
        ],
        "problems": [
            {"where": where, "kind": type(error).__name__, "problem": str(error)}
            for where, error in report.missing.problems
        ],
        "problem_count": report.missing.problem_count,
        "kept_as": report.kept_as or None,
    }
