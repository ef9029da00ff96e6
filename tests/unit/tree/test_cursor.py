from __future__ import annotations

import numpy as np
import pytest

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.digest import NodeDigest, digests_to_array
from tensorvcs.objects.keys import (
    EMPTY_INTS,
    EMPTY_TEXTS,
    Keys,
    composite_key,
    composite_prefix,
)
from tensorvcs.tree import cursor
from tensorvcs.tree.node import encode_inner, encode_leaves
from tensorvcs.tree.nodes import Nodes
from tensorvcs.tree.tree import Root, Tree
from tests.unit.tree.model import (
    TINY,
    Items,
    TreeKey,
    in_order,
    keys_from,
    keys_to_list,
    memory_nodes,
    objects_of,
    tree_from,
)

ITEMS: Items = {
    **{key: key.to_bytes(2, "big") for key in range(100, 700, 3)},
    **{b"k%d" % key: key.to_bytes(2, "little") for key in range(300)},
}
KEYS = in_order(ITEMS)
EXTREMES: list[TreeKey] = [-(2**63), 2**63 - 1, 99, 101, 700, b"a", b"k", b"k1x", b"zz" * 99]


@pytest.fixture(params=[False, True], ids=["grouped", "in small groups"])
def nodes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    if request.param:
        monkeypatch.setattr(cursor, "_GROUP_KEYS", 10)
        monkeypatch.setattr(cursor, "_GROUP_NODES", 2)
        monkeypatch.setattr(cursor, "_SCAN_LEAVES", 3)
    return memory_nodes(TINY)


TREES: list[Items] = [
    {},
    {5: b"ab"},
    {b"k": b"ab"},
    {key: value for key, value in ITEMS.items() if isinstance(key, int)},
    {key: value for key, value in ITEMS.items() if isinstance(key, bytes)},
    ITEMS,
]


@pytest.mark.parametrize("items", TREES)
def test_get_answers_in_the_order_asked_for(nodes: Nodes, items: Items) -> None:
    tree = tree_from(nodes, items, 2)
    asked = [*KEYS[::-3], *EXTREMES, *KEYS[:4], *KEYS[-3:]]
    keys = keys_from(asked)
    values, found = cursor.get(nodes, tree, keys)
    at, found_again = cursor.positions(nodes, tree, keys)
    for place, key in enumerate(keys_to_list(keys)):
        assert found[place] == found_again[place] == (key in items)
        assert bytes(values[place]) == items.get(key, b"\0\0")
        assert cursor.get_one(nodes, tree, key) == items.get(key)
        assert at[place] == cursor.rank(nodes, tree, key)
        assert at[place] == in_order({*items, key}).index(key)
    assert len(values) == len(asked)


def test_no_keys_find_nothing(nodes: Nodes) -> None:
    tree = tree_from(nodes, ITEMS, 2)
    values, found = cursor.get(nodes, tree, Keys(EMPTY_INTS, EMPTY_TEXTS))
    assert values.shape == (0, 2) and found.shape == (0,)
    assert len(cursor.positions(nodes, tree, Keys(EMPTY_INTS, EMPTY_TEXTS))[0]) == 0


