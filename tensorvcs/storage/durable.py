"""Sync, rename, and the named steps between which a crash may fall."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tensorvcs.errors import DiskFullError, StorageError, with_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STEPS = (
    "file written",
    "file synced",
    "file renamed",
    "folder synced",
    "folder written",
    "folder renamed",
    "folders exchanged",
    "transaction complete",
    "transaction durable",
    "pack sealed",
    "pack replaced",
    "pack removed",
    "pack put aside",
    "orphan removed",
    "hole made",
    "leftover removed",
)
"""Every point at which `step` is called; the crash tests kill a process at each of them."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OLD = "-old"
_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


def _continue(name: str) -> None:
    """Do nothing: the step hook of every process that is not under test."""


_hook: Callable[[str], None] = _continue


def step(name: str) -> None:
    """Mark that the durable step `name` was reached; tests end the process here."""
    assert name in STEPS, name
    _hook(name)


def set_step_hook(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with the name of each step of this process; None restores the silent one."""
    global _hook  # noqa: PLW0603
    _hook = _continue if hook is None else hook


def refusal(problem: str, error: BaseException) -> StorageError:
    """Return the error to raise when the system, HDF5 or LMDB refused a write.

    Parameters
    ----------
    problem : str
        What could not be done, with the path.
    error : exception
        What the system said. When it is that there is no room, the result is a DiskFullError.
    """
    text = " ".join(str(error).split())
    for number in _FULL:
        if getattr(error, "errno", None) == number or os.strerror(number) in text:
            return with_hint(
                DiskFullError(f"{problem}: {os.strerror(number)}"),
                "free space on the disk and try again",
            )
    return StorageError(f"{problem}: {text}")


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on stable storage.

    Raises
    ------
    StorageError
        The operating system refused.
    """
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on stable storage.

    Raises
    ------
    StorageError
        The operating system refused.
    """
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def publish(temporary: Path, final: Path) -> None:
    """Make a finished file appear under its name in one step that survives a crash.

    Syncs the file, renames it over `final`, and syncs the folder of `final`.

    Raises
    ------
    StorageError
        The operating system refused; `temporary` may be left behind.
    """
    step("file written")
    sync_file(temporary)
    step("file synced")
    try:
        temporary.replace(final)
    except OSError as error:
        raise refusal(f"cannot rename {temporary} to {final}", error) from error
    step("file renamed")
    sync_folder(final.parent)
    step("folder synced")


def publish_folder(temporary: Path, final: Path) -> None:
    """Make a finished folder appear under its name in one step that survives a crash.

    The files in it must be synced. Syncs the folder, renames it, and syncs the folder of `final`.

    Raises
    ------
    StorageError
        The operating system refused; `temporary` may be left behind.
    """
    step("folder written")
    sync_folder(temporary)
    try:
        temporary.replace(final)
    except OSError as error:
        raise refusal(f"cannot rename {temporary} to {final}", error) from error
    step("folder renamed")
    sync_folder(final.parent)
    step("folder synced")


def replace_folder(temporary: Path, final: Path, aside: Path) -> None:
    """Put a finished folder in the place of another, which is kept under the name `aside`.

    The files in it must be synced. One step replaces the other folder where the file system can
    exchange two names. Elsewhere there is a moment with nothing at `final`, when the old folder is
    called `aside` and ``-old``; `put_back` ends it after a crash.

    Raises
    ------
    StorageError
        The operating system refused; the old folder is at `final`, or as said above.
    """
    # Under a name that nobody takes for a leftover, since that is what the old one will have.
    publish_folder(temporary, aside)
    try:
        if not _exchange(aside, final):
            old = _waiting_name(aside)
            final.rename(old)
            step("folder renamed")
            aside.rename(final)
            step("folder renamed")
            old.rename(aside)
    except OSError as error:
        raise refusal(f"cannot put {aside} in the place of {final}", error) from error
    step("folders exchanged")
    sync_folder(final.parent)
    step("folder synced")


def put_back(final: Path) -> bool:
    """Give a folder its name back that `replace_folder` was killed beside; tell whether it was."""
    if final.exists():
        return False
    pattern = re.compile(re.escape(final.name) + r"-.*" + re.escape(_OLD))
    for name in sorted(os.listdir(final.parent)):  # noqa: PTH208
        if pattern.fullmatch(name):
            try:
                final.with_name(name).rename(final)
            except OSError as error:
                raise refusal(f"cannot rename {name} to {final}", error) from error
            step("folder renamed")
            sync_folder(final.parent)
            return True
    return False


def _waiting_name(aside: Path) -> Path:
    return aside.with_name(aside.name + _OLD)


def _exchange(one: Path, other: Path) -> bool:
    """Have two folders change their names in one step; False where the system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            code = library.renamex_np(os.fsencode(one), os.fsencode(other), _EXCHANGE)
        else:
            code = library.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    except AttributeError:
        return False
    if code and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return not code


@contextmanager
def new_file(path: Path, *, mode: int = 0o666) -> Iterator[Callable[[bytes | memoryview], object]]:
    """Write a file that appears under its name when the block ends, and survives a crash then.

    What a writer of the same file left behind when it died is removed first.

    Parameters
    ----------
    path : Path
    mode : int
        The permissions of the new file, of which the umask may take away.

    Yields
    ------
    callable
        Writes bytes behind those written before.

    Raises
    ------
    StorageError
        The system refused. An error inside the block leaves what was there before.
    """
    remove_leftovers(path)
    temporary: Path | None = None
    try:
        temporary, descriptor = _create_locked(path, mode)
        # The lock ends with the file object, behind the last step.
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
            yield file.write
            file.flush()
            publish(temporary, path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise refusal(f"cannot write {path}", error) from error
        raise


def remove_leftovers(path: Path) -> int:
    """Remove what writers of a file or folder left beside it when they died; return the count.

    What a living writer locks is left alone, and so is what cannot be locked.
    """
    removed = 0
    with suppress(OSError):
        for found in unfinished(path):
            removed += _remove_unlocked(found)
    return removed


def unfinished(path: Path) -> list[Path]:
    """Return what writers of a file or folder have beside it, living ones and dead ones.

    Raises
    ------
    OSError
        The folder cannot be listed.
    """
    pattern = re.compile(re.escape(_leftover_prefix(path)) + r"[0-9a-f]{16}\.new")
    with os.scandir(path.parent) as entries:
        names = [entry.name for entry in entries if pattern.fullmatch(entry.name)]
    return [path.with_name(name) for name in names]


def temporary_name(path: Path) -> Path:
    """Return a new name beside `path`, by which `remove_leftovers` knows what a writer left."""
    return path.with_name(f"{_leftover_prefix(path)}{secrets.token_hex(8)}.new")


def lock_shared(descriptor: int) -> bool:
    """Mark what is being written as that of a living writer; False when somebody removes it.

    Where the file system has no locks nothing is marked, and nothing is removed either.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return bool(os.fstat(descriptor).st_nlink)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep others out who call this for the same folder; where there are no locks, nobody.

    Who changes a file by reading and replacing it does both in here, so that of two changes at a
    time none is lost. Threads of one process wait for each other as processes do.

    Raises
    ------
    StorageError
        There is no such folder, or it may not be read.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise refusal(f"cannot lock {folder}", error) from error
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _leftover_prefix(path: Path) -> str:
    # Short enough that the whole is a legal name, whatever that of the file.
    return f".{path.name[:40]}."


def _create_locked(path: Path, mode: int) -> tuple[Path, int]:
    """Make a temporary file beside `path` and lock it; the lock ends with this process."""
    while True:
        temporary = temporary_name(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, mode)
        if lock_shared(descriptor):
            return temporary, descriptor
        os.close(descriptor)


def _remove_unlocked(path: Path) -> bool:
    """Remove a file, or a folder with all in it, unless its writer lives."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    step("leftover removed")
    return True


def _sync(path: Path, flags: int) -> None:
    try:
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise refusal(f"cannot sync {path}", error) from error
