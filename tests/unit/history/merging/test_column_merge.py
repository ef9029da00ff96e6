from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.checkout.areas import columns_of
from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    MergeConflictError,
    ObjectNotFoundError,
    SchemaMismatchError,
)
from tensorvcs.history.merging import conflict_values
from tensorvcs.history.merging.column_lines import Line, pair_columns
from tensorvcs.history.merging.column_merge import merge_columns
from tensorvcs.history.merging.merge import merge_commits
from tensorvcs.history.merging.policies import Policies
from tensorvcs.history.snapshot import ColumnState
from tensorvcs.objects.schema import Schema
from tensorvcs.tree.tree import Tree
from tests.memory_repository import ADA, MemoryRepository

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[Any], Any]


def fork(base: Change, ours: Change, theirs: Change) -> MemoryRepository:
    """A repository whose branches main and side went on from one commit."""
    repo = MemoryRepository()
    repo.commit(lambda co: (base(co), co.add_bytes_column("note")))
    repo.branch_at("side")
    repo.commit(lambda co: (ours(co), co["note"].update({"ours": b""})))
    repo.commit(lambda co: (theirs(co), co["note"].update({"theirs": b""})), "side")
    return repo


def conflicts_of(repo: MemoryRepository, **options: Any) -> dict[Any, str]:
    """The open conflicts of a merge that must fail and change nothing."""
    state, count = repo.state(), len(repo.objects.objects)
    with pytest.raises(MergeConflictError) as caught:
        repo.merge("side", **options)
    assert repo.state() == state
    assert len(repo.objects.objects) == count
    assert repo.stores.tensors.unsealed_nbytes == 0
    return {(c.column, c.key): c.kind for c in caught.value.conflicts}


def merged(repo: MemoryRepository, **options: Any) -> dict[str, dict[Any, Any]]:
    """What a merge gives, without the column of notes."""
    repo.merge("side", **options)
    content = repo.content()
    assert set(content.pop("note")) == {"ours", "theirs"}
    return content


def labels(name: str = "a", /, **samples: int) -> Change:
    return lambda co: co.add_ndarray_column(name, (), "int64").update(samples)


def update(name: str, **samples: Any) -> Change:
    return lambda co: co[name].update(samples)


def rename(old: str, new: str, **samples: Any) -> Change:
    def change(co: Any) -> None:
        co.rename_column(old, new)
        co[new].update(samples)

    return change


def drop(name: str) -> Change:
    def change(co: Any) -> None:
        del co[name]

    return change


def both(*changes: Change) -> Change:
    return lambda co: [change(co) for change in changes]


ABC = {"k": 1, "l": 2, "m": 3}


# Renamed columns


def test_a_column_that_one_side_renamed_has_the_changes_of_both() -> None:
    for ours, theirs in [
        (rename("a", "b", k=7, fresh=8), update("a", m=9, more=5)),
        (update("a", m=9, more=5), rename("a", "b", k=7, fresh=8)),
    ]:
        repo = fork(labels(**ABC), ours, theirs)
        assert merged(repo) == {"b": {"k": 7, "l": 2, "m": 9, "more": 5, "fresh": 8}}


def test_a_column_that_both_sides_renamed_alike_is_one() -> None:
    repo = fork(labels(**ABC), rename("a", "b", k=7), rename("a", "b", m=9))
    assert merged(repo) == {"b": {"k": 7, "l": 2, "m": 9}}
    repo = fork(labels(**ABC), rename("a", "b"), rename("a", "b"))
    assert merged(repo) == {"b": ABC}


def test_a_conflict_in_a_renamed_column_has_its_new_name() -> None:
    repo = fork(labels(**ABC), rename("a", "b", k=7), update("a", k=8))
    assert conflicts_of(repo) == {("b", "k"): "modify/modify"}
    # A strategy may name the column by any of its names.
    for name in ("a", "b"):
        repo = fork(labels(**ABC), rename("a", "b", k=7), update("a", k=8))
        assert merged(repo, strategy={name: "theirs"}) == {"b": {**ABC, "k": 8}}


def test_a_column_renamed_differently_is_in_conflict() -> None:
    def repo() -> MemoryRepository:
        return fork(labels(**ABC), rename("a", "b", k=7), rename("a", "c", m=9))

    assert conflicts_of(repo()) == {("b", None): "rename"}
    both_changes = {"k": 7, "l": 2, "m": 9}
    assert merged(repo(), strategy="ours") == {"b": both_changes}
    assert merged(repo(), strategy="theirs") == {"c": both_changes}
    assert merged(repo(), strategy="newest") == {"c": both_changes}


