"""Several writers on one branch: disjoint changes meet, true conflicts are errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorvcs.checkout.transaction import Transaction
from tensorvcs.errors import (
    BranchNotFoundError,
    ClosedError,
    MergeConflictError,
    NothingToCommitError,
)
from tests.memory_repository import MemoryRepository, contents_of


def transaction(repo: Any, branch: str = "main", message: str = "tx") -> Transaction:
    if isinstance(repo, MemoryRepository):
        return Transaction(repo.edit(branch), message, None, None)
    made: Transaction = repo.transaction(branch, message)
    return made


@pytest.fixture
def started(repo: Any) -> Any:
    with repo.edit() as co:
        co.add_ndarray_column("labels", (), "int64").update({"a": 1, "b": 1, "c": 1})
        co.add_ndarray_column("wide", (100,), "u1")["a"] = np.zeros(100, "u1")
        co.commit("first")
    return repo


def labels(repo: Any) -> dict[Any, Any]:
    return contents_of(repo.checkout("main").columns)["labels"]


def test_leaving_commits(started: Any) -> None:
    tx = transaction(started, message="new")
    assert tx.commit is None
    with tx as co:
        co["labels"]["d"] = 2
        assert "d" not in labels(started)
    assert tx.commit is not None
    assert tx.commit.message == "new"
    assert started.checkout().base == tx.commit
    assert labels(started)["d"] == 2


def test_leaving_by_an_exception_changes_nothing(started: Any) -> None:
    before = started.checkout().base
    tx = transaction(started)
    with pytest.raises(ZeroDivisionError), tx as co:
        co["labels"]["d"] = 2
        co.flush()
        raise ZeroDivisionError
    assert tx.commit is None
    assert started.checkout().base == before
    with pytest.raises(ClosedError), tx:
        pass
    with pytest.raises(ClosedError):
        co["labels"]["d"] = 2


def test_leaving_without_changes_makes_no_commit(started: Any) -> None:
    before = started.checkout().base
    tx = transaction(started)
    with tx as co:
        co["labels"]["a"] = 1
    assert tx.commit is None
    assert started.checkout().base == before


def test_disjoint_changes_are_both_there(started: Any) -> None:
    one, two = transaction(started, message="one"), transaction(started, message="two")
    with one as a, two as b:
        a["labels"].update({"a": 10, "new/one": 1})
        del b["labels"]["b"]
        b["labels"]["new/two"] = 2
        b["wide"]["a"] = np.ones(100, "u1")
        a.add_str_column("one")["x"] = "x"
        b.add_str_column("two")["x"] = "x"
        b.flush()
    assert one.commit is not None
    assert two.commit is not None
    assert labels(started) == {"a": 10, "c": 1, "new/one": 1, "new/two": 2}
    assert {"one", "two"} < set(started.checkout())
    # One parent: the later one was made anew over the earlier one.
    assert one.commit.parents == (two.commit.id,) or two.commit.parents == (one.commit.id,)
    assert int(started.checkout()["wide"]["a"].sum()) == 100


def test_the_same_change_twice_is_no_conflict(started: Any) -> None:
    with transaction(started) as a, transaction(started) as b:
        a["labels"]["a"] = 5
        b["labels"]["a"] = 5
        b["labels"]["d"] = 1
    assert labels(started) == {"a": 5, "b": 1, "c": 1, "d": 1}


def test_overlapping_changes_are_a_conflict_and_nothing_is_lost(started: Any) -> None:
    loser = transaction(started)
    with pytest.raises(MergeConflictError) as caught, loser as co:
        with transaction(started, message="winner") as other:
            other["labels"].update({"a": 2, "b": 2})
        co["labels"].update({"a": 3, "c": 3})
    (conflict,) = caught.value.conflicts
    assert (conflict.column, conflict.key, conflict.kind) == ("labels", "a", "modify/modify")
    assert loser.commit is None
    assert labels(started) == {"a": 2, "b": 2, "c": 1}
    assert started.checkout().base.message == "winner"


def test_delete_and_modify_are_a_conflict(started: Any) -> None:
    with pytest.raises(MergeConflictError), transaction(started) as co:
        with transaction(started) as other:
            del other["labels"]["a"]
        co["labels"]["a"] = 3
    assert labels(started) == {"b": 1, "c": 1}


def test_an_editor_keeps_its_changes_after_a_conflict(started: Any) -> None:
    with started.edit() as co:
        co["labels"].update({"a": 3, "c": 3})
        with transaction(started) as other:
            other["labels"]["a"] = 2
        for _ in range(2):
            with pytest.raises(MergeConflictError):
                co.commit("mine")
            assert contents_of(co.columns)["labels"] == {"a": 3, "b": 1, "c": 3}
        co["labels"]["a"] = 1  # as it was where this editor started
        commit = co.commit("mine")
        assert contents_of(co.columns)["labels"] == {"a": 2, "b": 1, "c": 3}
        assert co.base == commit
        co["labels"]["d"] = 4
        co.commit("and on")
    assert labels(started) == {"a": 2, "b": 1, "c": 3, "d": 4}


def test_an_editor_that_others_overtook_is_merged(started: Any) -> None:
    with started.edit() as co:
        co["labels"]["c"] = 3
        co.flush()
        for n in range(3):
            with transaction(started) as other:
                other["labels"][n] = n
        co["labels"]["d"] = 4
        commit = co.commit("mine")
        assert contents_of(co.columns)["labels"][2] == 2
    assert labels(started) == {"a": 1, "b": 1, "c": 3, "d": 4, 0: 0, 1: 1, 2: 2}
    assert len(commit.parents) == 1


def test_what_others_did_already_is_nothing_to_commit(started: Any) -> None:
    with started.edit() as co:
        co["labels"]["c"] = 3
        with transaction(started) as other:
            other["labels"]["c"] = 3
        with pytest.raises(NothingToCommitError):
            co.commit("mine")


def test_the_first_commits_of_two_writers_meet(repo: Any) -> None:
    with transaction(repo) as a, transaction(repo) as b:
        a.add_ndarray_column("labels", (), "int64")["a"] = 1
        b.add_ndarray_column("labels", (), "int64")["b"] = 2
        b.add_str_column("texts")
    assert contents_of(repo.checkout("main").columns) == {"labels": {"a": 1, "b": 2}, "texts": {}}


def test_a_branch_that_went_away_is_not_made_anew_from_half_a_change(started: Any) -> None:
    if isinstance(started, MemoryRepository):
        started.branch_at("side")
    else:
        started.create_branch("side")
    went_away = pytest.raises(BranchNotFoundError, match="'side' was deleted or renamed")
    with went_away, transaction(started, "side") as co:
        co.add_str_column("texts")["x"] = "x"
        if isinstance(started, MemoryRepository):
            started.put_branch("side", None)
        else:
            started.rename_branch("side", "other")
        with pytest.raises(BranchNotFoundError):
            co.commit("still there")
        assert co["texts"]["x"] == "x"
