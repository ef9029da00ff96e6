"""A pack is written whole or not at all, and is little larger than its values."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import StorageError
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import durable, hdf5_pack, pending_values
from tensorvcs.storage.pack_index import Layout
from tests.tensor_values import (
    IMAGES,
    digests_of,
    open_store,
    pack_files,
    put,
    random_images,
    random_rows,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)


@pytest.mark.parametrize(
    ("shape", "count"), [((16, 16, 3), 150), ((16, 16, 3), 5000), ((299_593,), 25)]
)
def test_a_pack_is_little_larger_than_its_values(
    tmp_path: Path, shape: tuple[int, ...], count: int
) -> None:
    schema = Schema("ndarray", "uint8", shape)
    values = random_rows(schema, count)
    store = open_store(tmp_path)
    put(store, schema, values)
    spent = store.stats().file_nbytes - values.nbytes - 40 * count
    assert spent <= 0.02 * values.nbytes + 12_000


def test_a_full_disk_is_a_storage_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    store = open_store(tmp_path)
    before = put(store, IMAGES, random_images(5, seed=5))
    monkeypatch.setattr("os.pwrite", refuse)
    values = random_images(2000)
    with pytest.raises(StorageError, match="No space left") as caught:
        put(store, IMAGES, values)
    assert caught.value.hint
    monkeypatch.undo()
    assert len(pack_files(tmp_path)) == store.stats().pack_count
    assert store.unsealed_nbytes == 0
    assert store.contains(before).all()
    put(store, IMAGES, values)
    assert np.array_equal(store.read(IMAGES, digests_of(IMAGES, values)), values)


def test_a_pack_that_was_released_is_not_removed(tmp_path: Path) -> None:
    writer = hdf5_pack.PackWriter(tmp_path)
    rows = writer.rows(Layout("ndarray", "uint8", (4,), 1, None), None)
    rows.append(np.zeros((1, 32), np.uint8), np.zeros((1, 4), np.uint8))
    sealed = writer.finish()
    sealed.release()
    sealed.remove()
    assert sealed.path.exists()


def test_a_pack_whose_folder_cannot_be_synced_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        assert len(pack_files(tmp_path)) == 1
        raise StorageError(f"cannot sync {folder}")

    store = open_store(tmp_path)
    images = random_images(5)
    monkeypatch.setattr(durable, "sync_folder", refuse)
    with pytest.raises(StorageError, match="cannot sync"):
        put(store, IMAGES, images)
    assert pack_files(tmp_path) == []
    monkeypatch.undo()
    assert np.array_equal(store.read(IMAGES, put(store, IMAGES, images)), images)


def test_a_pack_that_was_given_up_touches_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise StorageError(f"cannot sync {folder}")

    monkeypatch.setattr(durable, "sync_folder", refuse)
    writer = hdf5_pack.PackWriter(tmp_path / "packs")
    rows = writer.rows(Layout("ndarray", "uint8", (4,), 1, None), None)
    rows.append(np.zeros((1, 32), np.uint8), np.zeros((1, 4), np.uint8))
    with pytest.raises(StorageError, match="cannot sync"):
        writer.finish()
    # Files that take the numbers of the descriptors which are free now.
    others = [tmp_path / f"{number}" for number in range(8)]
    with ExitStack() as stack:
        for path in others:
            path.write_bytes(b"precious")
            stack.enter_context(path.open("r+b"))
        writer.abort()
    assert [path.read_bytes() for path in others] == [b"precious"] * 8
