"""Epochs through PyTorch, by our loader, our data set and a memory map. Needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
)

import tensorvcs as tv
from tensorvcs.torch import Block, TensorDataset, TensorLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

BATCH_COUNT = 256


class MappedRows(Dataset[Any]):
    """What a careful person writes without a store: a memory map, read a batch at a time."""

    def __init__(self, rows: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self._rows = rows
        self._labels = labels

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = self._rows.take(batch, axis=0), self._labels.take(batch)
        return torch.from_numpy(images), torch.from_numpy(labels)


def _batched(dataset: Any, *, shuffle: bool = True) -> DataLoader[Any]:
    """Return a loader that hands whole batches of positions to the data set."""
    order = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
    sampler = BatchSampler(order, BATCH_COUNT, drop_last=False)
    return DataLoader(dataset, sampler=sampler, batch_size=None)


def _epoch(loader: Iterable[Any], count: int) -> Callable[[], None]:
    def run() -> None:
        seen = 0
        for images, labels in loader:
            assert len(images) == len(labels)
            seen += len(images)
        assert seen == count

    return run


def shuffled_epochs(
    path: Path, rows: NDArray[np.uint8], labels: NDArray[np.int64]
) -> dict[str, Callable[[], None]]:
    """Return one shuffled epoch by each way, under its name; ``memmap`` is the baseline."""
    checkout = tv.open(path).checkout()
    columns = ["images", "labels"]
    ours = TensorDataset(checkout, columns)
    ways: dict[str, Iterable[Any]] = {
        "memmap": _batched(MappedRows(rows, labels)),
        "TensorDataset, whole batches": _batched(ours),
        "TensorDataset, DataLoader(shuffle=True)": DataLoader(ours, BATCH_COUNT, shuffle=True),
        "TensorLoader": TensorLoader(checkout, columns, batch_size=BATCH_COUNT),
        "TensorLoader, block shuffle": TensorLoader(
            checkout, columns, batch_size=BATCH_COUNT, shuffle=Block()
        ),
    }
    return {name: _epoch(loader, len(rows)) for name, loader in ways.items()}


def epochs_in_order(
    path: Path, rows: NDArray[np.uint8], labels: NDArray[np.int64]
) -> dict[str, Callable[[], None]]:
    """Return one epoch in key order by each way; ``memmap`` is the baseline."""
    checkout = tv.open(path).checkout()
    ways: dict[str, Iterable[Any]] = {
        "memmap": _batched(MappedRows(rows, labels), shuffle=False),
        "TensorLoader": TensorLoader(
            checkout, ["images", "labels"], batch_size=BATCH_COUNT, shuffle=False
        ),
    }
    return {name: _epoch(loader, len(rows)) for name, loader in ways.items()}
