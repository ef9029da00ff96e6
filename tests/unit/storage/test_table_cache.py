"""Tables share what is known of leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import CorruptionError
from tensorvcs.storage.locations import Locations
from tensorvcs.storage.table_cache import TableCache
from tests.tensor_values import (
    IMAGES,
    LEAF_COUNT,
    open_store,
    put,
    random_images,
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
