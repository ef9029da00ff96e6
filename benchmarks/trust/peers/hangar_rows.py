"""Hangar 0.5.2: a column of rows; one writer at a time holds the lock of the repository."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import hangar
from hangar import Repository

from benchmarks.trust.peers.rows import key_of, read_each, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

TENSORS = (".hangar/data/**/*",)
RETRIED = ("Cannot acquire the writer lock",)


def version() -> str:
    """Return what is measured."""
    return f"Hangar {hangar.__version__}"


def _repository(folder: Path, *, exists: bool = True) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return Repository(str(folder), exists=exists)


def create(folder: Path) -> None:
    """Make an empty store."""
    folder.mkdir()
    repository = _repository(folder, exists=False)
    repository.init(user_name="Ada", user_email="ada@example.org")
    checkout = repository.checkout(write=True)
    checkout.add_ndarray_column("rows", prototype=row_of(key_of(0, 0)))
    checkout.commit("schema")
    checkout.close()


class Writer:
    """Write checkouts of the branch ``master``, one for each commit so that others have a turn."""

    def __init__(self, folder: Path, number: int) -> None:
        self._repository = _repository(folder)
        self._number = number

    def commit(self, rows: Mapping[str, np.ndarray]) -> str:
        """Add rows and return the id of the commit."""
        checkout = self._repository.checkout(write=True, branch="master")
        try:
            checkout["rows"].update(dict(rows))
            return str(checkout.commit(f"writer {self._number}"))
        finally:
            checkout.close()


class Reader:
    """One commit."""

    def __init__(self, folder: Path, version: str | None) -> None:
        words = {"branch": "master"} if version is None else {"commit": version}
        self._column = _repository(folder).checkout(**words)["rows"]

    def read(self, keys: Sequence[str]) -> dict[str, Any]:
        """Read rows one by one."""
        return read_each(keys, self._column.get)
