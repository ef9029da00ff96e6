from __future__ import annotations

from typing import Any

import numpy as np

from tensorvcs.history.merging.recency import CommitRecency, TheirsIsNewer
from tensorvcs.objects.keys import EMPTY_INTS, Keys, text_array
from tests.memory_repository import MemoryRepository

START: dict[Any, int] = {3: 0, "a": 0, "b": 0, "c": 0}
KEYS = Keys(np.array([3], np.int64), text_array([b"a", b"b"]))


def recency(repo: MemoryRepository) -> CommitRecency:
    return CommitRecency(
        repo.stores.objects, repo.nodes, repo.resolve("main"), repo.resolve("side")
    )


def begun() -> MemoryRepository:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_ndarray_column("x", (), "int64").update(START))
    repo.branch_at("side")
    return repo


def test_the_side_whose_change_is_later_is_newer() -> None:
    repo = begun()
    repo.commit(lambda co: co["x"].update({3: 1, "a": 1}))
    repo.commit(lambda co: co["x"].update({"a": 2, "b": 2}), "side")
    assert recency(repo).of_samples("x", "x", KEYS).tolist() == [-1, 1, 1]
    assert recency(repo).of_columns(["x"], ["x"]) == 1
    repo.commit(lambda co: co["x"].pop("b"))
    assert recency(repo).of_samples("x", "x", KEYS).tolist() == [-1, 1, -1]
    assert recency(repo).of_columns(["x"], ["x"]) == -1
    empty = Keys(EMPTY_INTS, text_array([])[:0])
    assert recency(repo).of_samples("x", "x", empty).tolist() == []


def test_what_neither_side_changed_is_a_tie() -> None:
    repo = begun()
    repo.commit(lambda co: co["x"].update({"c": 1}))
    assert recency(repo).of_samples("x", "x", KEYS).tolist() == [0, 0, 0]


def test_a_column_became_what_it_is_where_no_parent_has_it_so() -> None:
    repo = begun()

    def drop(co: Any) -> None:
        del co["x"]

    repo.commit(drop)
    repo.commit(lambda co: co.add_str_column("y"), "side")
    repo.commit(lambda co: co.add_str_column("z"))
    # The column went on main, after the commit that all have; side left it as it was.
    assert recency(repo).of_columns(["x"], ["x"]) == -1
    assert recency(repo).of_columns(["x"], ["x", "y"]) == 1
    # The walk follows the parent of a merge that has the column as it is.
    repo.merge("side", strategy="ours")
    assert recency(repo).of_columns(["x"], ["x"]) == -1
    assert recency(repo).of_columns(["y"], ["y"]) == 0
    assert recency(repo).of_columns(["z"], ["y"]) == -1


def test_what_is_being_made_now_is_newer() -> None:
    assert TheirsIsNewer().of_samples("x", "x", KEYS).tolist() == [1, 1, 1]
    assert TheirsIsNewer().of_columns(["x"], ["x"]) == 1
