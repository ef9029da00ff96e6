"""One file, read by ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import StorageError
from tensorvcs.storage.local_file import LocalFile

if TYPE_CHECKING:
    from pathlib import Path


def test_ranges_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = LocalFile(path)
    assert (file.name, file.nbytes) == (str(path), 10)
    assert [bytes(part) for part in file.read([(8, 2), (0, 3), (5, 0)])] == [b"89", b"012", b""]


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    file = LocalFile(path)
    assert file.nbytes == 0
    assert [bytes(part) for part in file.read([(0, 0)])] == [b""]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        LocalFile(tmp_path / "absent")
