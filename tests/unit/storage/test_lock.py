"""The staging lock: one holder, who is named to others, and nothing to unlock after a death."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import StagingLockedError, StorageError
from tensorvcs.storage import lock
from tensorvcs.storage.lock import StagingLock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "staging.lock"


def owner(host: str, age_seconds: float = 0.0, **more: str) -> bytes:
    fields = {"pid": 4321, "host": host, "since": time.time() - age_seconds, **more}
    return json.dumps(fields).encode()


def held_by(file: Path, content: bytes) -> int:
    """Lock the file as a process does that writes this about itself."""
    file.write_bytes(content)
    descriptor = os.open(file, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def refusal(file: Path) -> StagingLockedError:
    with pytest.raises(StagingLockedError) as caught:
        StagingLock(file)
    return caught.value


def test_the_second_is_told_who_the_first_is(file: Path) -> None:
    with StagingLock(file):
        error = refusal(file)
    assert f"by process {os.getpid()} since 0 seconds" in str(error)
    assert error.hint is not None and "repo.transaction()" in error.hint
    with StagingLock(file):
        pass


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("far.example.org", "process 4321 on far.example.org since 90 seconds"),
        (socket.gethostname(), "process 4321 since 90 seconds"),
    ],
)
def test_the_owner_is_named_with_host_and_age(
    file: Path, monkeypatch: pytest.MonkeyPatch, host: str, told: str
) -> None:
    content = owner(host, 90)
    now = json.loads(content)["since"] + 90
    descriptor = held_by(file, content)
    monkeypatch.setattr(time, "time", lambda: now)
    assert told in str(refusal(file))
    os.close(descriptor)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"pid": 1}',
        b"\xff" * 9000,
        b'{"pid": 1, "host": 2, "since": "x"}',
        b"[" * 4096,
    ],
)
def test_an_owner_that_cannot_be_read(file: Path, content: bytes) -> None:
    descriptor = held_by(file, content)
    assert "by another process" in str(refusal(file))
    os.close(descriptor)


BOOT_ID = "0f4c1a3e-3f55-4a43-9b57-d0e2c7a0a001"


@pytest.mark.parametrize(
    ("host", "boot"),
    [(socket.gethostname(), "of-the-last-start"), ("a-container", BOOT_ID)],
)
def test_what_a_dead_owner_here_wrote_locks_nobody_out(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, boot: str
) -> None:
    (tmp_path / "boot_id").write_text(f"{BOOT_ID}\n")
    monkeypatch.setattr(lock, "_BOOT_ID", tmp_path / "boot_id")
    os.close(held_by(file, owner(host, 3600, boot=boot)))
    with StagingLock(file):
        assert json.loads(file.read_bytes())["pid"] == os.getpid()
    assert file.read_bytes() == b""


@pytest.mark.parametrize("more", [{}, {"boot": "of-another-machine"}, {"boot": ""}])
@pytest.mark.parametrize("has_boot_id", [True, False])
def test_an_owner_on_another_machine_is_refused_though_the_lock_here_is_free(
    file: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, str], has_boot_id: bool
) -> None:
    if not has_boot_id:
        monkeypatch.setattr(lock, "_BOOT_ID", file.parent / "missing")
    content = owner("far.example.org", 3600, **more)
    now = json.loads(content)["since"] + 3600
    os.close(held_by(file, content))
    monkeypatch.setattr(time, "time", lambda: now)
    error = refusal(file)
    assert "taken by process 4321 on far.example.org since 3600 seconds and not given" in str(error)
    assert error.hint == f"if it is not in use there any more, delete {file}"
    assert file.read_bytes() == content
    refusal(file)
    file.unlink()
    StagingLock(file).release()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"pid": 1, "host": 2, "since": "x"}'])
def test_what_cannot_be_read_is_no_owner_elsewhere(file: Path, content: bytes) -> None:
    os.close(held_by(file, content))
    StagingLock(file).release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    problem = rf"cannot lock files: .*{os.strerror(number)}"
    with pytest.raises(StorageError, match=problem) as caught:
        StagingLock(file)
    assert caught.value.hint == "keep the repository on a local disk"


def test_a_folder_that_is_gone(file: Path) -> None:
    with pytest.raises(StorageError, match="cannot open the lock"):
        StagingLock(file.parent / "gone" / "staging.lock")
