"""Zarr 3: an array with a chunk a row, in place and without versions; the plain baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zarr
import zarr.codecs

from benchmarks.trust.peers.rows import SHAPE, SLOTS, WRITERS, place_of, read_each, runs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

TENSORS = ("rows/c/**/*",)
# It runs threads, which a forked process would lack.
FORKS = False


def version() -> str:
    """Return what is measured."""
    return f"Zarr {zarr.__version__} with crc32c"


def create(folder: Path) -> None:
    """Make an empty store."""
    group = zarr.open_group(str(folder), mode="w")
    shape = (SLOTS * WRITERS, *SHAPE)
    codecs = [zarr.codecs.ZstdCodec(level=0, checksum=True), zarr.codecs.Crc32cCodec()]
    group.create_array("rows", shape=shape, chunks=(1, *SHAPE), dtype="uint8", compressors=codecs)


class Writer:
    """Writes in place, each of which is all that Zarr promises."""

    def __init__(self, folder: Path, number: int) -> None:
        self._array: Any = zarr.open_group(str(folder), mode="r+")["rows"]

    def commit(self, rows: Mapping[str, np.ndarray]) -> None:
        """Write rows; there are no versions."""
        for places, stacked in runs_of(rows):
            self._array[places] = stacked


class Reader:
    """The array."""

    def __init__(self, folder: Path, version: str | None) -> None:
        self._array: Any = zarr.open_group(str(folder), mode="r")["rows"]

    def read(self, keys: Sequence[str]) -> dict[str, Any]:
        """Read rows one by one; a row that is nowhere reads as the fill value."""

        def row(key: str) -> np.ndarray | None:
            found = self._array[place_of(key)]
            return found if found.any() else None

        return read_each(keys, row)
