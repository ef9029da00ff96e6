"""A part of the changes between two versions."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.checkout.areas import columns_of
from tensorvcs.checkout.reader import CheckoutColumns
from tensorvcs.errors import NothingToCommitError
from tensorvcs.history.picking.partial import apply_part, renames_among, transplant
from tensorvcs.objects.key_patterns import KeyPatterns
from tensorvcs.tree.nodes import Nodes
from tests.memory_repository import MemoryRepository, contents_of
from tests.strategies import FEW_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.keys import Keys

    Contents = dict[str, dict[Any, Any]]


def versions(*contents: Contents) -> tuple[MemoryRepository, list[Columns]]:
    """Return the columns of commits with int64 labels."""
    repo = MemoryRepository()
    columns: list[Columns] = [{}]
    for content in contents:
        with repo.edit() as co:
            for name in list(co):
                if name not in content:
                    del co[name]
            for name, labels in content.items():
                if name not in co:
                    co.add_ndarray_column(name, (), "int64")
                for key in [key for key in co[name] if key not in labels]:
                    del co[name][key]
                co[name].update({k: np.int64(v) for k, v in labels.items()})
            with suppress(NothingToCommitError):
                co.commit("m")
        columns.append(columns_of(repo.stores, repo.head()))
    return repo, columns[1:]


def content(repo: MemoryRepository, columns: Columns) -> Contents:
    return contents_of(CheckoutColumns(repo.stores, repo.nodes, columns, "test"))


def only(*patterns: Any) -> Callable[[str, Keys], NDArray[np.bool_]]:
    chosen = KeyPatterns.of(patterns)
    return lambda _, keys: chosen.match(keys, nested=False)


def nothing(_: str, keys: Keys) -> NDArray[np.bool_]:
    return np.zeros(len(keys), np.bool_)


def test_without_a_choice_columns_are_taken_as_they_are() -> None:
    before: Contents = {"kept": {1: 1}, "gone": {"a": 1}, "changed": {"a": 1}}
    after: Contents = {"kept": {1: 1}, "new": {7: 7}, "changed": {"a": 2, 3: 3}}
    repo, (old, new) = versions(before, after)
    assert apply_part(repo.nodes, old, new, None, None) == new
    part = apply_part(repo.nodes, old, new, None, {"changed"})
    assert content(repo, part) == {**before, "changed": after["changed"]}
    part = apply_part(repo.nodes, old, new, None, {"gone", "new"})
    assert content(repo, part) == {"kept": {1: 1}, "changed": {"a": 1}, "new": {7: 7}}


def test_chosen_samples_of_a_changed_column() -> None:
    before, after = {"a": 1, "b": 2, 3: 3, 4: 4}, {"a": 9, 3: 8, 5: 5}
    repo, (old, new) = versions({"x": before}, {"x": after})
    part = apply_part(repo.nodes, old, new, only("a", "4", 5), None)
    assert content(repo, part) == {"x": {3: 3, 5: 5, "a": 9, "b": 2}}
    assert apply_part(repo.nodes, old, new, only("*"), None) == new
    assert apply_part(repo.nodes, old, new, nothing, None) == old


def test_chosen_samples_of_columns_that_are_new_or_gone() -> None:
    repo, (old, new) = versions({"gone": {1: 1, 2: 2}}, {"new": {"a": 1, "b": 2}})
    part = apply_part(repo.nodes, old, new, only(1, "b"), None)
    assert content(repo, part) == {"gone": {2: 2}, "new": {"b": 2}}
    assert apply_part(repo.nodes, old, new, nothing, None) == old
    assert apply_part(repo.nodes, old, new, only("*"), None) == new


def test_a_renamed_column_is_one_column() -> None:
    repo, (old, new) = versions({"y": {1: 1, 2: 2, 3: 3}}, {"labels": {1: 1, 2: 2, 3: 30}})
    for names in ({"y"}, {"labels"}):
        assert apply_part(repo.nodes, old, new, None, names) == new
    # Its name goes with all of its changes, and with no part of them.
    assert apply_part(repo.nodes, old, new, only(3), None) == new
    assert apply_part(repo.nodes, old, new, only(1), None) == old
    repo, (old, new) = versions(
        {"y": {i: i for i in range(9)}}, {"labels": {**{i: i for i in range(9)}, 3: 30, 4: 40}}
    )
    part = apply_part(repo.nodes, old, new, only(3), None)
    assert content(repo, part) == {"y": {**{i: i for i in range(9)}, 3: 30}}


def test_what_is_of_a_column_as_a_whole_is_left_without_chosen_samples() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_str_column("notes"))
    old = columns_of(repo.stores, repo.head())
    repo.commit(lambda co: co.add_str_column("more"))
    new = columns_of(repo.stores, repo.head())
    assert apply_part(repo.nodes, old, new, only("*"), None) == old
    assert apply_part(repo.nodes, new, old, only("*"), None) == new
    assert apply_part(repo.nodes, old, new, None, None) == new


@pytest.mark.parametrize(("dtype", "shape"), [("int32", ()), ("int64", (2,)), ("uint8", (9, 9))])
def test_a_column_of_other_values_is_taken_as_a_whole_or_not(
    dtype: str, shape: tuple[int, ...]
) -> None:
    repo, (old,) = versions({"x": {1: 1, 2: 2}})

    def change(co: Any) -> None:
        del co["x"]
        co.add_ndarray_column("x", shape, dtype)[1] = np.zeros(shape, dtype)

    repo.commit(change)
    new = columns_of(repo.stores, repo.head())
    assert apply_part(repo.nodes, old, new, only(1), None) == old
    assert apply_part(repo.nodes, old, new, only("*"), None) == new


def test_shapes_of_values_that_are_kept_by_digest_never_mix() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_ndarray_column("x", (9, 9), "uint8").update({
        1: np.zeros((9, 9), np.uint8), 2: np.zeros((9, 9), np.uint8)
    }))  # fmt: skip
    old = columns_of(repo.stores, repo.head())

    def change(co: Any) -> None:
        del co["x"]
        co.add_ndarray_column("x", (8, 8), "uint8")[1] = np.ones((8, 8), np.uint8)

    repo.commit(change)
    new = columns_of(repo.stores, repo.head())
    assert apply_part(repo.nodes, old, new, only(1), None) == old


def test_a_transplant_does_not_care_what_the_goal_has() -> None:
    repo, (a, b, c) = versions({"x": {1: 1, "k": 2, "z": 0}}, {"x": {1: 5, "z": 0}}, {"x": {9: 9}})
    tree, taken, left = transplant(repo.nodes, a["x"].tree, b["x"].tree, c["x"].tree)
    assert (taken, left) == (2, 0)
    made = {"x": type(a["x"])(a["x"].schema, tree)}
    assert content(repo, made) == {"x": {1: 5, 9: 9}}


LABELS = st.dictionaries(FEW_KEYS, st.integers(0, 2), max_size=6)
COLUMNS = st.dictionaries(st.sampled_from(["x", "y"]), LABELS, max_size=2)


@given(COLUMNS, COLUMNS, st.sets(FEW_KEYS))
def test_a_part_against_dictionaries(before: Contents, after: Contents, chosen: set[Any]) -> None:
    repo, (old, new) = versions({"base": {0: 0}, **before}, {"base": {0: 0}, **after})
    if {*before} - {*after} and {*after} - {*before}:
        return  # may be a renamed column
    pattern = KeyPatterns.of([key for key in chosen if key != "b/1"] or [10**9])

    def choose(_: str, keys: Keys) -> NDArray[np.bool_]:
        return pattern.match(keys, nested=False)

    expected: Contents = {"base": {0: 0}}
    for name in sorted({*before, *after}):
        start, goal = before.get(name, {}), after.get(name, {})
        changed = {k for k in {*start, *goal} if start.get(k) != goal.get(k)}
        taken = {k for k in changed if k in chosen and k != "b/1"}
        made = {k: v for k, v in start.items() if k not in taken}
        made |= {k: goal[k] for k in taken if k in goal}
        is_there = name in before if not taken else name in after or taken != changed
        if is_there:
            expected[name] = made
    found = content(repo, apply_part(repo.nodes, old, new, choose, None))
    assert found == expected


def test_renames_are_looked_for_only_near_the_names_that_are_asked_for() -> None:
    many = dict.fromkeys(range(8), 1)
    repo = MemoryRepository()
    states = []
    for names in (("kept", "a", "b", "words"), ("kept", "a2", "b2", "texts")):

        def change(co: Any, names: tuple[str, ...] = names) -> None:
            for name in [*co]:
                del co[name]
            kept, one, two, words = names
            seed = 10 if one == "a" else 11
            for at, name in enumerate((kept, one, two)):
                labels = co.add_ndarray_column(name, (), "int64")
                labels.update({k: np.int64(at * 100 + k) for k in many} | {99: np.int64(seed)})
            co.add_str_column(words).update({k: f"w{k}" for k in many} | {99: str(seed)})

        repo.commit(change)
        states.append(columns_of(repo.stores, repo.head()))
    before, after = states
    every = {"a": "a2", "b": "b2", "words": "texts"}
    assert renames_among(repo.nodes, before, after, None) == every
    assert renames_among(repo.nodes, before, after, {"texts"}) == {"words": "texts"}
    # Those that a column may be taken for are looked at as well.
    assert renames_among(repo.nodes, before, after, {"a", "kept"}) == {"a": "a2", "b": "b2"}
    count = repo.objects.get_count
    assert renames_among(Nodes(repo.objects), before, after, {"kept"}) == {}
    assert renames_among(Nodes(repo.objects), before, after, set()) == {}
    assert repo.objects.get_count == count
