from __future__ import annotations

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from tensorvcs.objects.keys import MAX_KEY_NBYTES, text_array
from tensorvcs.tree.boundary import (
    DEFAULT_BOUNDARY,
    Boundary,
    hash_ints,
    hash_keys,
    hash_texts,
    text_lengths,
)
from tensorvcs.tree.build import grow_root, write_leaves
from tensorvcs.tree.check import check_tree
from tensorvcs.tree.tree import Tree
from tests.unit.tree.model import Items, edited, memory_nodes, objects_of, tree_from

WIDE = 32


def test_int_hashes_are_xxh3_of_eight_bytes() -> None:
    rng = np.random.default_rng(1)
    keys = np.concatenate(
        [
            np.array([0, 1, -1, 2**63 - 1, -(2**63), 2**32, -(2**32)], np.int64),
            rng.integers(-(2**63), 2**63 - 1, 40_000),
        ]
    )
    expected = [xxh3_64_intdigest(key.to_bytes(8, "little", signed=True)) for key in keys.tolist()]
    assert hash_ints(keys).tolist() == expected
    assert hash_keys(keys[::2]).tolist() == expected[::2]


def test_text_hashes_are_xxh3_of_the_bytes_in_either_array() -> None:
    texts = [b"a", "ü/1".encode(), b"x" * 300]
    expected = [xxh3_64_intdigest(text) for text in texts]
    assert hash_texts(text_array(texts)).tolist() == expected
    assert hash_keys(np.array(texts, object)).tolist() == expected


def test_lengths_are_those_of_the_bytes_in_either_array() -> None:
    texts = [b"a", b"x" * 300, b"bc"]
    assert text_lengths(text_array(texts)).tolist() == [1, 300, 2]
    assert text_lengths(np.array(texts, object)).tolist() == [1, 300, 2]


def test_an_end_at_one_level_is_an_end_at_every_level_below() -> None:
    hashes = hash_ints(np.arange(300_000))
    below = DEFAULT_BOUNDARY.ends_run(hashes, 0, WIDE)
    assert 0 < below.sum() < 300_000 / 64
    for level in (1, 2):
        ends = DEFAULT_BOUNDARY.ends_run(hashes, level, WIDE)
        assert not (ends & ~below).any()
        below = ends


def test_narrow_values_have_longer_leaves() -> None:
    hashes = hash_ints(np.arange(200_000))
    wide, narrow = (DEFAULT_BOUNDARY.ends_run(hashes, 0, width).sum() for width in (17, 16))
    assert 3 < wide / narrow < 5


def test_no_entries_have_no_stops() -> None:
    none = np.empty(0, np.int64)
    assert not len(DEFAULT_BOUNDARY.node_stops(none, hash_ints(none), 0, WIDE))


def chosen_ints(count: int, level: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return keys of which none ends a node."""
    keys = np.arange(count + count // 16)
    return keys[~DEFAULT_BOUNDARY.ends_run(hash_ints(keys), level, WIDE)][:count]


def test_keys_that_never_end_a_node_are_cut_into_equal_parts() -> None:
    keys = chosen_ints(100_000)
    stops = DEFAULT_BOUNDARY.node_stops(keys, hash_ints(keys), 0, WIDE)
    counts = np.diff(stops, prepend=0)
    assert stops[-1] == 100_000
    assert 120 <= counts[:-1].min() <= counts.max() <= 128


def test_a_run_of_as_many_entries_as_allowed_is_left_whole() -> None:
    keys = chosen_ints(DEFAULT_BOUNDARY.max_entries(0, WIDE) + 1)
    hashes = hash_ints(keys)
    assert DEFAULT_BOUNDARY.node_stops(keys[:-1], hashes[:-1], 0, WIDE).tolist() == [2048]
    assert len(DEFAULT_BOUNDARY.node_stops(keys, hashes, 0, WIDE)) == 17


def test_cuts_in_one_run_leave_its_neighbours_alone() -> None:
    keys = np.concatenate([chosen_ints(5000), np.arange(10**6, 10**6 + 3000)])
    hashes = hash_ints(keys)
    natural = np.flatnonzero(DEFAULT_BOUNDARY.ends_run(hashes, 0, WIDE)) + 1
    stops = DEFAULT_BOUNDARY.node_stops(keys, hashes, 0, WIDE)
    first = int(natural[0])
    assert np.array_equal(stops[stops >= first], np.append(natural, len(keys)))
    assert (stops < first).sum() > 30


def test_the_longest_keys_never_make_a_heavy_node() -> None:
    nodes = memory_nodes()
    candidates = [b"%08d" % i + b"x" * (MAX_KEY_NBYTES - 8) for i in range(3100)]
    ends = DEFAULT_BOUNDARY.ends_run(hash_texts(np.array(candidates, object)), 0, WIDE)
    keys = [key for key, end in zip(candidates, ends, strict=True) if not end]
    # Short keys before long ones: parts of equal count would not do.
    keys = [b"%06d" % i for i in range(0, 100_000, 50)] + keys
    tree = tree_from(nodes, dict.fromkeys(keys, bytes(WIDE)), WIDE)
    contents = objects_of(nodes).objects.values()
    assert max(map(len, contents)) < 1_300_000
    assert len(contents) > 50
    changed = edited(nodes, tree, {keys[1500]: b"\1" * WIDE}, [keys[2500]])
    assert edited(nodes, changed, {keys[1500]: bytes(WIDE), keys[2500]: bytes(WIDE)}) == tree
    check_tree(nodes, changed)


def test_keys_that_all_end_a_node_at_every_level_make_a_tree_of_bounded_height() -> None:
    nodes = memory_nodes()
    keys = np.arange(5000)
    zeros = np.zeros(5000, np.uint64)
    entries = write_leaves(nodes, keys, zeros, np.zeros((5000, WIDE), np.uint8))
    root = grow_root(nodes, entries, 1, WIDE)
    assert root is not None and root.count == 5000
    assert nodes.load_root(root, is_text=False, value_nbytes=WIDE).level <= 11


def test_parts_have_two_entries_even_where_keys_outweigh_them() -> None:
    boundary = Boundary(2, 2, inner_bits=2, run_factor=16, run_nbytes=160)
    keys = text_array([b"k%03d" % i + b"x" * 100 for i in range(40)])
    stops = boundary.node_stops(keys, np.ones(40, np.uint64), 0, WIDE)
    assert stops.tolist() == list(range(2, 41, 2))


@pytest.mark.parametrize("count", [1, 5000, 60_000])
def test_a_tree_of_chosen_keys_is_edited_like_any_other(count: int) -> None:
    nodes = memory_nodes()
    keys = chosen_ints(count)
    items: Items = {key: b"%032d" % key for key in keys.tolist()}
    tree = tree_from(nodes, items, WIDE)
    assert max(map(len, objects_of(nodes).objects.values())) < 80_000
    key = int(keys[count // 2])
    less = edited(nodes, tree, {}, [key])
    assert less == tree_from(nodes, {k: v for k, v in items.items() if k != key}, WIDE)
    assert edited(nodes, less, {key: items[key]}) == tree
    if count == 1:
        assert less == Tree.empty(WIDE)
