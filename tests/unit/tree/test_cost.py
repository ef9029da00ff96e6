"""What an operation reads and writes at a million keys: the nodes of a path, not the column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.objects.keys import EMPTY_INTS, EMPTY_TEXTS, Keys
from tensorvcs.storage.memory import MemoryObjects
from tensorvcs.tree import cursor
from tensorvcs.tree.build import build
from tensorvcs.tree.diff import diff
from tensorvcs.tree.edit import edit
from tensorvcs.tree.merge import merge
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    from tensorvcs.tree.tree import Tree

COUNT = 1_000_000
NOTHING = Keys(EMPTY_INTS, EMPTY_TEXTS)
# Leaf, one inner node, root.
LEVELS = 3


class Store:
    """A tree of a million int keys; each look at it starts with nothing in memory."""

    def __init__(self, value_nbytes: int) -> None:
        self.width = value_nbytes
        self.objects = MemoryObjects()
        rows = np.zeros((COUNT, value_nbytes), np.uint8)
        rows[:, :4] = np.arange(COUNT, dtype="<u4")[:, None].view(np.uint8)
        none = rows[:0]
        keys = Keys(np.arange(COUNT), EMPTY_TEXTS)
        self.tree = build(Nodes(self.objects), keys, rows, none)

    def fresh(self) -> Nodes:
        objects = self.objects
        objects.get_count = objects.put_count = objects.put_nbytes = 0
        return Nodes(objects)

    def changed(self, nodes: Nodes, puts: list[int], deletes: list[int]) -> Tree:
        values = np.full((len(puts), self.width), 255, np.uint8)
        return edit(
            nodes,
            self.tree,
            Keys(np.array(puts, np.int64), EMPTY_TEXTS),
            values,
            values[:0],
            Keys(np.array(deletes, np.int64), EMPTY_TEXTS),
        )


@pytest.fixture(scope="module", params=[8, 32], ids=["inline", "digests"])
def store(request: pytest.FixtureRequest) -> Store:
    return Store(request.param)


@pytest.mark.parametrize(
    ("puts", "deletes"),
    [([500_001], []), ([], [123_456]), ([COUNT], []), ([-1], []), ([777_777], [777_778])],
)
def test_one_change_reads_and_writes_one_path(
    store: Store, puts: list[int], deletes: list[int]
) -> None:
    after = store.changed(store.fresh(), puts, deletes)
    assert store.objects.get_count <= LEVELS + 1
    assert store.objects.put_count <= LEVELS + 1
    assert store.objects.put_nbytes <= 40_000
    before_writes = store.objects.put_count
    nodes = store.fresh()
    assert sum(map(len, diff(nodes, store.tree, after))) == len(puts) + len(deletes)
    assert store.objects.get_count <= 2 * (LEVELS + 1)
    assert before_writes >= LEVELS


def test_deleting_an_end_reads_the_two_runs_that_join(store: Store) -> None:
    listed = cursor.leaves(Nodes(store.objects), store.tree)
    end = int(listed.counts[:100].sum()) - 1
    after = store.changed(store.fresh(), [], [end])
    assert store.objects.get_count <= LEVELS + 2
    assert store.objects.put_count <= LEVELS
    assert len(cursor.leaves(Nodes(store.objects), after).digests) == len(listed.digests) - 1


def test_one_key_is_read_along_one_path(store: Store) -> None:
    expected = (654_321).to_bytes(4, "little") + bytes(store.width - 4)
    assert cursor.get_one(store.fresh(), store.tree, 654_321) == expected
    assert store.objects.get_count == LEVELS
    values, found = cursor.get(store.fresh(), store.tree, Keys(np.array([654_321]), EMPTY_TEXTS))
    assert found.all() and bytes(values[0]) == expected
    assert store.objects.get_count == LEVELS
    nodes = store.fresh()
    keys, _ = cursor.items_at(nodes, store.tree, 999_998, 999_999)
    assert keys.ints.tolist() == [999_998]
    assert store.objects.get_count == LEVELS


def test_leaves_are_listed_from_inner_nodes_alone(store: Store) -> None:
    listed = cursor.leaves(store.fresh(), store.tree)
    assert int(listed.counts.sum()) == COUNT
    assert store.objects.get_count <= len(listed.digests) // 64
    assert 400 < len(listed.digests) < 10_000


def test_a_merge_reads_what_changed(store: Store) -> None:
    nodes = store.fresh()
    ours = store.changed(nodes, [1000], [])
    theirs = store.changed(nodes, [900_000], [400_000])
    nodes = store.fresh()
    merged = merge(nodes, store.tree, ours, theirs)
    assert (merged.puts.ints.tolist(), merged.deletes.ints.tolist()) == ([900_000], [400_000])
    assert store.objects.get_count <= 5 * LEVELS


def test_a_scan_reads_each_node_once(store: Store) -> None:
    values = cursor.scan_values(store.fresh(), store.tree)
    assert store.objects.get_count <= len(store.objects.objects)
    assert np.array_equal(
        np.ascontiguousarray(values[:, :4]).view("<u4")[:, 0], np.arange(COUNT, dtype="<u4")
    )
