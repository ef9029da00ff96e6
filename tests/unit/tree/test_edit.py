from __future__ import annotations

import numpy as np
import pytest

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.digest import NodeDigest
from tensorvcs.objects.keys import EMPTY_INTS, EMPTY_TEXTS, Keys, text_array
from tensorvcs.tree import edit as edit_module
from tensorvcs.tree.boundary import DEFAULT_BOUNDARY, Boundary, hash_ints
from tensorvcs.tree.check import check_tree
from tensorvcs.tree.edit import edit
from tensorvcs.tree.node import encode_inner, encode_leaves
from tensorvcs.tree.tree import Root, Tree
from tests.unit.tree.model import (
    CUTTING,
    TINY,
    Items,
    edited,
    items_of,
    memory_nodes,
    objects_of,
    tree_from,
)

ITEMS: Items = {
    **{key: bytes([key % 7]) for key in range(0, 400, 2)},
    **{b"k%d" % key: bytes([key % 5]) for key in range(200)},
}
END = int(next(k for k in range(0, 400, 2) if TINY.ends_run(hash_ints(np.array([k])), 3, 1)[0]))
"""A key that ends nodes of four levels."""


@pytest.mark.parametrize("boundary", [TINY, CUTTING, DEFAULT_BOUNDARY])
@pytest.mark.parametrize(
    ("puts", "deletes"),
    [
        ({}, []),
        ({0: b"x"}, []),
        ({1: b"x", b"k1x": b"y"}, []),
        ({-5: b"x", 10_000: b"y", b"a": b"z", b"z": b"z"}, []),
        ({}, [0, b"k7"]),
        ({}, [END]),
        ({END + 1: b"x", END: b"y"}, [END - 2, END + 2]),
        ({}, [398, b"k99"]),
        ({500: b"x"}, [398]),
        ({}, [7, b"absent", 10**6]),
        ({8: b"x"}, [8, 9]),
        ({}, list(range(0, 400, 2))),
        ({}, [key for key in ITEMS if key != END]),
        ({}, list(ITEMS)),
        (dict.fromkeys(ITEMS, b"n"), []),
        (dict.fromkeys(range(1, 2000), b"n"), [b"k%d" % key for key in range(150)]),
    ],
)
def test_an_edit_gives_the_tree_of_its_content(
    boundary: Boundary, puts: Items, deletes: list[int | bytes]
) -> None:
    nodes = memory_nodes(boundary)
    tree = tree_from(nodes, ITEMS, 1)
    expected = {key: value for key, value in ITEMS.items() if key not in deletes} | puts
    after = edited(nodes, tree, puts, deletes)
    assert items_of(nodes, after) == expected
    assert after == tree_from(nodes, expected, 1)
    check_tree(nodes, after)


def test_an_edit_of_the_empty_tree_builds() -> None:
    nodes = memory_nodes(TINY)
    assert edited(nodes, Tree.empty(1), ITEMS, [3, b"k"]) == tree_from(nodes, ITEMS, 1)
    assert edited(nodes, Tree.empty(1), {}, [3]) == Tree.empty(1)


def test_a_put_of_what_is_there_writes_nothing() -> None:
    nodes = memory_nodes(TINY)
    tree = tree_from(nodes, ITEMS, 1)
    before = objects_of(nodes).put_count
    assert edited(nodes, tree, {8: ITEMS[8]}, [1]) == tree
    assert objects_of(nodes).put_count == before


@pytest.mark.parametrize("left", [[], [END], [0, 2, 4], list(range(0, 100, 2))])
def test_what_shrinks_or_grows_writes_no_node_but_those_of_the_new_tree(left: list[int]) -> None:
    nodes = memory_nodes(TINY)
    all_items: Items = dict.fromkeys(range(0, 400, 2), b"v")
    few_items: Items = dict.fromkeys(left, b"v")
    tree = tree_from(nodes, all_items, 1)
    expected = memory_nodes(TINY)
    tree_from(expected, all_items, 1)
    few = tree_from(expected, few_items, 1)
    deletes = [key for key in all_items if key not in few_items]
    assert edited(nodes, tree, {}, deletes) == few
    assert objects_of(nodes).objects == objects_of(expected).objects
    nodes = memory_nodes(TINY)
    few = tree_from(nodes, few_items, 1)
    assert edited(nodes, few, {key: all_items[key] for key in deletes}) == tree
    assert objects_of(nodes).objects == objects_of(expected).objects


