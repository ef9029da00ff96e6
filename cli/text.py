"""How keys, commits, differences and sizes look to a person."""

from __future__ import annotations

import heapq
import json
import re
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from tensorvcs.display.counting import count_text
from tensorvcs.errors import ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tensorvcs import ChangeSize, ChangeSizes, ColumnDiff, Commit, Diff, Repository, Schema

    from .output import Output

SHOWN_KEYS = 20
_UNITS = ("kB", "MB", "GB", "TB", "PB")
_SIGNS = {"+": "green", "-": "red", "~": "yellow"}


def printable(text: str) -> str:
    """Return text without control characters, which could move the cursor of a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def key_text(key: Any) -> str:
    """Return a sample key as it is typed; a text that looks like a number is in quotes."""
    if isinstance(key, tuple):
        sample, subsample = key
        return f"{key_text(sample)}[{key_text(subsample)}]"
    if isinstance(key, str):
        is_plain = key.isprintable() and key == key.strip() and not re.fullmatch(r"-?\d+", key)
        return key if is_plain else printable(json.dumps(key, ensure_ascii=False))
    return str(key)


def size_text(nbytes: int) -> str:
    """Return a number of bytes in a unit of a thousand, such as ``1.4 MB``."""
    if nbytes < 1000:
        return count_text(nbytes, "byte")
    size = float(nbytes)
    for unit in _UNITS:
        size /= 1000
        if size < 999.5 or unit == _UNITS[-1]:
            break
    return f"{size:.3g} {unit}" if size < 99.5 else f"{size:,.0f} {unit}"


def schema_change_text(change: tuple[Schema | None, Schema | None]) -> str:
    """Return what became of a column's schema."""
    before, after = change
    if before is None:
        return f"new column, {after.spelling}" if after else ""
    if after is None:
        return "column deleted"
    wishes = [
        f"{what} {old or 'fail'} to {new or 'fail'}"
        for what, old, new in (
            ("codec", before.codec, after.codec),
            ("merge policy", before.merge, after.merge),
        )
        if old != new
    ]
    if before.spelling != after.spelling:
        wishes = [f"schema {before.spelling} to {after.spelling}"]
    return ", ".join(wishes)


