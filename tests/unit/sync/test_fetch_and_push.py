"""Fetch and push between two repositories in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tensorvcs.errors import (
    BranchNotFoundError,
    NonFastForwardError,
    RefChangedError,
    RemoteError,
    TagExistsError,
    TagNotFoundError,
)
from tensorvcs.history.refs import BRANCHES, TAGS, encode_commit_ref, encode_tag_ref
from tensorvcs.objects.commit import TagObject
from tensorvcs.storage.interfaces import RefChange, Stores
from tensorvcs.sync.fetch import FetchResult, fetch
from tensorvcs.sync.push import PushResult, delete_remote_ref, push_branch, push_tag
from tests.memory_repository import ADA, MemoryRepository
from tests.unit.sync.repositories import closure_problems

if TYPE_CHECKING:
    from collections.abc import Callable


def label(key: str, value: int) -> Callable[[Any], None]:
    def change(co: Any) -> None:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
        co["labels"][key] = value

    return change


@pytest.fixture
def theirs() -> MemoryRepository:
    repo = MemoryRepository()
    repo.commit(label("a", 1))
    repo.branch_at("dev")
    repo.commit(label("b", 2), "dev")
    return repo


@pytest.fixture
def ours(theirs: MemoryRepository) -> MemoryRepository:
    """A repository that has fetched from theirs, and has their main branch."""
    repo = MemoryRepository()
    fetched(repo, theirs)
    repo.put_branch("main", theirs.resolve("main"))
    return repo


def fetched(here: MemoryRepository, there: MemoryRepository, **options: Any) -> FetchResult:
    return fetch(there.stores, here.stores, "origin", user=str(ADA), now=here.now(), **options)


def pushed(
    here: MemoryRepository, there: MemoryRepository, branch: str = "main", **options: Any
) -> PushResult:
    target = options.pop("target", there.stores)
    return push_branch(
        here.stores, target, "origin", branch, user=str(ADA), now=here.now(), **options
    )


def tag(repo: MemoryRepository, name: str, revision: str, *, annotated: bool = False) -> None:
    commit = repo.resolve(revision)
    value = encode_commit_ref(commit)
    if annotated:
        made = TagObject(commit, name, ADA, repo.now(), "message")
        repo.stores.objects.put([made.encode()])
        value = encode_tag_ref(made.digest)
    repo.stores.refs.swap([RefChange(TAGS + name, repo.stores.refs.get(TAGS + name), value)])


def movements(result: FetchResult) -> list[tuple[str, str]]:
    return [(ref.name, ref.movement) for ref in result.refs]


def test_remote_branches_follow_the_remote(
    ours: MemoryRepository, theirs: MemoryRepository
) -> None:
    assert ours.resolve("origin/main") == theirs.resolve("main")
    assert ours.content("origin/dev") == {"labels": {"a": 1, "b": 2}}
    assert movements(fetched(ours, theirs)) == []
    theirs.commit(label("c", 3))
    result = fetched(ours, theirs)
    assert movements(result) == [("origin/main", "fast-forward")]
    assert result.refs[0].after == theirs.resolve("main").hex()
    assert "1 refs" in repr(result)
    assert ours.head() != theirs.resolve("main")
    assert not closure_problems(ours.stores)


def test_a_remote_that_gave_up_commits(ours: MemoryRepository, theirs: MemoryRepository) -> None:
    theirs.put_branch("dev", theirs.resolve("main"))
    assert movements(fetched(ours, theirs)) == [("origin/dev", "forced")]


def test_branches_that_the_remote_lost_are_pruned_when_asked(
    ours: MemoryRepository, theirs: MemoryRepository
) -> None:
    theirs.put_branch("dev", None)
    assert movements(fetched(ours, theirs)) == []
    assert movements(fetched(ours, theirs, prune=True)) == [("origin/dev", "deleted")]


def test_one_branch_alone(theirs: MemoryRepository) -> None:
    tag(theirs, "on-main", "main")
    tag(theirs, "on-dev", "dev")
    tag(theirs, "noted", "main", annotated=True)
    tag(theirs, "noted-dev", "dev", annotated=True)
    repo = MemoryRepository()
    result = fetched(repo, theirs, branches=["main"])
    assert movements(result) == [("origin/main", "new"), ("noted", "new"), ("on-main", "new")]
    with pytest.raises(BranchNotFoundError, match="has no branch 'nope'; there are: dev, main"):
        fetched(repo, theirs, branches=["nope"])


def test_tags_come_and_are_never_replaced(ours: MemoryRepository, theirs: MemoryRepository) -> None:
    tag(theirs, "v1", "main", annotated=True)
    tag(theirs, "plain", "dev")
    assert movements(fetched(ours, theirs)) == [("plain", "new"), ("v1", "new")]
    assert not closure_problems(ours.stores)
    tag(theirs, "plain", "main")
    assert movements(fetched(ours, theirs)) == [("plain", "kept")]
    assert ours.resolve("plain") == theirs.resolve("dev")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("../evil", b"commit " + b"00" * 32),
        ("a..b", b"commit " + b"00" * 32),
        ("odd", b"commit 123"),
        ("odd", b"tag " + b"00" * 32),
        ("odd", b"something else"),
    ],
)
def test_a_remote_with_refs_that_cannot_be(
    theirs: MemoryRepository, name: str, value: bytes
) -> None:
    theirs.stores.refs.swap([RefChange(BRANCHES + name, None, value)])
    repo = MemoryRepository()
    with pytest.raises(RemoteError, match="the remote has a ref"):
        fetched(repo, theirs)
    assert repo.state()[1] == []


def test_push_moves_the_branch_there(ours: MemoryRepository, theirs: MemoryRepository) -> None:
    ours.commit(label("z", 9))
    result = pushed(ours, theirs)
    assert (result.movement, result.after) == ("fast-forward", ours.resolve("main").hex())
    assert theirs.content() == {"labels": {"a": 1, "z": 9}}
    assert ours.resolve("origin/main") == ours.resolve("main")
    assert "fast-forward" in repr(result)
    assert pushed(ours, theirs).movement == "up to date"
    assert not closure_problems(theirs.stores)


def test_push_makes_a_branch_under_any_name(
    ours: MemoryRepository, theirs: MemoryRepository
) -> None:
    ours.commit(label("z", 9))
    assert pushed(ours, theirs, to="mine").movement == "new"
    assert theirs.resolve("mine") == ours.resolve("main") == ours.resolve("origin/mine")
    with pytest.raises(BranchNotFoundError, match="no branch 'nope' to push"):
        pushed(ours, theirs, "nope")


def test_push_never_drops_commits_of_others(
    ours: MemoryRepository, theirs: MemoryRepository
) -> None:
    ours.commit(label("z", 9))
    theirs.commit(label("c", 3))
    before = theirs.state()
    with pytest.raises(NonFastForwardError, match="has commits that the branch here has not") as e:
        pushed(ours, theirs)
    assert e.value.hint == "bring them in with 'tvcs pull origin main', then push again"
    assert theirs.state() == before
    fetched(ours, theirs)
    with pytest.raises(NonFastForwardError):
        pushed(ours, theirs)
    assert pushed(ours, theirs, force=True).movement == "forced"
    assert theirs.resolve("main") == ours.resolve("main")


class Racing:
    """Refs of a remote where something happens between the question and the swap."""

    def __init__(self, refs: Any, happens: Callable[[], object]) -> None:
        self._refs = refs
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._refs, name)

    def swap(self, *args: Any) -> None:
        self._happens()
        self._refs.swap(*args)


def racing(repo: MemoryRepository, happens: Callable[[], object]) -> Stores:
    refs: Any = Racing(repo.stores.refs, happens)
    return Stores(repo.stores.objects, repo.stores.tensors, refs, repo.stores.transaction)


def test_a_push_that_loses_a_race_changes_nothing(
    ours: MemoryRepository, theirs: MemoryRepository
) -> None:
    ours.commit(label("z", 9))
    target = racing(theirs, lambda: theirs.commit(label("c", 3)))
    with pytest.raises(RefChangedError):
        pushed(ours, theirs, target=target, force=True)
    assert theirs.content() == {"labels": {"a": 1, "c": 3}}


def test_a_push_whose_answer_was_lost_is_a_success(
    ours: MemoryRepository, theirs: MemoryRepository
) -> None:
    ours.commit(label("z", 9))
    target = racing(theirs, lambda: theirs.put_branch("main", ours.resolve("main")))
    assert pushed(ours, theirs, target=target).movement == "fast-forward"
    assert ours.resolve("origin/main") == ours.resolve("main")


def test_branches_and_tags_are_deleted_there(
    ours: MemoryRepository, theirs: MemoryRepository
) -> None:
    options: Any = {"user": str(ADA), "now": ours.now()}
    result = delete_remote_ref(ours.stores, theirs.stores, "origin", "dev", **options)
    assert (result.movement, result.after) == ("deleted", None)
    assert theirs.stores.refs.get(BRANCHES + "dev") is None
    with pytest.raises(BranchNotFoundError, match="remote 'origin' has no branch 'dev'"):
        delete_remote_ref(ours.stores, theirs.stores, "origin", "dev", **options)
    tag(theirs, "v1", "main")
    delete_remote_ref(ours.stores, theirs.stores, "origin", "v1", is_tag=True, **options)
    assert theirs.stores.refs.get(TAGS + "v1") is None
    with pytest.raises(TagNotFoundError, match="has no tag 'v1'"):
        delete_remote_ref(ours.stores, theirs.stores, "origin", "v1", is_tag=True, **options)


def test_tags_are_pushed_and_not_replaced(ours: MemoryRepository, theirs: MemoryRepository) -> None:
    def push(name: str, *, force: bool = False) -> str:
        return push_tag(
            ours.stores,
            theirs.stores,
            "origin",
            name,
            user=str(ADA),
            now=ours.now(),
            force=force,
        ).movement

    ours.commit(label("z", 9))
    tag(ours, "noted", "main", annotated=True)
    tag(ours, "plain", "main~1")
    assert push("noted") == push("plain") == "new"
    assert push("noted") == "up to date"
    assert theirs.resolve("noted") == ours.resolve("main")
    assert not closure_problems(theirs.stores)
    tag(ours, "plain", "main")
    with pytest.raises(TagExistsError, match="has another tag 'plain'"):
        push("plain")
    assert push("plain", force=True) == "forced"
    with pytest.raises(TagNotFoundError, match="no tag 'nope' to push"):
        push("nope")