def test_a_key_behind_a_closed_run_leaves_the_old_nodes_alone() -> None:
    nodes = memory_nodes(TINY)
    last = next(
        key for key in range(100, 10**6) if TINY.ends_run(hash_ints(np.array([key])), 12, 1)[0]
    )
    items: Items = dict.fromkeys([*range(60), last], b"v")
    tree = tree_from(nodes, items, 1)
    objects = objects_of(nodes)
    nodes = type(nodes)(objects, boundary=TINY)
    objects.get_count = 0
    after = edited(nodes, tree, {last + 1: b"w"})
    assert objects.get_count == 1
    assert after == tree_from(nodes, {**items, last + 1: b"w"}, 1)


def test_batches_of_leaves_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit_module, "_BATCH_ENTRIES", 8)
    for boundary in (TINY, CUTTING):
        nodes = memory_nodes(boundary)
        tree = tree_from(nodes, ITEMS, 1)
        deletes = [0, END, 100, b"k50", *range(200, 300, 2)]
        puts: Items = {key: b"n" for key in range(1, 500, 3) if key not in deletes}
        expected = {k: v for k, v in ITEMS.items() if k not in deletes} | puts
        assert edited(nodes, tree, puts, deletes) == tree_from(nodes, expected, 1)


def test_longer_texts_and_object_arrays_join_shorter_ones() -> None:
    nodes = memory_nodes(TINY)
    tree = tree_from(nodes, ITEMS, 1)
    texts = np.array([b"k%d/" % key + b"x" * 50 for key in range(100, 150)])
    none, values = np.empty((0, 1), np.uint8), np.zeros((50, 1), np.uint8)
    nothing = Keys(EMPTY_INTS, EMPTY_TEXTS)
    expected = tree_from(nodes, {**ITEMS, **dict.fromkeys(texts.tolist(), b"\0")}, 1)
    for puts in (texts, texts.astype(object)):
        after = edit(nodes, tree, Keys(EMPTY_INTS, puts), none, values, nothing)
        assert after == expected
        deletes = Keys(EMPTY_INTS, puts)
        assert edit(nodes, after, nothing, none, none, deletes) == tree


def test_unsorted_changes_are_an_error_of_the_caller() -> None:
    none = np.empty((0, 0), np.uint8)
    wrong, nothing = Keys(np.array([2, 1]), EMPTY_TEXTS), Keys(EMPTY_INTS, EMPTY_TEXTS)
    values = np.empty((2, 0), np.uint8)
    for puts, put_values, deletes in ((wrong, values, nothing), (nothing, none, wrong)):
        with pytest.raises(AssertionError):
            edit(memory_nodes(), Tree.empty(0), puts, put_values, none, deletes)


def test_leaves_that_overlap_are_damage() -> None:
    nodes = memory_nodes()
    values = np.zeros((2, 1), np.uint8)
    leaves = [encode_leaves(np.array(k), values, np.array([2]))[0] for k in ([1, 9], [2, 10])]
    children = np.frombuffer(b"".join(nodes.save(leaves)), np.uint8).reshape(2, 32)
    counts = np.array([2, 2])
    root = encode_inner(np.array([9, 10]), children, counts, np.array([2]), 1, 1)
    tree = Tree(Root(NodeDigest(nodes.save(root)[0]), 4), None, 1)
    with pytest.raises(ObjectDamagedError, match="increase"):
        edited(nodes, tree, {5: b"x", 10: b"y"})


def test_a_text_that_needs_the_widest_array_is_found_again() -> None:
    nodes = memory_nodes(TINY)
    longest = b"z" * 4096
    tree = edited(nodes, tree_from(nodes, ITEMS, 1), {longest: b"v"})
    assert items_of(nodes, tree)[longest] == b"v"
    assert text_array([longest]).itemsize == 4096
    assert edited(nodes, tree, {}, [longest]) == tree_from(nodes, ITEMS, 1)
