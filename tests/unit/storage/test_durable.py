"""Publishing a file: synced before it is named, its name synced after, and no leftovers."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import InvalidInputError, StorageError
from tensorvcs.storage.durable import (
    STEPS,
    new_file,
    publish,
    remove_leftovers,
    set_step_hook,
    step,
    sync_file,
    sync_folder,
    temporary_name,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_synced_then_named_then_its_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, final = tmp_path / "tmp", tmp_path / "final"
    temporary.write_bytes(b"new")
    final.write_bytes(b"old")
    seen: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        seen.append("sync " + os.path.realpath(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    set_step_hook(lambda name: seen.append(f"{name}: {final.read_bytes().decode()}"))
    try:
        publish(temporary, final)
    finally:
        set_step_hook(None)
    assert seen == [
        "file written: old",
        f"sync {temporary}",
        "file synced: old",
        "file renamed: new",
        f"sync {tmp_path}",
        "folder synced: new",
    ]
    assert not temporary.exists()


def test_a_step_has_a_known_name() -> None:
    with pytest.raises(AssertionError):
        step("no such step")
    assert len(set(STEPS)) == len(STEPS)


def test_a_refusal_is_a_storage_error(tmp_path: Path) -> None:
    for act in (sync_file, sync_folder):
        with pytest.raises(StorageError, match="cannot sync"):
            act(tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot rename"):
        publish(tmp_path / "file", tmp_path / "absent" / "file")


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


def test_the_next_writer_removes_what_a_dead_one_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    dead = temporary_name(path)
    dead.write_bytes(b"half")
    folder = temporary_name(path)
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_bytes(b"half")
    for name in (".file.new", ".file.0123.new", ".other.0123456789abcdef.new"):
        (tmp_path / name).write_bytes(b"of somebody else")
    with new_file(path) as write:
        write(b"whole")
    assert sorted(os.listdir(tmp_path)) == [  # noqa: PTH208
        ".file.0123.new",
        ".file.new",
        ".other.0123456789abcdef.new",
        "file",
    ]


def test_what_a_living_writer_writes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with new_file(path) as write:
        write(b"first")
        with new_file(path) as other:
            other(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def test_a_link_is_no_leftover(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"kept")
    link = temporary_name(tmp_path / "file")
    link.symlink_to(tmp_path / "elsewhere")
    assert remove_leftovers(tmp_path / "file") == 0
    assert link.is_symlink()


def test_a_name_that_is_as_long_as_a_name_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("\N{SNOWMAN}" * 85)
    with new_file(path) as write:
        write(b"x")
    assert path.read_bytes() == b"x"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    dead = temporary_name(tmp_path / "file")
    dead.write_bytes(b"half")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with new_file(tmp_path / "file") as write:
        write(b"x")
    assert (tmp_path / "file").read_bytes() == b"x"
    assert dead.exists()


@pytest.mark.parametrize(("umask", "mode", "expected"), [(0o022, 0o666, 0o644), (0, 0o600, 0o600)])
def test_the_umask_and_the_mode_decide(
    tmp_path: Path, umask: int, mode: int, expected: int
) -> None:
    before = os.umask(umask)
    try:
        with new_file(tmp_path / "file", mode=mode) as write:
            write(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == expected
