from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import ObjectDamagedError, ObjectNotFoundError
from tensorvcs.objects.digest import NodeDigest, digests_to_array
from tensorvcs.tree import check as check_module
from tensorvcs.tree.boundary import DEFAULT_BOUNDARY, Boundary, hash_keys
from tensorvcs.tree.check import check_tree
from tensorvcs.tree.node import Node, encode_inner, encode_leaves
from tensorvcs.tree.tree import Root, Tree
from tests.unit.tree.model import CUTTING, TINY, memory_nodes, objects_of, tree_from

if TYPE_CHECKING:
    from tensorvcs.tree.nodes import Nodes

ITEMS: dict[int | bytes, bytes] = {
    **dict.fromkeys(range(500), b"v"),
    **{b"k%d" % key: b"v" for key in range(500)},
}
# Runs of three keys, as the default rule cuts none of them.
KEYS = [1, 2, 3, 4, 5, 6]
assert not DEFAULT_BOUNDARY.ends_run(hash_keys(np.array(KEYS)), 0, 1).any()


@pytest.mark.parametrize("batch_entries", [10, 1 << 17])
@pytest.mark.parametrize("boundary", [TINY, CUTTING, DEFAULT_BOUNDARY])
def test_every_node_of_a_good_tree_is_checked_once(
    boundary: Boundary, batch_entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_module, "_BATCH_ENTRIES", batch_entries)
    nodes = memory_nodes(boundary)
    tree = tree_from(nodes, ITEMS, 1)
    count = len(objects_of(nodes).objects)
    assert check_tree(type(nodes)(nodes.objects, boundary=boundary), tree) == count
    assert objects_of(nodes).get_count <= count + 2
    assert check_tree(nodes, Tree.empty(1)) == 0


def test_a_missing_leaf_is_found() -> None:
    nodes = memory_nodes(TINY)
    tree = tree_from(nodes, ITEMS, 1)
    objects = objects_of(nodes).objects
    leaf = next(d for d, content in objects.items() if Node(content).level == 0)
    del objects[leaf]
    with pytest.raises(ObjectNotFoundError):
        check_tree(type(nodes)(nodes.objects, boundary=TINY), tree)


def tree_of(nodes: Nodes, leaves: list[list[Any]], last_keys: list[Any] | None = None) -> Tree:
    """Return a tree of two levels with leaves as given."""
    contents = [
        encode_leaves(np.array(keys), np.zeros((len(keys), 1), np.uint8), np.array([len(keys)]))[0]
        for keys in leaves
    ]
    counts = np.array([len(keys) for keys in leaves])
    root = encode_inner(
        np.array(last_keys or [keys[-1] for keys in leaves]),
        digests_to_array(nodes.save(contents)),
        counts,
        np.array([len(leaves)]),
        1,
        1,
    )
    return Tree(Root(NodeDigest(nodes.save(root)[0]), int(counts.sum())), None, 1)


@pytest.mark.parametrize(
    ("leaves", "last_keys", "problem"),
    [
        ([[1, 2, 3], [4, 5]], None, "end at other entries"),
        ([[1, 3], [2, 4]], None, "increase"),
        ([[1, 2, 3], [4, 5]], [3, 6], "its parent says"),
        ([[1, 2, 3]], None, "one child only"),
    ],
)
def test_a_tree_that_its_content_has_not_is_found(
    leaves: list[list[int]], last_keys: list[int] | None, problem: str
) -> None:
    nodes = memory_nodes()
    with pytest.raises(ObjectDamagedError, match=problem):
        check_tree(nodes, tree_of(nodes, leaves, last_keys))


def test_batches_of_nodes_are_checked_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "_BATCH_ENTRIES", 1)
    nodes = memory_nodes(Boundary(0, 0, inner_bits=20, run_factor=1, run_nbytes=1 << 20))
    check_tree(nodes, tree_of(nodes, [[1], [2], [3]]))
    with pytest.raises(ObjectDamagedError, match="its parent says"):
        check_tree(nodes, tree_of(nodes, [[1], [3], [2]], [1, 2, 3]))


def test_a_run_is_cut_only_where_its_keys_ask_for_it() -> None:
    nodes = memory_nodes()
    keys = np.arange(5000)
    keys = keys[~DEFAULT_BOUNDARY.ends_run(hash_keys(keys), 0, 1)][:4000]
    with pytest.raises(ObjectDamagedError, match="end at other entries"):
        check_tree(nodes, tree_of(nodes, [keys[:1999].tolist(), keys[1999:].tolist()]))
