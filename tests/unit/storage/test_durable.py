"""Publishing a file: synced before it is named, its name synced after, and no leftovers."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import DiskFullError, InvalidInputError, StorageError
from tensorvcs.storage import durable
from tensorvcs.storage.durable import (
    STEPS,
    new_file,
    publish,
    put_back,
    refusal,
    remove_leftovers,
    replace_folder,
    set_step_hook,
    step,
    sync_file,
    sync_folder,
    temporary_name,
    unfinished,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_refusal_for_want_of_room_says_so(number: int) -> None:
    full = OSError(number, os.strerror(number))
    told_by_hdf5 = RuntimeError(f"Can't flush (file write failed:\n errno = 28, {full.strerror!r})")
    for error in (full, told_by_hdf5):
        found = refusal("cannot write here", error)
        assert isinstance(found, DiskFullError)
        assert str(found) == f"cannot write here: {full.strerror}"
        assert found.hint == "free space on the disk and try again"
    other = refusal("cannot write here", PermissionError(errno.EACCES, "not\nallowed"))
    assert type(other) is StorageError
    assert str(other) == "cannot write here: [Errno 13] not allowed"


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


def test_what_is_being_written_and_what_was_left_are_seen(tmp_path: Path) -> None:
    left = temporary_name(tmp_path / "file")
    left.write_bytes(b"half")
    for other in (".file.x.new", ".filed.0123456789abcdef.new", "file"):
        (tmp_path / other).write_bytes(b"")
    with new_file(tmp_path / "other"):
        assert unfinished(tmp_path / "file") == [left]
        assert len(unfinished(tmp_path / "other")) == 1
    assert unfinished(tmp_path / "other") == []
    with pytest.raises(FileNotFoundError):
        unfinished(tmp_path / "nowhere" / "file")


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


def two_folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    new, final = tmp_path / ".final.0.new", tmp_path / "final"
    for folder, content in ((new, b"new"), (final, b"old")):
        folder.mkdir()
        (folder / "file").write_bytes(content)
    return new, final, tmp_path / "final-aside"


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(durable, "_exchange", lambda one, other: False)
    new, final, aside = two_folders(tmp_path)
    replace_folder(new, final, aside)
    assert (final / "file").read_bytes() == b"new"
    assert (aside / "file").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final", "final-aside"]
    assert not put_back(final)


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("at", range(8))
def test_a_death_while_a_folder_is_replaced_leaves_one_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool, at: int
) -> None:
    if not can_exchange:
        monkeypatch.setattr(durable, "_exchange", lambda one, other: False)
    steps = []

    def die(name: str) -> None:
        steps.append(name)
        if len(steps) == at + 1:
            raise KeyboardInterrupt

    new, final, aside = two_folders(tmp_path)
    set_step_hook(die)
    try:
        replace_folder(new, final, aside)
    except KeyboardInterrupt:
        pass
    finally:
        set_step_hook(None)
    assert can_exchange or at > 5 or len(steps) == at + 1
    put_back(final)
    assert (final / "file").read_bytes() in (b"old", b"new")
    kept = [path for path in tmp_path.rglob("file") if path.read_bytes() == b"old"]
    assert len(kept) == 1


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    new, final, aside = two_folders(tmp_path)
    with pytest.raises(StorageError, match="cannot put"):
        replace_folder(new, final.with_name("nowhere"), aside)
    assert (final / "file").read_bytes() == b"old"
