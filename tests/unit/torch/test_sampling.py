"""Weighted draws and balanced classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tensorvcs.errors import InvalidInputError
from tensorvcs.torch.order import key_of
from tensorvcs.torch.sampling import Balanced, Block, Weighted


class Counted:
    """A data set that is nothing but its size."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def values_of(self, column: str) -> Any:
        return np.arange(self._count) % 3 if column == "thirds" else np.zeros((self._count, 2))

    def sample_nbytes(self) -> int:
        return 100


def whole(sampler: Any, count: int, key: int = 0) -> Any:
    order = sampler.order_for(Counted(count))
    places = order.places(np.arange(order.count), key)
    some = np.random.default_rng(0).permutation(order.count)[:100]
    assert np.array_equal(order.places(some, key), places[some])
    return places


def test_draws_are_as_frequent_as_their_weights() -> None:
    weights = np.array([0, 1, 2, 5, 0, 2.0])
    found = np.bincount(whole(Weighted(weights, 40_000), 6, key_of(1)), minlength=6)
    expected = weights / weights.sum() * 40_000
    assert found[weights == 0].sum() == 0
    assert (((found - expected) ** 2)[weights > 0] / expected[weights > 0]).sum() < 20
    assert len(whole(Weighted("thirds"), 30)) == 30
    assert not np.array_equal(
        whole(Weighted(weights, 50), 6, 1), whole(Weighted(weights, 50), 6, 2)
    )


def test_every_round_has_each_class_once() -> None:
    labels = np.repeat([7, 3, 9], [500, 40, 3])
    places = whole(Balanced(labels), len(labels), key_of(4))
    rounds = np.sort(labels[places].reshape(-1, 3), axis=1)
    assert np.array_equal(rounds, np.tile([3, 7, 9], (181, 1)))
    # Within a class no sample comes again before all others did.
    rare = places[labels[places] == 9]
    assert all(len(set(rare[low : low + 3])) == 3 for low in range(0, 180, 3))
    middle = places[labels[places] == 3]
    assert sorted(middle[:40]) == list(range(500, 540))
    assert len({tuple(rare[low : low + 3]) for low in range(0, 180, 3)}) > 1
    assert len({tuple(labels[places[low : low + 3]]) for low in range(0, 540, 3)}) == 6


def test_classes_may_be_texts_or_a_column() -> None:
    places = whole(Balanced(["cat", "dog", "dog", "dog"], count=100), 4, 8)
    assert (places == 0).sum() == 50
    assert len(whole(Balanced("thirds"), 30)) == 30
    assert Balanced([], 0).order_for(Counted(0)).places(np.arange(0), 1).shape == (0,)


def test_an_order_tells_itself_from_others() -> None:
    one, same, other = (Weighted(w).order_for(Counted(2)) for w in ([1, 2], [2, 4], [1, 3]))
    assert one.spelled() == same.spelled() != other.spelled()
    first, second = (Balanced(c).order_for(Counted(2)) for c in ([0, 1], [0, 0]))
    assert first.spelled() != second.spelled()
    assert Block(nbytes=1000, window=3).order_for(Counted(50)).spelled() == {
        "kind": "blocks",
        "count": 50,
        "block_count": 10,
        "window": 3,
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: Weighted([1.0, np.nan]).order_for(Counted(2)),
        lambda: Weighted([0.0, 0.0]).order_for(Counted(2)),
        lambda: Weighted([1.0, -1.0]).order_for(Counted(2)),
        lambda: Weighted([1.0, 1.0], -1).order_for(Counted(2)),
        lambda: Weighted(["a", "b"]).order_for(Counted(2)),  # type: ignore[list-item]
        lambda: Weighted([], 5).order_for(Counted(0)),
        lambda: Balanced([1, 2, 3]).order_for(Counted(2)),
        lambda: Weighted("pairs").order_for(Counted(2)),
        lambda: Block(window=0),
        lambda: Block(rows=0),
    ],
)
def test_what_does_not_fit_is_refused(make: Any) -> None:
    with pytest.raises(InvalidInputError):
        make()
