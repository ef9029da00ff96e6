"""Several branches at once."""

from __future__ import annotations

import pytest

from tensorvcs.errors import BranchExistsError, RefNameError
from tensorvcs.history.placing import plan_branches
from tensorvcs.history.refs import BRANCHES, encode_commit_ref
from tensorvcs.storage.interfaces import RefChange
from tests.memory_repository import MemoryRepository


def test_new_ones_are_made_and_others_move_forward() -> None:
    repo = MemoryRepository()
    first = repo.bare_commit(message="first")
    second = repo.bare_commit([first], message="second")
    repo.put_branch("behind", first)
    repo.put_branch("there", second)
    before, after = encode_commit_ref(first), encode_commit_ref(second)
    assert plan_branches(repo.stores, dict.fromkeys(("behind", "new", "there"), second)) == [
        RefChange(BRANCHES + "behind", before, after),
        RefChange(BRANCHES + "new", None, after),
    ]


def test_a_branch_that_would_lose_commits() -> None:
    repo = MemoryRepository()
    first = repo.bare_commit(message="first")
    second = repo.bare_commit([first], message="second")
    other = repo.bare_commit([first], message="other")
    repo.put_branch("mine", second)
    for target in (first, other):
        with pytest.raises(BranchExistsError, match="'mine' has commits that would be lost") as e:
            plan_branches(repo.stores, {"new": target, "mine": target})
        assert e.value.hint == "give it another name first: tvcs branch --move mine mine-2"


def test_an_illegal_name() -> None:
    repo = MemoryRepository()
    with pytest.raises(RefNameError, match="branch name 'a b' is not legal"):
        plan_branches(repo.stores, {"a b": repo.bare_commit()})
