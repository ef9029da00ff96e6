"""Repacking and dropping keep every value that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.objects.schema import Schema
from tensorvcs.storage import dataset_writers, pack_folder, pending_values, upkeep
from tensorvcs.storage.durable import set_step_hook
from tests.tensor_values import (
    IMAGES,
    TEXTS,
    digests_of,
    every_schema,
    flip_bit,
    is_whole,
    open_store,
    pack_files,
    put,
    random_images,
    same,
    table_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from numpy.typing import NDArray


def test_repacking_keeps_every_value(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    cases = [(schema, values_of(7)) for _, schema, values_of in every_schema()]
    sealed = [put(store, schema, values[:40]) for schema, values in cases]
    tables = [table_of(store, c[0], d) for c, d in zip(cases, sealed, strict=True)]
    assert store.stats().loose_count > 0
    assert store.repack_loose(force=True)
    stats = store.stats()
    assert (stats.loose_count, stats.pack_count, stats.loose_nbytes) == (0, 1, 0)
    for (schema, values), digests, before in zip(cases, sealed, tables, strict=True):
        positions = np.arange(len(digests))
        assert all(map(same, store.read(schema, digests), values))
        # A table from before the repack finds its values where they went.
        for table in (before, table_of(store, schema, digests)):
            assert all(map(same, table.read_list(positions), values))
            if schema.is_fixed_shape:
                assert same(table.read(positions), np.asarray(values[:40]))
    assert is_whole(store)
    assert not store.repack_loose(force=True)


def test_loose_values_are_gathered_past_a_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "REPACK_LOOSE_COUNT", 10)
    store = open_store(tmp_path)
    for i in range(9):
        put(store, IMAGES, random_images(1, seed=i))
        assert not store.repack_loose()
    put(store, IMAGES, random_images(1, seed=9))
    assert store.repack_loose()
    assert (store.stats().loose_count, store.stats().pack_count) == (0, 1)
    monkeypatch.setattr(upkeep, "REPACK_LOOSE_NBYTES", 100)
    put(store, IMAGES, random_images(1, seed=10))
    assert store.repack_loose()


def test_the_number_of_packs_grows_with_the_logarithm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    store = open_store(tmp_path)
    written = 0
    append, nbytes = dataset_writers.RowsWriter.append, []

    def count(
        self: dataset_writers.RowsWriter, digests: NDArray[np.uint8], rows: NDArray[np.uint8]
    ) -> None:
        nbytes.append(rows.nbytes)
        append(self, digests, rows)

    monkeypatch.setattr(dataset_writers.RowsWriter, "append", count)
    images = random_images(300)
    for i in range(300):
        put(store, IMAGES, images[i : i + 1])
        written += 768
        store.repack_loose()
        assert store.stats().pack_count <= 7 * 4
    assert sum(nbytes) <= 4 * written, "a value is rewritten once for each factor of 8"
    assert same(np.array(store.read(IMAGES, digests_of(IMAGES, images))), images)
    assert is_whole(store)


def test_a_merge_keeps_compressed_values_and_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    store = open_store(tmp_path)
    masks_schema = Schema("ndarray", "uint8", (64, 64))
    texts_schema = Schema("str", codec="blosc")
    masks = (np.arange(80 * 4096) // 50 % 7).astype(np.uint8).reshape(80, 64, 64)
    texts = [f"text number {i} " * 200 for i in range(80)]
    for part in np.array_split(np.arange(80), 8):
        store.write(masks_schema, digests_of(masks_schema, masks[part]), masks[part])
        some = [texts[i] for i in part]
        store.write(texts_schema, digests_of(texts_schema, some), some)
        store.seal()
    assert store.stats().pack_count == 8
    before = store.stats()
    assert store.repack_loose()
    stats = store.stats()
    assert stats.pack_count == 1
    assert (stats.payload_nbytes, stats.value_count) == (before.payload_nbytes, 160)
    assert stats.file_nbytes < before.payload_nbytes // 4
    assert same(np.array(store.read(masks_schema, digests_of(masks_schema, masks))), masks)
    assert store.read(texts_schema, digests_of(texts_schema, texts)) == texts
    assert is_whole(store)


def test_values_are_listed_and_dropped(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    images, few = random_images(3000), random_images(4, seed=8)
    texts = [f"text {i}" for i in range(20)]
    digests, loose = put(store, IMAGES, images), put(store, IMAGES, few)
    of_texts = put(store, TEXTS, texts)
    packed, unpacked = store.value_blocks()
    assert same(np.sort(packed.digests, axis=0), np.sort(digests, axis=0))
    assert packed.sizes.tolist() == [768] * 3000
    assert packed.file_nbytes == store.stats().file_nbytes
    assert (unpacked.pack_id, len(unpacked.digests), unpacked.file_nbytes) == (None, 24, 0)
    assert unpacked.sizes.min() > 10
    wanted = {d.tobytes() for d in digests[::3]}

    def is_dropped(names: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.array([name.tobytes() not in wanted for name in names])

    assert packed.pack_id is not None
    rewriting = store.rewrite(packed.pack_id, is_dropped)
    assert rewriting is not None
    # Nothing has changed yet, but for a file that is not in the index.
    assert store.contains(digests).all()
    rewriting.abandon()
    assert len(pack_files(tmp_path)) == 1
    rewriting = store.rewrite(packed.pack_id, is_dropped)
    assert rewriting is not None
    assert rewriting.commit()
    assert store.contains(digests).tolist() == [i % 3 == 0 for i in range(3000)]
    assert store.stats().file_nbytes == rewriting.file_nbytes
    assert same(np.array(store.read(IMAGES, digests[::3])), images[::3])
    assert store.rewrite(packed.pack_id, is_dropped) is None
    store.delete_loose([digest.tobytes() for digest in (*loose[:2], *of_texts[5:])])
    assert store.contains(loose).tolist() == [False, False, True, True]
    assert store.stats().value_count == 1000 + 2 + 5
    assert is_whole(store)


def test_of_a_pack_nothing_may_be_left(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, IMAGES, random_images(3000))
    (block, _) = store.value_blocks()
    assert block.pack_id is not None
    rewriting = store.rewrite(block.pack_id, lambda names: np.ones(len(names), np.bool_))
    assert rewriting is not None
    assert rewriting.file_nbytes == 0
    with store._environment.write():
        assert rewriting.commit()
    assert pack_files(tmp_path) == []
    assert store.stats().value_count == 0


def written_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """Write images by two at once, so that they are loose and in a pack; return their digests."""
    images = random_images(3)
    digests = digests_of(IMAGES, images)
    one, other = open_store(folder), open_store(folder)
    for store in (one, other):
        store.write(IMAGES, digests, images)
    one.seal()
    with monkeypatch.context() as patch:
        patch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
        other.seal()
    stats = other.stats()
    assert (stats.loose_count, stats.pack_count) == (3, 1)
    return digests


def test_a_loose_value_stays_when_the_one_in_a_pack_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = written_twice(tmp_path, monkeypatch)
    (path,) = pack_files(tmp_path)
    pack_folder._MAPPED.clear()
    store = open_store(tmp_path)
    (pack,) = store._packs.refresh().packs
    flip_bit(path, int(pack.record.datasets[0].slabs.starts[0]) + 5)
    assert store.repack_loose(force=True)
    assert store.stats().loose_count == 0
    # Once without the pack that is damaged:
    store.forget_packs([pack.record.pack_id])
    assert same(np.array(store.read(IMAGES, digests)), random_images(3))
    assert list(store.verify()) == []


def test_a_loose_value_stays_when_the_pack_that_has_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = written_twice(tmp_path, monkeypatch)
    store, other = open_store(tmp_path), open_store(tmp_path)

    def drop(name: str) -> None:
        if name == "pack replaced":
            set_step_hook(None)
            block = next(other.value_blocks())
            assert block.pack_id is not None
            dropping = other.rewrite(block.pack_id, lambda names: np.ones(len(names), np.bool_))
            assert dropping is not None
            assert dropping.commit()

    set_step_hook(drop)
    try:
        assert not store.repack_loose(force=True)
    finally:
        set_step_hook(None)
    assert same(np.array(store.read(IMAGES, digests)), random_images(3))
    assert store.repack_loose(force=True)
    assert same(np.array(store.read(IMAGES, digests)), random_images(3))
