"""Hugging Face datasets: an Arrow file of pixels as bytes, made tensors of by a transform.

Its features for arrays, in the format of torch, read a tenth as fast, or less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import torch
from datasets import Dataset, Features, Value

from benchmarks.loaders.peers.reading import batched

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images


def version() -> str:
    return f"datasets {datasets.__version__}"


def ingest(data: Images, folder: Path) -> None:
    features = Features({"images": Value("binary"), "labels": Value("int64")})
    columns = {"images": [image.tobytes() for image in data.images], "labels": data.labels}
    made = Dataset.from_dict(columns, features=features)
    made.info.description = "x".join(map(str, data.images.shape[1:]))
    made.save_to_disk(str(folder / "data"))


class _Tensors:
    """Make tensors of the columns of a batch."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, torch.Tensor]:
        pixels = np.stack([np.frombuffer(image, np.uint8) for image in batch["images"]])
        images = torch.from_numpy(pixels).view(-1, *self._shape)
        return {"images": images, "labels": torch.tensor(batch["labels"])}


class Rows:
    """Batches as tuples."""

    def __init__(self, folder: Path) -> None:
        found = datasets.load_from_disk(str(folder / "data"))
        shape = tuple(map(int, found.info.description.split("x")))
        self._rows = found.with_transform(_Tensors(shape))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        found = self._rows[batch]
        return found["images"], found["labels"]


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    return batched(Rows(folder), shuffle=shuffle, workers=workers)
