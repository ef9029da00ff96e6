"""PyTorch's TensorDataset over tensors in memory, indexed a batch at a time.

What it ingests is the files that a later process reads them from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from benchmarks.loaders.peers.reading import batched

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images


def version() -> str:
    return f"torch {torch.__version__}"


def ingest(data: Images, folder: Path) -> None:
    np.save(folder / "images.npy", data.images)
    np.save(folder / "labels.npy", data.labels)


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    tensors = [torch.from_numpy(np.load(folder / name)) for name in ("images.npy", "labels.npy")]
    return batched(TensorDataset(*tensors), shuffle=shuffle, workers=workers)