def test_a_column_renamed_differently_may_have_samples_in_conflict_too() -> None:
    repo = fork(labels(**ABC), rename("a", "b", k=7), rename("a", "c", k=9))
    assert conflicts_of(repo) == {("b", None): "rename", ("b", "k"): "modify/modify"}
    assert conflicts_of(repo, strategy="max") == {("b", None): "rename"}
    result = repo.merge("side", strategy="theirs")
    assert repo.content()["c"] == {**ABC, "k": 9}
    assert [str(conflict) for conflict in result.conflicts] == [
        "c: rename, decided by theirs",
        "c['k']: modify/modify, decided by theirs",
    ]


@pytest.mark.parametrize("extra", [{}, {"k": 7}])
def test_a_column_that_one_side_renamed_and_the_other_deleted_is_in_conflict(
    extra: dict[str, int],
) -> None:
    content = {"b": {**ABC, **extra}}
    repo = fork(labels(**ABC), rename("a", "b", **extra), drop("a"))
    assert conflicts_of(repo) == {("b", None): "rename/delete"}
    assert merged(repo, strategy="ours") == content
    repo = fork(labels(**ABC), rename("a", "b", **extra), drop("a"))
    assert merged(repo, strategy="theirs") == {}
    repo = fork(labels(**ABC), drop("a"), rename("a", "b", **extra))
    assert conflicts_of(repo) == {("b", None): "delete/rename"}
    assert merged(repo, strategy="ours") == {}
    repo = fork(labels(**ABC), drop("a"), rename("a", "b", **extra))
    assert merged(repo, strategy="theirs") == content


@pytest.mark.parametrize("edited", [{}, {"k": 7}])
def test_a_new_name_that_the_other_side_gave_a_new_column_is_in_conflict(
    edited: dict[str, int],
) -> None:
    def repo() -> MemoryRepository:
        theirs = both(labels("b", q=1), update("a", **edited))
        return fork(labels(**ABC), rename("a", "b"), theirs)

    assert conflicts_of(repo()) == {("b", None): "rename"}
    assert merged(repo(), strategy="ours") == {"b": ABC}
    assert merged(repo(), strategy="theirs") == {"a": {**ABC, **edited}, "b": {"q": 1}}
    # Their column came last, and what they did not touch is older.
    assert merged(repo(), strategy="newest") == {"a": {**ABC, **edited}, "b": {"q": 1}}


def test_two_columns_that_want_one_name_are_in_conflict() -> None:
    def repo() -> MemoryRepository:
        base = both(labels(**ABC), labels("c", x=5, y=6))
        return fork(base, rename("a", "b"), rename("c", "b"))

    assert conflicts_of(repo()) == {("b", None): "rename"}
    assert merged(repo(), strategy="ours") == {"b": ABC, "c": {"x": 5, "y": 6}}
    assert merged(repo(), strategy="theirs") == {"a": ABC, "b": {"x": 5, "y": 6}}


def test_two_columns_that_became_the_same_one_are_no_conflict() -> None:
    """Each side took the column from another one, and they have it alike."""
    base = both(labels(**ABC), labels("c", k=1, l=2, m=4))
    ours, theirs = rename("a", "b", z=1), rename("c", "b", m=3, z=1)
    assert merged(fork(base, ours, theirs)) == {"b": {**ABC, "z": 1}}
    assert merged(fork(base, theirs, ours)) == {"b": {**ABC, "z": 1}}
    # One of them looks for a rename, since the column it took was changed on the other side.
    found = conflicts_of(fork(base, ours, both(theirs, update("a", k=9))))
    assert found == {("a", None): "delete/modify"}


def test_a_chain_of_claims_is_one_conflict() -> None:
    """Ours has the name that theirs gave the column, theirs the name that ours gave it."""

    def repo() -> MemoryRepository:
        ours = both(rename("a", "b"), labels("c", p=1))
        theirs = both(rename("a", "c"), labels("b", q=1))
        return fork(labels(**ABC), ours, theirs)

    assert conflicts_of(repo()) == {("b", None): "rename"}
    assert merged(repo(), strategy="ours") == {"b": ABC, "c": {"p": 1}}
    assert merged(repo(), strategy="theirs") == {"c": ABC, "b": {"q": 1}}


