"""Deep Lake 4: two columns, read a batch of places at a time, by its threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import deeplake
from torch.utils.data import Dataset

from benchmarks.loaders.peers.reading import batched, own

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from benchmarks.loaders.data import Images

_APPENDED_NBYTES = 1 << 27


def version() -> str:
    return f"deeplake {deeplake.__version__}"


def ingest(data: Images, folder: Path) -> None:
    made = deeplake.create(str(folder / "data"))
    made.add_column("images", deeplake.types.Array("uint8", shape=list(data.images.shape[1:])))
    made.add_column("labels", "int64")
    made.commit()
    count = max(1, _APPENDED_NBYTES // data.images[0].nbytes)
    for low in range(0, len(data), count):
        part = slice(low, low + count)
        made.append({"images": data.images[part], "labels": data.labels[part]})
    made.commit()


class Rows(Dataset[Any]):
    """Rows of a data set, which each process opens for itself."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._found: Any = None
        self._columns: Any = None
        self._count = len(deeplake.open_read_only(path))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if self._columns is None:
            # Columns are of no use without the data set, so that is kept.
            self._found = deeplake.open_read_only(self._path)
            self._columns = (self._found["images"], self._found["labels"])
        low, high = batch[0], batch[-1] + 1
        in_order = high - low == len(batch) and batch == list(range(low, high))
        rows = slice(low, high) if in_order else batch
        images, labels = (own(column[rows]) for column in self._columns)
        return images, labels


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    # It runs threads, which a forked process would lack.
    options = {"multiprocessing_context": "spawn"} if workers else {}
    return batched(Rows(str(folder / "data")), shuffle=shuffle, workers=workers, **options)
