"""One file: read by ranges, written whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import InvalidInputError, StorageError
from tensorvcs.storage.local_file import LocalFile, new_file

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


def test_a_new_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with new_file(path) as write:
        write(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(InvalidInputError), new_file(path) as write:
        write(b"after")
        raise InvalidInputError("no")
    with pytest.raises(StorageError, match="disk"), new_file(path) as write:
        raise StorageError("disk")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def test_a_file_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"), new_file(tmp_path / "a" / "b") as write:
        write(b"x")
