"""Zarr 3: shards of chunks that hold a sample each, so that a random row reads no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import zarr
from torch.utils.data import Dataset

from benchmarks.loaders.peers.reading import batched

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images

_SHARD_NBYTES = 1 << 25


def version() -> str:
    return f"zarr {zarr.__version__}"


def ingest(data: Images, folder: Path) -> None:
    group = zarr.open_group(str(folder), mode="w")
    row = data.images.shape[1:]
    rows = max(1, min(len(data), _SHARD_NBYTES // int(np.prod(row))))
    images = group.create_array(
        "images",
        shape=data.images.shape,
        chunks=(1, *row),
        shards=(rows, *row),
        dtype="uint8",
        compressors=None,
    )
    images[:] = data.images
    labels = group.create_array("labels", shape=(len(data),), chunks=(len(data),), dtype="int64")
    labels[:] = data.labels


class Rows(Dataset[Any]):
    """Rows of two arrays; the labels are small, and read whole."""

    def __init__(self, folder: Path) -> None:
        group = zarr.open_group(str(folder), mode="r")
        self._images: Any = group["images"]
        labels: Any = group["labels"]
        self._labels = labels[:]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = batch[0], batch[-1] + 1
        in_order = high - low == len(batch) and batch == list(range(low, high))
        images = self._images[low:high] if in_order else self._images.oindex[np.asarray(batch)]
        return torch.from_numpy(images), torch.from_numpy(self._labels[batch])


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    # Zarr runs an event loop in a thread, which a forked process would lack.
    options = {"multiprocessing_context": "forkserver"} if workers else {}
    return batched(Rows(folder), shuffle=shuffle, workers=workers, **options)