def test_what_may_be_either_column_is_not_followed() -> None:
    twins = both(labels("b", **ABC), labels("c", **ABC), drop("a"))
    repo = fork(labels(**ABC), twins, update("a", k=7))
    assert conflicts_of(repo) == {("a", None): "delete/modify"}


def test_a_column_of_flags_is_not_taken_for_another_one() -> None:
    """Nearly all samples of both are equal, as in any two columns of flags."""

    def flags(name: str, *chosen: int) -> Change:
        def change(co: Any) -> None:
            column = co.add_ndarray_column(name, (), "bool")
            column.update({at: at in chosen for at in range(20)})

        return change

    replaced = both(drop("blurred"), flags("night", 1, 2))
    repo = fork(flags("blurred", 18, 19), replaced, lambda co: co["blurred"].update({5: True}))
    assert conflicts_of(repo) == {("blurred", None): "delete/modify"}


def test_an_empty_column_is_not_followed() -> None:
    repo = fork(labels(), rename("a", "b"), update("a", k=7))
    assert conflicts_of(repo) == {("a", None): "delete/modify"}


@pytest.mark.parametrize("kind", ["wide", "text", "nested", "ints"])
def test_columns_of_every_kind_are_followed(kind: str) -> None:
    def value(number: int) -> Any:
        return {
            "wide": np.full(70, number, "u1"), "text": str(number), "nested": {"s": number},
            "ints": number,
        }[kind]  # fmt: skip

    def base(co: Any) -> None:
        if kind == "text":
            co.add_str_column("a")
        else:
            shape, dtype = ((70,), "u1") if kind == "wide" else ((), "i8")
            co.add_ndarray_column("a", shape, dtype, nested=kind == "nested")
        co["a"].update({at: value(at) for at in range(5)})

    repo = fork(
        base,
        both(lambda co: co.rename_column("a", "b"), lambda co: co["b"].update({1: value(7)})),
        lambda co: co["a"].update({2: value(8)}),
    )
    side = repo.content("side")
    both_changes = merged(repo)["b"]
    assert {at: part for at, part in both_changes.items() if at != 1} == {
        at: part for at, part in side["a"].items() if at != 1
    }
    assert both_changes[1] == repo.content("main~1")["b"][1]


def test_renames_are_not_looked_for_where_they_make_no_difference() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_ndarray_column("a", (), "int64").extend(np.arange(50_000)))
    repo.branch_at("side")
    repo.commit(rename("a", "b"))
    repo.commit(labels("x", k=1), "side")
    repo.nodes = type(repo.nodes)(repo.objects)
    repo.objects.get_count = 0
    repo.merge("side")
    assert repo.objects.get_count < 16  # commits and snapshots
    assert len(repo.checkout()["b"]) == 50_000


def test_the_lines_of_columns() -> None:
    assert Line("a", "b", "a").names == ("b", "a")
    assert Line("a", "a", "b").names == ("b", "a")
    assert Line("a", None, "b").names == ("b", "a")
    assert Line("a", "b", "c").names == ("b", "c", "a")
    assert Line("a", None, None).names == ("a",)
    assert [Line("a", "b", "c").claims, Line("a", None, None).claims] == [("b", "c"), ()]
    repo = fork(labels(**ABC), rename("a", "b"), update("a", k=7))
    base, ours, theirs = (merge_input(repo, name) for name in ("main~1", "main", "side"))
    assert pair_columns(repo.nodes, base, ours, theirs) == [
        Line("a", "b", "a"), Line("note", "note", "note")
    ]  # fmt: skip


def merge_input(repo: MemoryRepository, revision: str) -> dict[str, ColumnState]:
    return columns_of(repo.stores, repo.resolve(revision))


# Policies kept in the schema


def kept(policy: str, name: str = "a", dtype: str = "float64", **samples: float) -> Change:
    return lambda co: co.add_ndarray_column(name, (), dtype, merge=policy).update(samples)


def test_a_kept_policy_decides() -> None:
    repo = fork(kept("mean", k=1, l=1), update("a", k=2), update("a", k=5))
    result = repo.merge("side")
    assert repo.content()["a"] == {"k": 3.5, "l": 1}
    assert [str(conflict) for conflict in result.conflicts] == [
        "a['k']: modify/modify, decided by mean"
    ]
    (conflict,) = result.conflicts
    assert (conflict.base, conflict.ours, conflict.theirs) == (1, 2, 5)
    assert conflict.schema == Schema("ndarray", "float64", (), merge="mean")


