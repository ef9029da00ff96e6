"""What differs between two trees, lazily and in key order.

Nodes of one level that both trees have cancel out. What is left is loaded on both sides, and its
entries are compared in turn, down to the leaves. Where much is left it is cut into ranges of
keys, one after the other, so that memory is that of one range. A node that a cut goes through is
read in both ranges, and what it has outside of the range is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.digest import digests_to_array
from tensorvcs.tree.entries import find_keys, join_keys, join_values, keys_of, rows_equal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Keys
    from tensorvcs.tree.node import Node
    from tensorvcs.tree.nodes import Nodes
    from tensorvcs.tree.tree import Root, Tree

# A range of keys has at most about so many entries of inner nodes on both sides.
_RANGE_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class DiffBlock:
    """What differs in a range of keys of one sort; each part in key order.

    Attributes
    ----------
    added, deleted, modified : Keys
    added_values : ndarray, shape (len(added), value_nbytes), uint8
    deleted_values : ndarray, shape (len(deleted), value_nbytes), uint8
    before, after : ndarray, shape (len(modified), value_nbytes), uint8
        The values of the modified keys.
    """

    added: Keys
    added_values: NDArray[np.uint8]
    deleted: Keys
    deleted_values: NDArray[np.uint8]
    modified: Keys
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.added) + len(self.deleted) + len(self.modified)


@dataclass(frozen=True, slots=True)
class _Side:
    """Entries of one tree that are not known to be equal; those of leaves have level 0.

    `payload` is what an entry holds: the digest of a child, or at level 0 a value.
    """

    level: int
    keys: NDArray[Any]
    payload: NDArray[np.uint8]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, chosen: NDArray[np.bool_] | slice) -> _Side:
        return _Side(self.level, self.keys[chosen], self.payload[chosen], self.counts[chosen])

    def within(self, low: object, high: object) -> _Side:
        """Return the entries that reach into the keys above `low` and up to `high`."""
        start, stop = 0, len(self)
        if low is not None:
            start = int(np.searchsorted(self.keys, low, "right"))  # type: ignore[call-overload]
        if high is not None:
            side = "right" if self.level == 0 else "left"
            stop = int(np.searchsorted(self.keys, high, side))  # type: ignore[call-overload]
            stop += self.level > 0
        return self.select(slice(start, stop))


def diff(nodes: Nodes, before: Tree, after: Tree) -> Iterator[DiffBlock]:
    """Yield what differs between two trees of one value width, ints first, in key order.

    Parameters
    ----------
    before, after : Tree
        Of equal `value_nbytes`; any other pair is an error of the caller.

    Yields
    ------
    DiffBlock
        None is empty; a block has keys of one sort, all behind those of the block before it.

    Raises
    ------
    ObjectNotFoundError, CorruptionError
        A node that is needed is absent or damaged.

    Notes
    -----
    Reads the nodes that are in one tree only: O(k log n) for k changes. Memory is bounded,
    whatever differs.
    """
    assert before.value_nbytes == after.value_nbytes, (before.value_nbytes, after.value_nbytes)
    for is_text, old, new in (
        (False, before.ints, after.ints),
        (True, before.texts, after.texts),
    ):
        if old == new:
            continue
        walk = _Walk(nodes, is_text, before.value_nbytes)
        yield from walk.compare(walk.start(old), walk.start(new), None, None)


@dataclass(frozen=True, slots=True)
class _Walk:
    """The walk down two trees of one sort and width."""

    nodes: Nodes
    is_text: bool
    value_nbytes: int

    def start(self, root: Root | None) -> _Side:
        """Return the one entry that names a root, as if there were a level above."""
        if root is None:
            return self._join(0, [])
        top = self.nodes.load_root(root, is_text=self.is_text, value_nbytes=self.value_nbytes)
        return _Side(
            top.level + 1, top.keys[-1:], digests_to_array([root.digest]), np.array([root.count])
        )

    def compare(self, old: _Side, new: _Side, low: object, high: object) -> Iterator[DiffBlock]:
        """Yield what differs in the keys above `low` and up to `high`."""
        old, new = old.within(low, high), new.within(low, high)
        if old.level == new.level:
            old, new = _cancel(old, new)
        if not len(old) and not len(new):
            return
        if old.level == new.level == 0:
            yield self._block(old, new)
            return
        for piece_low, piece_high in _ranges(old, new, low, high):
            left, right = old.within(piece_low, piece_high), new.within(piece_low, piece_high)
            level = max(left.level, right.level)
            yield from self.compare(
                self._expand(left) if left.level == level else left,
                self._expand(right) if right.level == level else right,
                piece_low,
                piece_high,
            )

    def _expand(self, side: _Side) -> _Side:
        """Return the entries of the children of a side."""
        level = side.level - 1
        loaded = self.nodes.load_children(
            side.payload,
            side.counts,
            level=level,
            is_text=self.is_text,
            value_nbytes=self.value_nbytes,
        )
        return self._join(level, loaded)

    def _join(self, level: int, loaded: Sequence[Node]) -> _Side:
        keys = join_keys([node.keys for node in loaded], is_text=self.is_text)
        if level == 0:
            values = join_values([node.values for node in loaded], self.value_nbytes)
            return _Side(0, keys, values, np.ones(len(keys), np.int64))
        counts = [node.counts for node in loaded]
        return _Side(
            level,
            keys,
            join_values([node.children for node in loaded], 32),
            np.concatenate([np.empty(0, np.int64), *counts]),
        )

    def _block(self, old: _Side, new: _Side) -> DiffBlock:
        """Return what differs between the keys and values of two sides, all of which differ."""
        at, is_kept = find_keys(new.keys, old.keys)
        is_new = np.ones(len(new), np.bool_)
        is_new[at[is_kept]] = False
        return DiffBlock(
            keys_of(new.keys[is_new], is_text=self.is_text),
            new.payload[is_new],
            keys_of(old.keys[~is_kept], is_text=self.is_text),
            old.payload[~is_kept],
            keys_of(old.keys[is_kept], is_text=self.is_text),
            old.payload[is_kept],
            new.payload[at[is_kept]],
        )


def _cancel(old: _Side, new: _Side) -> tuple[_Side, _Side]:
    """Drop the entries that both sides have, with equal key and equal digest or value."""
    at, same = find_keys(new.keys, old.keys)
    places = np.flatnonzero(same)
    same[places] = rows_equal(old.payload[places], new.payload[at[places]])
    is_left = np.ones(len(new), np.bool_)
    is_left[at[same]] = False
    return old.select(~same), new.select(is_left)


def _ranges(old: _Side, new: _Side, low: object, high: object) -> Iterator[tuple[object, object]]:
    """Yield ranges of keys (low, high] that follow each other, of few entries on both sides."""
    keys = [side.keys for side in (old, new) if len(side)]
    if sum(map(len, keys)) > _RANGE_ENTRIES:
        ends = np.unique(np.concatenate(keys))
        for cut in ends[_RANGE_ENTRIES // 2 : -1 : _RANGE_ENTRIES // 2]:
            yield low, cut
            low = cut
    yield low, high
