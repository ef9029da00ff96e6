"""Reading: look up keys, step over leaves, rank keys and select them by rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.objects.keys import Keys
from tensorvcs.tree.entries import find_keys, join_keys, join_values, keys_of
from tensorvcs.tree.node import Node, leaf_payloads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.tree.nodes import Nodes
    from tensorvcs.tree.tree import Root, Tree

# Leaves are read in groups of about this many keys, inner nodes in groups of so many nodes.
_GROUP_KEYS = 1 << 16
_GROUP_NODES = 64
# A scan of values asks the store for so many leaves at a time.
_SCAN_LEAVES = 512


@dataclass(frozen=True, slots=True)
class LeafList:
    """The leaves of a tree in key order, ints first.

    Attributes
    ----------
    digests : list of bytes, length n
    counts : ndarray, shape (n,), int64
        The number of keys in each.
    """

    digests: list[bytes]
    counts: NDArray[np.int64]


def get_one(nodes: Nodes, tree: Tree, key: int | bytes) -> bytes | None:
    """Return the value of one key, or None.

    Parameters
    ----------
    key : int or bytes
        An int key, or the UTF-8 (or composite) bytes of a text key.

    Notes
    -----
    Reads one node a level; about 5 µs when they are in memory.
    """
    is_text = isinstance(key, bytes)
    root = tree.texts if is_text else tree.ints
    if root is None:
        return None
    node = nodes.load_one(root.digest)
    if node.is_text != is_text or node.value_nbytes != tree.value_nbytes:
        nodes.load_root(root, is_text=is_text, value_nbytes=tree.value_nbytes)
    while True:
        keys = node.keys
        at = int(keys.searchsorted(key))
        if at == node.entry_count:
            return None
        level = node.level
        if level == 0:
            return node.value(at) if keys[at] == key else None
        node = _child(nodes, node, at)


def _child(nodes: Nodes, node: Node, entry: int) -> Node:
    digest = node.child(entry)
    child = nodes.load_one(digest)
    if (
        child.level != node.level - 1
        or child.is_text != node.is_text
        or child.value_nbytes != node.value_nbytes
    ):
        raise ObjectDamagedError(
            f"node {digest.hex()} of level {child.level} does not fit its parent, which expects "
            f"level {node.level - 1}"
        )
    return child


def get(nodes: Nodes, tree: Tree, keys: Keys) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the values of keys.

    Parameters
    ----------
    keys : Keys
        In any order, repeats allowed.

    Returns
    -------
    values : ndarray, shape (n, value_nbytes), uint8
        In the order of `keys`, ints then texts; zeros where a key is absent.
    found : ndarray, shape (n,), bool

    Notes
    -----
    Each node is read once, and one batch a level goes to the store.
    """
    values = np.zeros((len(keys), tree.value_nbytes), np.uint8)
    found = np.zeros(len(keys), np.bool_)
    for root, wanted, base in _by_sort(tree, keys):
        for places, at, is_found, leaves, _ in _look_up(nodes, root, wanted, tree.value_nbytes):
            hits = places[is_found] + base
            found[hits] = True
            columns = join_values([leaf.values for leaf in leaves], tree.value_nbytes)
            values[hits] = columns[at[is_found]]
    return values, found


