"""How the tests here start processes: forked from one that has imported the library and no more."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.concurrency.stepped_worker"])


def in_processes(act: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Call a function in a process for each tuple, all at once; return what each gave."""
    barrier = CONTEXT.Barrier(len(arguments))
    results = CONTEXT.Queue()
    children = [
        CONTEXT.Process(target=_call, args=(act, at, barrier, results, given))
        for at, given in enumerate(arguments)
    ]
    for child in children:
        child.start()
    try:
        told = dict(results.get(timeout=120) for _ in children)
    finally:
        for child in children:
            child.join(60)
            child.kill()
    assert [child.exitcode for child in children] == [0] * len(children)
    return [told[at] for at in range(len(children))]


def _call(act: Callable[..., Any], at: int, barrier: Any, results: Any, given: Any) -> None:
    try:
        results.put((at, act(*given, barrier.wait)))
    except BaseException as error:
        barrier.abort()
        results.put((at, error))
        raise