@pytest.mark.parametrize(
    ("strategy", "value"),
    [("theirs", 5), ({"a": "max"}, 5), ({"*": "ours"}, 2), ({"note": "ours"}, 3.5), ({}, 3.5)],
)
def test_what_a_call_says_comes_before_what_is_kept(strategy: Any, value: float) -> None:
    repo = fork(kept("mean", k=1), update("a", k=2), update("a", k=5))
    assert merged(repo, strategy=strategy) == {"a": {"k": value}}


def test_a_call_may_refuse_a_kept_policy() -> None:
    repo = fork(kept("mean", k=1), update("a", k=2), update("a", k=5))
    assert conflicts_of(repo, strategy={"a": "fail"}) == {("a", "k"): "modify/modify"}


def test_a_policy_that_one_side_set_holds_for_both() -> None:
    def policy(name: str) -> Change:
        return lambda co: co.set_merge_policy("a", name)

    repo = fork(kept("", k=1), both(policy("mean"), update("a", k=2)), update("a", k=5))
    assert merged(repo) == {"a": {"k": 3.5}}
    assert repo.checkout()["a"].schema.merge == "mean"
    repo = fork(kept("mean", k=1), update("a", k=2), both(policy("fail"), update("a", k=5)))
    assert conflicts_of(repo) == {("a", "k"): "modify/modify"}


def test_two_policies_for_one_column_are_in_conflict_and_its_samples_are_merged() -> None:
    def repo() -> MemoryRepository:
        ours = both(lambda co: co.set_merge_policy("a", "mean"), update("a", k=2, l=7))
        theirs = both(lambda co: co.set_merge_policy("a", "max"), update("a", k=5, m=8))
        return fork(kept("", k=1, l=1, m=1), ours, theirs)

    assert conflicts_of(repo()) == {("a", None): "schema", ("a", "k"): "modify/modify"}
    for side, value, policy in [("ours", 2, "mean"), ("theirs", 5, "max")]:
        one = repo()
        assert merged(one, strategy=side) == {"a": {"k": value, "l": 7, "m": 8}}
        assert one.checkout()["a"].schema.merge == policy


def test_a_codec_and_a_policy_of_different_sides_are_both_taken() -> None:
    rows = np.zeros(100, np.uint8)

    def column(codec: Any, merge: Any) -> Change:
        def change(co: Any) -> None:
            if "a" in co:
                del co["a"]
            co.add_ndarray_column("a", (100,), "u1", codec=codec, merge=merge)["k"] = rows

        return change

    repo = fork(column("auto", ""), column("raw", ""), column("auto", "max"))
    repo.merge("side")
    schema = repo.checkout()["a"].schema
    assert (schema.codec, schema.merge) == ("raw", "max")


def test_the_policy_of_a_column_decides_about_it_as_a_whole() -> None:
    for policy, content in [("ours", {"a": {"k": 7.0}}), ("theirs", {}), ("newest", {})]:
        repo = fork(kept(policy, k=1), update("a", k=7), drop("a"))
        assert merged(repo) == content
    # A function makes values, and there is none to make of a column that is gone.
    repo = fork(kept("mean", k=1), update("a", k=7), drop("a"))
    assert conflicts_of(repo) == {("a", None): "modify/delete"}


# Newest


def test_newest_takes_the_side_that_changed_the_sample_last() -> None:
    repo = MemoryRepository()
    repo.commit(labels(k=0, l=0, m=0, n=0))
    repo.branch_at("side")
    repo.commit(update("a", k=1, l=1))
    repo.commit(update("a", k=2, l=2), "side")
    repo.commit(both(update("a", m=1), lambda co: co["a"].pop("n")))
    repo.commit(update("a", m=2, n=2), "side")
    repo.commit(update("a", l=3))
    result = repo.merge("side", strategy="newest")
    assert repo.content()["a"] == {"k": 2, "l": 3, "m": 2, "n": 2}
    assert {c.decided_by for c in result.conflicts} == {"newest"}


def test_newest_may_be_a_deletion_and_follows_renames() -> None:
    repo = MemoryRepository()
    repo.commit(labels(k=0, l=0, m=5, n=6))
    repo.branch_at("side")
    repo.commit(rename("a", "b", k=1, l=1))
    repo.commit(lambda co: co["a"].pop("k"), "side")
    repo.commit(update("a", l=2), "side")
    repo.commit(update("b", l=3))
    repo.merge("side", strategy="newest")
    assert repo.content() == {"b": {"l": 3, "m": 5, "n": 6}}


