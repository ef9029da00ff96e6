"""Clones with a depth: what they move, beside everything and beside the values alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import tensorvcs as tv
from benchmarks.measuring import seconds_of
from benchmarks.row import Bar, Row
from benchmarks.setting import SEED, new_repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.setting import Setting

_CHANGED = 100


def depths(setting: Setting) -> Iterator[Row]:
    """Clone the newest version of a history of labels, and of one of embeddings."""
    count, commits = setting.size(50_000, 2_000), setting.size(200, 20)
    path = setting.folder / "depths-labels"
    _labels(path, count, commits)
    what = f"--depth 1 of {commits} commits, each with {_CHANGED} of {count:,} labels"
    yield from _rows(setting, path, what)
    count, commits = setting.size(20_000, 500), 10
    path = setting.folder / "depths-embeddings"
    _embeddings(path, count, commits)
    what = f"--depth 1 of {commits} commits, each with all of {count:,} embeddings of 512 bytes"
    yield from _rows(setting, path, what)


def _labels(path: Path, count: int, commits: int) -> None:
    random = np.random.default_rng(SEED)
    with new_repository(path) as repo:
        with repo.edit() as co:
            labels = co.add_ndarray_column("labels", (), "int64")
            labels.extend(random.integers(0, 10, count))
            boxes = co.add_ndarray_column("boxes", (4,), "float32")
            boxes.extend(random.random((count, 4), np.float32))
            co.commit("First")
        for number in range(1, commits):
            chosen = random.choice(count, _CHANGED, replace=False)
            with repo.edit() as co:
                co["labels"].update({int(key): 10 + number for key in chosen})
                co.commit("Relabel")


def _embeddings(path: Path, count: int, commits: int) -> None:
    random = np.random.default_rng(SEED)
    with new_repository(path) as repo:
        for number in range(commits):
            with repo.edit() as co:
                if not number:
                    co.add_ndarray_column("embeddings", (128,), "float32")
                made = random.random((count, 128), np.float32)
                co["embeddings"].extend(made, keys=range(count))
                co.commit("Another model")


def _rows(setting: Setting, path: Path, what: str) -> Iterator[Row]:
    moved: dict[str, tv.Transferred] = {}
    seconds: dict[str, float] = {}
    for name, depth in (("all", None), ("newest", 1)):

        def clone(name: str = name, depth: int | None = depth) -> None:
            target = setting.folder / f"{path.name}-{name}"
            moved[name] = tv.Transferred()
            with new_repository(target) as repo:
                repo.add_remote("origin", str(path), part=tv.Filter(depth=depth))
                moved[name] = repo.fetch().moved

        seconds[name] = seconds_of(clone)
    newest, everything = moved["newest"], moved["all"]
    # All trees, and the values of the newest version: the plainer thing to do.
    values_alone = everything.object_nbytes + newest.value_nbytes
    bar = Bar("at most", 1.0)
    yield Row(what, "bytes", newest.nbytes, "a clone of all", everything.nbytes, bar)
    yield Row(what, "bytes", newest.nbytes, "all trees, newest values", values_alone, bar)
    yield Row(what, "s", seconds["newest"], "a clone of all", seconds["all"], bar)
