"""Merge policies kept with a column: set, committed, and honoured by every writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.checkout.transaction import Transaction
from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidColumnError,
    MergeConflictError,
    NothingToCommitError,
    ObjectNotFoundError,
    SchemaMismatchError,
)
from tests.memory_repository import MemoryRepository, contents_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def transaction(repo: Any) -> Any:
    if isinstance(repo, MemoryRepository):
        return Transaction(repo.edit(), "m", None, None)
    return repo.transaction("main")


def content(repo: Any, revision: str = "main") -> Any:
    return contents_of(repo.checkout(revision).columns)


def race(repo: Any, first: Callable[[Any], Any], second: Callable[[Any], Any]) -> None:
    """Let one writer commit while another has begun; the other is merged onto it."""
    later = transaction(repo)
    with later as co:
        second(co)
        with transaction(repo) as other:
            first(other)


def put(column: str, key: Any, value: Any) -> Callable[[Any], None]:
    def change(co: Any) -> None:
        co[column][key] = value

    return change


@pytest.fixture
def scored(repo: Any) -> Any:
    with repo.edit() as co:
        co.add_ndarray_column("scores", (), "float64", merge="mean").update({"a": 1, "b": 1})
        co.add_ndarray_column("labels", (), "int64")["a"] = 0
        co.add_ndarray_column("wide", (100,), "u1", merge="max")["a"] = np.zeros(100, "u1")
        co.add_str_column("notes", merge="union")["a"] = "one\n"
        co.add_bytes_column("files", merge="theirs")["a"] = b"0"
        co.commit("first")
    return repo


def test_a_policy_is_part_of_the_column(scored: Any) -> None:
    checkout = scored.checkout()
    assert {name: checkout[name].schema.merge for name in checkout} == {
        "files": "theirs", "labels": "", "notes": "union", "scores": "mean", "wide": "max"
    }  # fmt: skip
    with scored.edit() as co:
        co["labels"]["b"] = 5
        co.set_merge_policy("labels", "newest")
        assert co["labels"].schema.merge == "newest"
        assert int(co["labels"]["b"]) == 5
        co.set_merge_policy("scores", "fail")
        co.set_merge_policy("wide", "")
        difference = co.diff()
        assert {name: len(column.added) for name, column in difference.columns.items()} == {
            "labels": 1, "scores": 0, "wide": 0
        }  # fmt: skip
        co.commit("policies")
    checkout = scored.checkout()
    assert [checkout[name].schema.merge for name in ("labels", "scores", "wide")] == [
        "newest", "", ""
    ]  # fmt: skip
    assert int(checkout["labels", "b"]) == 5


def test_the_same_policy_is_no_change(scored: Any) -> None:
    with scored.edit() as co:
        co.set_merge_policy("scores", "mean")
        assert not co.is_dirty
        with pytest.raises(NothingToCommitError):
            co.commit("nothing")


def test_a_policy_that_cannot_be_is_refused(scored: Any) -> None:
    with scored.edit() as co:
        with pytest.raises(ColumnNotFoundError):
            co.set_merge_policy("nope", "ours")
        with pytest.raises(InvalidColumnError, match="merge policy 'median' is not one of ours"):
            co.set_merge_policy("scores", "median")
        with pytest.raises(InvalidColumnError, match="'mean' is for arrays of numbers, not"):
            co.set_merge_policy("notes", "mean")
        with pytest.raises(InvalidColumnError, match="'union' is for bool arrays"):
            co.add_ndarray_column("new", (), "int8", merge="union")
        assert "new" not in co
        assert not co.is_dirty


def test_a_policy_changes_no_digest_of_content(scored: Any) -> None:
    with scored.edit() as co:
        before = co._staged.columns["scores"].tree
        co.set_merge_policy("scores", "max")
        assert co._staged.columns["scores"].tree == before


def test_a_writer_that_comes_second_is_merged_by_policy(scored: Any) -> None:
    race(scored, put("scores", "a", 2.0), put("scores", "a", 5.0))
    race(scored, put("wide", "a", np.full(100, 7, "u1")), put("wide", "a", np.full(100, 3, "u1")))
    race(scored, put("notes", "a", "one\ntwo\n"), put("notes", "a", "one\nthree\n"))
    race(scored, put("files", "a", b"1"), put("files", "a", b"2"))
    found = content(scored)
    assert found["scores"]["a"] == 3.5
    assert found["wide"]["a"] == [7] * 100
    assert found["notes"]["a"] == "one\ntwo\nthree\n"
    assert found["files"]["a"] == b"2"
    if not isinstance(scored, MemoryRepository):
        said = scored.operations()[0].description
        assert said.endswith("; 1 conflict decided by policies")
        assert scored.verify().is_sound


def test_the_newest_is_what_is_being_committed(scored: Any) -> None:
    with scored.edit() as co:
        co.set_merge_policy("labels", "newest")
        co.commit("newest")
    race(scored, put("labels", "a", 1), put("labels", "a", 2))
    assert content(scored)["labels"]["a"] == 2


def test_what_no_policy_decides_is_a_conflict_still(scored: Any) -> None:
    def both(value: int) -> Callable[[Any], None]:
        def change(co: Any) -> None:
            co["labels"]["a"] = value
            co["wide"]["a"] = np.full(100, value, "u1")

        return change

    with pytest.raises(MergeConflictError) as caught:
        race(scored, both(1), both(2))
    (conflict,) = caught.value.conflicts
    assert (conflict.column, conflict.ours, conflict.theirs) == ("labels", 1, 2)
    assert content(scored)["labels"]["a"] == 1


def test_a_column_that_was_renamed_meanwhile_is_followed(scored: Any) -> None:
    with scored.edit() as co:
        co["labels"].update({"b": 1, "c": 2})
        co.commit("more")
    race(scored, lambda co: co.rename_column("labels", "classes"), put("labels", "a", 9))
    assert content(scored)["classes"] == {"a": 9, "b": 1, "c": 2}
    assert "labels" not in scored.checkout()


def boxes(count: int, value: int) -> Any:
    return np.full((count, 4), value, "f4")


def test_staging_survives_a_policy_that_has_no_value(repo: Any) -> None:
    """The union of the rows is past the limit of the column."""
    with repo.edit() as co:
        column = co.add_ndarray_column("b", (3, 4), "f4", variable_shape=True, merge="union")
        column["a"] = boxes(1, 0)
        co.commit("first")
    with repo.edit() as co:
        co["b"]["a"] = boxes(2, 1)
        co["b"]["other"] = boxes(1, 5)
        with transaction(repo) as other:
            other["b"]["a"] = boxes(2, 2)
        with pytest.raises(SchemaMismatchError, match="merge function union: wrong shape"):
            co.commit("second")
        assert co["b"]["a"].tolist() == boxes(2, 1).tolist()
        assert "other" in co["b"]
    assert content(repo)["b"]["a"] == boxes(2, 2).tolist()


def test_staging_survives_a_value_that_is_absent() -> None:
    repo = MemoryRepository()
    with repo.edit() as co:
        co.add_ndarray_column("b", (100,), "u1", merge="mean")["a"] = np.zeros(100, "u1")
        co.commit("first")
    with repo.edit() as co:
        co["b"]["a"] = np.full(100, 2, "u1")
        repo.commit(put("b", "a", np.full(100, 4, "u1")))
        values: Any = repo.stores.tensors
        values.values = {d: v for d, v in values.values.items() if v[0] != 4}
        with pytest.raises(ObjectNotFoundError):
            co.commit("second")
        assert co["b"]["a"][0] == 2


def test_a_large_value_that_a_policy_made_is_durable(tmp_path: Path) -> None:
    shape = (600, 1000)
    with tv.init(tmp_path, "Ada", "ada@example.org") as repo:
        with repo.edit() as co:
            co.add_ndarray_column("wide", shape, "f4", merge="mean").update(
                {at: np.zeros(shape, "f4") for at in range(3)}
            )
            co.commit("first")
        repo.create_branch("side")
        for branch, value in [("main", 1), ("side", 4)]:
            with repo.transaction(branch) as tx:
                tx["wide"].update({at: np.full(shape, value + at, "f4") for at in range(3)})
        preview = repo.preview_merge("side")
        assert [conflict.decided_by for conflict in preview.decided] == ["mean"] * 3
        repo.merge("side")
    with tv.open(tmp_path) as repo:
        assert [float(v[5, 5]) for v in repo.checkout()["wide"].values()] == [2.5, 3.5, 4.5]
        assert repo.verify().is_sound
