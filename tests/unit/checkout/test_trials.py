"""A test run on versions: what it may return, and how often it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.checkout.areas import columns_of
from tensorvcs.checkout.trials import Trials
from tensorvcs.errors import ColumnNotFoundError, InvalidInputError
from tensorvcs.history.bisecting.bisect import SKIP, OutOfTestsError
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.history.commit import Commit


@pytest.fixture
def repo() -> MemoryRepository:
    return MemoryRepository()


def label(repo: MemoryRepository, value: int) -> Commit:
    def change(co: EditableCheckout) -> None:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
        co["labels", "a"] = value

    return repo.commit(change, message=f"label {value}")


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (True, True),
        (np.bool_(False), False),
        (1, 1.0),
        (np.float32(0.5), 0.5),
        (np.array(3), 3.0),
        (np.array(True), True),
        (SKIP, None),
    ],
)
def test_what_a_test_may_return(repo: MemoryRepository, said: Any, outcome: Any) -> None:
    found, is_repeated = Trials(repo.stores, repo.nodes, lambda co: said).run(label(repo, 1))
    assert (found, type(found), is_repeated) == (outcome, type(outcome), False)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (None, "returned NoneType 'None'; expected a bool, a number or tensorvcs.SKIP"),
        ("good", "returned str 'good'"),
        (np.ones(2), "returned ndarray"),
        (1j, "returned complex"),
        (float("nan"), "is nan, no number"),
        (-float("inf"), "is -inf, no number"),
    ],
)
def test_what_it_may_not(repo: MemoryRepository, said: Any, problem: str) -> None:
    commit = label(repo, 1)
    with pytest.raises(InvalidInputError, match=problem) as caught:
        Trials(repo.stores, repo.nodes, lambda co: said).run(commit)
    assert commit.short_id in str(caught.value)
    assert caught.value.hint is not None


def test_a_test_sticks_to_scores_or_to_good_and_bad(repo: MemoryRepository) -> None:
    trials = Trials(repo.stores, repo.nodes, lambda co: True if co["labels", "a"] == 1 else 0.5)
    assert trials.run(label(repo, 1)) == (True, False)
    with pytest.raises(InvalidInputError, match=r"returned 0\.5; it returned a bool for the comm"):
        trials.run(label(repo, 2))


def test_equal_content_is_tested_once(repo: MemoryRepository) -> None:
    commits = [label(repo, value) for value in (1, 2, 1, 2, 3)]
    seen: list[str] = []

    def test(co: Checkout) -> float:
        seen.append(co.base.summary)
        return float(co["labels", "a"])

    trials = Trials(repo.stores, repo.nodes, test)
    assert [trials.run(commit) for commit in commits] == [
        (1.0, False), (2.0, False), (1.0, True), (2.0, True), (3.0, False),
    ]  # fmt: skip
    assert seen == ["label 1", "label 2", "label 3"]
    assert trials.test_count == 3


def test_no_more_tests_than_allowed(repo: MemoryRepository) -> None:
    trials = Trials(repo.stores, repo.nodes, lambda co: True, max_tests=1)
    first, second = label(repo, 1), label(repo, 2)
    assert not trials.is_spent
    trials.run(first)
    assert trials.is_spent
    assert trials.run(first) == (True, True)
    with pytest.raises(OutOfTestsError):
        trials.run(second)


def test_an_error_of_the_test_names_the_commit(repo: MemoryRepository) -> None:
    commit = label(repo, 1)
    with pytest.raises(ZeroDivisionError) as caught:
        Trials(repo.stores, repo.nodes, lambda co: 1 / 0).run(commit)
    assert caught.value.__notes__ == [f"while commit {commit.short_id} 'label 1' was tested"]


def test_a_commit_that_misses_a_column_is_an_error_and_a_part_is_skipped(
    repo: MemoryRepository,
) -> None:
    commit = label(repo, 1)
    trials = Trials(repo.stores, repo.nodes, lambda co: co["nothing"])
    with pytest.raises(ColumnNotFoundError):
        trials.run(commit)
    part = trials.store_part(columns_of(repo.stores, commit.digest), label(repo, 2))
    assert trials.run_part(part) == (None, False)
    assert trials.run_part(part) == (None, True)
    assert trials.untestable_count == 1


def test_a_part_is_a_commit_that_no_ref_names(repo: MemoryRepository) -> None:
    first, second = label(repo, 1), label(repo, 2)
    state = repo.state()
    trials = Trials(repo.stores, repo.nodes, lambda co: co["labels", "a"] == 1)
    part = trials.store_part(columns_of(repo.stores, first.digest), second)
    assert trials.run_part(part) == (True, False)
    assert part.parents == second.parents
    assert part.snapshot == first.snapshot
    assert part.message == f"A part of {second.short_id}: label 2"
    assert repo.load(part.id) == part
    assert repo.state() == state
