"""TensorStore: a Zarr array with a chunk a row in OCDBT; a transaction a version.

With the checksums that Zarr has for chunks; `tensorstore_plain_rows` is without.
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore as ts

from benchmarks.trust.peers.rows import SHAPE, SLOTS, WRITERS, place_of, read_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TENSORS = ("d/*",)
# It runs threads, which a forked process would lack.
FORKS = False
CHECKSUM = ({"name": "crc32c"},)


def version() -> str:
    """Return what is measured."""
    return f"TensorStore OCDBT {importlib.metadata.version('tensorstore')}, Zarr 3 with crc32c"


def _spec(folder: Path, **kvstore: Any) -> dict[str, Any]:
    base = f"file://{folder}/"
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "ocdbt", "base": base, "path": "rows/", **kvstore},
    }


def create(folder: Path, checksum: Sequence[Mapping[str, str]] = CHECKSUM) -> None:
    """Make an empty store."""
    spec = _spec(folder)
    grid = {"name": "regular", "configuration": {"chunk_shape": [1, *SHAPE]}}
    spec["metadata"] = {
        "shape": [SLOTS * WRITERS, *SHAPE],
        "data_type": "uint8",
        "chunk_grid": grid,
        "codecs": [
            {"name": "bytes"},
            {"name": "zstd", "configuration": {"level": 1}},
            *checksum,
        ],
    }
    ts.open(spec, create=True).result()


class Writer:
    """Transactions."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._array = ts.open(_spec(folder), open=True).result()

    def commit(self, rows: Mapping[str, np.ndarray]) -> str:
        """Add rows and return the newest generation, which has them."""
        transaction = ts.Transaction()
        array = self._array.with_transaction(transaction)
        places = [place_of(key) for key in rows]
        array[places] = np.stack(list(rows.values()))
        transaction.commit_async().result()
        manifest = ts.ocdbt.dump(ts.KvStore.open(f"file://{self._folder}/").result()).result()
        return str(max(found["generation_number"] for found in manifest["versions"]))


class Reader:
    """One generation."""

    def __init__(self, folder: Path, version: str | None) -> None:
        words = {} if version is None else {"version": int(version)}
        self._array = ts.open(_spec(folder, **words), open=True, read=True).result()

    def read(self, keys: Sequence[str]) -> dict[str, Any]:
        """Read rows one by one; a row that is nowhere reads as the fill value."""

        def row(key: str) -> np.ndarray | None:
            found = np.asarray(self._array[place_of(key)].read().result())
            return found if found.any() else None

        return read_each(keys, row)
