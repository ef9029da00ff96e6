"""One file beside the repository, read by ranges."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from tensorvcs.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class LocalFile:
    """A file that is mapped into memory when it is first read.

    Parameters
    ----------
    path : path

    Raises
    ------
    StorageError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._nbytes = os.fstat(file.fileno()).st_size
                # An empty file cannot be mapped.
                empty = memoryview(b"")
                self._content = empty if not self._nbytes else memoryview(_mapped(file.fileno()))
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def nbytes(self) -> int:
        """The size of the file when it was opened."""
        return self._nbytes

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return views of ranges, given as start and bytes; nothing is copied."""
        return [self._content[start : start + nbytes] for start, nbytes in ranges]


def _mapped(descriptor: int) -> mmap.mmap:
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
