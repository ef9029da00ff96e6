"""``tvcs diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tensorvcs.errors import UnrelatedHistoriesError

from ..arguments import prints
from ..documents import diff_document
from ..text import SHOWN_KEYS, changed_keys, diff_lines, key_text, stat_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Diff, Repository

    from ..context import Caller
    from ..output import Output


@click.command("diff")
@click.argument("revisions", metavar="[A [B]]", nargs=-1)
@click.option("--column", "-c", "columns", metavar="NAME", multiple=True, help="Only this column.")
@click.option("--stat", is_flag=True, help="Only the counts of each column.")
@click.option("--names", is_flag=True, help="A line for each sample: sign, column, key, by tabs.")
@click.option("--all", "is_all", is_flag=True, help=f"More than {SHOWN_KEYS} keys of a column.")
@prints
def command(
    caller: Caller,
    out: Output,
    revisions: tuple[str, ...],
    columns: tuple[str, ...],
    stat: bool,
    names: bool,
    is_all: bool,
) -> None:
    """Show what differs between two versions.

    Without revisions, what is staged; with A, what is staged beyond A; with A and B, from A to B.
    A..B is the same as A B, and A...B starts where B has left A.

    Samples are marked + added, - deleted, ~ modified.

    \b
    Examples:
      tvcs diff
      tvcs diff main~3 --stat
      tvcs diff v1 v2 --column labels --all
      tvcs diff main...experiment --names
    """
    if len(revisions) > 2:
        raise click.UsageError(f"a diff has at most two revisions, not {len(revisions)}")
    if stat and names:
        raise click.UsageError("--stat and --names exclude each other")
    with caller.repository() as repo:
        difference = _between(repo, revisions, list(columns) or None)
        if out.is_json:
            out.document(diff_document(difference, has_keys=not stat))
        elif stat:
            out.lines(stat_lines(out, difference))
        elif names:
            out.lines(_name_lines(difference))
        else:
            out.lines(diff_lines(out, difference, None if is_all else SHOWN_KEYS))


def _between(repo: Repository, revisions: tuple[str, ...], columns: list[str] | None) -> Diff:
    if len(revisions) == 1 and "..." in revisions[0]:
        before, _, after = revisions[0].partition("...")
        a, b = repo.resolve(before or "HEAD"), repo.resolve(after or "HEAD")
        common = repo.merge_base(a, b)
        if common is None:
            raise UnrelatedHistoriesError(f"{before!r} and {after!r} have no commit in common")
        return repo.diff(common, b, columns=columns)
    if len(revisions) == 1 and ".." in revisions[0]:
        before, _, after = revisions[0].partition("..")
        return repo.diff(before or "HEAD", after or "HEAD", columns=columns)
    if len(revisions) == 2:
        return repo.diff(revisions[0], revisions[1], columns=columns)
    return repo.staged(revisions[0] if revisions else None, columns=columns)


def _name_lines(difference: Diff) -> Iterator[str]:
    for name, column in difference.columns.items():
        for sign, key in changed_keys(column, None):
            yield f"{sign}\t{name}\t{key_text(key)}"
