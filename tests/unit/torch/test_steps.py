"""Steps shared by ranks: nobody twice, nobody left out, as many steps for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch")

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tensorvcs.errors import InvalidInputError
from tensorvcs.torch.steps import Share, Steps

if TYPE_CHECKING:
    from tensorvcs.torch.steps import Last

totals = st.integers(0, 300)
sizes = st.integers(1, 40)
worlds = st.integers(1, 9)


def shares(total: int, size: int, world: int, last: Last, start: int = 0) -> list[list[Share]]:
    """Return the shares of every rank."""
    found = []
    for rank in range(world):
        steps = Steps(total, size, rank, world, last, start)
        found.append([steps.share(step) for step in range(len(steps))])
    return found


@given(total=totals, size=sizes, world=worlds)
@settings(max_examples=150, deadline=None)
def test_short_gives_every_sample_once(total: int, size: int, world: int) -> None:
    assume(total == 0 or total >= world)
    ranks = shares(total, size, world, "short")
    assert len({len(rank) for rank in ranks}) == 1
    seen = [p for rank in ranks for share in rank for p in range(share.low, share.high)]
    assert sorted(seen) == list(range(total))
    for step in zip(*ranks, strict=True):
        counts = [len(share) for share in step]
        assert max(counts) - min(counts) <= 1
        assert min(counts) >= 1
        assert max(counts) <= size + 1
        assert len({share.seen for share in step}) == 1
    assert all(len(share) == size for rank in ranks for share in rank[:-2])


@given(total=totals, size=sizes, world=worlds)
@settings(max_examples=100, deadline=None)
def test_drop_gives_whole_steps_alone(total: int, size: int, world: int) -> None:
    ranks = shares(total, size, world, "drop")
    seen = [p for rank in ranks for share in rank for p in share.positions(total).tolist()]
    assert sorted(seen) == list(range(total // (size * world) * size * world))
    assert all(len(share) == share.valid_count == size for rank in ranks for share in rank)


@pytest.mark.parametrize("last", ["wrap", "pad"])
@given(total=st.integers(1, 300), size=sizes, world=worlds)
@settings(max_examples=100, deadline=None)
def test_wrap_and_pad_fill_the_last_step(last: Last, total: int, size: int, world: int) -> None:
    ranks = shares(total, size, world, last)
    assert {len(rank) for rank in ranks} == {-(-total // (size * world))}
    assert all(len(share) == size for rank in ranks for share in rank)
    valid = [
        position
        for rank in ranks
        for share in rank
        for position in share.positions(total)[: share.valid_count].tolist()
    ]
    assert sorted(valid) == list(range(total))
    assert all(p < total for rank in ranks for s in rank for p in s.positions(total).tolist())


@given(data=st.data(), total=st.integers(1, 300))
@settings(max_examples=150, deadline=None)
def test_a_run_goes_on_with_other_ranks_at_the_same_sample(data: st.DataObject, total: int) -> None:
    seen: list[int] = []
    at = 0
    while at < total:
        world = data.draw(st.integers(1, min(5, total - at)))
        size = data.draw(st.integers(1, 20))
        ranks = shares(total, size, world, "short", at)
        count = data.draw(st.integers(1, len(ranks[0])))
        for step in list(zip(*ranks, strict=True))[:count]:
            for share in step:
                seen += range(share.low, share.high)
            at = step[0].seen
    assert sorted(seen) == list(range(total))


def test_a_few_left_over_on_resuming_are_repeated_so_that_each_rank_has_one() -> None:
    ranks = shares(10, 4, 4, "short", 8)
    assert [[len(share) for share in rank] for rank in ranks] == [[1], [1], [1], [1]]
    assert sum(share.valid_count for rank in ranks for share in rank) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 0},
        {"batch_size": 4, "rank": 2, "world_size": 2},
        {"batch_size": 4, "rank": -1},
        {"batch_size": 4, "world_size": 0},
        {"batch_size": 4, "last": "long"},
        {"batch_size": 4, "start": 11},
        {"batch_size": 4, "world_size": 11},
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        Steps(10, **arguments)  # type: ignore[arg-type]
