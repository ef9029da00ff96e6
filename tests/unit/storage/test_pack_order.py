"""Packs are written anew in reading order, each value once, and only where that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import StorageError
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import hdf5_pack, pack_order
from tensorvcs.storage.locations import PackTable
from tests.tensor_values import (
    IMAGES,
    TEXTS,
    digests_of,
    open_store,
    pack_files,
    put,
    random_images,
    same,
    table_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.hdf5_tensors import Hdf5Tensors

MASKS = Schema("ndarray", "uint8", (64, 64))


def blocks(*orders: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [order[low : low + 100] for order in orders for low in range(0, len(order), 100)]


def shuffled(store: Hdf5Tensors) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Put images in another order than theirs, in three packs; return them and their digests."""
    images = random_images(9000)
    digests = digests_of(IMAGES, images)
    for part in np.array_split(np.random.default_rng(1).permutation(9000), 3):
        store.write(IMAGES, digests[part], images[part])
        store.seal()
    return images, digests


def test_a_scan_reads_one_pack_from_its_start_to_its_end(tmp_path: Path) -> None:
    store, reader = open_store(tmp_path), open_store(tmp_path)
    images, digests = shuffled(store)
    before = table_of(reader, IMAGES, digests)
    order = blocks(digests, digests[::-1])
    assert store.repack_in_order(lambda: order) == (9000, images.nbytes)
    assert store.stats().pack_count == len(pack_files(tmp_path)) == 1
    table = table_of(store, IMAGES, digests)
    assert isinstance(table, PackTable)
    rows = table._at.rows
    assert np.array_equal(rows, np.arange(9000))
    for one in (before, table, table_of(reader, IMAGES, digests)):
        assert same(one.read(np.arange(9000)), images)
    assert store.stats().file_nbytes < 1.02 * images.nbytes + 40 * 9000 + (32 << 10)
    assert store.repack_in_order(lambda: order) == (0, 0)
    assert list(store.verify()) == []


def test_what_is_in_no_order_comes_last_and_other_layouts_stay(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    images, digests = shuffled(store)
    texts = [f"text {i} " * 50 for i in range(3000)]
    masks = (np.arange(600 * 4096) // 41 % 251).astype(np.uint8).reshape(600, 64, 64)
    names, of_masks = put(store, TEXTS, texts), digests_of(MASKS, masks)
    put(store, MASKS, masks[::-1])
    held = pack_files(tmp_path)
    moved, _ = store.repack_in_order(lambda: blocks(digests[1500:], names))
    assert moved == 9000
    # The pack of texts was in order, and that of masks is in no order at all.
    assert len(set(held) & set(pack_files(tmp_path))) == 2
    assert store.stats().value_count == 12600
    assert same(np.array(store.read(IMAGES, digests)), images)
    assert store.read(TEXTS, names) == texts
    assert same(np.array(store.read(MASKS, of_masks)), masks)
    found = table_of(store, IMAGES, digests[1500:])
    assert isinstance(found, PackTable)
    assert np.array_equal(found._at.rows, np.arange(7500))
    assert list(store.verify()) == []


def test_packs_of_several_layouts_are_taken_apart(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    images, texts = random_images(2400), [f"text {i}" * 30 for i in range(2400)]
    digests, names = digests_of(IMAGES, images), digests_of(TEXTS, texts)
    order = np.random.default_rng(1).permutation(2400)
    store.write(IMAGES, digests[order], images[order])
    store.write(TEXTS, names, texts)
    store.seal()
    assert store.stats().pack_count == 1
    assert store.repack_in_order(lambda: blocks(digests, names))[0] == 4800
    assert same(np.array(store.read(IMAGES, digests)), images)
    assert store.read(TEXTS, names) == texts
    assert list(store.verify()) == []


def test_packs_stay_below_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_order, "MAX_PACK_ROWS", 3000)
    store = open_store(tmp_path)
    images, digests = shuffled(store)
    assert store.repack_in_order(lambda: blocks(digests))[0] == 9000
    assert store.stats().pack_count >= 3
    assert same(np.array(store.read(IMAGES, digests)), images)
    assert list(store.verify()) == []


def test_a_full_disk_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    images, digests = shuffled(store)
    held = pack_files(tmp_path)

    def refuse(*_: object) -> None:
        raise StorageError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(hdf5_pack, "publish", refuse)
        with pytest.raises(StorageError):
            store.repack_in_order(lambda: blocks(digests))
    assert pack_files(tmp_path) == held
    assert same(np.array(store.read(IMAGES, digests)), images)
    store.repack_in_order(lambda: blocks(digests))
    assert same(np.array(store.read(IMAGES, digests)), images)


def test_a_pack_that_is_merged_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_store(tmp_path), open_store(tmp_path)
    images, digests = shuffled(store)
    whole = pack_order.PackOrder.write

    def write_and_wait(*args: object, **kwargs: object) -> object:
        done = whole(*args, **kwargs)  # type: ignore[arg-type]
        monkeypatch.undo()
        other.repack_in_order(lambda: blocks(digests[::-1]))
        return done

    monkeypatch.setattr(pack_order.PackOrder, "write", write_and_wait)
    assert store.repack_in_order(lambda: blocks(digests)) == (0, 0)
    assert len(pack_files(tmp_path)) == store.stats().pack_count == 1
    assert same(np.array(store.read(IMAGES, digests)), images)
