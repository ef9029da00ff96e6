"""The location table: where every sample of a column is, for reads in batches."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import numpy as np

import tensorvcs as tv
from benchmarks.measuring import seconds_of
from benchmarks.row import Bar, Row
from benchmarks.vectors import change_one, vector_repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting


def location_table(setting: Setting) -> Iterator[Row]:
    """The first batch of a checkout builds the table: cold, and after one changed sample."""
    count = setting.size(1_000_000, 100_000)
    path = vector_repository(setting, count)
    one = np.array([count // 2])
    cold, warm = [], []
    for at in range(3):
        with tv.open(path) as repository:
            column = repository.checkout()["vectors"]
            cold.append(seconds_of(lambda column=column: column.read(one)))  # type: ignore[misc]
            for again in range(3):
                change_one(repository, (at * 3 + again) * 7919 % count, 70_000 + 3 * at + again)
                column = repository.checkout()["vectors"]
                warm.append(seconds_of(lambda column=column: column.read(one)))  # type: ignore[misc]
    name = f"location table of {count:,} samples"
    limit = 1.0 if count == 1_000_000 else 0.1
    yield Row(
        f"{name}, repository just opened", "s", min(cold), bar=Bar("at most", limit, "figure")
    )
    yield Row(
        f"{name}, after one changed sample",
        "s",
        statistics.median(warm),
        bar=Bar("at most", 0.020, "figure"),
    )
