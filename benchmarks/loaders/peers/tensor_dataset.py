"""Ours: the same repository under PyTorch's own DataLoader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorvcs as tv
from benchmarks.loaders.peers.reading import batched
from benchmarks.loaders.peers.tensor_loader import COLUMNS, ingest, version
from tensorvcs.torch import TensorDataset

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ingest", "open_loader", "version"]


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    dataset = TensorDataset(tv.open(folder).checkout(), COLUMNS)
    return batched(dataset, shuffle=shuffle, workers=workers)
