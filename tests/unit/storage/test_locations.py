"""Tables share what is known of leaves; batches fill what they are given, or refuse it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import CorruptionError, InvalidInputError, SchemaMismatchError
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import hdf5_tensors, locations
from tensorvcs.storage.locations import Locations, TableCache
from tests.tensor_values import (
    IMAGES,
    LEAF_COUNT,
    TEXTS,
    digests_of,
    open_store,
    put,
    random_images,
    random_rows,
    same,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def numbered(values: Iterable[int]) -> NDArray[np.uint8]:
    """Return digests that say their number."""
    numbers = np.fromiter(values, np.uint32)
    digests = np.zeros((len(numbers), 32), np.uint8)
    digests[:, :4] = numbers.view(np.uint8).reshape(-1, 4)
    return digests


class Column:
    """Leaves by name, whose loads are recorded."""

    def __init__(self, leaves: dict[str, list[int]]) -> None:
        self.leaves = leaves
        self.loaded: list[str] = []

    def locate(self, cache: TableCache) -> Locations:
        names = [name.encode() for name in self.leaves]
        counts = np.array([len(values) for values in self.leaves.values()], np.int64)
        found = cache.locate(names, counts, self._load, self._find)
        expected = [value for values in self.leaves.values() for value in values]
        assert found.rows.tolist() == expected
        assert found.sources.tolist() == [value % 3 for value in expected]
        return found

    def _load(self, names: Sequence[bytes]) -> list[NDArray[np.uint8]]:
        self.loaded += [name.decode() for name in names]
        return [numbered(self.leaves[name.decode()]) for name in names]

    @staticmethod
    def _find(digests: NDArray[np.uint8]) -> Locations:
        rows = np.ascontiguousarray(digests[:, :4]).view(np.uint32)[:, 0]
        return Locations((rows % 3).astype(np.uint16), rows)


def test_only_leaves_that_are_new_are_loaded() -> None:
    cache = TableCache()
    first = Column({"a": [1, 2], "b": [3], "c": [4, 5, 6], "d": [7]})
    first.locate(cache)
    assert first.loaded == ["a", "b", "c", "d"]
    second = Column({"a": [1, 2], "b2": [9], "c": [4, 5, 6], "d": [7], "e": [8]})
    second.locate(cache)
    assert second.loaded == ["b2", "e"]
    third = Column({"d": [7], "b": [3], "e": [8], "b2": [9]})
    third.locate(cache)
    assert third.loaded == []
    cache.clear()
    third.locate(cache)
    assert third.loaded == ["d", "b", "e", "b2"]


def test_the_same_column_is_the_same_arrays() -> None:
    cache = TableCache()
    column = Column({"a": [1, 2], "b": [3]})
    first = column.locate(cache)
    assert column.locate(cache).rows is first.rows
    assert cache.nbytes == first.nbytes
    part = Column({"a": [1, 2]})
    part.locate(cache)
    assert part.loaded == []


def test_old_tables_go_when_the_cache_is_full() -> None:
    cache = TableCache(max_nbytes=600)
    a, b = Column({"a": list(range(60))}), Column({"b": list(range(40))})
    a.locate(cache)
    b.locate(cache)
    a.locate(cache)
    assert a.loaded == ["a"]
    Column({"c": [1]}).locate(cache)
    assert cache.nbytes <= 600
    a.locate(cache)
    b.locate(cache)
    assert (a.loaded, b.loaded) == (["a"], ["b", "b"])
    large = Column({"large": list(range(1000))})
    large.locate(cache)
    large.locate(cache)
    assert large.loaded == ["large"], "the newest table is kept, however large"


@given(
    st.lists(st.lists(st.integers(0, 12), max_size=8, unique=True), min_size=1, max_size=8),
    st.integers(50, 500),
)
def test_any_sequence_of_columns_is_located(columns: list[list[int]], max_nbytes: int) -> None:
    cache = TableCache(max_nbytes)
    for leaves in columns:
        column = Column({f"{leaf}": [leaf * 10 + i for i in range(leaf)] for leaf in leaves})
        column.locate(cache)


def test_a_leaf_of_another_size_than_its_parent_says_is_damage() -> None:
    def load(_: Sequence[bytes]) -> list[NDArray[np.uint8]]:
        return [numbered([1, 2, 3])]

    with pytest.raises(CorruptionError, match="has 3 values, expected 4"):
        TableCache().locate([b"a"], np.array([4]), load, Column._find)


def test_a_table_after_one_changed_sample_loads_one_leaf(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    images = random_images(10 * LEAF_COUNT)
    digests = put(store, IMAGES, images)
    loaded: list[bytes] = []
    table_of(store, IMAGES, digests, loaded)
    assert len(loaded) == 10
    changed = images.copy()
    changed[300] ^= 255
    after = digests.copy()
    after[300] = put(store, IMAGES, changed[300:301])
    loaded.clear()
    table = table_of(store, IMAGES, after, loaded)
    assert len(loaded) == 1
    assert same(table.read(np.arange(len(images))), changed)
    # What is repacked begins a new generation.
    store.repack_loose(force=True)
    table = table_of(store, IMAGES, after, loaded)
    assert len(loaded) == 11
    assert same(table.read(np.arange(len(images))), changed)


@pytest.mark.parametrize("row_nbytes", [768, 12_288])
def test_a_batch_from_several_packs(tmp_path: Path, row_nbytes: int) -> None:
    schema = Schema("ndarray", "uint8", (row_nbytes,))
    store = open_store(tmp_path)
    values = random_rows(schema, 6000 if row_nbytes < 1000 else 600)
    parts = np.array_split(np.arange(len(values)), 3)
    digests = np.concatenate([put(store, schema, values[part]) for part in parts])
    little = random_rows(schema, 5, seed=1)
    everything = np.concatenate([values, little])
    digests = np.concatenate([digests, put(store, schema, little)])
    assert (store.stats().pack_count, store.stats().loose_count) == (3, 5)
    table = table_of(store, schema, digests)
    order = np.random.default_rng(0).permutation(len(everything))
    assert same(table.read(order), everything[order])
    assert same(table.read(order[:50] - len(everything)), everything[order[:50]])


def test_out_must_fit(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    table = table_of(store, IMAGES, put(store, IMAGES, random_images(4)))
    positions = np.arange(2)
    frozen = np.zeros((2, 16, 16, 3), np.uint8)
    frozen.flags.writeable = False
    refused: list[tuple[NDArray[Any], type[Exception]]] = [
        (np.zeros((3, 16, 16, 3), np.uint8), SchemaMismatchError),
        (np.zeros((2, 16, 48), np.uint8), SchemaMismatchError),
        (np.zeros((2, 16, 16, 3), np.int8), SchemaMismatchError),
        (np.zeros((2, 16, 16, 6), np.uint8)[..., ::2], InvalidInputError),
        (np.zeros((2, 16, 16, 3), np.uint8, order="F"), InvalidInputError),
        (frozen, InvalidInputError),
    ]
    for out, kind in refused:
        with pytest.raises(kind):
            table.read(positions, out)
        assert not out.any()


def test_positions_are_integers(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    table = table_of(store, IMAGES, put(store, IMAGES, random_images(4)))
    for positions in (np.array([True, False]), np.array([0.0]), np.zeros((1, 1), int), [0]):
        with pytest.raises(InvalidInputError):
            table.read(positions)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            table.read_list(positions)  # type: ignore[arg-type]


def test_values_of_their_own_shapes_do_not_stack(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    table = table_of(store, TEXTS, put(store, TEXTS, ["a", "b"]))
    with pytest.raises(SchemaMismatchError, match="str"):
        table.read(np.array([0]))


def test_rows_of_every_width_of_dtype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_tensors, "LOOSE_SEAL_NBYTES", 0)
    monkeypatch.setattr(locations, "_PARALLEL_NBYTES", 4096)
    store = open_store(tmp_path)
    for name in ("bfloat16", "complex128", "float8_e5m2", "int16", "bool"):
        for count in (3, 13):
            schema = Schema("ndarray", name, (count, 7))
            values = random_rows(schema, 90)
            table = table_of(store, schema, put(store, schema, values))
            order = np.random.default_rng(0).integers(-90, 90, 200)
            assert same(table.read(order), values[order])


def test_the_threads_of_a_parent_are_not_used_by_a_child() -> None:
    pool = locations._pool()
    if pool is None:
        pytest.skip("one processor")
    assert locations._pool() is pool
    locations._POOLS[os.getpid() + 1] = locations._POOLS.pop(os.getpid())
    assert locations._pool() is not pool


def test_digests_of_many_images_are_located_at_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    images = random_images(3000)
    put(store, IMAGES, images)
    order = np.random.default_rng(0).integers(0, 3000, 5000)
    digests = digests_of(IMAGES, images)[order]
    assert same(table_of(store, IMAGES, digests).read(np.arange(5000)), images[order])
