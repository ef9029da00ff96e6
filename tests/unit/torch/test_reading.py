"""Plans are read in threads, or in the loop as long as that does nothing else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("torch")

from tensorvcs.torch.making import Made
from tensorvcs.torch.reading import read_plans
from tensorvcs.torch.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 12
READING_SECONDS = 1.0


class RecordedPlan:
    """A plan that tells which thread read each of its steps, and which worked out its places."""

    def __init__(self, first: int) -> None:
        self.shares = Steps(total=100, batch_size=1, start=first).shares(range(STEPS))
        self.worked_out_by: list[str] = []

    def places(self) -> None:
        self.worked_out_by.append(threading.current_thread().name)

    def make(self, first: int, stop: int) -> Made:
        name = threading.current_thread().name
        read = [(share.low, name) for share in self.shares[first:stop]]
        return Made(read, 0, READING_SECONDS, 0.0, 0.0)


class Loop:
    """A training loop that is busy for some seconds with each result after the first few."""

    def __init__(self, idle_for: int, busy: float) -> None:
        self.idle_for = idle_for
        self.busy = busy
        self.seconds = 0.0

    def busy_seconds(self) -> float:
        return self.seconds

    def run(self, plans: list[RecordedPlan], at_a_time: int, **options: Any) -> list[Any]:
        given: Iterator[Any] = ((plan, at_a_time) for plan in plans)
        chosen: dict[str, Any] = {"threads": 2, "busy_seconds": self.busy_seconds, **options}
        found = []
        for number, (_, made) in enumerate(
            read_plans(given, prefetch=2, timeout=None, **chosen), start=1
        ):
            found += made.batches
            self.seconds += self.busy if number > self.idle_for else 0.0
        return found


def plans() -> list[RecordedPlan]:
    return [RecordedPlan(0), RecordedPlan(STEPS), RecordedPlan(2 * STEPS)]


def readers(found: list[Any]) -> list[bool]:
    """Return for each step whether this thread read it."""
    assert [low for low, _ in found] == list(range(3 * STEPS))
    here = threading.current_thread().name
    return [name == here for _, name in found]


def test_an_idle_loop_reads_itself() -> None:
    given = plans()
    found = Loop(idle_for=99, busy=0.0).run(given, at_a_time=4)
    assert all(readers(found))
    assert not any(plan.worked_out_by for plan in given)


def test_threads_read_ahead_of_a_loop_that_turns_out_to_be_busy() -> None:
    given = plans()
    found = Loop(idle_for=1, busy=READING_SECONDS).run(given, at_a_time=4)
    assert readers(found) == [True] * 8 + [False] * (3 * STEPS - 8)
    for plan in given[1:]:
        assert [name[:21] for name in plan.worked_out_by] == ["tensorvcs-loader-plan"]


def test_a_loop_that_is_hardly_busy_is_idle() -> None:
    assert all(readers(Loop(idle_for=0, busy=READING_SECONDS / 5).run(plans(), at_a_time=4)))


@pytest.mark.parametrize(
    ("at_a_time", "busy_seconds"), [(1, lambda: 0.0), (4, None)], ids=["large-batches", "as-asked"]
)
def test_threads_read_all_of_it(at_a_time: int, busy_seconds: Any) -> None:
    given = plans()
    found = Loop(0, 0.0).run(given, at_a_time, busy_seconds=busy_seconds)
    assert not any(readers(found))
    assert [len(plan.worked_out_by) for plan in given] == [0, 1, 1]


def test_without_threads_the_loop_reads_all() -> None:
    given = plans()
    found = Loop(0, READING_SECONDS).run(given, at_a_time=4, threads=0)
    assert all(readers(found))
    assert not any(plan.worked_out_by for plan in given)


def test_no_plans_no_batches() -> None:
    assert Loop(0, 0.0).run([], at_a_time=4) == []
