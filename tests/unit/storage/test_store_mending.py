"""What is damaged is mended with values from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import (
    ObjectNotFoundError,
    PackDamagedError,
    RemoteError,
    SlabChecksumError,
    StorageError,
)
from tensorvcs.storage import dataset_writers, pending_values
from tensorvcs.storage.mending import Mended
from tests.damage import MASKS, nothing, reopened, rescue_of, sealed, values_of
from tests.tensor_values import (
    IMAGES,
    IMAGES_IN_FRAMES,
    TEXTS,
    flip_bit,
    open_store,
    pack_files,
    put,
    table_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    monkeypatch.setattr(dataset_writers, "SLAB_NBYTES", 64 << 10)


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
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 1 << 20)
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