def test_newest_leaves_a_tie_open() -> None:
    repo = MemoryRepository()
    repo.commit(labels(k=0, l=0))
    repo.branch_at("side")
    now = repo.now()
    repo.now = lambda: now  # type: ignore[method-assign]
    repo.commit(update("a", k=1))
    repo.commit(update("a", k=2), "side")
    assert conflicts_of(repo, strategy="newest") == {("a", "k"): "modify/modify"}
    repo.commit(drop("a"))
    assert conflicts_of(repo, strategy="newest") == {("a", None): "delete/modify"}


def test_newest_without_commits_decides_nothing() -> None:
    repo = fork(labels(k=0), update("a", k=1), update("a", k=2))
    base, ours, theirs = (merge_input(repo, name) for name in ("main~1", "main", "side"))
    policies = Policies.of("newest")
    found = merge_columns(repo.nodes, repo.stores.tensors, base, ours, theirs, policies)
    assert [str(c) for c in found.conflicts] == ["a['k']: modify/modify"]
    del ours["a"]
    found = merge_columns(repo.nodes, repo.stores.tensors, base, ours, theirs, policies)
    assert [str(c) for c in found.conflicts] == ["a: delete/modify"]
    assert not found.choices["a"].ours
    assert set(found.choices["a"].theirs) == {"a"}


# Named functions


@pytest.mark.parametrize("shape", [(), (70,)])
def test_functions_over_arrays(shape: tuple[int, ...]) -> None:
    """A scalar in the leaf, and a row that is kept by digest."""

    def column(co: Any, value: int) -> None:
        name = "a" if "a" in co else None
        column = co["a"] if name else co.add_ndarray_column("a", shape, "uint8")
        column.update({at: np.full(shape, value, "u1") for at in range(4)})

    policies: list[tuple[Any, int]] = [("mean", 4), ("max", 5)]
    for policy, value in policies:
        repo = fork(lambda co: column(co, 1), lambda co: column(co, 2), lambda co: column(co, 5))
        repo.merge("side", strategy=policy)
        a = repo.checkout()["a"]
        assert {at: v.tolist() for at, v in a.items()} == {
            at: np.full(shape, value, "u1").tolist() for at in range(4)
        }
        assert repo.checkout()["a", 0].dtype == np.uint8


def test_a_majority_is_by_element_and_an_element_without_one_leaves_the_conflict_open() -> None:
    def rows(**samples: list[int]) -> Change:
        def change(co: Any) -> None:
            column = co["a"] if "a" in co else co.add_ndarray_column("a", (3,), "int64")
            column.update({key: np.array(value) for key, value in samples.items()})

        return change

    base = rows(k=[1, 1, 1], l=[1, 1, 1])
    ours = rows(k=[2, 2, 1], l=[2, 1, 1], new=[1, 1, 1])
    theirs = rows(k=[2, 1, 3], l=[3, 1, 1], new=[1, 1, 2])
    repo = fork(base, ours, theirs)
    assert conflicts_of(repo, strategy="majority") == {
        ("a", "l"): "modify/modify", ("a", "new"): "add/add"
    }  # fmt: skip
    repo = fork(rows(k=[1, 1, 1]), rows(k=[2, 2, 1]), rows(k=[2, 1, 3]))
    assert merged(repo, strategy="majority") == {"a": {"k": [2, 1, 1]}}


def test_functions_leave_a_deleted_sample_open_and_a_union_keeps_it() -> None:
    def masks(co: Any) -> None:
        co.add_ndarray_column("a", (2,), "bool").update(
            {key: np.array([False, False]) for key in "klm"}
        )

    def ours(co: Any) -> None:
        co["a"].update({"k": np.array([True, False]), "l": np.array([True, True])})
        del co["a"]["m"]

    def theirs(co: Any) -> None:
        co["a"].update({"k": np.array([False, True]), "m": np.array([False, True])})
        del co["a"]["l"]

    for policy in ("max", "majority"):
        found = conflicts_of(fork(masks, ours, theirs), strategy=policy)
        assert {key: kind for key, kind in found.items() if key != ("a", "k")} == {
            ("a", "l"): "modify/delete", ("a", "m"): "delete/modify"
        }  # fmt: skip
    assert merged(fork(masks, ours, theirs), strategy="union") == {
        "a": {"k": [True, True], "l": [True, True], "m": [False, True]}
    }


