"""TensorVCS: a column of rows; a writer is a transaction, which merges when it lost the race."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import tensorvcs as tv
from benchmarks.trust.peers.rows import SHAPE, read_each
from tensorvcs.errors import TensorVCSError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

TENSORS = (".tensorvcs/packs/*",)


def version() -> str:
    """Return what is measured."""
    return f"TensorVCS {tv.__version__}"


def create(folder: Path) -> None:
    """Make an empty store."""
    with tv.init(folder, user_name="Ada", user_email="ada@example.org") as repo, repo.edit() as co:
        co.add_ndarray_column("rows", SHAPE, "uint8")
        co.commit("schema")


def mend(folder: Path) -> None:
    """Make a new database of what is left of a damaged one; leave one alone that is past that."""
    with suppress(TensorVCSError):
        tv.recover(folder)


class Writer:
    """Transactions on the branch ``main``."""

    def __init__(self, folder: Path, number: int) -> None:
        self._repo = tv.open(folder)
        self._number = number

    def commit(self, rows: Mapping[str, np.ndarray]) -> str:
        """Add rows and return the id of the commit."""
        tx = self._repo.transaction("main", f"writer {self._number}")
        with tx as co:
            co["rows"].update(rows)
        assert tx.commit is not None
        return str(tx.commit.id)


class Reader:
    """One commit."""

    def __init__(self, folder: Path, version: str | None) -> None:
        self._column = tv.open(folder).checkout(version or "main")["rows"]

    def read(self, keys: Sequence[str]) -> dict[str, Any]:
        """Read rows one by one."""
        return read_each(keys, self._column.get)
