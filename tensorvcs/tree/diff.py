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
# Keys are looked up so many at a time, which bounds the leaves in memory.
_KEYS_AT_ONCE = 4096


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

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp] | slice) -> _Side:
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


def differing(nodes: Nodes, before: Tree, after: Tree, keys: Keys) -> NDArray[np.bool_]:
    """Tell which of some keys differ between two trees of one value width.

    Parameters
    ----------
    before, after : Tree
        Of equal `value_nbytes`; any other pair is an error of the caller.
    keys : Keys
        Each sort in order.

    Returns
    -------
    ndarray, shape (n,), bool
        In the order of `keys`, ints then texts: whether the value differs, or one tree alone has
        the key.

    Raises
    ------
    ObjectNotFoundError, CorruptionError
        A node that is needed is absent or damaged.

    Notes
    -----
    Reads the nodes on the way to a key that are in one tree only. Memory is that of the nodes for
    a few thousand keys.
    """
    assert before.value_nbytes == after.value_nbytes, (before.value_nbytes, after.value_nbytes)
    differs = np.zeros(len(keys), np.bool_)
    for is_text, old, new, wanted, base in (
        (False, before.ints, after.ints, keys.ints, 0),
        (True, before.texts, after.texts, keys.texts, len(keys.ints)),
    ):
        if old == new:
            continue
        walk = _Walk(nodes, is_text, before.value_nbytes)
        for first in range(0, len(wanted), _KEYS_AT_ONCE):
            some = wanted[first : first + _KEYS_AT_ONCE]
            span = slice(base + first, base + first + len(some))
            differs[span] = walk.differing(walk.start(old), walk.start(new), some)
    return differs


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

    def differing(self, old: _Side, new: _Side, keys: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which of some sorted keys differ below two sides."""
        differs = np.zeros(len(keys), np.bool_)
        left = np.arange(len(keys))
        while len(left):
            wanted = keys[left]
            places = [np.searchsorted(side.keys, wanted) for side in (old, new)]
            has_old, has_new = places[0] < len(old), places[1] < len(new)
            if old.level == new.level:
                if old.level == 0:
                    differs[left] = _differing_rows(old, new, wanted)
                    break
                both = np.flatnonzero(has_old & has_new)
                is_left = has_old | has_new
                is_left[both] = ~rows_equal(
                    old.payload[places[0][both]], new.payload[places[1][both]]
                )
                left, has_old, has_new = left[is_left], has_old[is_left], has_new[is_left]
                places = [at[is_left] for at in places]
            level = max(old.level, new.level)
            if old.level == level:
                old = self._expand(old.select(np.unique(places[0][has_old])))
            if new.level == level:
                new = self._expand(new.select(np.unique(places[1][has_new])))
        return differs

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
            return _Side(0, keys, values, np.broadcast_to(np.int64(1), len(keys)))
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
    if np.array_equal(old.keys, new.keys):
        # As it is where values were changed, and no key came or went.
        differs = np.flatnonzero(~rows_equal(old.payload, new.payload))
        return old.select(differs), new.select(differs)
    at, same = find_keys(new.keys, old.keys)
    places = np.flatnonzero(same)
    same[places] = rows_equal(old.payload[places], new.payload[at[places]])
    is_left = np.ones(len(new), np.bool_)
    is_left[at[same]] = False
    return old.select(~same), new.select(is_left)


def _differing_rows(old: _Side, new: _Side, keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which keys have another value, or a value on one side only."""
    at_old, in_old = find_keys(old.keys, keys)
    at_new, in_new = find_keys(new.keys, keys)
    differs: NDArray[np.bool_] = in_old != in_new
    both = np.flatnonzero(in_old & in_new)
    differs[both] = ~rows_equal(old.payload[at_old[both]], new.payload[at_new[both]])
    return differs


def _ranges(old: _Side, new: _Side, low: object, high: object) -> Iterator[tuple[object, object]]:
    """Yield ranges of keys (low, high] that follow each other, of few entries on both sides."""
    keys = [side.keys for side in (old, new) if len(side)]
    if sum(map(len, keys)) > _RANGE_ENTRIES:
        ends = np.unique(np.concatenate(keys))
        for cut in ends[_RANGE_ENTRIES // 2 : -1 : _RANGE_ENTRIES // 2]:
            yield low, cut
            low = cut
    yield low, high
