"""Conflicts on the command line: how they are listed, and how a strategy is typed."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

import click
import numpy as np

from tensorvcs import SampleChange
from tensorvcs.display.counting import count_text
from tensorvcs.display.text import value_text
from tensorvcs.errors import ObjectNotFoundError
from tensorvcs.objects.schema import MergePolicy

from .documents import conflict_document, size_document, value_document
from .samples import kind_text
from .text import SHOWN_KEYS, key_text, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorvcs import Conflict, MergeInProgress, Schema

    from .documents import Document
    from .output import Output

STRATEGIES = ("fail", *(name for name in get_args(MergePolicy) if name))
_SHOWN_LETTERS = 24
_SHOWN_BYTES = 4
_BLOCK_ROWS = 500
_HEADER = ("COLUMN", "KEY", "CONFLICT (OURS/THEIRS)")


def takes_strategy(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option ``--strategy``: one for all columns, or some by column."""
    return click.option(
        "--strategy",
        "-s",
        "strategy",
        metavar="[COLUMN=]STRATEGY",
        multiple=True,
        callback=_to_strategy,
        help="What decides a conflict, in all columns or in one: fail (the default), ours, theirs, "
        "newest, or of the values of both union, mean, max, majority.",
    )(function)


def _to_strategy(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> str | dict[str, str]:
    """Turn strategies, some behind a column and ``=``, into what the library takes."""
    found: dict[str, str] = {}
    for text in texts:
        column, _, name = text.rpartition("=")
        if name not in STRATEGIES:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(STRATEGIES)}")
        if (column or "*") in found:
            what = f"column {column!r}" if column else "all columns"
            raise click.BadParameter(f"two strategies for {what}")
        found[column or "*"] = name
    return found if set(found) - {"*"} else found.get("*", "fail")


def conflict_table(out: Output, conflicts: Sequence[Conflict]) -> Iterator[str]:
    """Yield the first conflicts as a table, and how many there are beside them."""
    rows = [(conflict.column, _key(conflict), conflict.kind) for conflict in conflicts[:SHOWN_KEYS]]
    yield from out.table([_HEADER, *rows])
    if len(conflicts) > len(rows):
        yield f"… and {len(conflicts) - len(rows):,} more; --json lists them"


def _key(conflict: Conflict) -> str:
    return "" if conflict.key is None else key_text(conflict.key)


def decided_text(conflicts: Iterable[Conflict]) -> str:
    """Return how many conflicts were decided, and by which strategies."""
    counts = Counter(conflict.decided_by for conflict in conflicts)
    if len(counts) == 1:
        ((name, count),) = counts.items()
        return f"{count_text(count, 'conflict')} decided by strategy {name}"
    parts = [f"{count:,} by {name}" for name, count in counts.most_common()]
    return f"{count_text(counts.total(), 'conflict')} decided: {', '.join(parts)}"


def open_lines(out: Output, merge: MergeInProgress, conflicts: Iterable[Conflict]) -> Iterator[str]:
    """Yield a line for each conflict of a merge in progress, with what each side has."""
    rest = iter(conflicts)
    header: list[tuple[str, ...]] = [("COLUMN", "KEY", "CONFLICT", "BASE", "OURS", "THEIRS")]
    while rows := [_row(merge, conflict) for conflict in islice(rest, _BLOCK_ROWS)]:
        yield from (line.rstrip() for line in out.table([*header, *rows]))
        header = []


def _row(merge: MergeInProgress, conflict: Conflict) -> tuple[str, ...]:
    start = (conflict.column, _key(conflict), conflict.kind)
    if conflict.key is None:
        ours, theirs = merge.sides(conflict.column)
        return (*start, "", _columns_text(ours), _columns_text(theirs))
    try:
        base, ours, theirs = conflict.base, conflict.ours, conflict.theirs
    except ObjectNotFoundError:
        return (*start, "not here", "not here", "not here")
    return (
        *start,
        "absent" if base is None else _value(base),
        _side(base, ours),
        _side(base, theirs),
    )


def _columns_text(columns: dict[str, Schema]) -> str:
    """Return what one side has under the names of a column in conflict as a whole."""
    return ", ".join(f"{name}: {s.spelling}" for name, s in columns.items()) or "deleted"


def _side(base: Any, value: Any) -> str:
    """Return the value of a side in a few words, or of a large one how far it is from the base."""
    if value is None:
        return "absent" if base is None else "deleted"
    if _is_small(value) or base is None:
        return _value(value)
    size = SampleChange(None, base, value).size
    if size is None or kind_text(base) != kind_text(value):
        return kind_text(value)
    moved = "" if size.l2 is None else f", l2 {size.l2:.4g}"
    return f"{100 * size.changed_fraction:.3g} % changed{moved}"


def _is_small(value: Any) -> bool:
    if isinstance(value, bytes):
        return 0 < len(value) <= _SHOWN_BYTES
    if isinstance(value, str):
        return len(value) <= _SHOWN_LETTERS
    return bool(np.size(value) <= 4)


def _value(value: Any) -> str:
    if _is_small(value):
        return printable(value_text(value, _SHOWN_LETTERS))
    return kind_text(value)


def open_conflict_document(merge: MergeInProgress, conflict: Conflict) -> Document:
    """Return one open conflict with what each side has."""
    document = conflict_document(conflict)
    if conflict.key is None:
        ours, theirs = merge.sides(conflict.column)
        return document | {
            "ours": {name: schema.to_fields() for name, schema in ours.items()},
            "theirs": {name: schema.to_fields() for name, schema in theirs.items()},
        }
    try:
        base, ours, theirs = conflict.base, conflict.ours, conflict.theirs
    except ObjectNotFoundError:
        return document | {"is_here": False}
    sizes = {
        name: size_document(SampleChange(None, base, side).size)
        for name, side in (("ours", ours), ("theirs", theirs))
        if base is not None and side is not None
    }
    return document | {
        "base": value_document(base),
        "ours": value_document(ours),
        "theirs": value_document(theirs),
        "change": sizes,
    }
