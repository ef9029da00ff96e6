"""Tasks run ahead in threads: in order, no further than asked, and gone when dropped."""

from __future__ import annotations

import gc
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("torch")

from tensorvcs.errors import TimedOutError
from tensorvcs.torch.ahead import run_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def numbers(count: int, taken: list[int]) -> Iterator[Callable[[], int]]:
    for number in range(count):
        taken.append(number)
        yield partial(abs, -number)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_order(threads: int) -> None:
    assert list(run_ahead(numbers(50, []), threads, 7)) == list(range(50))
    assert list(run_ahead(numbers(0, []), threads, 7)) == []


def test_no_more_is_begun_than_asked() -> None:
    taken: list[int] = []
    results = run_ahead(numbers(50, taken), 2, 5)
    assert taken == []
    assert next(results) == 0
    assert len(taken) == 6
    assert next(results) == 1
    assert len(taken) == 7
    results.close()
    assert len(taken) == 7


def test_slow_tasks_do_not_change_the_order() -> None:
    gate = threading.Event()

    def first() -> int:
        assert gate.wait(30)
        return 0

    def second() -> int:
        gate.set()
        return 1

    assert list(run_ahead(iter([first, second]), 2, 2)) == [0, 1]


def test_an_error_comes_at_its_turn_and_ends_the_threads() -> None:
    before = threading.active_count()

    def fail() -> int:
        raise ZeroDivisionError

    tasks: list[Callable[[], int]] = [partial(abs, 1), fail, partial(abs, 2)]
    results = run_ahead(iter(tasks), 2, 3)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before


def test_threads_end_when_the_results_are_dropped() -> None:
    before = threading.active_count()
    results: Any = run_ahead(numbers(50, []), 3, 5)
    next(results)
    assert threading.active_count() > before
    del results
    gc.collect()
    assert threading.active_count() == before


def test_a_task_that_hangs() -> None:
    gate = threading.Event()
    try:
        with pytest.raises(TimedOutError, match=r"0\.05 seconds"):
            list(run_ahead(iter([partial(gate.wait, 60)]), 1, 2, timeout=0.05))
    finally:
        gate.set()
