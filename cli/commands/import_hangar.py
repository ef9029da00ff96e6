"""``tvcs import-hangar``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tensorvcs.display.counting import count_text
from tensorvcs.formats.hangar import import_hangar

from ..arguments import prints
from ..text import key_text, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs.formats.hangar import HangarImport

    from ..context import Caller
    from ..output import Output

SHOWN_MISSING = 20


@click.command("import-hangar")
@click.argument("path", type=click.Path())
@click.option(
    "--python",
    metavar="EXE",
    type=click.Path(),
    help="A Python that has the package hangar; the one that runs this command if omitted.",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Leave out samples whose data Hangar lacks, and list them.",
)
@prints
def command(
    caller: Caller, out: Output, path: str, python: str | None, allow_missing: bool
) -> None:
    """Bring the history of a Hangar repository over.

    PATH is the folder with .hangar in it, which is only read. All its branches become branches
    here, with all their commits: parents, author, time, message, and every column value by
    value. Each commit keeps Hangar's name of it as the metadata 'hangar-commit'. Run it again to
    bring what was committed since; 'tvcs undo' takes the branches back.

    It needs the package hangar: pip install 'tensorvcs[hangar]', or --python with an environment
    of its own.

    \b
    Examples:
      tvcs import-hangar ../old-dataset
      tvcs import-hangar ../old-dataset --allow-missing
    """
    with caller.repository() as repo:
        with out.progress("Importing") as progress:
            report = import_hangar(
                repo, path, python=python, allow_missing=allow_missing, progress=progress
            )
        document = {
            "commits": report.commits,
            "samples": report.samples,
            "skipped": report.skipped,
            "branches": {name: commit.id for name, commit in report.branches.items()},
            "head": repo.head,
            "missing": [
                {
                    "commit": missing.commit,
                    "column": missing.column,
                    "key": missing.key,
                    "reason": missing.reason,
                }
                for missing in report.missing
            ],
            "notes": list(report.notes),
        }
        out.show(document, _lines(report, repo.head))


def _lines(report: HangarImport, head: str) -> Iterator[str]:
    if report.commits:
        samples = count_text(report.samples, "sample")
        yield f"Imported {count_text(report.commits, 'commit')} with {samples} added or changed"
        names = ", ".join(printable(name) for name in report.branches)
        yield f"{count_text(len(report.branches), 'branch', 'branches')}: {names}"
    else:
        yield "There is nothing new to import"
    if report.skipped:
        were = "was" if report.skipped == 1 else "were"
        yield f"{count_text(report.skipped, 'commit')} {were} here already"
    for note in report.notes:
        yield f"Note: {printable(note)}"
    if report.missing:
        yield f"Left out {count_text(len(report.missing), 'sample')} without data:"
        for missing in report.missing[:SHOWN_MISSING]:
            where = f"{printable(missing.column)} {key_text(missing.key)}"
            yield f"  {missing.commit[:14]} {where}: {printable(missing.reason)}"
        if len(report.missing) > SHOWN_MISSING:
            yield f"  … and {len(report.missing) - SHOWN_MISSING:,} more; --json lists them"
    if report.commits:
        yield ""
        yield f"You are on branch {printable(head)}; 'tvcs log --graph' shows its history."
