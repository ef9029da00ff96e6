"""`amend_commit` by way of an editor on memory stores, as a transaction and as the staging area."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tensorvcs.checkout.areas import WorkingArea
from tensorvcs.errors import (
    IdentityMissingError,
    InvalidInputError,
    MergeInProgressError,
    NothingToCommitError,
    RefChangedError,
)
from tensorvcs.history.operations import list_operations
from tensorvcs.history.refs import BRANCHES, MERGE, STAGING
from tensorvcs.objects.commit import Identity
from tensorvcs.storage.interfaces import RefChange
from tests.memory_repository import ADA, MemoryRepository

if TYPE_CHECKING:
    from tensorvcs.history.commit import Commit

BOB = Identity("Bob", "bob@example.org")


@pytest.fixture(params=["transaction", "staging"])
def repo(request: Any) -> MemoryRepository:
    """Two commits on main, the second by Bob with a pair; `edit` opens an editor."""
    made = MemoryRepository()
    made.commit(lambda co: co.add_ndarray_column("labels", (), "int64").update({"a": 1}))
    with made.edit() as co:
        co["labels"]["b"] = 2
        co.commit("second", BOB, metadata={"source": "x", "kept": "1"})
    made.open = MemoryRepository.work if request.param == "staging" else MemoryRepository.edit  # type: ignore[attr-defined]
    return made


def amend(repo: Any, message: str | None = None, **arguments: Any) -> Commit:
    change = arguments.pop("change", lambda co: None)
    with repo.open(repo) as co:
        change(co)
        commit: Commit = co.commit(message, amend=True, **arguments)
    return commit


def test_staged_changes_join_the_last_commit(repo: MemoryRepository) -> None:
    first, second = repo.load("main~1"), repo.load("main")
    commit = amend(repo, change=lambda co: co["labels"].update({"b": 3, "c": 4}))
    assert repo.load("main") == commit
    assert commit.parents == (first.id,)
    assert repo.content() == {"labels": {"a": 1, "b": 3, "c": 4}}
    assert (commit.message, commit.author, commit.time) == (second.message, BOB, second.time)
    assert commit.metadata == {"source": "x", "kept": "1"}
    assert commit.committer == ADA
    assert commit.object.commit_time.microseconds > second.object.commit_time.microseconds
    assert commit.object.generation == second.object.generation
    assert repo.stores.refs.get(STAGING) is None
    newest = list_operations(repo.stores.refs, 1)[0]
    assert newest.command == "commit"
    assert newest.description == f"{commit.short_id} to main in place of {second.short_id}: second"


def test_with_nothing_staged_only_what_is_said_changes(repo: MemoryRepository) -> None:
    second = repo.load("main")
    commit = amend(repo, "better")
    assert (commit.message, commit.snapshot, commit.author) == ("better", second.snapshot, BOB)
    commit = amend(repo, metadata={"source": "y", "new": "2"})
    assert commit.metadata == {"source": "y", "kept": "1", "new": "2"}
    commit = amend(repo, author="Eve <e>")
    assert (commit.author, commit.time, commit.message) == (
        Identity("Eve", "e"),
        second.time,
        "better",
    )
    assert len(repo.load("main").parents) == 1


def test_the_first_commit_can_be_amended(repo: MemoryRepository) -> None:
    repo.put_branch("main", repo.resolve("main~1"))
    commit = amend(repo, "first", change=lambda co: co["labels"].pop("a"))
    assert (commit.parents, commit.message) == ((), "first")
    assert repo.content() == {"labels": {}}


def test_a_merge_stays_one(repo: MemoryRepository) -> None:
    repo.branch_at("side", "main~1")
    repo.commit(lambda co: co["labels"].update({"side": 5}), "side")
    merge = repo.merge("side").commit
    commit = amend(repo, change=lambda co: co["labels"].update({"a": 9}))
    assert commit.parents == merge.parents
    # What a merge has of its first parent alone is nothing empty.
    amend(repo, change=lambda co: co["labels"].update({"a": 1}))
    back = amend(repo, change=lambda co: co["labels"].pop("side"))
    assert repo.content() == {"labels": {"a": 1, "b": 2}}
    assert back.parents == merge.parents


@pytest.mark.parametrize("message", [None, "second"])
def test_nothing_to_amend(repo: MemoryRepository, message: str | None) -> None:
    before = repo.state()
    with pytest.raises(NothingToCommitError, match="nothing to amend in") as caught:
        amend(repo, message)
    assert "another message" in (caught.value.hint or "")
    with pytest.raises(NothingToCommitError):
        amend(repo, message, author=BOB, metadata={"source": "x"})
    assert repo.state() == before


def test_nothing_would_be_left(repo: MemoryRepository) -> None:
    head = repo.head()
    with pytest.raises(NothingToCommitError, match="nothing would be left") as caught:
        amend(repo, change=lambda co: co["labels"].pop("b"))
    assert caught.value.hint == "take it back as a whole: tvcs reset HEAD~1"
    assert repo.head() == head
    repo.put_branch("main", repo.resolve("main~1"))
    repo.stores.refs.swap([RefChange(STAGING, repo.stores.refs.get(STAGING), None)])

    def drop(co: Any) -> None:
        del co["labels"]

    with pytest.raises(NothingToCommitError, match="nothing would be left") as caught:
        amend(repo, change=drop)
    assert caught.value.hint == "tvcs undo"


def test_before_the_first_commit() -> None:
    repo = MemoryRepository()
    for open_editor in (MemoryRepository.work, MemoryRepository.edit):
        with open_editor(repo) as co:
            co.add_str_column("texts")["a"] = "x"
            with pytest.raises(NothingToCommitError, match="no commit yet") as caught:
                co.commit("m", amend=True)
            assert caught.value.hint == "record the first one: tvcs commit -m MESSAGE"
            assert co["texts"]["a"] == "x"
            co.reset()


def test_a_branch_that_moved_is_not_amended(repo: Any) -> None:
    with repo.open(repo) as co:
        co["labels"]["b"] = 7
        other = repo.commit(lambda other: other["labels"].update({"a": 5}), message="other")
        with pytest.raises(RefChangedError, match=f"'main' is at {other.short_id} now") as caught:
            co.commit("mine", amend=True)
        assert "merged onto the branch" in (caught.value.hint or "")
        assert repo.load("main") == other
        assert co["labels"]["b"] == 7
        merged = co.commit("mine")
    assert merged.parents == (other.id,)
    assert repo.content() == {"labels": {"a": 5, "b": 7}}


def test_a_branch_that_is_gone_is_not_amended(repo: Any) -> None:
    with repo.open(repo) as co:
        repo.put_branch("main", None)
        with pytest.raises(RefChangedError, match="'main' is gone now"):
            co.commit("mine", amend=True)


def test_a_branch_that_came_meanwhile_is_not_amended() -> None:
    repo = MemoryRepository()
    with repo.edit() as co:
        repo.commit(lambda other: other.add_str_column("texts"))
        co.add_str_column("mine")
        with pytest.raises(RefChangedError, match="were made over no commit"):
            co.commit("mine", amend=True)


def test_a_merge_that_waits_is_not_amended() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_str_column("texts"))
    head = repo.head()
    with repo.work() as co:
        repo.stores.refs.swap([RefChange(MERGE, None, b"waits")])
        co["texts"]["a"] = "x"
        with pytest.raises(MergeInProgressError) as caught:
            co.commit("m", amend=True)
        assert "tvcs merge --continue" in (caught.value.hint or "")
        assert co["texts"]["a"] == "x"
    assert repo.head() == head


def test_undoing_an_amendment_gives_what_was_staged_back() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_str_column("texts"))
    head = repo.stores.refs.get(BRANCHES + "main")
    with repo.work() as co:
        co["texts"]["a"] = "x"
        co.commit("m", amend=True)
    newest = list_operations(repo.stores.refs, 1)[0]
    before = {change.name: change.before for change in newest.changes}
    assert before[BRANCHES + "main"] == head
    assert before[STAGING] is not None


@pytest.mark.parametrize("message", ["", " ", 3])
def test_a_message_that_is_none(repo: Any, message: Any) -> None:
    before = repo.state()
    with repo.open(repo) as co:
        for is_amended in (True, False):
            with pytest.raises(InvalidInputError):
                co.commit(message, amend=is_amended)
        with pytest.raises(InvalidInputError):
            co.commit()
    assert repo.state() == before


def test_nobody_cannot_amend() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_str_column("texts"))
    writer = repo.writer.__class__(lambda: None, repo.now, lambda: None)
    area = WorkingArea(repo.stores, repo.nodes, "main", writer, lambda: None)
    with pytest.raises(IdentityMissingError):
        area.amend({}, "m", None, {})
