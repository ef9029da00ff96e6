"""Nested samples: a batch of them in one read, beside one sample at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measuring import best_of
from benchmarks.row import Row
from benchmarks.setting import SEED, new_repository, random_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting

SUBSAMPLES = 4
WIDTH = 64
_READ_BATCHES = 8


def nested_samples(setting: Setting) -> Iterator[Row]:
    """Random batches of samples with four subsamples each, all of them as dicts."""
    count = setting.size(50_000, 2_000)
    rng = np.random.default_rng(SEED)
    with new_repository(setting.folder / "nested") as repository:
        with repository.edit() as checkout:
            column = checkout.add_ndarray_column("scans", (WIDTH,), "float32", nested=True)
            for first in range(0, count, 10_000):
                part = min(10_000, count - first)
                rows = rng.random((part, SUBSAMPLES, WIDTH), dtype=np.float32)
                samples = enumerate(rows, first)
                column.update({f"s{key:06}": dict(enumerate(row)) for key, row in samples})
            checkout.commit(f"{count:,} nested samples")
        scans = repository.checkout()["scans"]
        keys = scans.sample_keys()
        batches = random_batches(count)[:_READ_BATCHES]

        def in_batches() -> None:
            for batch in batches:
                scans.read(batch)

        def one_by_one() -> None:
            for batch in batches:
                for place in batch.tolist():
                    dict(scans[keys[place]].items())

        # What is read is counted on, not the first touch of a pack.
        in_batches()
        times = best_of(setting.repeat, in_batches, one_by_one)
    read = sum(map(len, batches))
    ours, baseline = (read / seconds for seconds in times)
    yield Row(
        f"batches of {len(batches[0])} of {count:,} nested samples × {SUBSAMPLES} × "
        f"float32[{WIDTH}]",
        "samples/s",
        ours,
        "one sample at a time",
        baseline,
    )
