"""Sync, rename, and the named steps between which a crash may fall."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tensorvcs.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = (
    "file written",
    "file synced",
    "file renamed",
    "folder synced",
    "transaction complete",
    "transaction durable",
    "pack sealed",
    "pack replaced",
    "pack removed",
    "orphan removed",
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


def _sync(path: Path, flags: int) -> None:
    try:
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"cannot sync {path}: {error}") from error
