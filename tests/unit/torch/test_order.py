"""Orders as pure functions: permutations, their quality, and values that must never change."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from tensorvcs.torch.order import (
    BlockShuffled,
    InOrder,
    Shuffled,
    key_of,
    permuted,
    permuted_each,
    spread,
    words_of,
)

if TYPE_CHECKING:
    from tensorvcs.torch.order import Order


def whole(order: Order, key: int) -> Any:
    return order.places(np.arange(order.count), key)


@given(count=st.integers(1, 30_000), key=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_a_permutation_has_each_place_once(count: int, key: int) -> None:
    found = permuted(np.arange(count), count, key)
    assert np.array_equal(np.sort(found), np.arange(count))


@given(
    count=st.integers(0, 20_000),
    block_count=st.integers(1, 900),
    window=st.integers(1, 30),
    key=st.integers(0, 2**64 - 1),
)
@settings(max_examples=60, deadline=None)
def test_blocks_have_each_place_once(count: int, block_count: int, window: int, key: int) -> None:
    order = BlockShuffled(count, block_count, window)
    assert np.array_equal(np.sort(whole(order, key)), np.arange(count))


@pytest.mark.parametrize(
    "order", [InOrder(70_001), Shuffled(70_001), Shuffled(900), BlockShuffled(70_001, 341, 8)]
)
def test_a_position_has_one_place_however_it_is_asked_for(order: Order) -> None:
    places = whole(order, 5)
    some = np.random.default_rng(0).integers(0, order.count, 500)
    assert np.array_equal(order.places(some, 5), places[some])
    assert np.array_equal(order.places(some[:1], 5), places[some[:1]])
    assert order.places(some[:0], 5).shape == (0,)


def test_an_epoch_of_a_thousand_million_begins_at_once() -> None:
    count = 10**9
    found = permuted(np.arange(256), count, 1)
    assert len(np.unique(found)) == 256
    assert found.min() >= 0
    assert found.max() < count
    assert permuted(np.array([count - 1]), count, 1) < count


def test_orders_never_change() -> None:
    """Checkpoints of today must resume tomorrow: these values are part of the format of a state."""
    assert key_of(3, 1) == 0xEC4C5BEE627011B3
    assert words_of(np.arange(2), 7).tolist() == [1346066267577507604, 7191089600892374487]
    small, large = permuted(np.arange(6), 10, 7), permuted(np.arange(6), 100_000, 7)
    assert small.tolist() == [2, 0, 9, 6, 8, 1]
    assert large.tolist() == [85650, 80181, 11535, 4177, 64254, 16356]
    blocks = BlockShuffled(10_000, 300, 4).places(np.arange(6), 7)
    assert blocks.tolist() == [1316, 2409, 1201, 9745, 3564, 1459]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [
        permuted(np.arange(5000), 5000, key_of(seed, epoch)).tolist()
        for seed in range(3)
        for epoch in range(3)
    ]
    assert len({tuple(order) for order in orders}) == 9
    assert key_of(1, 2) != key_of(2, 1)
    assert key_of(-1) == key_of(2**64 - 1)


def chi_square_ratio(counts: Counter[Any], cell_count: int) -> float:
    """Return chi-square over its degrees of freedom: about 1 for what is uniform."""
    expected = counts.total() / cell_count
    seen = sum((count - expected) ** 2 / expected for count in counts.values())
    return (seen + (cell_count - len(counts)) * expected) / (cell_count - 1)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_small_permutations_are_equally_likely(count: int) -> None:
    found = Counter(
        tuple(permuted(np.arange(count), count, key_of(s)).tolist()) for s in range(6000)
    )
    assert set(found) == set(permutations(range(count)))
    assert chi_square_ratio(found, factorial(count)) < 1.6


@pytest.mark.parametrize("count", [5000, 65_537])
def test_large_permutations_look_random(count: int) -> None:
    """Each position goes everywhere, over keys; neighbours know nothing of each other."""
    places = np.array([permuted(np.arange(64), count, key_of(s)) for s in range(400)])
    cells = Counter((places * 64 // count).reshape(-1).tolist())
    assert chi_square_ratio(cells, 64) < 1.6
    found = permuted(np.arange(count), count, 3).astype(float)
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / count**0.5
    assert abs(np.corrcoef(found, np.arange(count))[0, 1]) < 4 / count**0.5
    # One fixed point is expected, whatever the count.
    fixed = [
        int((permuted(np.arange(count), count, s) == np.arange(count)).sum()) for s in range(40)
    ]
    assert 0.4 < np.mean(fixed) < 1.8


def test_many_small_permutations_at_once() -> None:
    counts = np.repeat([1, 2, 3, 10, 1000], [1, 2, 3, 10, 1000])
    positions = np.concatenate([np.arange(n) for n in (1, 2, 3, 10, 1000)])
    keys = np.full(len(counts), 9, np.uint64)
    found = permuted_each(positions, counts, keys)
    for count in (1, 2, 3, 10, 1000):
        assert sorted(found[counts == count].tolist()) == list(range(count))
    others = permuted_each(positions, counts, keys + np.uint64(1))
    assert not np.array_equal(found, others)


def test_how_well_blocks_are_shuffled() -> None:
    count, key = 200_000, key_of(0, 0)
    assert spread(InOrder(count), key) < 1e-4
    assert abs(spread(Shuffled(count), key) - 1) < 0.02
    by_window = [spread(BlockShuffled(count, 341, window), key) for window in (1, 4, 32)]
    assert by_window[0] < 0.01
    assert 0.4 < by_window[1] < 0.95
    assert 0.8 < by_window[2] < 1.2
    assert spread(Shuffled(1), key) == 0.0


def test_a_window_holds_whole_blocks() -> None:
    """What is read for a window are `window` runs of neighbours, and nothing else."""
    order = BlockShuffled(9_950, 100, 5)
    places = whole(order, 3)
    blocks = [set((places[low : low + 450] // 100).tolist()) for low in range(0, 9_500, 500)]
    assert all(len(some) <= 6 for some in blocks)
    assert np.mean([len(some) for some in blocks]) < 5.6
    first = set((places[:449] // 100).tolist())
    assert len(first) == 5
