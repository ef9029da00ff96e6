"""A damaged pack is an error that says what is damaged, never a wrong value."""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import (
    ObjectDamagedError,
    ObjectNotFoundError,
    PackDamagedError,
    SlabChecksumError,
    StorageError,
)
from tensorvcs.storage import dataset_writers, hdf5_pack, mapped_pack, pending_values
from tests.damage import MASKS, reopened, sealed, values_of
from tests.tensor_values import (
    IMAGES,
    IMAGES_IN_FRAMES,
    TEXTS,
    digests_of,
    flip_bit,
    open_store,
    put,
    random_images,
    table_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tensorvcs.objects.schema import Schema


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    monkeypatch.setattr(dataset_writers, "SLAB_NBYTES", 64 << 10)


@pytest.mark.parametrize("schema", [IMAGES, MASKS, TEXTS, IMAGES_IN_FRAMES], ids=str)
def test_a_flipped_bit_anywhere_is_found(tmp_path: Path, schema: Schema) -> None:
    pack, digests = sealed(tmp_path, schema)
    values = values_of(schema)
    for offset in np.linspace(0, pack.record.file_nbytes - 1, 60).astype(int).tolist():
        flip_bit(pack.path, offset)
        store = reopened(tmp_path)
        assert len(list(store.verify())) == 1, offset
        for i in range(0, len(values), 23):
            try:
                value = store.read(schema, digests[i : i + 1])[0]
            except (SlabChecksumError, PackDamagedError):
                continue
            assert np.array_equal(value, values[i]), offset
        try:
            table = table_of(store, schema, digests)
            assert all(map(np.array_equal, table.read_list(np.arange(len(values))), values))
        except (SlabChecksumError, PackDamagedError):
            pass
        flip_bit(pack.path, offset)
    assert list(reopened(tmp_path).verify()) == []


def test_a_damaged_directory_is_no_absence(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    for blocks in (pack.record.digests, pack.record.rows):
        flip_bit(pack.path, int(blocks.starts[0]) + 100)
        store = reopened(tmp_path)
        for act in (
            lambda store=store: store.read(IMAGES, digests[:1]),
            lambda store=store: store.read(IMAGES, digests),
            lambda store=store: table_of(store, IMAGES, digests).read(np.arange(5)),
        ):
            with pytest.raises(SlabChecksumError, match="block 0"):
                act()
        flip_bit(pack.path, int(blocks.starts[0]) + 100)


def test_a_cut_or_missing_pack_is_damage(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    content = pack.path.read_bytes()
    for damage in (content[:-1], content[: len(content) // 2], b"", content + b"x", None):
        pack.path.unlink(missing_ok=True)
        if damage is not None:
            pack.path.write_bytes(damage)
        store = reopened(tmp_path)
        with pytest.raises(PackDamagedError, match=pack.path.name):
            store.read(IMAGES, digests[:1])
        table = table_of(store, IMAGES, digests)
        with pytest.raises(PackDamagedError, match=pack.path.name):
            table.read(np.array([0]))
        assert [type(problem) for problem in store.verify()] == [PackDamagedError]
        assert not store.contains(digests).any()
    store = reopened(tmp_path)
    put(store, IMAGES, values_of(IMAGES))
    assert np.array_equal(store.read(IMAGES, digests), values_of(IMAGES))


def test_a_pack_that_is_cut_while_it_is_mapped_is_damage(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    store = reopened(tmp_path)
    table = table_of(store, IMAGES, digests)
    with pack.path.open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(PackDamagedError, match=r"100000 bytes, expected \d+"):
        table.read(np.array([399]))


def test_other_values_are_read_beside_a_damaged_pack(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    other = put(reopened(tmp_path), TEXTS, ["a text"])
    pack.path.unlink()
    store = reopened(tmp_path)
    assert store.read(TEXTS, other) == ["a text"]
    assert store.contains(np.concatenate([other, digests[:1]])).tolist() == [True, False]
    # What is nowhere may be in the pack that is gone.
    with pytest.raises(PackDamagedError):
        store.read(TEXTS, digests_of(TEXTS, ["nowhere"]))


def test_a_damaged_record_is_an_error(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    store = reopened(tmp_path)
    database = store._environment.database("packs")
    with store._environment.write() as txn:
        record = txn.get(pack.record.pack_id, db=database)
        assert record is not None
        for change in (record[:-1], record[:40], b"", record[:50] + b"!" + record[51:]):
            txn.put(pack.record.pack_id, change, db=database)
            assert [type(problem) for problem in store.verify()] == [ObjectDamagedError]
    with pytest.raises(ObjectDamagedError, match=pack.record.pack_id.hex()):
        reopened(tmp_path).read(IMAGES, digests[:1])


def test_digests_that_share_their_first_bytes_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_pack, "DIRECTORY_BLOCK_ROWS", 4)
    monkeypatch.setattr(hdf5_pack, "DIRECTORY_BLOCK_ROWS", 4)
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (61, 32), np.uint8)
    digests[5:40, :8] = digests[5, :8]
    digests[45:50, :31] = digests[45, :31]
    images = random_images(61)
    store = open_store(tmp_path)
    store.write(IMAGES, digests, images)
    store.write(IMAGES, digests, images)
    store.seal()
    assert store.stats().value_count == 61
    for i in range(61):
        assert np.array_equal(store.read(IMAGES, digests[i : i + 1])[0], images[i])
    order = rng.permutation(61)
    assert np.array_equal(store.read(IMAGES, digests[order]), images[order])
    absent = digests[[7, 47]]
    absent[:, 31] ^= 64
    assert not store.contains(absent).any()
    with pytest.raises(ObjectNotFoundError):
        store.read(IMAGES, absent[:1])
    # Few digests in a large directory are searched for in place.
    monkeypatch.setattr(mapped_pack, "_BULK_SHARE", 0)
    assert np.array_equal(store.read(IMAGES, digests[order]), images[order])
    assert not store.contains(absent).any()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_process_without_room_finds_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _, digests = sealed(tmp_path, IMAGES)
    store = reopened(tmp_path)
    mapped = mmap.mmap

    def refuse(*_: object, **__: object) -> mmap.mmap:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tensorvcs.storage.mapped_pack.mmap.mmap", refuse)
    for ask in (lambda: store.read(IMAGES, digests[:1]), lambda: list(store.verify())):
        with pytest.raises(StorageError, match=os.strerror(number)) as caught:
            ask()
        assert "ulimit -n" in str(caught.value.hint)
    monkeypatch.setattr("tensorvcs.storage.mapped_pack.mmap.mmap", mapped)
    assert np.array_equal(store.read(IMAGES, digests[:1]), values_of(IMAGES)[:1])
