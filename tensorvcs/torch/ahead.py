"""Run tasks in threads ahead of whom they are for; results come in order."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tensorvcs.errors import StateError, TimedOutError, with_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from concurrent.futures import Future

T = TypeVar("T")


def run_ahead(
    tasks: Iterator[Callable[[], T]], threads: int, depth: int, timeout: float | None = None
) -> Generator[T, None, None]:
    """Yield the results of tasks in their order.

    Parameters
    ----------
    tasks : iterator of callable
        Taken as there is room for them, in the thread that iterates.
    threads : int
        0 runs each task when its result is asked for.
    depth : int
        How many tasks are begun or done before their results are taken.
    timeout : float, optional
        Seconds to wait for a result.

    Raises
    ------
    TimedOutError
        A result did not come in time.
    StateError
        Iterated in a forked child: the threads are the parent's.

    Notes
    -----
    What a task raises is raised here, at its turn. When the iterator is closed or dropped, tasks
    that are not begun are dropped, those that run are waited for, and the threads end; after a
    time-out they are not waited for.
    """
    if not threads:
        yield from (task() for task in tasks)
        return
    process = os.getpid()
    pool = ThreadPoolExecutor(threads, "tensorvcs-loader")
    running: deque[Future[T]] = deque()
    is_late = False
    try:
        for task in tasks:
            running.append(pool.submit(task))
            if len(running) >= depth:
                break
        while running:
            if os.getpid() != process:
                raise with_hint(
                    StateError(
                        f"this iteration belongs to process {process}, from which this forked"
                    ),
                    "begin another with iter(loader)",
                )
            first = running.popleft()
            try:
                result = first.result(timeout)
            except TimeoutError as error:
                if first.done():  # the task itself raised it
                    raise
                is_late = True
                raise with_hint(
                    TimedOutError(f"no batch came within {timeout} seconds"),
                    "a transform or a remote may hang; timeout= gives them longer",
                ) from error
            following = next(tasks, None)
            if following is not None:
                running.append(pool.submit(following))
            yield result
            del first, result
    finally:
        is_here = os.getpid() == process
        pool.shutdown(wait=is_here and not is_late, cancel_futures=is_here)
