"""`Repository.edit_detached` and `Repository.place_branches`: history that was made elsewhere."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    BranchExistsError,
    InvalidInputError,
    RevisionNotFoundError,
    StagingLockedError,
    UncommittedChangesError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIME = dt.datetime(2019, 8, 7, 6, 5, 4, tzinfo=dt.timezone(dt.timedelta(hours=2)))


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path / "r", user_name="Ada", user_email="ada@example.org") as made:
        yield made


def write(repo: tv.Repository, *parents: tv.Commit, word: str = "x") -> tv.Commit:
    with repo.edit_detached(parents, time=TIME) as co:
        if "words" not in co:
            co.add_str_column("words")
        co["words"][len(co["words"])] = word
        return co.commit("made elsewhere", "Bea <bea@example.org>")


def test_a_history_and_its_branches(repo: tv.Repository) -> None:
    first = write(repo)
    left, right = write(repo, first, word="left"), write(repo, first, word="right")
    with repo.edit_detached([left, right], time=TIME, base=right) as co:
        merge = co.commit("merge")
    assert (repo.branches, repo.operations()) == ({}, [])
    repo.place_branches({"old": merge, "side": left}, description="from afar", head="old")
    assert dict(repo.branches) == {"old": merge, "side": left}
    assert repo.head == "old"
    assert merge.time == TIME
    assert merge.parents == (left.id, right.id)
    assert dict(repo.checkout().columns["words"].items()) == {0: "x", 1: "right"}
    (operation,) = repo.operations()
    assert (operation.command, operation.description) == ("branch", "from afar")
    repo.undo()
    assert (repo.branches, repo.head) == ({}, "main")
    assert write(repo) == first


def test_forward_and_never_back(repo: tv.Repository) -> None:
    first = write(repo)
    second = write(repo, first)
    repo.place_branches({"main": first}, description="one")
    repo.place_branches({"main": second, "more": first}, description="two", head="more")
    # The current branch has commits: it stays.
    assert repo.head == "main"
    before = repo.operations()
    repo.place_branches({"main": "main"}, description="nothing")
    assert repo.operations() == before
    with pytest.raises(BranchExistsError, match="'main' has commits that would be lost"):
        repo.place_branches({"new": first, "main": first}, description="back")
    assert set(repo.branches) == {"main", "more"}


def test_staged_changes_stay(repo: tv.Repository) -> None:
    first = write(repo)
    with repo.edit() as staging:
        staging.add_str_column("mine")
    for targets, head in [({"main": first}, None), ({"other": first}, "other")]:
        with pytest.raises(UncommittedChangesError, match="cannot move branch 'main'"):
            repo.place_branches(targets, description="x", head=head)
    repo.place_branches({"other": first}, description="x")
    assert (repo.head, repo.is_dirty) == ("main", True)


def test_while_somebody_edits(repo: tv.Repository) -> None:
    first = write(repo)
    with repo.edit():
        with pytest.raises(StagingLockedError):
            repo.place_branches({"main": first}, description="x")
        repo.place_branches({"other": first}, description="x")
    assert set(repo.branches) == {"other"}


def test_a_bare_repository(tmp_path: Path) -> None:
    with tv.init(tmp_path / "bare", bare=True) as bare:
        commit = write(bare)
        bare.place_branches({"old": commit}, description="x", head="old")
        assert (bare.head, dict(bare.branches)) == ("old", {"old": commit})


def test_refused(repo: tv.Repository) -> None:
    with pytest.raises(RevisionNotFoundError):
        repo.edit_detached(["nowhere"], time=TIME)
    with pytest.raises(RevisionNotFoundError):
        repo.place_branches({"a": "nowhere"}, description="x")
    with pytest.raises(InvalidInputError, match="has no time zone"):
        repo.edit_detached(time=TIME.replace(tzinfo=None))
