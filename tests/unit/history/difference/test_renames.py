from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.history.difference.renames import find_renames, is_beyond_chance
from tensorvcs.tree.nodes import Nodes
from tests import model
from tests.memory_repository import MemoryRepository
from tests.strategies import FEW_KEYS

if TYPE_CHECKING:
    from tensorvcs.history.snapshot import Columns

SAMPLES = st.dictionaries(FEW_KEYS, st.integers(0, 2), max_size=5)
CONTENTS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.tuples(st.sampled_from(["int64", "uint8"]), SAMPLES),
    max_size=4,
)


def columns_of(repo: MemoryRepository, content: model.Content) -> Columns:
    with repo.edit() as co:
        for name, (dtype, samples) in content.items():
            co.add_ndarray_column(name, (), dtype).update(samples)
        co.flush()
        columns = dict(co._staged.columns)
        co.reset()
    return columns


def renames(before: model.Content, after: model.Content) -> dict[str, str]:
    repo = MemoryRepository()
    return find_renames(repo.nodes, columns_of(repo, before), columns_of(repo, after))


def ints(*values: int, dtype: str = "int64") -> model.Column:
    return dtype, dict(enumerate(values))


@given(CONTENTS, CONTENTS)
def test_renames_are_those_of_the_model(before: model.Content, after: model.Content) -> None:
    assert renames(before, after) == model.find_renames(before, after)


def test_half_of_the_larger_column_must_be_equal() -> None:
    assert renames({"a": ints(1, 2, 3, 4)}, {"b": ints(1, 2, 8, 9)}) == {"a": "b"}
    assert renames({"a": ints(1, 2, 3, 4)}, {"b": ints(1, 7, 8, 9)}) == {}
    assert renames({"a": ints(1, 2)}, {"b": ints(1, 2, 3, 4)}) == {"a": "b"}
    assert renames({"a": ints(1, 2)}, {"b": ints(1, 2, 3, 4, 5)}) == {}
    assert renames({"a": ints(1, 2, 3, 4, 5)}, {"b": ints(1, 2)}) == {}


def test_a_column_of_other_values_or_without_any_is_no_other_name() -> None:
    assert renames({"a": ints(1)}, {"b": ints(1, dtype="uint8")}) == {}
    assert renames({"a": ints()}, {"b": ints()}) == {}
    assert renames({"a": ints(1)}, {"a": ints(1), "b": ints(1)}) == {}


def test_the_likest_counts_and_two_that_are_alike_count_for_nothing() -> None:
    before: model.Content = {"a": ints(1, 2, 3, 4)}
    assert renames(before, {"b": ints(1, 2, 3, 9), "c": ints(1, 2, 3, 4)}) == {"a": "c"}
    assert renames(before, {"b": ints(1, 2, 3, 4), "c": ints(1, 2, 3, 4)}) == {}
    # Nor does a lesser one in their place.
    twins: model.Content = {
        "b": ints(1, 2, 3, 4), "c": ints(1, 2, 3, 4), "d": ints(1, 2, 3, 9)
    }  # fmt: skip
    assert renames(before, twins) == {}
    swapped: model.Content = {"c": ints(5, 6), "d": ints(1, 2, 3, 4)}
    assert renames({**before, "b": ints(5, 6)}, swapped) == {"a": "d", "b": "c"}


def chance(before: model.Column, after: model.Column) -> bool:
    repo = MemoryRepository()
    columns = columns_of(repo, {"a": before, "b": after})
    found = is_beyond_chance(repo.nodes, columns["a"], columns["b"])
    assert found == model.is_beyond_chance(before, after)
    return found


def test_columns_of_few_values_agree_by_chance() -> None:
    """Flags that are mostly false, and others on the same samples."""
    some = ints(*([0] * 18 + [1] * 2))
    others = ints(*([1] * 2 + [0] * 18))
    assert renames({"a": some}, {"b": others}) == {"a": "b"}
    assert not chance(some, others)
    assert not chance(ints(0, 0, 0), ints(0, 0, 1))
    # What is equal altogether is one column, and so is what differs here and there.
    assert chance(some, some)
    assert chance(some, ints(*([0] * 17 + [1] * 3)))
    assert chance(ints(1, 2, 3), ints(7, 2, 3, 8))
    assert not chance(ints(*range(9)), ints(*range(20, 26), 6, 7, 8))


@given(SAMPLES.filter(bool), SAMPLES.filter(bool))
def test_chance_is_that_of_the_model(before: dict[Any, int], after: dict[Any, int]) -> None:
    if model.find_renames({"a": ("int64", before)}, {"b": ("int64", after)}):
        chance(("int64", before), ("int64", after))


def test_values_without_bytes_say_nothing() -> None:
    repo = MemoryRepository()
    with repo.edit() as co:
        co.add_ndarray_column("a", (0,), "int64").update({at: np.zeros(0, "i8") for at in "kl"})
        co.add_ndarray_column("b", (0,), "int64").update({at: np.zeros(0, "i8") for at in "klm"})
        co.flush()
        columns = dict(co._staged.columns)
        co.reset()
    assert not is_beyond_chance(repo.nodes, columns["a"], columns["b"])


def test_chance_is_told_from_some_of_many_values() -> None:
    rng = np.random.default_rng(0)
    repo = MemoryRepository()
    rows = {
        "flags": (rng.random(200_000) < 0.1).astype(np.uint8),
        "others": (rng.random(200_000) < 0.1).astype(np.uint8),
    }
    rows["edited"] = rows["flags"].copy()
    rows["edited"][::50] ^= 1
    with repo.edit() as co:
        for name, values in rows.items():
            co.add_ndarray_column(name, (), "uint8").extend(values)
        co.flush()
        columns = dict(co._staged.columns)
        co.reset()
    nodes = Nodes(repo.objects)
    assert not is_beyond_chance(nodes, columns["flags"], columns["others"])
    assert is_beyond_chance(nodes, columns["flags"], columns["edited"])


def test_nothing_is_read_unless_a_column_is_gone_and_another_is_new() -> None:
    repo = MemoryRepository()
    rows = np.arange(50_000)

    def large(co: Any, name: str, values: Any) -> None:
        co.add_ndarray_column(name, (), "int64").extend(values)

    def state(values: Any) -> Any:
        with repo.edit() as co:
            large(co, "x", values)
            co.flush()
            column = co._staged.columns["x"]
            co.reset()
        return column

    old, new, other = state(rows), state(rows + (rows == 7)), state(rows + 1)
    nodes = Nodes(repo.objects)

    def cost(before: Columns, after: Columns) -> tuple[int, dict[str, str]]:
        repo.objects.get_count = 0
        found = find_renames(nodes, before, after)
        return repo.objects.get_count, found

    assert cost({"a": old}, {"a": new, "b": new}) == (0, {})
    assert cost({"a": old, "b": old}, {"a": new}) == (0, {})
    assert cost({"a": old}, {"b": old}) == (0, {"a": "b"})
    count, found = cost({"a": old}, {"b": new})
    assert found == {"a": "b"}
    assert count < 20
    all_nodes = len(repo.objects.objects)
    count, found = cost({"a": old}, {"b": other})
    assert found == {}
    assert count < all_nodes
