"""Read the batches of plans: in threads ahead of the loop, or in the loop while that is quicker."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from tensorvcs.torch.ahead import run_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from tensorvcs.torch.making import Made, Plan
    from tensorvcs.torch.steps import Share

# A loop that takes this share of the time of reading for something else is not idle.
_BUSY_SHARE = 0.25

Result = tuple["Sequence[Share]", "Made"]


def read_plans(
    plans: Iterator[tuple[Plan, int]],
    *,
    threads: int,
    prefetch: int,
    timeout: float | None,
    busy_seconds: Callable[[], float] | None,
) -> Generator[Result, None, None]:
    """Yield the batches of plans, those of some steps at a time, in their order.

    Parameters
    ----------
    plans : iterator of (Plan, int)
        And how many of its steps to read at a time.
    threads : int
        0 reads in the loop.
    prefetch : int
        Batches that are ready ahead, beside those that the threads work on.
    timeout : float, optional
        Seconds that a result may take.
    busy_seconds : callable, optional
        Tell how long the loop was busy with batches so far. With it small samples are read in the
        loop until it turns out to be busy: all cores share in a gather of many of them, and to
        read ahead of a loop that only waits for it is slower by what the threads cost each other.
    """
    with _Planned(plans) as planned:
        first = next(planned, None)
        if first is None:
            return
        at_a_time = first[1]
        tasks = _tasks(first[0], planned, at_a_time)
        if busy_seconds is not None and at_a_time > 1:
            yield from _while_idle(tasks, busy_seconds)
        if threads:
            planned.go_ahead()
        depth = threads + -(-prefetch // at_a_time)
        with closing(run_ahead(tasks, threads, depth, timeout)) as results:
            yield from results


def _tasks(first: Plan, others: _Planned, at_a_time: int) -> Iterator[Callable[[], Result]]:
    plan: Plan | None = first
    while plan is not None:
        for low in range(0, len(plan.shares), at_a_time):
            yield partial(_make, plan, low, low + at_a_time)
        plan, _ = next(others, (None, 0))


def _make(plan: Plan, first: int, stop: int) -> Result:
    return plan.shares[first:stop], plan.make(first, stop)


def _while_idle(
    tasks: Iterator[Callable[[], Result]], busy_seconds: Callable[[], float]
) -> Iterator[Result]:
    for task in tasks:
        result = task()
        before, reading = busy_seconds(), result[1].reading_seconds
        yield result
        del result
        if busy_seconds() - before > _BUSY_SHARE * reading:
            return


class _Planned:
    """Plans; after `go_ahead` each is worked out in a thread while the one before it is read."""

    def __init__(self, plans: Iterator[tuple[Plan, int]]) -> None:
        self._plans = plans
        self._following = next(plans, None)
        self._is_ahead = False
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def __enter__(self) -> _Planned:
        return self

    def __iter__(self) -> _Planned:
        return self

    def __next__(self) -> tuple[Plan, int]:
        current = self._following
        if current is None:
            raise StopIteration
        self._following = next(self._plans, None)
        if self._is_ahead:
            self._work_out()
        return current

    def go_ahead(self) -> None:
        """Work out the next plan in a thread, from now on."""
        self._is_ahead = True
        self._work_out()

    def _work_out(self) -> None:
        if self._following is None:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "tensorvcs-loader-plan")
        # An error comes again where the places are asked for.
        self._pool.submit(self._following[0].places)

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            is_here = os.getpid() == self._process
            self._pool.shutdown(wait=is_here, cancel_futures=is_here)
