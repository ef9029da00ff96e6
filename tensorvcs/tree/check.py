"""Check that a tree is the one tree of its content, node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.digest import digests_to_array
from tensorvcs.tree.entries import Entries, join_entries, join_keys, node_entries, run_batches
from tensorvcs.tree.node import check_node

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.tree.node import Node
    from tensorvcs.tree.nodes import Nodes
    from tensorvcs.tree.tree import Root, Tree

_BATCH_ENTRIES = 1 << 17


def check_tree(nodes: Nodes, tree: Tree) -> int:
    """Read a whole tree and check every node, every link, and where every node ends.

    Returns
    -------
    int
        The number of nodes.

    Raises
    ------
    ObjectDamagedError
        A node is damaged, does not fit the entry that names it, or is not the node that its
        content has. Then equal content could have another root.
    ObjectNotFoundError, DigestMismatchError
        From the store.

    Notes
    -----
    Reads all nodes, level by level and each once, and holds the entries of one level.
    """
    return sum(
        _check_sort(nodes, root, tree.value_nbytes, is_text=is_text)
        for root, is_text in ((tree.ints, False), (tree.texts, True))
        if root is not None
    )


def _check_sort(nodes: Nodes, root: Root, width: int, *, is_text: bool) -> int:
    top = nodes.load_root(root, is_text=is_text, value_nbytes=width)
    if top.level and top.entry_count == 1:
        raise ObjectDamagedError(
            f"root {root.digest.hex()} has one child only, which should be the root"
        )
    entries = Entries(
        top.keys[-1:], top.hashes[-1:], digests_to_array([root.digest]), np.array([root.count])
    )
    node_count = 0
    for level in range(top.level, -1, -1):
        node_count += len(entries)
        below = []
        last: NDArray[Any] | None = None
        ends = nodes.boundary.ends_run(entries.hashes, level, width)
        # The number of entries of an inner node is not known before it is read: take the mean.
        sizes = entries.counts if level == 0 else np.full(len(entries), 128, np.int64)
        for start, stop in run_batches(sizes, ends, _BATCH_ENTRIES):
            batch = entries.select(slice(start, stop))
            loaded = nodes.load_children(
                batch.children,
                batch.counts,
                level=level,
                is_text=is_text,
                value_nbytes=width,
                keep=False,
            )
            last = _check_runs(nodes, batch, loaded, last)
            if level:
                below.append(join_entries([node_entries(node) for node in loaded], is_text=is_text))
        entries = join_entries(below, is_text=is_text)
    return node_count


def _check_runs(
    nodes: Nodes, entries: Entries, loaded: list[Node], last: NDArray[Any] | None
) -> NDArray[Any]:
    """Check the nodes of whole runs against the entries that name them; return the last key."""
    for node in loaded:
        check_node(node.content, nodes.boundary)
    first = loaded[0]
    keys = join_keys([node.keys for node in loaded], is_text=first.is_text)
    stops = np.cumsum([node.entry_count for node in loaded])
    whole = keys if last is None else join_keys([last, keys], is_text=first.is_text)
    if not bool((whole[1:] > whole[:-1]).all()):
        raise ObjectDamagedError(
            f"the keys of consecutive tree nodes of level {first.level} do not strictly increase"
        )
    if not bool((keys[stops - 1] == entries.keys).all()):
        raise ObjectDamagedError(
            f"a tree node of level {first.level} does not end with the key that its parent says"
        )
    hashes = np.concatenate([node.hashes for node in loaded])
    right = nodes.boundary.node_stops(keys, hashes, first.level, first.value_nbytes)
    if not np.array_equal(stops, right):
        raise ObjectDamagedError(
            f"tree nodes of level {first.level} end at other entries than their keys ask for"
        )
    return keys[-1:]
