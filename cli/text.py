"""How keys, commits, differences and sizes look to a person."""

from __future__ import annotations

import heapq
import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorvcs import Commit, Diff, Repository, Schema

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


def count_text(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as ``1 sample`` or ``2,000 samples``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


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
    if before.spelling == after.spelling:
        return f"codec {before.codec} to {after.codec}"
    return f"schema {before.spelling} to {after.spelling}"


def stat_lines(out: Output, difference: Diff) -> Iterator[str]:
    """Yield a line for each column that differs, and their sum."""
    stats = difference.stat().columns
    width = max(map(len, stats), default=0)
    cells = {
        name: [f"+{s.added:,}", f"-{s.deleted:,}", f"~{s.modified:,}"] for name, s in stats.items()
    }
    widths = [max(len(row[at]) for row in cells.values()) for at in range(3)] if cells else []
    for name, row in cells.items():
        counts = " ".join(
            out.style(f"{cell:>{wide}}", _SIGNS[cell[0]] if cell[1:] != "0" else None)
            for cell, wide in zip(row, widths, strict=True)
        )
        change = difference.columns[name].schema
        yield f" {name:{width}} | {counts}" + (f"  {schema_change_text(change)}" if change else "")
    if stats:
        total = difference.stat()
        yield (
            f" {count_text(len(stats), 'column')} changed: {count_text(total.added, 'sample')} "
            f"added, {total.deleted:,} deleted, {total.modified:,} modified"
        )


def diff_lines(out: Output, difference: Diff, limit: int | None) -> Iterator[str]:
    """Yield the changed keys of each column, at most `limit` of one column."""
    for name, column in difference.columns.items():
        stat = column.stat()
        head = f"{name}: +{stat.added:,} -{stat.deleted:,} ~{stat.modified:,}"
        yield out.style(head, bold=True)
        if column.schema:
            yield f"  ({schema_change_text(column.schema)})"
        shown = 0
        for sign, key in changed_keys(column, limit):
            yield "  " + out.style(f"{sign} {key_text(key)}", _SIGNS[sign])
            shown += 1
        if shown < stat.total:
            yield f"  … and {stat.total - shown:,} more; --all lists them"


def changed_keys(column: Any, limit: int | None) -> Iterator[tuple[str, Any]]:
    """Yield the sign and key of changed samples of a column, in key order."""
    parts = [
        [(sign, key) for key in (keys if limit is None else keys[:limit])]
        for sign, keys in (("-", column.deleted), ("+", column.added), ("~", column.modified))
    ]
    return islice(heapq.merge(*parts, key=lambda pair: _place_of(pair[1])), limit)


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
