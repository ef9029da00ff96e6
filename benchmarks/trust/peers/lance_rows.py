"""Lance: a table with a key and a list of fixed size a row; its appends try again by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lance
import numpy as np
import pyarrow as pa

from benchmarks.trust.peers.rows import SHAPE, read_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TENSORS = ("data/*",)
# It runs threads, which a forked process would lack.
FORKS = False
RETRIED = ("onflict",)
_COUNT = SHAPE[0] * SHAPE[1]
_SCHEMA = pa.schema([("key", pa.string()), ("row", pa.list_(pa.uint8(), _COUNT))])


def version() -> str:
    """Return what is measured."""
    return f"Lance {lance.__version__}"


def create(folder: Path) -> None:
    """Make an empty store."""
    lance.write_dataset(_SCHEMA.empty_table(), str(folder))


class Writer:
    """Appends to a table."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder

    def commit(self, rows: Mapping[str, np.ndarray]) -> str:
        """Add rows and return the version."""
        flat = pa.array(np.concatenate([row.reshape(-1) for row in rows.values()]))
        lists = pa.FixedSizeListArray.from_arrays(flat, _COUNT)
        table = pa.Table.from_arrays([pa.array(list(rows)), lists], schema=_SCHEMA)
        return str(lance.write_dataset(table, str(self._folder), mode="append").version)


class Reader:
    """One version."""

    def __init__(self, folder: Path, version: str | None) -> None:
        number = None if version is None else int(version)
        self._table: Any = lance.dataset(str(folder), version=number)

    def read(self, keys: Sequence[str]) -> dict[str, Any]:
        """Read rows one by one."""
        names = self._table.to_table(columns=["key"])["key"].to_pylist()
        places = {key: at for at, key in enumerate(names)}

        def row(key: str) -> np.ndarray | None:
            if key not in places:
                return None
            found = self._table.take([places[key]], columns=["row"])["row"].combine_chunks()
            return np.asarray(found.flatten()).reshape(SHAPE)

        return read_each(keys, row)
