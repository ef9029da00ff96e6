"""Hangar: two columns in its quickest backend, read through its own data set for PyTorch."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import hangar
import numpy as np
import torch
from hangar import Repository
from torch.utils.data import Dataset

from benchmarks.loaders.peers.reading import batched

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images


def version() -> str:
    return f"hangar {hangar.__version__}"


def _repository(folder: Path, *, exists: bool) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return Repository(str(folder), exists=exists)


def ingest(data: Images, folder: Path) -> None:
    repository = _repository(folder, exists=False)
    repository.init(user_name="Ada", user_email="ada@example.org", remove_old=True)
    checkout = repository.checkout(write=True)
    columns: dict[str, Any] = {"images": data.images, "labels": data.labels[:, None]}
    for name, values in columns.items():
        column = checkout.add_ndarray_column(name, prototype=values[0], backend="10")
        column.update(dict(enumerate(values)))
    checkout.commit("Import the images")
    checkout.close()


class Samples(Dataset[Any]):
    """Samples of a checkout, which each process opens for itself.

    Hangar's own ``make_torch_dataset`` reads a sample a call; this reads alike, a batch a call.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._columns: Any = None
        checkout = _repository(folder, exists=True).checkout()
        self._count = len(checkout["labels"])
        checkout.close()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if self._columns is None:
            checkout = _repository(self._folder, exists=True).checkout()
            self._columns = [checkout[name].__enter__() for name in ("images", "labels")]
        images, labels = self._columns
        first = images[batch[0]]
        found = np.empty((len(batch), *first.shape), first.dtype)
        for place, key in enumerate(batch):
            found[place] = images[key]
        numbers = np.array([labels[key][0] for key in batch])
        return torch.from_numpy(found), torch.from_numpy(numbers)


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    return batched(Samples(folder), shuffle=shuffle, workers=workers)
