"""Threads that gather rows belong to one process."""

from __future__ import annotations

import os

import pytest

from tensorvcs.storage import gathering


def test_the_threads_of_a_parent_are_not_used_by_a_child() -> None:
    pool = gathering._pool()
    if pool is None:
        pytest.skip("one processor")
    assert gathering._pool() is pool
    gathering._POOLS[os.getpid() + 1] = gathering._POOLS.pop(os.getpid())
    assert gathering._pool() is not pool
