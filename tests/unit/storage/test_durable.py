"""Publishing a file: synced before it is named, and its name synced after."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import StorageError
from tensorvcs.storage.durable import STEPS, publish, set_step_hook, step, sync_file, sync_folder

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
