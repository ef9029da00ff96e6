"""Columns that have another name in a later version, found by their content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.history.snapshot import holds_same_values
from tensorvcs.tree import cursor
from tensorvcs.tree.diff import diff

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns, ColumnState
    from tensorvcs.tree.nodes import Nodes
    from tensorvcs.tree.tree import Tree

# How common a value is in a column is told from so many values, in so many places.
_SPAN_VALUES, _SPANS = 128, 8


def find_renames(nodes: Nodes, before: Columns, after: Columns) -> dict[str, str]:
    """Return the columns that were renamed between two versions, old name to new name.

    A column that is gone and one that is new are a pair when their schemas hold the same values
    and at least half of the samples of the larger one are equal in both. Of several candidates
    the one with most equal samples counts; when two are alike, neither does. A column without
    samples is never paired.

    Notes
    -----
    Nothing is read unless a column is gone and another is new. Then each such pair costs a diff,
    which stops when more than half differs.

    References
    ----------
    The similarity index of ``git diff --find-renames``, with samples in the place of lines.
    """
    gone = [name for name in before if name not in after and before[name].tree.count]
    new = [name for name in after if name not in before and after[name].tree.count]
    likeness = {
        (old, name): equal
        for old in gone
        for name in new
        if (equal := _count_equal(nodes, before[old], after[name]))
    }
    best = sorted(likeness.values(), reverse=True)
    pairs: dict[str, str] = {}
    for score in dict.fromkeys(best):
        level = [
            (old, name)
            for (old, name), equal in likeness.items()
            if equal == score and old not in pairs and name not in pairs.values()
        ]
        for old, name in level:
            rivals = [pair for pair in level if old == pair[0] or name == pair[1]]
            if len(rivals) == 1:
                pairs[old] = name
            else:
                # Two that are alike: neither is taken, and no lesser one in their place.
                for pair in list(likeness):
                    if pair[0] == old or pair[1] == name:
                        likeness[pair] = 0
    return pairs


def _count_equal(nodes: Nodes, before: ColumnState, after: ColumnState) -> int:
    """Return the number of equal samples, or 0 when they are fewer than half."""
    if not holds_same_values(before.schema, after.schema):
        return 0
    larger = max(before.tree.count, after.tree.count)
    equal = before.tree.count
    if before.tree == after.tree:
        return equal
    for block in diff(nodes, before.tree, after.tree):
        equal -= len(block.deleted) + len(block.modified)
        if 2 * equal < larger:
            return 0
    return equal if 2 * equal >= larger else 0


def is_beyond_chance(nodes: Nodes, before: ColumnState, after: ColumnState) -> bool:
    """Tell whether two columns that `find_renames` paired are equal by more than chance.

    Two columns of few values have many samples in common although one has nothing to do with the
    other: of two columns of flags that are mostly false, nearly all. So what they have in common
    counts as far as it is more than two columns would have that draw their values as often; a
    third of what chance leaves must be equal. Columns that are equal altogether are one.

    Notes
    -----
    Reads a diff, and some thousand values at most.

    References
    ----------
    Cohen, J. (1960), A coefficient of agreement for nominal scales: kappa is at least a third.
    """
    if before.tree == after.tree:
        return True
    larger = max(before.tree.count, after.tree.count)
    common = _count_equal(nodes, before, after)
    values = [_some_values(nodes, state.tree) for state in (before, after)]
    pairs = len(values[0]) * len(values[1])
    alike = _count_alike(*values)
    # kappa = (common / larger - alike / pairs) / (1 - alike / pairs), without a rounding
    return 3 * common * pairs - 2 * alike * larger >= larger * pairs


def _some_values(nodes: Nodes, tree: Tree) -> NDArray[np.uint8]:
    """Return the values of a tree, or of places all over it when there are many."""
    if tree.count <= _SPAN_VALUES * _SPANS:
        return cursor.values_at(nodes, tree, 0, tree.count)
    starts = [at * (tree.count - _SPAN_VALUES) // (_SPANS - 1) for at in range(_SPANS)]
    return np.concatenate(
        [cursor.values_at(nodes, tree, start, start + _SPAN_VALUES) for start in starts]
    )


def _count_alike(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> int:
    """Return the number of pairs, a row of each, that are equal."""
    if not left.shape[1]:
        return len(left) * len(right)
    sides = []
    for rows in (left, right):
        plain = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1])))[:, 0]
        values, counts = np.unique(plain, return_counts=True)
        sides.append(dict(zip(map(bytes, values.tolist()), counts.tolist(), strict=True)))
    return sum(count * sides[1].get(value, 0) for value, count in sides[0].items())
