"""Lance: a table with a list of fixed size a row; in order by its own data set, shuffled by take.

Its ``SafeLanceDataset`` gives lists of Python numbers; this takes rows as it does, and makes
tensors of the memory of Arrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lance
import numpy as np
import pyarrow as pa
from lance.torch.data import LanceDataset
from torch.utils.data import DataLoader, Dataset

from benchmarks.loaders.peers.reading import BATCH_COUNT, batched, own

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from benchmarks.loaders.data import Images


def version() -> str:
    return f"pylance {lance.__version__}"


def ingest(data: Images, folder: Path) -> None:
    flat = pa.array(data.images.reshape(-1))
    images = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(data.images.shape[1:])))
    shape = "x".join(map(str, data.images.shape[1:]))
    schema = pa.schema(
        [pa.field("images", images.type), pa.field("labels", pa.int64())], {"shape": shape}
    )
    table = pa.Table.from_arrays([images, pa.array(data.labels)], schema=schema)
    lance.write_dataset(table, str(folder / "data.lance"))


def _shape(found: Any) -> tuple[int, ...]:
    return tuple(map(int, found.schema.metadata[b"shape"].decode().split("x")))


class _Tensors:
    """Make tensors of a record batch."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def __call__(self, batch: Any, **_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        images = own(batch["images"].flatten().to_numpy(zero_copy_only=False))
        labels = own(batch["labels"].to_numpy(zero_copy_only=False))
        return images.view(-1, *self._shape), labels


class Rows(Dataset[Any]):
    """Rows of a table, which each process opens for itself."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rows: Any = None
        found = lance.dataset(path)
        self._count: int = found.count_rows()
        self._tensors = _Tensors(_shape(found))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if self._rows is None:
            self._rows = lance.dataset(self._path)
        (found,) = self._rows.take(batch).combine_chunks().to_batches()
        return self._tensors(found)


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    path = str(folder / "data.lance")
    if shuffle or workers:
        # Lance runs threads, which a forked process would lack; its manual says spawn.
        options = {"multiprocessing_context": "spawn"} if workers else {}
        return batched(Rows(path), shuffle=shuffle, workers=workers, **options)
    found = lance.dataset(path)
    rows = LanceDataset(found, batch_size=BATCH_COUNT, to_tensor_fn=_Tensors(_shape(found)))
    return DataLoader(rows, batch_size=None)
