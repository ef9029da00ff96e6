"""Sorted keys and values to a tree, in one pass from the leaves up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.digest import NodeDigest, digests_to_array
from tensorvcs.tree.boundary import hash_keys
from tensorvcs.tree.entries import Entries, join_entries
from tensorvcs.tree.node import encode_inner, encode_leaves
from tensorvcs.tree.tree import Root, Tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Keys
    from tensorvcs.tree.nodes import Nodes

# Leaves are encoded and saved in batches of about this many bytes of keys and values.
_BATCH_NBYTES = 8 << 20


def build(
    nodes: Nodes,
    keys: Keys,
    values_ints: NDArray[np.uint8],
    values_texts: NDArray[np.uint8],
) -> Tree:
    """Write the tree of sorted keys and their values.

    Parameters
    ----------
    keys : Keys
        Each sort strictly increasing.
    values_ints, values_texts : ndarray, shape (n, value_nbytes), uint8
        The values of the int keys and of the text keys.

    Notes
    -----
    About 0.2 µs a key. Equal to an edit of the empty tree.
    """
    width = values_ints.shape[1]
    assert values_texts.shape[1] == width
    assert all(bool((part[1:] > part[:-1]).all()) for part in (keys.ints, keys.texts))
    return Tree(
        _build_sort(nodes, keys.ints, values_ints),
        _build_sort(nodes, keys.texts, values_texts),
        width,
    )


def _build_sort(nodes: Nodes, keys: NDArray[Any], values: NDArray[np.uint8]) -> Root | None:
    entries = write_leaves(nodes, keys, hash_keys(keys), values)
    return grow_root(nodes, entries, 1, values.shape[1])


def write_leaves(
    nodes: Nodes, keys: NDArray[Any], hashes: NDArray[np.uint64], values: NDArray[np.uint8]
) -> Entries:
    """Write the leaves of whole runs of keys and return their entries.

    Parameters
    ----------
    keys : ndarray, shape (n,), int64 or text, strictly increasing
    hashes : ndarray, shape (n,), uint64
    values : ndarray, shape (n, value_nbytes), uint8

    Raises
    ------
    ObjectDamagedError
        Keys that come from old leaves are not in order.
    """
    assert len(keys) == len(hashes) == len(values)
    if not bool((keys[1:] > keys[:-1]).all()):
        raise ObjectDamagedError("the keys of consecutive leaves do not strictly increase")
    width = values.shape[1]
    stops = nodes.boundary.node_stops(keys, hashes, 0, width)
    digests: list[bytes] = []
    first, entry_count = 0, max(1, _BATCH_NBYTES // (keys.itemsize + width + 16))
    while first < len(stops):
        start = int(stops[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(stops, start + entry_count, "right")))
        stop = int(stops[last - 1])
        digests += nodes.save(
            encode_leaves(keys[start:stop], values[start:stop], stops[first:last] - start)
        )
        first = last
    return Entries(
        keys[stops - 1], hashes[stops - 1], digests_to_array(digests), np.diff(stops, prepend=0)
    )


def write_inner(nodes: Nodes, entries: Entries, level: int, value_nbytes: int) -> Entries:
    """Write the nodes of one level from the entries of whole runs; return their entries."""
    stops = nodes.boundary.node_stops(entries.keys, entries.hashes, level, value_nbytes)
    if not len(stops):
        return entries
    digests = nodes.save(
        encode_inner(entries.keys, entries.children, entries.counts, stops, level, value_nbytes)
    )
    starts = np.append(0, stops[:-1])
    return Entries(
        entries.keys[stops - 1],
        entries.hashes[stops - 1],
        digests_to_array(digests),
        np.add.reduceat(entries.counts, starts),
    )


def grow_root(nodes: Nodes, entries: Entries, level: int, value_nbytes: int) -> Root | None:
    """Write the levels above all entries of one level, and return the root.

    Parameters
    ----------
    entries : Entries
        All entries of level `level`, which is at least 1.
    """
    if not len(entries):
        return None
    if len(entries) > 1:
        while len(entries) > 1:
            entries = write_inner(nodes, entries, level, value_nbytes)
            level += 1
        return Root(NodeDigest(entries.children[0].tobytes()), int(entries.counts[0]))
    # A tree that has shrunk: the root is the lowest node that has no sibling.
    digest = entries.children[0].tobytes()
    for _ in range(level - 1):
        node = nodes.load_one(digest)
        if node.level == 0 or node.entry_count > 1:
            break
        digest = node.child(0)
    return Root(NodeDigest(digest), int(entries.counts[0]))


def merge_entries(left: Entries, right: Entries, *, is_text: bool) -> Entries:
    """Return two lists of entries merged by key; no key is in both."""
    if not len(left) or not len(right):
        return left if len(left) else right
    joined = join_entries([left, right], is_text=is_text)
    order = np.argsort(joined.keys, kind="stable")
    return Entries(
        joined.keys[order], joined.hashes[order], joined.children[order], joined.counts[order]
    )
