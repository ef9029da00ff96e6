"""Repositories of many small vectors, made once a run and shared by the subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.setting import SEED, new_repository

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    import tensorvcs as tv
    from benchmarks.setting import Setting

WIDTH = 32
"""float32[32] is 128 bytes: too long to be kept inline, so that every value is an object."""

_PART_COUNT = 400_000


def vector_repository(setting: Setting, count: int) -> Path:
    """Return a repository whose column ``vectors`` has `count` samples under keys 0, 1, ...

    A subject may add commits to ``main`` and branches beside it, and leaves the count as it is.
    """
    path = setting.folder / f"vectors-{count}"
    if path.exists():
        return path
    rng = np.random.default_rng(SEED)
    with new_repository(path) as repository, repository.edit() as checkout:
        column = checkout.add_ndarray_column("vectors", shape=(WIDTH,), dtype="float32")
        for first in range(0, count, _PART_COUNT):
            part = min(_PART_COUNT, count - first)
            rows = rng.random((part, WIDTH), dtype=np.float32)
            column.extend(rows, keys=range(first, first + part))
        checkout.commit(f"{count:,} vectors")
    return path


def changed_vector(number: int) -> NDArray[np.float32]:
    """Return a vector that differs for every number, and is in no repository yet."""
    return np.full(WIDTH, 2 + number, np.float32)


def change_one(repository: tv.Repository, key: int, number: int) -> tv.Commit:
    """Open the staging area, change one sample and commit."""
    with repository.edit() as checkout:
        checkout["vectors"][key] = changed_vector(number)
        commit: tv.Commit = checkout.commit(f"Change sample {key}")
        return commit