@pytest.mark.parametrize("items", TREES)
def test_ranges_of_positions_are_slices_of_the_sorted_keys(nodes: Nodes, items: Items) -> None:
    tree = tree_from(nodes, items, 2)
    ordered = in_order(items)
    count = len(ordered)
    for start in sorted({0, 1, 7, count // 2, count - 1, count}):
        for stop in sorted({start, start + 1, start + 40, count}):
            if not 0 <= start <= stop <= count:
                continue
            keys, values = cursor.items_at(nodes, tree, start, stop)
            assert keys_to_list(keys) == ordered[start:stop]
            assert [bytes(row) for row in values] == [items[key] for key in ordered[start:stop]]
            assert keys_to_list(cursor.keys_at(nodes, tree, start, stop)) == ordered[start:stop]
            assert np.array_equal(cursor.values_at(nodes, tree, start, stop), values)


@pytest.mark.parametrize("items", TREES)
def test_any_positions_are_selected(nodes: Nodes, items: Items) -> None:
    tree = tree_from(nodes, items, 2)
    ordered = in_order(items)
    count = len(ordered)
    for chosen in ([], range(count), range(0, count, 7), [0] * min(2, count), [count - 1][:count]):
        keys, values = cursor.select(nodes, tree, np.array(chosen, np.int64))
        assert keys_to_list(keys) == [ordered[at] for at in chosen]
        assert [bytes(row) for row in values] == [items[ordered[at]] for at in chosen]


def test_a_selection_reads_each_node_once() -> None:
    objects = objects_of(memory_nodes())
    tree = tree_from(Nodes(objects, boundary=TINY), ITEMS, 2)
    nodes = Nodes(objects, boundary=TINY)
    before = objects.get_count
    cursor.select(nodes, tree, np.array([0, 1, 2, 250, 499]))
    assert objects.get_count - before < 40 < len(objects.objects) // 3


@pytest.mark.parametrize("items", TREES)
def test_blocks_scans_and_leaves_cover_everything_in_order(nodes: Nodes, items: Items) -> None:
    tree = tree_from(nodes, items, 2)
    blocks = list(cursor.iter_blocks(nodes, tree))
    assert all(len(keys) == len(values) > 0 for keys, values in blocks)
    assert [key for keys, _ in blocks for key in keys_to_list(keys)] == in_order(items)
    expected = [items[key] for key in in_order(items)]
    assert [bytes(row) for _, values in blocks for row in values] == expected
    assert [bytes(row) for row in cursor.scan_values(nodes, tree)] == expected
    listed = cursor.leaves(nodes, tree)
    assert int(listed.counts.sum()) == tree.count
    by_leaf = cursor.leaf_values(nodes, listed.digests, 2)
    assert [len(values) for values in by_leaf] == listed.counts.tolist()
    assert [bytes(row) for values in by_leaf for row in values] == expected


def test_values_of_no_bytes_are_counted(nodes: Nodes) -> None:
    tree = tree_from(nodes, dict.fromkeys(ITEMS, b""), 0)
    assert cursor.scan_values(nodes, tree).shape == (len(ITEMS), 0)
    assert cursor.get_one(nodes, tree, 100) == b""
    values, found = cursor.get(nodes, tree, keys_from(KEYS))
    assert values.shape == (len(ITEMS), 0) and found.all()


def test_blocks_are_read_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor, "_GROUP_KEYS", 10)
    monkeypatch.setattr(cursor, "_GROUP_NODES", 1)
    objects = objects_of(memory_nodes())
    tree = tree_from(Nodes(objects, boundary=TINY), ITEMS, 2)
    nodes = Nodes(objects, boundary=TINY)
    next(iter(cursor.iter_blocks(nodes, tree)))
    assert objects.get_count < 25 < len(objects.objects) // 4


def test_a_pass_over_all_blocks_keeps_inner_nodes_and_no_leaves() -> None:
    objects = objects_of(memory_nodes())
    tree = tree_from(Nodes(objects, boundary=TINY), ITEMS, 2)
    nodes = Nodes(objects, boundary=TINY)
    leaf_count = len(cursor.leaves(Nodes(objects, boundary=TINY), tree).digests)
    for expected in (len(objects.objects), leaf_count):
        objects.get_count = 0
        assert sum(len(keys) for keys, _ in cursor.iter_blocks(nodes, tree)) == len(ITEMS)
        assert objects.get_count == expected


@pytest.mark.parametrize("prefix", [b"k", b"k1", b"k29", b"k299x", b"a", b"z", b"", b"\xff\xff"])
def test_a_prefix_is_a_range_of_positions(nodes: Nodes, prefix: bytes) -> None:
    tree = tree_from(nodes, ITEMS, 2)
    start, stop = cursor.prefix_range(nodes, tree, prefix)
    expected = [key for key in KEYS if isinstance(key, bytes) and key.startswith(prefix)]
    assert KEYS[start:stop] == expected


def test_a_prefix_that_ends_with_the_last_byte_carries(nodes: Nodes) -> None:
    items: Items = dict.fromkeys((b"a", b"a\xfe", b"a\xff", b"a\xff\xffz", b"b", b"\xff"), b"vv")
    tree = tree_from(nodes, items, 2)
    assert cursor.prefix_range(nodes, tree, b"a\xff") == (2, 4)
    assert cursor.prefix_range(nodes, tree, b"\xff") == (5, 6)


def test_the_prefix_of_a_sample_finds_its_subsamples(nodes: Nodes) -> None:
    samples = [-1, 7, "a", "ab", "é\x01"]
    items: Items = {composite_key(s, sub): b"vv" for s in samples for sub in (0, "x", "y")}
    tree = tree_from(nodes, items, 2)
    for at, sample in enumerate(samples):
        found = cursor.prefix_range(nodes, tree, composite_prefix(sample))
        assert found == (3 * at, 3 * at + 3)
    empty = cursor.prefix_range(nodes, Tree.empty(2), composite_prefix(7))
    assert empty == (0, 0)


def two_leaves(nodes: Nodes, level: int, counts: list[int], root_count: int) -> Tree:
    """Return a tree whose root says what its leaves may not."""
    values = np.zeros((2, 2), np.uint8)
    leaves = [encode_leaves(np.array(k), values, np.array([2]))[0] for k in ([1, 2], [3, 4])]
    children = digests_to_array(nodes.save(leaves))
    root = encode_inner(np.array([2, 4]), children, np.array(counts), np.array([2]), level, 2)
    return Tree(Root(NodeDigest(nodes.save(root)[0]), root_count), None, 2)


def test_a_root_that_misleads_is_damage() -> None:
    nodes = memory_nodes()
    assert cursor.scan_values(nodes, two_leaves(nodes, 1, [2, 2], 4)).shape == (4, 2)
    for level, counts, root_count in ((2, [2, 2], 4), (1, [2, 3], 5), (1, [2, 2], 5)):
        tree = two_leaves(nodes, level, counts, root_count)
        for read in (
            lambda tree=tree: list(cursor.iter_blocks(nodes, tree)),
            lambda tree=tree: cursor.get(nodes, tree, keys_from([1, 3])),
            lambda tree=tree: cursor.scan_values(nodes, tree),
        ):
            with pytest.raises(ObjectDamagedError):
                read()
    with pytest.raises(ObjectDamagedError):
        cursor.get_one(nodes, two_leaves(nodes, 2, [2, 2], 4), 3)


def test_a_root_of_another_tree_is_damage() -> None:
    nodes = memory_nodes()
    tree = tree_from(nodes, {1: b"ab"}, 2)
    for wrong, key in ((Tree(None, tree.ints, 2), b"a"), (Tree(tree.ints, None, 3), 1)):
        with pytest.raises(ObjectDamagedError):
            cursor.get_one(nodes, wrong, key)
    assert tree.ints is not None
    with pytest.raises(ObjectDamagedError, match=tree.ints.digest.hex()):
        cursor.leaf_values(nodes, [tree.ints.digest], 3)
