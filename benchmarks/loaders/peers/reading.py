"""What peers share: a DataLoader that hands whole batches of places to a data set."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
)

if TYPE_CHECKING:
    from collections.abc import Sized

BATCH_COUNT = 256


def batched(dataset: Sized, *, shuffle: bool, workers: int, **options: Any) -> DataLoader[Any]:
    """Return a loader over a data set whose items are batches: ``dataset[list of places]``.

    PyTorch's manual calls this disabling automatic batching. It saves a call, and often a read,
    for each sample.
    """
    source: Any = dataset
    order = RandomSampler(source) if shuffle else SequentialSampler(source)
    sampler = BatchSampler(order, BATCH_COUNT, drop_last=False)
    return DataLoader(source, sampler=sampler, batch_size=None, **with_workers(workers), **options)


def with_workers(workers: int) -> dict[str, Any]:
    """Return the options of a DataLoader with workers that live from epoch to epoch."""
    return {"num_workers": workers, "persistent_workers": workers > 0}


def own(array: Any) -> torch.Tensor:
    """Return a tensor of an array that the training loop may write to.

    Read-only arrays are views of what a library keeps; PyTorch demands memory that is not, and a
    view that nobody has read yet would leave the reading to the loop.
    """
    return torch.from_numpy(np.require(array, requirements="W"))


def versions(*names: str) -> str:
    """Return distributions with their versions."""
    return ", ".join(f"{name} {version(name)}" for name in names)
