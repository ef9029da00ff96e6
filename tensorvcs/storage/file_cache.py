"""A folder of files that can be had again: each is written once, and dropped when damaged."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from tensorvcs.errors import StorageError
from tensorvcs.storage.local_file import LocalFile

if TYPE_CHECKING:
    from pathlib import Path


class FileCache:
    """Contents by name; losing any of them costs time only.

    Parameters
    ----------
    folder : path
        Made when something is put.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> memoryview | None:
        """Return a content, mapped into memory, or None."""
        try:
            file = LocalFile(self.folder / name)
        except StorageError:
            return None
        return file.read([(0, file.nbytes)])[0]

    def put(self, name: str, content: bytes) -> None:
        """Keep a content; nothing happens where the folder cannot be written."""
        temporary = self.folder / f".{name}.{os.getpid()}.new"
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(self.folder / name)


class MemoryCache:
    """The same in a dict, for a connection that belongs to no repository."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def get(self, name: str) -> memoryview | None:
        """Return a content, or None."""
        content = self._contents.get(name)
        return None if content is None else memoryview(content)

    def put(self, name: str, content: bytes) -> None:
        """Keep a content."""
        self._contents[name] = content