def test_the_union_of_texts_and_of_rows() -> None:
    def base(co: Any) -> None:
        co.add_str_column("text")["k"] = "one\ntwo\n"
        boxes = co.add_ndarray_column("boxes", (None, 4), "f4", variable_shape=True)
        boxes["k"] = np.zeros((1, 4), "f4")

    def side(line: str, corner: int) -> Change:
        def change(co: Any) -> None:
            co["text"]["k"] = f"one\ntwo\n{line}\n"
            co["boxes"]["k"] = np.array([[0] * 4, [corner] * 4], "f4")

        return change

    repo = fork(base, side("three", 1), side("four", 2))
    assert merged(repo, strategy="union") == {
        "text": {"k": "one\ntwo\nthree\nfour\n"},
        "boxes": {"k": [[0.0] * 4, [1.0] * 4, [2.0] * 4]},
    }


def varied(kind: str, **shapes: tuple[int, ...]) -> Change:
    """Arrays of variable shape, filled with the number of their shape's first axis."""

    def change(co: Any) -> None:
        if "a" not in co:
            co.add_ndarray_column("a", (3, None), kind, variable_shape=True)
        co["a"].update({k: np.full(s[:-1], s[-1], kind) for k, s in shapes.items()})

    return change


def test_functions_over_arrays_of_variable_shape() -> None:
    def repo(kind: str = "int64") -> MemoryRepository:
        return fork(
            varied(kind, k=(1, 2, 0), l=(1, 2, 0), m=(1, 1, 0)),
            varied(kind, k=(1, 2, 4), l=(2, 2, 4), m=(1, 2, 4)),
            varied(kind, k=(1, 2, 1), l=(1, 2, 1), m=(1, 2, 1)),
        )

    for policy in ("mean", "max"):
        assert conflicts_of(repo(), strategy=policy) == {("a", "l"): "modify/modify"}
    assert set(conflicts_of(repo(), strategy="majority")) == {("a", key) for key in "klm"}
    assert set(conflicts_of(repo("bool"), strategy="union")) == {("a", "l")}
    united = merged(repo(), strategy="union")["a"]
    assert united["l"] == [[4, 4], [4, 4], [1, 1]]
    settled = fork(
        varied("int64", k=(2, 2, 0)),
        lambda co: co["a"].update({"k": np.array([[1, 1], [0, 5]])}),
        lambda co: co["a"].update({"k": np.array([[1, 0], [7, 5]])}),
    )
    assert merged(settled, strategy="majority") == {"a": {"k": [[1, 0], [0, 5]]}}


def test_a_value_past_the_limit_of_its_column_is_refused() -> None:
    def repo() -> MemoryRepository:
        return fork(
            varied("int64", k=(1, 2, 0)), varied("int64", k=(2, 2, 4)), varied("int64", k=(2, 2, 1))
        )

    state = repo().state()
    one = repo()
    with pytest.raises(SchemaMismatchError, match="merge function union: wrong shape") as caught:
        one.merge("side", strategy="union")
    error = caught.value
    assert (error.column, error.key) == ("a", "k")
    assert (error.found, error.expected) == ("(4, 2)", "at most (3, None)")
    assert len(one.state()[1]) == len(state[1])
    assert one.stores.tensors.unsealed_nbytes == 0


@pytest.mark.parametrize(
    ("add", "policies"),
    [
        (lambda co: co.add_str_column("a"), {"mean", "max", "majority"}),
        (lambda co: co.add_bytes_column("a"), {"union", "mean", "max", "majority"}),
        (lambda co: co.add_ndarray_column("a", (), "bool"), {"mean"}),
        (lambda co: co.add_ndarray_column("a", (), "complex64"), {"max", "union"}),
        (lambda co: co.add_ndarray_column("a", (3,), "int8"), {"union"}),
        (lambda co: co.add_ndarray_column("a", (), "f2", variable_shape=True), {"union"}),
        (lambda co: co.add_ndarray_column("a", (3,), "f2", variable_shape=True), set()),
    ],
)
def test_a_function_without_a_meaning_for_a_column_is_refused(
    add: Change, policies: set[str]
) -> None:
    repo = fork(add, update("note", x=b"1"), update("note", x=b"2"))
    for policy in ("union", "mean", "max", "majority"):
        if policy in policies:
            with pytest.raises(InvalidInputError, match=f"column 'a': merge policy '{policy}' is"):
                repo.merge("side", strategy={"a": policy})
        else:
            assert conflicts_of(repo, strategy={"a": policy}) == {("note", "x"): "add/add"}
    # Said of all columns, it is refused where it would be needed.
    with pytest.raises(
        InvalidInputError, match=r"column 'note'.* not for values of bytes"
    ) as caught:
        repo.merge("side", strategy="mean")
    assert "{'note': 'newest', '*': 'mean'}" in (caught.value.hint or "")


