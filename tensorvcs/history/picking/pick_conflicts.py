"""Conflicts of several changes that are made one after the other, gathered by sample.

The first conflict of a sample says what the base was and what ours is; the last change that
wanted it says what theirs is. So each sample is decided once, whatever the number of changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tensorvcs.history.merging.merge_progress import OpenSamples, kept_parts, put_rows
from tensorvcs.history.snapshot import ColumnState
from tensorvcs.tree import cursor
from tensorvcs.tree.entries import rows_equal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorvcs.history.merging.column_merge import MergedColumns
    from tensorvcs.history.merging.merge_progress import Part
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.tree.nodes import Nodes


def join_conflicts(nodes: Nodes, parts: Sequence[Part], merged: MergedColumns) -> list[Part]:
    """Return the conflicts so far and those of one more change, of each sample one."""
    joined = list(parts)
    for part in kept_parts(nodes, merged):
        for place, known in enumerate(joined):
            if (
                isinstance(known, OpenSamples)
                and isinstance(part, OpenSamples)
                and known.column == part.column
            ):
                joined[place] = _join(nodes, known, part)
                break
        else:
            joined.append(part)
    return joined


def _join(nodes: Nodes, known: OpenSamples, new: OpenSamples) -> OpenSamples:
    keys = cursor.keys_at(nodes, new.open, 0, new.open.count)
    is_fresh = ~cursor.get(nodes, known.open, keys)[1]
    fresh = keys.select(is_fresh)
    trees: dict[str, Any] = {}
    for side, wanted in (("base", fresh), ("ours", fresh), ("theirs", keys), ("open", fresh)):
        rows, has = cursor.get(nodes, getattr(new, side), wanted)
        trees[side] = put_rows(nodes, getattr(known, side), wanted, has, rows)
    return replace(known, **trees)


def take_ours_where_open(
    nodes: Nodes, columns: Columns, parts: Sequence[Part]
) -> tuple[Columns, list[Part]]:
    """Give the samples in conflict what ours has, also those that a later change then set.

    What such a change set is what theirs wants.
    """
    made, told = dict(columns), list(parts)
    for place, part in enumerate(parts):
        if not isinstance(part, OpenSamples):
            continue
        state = made[part.column]
        keys = cursor.keys_at(nodes, part.open, 0, part.open.count)
        now, has_now = cursor.get(nodes, state.tree, keys)
        ours, has_ours = cursor.get(nodes, part.ours, keys)
        is_set = (has_now != has_ours) | (has_now & ~rows_equal(now, ours))
        moved = keys.select(is_set)
        if len(moved):
            theirs = put_rows(nodes, part.theirs, moved, has_now[is_set], now[is_set])
            told[place] = replace(part, theirs=theirs)
            tree = put_rows(nodes, state.tree, moved, has_ours[is_set], ours[is_set])
            made[part.column] = ColumnState(state.schema, tree)
    return made, told
