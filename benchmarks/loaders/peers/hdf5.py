"""h5py: two contiguous data sets; rows of a batch are read in ascending order, as it demands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset

from benchmarks.loaders.peers.reading import batched

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images


def version() -> str:
    return f"h5py {h5py.__version__} with HDF5 {h5py.version.hdf5_version}"


def ingest(data: Images, folder: Path) -> None:
    with h5py.File(folder / "data.h5", "w", libver="latest") as file:
        file["images"] = data.images
        file["labels"] = data.labels


class FileRows(Dataset[Any]):
    """Rows of one file, which each process opens for itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        with h5py.File(path) as file:
            self._count = len(file["labels"])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if self._file is None:
            self._file = h5py.File(self._path)
        images, labels = self._file["images"], self._file["labels"]
        low, high = batch[0], batch[-1] + 1
        if high - low == len(batch) and batch == list(range(low, high)):
            return torch.from_numpy(images[low:high]), torch.from_numpy(labels[low:high])
        rows = np.sort(batch)
        if images[0].nbytes < 1 << 16:
            return torch.from_numpy(images[rows]), torch.from_numpy(labels[rows])
        # One read a row is quicker than one selection of many rows where rows are large.
        found = np.empty((len(rows), *images.shape[1:]), images.dtype)
        for place, row in enumerate(rows):
            images.read_direct(found, np.s_[row], np.s_[place])
        return torch.from_numpy(found), torch.from_numpy(labels[rows])


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    return batched(FileRows(folder / "data.h5"), shuffle=shuffle, workers=workers)
