"""A damaged pack is an error that says what is damaged, never a wrong value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import (
    CorruptionError,
    DigestMismatchError,
    ObjectDamagedError,
    ObjectNotFoundError,
    PackDamagedError,
    RemoteError,
    SlabChecksumError,
    StorageError,
)
from tensorvcs.objects.digest import digests_to_array
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import hdf5_pack, hdf5_tensors, mapped_pack
from tensorvcs.storage.mending import Mended
from tests.tensor_values import (
    IMAGES,
    IMAGES_IN_FRAMES,
    TEXTS,
    digests_of,
    flip_bit,
    open_store,
    pack_files,
    put,
    random_images,
    table_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.hdf5_tensors import Hdf5Tensors
    from tensorvcs.storage.mapped_pack import MappedPack

MASKS = Schema("ndarray", "uint8", (64, 64), codec="blosc")


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_tensors, "LOOSE_SEAL_NBYTES", 0)
    monkeypatch.setattr(hdf5_pack, "SLAB_NBYTES", 64 << 10)


def values_of(schema: Schema) -> Any:
    if schema is IMAGES:
        return random_images(400)
    if schema is MASKS:
        return (np.arange(200 * 64 * 64) // 100 % 5).astype(np.uint8).reshape(200, 64, 64)
    if schema is TEXTS:
        return [f"text number {i} " * 40 for i in range(300)]
    return [random_images(1, seed=i)[0, : 1 + i % 16] for i in range(300)]


def sealed(folder: Path, schema: Schema) -> tuple[MappedPack, NDArray[np.uint8]]:
    """Seal values in one pack and close the store; return the pack and the digests."""
    store = open_store(folder)
    digests = put(store, schema, values_of(schema))
    (pack,) = store._refresh().packs
    store.close()
    hdf5_tensors._MAPPED.clear()
    return pack, digests


def reopened(folder: Path) -> Hdf5Tensors:
    hdf5_tensors._MAPPED.clear()
    return open_store(folder)


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


def test_a_flipped_bit_names_pack_slab_and_samples(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    slabs, rows = pack.record.datasets[0].slabs, pack.record.datasets[0].slab_rows
    flip_bit(pack.path, int(slabs.starts[1]) + 5)
    store = reopened(tmp_path)
    table = table_of(store, IMAGES, digests)
    out = np.full((2, 16, 16, 3), 7, np.uint8)
    with pytest.raises(SlabChecksumError) as caught:
        table.read(np.array([0, rows + 1]), out)
    assert (out == 7).all(), "bytes of a damaged slab were handed out"
    text = str(caught.value)
    assert f"pack {pack.path.name}, slab of /uint8/16x16x3 1 " in text
    assert f"{rows} samples" in text
    assert digests[rows].tobytes().hex()[:12] in text
    assert caught.value.digests == tuple(d.tobytes() for d in digests[rows : 2 * rows])
    assert np.array_equal(table.read(np.array([0, 2 * rows])), values_of(IMAGES)[[0, 2 * rows]])


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


def test_a_damaged_loose_value_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    store = open_store(tmp_path)
    digests = put(store, IMAGES, random_images(3))
    database = store._environment.database("loose")
    name = digests[1].tobytes()
    with store._environment.write() as txn:
        record = txn.get(name, db=database)
        assert record is not None
        txn.put(name, record[:100] + bytes([record[100] ^ 1]) + record[101:], db=database)
    with pytest.raises(ObjectDamagedError, match=name.hex()):
        store.read(IMAGES, digests)
    with pytest.raises(ObjectDamagedError, match=name.hex()):
        table_of(store, IMAGES, digests).read(np.array([1]))
    assert [type(problem) for problem in store.verify()] == [ObjectDamagedError]
    store.repack_loose(force=True)
    assert store.stats().loose_count == 1, "the damaged value stays where verify finds it"


def test_verify_hashes_every_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    for schema in (IMAGES, TEXTS):
        digests = digests_of(schema, values_of(schema)).copy()
        digests[[2, 5]] = digests[[5, 2]]
        store.write(schema, digests, values_of(schema))
        store.seal()
    monkeypatch.setattr(hdf5_tensors, "LOOSE_SEAL_NBYTES", 1 << 20)
    digests = digests_of(TEXTS, ["one", "two"])
    store.write(TEXTS, digests, ["two", "one"])
    store.seal()
    problems = list(store.verify())
    assert [type(problem) for problem in problems] == [DigestMismatchError] * 6


def test_a_value_of_another_schema_is_damage(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    digests = put(store, IMAGES, random_images(3))
    texts = put(store, TEXTS, ["a"])
    others = [
        Schema("ndarray", "int8", (16, 16, 3)),
        Schema("ndarray", "uint8", (16, 48)),
        Schema("ndarray", "uint8", (16, 15, None), variable_shape=True),
        TEXTS,
    ]
    for schema in others:
        with pytest.raises(CorruptionError, match="cannot have"):
            store.read(schema, digests[:1])
        with pytest.raises(CorruptionError, match="cannot have"):
            table_of(store, schema, digests)
    with pytest.raises(CorruptionError, match="cannot have"):
        store.read(IMAGES, texts)
    wider = Schema("ndarray", "uint8", (16, 16, None), variable_shape=True)
    assert np.array_equal(store.read(wider, digests), random_images(3))


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


def rescue_of(schema: Schema, digests: NDArray[np.uint8], values: Any) -> Any:
    """Return what supplies values, as a remote that has them does; and what it was asked for."""
    known = {digest.tobytes(): value for digest, value in zip(digests, values, strict=True)}
    asked: list[bytes] = []

    def rescue(store: Any, wanted: NDArray[np.uint8]) -> NDArray[np.bool_]:
        names = [digest.tobytes() for digest in wanted]
        asked.extend(names)
        here = [name for name in names if name in known]
        if here:
            chosen = [known[name] for name in here]
            store.write(
                schema,
                digests_to_array(here),
                np.stack(chosen) if schema.is_fixed_shape else chosen,
            )
        return np.array([name in known for name in names], np.bool_)

    return rescue, asked


def nothing(store: Any, wanted: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Supply no value, as a remote that has none."""
    return np.zeros(len(wanted), np.bool_)


