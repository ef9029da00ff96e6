from __future__ import annotations

import pytest

from tensorvcs.tree import diff as diff_module
from tensorvcs.tree.boundary import DEFAULT_BOUNDARY, Boundary
from tensorvcs.tree.diff import diff, differing
from tensorvcs.tree.nodes import Nodes
from tensorvcs.tree.tree import Tree
from tests.unit.tree.model import (
    CUTTING,
    TINY,
    Items,
    dict_changes,
    diff_changes,
    in_order,
    keys_from,
    memory_nodes,
    objects_of,
    tree_from,
)

ITEMS: Items = {
    **{key: bytes([key % 7]) for key in range(0, 600, 2)},
    **{b"k%d" % key: bytes([key % 5]) for key in range(300)},
}
OTHERS: list[Items] = [
    {},
    {0: b"x"},
    {b"k5": b"x"},
    ITEMS,
    {**ITEMS, 4: b"x", b"k77": b"y"},
    {**ITEMS, 5: b"x", b"k77x": b"y", -3: b"z", 999: b"z"},
    {key: value for key, value in ITEMS.items() if key not in (0, 300, b"k0")},
    {key: value for key, value in ITEMS.items() if isinstance(key, int) and key > 500},
    dict.fromkeys(ITEMS, b"x"),
    dict.fromkeys(range(1, 3000, 2), b"x"),
]


@pytest.fixture(params=[2, 256], ids=["in small ranges", "in one range"], autouse=True)
def range_entries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_module, "_RANGE_ENTRIES", request.param)


@pytest.mark.parametrize("boundary", [TINY, CUTTING, DEFAULT_BOUNDARY])
@pytest.mark.parametrize("other", OTHERS)
def test_a_diff_is_what_differs_in_key_order(boundary: Boundary, other: Items) -> None:
    nodes = memory_nodes(boundary)
    before, after = tree_from(nodes, ITEMS, 1), tree_from(nodes, other, 1)
    assert diff_changes(nodes, before, after) == dict_changes(ITEMS, other)
    assert diff_changes(nodes, after, before) == dict_changes(other, ITEMS)


def test_equal_trees_are_not_read() -> None:
    nodes = memory_nodes(TINY)
    tree = tree_from(nodes, ITEMS, 1)
    assert list(diff(nodes, tree, tree)) == []
    assert list(diff(nodes, Tree.empty(1), Tree.empty(1))) == []
    assert objects_of(nodes).get_count == 0


def test_a_sort_that_is_equal_is_not_read() -> None:
    objects = objects_of(memory_nodes())
    before = tree_from(Nodes(objects, boundary=TINY), ITEMS, 1)
    texts: Items = {key: value for key, value in ITEMS.items() if isinstance(key, bytes)}
    after = tree_from(Nodes(objects, boundary=TINY), {**texts, 1: b"x"}, 1)
    text_objects = objects_of(memory_nodes())
    tree_from(Nodes(text_objects, boundary=TINY), texts, 1)
    for digest in text_objects.objects:
        del objects.objects[digest]
    changed = sum(len(block) for block in diff(Nodes(objects, boundary=TINY), before, after))
    assert changed == 301


def test_the_first_block_comes_before_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_module, "_RANGE_ENTRIES", 2)
    objects = objects_of(memory_nodes())
    tree = tree_from(Nodes(objects, boundary=TINY), ITEMS, 1)
    block = next(diff(Nodes(objects, boundary=TINY), Tree.empty(1), tree))
    assert 0 < len(block) < 60
    assert objects.get_count < 40 < len(objects.objects) // 4


def test_trees_of_different_widths_have_no_diff() -> None:
    with pytest.raises(AssertionError):
        next(diff(memory_nodes(), Tree.empty(1), Tree.empty(2)))


@pytest.mark.parametrize("boundary", [TINY, CUTTING, DEFAULT_BOUNDARY])
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("at_once", [7, 4096])
def test_the_keys_that_differ_are_told(
    boundary: Boundary, other: Items, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff_module, "_KEYS_AT_ONCE", at_once)
    nodes = memory_nodes(boundary)
    before, after = tree_from(nodes, ITEMS, 1), tree_from(nodes, other, 1)
    changes = dict_changes(ITEMS, other)
    some: Items = dict.fromkeys([-9, -3, 4, 5, 7, 999, 9999, b"k", b"k0", b"k77x", b"z"], b"")
    for keys in (in_order({*ITEMS, *other, *some}), in_order(some), [4], [b"k5"], []):
        expected = [key in changes for key in keys]
        assert differing(nodes, before, after, keys_from(keys)).tolist() == expected
        assert differing(nodes, after, before, keys_from(keys)).tolist() == expected


def test_only_nodes_on_the_way_to_a_key_are_read() -> None:
    objects = objects_of(memory_nodes())
    before = tree_from(Nodes(objects, boundary=TINY), ITEMS, 1)
    after = tree_from(Nodes(objects, boundary=TINY), {**ITEMS, 4: b"x"}, 1)
    objects.get_count = 0
    nodes = Nodes(objects, boundary=TINY)
    assert differing(nodes, before, after, keys_from([400, b"k5"])).tolist() == [False, False]
    far = objects.get_count
    assert differing(nodes, before, after, keys_from([4])).tolist() == [True]
    # Down both trees, and for a key that is far from the change only to where the ways part.
    assert far < objects.get_count < 40
    assert not differing(nodes, before, before, keys_from([4])).any()
