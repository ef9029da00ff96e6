"""Deep Lake 4: a table with a key and an array a row; a commit that lost a race is done anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import deeplake
import numpy as np

from benchmarks.trust.peers.rows import SHAPE, read_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TENSORS = ("[!_]*/**/*",)
# It runs threads, which a forked process would lack.
FORKS = False
RETRIED = ("onflict", "LogExists", "oncurrent")


def version() -> str:
    """Return what is measured."""
    return f"Deep Lake {deeplake.__version__}"


def create(folder: Path) -> None:
    """Make an empty store."""
    made = deeplake.create(str(folder))
    made.add_column("key", "text")
    made.add_column("row", deeplake.types.Array("uint8", shape=list(SHAPE)))
    made.commit("schema")


class Writer:
    """Appends to a table that is open, brought up to date before each."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._table: Any = deeplake.open(str(folder))
        self._number = number

    def commit(self, rows: Mapping[str, np.ndarray]) -> str:
        """Add rows and return the version."""
        try:
            self._table.refresh()
            self._table.append({"key": list(rows), "row": np.stack(list(rows.values()))})
            self._table.commit(f"writer {self._number}")
            return str(self._table.version)
        except BaseException:
            # What was appended and not committed must not be appended twice.
            self._table = deeplake.open(str(self._folder))
            raise


class Reader:
    """One version."""

    def __init__(self, folder: Path, version: str | None) -> None:
        table: Any = deeplake.open_read_only(str(folder))
        self._table = table if version is None else table.history[version].open()

    def read(self, keys: Sequence[str]) -> dict[str, Any]:
        """Read rows one by one."""
        places = {str(key): at for at, key in enumerate(self._table["key"][:])}
        rows = self._table["row"]
        return read_each(keys, lambda key: np.asarray(rows[places[key]]) if key in places else None)
