"""Commits with given parents and times, that move no branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tensorvcs.checkout.detached import DetachedArea
from tensorvcs.checkout.editor import EditableCheckout
from tensorvcs.errors import IdentityMissingError, ReadOnlyError
from tensorvcs.objects.commit import Identity, Timestamp
from tests.memory_repository import ADA, MemoryRepository

if TYPE_CHECKING:
    from tensorvcs.history.commit import Commit

TIME = Timestamp(1_500_000_000_000_000, -90)
BEA = Identity("Bea", "bea@example.org")


def detached(repo: MemoryRepository, *parents: Commit) -> EditableCheckout:
    area = DetachedArea(repo.stores, [p.digest for p in parents], TIME, repo.writer)
    return EditableCheckout(
        repo.stores,
        repo.nodes,
        branch="(detached)",
        base=None,
        base_columns={},
        columns={},
        area=area,
    )


def write(repo: MemoryRepository, *parents: Commit, text: str = "x") -> Commit:
    with detached(repo, *parents) as co:
        co.add_str_column("words")["a"] = text
        return co.commit("m", BEA, metadata={"from": "afar"})


def test_parents_and_time_are_those_given() -> None:
    repo = MemoryRepository()
    before = repo.state()
    first = write(repo)
    second = write(repo, first, text="y")
    merge = write(repo, second, first)
    assert [len(c.parents) for c in (first, second, merge)] == [0, 1, 2]
    assert merge.parents == (second.id, first.id)
    assert (merge.object.author_time, merge.object.commit_time) == (TIME, TIME)
    assert (merge.author, merge.committer, merge.metadata) == (BEA, BEA, {"from": "afar"})
    assert merge.object.generation == 2
    # No ref moved, and the operation log knows nothing.
    assert repo.state() == before


def test_the_same_given_is_the_same_commit() -> None:
    repo, other = MemoryRepository(), MemoryRepository()
    other.now()
    assert write(repo, write(repo)) == write(other, write(other))


def test_a_commit_without_changes() -> None:
    repo = MemoryRepository()
    first = write(repo)
    with detached(repo, first) as co:
        assert co.commit("empty", BEA).parents == (first.id,)


def test_a_further_commit_goes_on() -> None:
    repo = MemoryRepository()
    with detached(repo) as co:
        first = co.commit("one", BEA)
        assert co.commit("two", BEA).parents == (first.id,)


def test_flushed_changes_are_kept() -> None:
    repo = MemoryRepository()
    with detached(repo) as co:
        co.add_str_column("words")["a"] = "b"
        co.flush()
        commit = co.commit("m")
    assert commit.author == ADA
    repo.put_branch("main", commit.digest)
    assert repo.content() == {"words": {"a": "b"}}


def test_refused() -> None:
    repo = MemoryRepository()
    with detached(repo) as co:
        co.commit("one", BEA)
        with pytest.raises(ReadOnlyError, match="a detached commit cannot be amended") as caught:
            co.commit("other", BEA, amend=True)
    assert caught.value.hint is not None
    nobody = DetachedArea(
        repo.stores, [], TIME, repo.writer.__class__(lambda: None, repo.now, print)
    )
    with pytest.raises(IdentityMissingError):
        nobody.commit({}, "m", None, None)