def test_a_strategy_for_a_column_that_no_side_has_is_refused() -> None:
    repo = fork(labels(k=1), update("a", k=2), update("a", k=3))
    with pytest.raises(
        ColumnNotFoundError, match="'b', which neither side has; there are: a, note"
    ):
        repo.merge("side", strategy={"b": "ours"})
    repo.put_branch("side", repo.resolve("main"))
    with pytest.raises(ColumnNotFoundError):
        repo.merge("side", strategy={"b": "ours"})


def test_values_are_combined_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflict_values, "BLOCK_NBYTES", 3 * 70 * 4)

    def side(value: int) -> Change:
        def change(co: Any) -> None:
            if "a" not in co:
                co.add_ndarray_column("a", (70,), "uint8")
            co["a"].extend(np.full((11, 70), value, "u1"), keys=range(11))

        return change

    asked: list[int] = []

    def mean(_: Any, ours: Any, theirs: Any, key: int) -> Any:
        asked.append(key)
        return (ours // 2 + theirs // 2).astype("u1")

    for policy in ("mean", mean):
        repo = fork(side(0), side(2), side(6))
        sizes: list[int] = []
        read = repo.stores.tensors.read
        monkeypatch.setattr(
            repo.stores.tensors,
            "read",
            lambda s, d, r=read, n=sizes: (n.append(len(d)), r(s, d))[1],
        )
        repo.merge("side", strategy=policy)
        assert max(sizes) == 4
        assert {int(v[0]) for v in repo.checkout()["a"].values()} == {4}
    assert asked == list(range(11))


# Functions of the user


def test_a_function_is_asked_for_each_sample() -> None:
    calls: list[Any] = []

    def choose(base: Any, ours: Any, theirs: Any, key: Any) -> Any:
        plain = [None if side is None else int(side) for side in (base, ours, theirs)]
        calls.append((key, *plain))
        if key == "gone":
            return tv.DELETED
        return tv.UNDECIDED if key == "open" else 40 + len(calls)

    repo = fork(
        labels(gone=1, k=1, l=1, open=1, m=1),
        both(update("a", gone=2, k=2, open=2, m=2, new=2), lambda co: co["a"].pop("l")),
        both(update("a", gone=3, l=3, open=3, m=3, new=3), lambda co: co["a"].pop("k")),
    )
    assert conflicts_of(repo, strategy=choose) == {("a", "open"): "modify/modify"}
    assert calls == [
        ("gone", 1, 2, 3), ("k", 1, 2, None), ("l", 1, None, 3), ("m", 1, 2, 3),
        ("new", None, 2, 3), ("open", 1, 2, 3),
    ]  # fmt: skip
    calls.clear()
    result = repo.merge(
        "side", strategy=lambda b, o, t, k: 9 if k == "open" else choose(b, o, t, k)
    )
    assert repo.content()["a"] == {"k": 42, "l": 43, "m": 44, "new": 45, "open": 9}
    assert {conflict.decided_by for conflict in result.conflicts} == {"<lambda>"}


def test_a_function_may_decide_nothing() -> None:
    repo = fork(labels(k=1), update("a", k=2), update("a", k=3))
    assert conflicts_of(repo, strategy=lambda *_: tv.UNDECIDED) == {("a", "k"): "modify/modify"}


@pytest.mark.parametrize("kind", ["text", "bytes", "nested", "wide", "ints"])
def test_a_function_gets_and_gives_values_of_every_kind(kind: str) -> None:
    def value(number: int) -> Any:
        return {
            "text": str(number), "bytes": bytes([number]), "nested": {"s": number, 7: number},
            "wide": np.full(70, number, "u1"), "ints": number,
        }[kind]  # fmt: skip

    def add(co: Any) -> None:
        if kind in ("text", "bytes"):
            getattr(co, f"add_{'str' if kind == 'text' else 'bytes'}_column")("a")
        else:
            shape, dtype = ((70,), "u1") if kind == "wide" else ((), "i8")
            co.add_ndarray_column("a", shape, dtype, nested=kind == "nested")
        co["a"].update({1: value(1), "k": value(1)})

    def put(number: int) -> Change:
        return lambda co: co["a"].update({1: value(number), "k": value(number)})

    keys: list[Any] = []

    def theirs(base: Any, ours: Any, theirs: Any, key: Any) -> Any:
        keys.append(key)
        assert type(base) is type(ours) is type(theirs)
        return theirs

    repo = fork(add, put(2), put(3))
    expected = repo.content("side")["a"]
    assert merged(repo, strategy={"a": theirs}) == {"a": expected}
    pairs = [(1, 7), (1, "s"), ("k", 7), ("k", "s")]
    assert keys == (pairs if kind == "nested" else [1, "k"])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "nothing was returned .found None, expected a value, tensorvcs.DELETED"),
        (0.5, "the conversion would change values"),
        (np.zeros(3, "i8"), "wrong number of dimensions"),
        (np.float64(1), "wrong dtype .found float64, expected int64"),
        ("text", "cannot be converted"),
    ],
)
def test_what_a_function_returns_must_fit_the_column(value: Any, problem: str) -> None:
    def choose(*_: Any) -> Any:
        return value

    repo = fork(labels(**ABC), rename("a", "b", k=7), update("a", k=8))
    state = repo.state()
    with pytest.raises(SchemaMismatchError, match=f"merge function choose: {problem}") as caught:
        repo.merge("side", strategy=choose)
    assert (caught.value.column, caught.value.key) == ("b", "k")
    assert repo.state() == state


