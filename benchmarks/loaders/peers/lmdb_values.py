"""LMDB: one value a sample, the label in front of the pixels, read through the memory map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np
import torch
from torch.utils.data import Dataset

from benchmarks.loaders.peers.reading import batched

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images

_LABEL_NBYTES = 8


def version() -> str:
    return f"lmdb {lmdb.__version__}"


def ingest(data: Images, folder: Path) -> None:
    size = 2 * data.images.nbytes + (1 << 26)
    with lmdb.open(str(folder), map_size=size, writemap=True, map_async=True) as environment:
        with environment.begin(write=True) as transaction:
            shape = np.array(data.images.shape[1:], "<i8")
            transaction.put(b"shape", shape.tobytes(), append=False)
            for place, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
                value = label.tobytes() + image.tobytes()
                transaction.put(place.to_bytes(4, "big"), value, append=False)
        environment.sync(True)


class Values(Dataset[Any]):
    """The values of one environment, which each process opens for itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._environment: Any = None
        with lmdb.open(self._folder, readonly=True, lock=False) as environment:
            self._count = environment.stat()["entries"] - 1
            with environment.begin() as transaction:
                found = np.frombuffer(transaction.get(b"shape") or b"", "<i8")
        self._shape: tuple[int, ...] = tuple(found.tolist())

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if self._environment is None:
            self._environment = lmdb.open(
                self._folder, readonly=True, lock=False, readahead=False, meminit=False
            )
        images = np.empty((len(batch), *self._shape), np.uint8)
        labels = np.empty(len(batch), np.int64)
        flat = images.reshape(len(batch), -1)
        with self._environment.begin(buffers=True) as transaction:
            for place, key in enumerate(batch):
                value = transaction.get(key.to_bytes(4, "big"))
                labels[place] = np.frombuffer(value, np.int64, 1)[0]
                flat[place] = np.frombuffer(value, np.uint8, offset=_LABEL_NBYTES)
        return torch.from_numpy(images), torch.from_numpy(labels)


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    return batched(Values(folder), shuffle=shuffle, workers=workers)
