"""Sync, rename, and the named steps between which a crash may fall."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tensorvcs.errors import StorageError

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
    "transaction complete",
    "transaction durable",
    "pack sealed",
    "pack replaced",
    "pack removed",
    "orphan removed",
    "leftover removed",
)
"""Every point at which `step` is called; the crash tests kill a process at each of them."""


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
        raise StorageError(f"cannot rename {temporary} to {final}: {error}") from error
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
        raise StorageError(f"cannot rename {temporary} to {final}: {error}") from error
    step("folder renamed")
    sync_folder(final.parent)
    step("folder synced")


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
            raise StorageError(f"cannot write {path}: {error}") from error
        raise


def remove_leftovers(path: Path) -> int:
    """Remove what writers of a file or folder left beside it when they died; return the count.

    What a living writer locks is left alone, and so is what cannot be locked.
    """
    pattern = re.compile(re.escape(_leftover_prefix(path)) + r"[0-9a-f]{16}\.new")
    removed = 0
    with suppress(OSError):
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in entries if pattern.fullmatch(entry.name)]
        for name in names:
            removed += _remove_unlocked(path.with_name(name))
    return removed


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
    """Keep others out who call this for the same folder; where there are no locks, nobody."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
        raise StorageError(f"cannot sync {path}: {error}") from error