def test_an_error_in_a_function_comes_through_and_says_where() -> None:
    def choose(*_: Any) -> Any:
        raise ZeroDivisionError("mine")

    repo = fork(labels(k=1), update("a", k=2), update("a", k=3))
    state = repo.state()
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        repo.merge("side", strategy=choose)
    assert caught.value.__notes__ == ["in the merge function choose, column 'a', 'k'"]
    assert repo.state() == state


def test_a_function_may_write_to_the_repository_and_the_merge_is_made_anew() -> None:
    repo = fork(labels(k=1), update("a", k=2), update("a", k=3))
    asked: list[int] = []

    def slow(_: Any, ours: Any, theirs: Any, key: Any) -> Any:
        asked.append(int(ours))
        if len(asked) == 1:
            repo.commit(update("a", k=5))
        return ours + theirs

    result = merge_commits(
        repo.stores, repo.nodes, "main", repo.load("side"), strategy={"a": slow},
        author=ADA, now=repo.now(), message="m",
    )  # fmt: skip
    assert asked == [2, 5]
    assert repo.content()["a"] == {"k": 8}
    assert result.commit.parents[0] == repo.resolve("main~1").hex()


def test_bases_of_another_shape_have_no_vote() -> None:
    """Both sides made the column anew, with larger pictures."""

    def pictures(size: int, value: int) -> Change:
        def change(co: Any) -> None:
            if "a" in co:
                del co["a"]
            co.add_ndarray_column("a", (size, size), "u1")["k"] = np.full((size, size), value, "u1")

        return change

    seen: list[Any] = []

    def choose(*sides: Any) -> Any:
        seen.append([side.shape for side in sides[:3]])
        return sides[1]

    repo = fork(pictures(9, 1), pictures(12, 2), pictures(12, 3))
    assert conflicts_of(repo, strategy="majority") == {("a", "k"): "modify/modify"}
    repo.merge("side", strategy=choose)
    assert seen == [[(9, 9), (12, 12), (12, 12)]]


def test_a_value_that_is_absent_is_an_error_and_nothing_changes() -> None:
    def picture(value: int) -> Change:
        return lambda co: co["a"].update({"k": np.full(70, value, "u1")})

    repo = fork(
        both(lambda co: co.add_ndarray_column("a", (70,), "u1"), picture(1)), picture(2), picture(3)
    )
    values: Any = repo.stores.tensors
    values.values = {d: v for d, v in values.values.items() if not np.array_equal(v, [3] * 70)}
    state = repo.state()
    with pytest.raises(ObjectNotFoundError):
        repo.merge("side", strategy="mean")
    assert repo.state() == state
    # A side is taken without its value.
    assert len(repo.merge("side", strategy="ours").conflicts) == 1


def test_columns_without_a_tree_merge() -> None:
    repo = MemoryRepository()
    empty = ColumnState(Schema("str"), Tree.empty(32))
    found = merge_columns(repo.nodes, repo.stores.tensors, {}, {"a": empty}, {"b": empty})
    assert found.columns == {"a": empty, "b": empty}
    assert not found.conflicts
    assert not found.decided
