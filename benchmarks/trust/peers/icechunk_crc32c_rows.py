"""Icechunk 2 as in `icechunk_rows`, with the checksums that Zarr has for chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zarr.codecs

from benchmarks.trust.peers import icechunk_rows
from benchmarks.trust.peers.icechunk_rows import FORKS, TENSORS, Reader, Writer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORKS", "TENSORS", "Reader", "Writer", "create", "version"]


def version() -> str:
    """Return what is measured."""
    return f"{icechunk_rows.version()} with crc32c"


def create(folder: Path) -> None:
    """Make an empty store."""
    codecs = [zarr.codecs.ZstdCodec(level=0, checksum=True), zarr.codecs.Crc32cCodec()]
    icechunk_rows.create(folder, compressors=codecs)