@pytest.mark.parametrize("schema", [IMAGES, MASKS, IMAGES_IN_FRAMES], ids=str)
def test_a_damaged_pack_is_written_anew(tmp_path: Path, schema: Schema) -> None:
    pack, digests = sealed(tmp_path, schema)
    values = values_of(schema)
    slabs = pack.record.datasets[0].slabs
    flip_bit(pack.path, int(slabs.starts[1]) + 40)
    flip_bit(pack.path, 0)
    store = reopened(tmp_path)
    problems = list(store.verify())
    lost = set(problems[0].digests)
    assert 0 < len(lost) < len(values)
    assert not store.mend(nothing).packs, "nothing is gained, and the pack says what is damaged"
    assert len(list(store.verify())) == len(problems)
    rescue, asked = rescue_of(schema, digests, values)
    mended = store.mend(rescue)
    assert set(asked) == lost
    assert (mended.packs, mended.value_count, mended.lost) == ([pack.path.name], len(lost), [])
    assert list(store.verify()) == []
    assert all(map(np.array_equal, store.read(schema, digests), values))
    assert store.mend(rescue) == Mended()
    assert pack.path.with_name(f"damaged-{pack.path.name}").exists()
    assert store.remove_orphans() == 0


def test_what_a_remote_lacks_stays_lost_and_the_rest_is_mended(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    values = values_of(IMAGES)
    flip_bit(pack.path, int(pack.record.datasets[0].slabs.starts[1]) + 40)
    store = reopened(tmp_path)
    lost = next(store.verify()).digests
    there = np.array([digest.tobytes() != lost[0] for digest in digests])
    rescue, _ = rescue_of(IMAGES, digests[there], values[there])
    assert store.mend(rescue).lost == [lost[0]]
    assert np.array_equal(store.read(IMAGES, digests[there]), values[there])
    table = table_of(store, IMAGES, digests)
    gone = int(np.nonzero(~there)[0][0])
    assert np.array_equal(table.read(np.array([0, 1])), values[:2])
    with pytest.raises(ObjectNotFoundError, match=lost[0].hex()):
        table.read(np.array([0, gone]))


def test_a_pack_is_mended_without_its_directory(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    flip_bit(pack.path, int(pack.record.digests.starts[0]) + 40)
    store = reopened(tmp_path)
    assert store.mend(nothing).packs == [pack.path.name]
    assert np.array_equal(store.read(IMAGES, digests), values_of(IMAGES))
    assert list(store.verify()) == []


@pytest.mark.parametrize("kept", [0.6, 1.5])
def test_a_pack_of_another_size_is_mended_with_what_is_in_it(tmp_path: Path, kept: float) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    values = values_of(IMAGES)
    content = pack.path.read_bytes()
    pack.path.write_bytes((content + content)[: int(kept * len(content))])
    store = reopened(tmp_path)
    rescue, _ = rescue_of(IMAGES, digests, values)
    mended = store.mend(rescue)
    assert mended.packs == [pack.path.name]
    is_here = store.contains(digests)
    assert is_here.any(), "what is left of the pack is in the new one"
    assert (~is_here).any() == (kept < 1)
    assert store.take_missing(rescue, digests[~is_here]).all()
    assert np.array_equal(store.read(IMAGES, digests), values)
    assert list(store.verify()) == []
    assert [path.name for path in pack_files(tmp_path) if path.name.startswith("damaged")] == [
        f"damaged-{pack.path.name}"
    ]


def test_a_pack_that_is_gone_is_left_until_nothing_of_it_is_missed(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    pack.path.unlink()
    store = reopened(tmp_path)
    rescue, _ = rescue_of(IMAGES, digests, values_of(IMAGES))
    mended = store.mend(rescue)
    assert mended == Mended(unopened=[pack.record.pack_id])
    with pytest.raises(PackDamagedError, match="cannot be opened"):
        store.read(IMAGES, digests[:1])
    assert store.take_missing(rescue, digests).all()
    store.forget_packs(mended.unopened)
    assert list(store.verify()) == []
    assert np.array_equal(store.read(IMAGES, digests), values_of(IMAGES))


@pytest.mark.parametrize("how", ["damaged", "another"])
def test_a_damaged_loose_value_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(hdf5_tensors, "LOOSE_SEAL_NBYTES", 1 << 20)
    store = open_store(tmp_path)
    texts = ["a", "b"]
    loose = put(store, TEXTS, texts)
    database = store._environment.database("loose")
    with store._environment.write() as txn:
        content = txn.get(loose[1].tobytes(), db=database) or b""
        txn.put(loose[0].tobytes(), b"damaged" if how == "damaged" else content, db=database)
    (problem,) = store.verify()
    assert problem.digests == (loose[0].tobytes(),)
    with pytest.raises(type(problem), match=loose[0].tobytes().hex()):
        store.read(TEXTS, loose[:1])
    rescue, asked = rescue_of(TEXTS, loose, texts)
    assert store.mend(rescue) == Mended(value_count=1)
    assert asked == [loose[0].tobytes()]
    assert store.read(TEXTS, loose) == texts
    assert list(store.verify()) == []


@pytest.mark.parametrize("way", ["one", "many", "table", "list", "frames"])
def test_a_read_mends_what_it_finds_damaged(
    tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    schema = IMAGES_IN_FRAMES if way == "frames" else IMAGES
    pack, digests = sealed(tmp_path, schema)
    values = values_of(schema)
    slabs = pack.record.datasets[0].slabs
    flip_bit(pack.path, int(slabs.starts[0]) + 40)
    flip_bit(pack.path, int(slabs.starts[-1]) + 40)
    store = reopened(tmp_path)
    table = table_of(store, schema, digests)
    with pytest.raises(SlabChecksumError):
        store.read(schema, digests[:1])
    store.rescue, asked = rescue_of(schema, digests, values)
    count = len(values)
    if way == "one":
        assert np.array_equal(store.read(schema, digests[:1])[0], values[0])
    elif way in ("many", "frames"):
        assert all(map(np.array_equal, store.read(schema, digests), values))
    elif way == "table":
        assert np.array_equal(table.read(np.arange(count)[::-1].copy()), values[::-1])
    else:
        assert np.array_equal(table.read_list(np.arange(count)), values)
    assert 0 < len(asked) <= count
    assert f"pack {pack.path.name} was damaged and is written anew" in caplog.text
    assert list(store.verify()) == []
    # A table that was made before looks where the values are now.
    store.rescue = None
    assert all(map(np.array_equal, table.read_list(np.arange(count)), values))


def test_a_table_mends_a_pack_that_is_gone(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    values = values_of(IMAGES)
    pack.path.unlink()
    store = reopened(tmp_path)
    store.rescue, asked = rescue_of(IMAGES, digests, values)
    table = table_of(store, IMAGES, digests)
    assert np.array_equal(table.read(np.array([3, 7])), values[[3, 7]])
    assert len(asked) == 2
    assert np.array_equal(table.read(np.array([3, 7, 9])), values[[3, 7, 9]])
    assert len(asked) == 3


def test_a_read_that_cannot_be_mended_says_what_is_damaged(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    flip_bit(pack.path, int(pack.record.datasets[0].slabs.starts[0]) + 40)
    store = reopened(tmp_path)

    def away(store: Any, wanted: NDArray[np.uint8]) -> NDArray[np.bool_]:
        raise RemoteError("nobody answers")

    def full(store: Any, wanted: NDArray[np.uint8]) -> NDArray[np.bool_]:
        raise StorageError("no space left")

    for rescue in (nothing, away, full):
        store.rescue = rescue
        with pytest.raises(SlabChecksumError, match=pack.path.name):
            store.read(IMAGES, digests[:1])
        with pytest.raises(SlabChecksumError, match=pack.path.name):
            table_of(store, IMAGES, digests).read(np.array([0]))
    assert pack_files(tmp_path) == [pack.path]
