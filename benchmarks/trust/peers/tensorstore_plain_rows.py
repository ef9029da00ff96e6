"""TensorStore as in `tensorstore_rows`, without checksums of chunks: as its manual shows it."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from benchmarks.trust.peers import tensorstore_rows
from benchmarks.trust.peers.tensorstore_rows import FORKS, TENSORS, Reader, Writer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORKS", "TENSORS", "Reader", "Writer", "create", "version"]


def version() -> str:
    """Return what is measured."""
    return f"TensorStore OCDBT {importlib.metadata.version('tensorstore')}, Zarr 3"


def create(folder: Path) -> None:
    """Make an empty store."""
    tensorstore_rows.create(folder, checksum=())
