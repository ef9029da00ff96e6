"""Leases: how a collection of garbage knows what is being made, and what is being read.

Whoever writes puts objects and values before the ref that names them, and relies on those that
were there already. So work holds a shared lock from its first look to the move of its ref, and
what is dropped is dropped under the exclusive lock: at that moment nothing is on its way, and what
no ref reaches is garbage. Who reads a commit pins it, so that it counts as reached by a ref.

All locks are the kernel's (`flock`): they end with their owner, however that dies, and what is
left of them is an empty file.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs.errors import StorageError, WorkInProgressError, with_hint
from tensorvcs.objects.digest import DIGEST_NBYTES
from tensorvcs.storage.durable import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tensorvcs.storage.lmdb_environment import LmdbEnvironment

_WORK = "work.lock"
_GATE = "gate.lock"
_COLLECTION = "collection.lock"
_PIN_PREFIX = "reading-"
_POLL_SECONDS = 0.02
GATE_SECONDS = 0.5
"""How long a collection keeps new work out while it waits for what runs."""


@dataclass(slots=True)
class _Held:
    """One shared lock of this process, and how many hold it."""

    descriptor: int
    count: int = 1


@dataclass(slots=True)
class _Owned:
    """All locks that this process holds, by their files."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    held: dict[Path, _Held] = field(default_factory=dict)

    def joins(self, file: Path) -> bool:
        """Take a share in a lock that is held; the caller holds `lock`."""
        held = self.held.get(file)
        if held is None:
            return False
        held.count += 1
        # A lease that nobody refers to may have been given back, by its finalizer, meanwhile.
        return self.held.get(file) is held


_owned = _Owned()


class Lease:
    """A share in a lock of this process, from its making to `release`.

    A child that was forked has no share in what its parent works on, and one of its own in what
    it reads.
    """

    def __init__(self, file: Path | None, *, removes: bool) -> None:
        self._file = file
        self._removes = removes
        self._owner: _Owned | None = None if file is None else _owned

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def __del__(self) -> None:
        # What was never given back must not keep garbage for ever.
        if getattr(self, "_owner", None) is not None:
            self.release()

    def release(self) -> None:
        """Give the share back; a second call does nothing."""
        owner, self._owner = self._owner, None
        if owner is not _owned or self._file is None:
            return  # of the parent, in a forked child, which has closed it
        with owner.lock:
            held = owner.held.get(self._file)
            if held is None:
                return
            held.count -= 1
            if not held.count:
                del owner.held[self._file]
                if self._removes:
                    _remove_unless_shared(self._file, held.descriptor)
                # Closing alone would leave the lock to a child between its fork and its first step.
                fcntl.flock(held.descriptor, fcntl.LOCK_UN)
                os.close(held.descriptor)


