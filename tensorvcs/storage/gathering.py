"""Copy many rows of one dataset, shared by a few threads when they are many bytes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tensorvcs.storage.mapped_datasets import MappedRows

PARALLEL_NBYTES = 4 << 20
"""From so many bytes on it is quicker with threads."""

_PARALLEL_PART_NBYTES = 1 << 20
_MAX_THREADS = 8

_POOLS: dict[int, ThreadPoolExecutor] = {}


def _pool() -> ThreadPoolExecutor | None:
    """Return the threads of this process; those of a parent do not cross a fork."""
    process = os.getpid()
    pool = _POOLS.get(process)
    if pool is None:
        threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
        if threads == 1:
            return None
        _POOLS.clear()
        pool = _POOLS[process] = ThreadPoolExecutor(threads, "tensorvcs-gather")
    return pool


def take_in_parts(
    source: MappedRows, rows: NDArray[np.integer[Any]], out: NDArray[np.uint8]
) -> None:
    """Copy many rows, in a few threads when they are many bytes."""
    pool = _pool() if out.nbytes >= PARALLEL_NBYTES else None
    if pool is None:
        source.take(rows, out)
        return
    threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
    step = max(1, -(-len(rows) // threads), _PARALLEL_PART_NBYTES // out.shape[1])
    parts = [slice(low, low + step) for low in range(0, len(rows), step)]
    running = [pool.submit(source.take, rows[part], out[part]) for part in parts[1:]]
    try:
        source.take(rows[parts[0]], out[parts[0]])
    finally:
        for task in running:
            task.exception()
    for task in running:
        task.result()
