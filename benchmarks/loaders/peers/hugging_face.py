"""Hugging Face datasets: an Arrow file, read in the format of torch, a batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datasets
from datasets import Array3D, Dataset, Features, Value

from benchmarks.loaders.peers.reading import batched

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from benchmarks.loaders.data import Images

_GIVEN_COUNT = 1000


def version() -> str:
    return f"datasets {datasets.__version__}"


def ingest(data: Images, folder: Path) -> None:
    features = Features(
        {"images": Array3D(data.images.shape[1:], "uint8"), "labels": Value("int64")}
    )
    made = Dataset.from_dict({"images": data.images, "labels": data.labels}, features=features)
    made.save_to_disk(str(folder / "data"))


class Rows:
    """Batches as tuples."""

    def __init__(self, folder: Path) -> None:
        self._rows = datasets.load_from_disk(str(folder / "data")).with_format("torch")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        found = self._rows[batch]
        return found["images"], found["labels"]


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    return batched(Rows(folder), shuffle=shuffle, workers=workers)
