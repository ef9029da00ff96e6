"""The store on disk: loose values, repacking, processes and threads, counts."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import ObjectNotFoundError, SchemaMismatchError
from tensorvcs.objects.digest import digests_to_array
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import hdf5_pack, hdf5_tensors, unsealed
from tensorvcs.storage.pack_index import PackIndex
from tests.tensor_values import (
    BLOBS,
    IMAGES,
    IMAGES_IN_FRAMES,
    TEXTS,
    digests_of,
    every_schema,
    open_store,
    pack_files,
    put,
    random_images,
    random_rows,
    same,
    table_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.storage.hdf5_tensors import Hdf5Tensors
    from tensorvcs.storage.interfaces import TensorStore


def is_whole(store: Hdf5Tensors) -> bool:
    """Tell whether nothing is damaged and no file is there that the index does not know."""
    return not list(store.verify()) and len(pack_files(store.folder)) == store.stats().pack_count


def test_little_is_kept_loose_and_much_in_a_pack(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, IMAGES, random_images(10))
    assert (store.stats().loose_count, store.stats().pack_count) == (10, 0)
    put(store, IMAGES, random_images(2000, seed=1))
    assert (store.stats().loose_count, store.stats().pack_count) == (10, 1)
    texts = [f"{i}" for i in range(hdf5_tensors.LOOSE_SEAL_ROWS + 1)]
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
    monkeypatch.setattr(hdf5_tensors, "REPACK_LOOSE_COUNT", 10)
    store = open_store(tmp_path)
    for i in range(9):
        put(store, IMAGES, random_images(1, seed=i))
        assert not store.repack_loose()
    put(store, IMAGES, random_images(1, seed=9))
    assert store.repack_loose()
    assert (store.stats().loose_count, store.stats().pack_count) == (0, 1)
    monkeypatch.setattr(hdf5_tensors, "REPACK_LOOSE_NBYTES", 100)
    put(store, IMAGES, random_images(1, seed=10))
    assert store.repack_loose()


def test_the_number_of_packs_grows_with_the_logarithm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_tensors, "LOOSE_SEAL_NBYTES", 0)
    store = open_store(tmp_path)
    written = 0
    append, nbytes = hdf5_pack.RowsWriter.append, []

    def count(
        self: hdf5_pack.RowsWriter, digests: NDArray[np.uint8], rows: NDArray[np.uint8]
    ) -> None:
        nbytes.append(rows.nbytes)
        append(self, digests, rows)

    monkeypatch.setattr(hdf5_pack.RowsWriter, "append", count)
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
    monkeypatch.setattr(hdf5_tensors, "LOOSE_SEAL_NBYTES", 0)
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


def test_a_large_write_is_streamed_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_tensors, "BUFFER_NBYTES", 1 << 20)
    monkeypatch.setattr(unsealed, "MAX_PACK_ROWS", 1500)
    monkeypatch.setattr(unsealed, "MAX_PACK_PAYLOAD_NBYTES", 1 << 20)
    store = open_store(tmp_path)
    images = random_images(5000)
    digests = digests_of(IMAGES, images)
    for low in range(0, 5000, 500):
        again = np.r_[low : low + 500, max(0, low - 700) : low, low : low + 3]
        store.write(IMAGES, digests[again], images[again])
        buffered = sum(pending.buffered_nbytes for pending in store._pending.values())
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
    monkeypatch.setattr(hdf5_tensors, "BUFFER_NBYTES", 0)
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


def test_another_store_sees_what_was_sealed(tmp_path: Path) -> None:
    writer, reader = open_store(tmp_path), open_store(tmp_path)
    for i in range(3):
        images = random_images(1 if i % 2 else 2000, seed=i)
        digests = put(writer, IMAGES, images)
        assert same(np.array(reader.read(IMAGES, digests)), images)
    writer.repack_loose(force=True)
    assert same(np.array(reader.read(IMAGES, digests)), images)


def test_readers_never_miss_a_value_while_packs_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_tensors, "REPACK_LOOSE_COUNT", 5)
    writer = open_store(tmp_path)
    images = random_images(400)
    digests = digests_of(IMAGES, images)
    put(writer, IMAGES, images[:100])
    done = threading.Event()
    order = np.random.default_rng(0).permutation(100)

    def read() -> int:
        store, rounds = open_store(tmp_path), 0
        table = table_of(store, IMAGES, digests[:100])
        while not done.is_set() or rounds < 3:
            assert same(table.read(order), images[order])
            assert same(np.array(store.read(IMAGES, digests[order[:5]])), images[order[:5]])
            assert same(table_of(store, IMAGES, digests[order]).read(np.arange(100)), images[order])
            assert store.contains(digests[:100]).all()
            rounds += 1
        return rounds

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for i in range(100, 400, 5):
            put(writer, IMAGES, images[i : i + 5])
            writer.repack_loose()
        done.set()
        assert all(reader.result() >= 3 for reader in readers)
    assert is_whole(writer)


def test_a_process_whose_packs_were_merged_away_finds_the_values(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from tests.tensor_values import IMAGES, digests_of, open_store, random_images\n"
        "from tensorvcs.storage import mapped_pack\n"
        "store = open_store(Path(sys.argv[1]))\n"
        "digests = digests_of(IMAGES, random_images(16))\n"
        "assert len(store.read(IMAGES, digests)) == 16\n"
        "print('ready', flush=True); input()\n"
        "assert np.array_equal(store.read(IMAGES, digests), random_images(16))\n"
        "assert store.stats().pack_count == 1\n"
    )
    store = open_store(tmp_path)
    for part in np.split(random_images(16), 8):
        store.write(IMAGES, digests_of(IMAGES, part), part)
        hdf5_tensors_limit, hdf5_tensors.LOOSE_SEAL_NBYTES = hdf5_tensors.LOOSE_SEAL_NBYTES, 0
        try:
            store.seal()
        finally:
            hdf5_tensors.LOOSE_SEAL_NBYTES = hdf5_tensors_limit
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path.cwd(),
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        assert store.repack_loose()
        other.communicate("\n")
    assert other.returncode == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("has_table", [False, True])
def test_a_forked_child_goes_on_reading(tmp_path: Path, has_table: bool) -> None:
    store = open_store(tmp_path)
    images = random_images(6000)
    digests = put(store, IMAGES, images)
    little = put(store, IMAGES, random_images(3, seed=3))
    table = table_of(store, IMAGES, digests) if has_table else None
    if table is not None:
        table.read(np.arange(6000))  # starts the threads of the parent
    store.write(TEXTS, digests_of(TEXTS, ["unsealed"]), ["unsealed"])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            mine = table or table_of(store, IMAGES, digests)
            assert same(mine.read(np.arange(6000)), images)
            assert same(np.array(store.read(IMAGES, little)), random_images(3, seed=3))
            assert store.unsealed_nbytes == 0
            put(store, IMAGES, random_images(2, seed=4))
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    store.seal()
    assert store.read(TEXTS, digests_of(TEXTS, ["unsealed"])) == ["unsealed"]
    assert store.contains(digests_of(IMAGES, random_images(2, seed=4))).all()
    assert is_whole(store)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_pack_leaves_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_tensors, "BUFFER_NBYTES", 0)
    store = open_store(tmp_path)
    images = random_images(3000)
    digests = digests_of(IMAGES, images)
    store.write(IMAGES, digests[:1000], images[:1000])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.discard()
            put(store, IMAGES, images[:5])
            hdf5_pack._ABANDONED.clear()
            gc.collect()  # HDF5 closes the file of the parent here, on nothing
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    store.write(IMAGES, digests[1000:], images[1000:])
    store.seal()
    assert same(np.array(store.read(IMAGES, digests)), images)
    assert is_whole(store)


def test_a_pickled_store_reads_in_another_process(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    digests = put(store, IMAGES, random_images(2000))
    again = pickle.loads(pickle.dumps(store))
    assert same(np.array(again.read(IMAGES, digests)), random_images(2000))
    script = (
        "import pickle, sys; import numpy as np\n"
        "from tests.tensor_values import IMAGES, digests_of, random_images\n"
        "store = pickle.loads(sys.stdin.buffer.read())\n"
        "images = random_images(2000)\n"
        "assert np.array_equal(store.read(IMAGES, digests_of(IMAGES, images)), images)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(store), check=True, cwd=Path.cwd()
    )


def test_opening_reads_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = put(open_store(tmp_path), IMAGES, random_images(2000))
    hdf5_tensors._MAPPED.clear()
    read: list[bytes] = []
    found = PackIndex.pack_record

    def record(self: PackIndex, pack_id: bytes) -> object:
        read.append(pack_id)
        return found(self, pack_id)

    monkeypatch.setattr(PackIndex, "pack_record", record)
    store = open_store(tmp_path)
    assert read == []
    for _ in range(3):
        store.read(IMAGES, digests[:1])
    assert len(read) == 1


def test_one_sample_touches_one_slab_and_one_directory_block(tmp_path: Path) -> None:
    put(open_store(tmp_path), IMAGES, random_images(6000))
    hdf5_tensors._MAPPED.clear()
    store = open_store(tmp_path)
    digests = digests_of(IMAGES, random_images(6000))
    store.read(IMAGES, digests[4000:4001])
    (pack,) = store._refresh().packs
    assert pack._digest_blocks.is_verified.sum() == 1
    assert pack._row_blocks.is_verified.sum() == 1
    (slabs,) = pack.datasets[0].checked
    assert len(slabs) > 3
    assert slabs.is_verified.sum() == 1


def test_a_closed_store_can_be_opened_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    digests = put(store, BLOBS, [b"a" * 2_000_000])
    store.close()
    store._environment.close()
    assert open_store(tmp_path).read(BLOBS, digests) == [b"a" * 2_000_000]


def test_many_values_are_looked_up_among_many_loose_ones(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    blobs = [bytes([i % 256, i // 256]) for i in range(1000)]
    digests = put(store, BLOBS, blobs)
    absent = digests_to_array([bytes(32)] * 3)
    assert store.contains(np.concatenate([digests, absent])).tolist() == [True] * 1000 + [False] * 3
    assert store.read(BLOBS, digests) == blobs
    with pytest.raises(ObjectNotFoundError, match="and 2 others are"):
        store.sizes(np.concatenate([digests, absent]))
    table = table_of(store, BLOBS, np.concatenate([digests, absent]))
    assert table.read_list(np.arange(1000)) == blobs
    with pytest.raises(ObjectNotFoundError):
        table.read_list(np.array([3, 1000]))


@pytest.mark.parametrize("codec", ["raw", "blosc", "auto"])
def test_a_large_batch_is_gathered_in_parts(tmp_path: Path, codec: str) -> None:
    schema = Schema("ndarray", "float32", (40, 50), codec=codec)  # type: ignore[arg-type]
    store = open_store(tmp_path)
    values = random_rows(schema, 1200)
    digests = put(store, schema, values)
    order = np.random.default_rng(0).integers(0, 1200, 1500)
    assert same(table_of(store, schema, digests).read(order), values[order])


class Promisor:
    """Supplies values from another store, and counts what it is asked for."""

    def __init__(self, source: Hdf5Tensors) -> None:
        self.asked: list[int] = []
        self._source = source

    def __call__(self, store: TensorStore, digests: NDArray[np.uint8]) -> None:
        self.asked.append(len(digests))
        for part in self._source.stored(digests):
            store.take(part)


@pytest.mark.parametrize("is_packed", [False, True], ids=["loose", "packed"])
def test_what_is_absent_is_supplied_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_packed: bool
) -> None:
    source, store = open_store(tmp_path / "source"), open_store(tmp_path / "here")
    images = random_images(300)
    digests = put(source, IMAGES, images)
    if is_packed:
        monkeypatch.setattr(hdf5_tensors, "LOOSE_SEAL_NBYTES", 0)
    put(store, IMAGES, images[:100])
    with pytest.raises(ObjectNotFoundError):
        table_of(store, IMAGES, digests).read(np.arange(300))
    promisor = store.supply = Promisor(source)
    table = table_of(store, IMAGES, digests)
    assert promisor.asked == []
    assert same(table.read(np.array([3, 99])), images[[3, 99]])
    assert promisor.asked == []
    # The absent ones of a batch come in one call, each once, whichever way they are counted.
    batch = np.array([5, 250, -1, 101, 250, 299])
    assert same(table.read(batch), images[batch])
    assert promisor.asked == [3]
    assert same(table.read(batch), images[batch])
    assert all(map(same, table.read_list(batch), images[batch]))
    assert promisor.asked == [3]
    # A table made meanwhile, or later, asks for nothing that came since.
    assert same(table_of(store, IMAGES, digests).read(batch), images[batch])
    assert promisor.asked == [3]
    assert same(np.array(store.read(IMAGES, digests[[110, 250]])), images[[110, 250]])
    assert promisor.asked == [3, 1]
    with pytest.raises(IndexError):
        table.read(np.array([300]))
    store.repack_loose(force=True)
    assert same(table.read(np.arange(300)), images)
    assert promisor.asked == [3, 1, 196]
    assert same(table.read(np.arange(300)), images)
    assert store.contains(digests).all()
    assert sum(promisor.asked) == 200


def test_a_promisor_that_has_nothing_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    source, store = open_store(tmp_path / "source"), open_store(tmp_path / "here")
    images = random_images(20)
    digests = put(source, IMAGES, images)
    put(store, IMAGES, images[:10])
    store.supply = Promisor(store)
    table = table_of(store, IMAGES, digests)
    with pytest.raises(ObjectNotFoundError):
        table.read(np.arange(20))
    assert same(table.read(np.arange(10)), images[:10])
    store.supply = Promisor(source)
    assert same(table_of(store, IMAGES, digests).read(np.arange(20)), images)
