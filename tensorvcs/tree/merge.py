"""Three-way merge of trees by key; conflicts are values.

A side that did not change since the base takes the other as it is. Otherwise the two diffs
against the base are compared: cost follows the changes of both sides, not the size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.keys import Keys
from tensorvcs.tree.diff import diff
from tensorvcs.tree.edit import edit
from tensorvcs.tree.entries import empty_keys, find_keys, join_keys, join_values, rows_equal
from tensorvcs.tree.tree import Root, Tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.tree.nodes import Nodes


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Keys that both sides changed, and not to the same; ints, then texts, in key order.

    Attributes
    ----------
    keys : Keys
        n of them.
    in_base, in_ours, in_theirs : ndarray, shape (n,), bool
        Whether the key is in each tree. It is in two of them at least.
    base, ours, theirs : ndarray, shape (n, value_nbytes), uint8
        The values; zeros where the key is absent.
    """

    keys: Keys
    in_base: NDArray[np.bool_]
    base: NDArray[np.uint8]
    in_ours: NDArray[np.bool_]
    ours: NDArray[np.uint8]
    in_theirs: NDArray[np.bool_]
    theirs: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, chosen: NDArray[np.bool_]) -> Conflicts:
        """Return the conflicts for which `chosen`, shape (n,), holds."""
        return Conflicts(
            self.keys.select(chosen),
            *(getattr(self, name)[chosen] for name in _SIDE_FIELDS),
        )

    def span(self, start: int, stop: int) -> Conflicts:
        """Return the conflicts at places `start` to `stop`."""
        return Conflicts(
            self.keys.span(start, stop), *(getattr(self, name)[start:stop] for name in _SIDE_FIELDS)
        )


_SIDE_FIELDS = ("in_base", "base", "in_ours", "ours", "in_theirs", "theirs")


@dataclass(frozen=True, slots=True)
class Decisions:
    """What becomes of n keys in conflict.

    Attributes
    ----------
    is_decided : ndarray, shape (n,), bool
        A key that is not keeps what ours has.
    has_value : ndarray, shape (n,), bool
        Whether a decided key has a value; it is deleted otherwise.
    values : ndarray, shape (n, value_nbytes), uint8
        The values of the keys that have one.
    """

    is_decided: NDArray[np.bool_]
    has_value: NDArray[np.bool_]
    values: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TreeMerge:
    """The outcome of a merge: a tree, the changes to make to it, and the conflicts.

    Attributes
    ----------
    start : Tree
        Ours, or theirs for the sort of keys that ours did not change.
    puts, deletes : Keys
        What theirs changed and ours did not, to be made to `start`.
    values_ints, values_texts : ndarray, shape (n, value_nbytes), uint8
        The values of the int keys and of the text keys that are put.
    conflicts : Conflicts
        Where `start` still has what ours has.
    """

    start: Tree
    puts: Keys
    values_ints: NDArray[np.uint8]
    values_texts: NDArray[np.uint8]
    deletes: Keys
    conflicts: Conflicts


@dataclass(frozen=True, slots=True)
class _Side:
    """The keys of one sort that a side changed, in order, with the values before and after."""

    keys: NDArray[Any]
    had: NDArray[np.bool_]
    before: NDArray[np.uint8]
    has: NDArray[np.bool_]
    after: NDArray[np.uint8]

    def select(self, chosen: NDArray[Any]) -> _Side:
        return _Side(
            self.keys[chosen],
            self.had[chosen],
            self.before[chosen],
            self.has[chosen],
            self.after[chosen],
        )


@dataclass(frozen=True, slots=True)
class _SortMerge:
    """What `TreeMerge` has, for the keys of one sort; in conflict are rows of both sides."""

    start: Root | None
    wanted: _Side
    our_conflicts: _Side
    their_conflicts: _Side


def merge(nodes: Nodes, base: Tree, ours: Tree, theirs: Tree) -> TreeMerge:
    """Merge two trees that come from one base.

    Parameters
    ----------
    base, ours, theirs : Tree
        Of equal `value_nbytes`.

    Returns
    -------
    TreeMerge
        `apply_merge` makes its changes. A key that one side changed is changed. One that both
        changed is a conflict, except when both did the same: the same value, or deleted it.

    Raises
    ------
    ObjectNotFoundError, CorruptionError
        A node that is needed is absent or damaged.

    Notes
    -----
    Reads and holds what either side changed; nothing where a side is equal to the base.
    """
    width = base.value_nbytes
    assert ours.value_nbytes == theirs.value_nbytes == width
    ints = _merge_sort(nodes, width, (base.ints, ours.ints, theirs.ints), is_text=False)
    texts = _merge_sort(nodes, width, (base.texts, ours.texts, theirs.texts), is_text=True)
    int_puts, int_deletes = _split(ints.wanted)
    text_puts, text_deletes = _split(texts.wanted)
    mine = (ints.our_conflicts, texts.our_conflicts)
    yours = (ints.their_conflicts, texts.their_conflicts)
    return TreeMerge(
        Tree(ints.start, texts.start, width),
        Keys(int_puts.keys, text_puts.keys),
        int_puts.after,
        text_puts.after,
        Keys(int_deletes.keys, text_deletes.keys),
        Conflicts(
            Keys(mine[0].keys, mine[1].keys),
            np.concatenate([side.had for side in mine]),
            np.concatenate([side.before for side in mine]),
            np.concatenate([side.has for side in mine]),
            np.concatenate([side.after for side in mine]),
            np.concatenate([side.has for side in yours]),
            np.concatenate([side.after for side in yours]),
        ),
    )