def positions(nodes: Nodes, tree: Tree, keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the positions of keys in column order.

    Parameters
    ----------
    keys : Keys
        In any order, repeats allowed.

    Returns
    -------
    positions : ndarray, shape (n,), int64
        In the order of `keys`, ints then texts. Of an absent key: where it would be put.
    found : ndarray, shape (n,), bool
    """
    ranks = np.zeros(len(keys), np.int64)
    ranks[len(keys.ints) :] = tree.int_count
    found = np.zeros(len(keys), np.bool_)
    for root, wanted, base in _by_sort(tree, keys):
        for places, at, is_found, leaves, starts in _look_up(
            nodes, root, wanted, tree.value_nbytes
        ):
            found[places + base] = is_found
            # A place in the columns of the group, to a rank in the column of the tree.
            stops = np.cumsum([leaf.entry_count for leaf in leaves])
            leaf = np.minimum(np.searchsorted(stops, at, "right"), len(leaves) - 1)
            shift = starts - (stops - [leaf.entry_count for leaf in leaves])
            ranks[places + base] += at + shift[leaf]
    return ranks, found


def _by_sort(tree: Tree, keys: Keys) -> Iterator[tuple[Root, NDArray[Any], int]]:
    """Yield for each sort that is in both: the root, the keys, their first place in `keys`."""
    if tree.ints is not None and len(keys.ints):
        yield tree.ints, keys.ints, 0
    if tree.texts is not None and len(keys.texts):
        yield tree.texts, keys.texts, len(keys.ints)


def _look_up(
    nodes: Nodes, root: Root, wanted: NDArray[Any], width: int
) -> Iterator[
    tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_], list[Node], NDArray[np.int64]]
]:
    """Find keys of one sort, a group of leaves at a time.

    Yields
    ------
    places : the places in `wanted` that this group answers
    at : for each the place in the joined columns of the leaves where it is or would be
    is_found : whether it is there
    leaves : the leaves of the group
    starts : the rank of the first key of each leaf
    """
    is_text = wanted.dtype != np.int64
    order = np.argsort(wanted, kind="stable")
    ordered = wanted[order]
    top = nodes.load_root(root, is_text=is_text, value_nbytes=width)
    loaded, starts = [top], np.zeros(1, np.int64)
    leaf_of = np.zeros(len(ordered), np.intp)
    for level in range(top.level, 0, -1):
        keys = join_keys([node.keys for node in loaded], is_text=is_text)
        counts = np.concatenate([node.counts for node in loaded])
        children = join_values([node.children for node in loaded], 32)
        at = np.minimum(np.searchsorted(keys, ordered), len(keys) - 1)
        leaf_of = np.cumsum(np.diff(at, prepend=at[0]) != 0)
        chosen = at[np.append(0, np.flatnonzero(np.diff(leaf_of)) + 1)]
        starts = _entry_starts(loaded, starts, counts)[chosen]
        if level > 1:
            loaded = nodes.load_children(
                children[chosen],
                counts[chosen],
                level=level - 1,
                is_text=is_text,
                value_nbytes=width,
            )
    if top.level == 0:
        groups: Iterator[tuple[int, int]] = iter([(0, 1)])
    else:
        groups = _groups(counts[chosen])
    for first, last in groups:
        if top.level:
            loaded = nodes.load_children(
                children[chosen[first:last]],
                counts[chosen[first:last]],
                level=0,
                is_text=is_text,
                value_nbytes=width,
            )
        span = slice(*np.searchsorted(leaf_of, [first, last]).tolist())
        keys = join_keys([leaf.keys for leaf in loaded], is_text=is_text)
        at, is_found = find_keys(keys, ordered[span])
        yield order[span], at, is_found, loaded, starts[first:last]


def _entry_starts(
    loaded: Sequence[Node], starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the rank of the first key below each entry of nodes whose own is `starts`."""
    entry_counts = np.array([node.entry_count for node in loaded])
    before = np.cumsum(counts) - counts
    first_entries = np.cumsum(entry_counts) - entry_counts
    shift: NDArray[np.int64] = np.repeat(starts - before[first_entries], entry_counts)
    return before + shift


def _groups(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield ranges of leaves of about `_GROUP_KEYS` keys."""
    totals = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = int(totals[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(totals, done + _GROUP_KEYS, "right")))
        yield start, stop
        start = stop


def rank(nodes: Nodes, tree: Tree, key: int | bytes) -> int:
    """Return the position of the first key of the column that is not before `key`.

    Parameters
    ----------
    key : int or bytes
        Any int of 64 bits, or any bytes that do not end with NUL.

    Notes
    -----
    Reads one node a level.
    """
    is_text = isinstance(key, bytes)
    root = tree.texts if is_text else tree.ints
    place = tree.int_count if is_text else 0
    if root is None:
        return place
    node = nodes.load_root(root, is_text=is_text, value_nbytes=tree.value_nbytes)
    while True:
        at = int(node.keys.searchsorted(key))
        if node.level == 0:
            return place + at
        if at == node.entry_count:
            return place + node.total
        place += int(node.counts[:at].sum())
        node = _child(nodes, node, at)


def prefix_range(nodes: Nodes, tree: Tree, prefix: bytes) -> tuple[int, int]:
    """Return the positions (start, stop) of the text keys that start with `prefix`."""
    start = rank(nodes, tree, prefix) if prefix else tree.int_count
    # The first bytes behind all that start with the prefix: its last byte below 0xFF, plus one.
    shorter = prefix.rstrip(b"\xff")
    if not shorter:
        return start, tree.count
    return start, rank(nodes, tree, shorter[:-1] + bytes([shorter[-1] + 1]))


def keys_at(nodes: Nodes, tree: Tree, start: int, stop: int) -> Keys:
    """Return the keys at positions `start` up to `stop`, within 0 and the count.

    Notes
    -----
    Reads the leaves of the range and one node a level above its ends.
    """
    ints, texts = (
        join_keys(
            [keys for keys, _ in _rows(nodes, tree, start, stop, is_text=is_text)], is_text=is_text
        )
        for is_text in (False, True)
    )
    return Keys(ints, texts)


def values_at(nodes: Nodes, tree: Tree, start: int, stop: int) -> NDArray[np.uint8]:
    """Return the values at positions `start` up to `stop`, shape (n, value_nbytes), uint8."""
    pieces = [
        leaf.values[first:last]
        for is_text in (False, True)
        for leaves in _leaf_groups(nodes, tree, start, stop, is_text=is_text, keep=True)
        for leaf, first, last in leaves
    ]
    return join_values(pieces, tree.value_nbytes)


def items_at(nodes: Nodes, tree: Tree, start: int, stop: int) -> tuple[Keys, NDArray[np.uint8]]:
    """Return `keys_at` and `values_at` of one range, in one pass."""
    by_sort = [list(_rows(nodes, tree, start, stop, is_text=is_text)) for is_text in (False, True)]
    ints, texts = (
        join_keys([keys for keys, _ in rows], is_text=is_text)
        for is_text, rows in zip((False, True), by_sort, strict=True)
    )
    values = [values for rows in by_sort for _, values in rows]
    return Keys(ints, texts), join_values(values, tree.value_nbytes)


def select(
    nodes: Nodes, tree: Tree, positions: NDArray[np.integer[Any]]
) -> tuple[Keys, NDArray[np.uint8]]:
    """Return the keys and values at any positions.

    Parameters
    ----------
    positions : ndarray, shape (n,), ascending
        Each within 0 and the count; repeats allowed.

    Returns
    -------
    keys : Keys
    values : ndarray, shape (n, value_nbytes), uint8

    Notes
    -----
    Each node is read once, and one batch a level goes to the store. Memory is that of the leaves.
    """
    found: list[NDArray[Any]] = []
    values: list[NDArray[np.uint8]] = []
    for root, is_text, base in ((tree.ints, False, 0), (tree.texts, True, tree.int_count)):
        low, high = positions.searchsorted([base, base + (0 if root is None else root.count)])
        pieces: list[NDArray[Any]] = []
        if root is not None and low < high:
            wanted = positions[low:high] - base
            top = nodes.load_root(root, is_text=is_text, value_nbytes=tree.value_nbytes)
            leaves, starts = _leaves_of(nodes, top, wanted)
            counts = np.array([leaf.entry_count for leaf in leaves])
            leaf = starts.searchsorted(wanted, "right") - 1
            places = wanted - (starts - (np.cumsum(counts) - counts))[leaf]
            pieces.append(join_keys([leaf.keys for leaf in leaves], is_text=is_text)[places])
            joined = join_values([leaf.values for leaf in leaves], tree.value_nbytes)
            values.append(joined[places])
        found.append(join_keys(pieces, is_text=is_text))
    return Keys(found[0], found[1]), join_values(values, tree.value_nbytes)


def _leaves_of(
    nodes: Nodes, top: Node, wanted: NDArray[np.integer[Any]]
) -> tuple[list[Node], NDArray[np.int64]]:
    """Return the leaves below a root that have some ascending positions, and where each starts."""
    loaded, starts = [top], np.zeros(1, np.int64)
    while loaded[0].level:
        counts = np.concatenate([node.counts for node in loaded])
        children = join_values([node.children for node in loaded], 32)
        starts = _entry_starts(loaded, starts, counts)
        chosen = np.unique(starts.searchsorted(wanted, "right") - 1)
        loaded = nodes.load_children(
            children[chosen],
            counts[chosen],
            level=loaded[0].level - 1,
            is_text=top.is_text,
            value_nbytes=top.value_nbytes,
        )
        starts = starts[chosen]
    return loaded, starts


def iter_blocks(nodes: Nodes, tree: Tree) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
    """Yield all keys and values in order, in blocks of one sort and some ten thousand keys.

    Yields
    ------
    keys : Keys
    values : ndarray, shape (n, value_nbytes), uint8

    Notes
    -----
    Memory is that of one block; the nodes read are not kept.
    """
    for is_text in (False, True):
        for keys, values in _rows(nodes, tree, 0, tree.count, is_text=is_text, keep=False):
            yield keys_of(keys, is_text=is_text), values


def scan_values(nodes: Nodes, tree: Tree) -> NDArray[np.uint8]:
    """Return all values in key order, shape (n, value_nbytes), uint8.

    Notes
    -----
    Decodes no keys and keeps no leaves: a pass over the bytes of the leaves.
    """
    width = tree.value_nbytes
    listed = leaves(nodes, tree)
    scanned = bytearray() if width else b""
    for first in range(0, len(listed.digests), _SCAN_LEAVES):
        wanted = listed.digests[first : first + _SCAN_LEAVES]
        scanned += leaf_payloads(nodes.objects.get(wanted), width)
    if len(scanned) != tree.count * width:
        raise ObjectDamagedError(
            f"the leaves of a tree have {len(scanned)} bytes of values, expected "
            f"{tree.count} of {width} bytes"
        )
    return np.frombuffer(scanned, np.uint8).reshape(tree.count, width)


def leaf_values(
    nodes: Nodes, digests: Sequence[bytes], value_nbytes: int
) -> list[NDArray[np.uint8]]:
    """Return the values of each leaf, shape (count, value_nbytes), without decoding keys."""
    loaded = nodes.load(digests, keep=False)
    for digest, leaf in zip(digests, loaded, strict=True):
        if leaf.level or leaf.value_nbytes != value_nbytes:
            raise ObjectDamagedError(
                f"node {digest.hex()} of level {leaf.level} has values of {leaf.value_nbytes} "
                f"bytes; expected a leaf with {value_nbytes}"
            )
    return [leaf.values for leaf in loaded]


def leaves(nodes: Nodes, tree: Tree) -> LeafList:
    """Return the digests and counts of all leaves in key order, ints first.

    Notes
    -----
    Reads the inner nodes only, and the root.
    """
    digests: list[bytes] = []
    counts = [np.empty(0, np.int64)]
    for root, is_text in ((tree.ints, False), (tree.texts, True)):
        if root is None:
            continue
        top = nodes.load_root(root, is_text=is_text, value_nbytes=tree.value_nbytes)
        if top.level == 0:
            digests.append(root.digest)
            counts.append(np.array([root.count]))
            continue
        loaded = [top]
        for level in range(top.level - 1, 0, -1):
            loaded = nodes.load_children(
                join_values([node.children for node in loaded], 32),
                np.concatenate([node.counts for node in loaded]),
                level=level,
                is_text=is_text,
                value_nbytes=tree.value_nbytes,
            )
        for node in loaded:
            digests += array_to_digests(node.children)
            counts.append(node.counts)
    return LeafList(digests, np.concatenate(counts))


def _rows(
    nodes: Nodes, tree: Tree, start: int, stop: int, *, is_text: bool, keep: bool = True
) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Yield the keys and values of one sort in a range of positions."""
    for group in _leaf_groups(nodes, tree, start, stop, is_text=is_text, keep=keep):
        yield (
            join_keys([leaf.keys[first:last] for leaf, first, last in group], is_text=is_text),
            join_values(
                [leaf.values[first:last] for leaf, first, last in group], tree.value_nbytes
            ),
        )


def _leaf_groups(
    nodes: Nodes, tree: Tree, start: int, stop: int, *, is_text: bool, keep: bool
) -> Iterator[list[tuple[Node, int, int]]]:
    """Yield the leaves of one sort in a range of positions, each with its first and last entry."""
    base = tree.int_count if is_text else 0
    root = tree.texts if is_text else tree.ints
    if root is None or max(start - base, 0) >= min(stop - base, root.count):
        return
    top = nodes.load_root(root, is_text=is_text, value_nbytes=tree.value_nbytes)
    yield from _walk(nodes, [top], np.zeros(1, np.int64), start - base, stop - base, keep=keep)


def _walk(
    nodes: Nodes,
    loaded: list[Node],
    starts: NDArray[np.int64],
    start: int,
    stop: int,
    *,
    keep: bool,
) -> Iterator[list[tuple[Node, int, int]]]:
    """Yield the leaves below nodes of one level, depth first, in bounded groups."""
    node = loaded[0]
    if node.level == 0:
        yield [
            (leaf, max(0, start - first), min(leaf.entry_count, stop - first))
            for leaf, first in zip(loaded, starts.tolist(), strict=True)
        ]
        return
    counts = np.concatenate([node.counts for node in loaded])
    starts = _entry_starts(loaded, starts, counts)
    inside = (starts < stop) & (starts + counts > start)
    children = join_values([node.children for node in loaded], 32)[inside]
    starts, counts = starts[inside], counts[inside]
    if node.level == 1:
        groups = _groups(counts)
    else:
        groups = (
            (first, min(first + _GROUP_NODES, len(counts)))
            for first in range(0, len(counts), _GROUP_NODES)
        )
    for first, last in groups:
        below = nodes.load_children(
            children[first:last],
            counts[first:last],
            level=node.level - 1,
            is_text=node.is_text,
            value_nbytes=node.value_nbytes,
            keep=keep or node.level > 1,
        )
        yield from _walk(nodes, below, starts[first:last], start, stop, keep=keep)
