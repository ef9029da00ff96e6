"""Icechunk 2: an array with a chunk a row; a commit that lost a race is rebased by Icechunk.

With its defaults; `icechunk_crc32c_rows` has Zarr check each chunk as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import icechunk
import zarr

from benchmarks.trust.peers.rows import SHAPE, SLOTS, WRITERS, place_of, read_each, runs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

TENSORS = ("chunks/**/*",)
# Its threads run from its import on.
FORKS = False


def version() -> str:
    """Return what is measured."""
    return f"Icechunk {icechunk.__version__}, Zarr {zarr.__version__}"


def create(folder: Path, **words: Any) -> None:
    """Make an empty store."""
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(folder)))
    session = repository.writable_session("main")
    group = zarr.open_group(session.store, mode="w")
    shape = (SLOTS * WRITERS, *SHAPE)
    group.create_array("rows", shape=shape, chunks=(1, *SHAPE), dtype="uint8", **words)
    session.commit("schema")


class Writer:
    """Sessions on the branch ``main``."""

    def __init__(self, folder: Path, number: int) -> None:
        storage = icechunk.local_filesystem_storage(str(folder))
        self._repository = icechunk.Repository.open(storage)
        self._number = number

    def commit(self, rows: Mapping[str, np.ndarray]) -> str:
        """Add rows and return the id of the snapshot."""
        session = self._repository.writable_session("main")
        array: Any = zarr.open_group(session.store, mode="r+")["rows"]
        for places, stacked in runs_of(rows):
            array[places] = stacked
        made = session.commit(f"writer {self._number}", rebase_with=icechunk.ConflictDetector())
        return str(made)


class Reader:
    """One snapshot."""

    def __init__(self, folder: Path, version: str | None) -> None:
        repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(folder)))
        if version is None:
            session = repository.readonly_session("main")
        else:
            session = repository.readonly_session(snapshot_id=version)
        self._array: Any = zarr.open_group(session.store, mode="r")["rows"]

    def read(self, keys: Sequence[str]) -> dict[str, Any]:
        """Read rows one by one; a row that is nowhere reads as the fill value."""

        def row(key: str) -> np.ndarray | None:
            found = self._array[place_of(key)]
            return found if found.any() else None

        return read_each(keys, row)