def _split(wanted: _Side) -> tuple[_Side, _Side]:
    """Return the puts and the deletes."""
    return wanted.select(wanted.has), wanted.select(~wanted.has)


def apply_merge(nodes: Nodes, merged: TreeMerge, decisions: Decisions | None = None) -> Tree:
    """Return the merged tree; a key in conflict has what was decided, or what ours has."""
    puts, deletes = merged.puts, merged.deletes
    values = [merged.values_ints, merged.values_texts]
    if decisions is not None and bool(decisions.is_decided.any()):
        keys = merged.conflicts.keys
        is_put = decisions.is_decided & decisions.has_value
        decided = keys.select(is_put)
        split = len(decided.ints)
        parts = (decisions.values[is_put][:split], decisions.values[is_put][split:])
        sorts = [
            _insert(*row)
            for row in zip(
                (puts.ints, puts.texts), values, (decided.ints, decided.texts), parts, strict=True
            )
        ]
        puts, values = Keys(sorts[0][0], sorts[1][0]), [sorts[0][1], sorts[1][1]]
        dropped = keys.select(decisions.is_decided & ~decisions.has_value)
        deletes = Keys(
            np.sort(join_keys([deletes.ints, dropped.ints], is_text=False)),
            np.sort(join_keys([deletes.texts, dropped.texts], is_text=True)),
        )
    return edit(nodes, merged.start, puts, values[0], values[1], deletes)


def _insert(
    keys: NDArray[Any], values: NDArray[np.uint8], more: NDArray[Any], parts: NDArray[np.uint8]
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return sorted keys with others among them, and the values of both."""
    if not len(more):
        return keys, values
    joined = join_keys([keys, more], is_text=keys.dtype != np.int64)
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate([values, parts])[order]


def _merge_sort(
    nodes: Nodes,
    width: int,
    roots: tuple[Root | None, Root | None, Root | None],
    *,
    is_text: bool,
) -> _SortMerge:
    base, ours, theirs = roots
    none = _no_changes(width, is_text=is_text)
    if theirs in (ours, base):
        return _SortMerge(ours, none, none, none)
    if ours == base:
        return _SortMerge(theirs, none, none, none)
    our_changes = _changes(nodes, width, base, ours, is_text=is_text)
    their_changes = _changes(nodes, width, base, theirs, is_text=is_text)
    at, is_both = find_keys(our_changes.keys, their_changes.keys)
    mine, yours = our_changes.select(at[is_both]), their_changes.select(is_both)
    is_agreed = (mine.has == yours.has) & rows_equal(mine.after, yours.after)
    return _SortMerge(
        ours,
        their_changes.select(~is_both),
        mine.select(~is_agreed),
        yours.select(~is_agreed),
    )


def _no_changes(width: int, *, is_text: bool) -> _Side:
    nothing, none = np.empty((0, width), np.uint8), np.empty(0, np.bool_)
    return _Side(empty_keys(is_text=is_text), none, nothing, none, nothing)


def _changes(
    nodes: Nodes, width: int, base: Root | None, side: Root | None, *, is_text: bool
) -> _Side:
    """Return all changes of one side, in key order."""
    trees = [
        Tree(None, root, width) if is_text else Tree(root, None, width) for root in (base, side)
    ]
    pieces = [_no_changes(width, is_text=is_text)]
    for block in diff(nodes, *trees):
        parts = [
            keys.texts if is_text else keys.ints
            for keys in (block.added, block.deleted, block.modified)
        ]
        sizes = [len(keys) for keys in parts]
        rows = _Side(
            join_keys(parts, is_text=is_text),
            np.repeat([False, True, True], sizes),
            np.concatenate([np.zeros_like(block.added_values), block.deleted_values, block.before]),
            np.repeat([True, False, True], sizes),
            np.concatenate([block.added_values, np.zeros_like(block.deleted_values), block.after]),
        )
        pieces.append(rows.select(np.argsort(rows.keys, kind="stable")))
    return _Side(
        join_keys([piece.keys for piece in pieces], is_text=is_text),
        np.concatenate([piece.had for piece in pieces]),
        join_values([piece.before for piece in pieces], width),
        np.concatenate([piece.has for piece in pieces]),
        join_values([piece.after for piece in pieces], width),
    )
