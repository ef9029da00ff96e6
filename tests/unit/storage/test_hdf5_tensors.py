"""The store on disk: loose values, repacking, processes and threads, counts."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import ObjectNotFoundError
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import hdf5_pack, pending_values
from tests.tensor_values import (
    BLOBS,
    IMAGES,
    TEXTS,
    digests_of,
    is_whole,
    open_store,
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
    monkeypatch.setattr(pending_values, "BUFFER_NBYTES", 0)
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


def test_a_closed_store_can_be_opened_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    digests = put(store, BLOBS, [b"a" * 2_000_000])
    store.close()
    store._environment.close()
    assert open_store(tmp_path).read(BLOBS, digests) == [b"a" * 2_000_000]


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
        monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
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
