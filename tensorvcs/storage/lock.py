"""The staging lock: one writer of the working staging area at a time.

The lock is the kernel's (`flock`), so that it ends with its owner however that dies, and the
next writer needs no unlock. The file holds who the owner is, for the message of the others.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import weakref
from typing import TYPE_CHECKING

from tensorvcs.errors import StagingLockedError, StorageError, with_hint

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class StagingLock:
    """The lock of one working staging area, held from the constructor to `release`."""

    def __init__(self, file: Path) -> None:
        """Take the lock.

        Raises
        ------
        StagingLockedError
            Another process, or another checkout in this one, holds it.
        StorageError
            The file system has no locks or refuses the file.
        """
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StorageError(f"cannot open the lock {file}: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _read_owner(descriptor)
            os.close(descriptor)
            raise with_hint(
                StagingLockedError(f"the working staging area is being edited by {owner}"),
                "wait until it is done, or write with repo.transaction()",
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise with_hint(
                StorageError(f"the file system of {file} cannot lock files: {error}"),
                "keep the repository on a local disk",
            ) from error
        owner_fields = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner_fields).encode(), 0)
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


def _read_owner(descriptor: int) -> str:
    try:
        fields = json.loads(os.pread(descriptor, 4096, 0))
        age_seconds = max(0.0, time.time() - float(fields["since"]))
        where = "" if fields["host"] == socket.gethostname() else f" on {fields['host']}"
        return f"process {int(fields['pid'])}{where} since {age_seconds:.0f} seconds"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