def stat_lines(
    out: Output, difference: Diff, histograms: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield a line for each column that differs, and their sum.

    `histograms` has by column what stands behind its counts.
    """
    columns = difference.columns
    stats = {name: counts for name in columns if (counts := counts_of(columns[name])) is not None}
    names = {name: _column_text(name, column.renamed_from) for name, column in columns.items()}
    width = max(map(len, names.values()), default=0)
    cells = {
        name: [f"{sign}{count:,}" for sign, count in zip("+-~", counts, strict=True)]
        for name, counts in stats.items()
    }
    widths = [max(len(row[at]) for row in cells.values()) for at in range(3)] if cells else []
    for name in columns:
        shown = "not here"
        if name in cells:
            shown = " ".join(
                out.style(f"{cell:>{wide}}", _SIGNS[cell[0]] if cell[1:] != "0" else None)
                for cell, wide in zip(cells[name], widths, strict=True)
            )
        change = columns[name].schema
        more = [schema_change_text(change)] if change else []
        more += [histograms[name]] if histograms and name in histograms else []
        yield "  ".join([f" {names[name]:{width}} | {shown}", *more])
    if columns:
        added, deleted, modified = (sum(row[at] for row in stats.values()) for at in range(3))
        absent = len(columns) - len(stats)
        rest = f", not counting {count_text(absent, 'column')}" if absent else ""
        yield (
            f" {count_text(len(columns), 'column')} changed: {count_text(added, 'sample')} "
            f"added, {deleted:,} deleted, {modified:,} modified{rest}"
        )


def counts_of(column: ColumnDiff) -> tuple[int, int, int] | None:
    """Return how many samples were added, deleted and modified.

    None where a partial clone has not got the keys: what a command has done is told all the same.
    """
    try:
        stat = column.stat()
    except ObjectNotFoundError:
        return None
    return stat.added, stat.deleted, stat.modified


def _column_text(name: str, renamed_from: str | None) -> str:
    return name if renamed_from is None else f"{renamed_from} => {name}"


def histogram_text(column: ColumnDiff, sizes: ChangeSizes) -> str:
    """Return how large the measured changes of a column are: a bar for each size."""
    total = len(column.modified)
    part = f" (of the first {len(sizes):,} of {total:,})" if len(sizes) < total else ""
    return f"{sizes.histogram()}{part}"


def column_head_lines(out: Output, column: ColumnDiff) -> Iterator[str]:
    """Yield the name and counts of a column, and what became of its name and schema."""
    stat = column.stat()
    head = f"{column.name}: +{stat.added:,} -{stat.deleted:,} ~{stat.modified:,}"
    yield out.style(head, bold=True)
    if column.renamed_from is not None:
        yield f"  (renamed from {column.renamed_from})"
    if column.schema:
        yield f"  ({schema_change_text(column.schema)})"


def rest_lines(column: ColumnDiff, shown: int) -> Iterator[str]:
    """Yield a line about the changes of a column that are not shown, if there are any."""
    total = column.stat().total
    if shown < total:
        yield f"  … and {total - shown:,} more; --all lists them"


def diff_lines(
    out: Output, difference: Diff, limit: int | None, *, by_size: bool = False
) -> Iterator[str]:
    """Yield the changed keys of each column, at most `limit` of one column."""
    for column in difference.columns.values():
        yield from column_head_lines(out, column)
        shown = 0
        for sign, key, size in changed_keys(column, limit, by_size=by_size):
            measured = "" if size is None else f"  {size}"
            yield "  " + out.style(f"{sign} {key_text(key)}", _SIGNS[sign]) + measured
            shown += 1
        yield from rest_lines(column, shown)


def changed_keys(
    column: ColumnDiff, limit: int | None, *, by_size: bool = False
) -> Iterator[tuple[str, Any, ChangeSize | None]]:
    """Yield sign and key of changed samples of a column, in key order.

    With `by_size` the modified samples come first, the largest change at the start, with their
    sizes.
    """
    signed: list[tuple[str, Sequence[Any]]] = [("-", column.deleted), ("+", column.added)]
    first: Iterable[tuple[str, Any, ChangeSize | None]] = ()
    if by_size:
        sizes = column.sizes()
        places = sizes.largest_first()[:limit].tolist()
        first = (("~", sizes.keys[place], sizes[place]) for place in places)
    else:
        signed.append(("~", column.modified))
    parts = [
        [(sign, key, None) for key in (keys if limit is None else keys[:limit])]
        for sign, keys in signed
    ]
    rest = heapq.merge(*parts, key=lambda part: _place_of(part[1]))
    return islice(chain(first, rest), limit)


def _place_of(key: Any) -> tuple[Any, ...]:
    parts = key if isinstance(key, tuple) else (key,)
    return tuple((isinstance(part, str), part) for part in parts)


def names_by_commit(repo: Repository) -> dict[str, list[str]]:
    """Return the names that point at each commit, by its id, as ``git log`` writes them."""
    found: dict[str, list[str]] = {}
    branches = dict(repo.branches)
    head = branches.pop(repo.head, None)
    if head is not None:
        found[head.id] = [f"HEAD -> {repo.head}"]
    for name, commit in repo.tags.items():
        found.setdefault(commit.id, []).append(f"tag: {name}")
    for name, commit in branches.items():
        found.setdefault(commit.id, []).append(name)
    return found


def decoration(out: Output, names: Sequence[str]) -> str:
    """Return the names that point at a commit, as they stand behind its id."""
    if not names:
        return ""
    colours = {"HEAD": "cyan", "tag:": "yellow"}
    styled = [
        out.style(name, colours.get(name.split(" ")[0], "green"), bold=True) for name in names
    ]
    return " (" + ", ".join(styled) + ")"


def commit_lines(out: Output, commit: Commit, names: Sequence[str] = ()) -> Iterator[str]:
    """Yield the head of a commit and its message, as ``git log`` shows them."""
    yield out.style(f"commit {commit.id}", "yellow") + decoration(out, names)
    if len(commit.parents) > 1:
        yield "Merge:  " + " ".join(parent[:12] for parent in commit.parents)
    yield f"Author: {printable(str(commit.author))}"
    if commit.committer != commit.author:
        yield f"Commit: {printable(str(commit.committer))}"
    yield f"Date:   {commit.time:%a %b} {commit.time.day} {commit.time:%H:%M:%S %Y %z}"
    yield from metadata_lines(commit.metadata)
    if commit.signing_key is not None:
        yield f"Signed: {printable(commit.signing_key)}, not checked here"
    yield ""
    for line in commit.message.strip().splitlines():
        yield f"    {printable(line)}".rstrip()


def metadata_lines(metadata: Mapping[str, str]) -> Iterator[str]:
    """Yield the free pairs of a commit."""
    for name, value in sorted(metadata.items()):
        yield f"Meta:   {printable(name)}={printable(value)}"


def summary_text(commit: Commit) -> str:
    """Return the first line of the message."""
    return printable(commit.summary)


def oneline(out: Output, commit: Commit, names: Sequence[str] = ()) -> str:
    """Return a commit in one line."""
    start = out.style(commit.short_id, "yellow") + decoration(out, names)
    return f"{start} {summary_text(commit)}"
