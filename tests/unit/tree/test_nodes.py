from __future__ import annotations

import pickle

import numpy as np
import pytest

from tensorvcs.errors import ObjectDamagedError, ObjectNotFoundError
from tensorvcs.objects.digest import NodeDigest, digests_to_array
from tensorvcs.storage.memory import MemoryObjects
from tensorvcs.tree.node import encode_leaves
from tensorvcs.tree.nodes import Nodes
from tensorvcs.tree.tree import Root
from tests.unit.tree.model import TINY, memory_nodes, objects_of


def leaves(count: int) -> list[bytes]:
    """Return leaves of four int keys and 8-byte values."""
    keys = np.arange(4 * count)
    return encode_leaves(keys, np.zeros((4 * count, 8), np.uint8), np.arange(4, 4 * count + 1, 4))


def test_nodes_load_in_the_order_asked_for_in_one_batch() -> None:
    objects = MemoryObjects()
    digests = objects.put(leaves(3))
    nodes = Nodes(objects)
    loaded = nodes.load([digests[2], digests[0], digests[2]])
    assert [int(node.keys[0]) for node in loaded] == [8, 0, 8]


def test_a_node_in_memory_is_not_read_again() -> None:
    objects = MemoryObjects()
    digests = objects.put(leaves(3))
    nodes = Nodes(objects)
    first = nodes.load(digests)
    assert objects.get_count == 3
    assert nodes.load(digests)[1] is first[1]
    assert nodes.load_one(digests[0]) is first[0]
    assert objects.get_count == 3


def test_a_scan_leaves_nothing_behind() -> None:
    objects = MemoryObjects()
    digests = objects.put(leaves(3))
    nodes = Nodes(objects)
    nodes.load(digests, keep=False)
    nodes.load(digests, keep=False)
    assert objects.get_count == 6


def test_memory_is_bounded_and_what_is_in_use_stays() -> None:
    objects = MemoryObjects()
    digests = objects.put(leaves(400))
    nodes = Nodes(objects, cache_nbytes=64_000)
    for digest in digests:
        nodes.load_one(digest)
        nodes.load_one(digests[0])
    assert objects.get_count == 400
    nodes.load(digests[:200])
    assert objects.get_count > 550
    held = {**nodes._old, **nodes._young}
    assert sum(node.memory_nbytes for node in held.values()) <= 64_000 + 1000


def test_what_is_saved_is_at_hand() -> None:
    nodes = memory_nodes()
    digests = nodes.save(leaves(3))
    nodes.load(digests)
    assert objects_of(nodes).get_count == 0
    assert nodes.save(leaves(3)) == digests
    nodes.save(leaves(100))
    nodes.load_one(objects_of(nodes).put(leaves(100))[50])
    assert objects_of(nodes).get_count == 1


def test_what_is_absent_or_no_node_is_an_error() -> None:
    nodes = memory_nodes()
    with pytest.raises(ObjectNotFoundError):
        nodes.load([bytes(32)])
    digest = objects_of(nodes).put([b"commit 1\n{}"])[0]
    with pytest.raises(ObjectDamagedError):
        nodes.load([digest])


@pytest.mark.parametrize(
    ("is_text", "value_nbytes", "count"), [(True, 8, 4), (False, 7, 4), (False, 8, 5)]
)
def test_a_root_must_be_of_its_tree(is_text: bool, value_nbytes: int, count: int) -> None:
    nodes = memory_nodes()
    digest = NodeDigest(nodes.save(leaves(1))[0])
    nodes.load_root(Root(digest, 4), is_text=False, value_nbytes=8)
    with pytest.raises(ObjectDamagedError, match=digest.hex()):
        nodes.load_root(Root(digest, count), is_text=is_text, value_nbytes=value_nbytes)


@pytest.mark.parametrize(
    ("level", "is_text", "value_nbytes", "count"),
    [(1, False, 8, 4), (0, True, 8, 4), (0, False, 9, 4), (0, False, 8, 3)],
)
def test_a_child_must_fit_its_entry(
    level: int, is_text: bool, value_nbytes: int, count: int
) -> None:
    nodes = memory_nodes()
    children = digests_to_array(nodes.save(leaves(1)))
    with pytest.raises(ObjectDamagedError, match="does not fit its parent"):
        nodes.load_children(
            children,
            np.array([count]),
            level=level,
            is_text=is_text,
            value_nbytes=value_nbytes,
        )


def test_nodes_pickle_as_their_store_and_settings() -> None:
    nodes = Nodes(MemoryObjects(), cache_nbytes=1000, boundary=TINY)
    digests = nodes.save(leaves(2))
    again = pickle.loads(pickle.dumps(nodes))
    assert (again.cache_nbytes, again.boundary) == (1000, TINY)
    assert again.load_one(digests[1]).keys.tolist() == [4, 5, 6, 7]