class Leases:
    """The leases of one repository.

    Parameters
    ----------
    folder : Path
        Made when it is missing.
    environment : LmdbEnvironment
        Of the repository.
    """

    def __init__(self, folder: Path, environment: LmdbEnvironment) -> None:
        self._folder = folder
        self._environment = environment

    def __reduce__(self) -> tuple[type[Leases], tuple[Path, LmdbEnvironment]]:
        return Leases, (self._folder, self._environment)

    def work(self) -> Lease:
        """Keep everything that is here, and that will be put here, until the lease is given back.

        Waits while something is being dropped, which is a short transaction. Inside a write
        transaction nothing is dropped, and so nothing is locked.

        Raises
        ------
        StorageError
            The folder cannot be written, or its file system has no locks.
        """
        if self._environment.is_writing:
            return Lease(None, removes=False)
        file = self._folder / _WORK
        with _owned.lock:
            if _owned.joins(file):
                return Lease(file, removes=False)
        with self._translated():
            self._folder.mkdir(exist_ok=True)
            gate = _open(self._folder / _GATE)
            try:
                fcntl.flock(gate, fcntl.LOCK_SH)
                descriptor = _open(file)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            finally:
                os.close(gate)
        return _share(file, descriptor, removes=False)

    def pin(self, digest: bytes) -> Lease | None:
        """Keep a commit, and all that it names, as long as the lease is held.

        Returns
        -------
        Lease or None
            None where the repository cannot be written: then nothing is kept.

        Notes
        -----
        Never waits. A commit that no ref reaches any more may be gone all the same when it is
        pinned while it is being dropped.
        """
        file = self._folder / f"{_PIN_PREFIX}{digest.hex()}"
        with _owned.lock:
            if _owned.joins(file):
                return Lease(file, removes=True)
        try:
            descriptor = _open_pin(file)
        except OSError:
            return None
        return _share(file, descriptor, removes=True)

    def pinned(self) -> list[bytes]:
        """Return the digests that are pinned, and remove what dead processes left."""
        found = []
        with self._translated():
            for name in os.listdir(self._folder) if self._folder.is_dir() else []:  # noqa: PTH208
                match = re.fullmatch(_PIN_PREFIX + rf"([0-9a-f]{{{2 * DIGEST_NBYTES}}})", name)
                if match is None:
                    continue
                with suppress(FileNotFoundError):
                    descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        if not _remove_unless_shared(self._folder / name, descriptor):
                            found.append(bytes.fromhex(match[1]))
                    finally:
                        os.close(descriptor)
        return found

    @contextmanager
    def collection(self) -> Iterator[None]:
        """Be the only collection of garbage; raises WorkInProgressError when another one runs."""
        with self._translated():
            self._folder.mkdir(exist_ok=True)
            descriptor = _open(self._folder / _COLLECTION)
        try:
            if not self._try_exclusive(descriptor):
                raise self._in_progress(descriptor)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def exclusive(self, wait_seconds: float) -> Iterator[None]:
        """Keep all work out for the length of the block.

        Parameters
        ----------
        wait_seconds : float
            How long to wait for work in progress to end. New work waits for the first
            `GATE_SECONDS` of it, in which short work ends; then it is let in, since what runs is
            long.

        Raises
        ------
        WorkInProgressError
            It did not end.
        StorageError
            The folder cannot be written, or its file system has no locks.
        """
        with self._translated():
            self._folder.mkdir(exist_ok=True)
            gate = _open(self._folder / _GATE)
            descriptor = _open(self._folder / _WORK)
        try:
            start = time.monotonic()
            patience = start + min(wait_seconds, GATE_SECONDS)
            if not (self._wait(gate, patience) and self._wait(descriptor, patience)):
                fcntl.flock(gate, fcntl.LOCK_UN)
                if not self._wait(descriptor, start + wait_seconds):
                    raise self._in_progress(descriptor)
            yield
        finally:
            for one in (descriptor, gate):
                fcntl.flock(one, fcntl.LOCK_UN)
                os.close(one)

    def _wait(self, descriptor: int, until: float) -> bool:
        """Try to lock a file until that moment; tell whether it was done."""
        while not self._try_exclusive(descriptor):
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _try_exclusive(self, descriptor: int) -> bool:
        with self._translated():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def _in_progress(self, descriptor: int) -> WorkInProgressError:
        owners = _lock_owners(descriptor)
        who = f" by process {', '.join(map(str, owners))}" if owners else ""
        return with_hint(
            WorkInProgressError(
                f"nothing was dropped: the repository {self._folder.parent} is being written{who}"
            ),
            "try again when the edits, transfers and collections that run there have ended",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            refused = refusal(f"cannot lock in {self._folder}", error)
            if refused.hint is None:
                with_hint(
                    refused,
                    "the folder of the repository must be writable, on a file system that has "
                    "locks",
                )
            raise refused from error


def _open(file: Path) -> int:
    return os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _open_pin(file: Path) -> int:
    """Open and lock the file of a pin, however often others remove it meanwhile."""
    while True:
        try:
            descriptor = _open(file)
        except FileNotFoundError:
            file.parent.mkdir(exist_ok=True)
            continue
        try:
            # Held exclusively by who looks whether it can be removed, for a moment.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _share(file: Path, descriptor: int, *, removes: bool) -> Lease:
    """Enter a lock that was taken; another thread may have been quicker."""
    with _owned.lock:
        if _owned.joins(file):
            os.close(descriptor)
        else:
            _owned.held[file] = _Held(descriptor)
    return Lease(file, removes=removes)


def _remove_unless_shared(file: Path, descriptor: int) -> bool:
    """Remove the file of a pin that nobody else holds; tell whether that is so."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    with suppress(OSError):
        file.unlink()
    return True


def _lock_owners(descriptor: int) -> list[int]:
    """Return the processes of this machine that lock a file, as far as the system tells."""
    with suppress(OSError, ValueError, IndexError):
        inode = os.fstat(descriptor).st_ino
        owners = set()
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
                owners.add(int(fields[4]))
        return sorted(owners)
    return []


def _leave_parent() -> None:
    """Give up the work of the parent, and pin anew what it reads, in a forked child."""
    global _owned
    inherited, _owned = _owned, _Owned()
    for file, held in inherited.held.items():
        if file.name.startswith(_PIN_PREFIX):
            with suppress(OSError):
                # The leases of the child are copies of those of the parent, which count for it no
                # more; what it reads stays pinned until it ends.
                _owned.held[file] = _Held(_open_pin(file))
        with suppress(OSError):
            os.close(held.descriptor)


os.register_at_fork(after_in_child=_leave_parent)
