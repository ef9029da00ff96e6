"""What waits to be sealed: in memory or in packs, few values loose and many together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import SchemaMismatchError, StorageError
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import hdf5_pack, pending_values, unsealed
from tensorvcs.storage.durable import publish
from tests.tensor_values import (
    IMAGES,
    IMAGES_IN_FRAMES,
    TEXTS,
    digests_of,
    is_whole,
    open_store,
    pack_files,
    put,
    random_images,
    same,
    table_of,
)

if TYPE_CHECKING:
    from tensorvcs.storage.mapped_pack import MappedPack
    from tensorvcs.storage.pack_index import PackRecord


def test_little_is_kept_loose_and_much_in_a_pack(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, IMAGES, random_images(10))
    assert (store.stats().loose_count, store.stats().pack_count) == (10, 0)
    put(store, IMAGES, random_images(2000, seed=1))
    assert (store.stats().loose_count, store.stats().pack_count) == (10, 1)
    texts = [f"{i}" for i in range(pending_values.LOOSE_SEAL_ROWS + 1)]
    put(store, TEXTS, texts)
    stats = store.stats()
    assert (stats.loose_count, stats.pack_count) == (10, 2)
    assert stats.value_count == 10 + 2000 + len(texts)
    assert stats.payload_nbytes == 2000 * 768 + sum(map(len, texts))
    assert stats.file_nbytes == sum(path.stat().st_size for path in pack_files(tmp_path))
    assert is_whole(store)


def test_values_of_several_columns_share_a_small_pack(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    images, texts = random_images(1300), [f"text {i}" * 10 for i in range(900)]
    raw, blosc = (Schema("ndarray", "uint8", (16, 16, 3), codec=c) for c in ("raw", "blosc"))
    for schema, values in ((IMAGES, images), (TEXTS, texts), (raw, images[:5] ^ 1)):
        store.write(schema, digests_of(schema, values), values)
    masks = images[:50] & 1
    store.write(blosc, digests_of(blosc, masks), masks)
    store.seal()
    assert store.stats().pack_count == 1
    assert same(np.array(store.read(IMAGES, digests_of(IMAGES, images))), images)
    assert same(np.array(store.read(IMAGES, digests_of(IMAGES, masks))), masks)
    assert store.read(TEXTS, digests_of(TEXTS, texts)) == texts
    assert is_whole(store)


def test_a_large_write_is_streamed_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_values, "BUFFER_NBYTES", 1 << 20)
    monkeypatch.setattr(unsealed, "MAX_PACK_ROWS", 1500)
    monkeypatch.setattr(unsealed, "MAX_PACK_PAYLOAD_NBYTES", 1 << 20)
    store = open_store(tmp_path)
    images = random_images(5000)
    digests = digests_of(IMAGES, images)
    for low in range(0, 5000, 500):
        again = np.r_[low : low + 500, max(0, low - 700) : low, low : low + 3]
        store.write(IMAGES, digests[again], images[again])
        buffered = store._pending.buffered_nbytes
        assert buffered <= 1 << 20
    assert store.unsealed_nbytes == images.nbytes
    assert not store.contains(digests).any()
    store.seal()
    stats = store.stats()
    assert (stats.value_count, stats.payload_nbytes) == (5000, images.nbytes)
    assert stats.pack_count >= 4
    order = np.random.default_rng(0).permutation(5000)
    assert same(table_of(store, IMAGES, digests).read(order), images[order])
    texts = [f"text {i} " * 50 for i in range(9000)]
    names = put(store, TEXTS, texts)
    assert store.read(TEXTS, names) == texts
    assert is_whole(store)


def test_discard_removes_packs_that_were_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_values, "BUFFER_NBYTES", 0)
    monkeypatch.setattr(unsealed, "MAX_PACK_ROWS", 40)
    store = open_store(tmp_path)
    images = random_images(100)
    store.write(IMAGES, digests_of(IMAGES, images), images)
    assert len(pack_files(tmp_path)) == 3
    store.discard()
    assert pack_files(tmp_path) == []
    put(store, IMAGES, images)
    assert same(np.array(store.read(IMAGES, digests_of(IMAGES, images))), images)


def test_a_wrong_shape_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(SchemaMismatchError):
        store.write(IMAGES, digests_of(IMAGES, random_images(3)), random_images(3)[:, :8])
    assert store.unsealed_nbytes == 0


def test_a_value_written_in_two_layouts_is_stored_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    images = random_images(3)
    store.write(IMAGES, digests_of(IMAGES, images), images)
    listed = list(images)
    store.write(IMAGES_IN_FRAMES, digests_of(IMAGES_IN_FRAMES, listed), listed)
    store.seal()
    assert store.stats().value_count == 3
    # A column of one shape may find its values among frames.
    frames = [image[:4] for image in images]
    narrow = Schema("ndarray", "uint8", (4, 16, 3))
    digests = put(store, IMAGES_IN_FRAMES, frames)
    for force in (False, True):
        store.repack_loose(force=force)
        assert same(table_of(store, narrow, digests).read(np.arange(3)), np.array(frames))


def open_packs(folder: Path) -> list[str]:
    """Return the files of packs that this process has open, removed ones included."""
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link for link in links if link.startswith(str(folder / "packs"))]


def test_a_seal_that_fails_removes_the_packs_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_values, "BUFFER_NBYTES", 0)
    store = open_store(tmp_path)
    images, texts = random_images(20), [f"text {i}" for i in range(20)]
    store.write(IMAGES, digests_of(IMAGES, images), images)
    store.write(TEXTS, digests_of(TEXTS, texts), texts)
    published: list[Path] = []

    def refuse_the_second(temporary: Path, final: Path) -> None:
        if published:
            raise StorageError("the disk is gone")
        published.append(final)
        publish(temporary, final)

    monkeypatch.setattr(hdf5_pack, "publish", refuse_the_second)
    with pytest.raises(StorageError, match="the disk is gone"):
        store.seal()
    assert published
    assert pack_files(tmp_path) == []
    assert open_packs(tmp_path) == []
    monkeypatch.undo()
    assert same(np.array(store.read(IMAGES, put(store, IMAGES, images))), images)


def test_a_full_pack_that_cannot_be_mapped_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_values, "BUFFER_NBYTES", 0)
    monkeypatch.setattr(unsealed, "MAX_PACK_ROWS", 40)
    store = open_store(tmp_path)
    images = random_images(100)

    def refuse(path: Path, record: PackRecord) -> MappedPack:
        raise StorageError("too many open files")

    monkeypatch.setattr(pending_values, "MappedPack", refuse)
    with pytest.raises(StorageError, match="too many open files"):
        store.write(IMAGES, digests_of(IMAGES, images), images)
    assert pack_files(tmp_path) == []
    assert open_packs(tmp_path) == []
