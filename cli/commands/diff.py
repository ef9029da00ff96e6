"""``tvcs diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from tensorvcs.errors import ObjectNotFoundError, UnrelatedHistoriesError

from ..arguments import prints
from ..documents import change_document, diff_document, histogram_document, key_document
from ..samples import change_lines
from ..text import (
    SHOWN_KEYS,
    changed_keys,
    column_head_lines,
    diff_lines,
    histogram_text,
    key_text,
    rest_lines,
    stat_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import ChangeSizes, ColumnDiff, Diff, Repository

    from ..context import Caller
    from ..output import Output

    Order = Literal["key", "size"]

SHOWN_SAMPLES = 4
# What --stat measures of a column without --all: bounded, whatever changed.
_MEASURED_SAMPLES = 10_000
_MEASURED_NBYTES = 256 << 20


@click.command("diff")
@click.argument("revisions", metavar="[A [B]]", nargs=-1)
@click.option("--column", "-c", "columns", metavar="NAME", multiple=True, help="Only this column.")
@click.option("--stat", is_flag=True, help="Only the counts of each column, and their sizes.")
@click.option("--names", is_flag=True, help="A line for each sample: sign, column, key, by tabs.")
@click.option("--show", is_flag=True, help="The samples before and after, and where they differ.")
@click.option(
    "--sort",
    type=click.Choice(["key", "size"]),
    help="List samples by key, or the largest change first.",
)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"At most N samples of a column: {SHOWN_KEYS} when omitted, {SHOWN_SAMPLES} with --show.",
)
@click.option("--all", "is_all", is_flag=True, help="All samples; with --stat, measure all.")
@prints
def command(
    caller: Caller,
    out: Output,
    revisions: tuple[str, ...],
    columns: tuple[str, ...],
    stat: bool,
    names: bool,
    show: bool,
    sort: str | None,
    limit: int | None,
    is_all: bool,
) -> None:
    """Show what differs between two versions.

    Without revisions, what is staged; with A, what is staged beyond A; with A and B, from A to B.
    A..B is the same as A B, and A...B starts where B has left A.

    Samples are marked + added, - deleted, ~ modified. The size of a change is l2, the root of the
    summed squares; max and mean, of the absolute differences; and how much of the sample changed.
    With --stat a bar stands for each power of ten of l2, or for texts each tenth that changed.
    With --show pictures stand side by side: before, after, and where they differ.

    \b
    Examples:
      tvcs diff
      tvcs diff main~3 --stat
      tvcs diff v1 v2 --column labels --all
      tvcs diff v1 v2 --show --sort size --limit 3
      tvcs diff main...experiment --names
    """
    if len(revisions) > 2:
        raise click.UsageError(f"a diff has at most two revisions, not {len(revisions)}")
    forms = {"--stat": stat, "--names": names, "--show": show}
    chosen = [name for name, is_on in forms.items() if is_on]
    if len(chosen) > 1:
        raise click.UsageError(f"{chosen[0]} and {chosen[1]} exclude each other")
    if is_all and limit is not None:
        raise click.UsageError("--all and --limit exclude each other")
    if stat and (sort is not None or limit is not None):
        raise click.UsageError("--stat lists no samples: --sort and --limit do not go with it")
    by_size = sort == "size"
    with caller.repository() as repo:
        difference = _between(repo, revisions, list(columns) or None)
        if out.is_json:
            difference.stat()  # What is not here is an error of who asks for it.
        if stat:
            _print_stat(out, difference, is_all=is_all)
        elif show:
            most = _limit(limit, SHOWN_SAMPLES, is_all=is_all)
            _print_samples(out, difference, "size" if by_size else "key", most)
        elif out.is_json:
            out.document(_keys_document(difference, limit, by_size=by_size))
        elif names:
            out.lines(_name_lines(difference, limit, by_size=by_size))
        else:
            most = _limit(limit, SHOWN_KEYS, is_all=is_all)
            out.lines(diff_lines(out, difference, most, by_size=by_size))


def _limit(limit: int | None, usual: int, *, is_all: bool) -> int | None:
    return None if is_all else usual if limit is None else limit


def _print_stat(out: Output, difference: Diff, *, is_all: bool) -> None:
    measured = {
        name: sizes
        for name, column in difference.columns.items()
        if (sizes := _sizes(column, is_all=is_all)) is not None
    }
    if out.is_json:
        document = diff_document(difference, has_keys=False)
        for name, sizes in measured.items():
            document["columns"][name]["sizes"] = histogram_document(sizes.histogram(), sizes)
        out.document(document)
        return
    texts = {
        name: histogram_text(difference.columns[name], sizes) for name, sizes in measured.items()
    }
    out.lines(stat_lines(out, difference, texts))


def _sizes(column: ColumnDiff, *, is_all: bool) -> ChangeSizes | None:
    """Measure the changes of a column, the first of very many; None when there is nothing."""
    if not column.modified:
        return None
    try:
        if is_all:
            return column.sizes()
        return column.sizes(_MEASURED_SAMPLES, limit_nbytes=_MEASURED_NBYTES)
    except ObjectNotFoundError:
        # The counts need no values, so they are shown where the values are not here.
        return None


def _print_samples(out: Output, difference: Diff, order: Order, limit: int | None) -> None:
    if out.is_json:
        document = diff_document(difference, has_keys=False)
        for name, column in difference.columns.items():
            changes = column.changes(order, limit)
            document["columns"][name]["changes"] = [change_document(one) for one in changes]
        out.document(document)
        return
    out.lines(_sample_lines(out, difference, order, limit))


def _sample_lines(out: Output, difference: Diff, order: Order, limit: int | None) -> Iterator[str]:
    for column in difference.columns.values():
        yield from column_head_lines(out, column)
        shown = 0
        for change in column.changes(order, limit):
            yield from change_lines(out, change)
            shown += 1
        yield from rest_lines(column, shown)


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


def _name_lines(difference: Diff, limit: int | None, *, by_size: bool) -> Iterator[str]:
    for name, column in difference.columns.items():
        if column.renamed_from is not None:
            yield f"R\t{name}\t{column.renamed_from}"
        for sign, key, _ in changed_keys(column, limit, by_size=by_size):
            yield f"{sign}\t{name}\t{key_text(key)}"


def _keys_document(difference: Diff, limit: int | None, *, by_size: bool) -> dict[str, Any]:
    """Return the counts and the keys; of each column the first ones when there is a limit."""
    document = diff_document(difference, has_keys=True)
    if limit is None and not by_size:
        return document
    for name, column in difference.columns.items():
        found: dict[str, list[Any]] = {"+": [], "-": [], "~": []}
        for sign, key, _ in changed_keys(column, limit, by_size=by_size):
            found[sign].append(key_document(key))
        document["columns"][name] |= {
            "added_keys": found["+"],
            "deleted_keys": found["-"],
            "modified_keys": found["~"],
        }
    return document
