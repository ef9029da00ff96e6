"""The staging lock: one writer of the working staging area at a time.

The lock is the kernel's (`flock`), so that it ends with its owner however that dies, and the
next writer needs no unlock. The file holds who the owner is, for the message of the others, and
is emptied by an owner that ends well.

The kernel knows only the owners of this machine. Where a network file system locks for each machine
apart, an owner elsewhere shows by what it wrote alone; so what an owner of another machine left
behind is taken for a living one, and refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs.errors import StagingLockedError, StorageError, with_hint
from tensorvcs.storage.durable import refusal

if TYPE_CHECKING:
    from types import TracebackType

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class StagingLock:
    """The lock of one working staging area, held from the constructor to `release`."""

    def __init__(self, file: Path) -> None:
        """Take the lock.

        Raises
        ------
        StagingLockedError
            Another process, or another checkout in this one, holds it; or an owner on another
            machine did not give it back.
        StorageError
            The file system has no locks or refuses the file.
        """
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise refusal(f"cannot open the lock {file}", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _Owner.read(descriptor)
            os.close(descriptor)
            raise with_hint(
                StagingLockedError(f"the working staging area is being edited by {_told(owner)}"),
                "wait until it is done, or write with repo.transaction()",
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise with_hint(
                StorageError(f"the file system of {file} cannot lock files: {error}"),
                "keep the repository on a local disk",
            ) from error
        left_behind = _Owner.read(descriptor)
        if left_behind is not None and left_behind.is_elsewhere:
            os.close(descriptor)
            raise with_hint(
                StagingLockedError(
                    f"the working staging area was taken by {left_behind} and not given back"
                ),
                f"if it is not in use there any more, delete {file}",
            )
        # On a full disk it is left out: the lock of the kernel holds all the same.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(_Owner.this_process())).encode(), 0)
        self._descriptor: int | None = descriptor
        _held.add(self)

    def __enter__(self) -> StagingLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            # Closing alone would leave the lock to a child between its fork and its first step.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        # An editor that was never closed must not lock its own process out.
        if getattr(self, "_descriptor", None) is not None:
            self.release()

    def forget(self) -> None:
        """Close the copy that a forked child inherited; the parent keeps the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_held: weakref.WeakSet[StagingLock] = weakref.WeakSet()


def _forget_in_child() -> None:
    for lock in list(_held):
        lock.forget()


os.register_at_fork(after_in_child=_forget_in_child)


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who holds the lock, as its file says; `since` is in seconds since 1970."""

    pid: int
    host: str
    boot: str
    since: float

    @classmethod
    def this_process(cls) -> _Owner:
        return cls(os.getpid(), socket.gethostname(), _boot_id(), time.time())

    @classmethod
    def read(cls, descriptor: int) -> _Owner | None:
        """Return what an owner wrote; None when it wrote nothing that can be read."""
        try:
            fields = json.loads(os.pread(descriptor, 4096, 0))
            boot = str(fields.get("boot", ""))
            return cls(int(fields["pid"]), str(fields["host"]), boot, float(fields["since"]))
        except (
            OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError
        ):  # fmt: skip
            return None

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is of another machine, whose locks the kernel here may not know.

        Containers on one machine have names of their own and one kernel.
        """
        if self.host == socket.gethostname():
            return False
        return not self.boot or self.boot != _boot_id()

    def __str__(self) -> str:
        age_seconds = max(0.0, time.time() - self.since)
        where = "" if self.host == socket.gethostname() else f" on {self.host}"
        return f"process {self.pid}{where} since {age_seconds:.0f} seconds"


def _told(owner: _Owner | None) -> str:
    return "another process" if owner is None else str(owner)


def _boot_id() -> str:
    """Return what names this start of the kernel; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
