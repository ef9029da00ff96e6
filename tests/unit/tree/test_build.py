from __future__ import annotations

import numpy as np
import pytest

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.keys import EMPTY_INTS, EMPTY_TEXTS, Keys
from tensorvcs.tree import build as build_module
from tensorvcs.tree.boundary import hash_ints
from tensorvcs.tree.build import build, write_leaves
from tensorvcs.tree.check import check_tree
from tensorvcs.tree.tree import Tree
from tests.unit.tree.model import TINY, Items, items_of, memory_nodes, objects_of, tree_from


@pytest.mark.parametrize("count", [1, 2, 50, 500])
def test_a_built_tree_has_its_items_and_is_canonical(count: int) -> None:
    nodes = memory_nodes(TINY)
    items: Items = {key: bytes([key % 251]) for key in range(-count, count)}
    items |= {f"sample/{key!r}é".encode(): value for key, value in items.items()}
    tree = tree_from(nodes, items, 1)
    assert items_of(nodes, tree) == items
    assert check_tree(nodes, tree) == len(objects_of(nodes).objects)


def test_no_keys_build_the_empty_tree_and_write_nothing() -> None:
    nodes = memory_nodes()
    none = np.empty((0, 4), np.uint8)
    assert build(nodes, Keys(EMPTY_INTS, EMPTY_TEXTS), none, none) == Tree.empty(4)
    assert not objects_of(nodes).objects


def test_batches_of_leaves_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    items: Items = dict.fromkeys(range(3000), b"")
    whole = tree_from(memory_nodes(TINY), items, 0)
    monkeypatch.setattr(build_module, "_BATCH_NBYTES", 1000)
    assert tree_from(memory_nodes(TINY), items, 0) == whole


def test_texts_in_an_object_array_build_the_same_tree() -> None:
    texts = np.array([b"k%04d" % i for i in range(1000)])
    none, values = np.empty((0, 1), np.uint8), np.zeros((1000, 1), np.uint8)
    nodes = memory_nodes(TINY)
    padded = build(nodes, Keys(EMPTY_INTS, texts), none, values)
    assert build(nodes, Keys(EMPTY_INTS, texts.astype(object)), none, values) == padded


def test_keys_out_of_order_are_never_written() -> None:
    keys = np.array([2, 1])
    with pytest.raises(ObjectDamagedError):
        write_leaves(memory_nodes(), keys, hash_ints(keys), np.zeros((2, 1), np.uint8))
