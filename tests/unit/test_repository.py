"""The repository on disk, by its public names."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    BareRepositoryError,
    BranchExistsError,
    BranchInUseError,
    BranchNotFoundError,
    ClosedError,
    IdentityMissingError,
    InvalidInputError,
    MergeConflictError,
    NothingToUndoError,
    ObjectDamagedError,
    RefNameError,
    RepositoryExistsError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StagingLockedError,
    TagExistsError,
    TagNotFoundError,
    TensorVCSError,
    UncommittedChangesError,
    UnmergedBranchError,
    UnsupportedFormatError,
)
from tests.memory_repository import contents_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path / "repo", user_name="Ada", user_email="ada@example.org") as made:
        seconds = iter(range(10**9))
        made.record_as(
            clock=lambda: dt.datetime.fromtimestamp(1_700_000_000 + next(seconds), dt.UTC)
        )
        yield made


def commit_labels(repo: tv.Repository, message: str = "m", **samples: int) -> tv.Commit:
    with repo.edit() as co:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
        co["labels"].update(samples)
        return co.commit(message)


def stage_labels(repo: tv.Repository, **samples: int) -> None:
    with repo.edit() as co:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
        co["labels"].update(samples)


def labels(repo: tv.Repository, revision: str = "HEAD") -> dict[Any, Any]:
    return contents_of(repo.checkout(revision).columns)["labels"]


def staged(repo: tv.Repository) -> dict[str, dict[Any, Any]]:
    with repo.edit() as co:
        return contents_of(co.columns)


def state_of(repo: tv.Repository) -> Any:
    """All that a refused call must leave as it was."""
    refs = repo._stores.refs
    return dict(refs.items()), len(refs.operations()), staged(repo) if not repo.is_bare else None


# Making and opening


def test_a_new_repository_is_empty(repo: tv.Repository) -> None:
    assert repo.head == "main"
    assert dict(repo.branches) == dict(repo.tags) == {}
    assert str(repo.user) == "Ada <ada@example.org>"
    assert not repo.is_dirty
    assert repo.staging_base is None
    assert repo.operations() == []
    assert repo.verify().is_sound
    with pytest.raises(RevisionNotFoundError, match="no commits yet"):
        repo.checkout()
    with pytest.raises(RevisionNotFoundError):
        next(repo.log())
    with pytest.raises(NothingToUndoError):
        repo.undo()
    assert "main" in repr(repo)


def test_a_repository_is_found_from_below(repo: tv.Repository) -> None:
    below = repo.path / "a" / "b"
    below.mkdir(parents=True)
    for path in (repo.path, below, str(below), repo.path / ".tensorvcs"):
        with tv.open(path) as found:
            assert found.path == repo.path


def test_a_folder_that_is_no_repository(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", "/"):
        with pytest.raises(RepositoryNotFoundError) as caught:
            tv.open(path)
        assert "tvcs init" in (caught.value.hint or "")
    (tmp_path / ".tensorvcs").mkdir()
    with pytest.raises(RepositoryNotFoundError):
        tv.open(tmp_path)


def test_no_repository_inside_another(repo: tv.Repository) -> None:
    before = sorted(repo.path.rglob("*"))
    for path in (
        repo.path,
        repo.path / "a" / "b",
        repo.path / ".tensorvcs",
        repo.path / ".." / "repo",
    ):
        for bare in (False, True):
            with pytest.raises(RepositoryExistsError):
                tv.init(path, bare=bare)
    assert sorted(repo.path.rglob("*")) == before


def test_where_no_repository_can_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InvalidInputError, match="is a file"):
        tv.init(file)
    with pytest.raises(TensorVCSError):
        tv.init(file / "below")
    with pytest.raises(InvalidInputError, match="not empty"):
        tv.init(tmp_path, bare=True)
    with pytest.raises(InvalidInputError):
        tv.init(tmp_path / "new", user_name="A<", user_email="a")
    assert sorted(tmp_path.iterdir()) == [file]
    assert file.read_text() == "x"


def test_a_bare_repository_has_no_staging_area(tmp_path: Path) -> None:
    with tv.init(tmp_path / "bare", user_name="A", user_email="a", bare=True) as repo:
        assert repo.is_bare
        calls: list[Callable[[], Any]] = [
            repo.edit, repo.reset, lambda: repo.switch("main"),
            lambda: repo.switch("x", create=True),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(BareRepositoryError):
                call()
        with repo.transaction(message="first") as tx:
            tx.add_ndarray_column("labels", (), "int64")["a"] = 1
        assert labels(repo) == {"a": 1}
        repo.create_branch("side")
        with repo.transaction("side") as tx:
            tx["labels"]["b"] = 2
        assert repo.merge("side").is_fast_forward
        assert labels(repo) == {"a": 1, "b": 2}
        repo.undo()
        assert labels(repo) == {"a": 1}
    with tv.open(tmp_path / "bare" / "packs") as found:
        assert found.is_bare
        assert found.path == tmp_path / "bare"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('{"format":"tensorvcs","version":2,"features":[],"bare":false}', UnsupportedFormatError),
        (
            '{"format":"tensorvcs","version":1,"features":["x"],"bare":false}',
            UnsupportedFormatError,
        ),
        ("{", ObjectDamagedError),
        ("[]", ObjectDamagedError),
        ('{"format":"tensorvcs","version":"new","features":[]}', ObjectDamagedError),
        ('{"format":"tensorvcs"}', ObjectDamagedError),
    ],
)
def test_a_format_that_is_not_ours(
    repo: tv.Repository, content: str, error: type[TensorVCSError]
) -> None:
    """As before there was a copy."""
    file = repo.path / ".tensorvcs" / "format.json"
    (repo.path / ".tensorvcs" / "format-copy.json").unlink()
    original = file.read_text()
    assert json.loads(original)["version"] == 1
    file.write_text(content)
    with pytest.raises(error) as caught:
        tv.open(repo.path)
    if error is UnsupportedFormatError:
        assert "install a newer TensorVCS" in (caught.value.hint or "")
    assert file.read_text() == content
    file.write_text(original)
    tv.open(repo.path).close()


def test_a_closed_repository_says_so(repo: tv.Repository) -> None:
    commit = commit_labels(repo, a=1)
    co = repo.checkout()
    repo.close()
    repo.close()
    assert "closed" in repr(repo)
    calls: list[Callable[[], Any]] = [
        lambda: repo.head, lambda: repo.branches, repo.checkout, repo.edit,
        repo.transaction, repo.log, repo.operations, repo.undo, repo.verify, repo.repack,
        repo.stats, repo.reset, lambda: repo.merge("main"), lambda: repo.create_branch("x", commit),
        lambda: repo.create_tag("x", commit), lambda: repo.delete_branch("x"),
        lambda: repo.diff(None, commit), lambda: repo.is_dirty, lambda: repo.switch("x"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    assert co["labels"]["a"] == 1


def test_settings(repo: tv.Repository) -> None:
    assert repo.config == {"user.name": "Ada", "user.email": "ada@example.org"}
    repo.set_config("user.name", "Bób")
    repo.set_config("a.b", "x")
    repo.set_config("a.b", None)
    repo.set_config("a.absent", None)
    with tv.open(repo.path) as again:
        assert str(again.user) == "Bób <ada@example.org>"
        assert "a.b" not in again.config
    for name, value in [
        ("a.b", "\ud800"),
        ("user.name", ""),
        ("user.email", "a>b"),
        ("plain", "x"),
        ("", "x"),
        (".", "x"),
    ]:
        with pytest.raises(InvalidInputError):
            repo.set_config(name, value)
    assert repo.config["user.name"] == "Bób"
    repo.record_as(tv.Identity("Eve", "e"))
    assert commit_labels(repo, a=1).author == tv.Identity("Eve", "e")


def test_nobody_commits_without_a_name(tmp_path: Path) -> None:
    with tv.init(tmp_path / "nobody") as repo:
        assert repo.user is None
        stage_labels(repo, a=1)
        with repo.edit() as co:
            with pytest.raises(IdentityMissingError):
                co.commit("m")
            co.commit("m", author="Bob <b>")
        with pytest.raises(IdentityMissingError):
            repo.transaction()
        with repo.transaction(author="Bob <b>") as tx:
            tx["labels"]["b"] = 1
        repo.create_branch("side")
        with repo.transaction("side", author=tv.Identity("Bob", "b")) as tx:
            tx["labels"]["c"] = 1
        repo.create_tag("plain")
        with pytest.raises(IdentityMissingError):
            repo.create_tag("annotated", message="x")
        assert set(repo.tags) == {"plain"}


# Branches and tags


BAD_NAMES = ["-x", "a..b", "refs/heads/x", "", "HEAD", "a b", "x.lock", "\ud800", "a" * 300, "@"]


@pytest.mark.parametrize("name", [*BAD_NAMES, None, 3])
def test_bad_names_are_refused(repo: tv.Repository, name: Any) -> None:
    commit_labels(repo, a=1)
    before = state_of(repo)
    calls: list[Callable[[], Any]] = [
        lambda: repo.create_branch(name), lambda: repo.rename_branch("main", name),
        lambda: repo.create_tag(name), lambda: repo.switch(name, create=True),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(RefNameError):
            call()
    if isinstance(name, str):
        others: list[Callable[[], Any]] = [
            lambda: repo.delete_branch(name), lambda: repo.delete_tag(name),
            lambda: repo.rename_branch(name, "new"), lambda: repo.switch(name),
            lambda: repo.transaction(name), lambda: repo.edit(name),
            lambda: repo.merge("main", into=name),
        ]  # fmt: skip
        for call in others:
            with pytest.raises((RefNameError, BranchNotFoundError, TagNotFoundError)):
                call()
    assert state_of(repo) == before


def test_branches(repo: tv.Repository) -> None:
    first = commit_labels(repo, "first", a=1)
    second = commit_labels(repo, "second", a=2)
    assert repo.create_branch("side", "HEAD~1") == first
    assert dict(repo.branches) == {"main": second, "side": first}
    assert repo.head == "main"
    before = state_of(repo)
    with pytest.raises(BranchExistsError):
        repo.create_branch("side")
    with pytest.raises(BranchExistsError):
        repo.rename_branch("main", "side")
    with pytest.raises(BranchExistsError):
        repo.switch("side", create=True)
    with pytest.raises(RevisionNotFoundError):
        repo.create_branch("new", "nothing")
    with pytest.raises(BranchNotFoundError):
        repo.switch("nothing")
    with pytest.raises(BranchNotFoundError):
        repo.rename_branch("nothing", "new")
    with pytest.raises(BranchInUseError):
        repo.delete_branch("main")
    assert state_of(repo) == before
    repo.switch("side")
    assert (repo.head, labels(repo)) == ("side", {"a": 1})
    repo.rename_branch("side", "left/side")
    assert repo.head == "left/side"
    with pytest.raises(UnmergedBranchError) as caught:
        repo.delete_branch("main")
    assert "--force" in (caught.value.hint or "")
    repo.create_tag("keep", second)
    repo.delete_branch("main")
    assert set(repo.branches) == {"left/side"}
    repo.undo()
    assert repo.branches["main"] == second
    repo.delete_tag("keep")
    repo.delete_branch("main", force=True)
    assert set(repo.branches) == {"left/side"}
    assert repo.resolve("main@{1}") == second


def test_an_empty_branch_can_be_renamed_and_left(repo: tv.Repository) -> None:
    repo.rename_branch("main", "trunk")
    assert repo.head == "trunk"
    repo.switch("other", create=True)
    assert repo.head == "other"
    commit_labels(repo, a=1)
    assert set(repo.branches) == {"other"}


def test_a_rename_waits_for_the_editor_of_that_branch(repo: tv.Repository) -> None:
    commit_labels(repo, a=1)
    repo.create_branch("side")
    with repo.edit() as co:
        with pytest.raises(StagingLockedError):
            repo.rename_branch("main", "trunk")
        repo.rename_branch("side", "other")
        co["labels"]["a"] = 2
        co.commit("second")
    repo.rename_branch("main", "trunk")
    assert set(repo.branches) == {"trunk", "other"}
    assert labels(repo) == {"a": 2}


def test_tags(repo: tv.Repository) -> None:
    first = commit_labels(repo, a=1)
    assert repo.create_tag("v1") == first
    commit_labels(repo, a=2)
    assert repo.create_tag("v0", "v1", message="Über") == first
    assert dict(repo.tags) == {"v0": first, "v1": first}
    assert (repo.tag_message("v0"), repo.tag_message("v1")) == ("Über", None)
    before = state_of(repo)
    with pytest.raises(TagExistsError):
        repo.create_tag("v1")
    with pytest.raises(InvalidInputError):
        repo.create_tag("v2", message=" ")
    for call in (repo.delete_tag, repo.tag_message):
        with pytest.raises(TagNotFoundError):
            call("v2")
    assert state_of(repo) == before
    repo.delete_tag("v1")
    assert set(repo.tags) == {"v0"}
    repo.undo()
    assert repo.resolve("v1") == first


def test_switching_wants_a_clean_staging_area(repo: tv.Repository) -> None:
    commit_labels(repo, a=1)
    repo.create_branch("side")
    stage_labels(repo, a=2)
    before = state_of(repo)
    calls: list[Callable[[], Any]] = [
        lambda: repo.switch("side"), lambda: repo.edit("side"), lambda: repo.merge("side")
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(UncommittedChangesError) as caught:
            call()
        assert "tvcs reset" in (caught.value.hint or "")
    assert state_of(repo) == before
    repo.switch("new", create=True)
    assert repo.head == "new"
    assert staged(repo)["labels"] == {"a": 2}
    with repo.edit() as co:
        co.commit("on the new branch")
    assert (labels(repo, "main"), labels(repo, "new")) == ({"a": 1}, {"a": 2})


# Staging


def test_staging_outlives_its_editor(repo: tv.Repository) -> None:
    commit_labels(repo, a=1, b=1)
    assert not repo.is_dirty
    with repo.edit() as co:
        co["labels"]["a"] = 2
        del co["labels"]["b"]
        co.add_str_column("texts")["x"] = "y"
    assert repo.is_dirty
    with tv.open(repo.path) as again:
        assert again.is_dirty
        assert staged(again) == {"labels": {"a": 2}, "texts": {"x": "y"}}
        diff = again.staged()
        assert set(diff.columns) == {"labels", "texts"}
        assert list(diff.columns["labels"].modified) == ["a"]
        assert set(again.staged(columns=["texts"]).columns) == {"texts"}
        assert again.staged("HEAD").stat() == diff.stat()
    with repo.edit() as co:
        co["labels"].update({"a": 1, "b": 1})
        del co["texts"]
    assert not repo.is_dirty
    assert repo.staged().is_empty


def test_a_second_writer_is_told_who_the_first_is(repo: tv.Repository) -> None:
    commit_labels(repo, a=1)
    with repo.edit() as co, tv.open(repo.path) as other:
        co["labels"]["a"] = 2
        calls: list[Callable[[], Any]] = [
            repo.edit, other.edit, other.reset, other.undo,
            lambda: other.switch("x", create=True), lambda: other.merge("main"),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(StagingLockedError, match=r"edited by process \d+ since") as caught:
                call()
            assert "transaction" in (caught.value.hint or "")
        assert co["labels"]["a"] == 2
        with other.transaction() as tx:
            tx["labels"]["b"] = 3
        co.commit("second")
    assert labels(repo) == {"a": 2, "b": 3}
    stage_labels(repo, c=1)


def test_an_editor_that_was_forgotten_does_not_lock_its_own_process_out(
    repo: tv.Repository,
) -> None:
    co = repo.edit()
    co.add_str_column("lost")
    del co
    stage_labels(repo, a=1)
    assert set(staged(repo)) == {"labels"}


def test_reset_moves_the_branch_and_drops_what_is_staged(repo: tv.Repository) -> None:
    first = commit_labels(repo, a=1)
    second = commit_labels(repo, a=2)
    stage_labels(repo, a=3)
    repo.reset()
    assert not repo.is_dirty
    assert repo.resolve("HEAD") == second
    repo.undo()
    assert staged(repo)["labels"] == {"a": 3}
    assert repo.reset("HEAD~1") == first
    assert (labels(repo), repo.is_dirty) == ({"a": 1}, False)
    count = len(repo.operations())
    repo.reset()
    assert len(repo.operations()) == count
    before = state_of(repo)
    with pytest.raises(RevisionNotFoundError):
        repo.reset("nothing")
    assert state_of(repo) == before
    repo.undo()
    assert repo.resolve("HEAD") == second
    assert staged(repo)["labels"] == {"a": 3}


def test_before_the_first_commit_the_editor_drops_what_is_staged(repo: tv.Repository) -> None:
    stage_labels(repo, a=1)
    with repo.edit() as co:
        co.reset()
    assert not repo.is_dirty
    repo.undo()
    assert staged(repo) == {"labels": {"a": 1}}


# Undo


def test_undoing_a_commit_leaves_its_changes_staged(repo: tv.Repository) -> None:
    first = commit_labels(repo, a=1)
    for flush in (True, False):
        with repo.edit() as co:
            co["labels"]["a"] = 2
            if flush:
                co.flush()
            co.commit("second")
        (undone,) = repo.undo()
        assert undone.command == "commit"
        assert repo.resolve("HEAD") == first
        assert staged(repo)["labels"] == {"a": 2}
        assert repo.staging_base == first
        repo.undo()
        assert staged(repo)["labels"] == {"a": 1}
        assert not repo.is_dirty


def test_undoing_everything_one_by_one(repo: tv.Repository) -> None:
    """Each step back is the state before that step, to the empty repository."""
    states = []
    steps: list[Callable[[], Any]] = [
        lambda: stage_labels(repo, a=1, b=1),
        lambda: commit_staged(repo),
        lambda: repo.create_branch("side"),
        lambda: repo.create_tag("v1", message="x"),
        lambda: repo.switch("side"),
        lambda: stage_labels(repo, a=2),
        lambda: commit_staged(repo),
        lambda: repo.switch("main"),
        lambda: add_by_transaction(repo, "main", c=3),
        lambda: repo.merge("side"),
        lambda: repo.delete_branch("side"),
        lambda: repo.rename_branch("main", "trunk"),
        lambda: repo.reset("HEAD~1"),
        lambda: repo.delete_tag("v1"),
        lambda: repo.switch("new", create=True),
    ]
    for step in steps:
        states.append(visible(repo))
        step()
    for state in states[::-1]:
        repo.undo()
        assert visible(repo) == state
    with pytest.raises(NothingToUndoError):
        repo.undo()
    assert repo.verify().is_sound


def commit_staged(repo: tv.Repository) -> None:
    with repo.edit() as co:
        co.commit("staged")


def add_by_transaction(repo: tv.Repository, branch: str, **samples: int) -> None:
    with repo.transaction(branch) as tx:
        tx["labels"].update(samples)


def visible(repo: tv.Repository) -> Any:
    refs = dict(repo._stores.refs.items())
    return refs, staged(repo), repo.head, dict(repo.branches), dict(repo.tags)


def test_undo_takes_a_number(repo: tv.Repository) -> None:
    first = commit_labels(repo, a=1)
    commit_labels(repo, a=2)
    before = state_of(repo)
    for n in (0, -1, True, 1.0, "1", 100):
        with pytest.raises((InvalidInputError, NothingToUndoError)):
            repo.undo(n)  # type: ignore[arg-type]
    assert state_of(repo) == before
    assert len(repo.undo(2)) == 2
    assert (repo.resolve("HEAD"), repo.is_dirty) == (first, False)
    newest = repo.operations(1)[0]
    assert newest.command == "undo"
    assert newest.description.startswith("2 operations back to before edit: branch")
    assert newest.user == "Ada <ada@example.org>"


# History


def test_the_log(repo: tv.Repository) -> None:
    commits = [commit_labels(repo, str(n), **{f"k{n}": n}) for n in range(5)]
    assert list(repo.log()) == commits[::-1]
    assert list(repo.log("HEAD~2", limit=2)) == commits[2:0:-1]
    assert list(repo.log(column="labels", key="k3")) == [commits[3]]
    assert list(repo.log(since=commits[3].time)) == commits[:2:-1]
    assert list(repo.log(author="ada")) == commits[::-1]
    assert list(repo.log(commits[1])) == commits[1::-1]
    assert [commit.time.timestamp() for commit in commits] == sorted(
        commit.time.timestamp() for commit in commits
    )


def test_diff_by_revision(repo: tv.Repository) -> None:
    first = commit_labels(repo, a=1, b=1)
    commit_labels(repo, a=2, c=3)
    diff = repo.diff("HEAD~1")
    assert list(diff.columns["labels"].modified) == ["a"]
    assert list(diff.columns["labels"].added) == ["c"]
    assert repo.diff(first, "HEAD").stat() == diff.stat()
    assert repo.diff("HEAD").is_empty
    assert list(repo.diff(None, first).columns["labels"].added) == ["a", "b"]
    assert repo.diff("HEAD~1", columns=["labels"]).stat() == diff.stat()


def test_a_merge(repo: tv.Repository) -> None:
    first = commit_labels(repo, a=1, b=1)
    repo.create_branch("side")
    commit_labels(repo, a=2)
    add_by_transaction(repo, "side", b=2)
    assert repo.merge_base("main", "side") == first
    before = repo.resolve("main")
    result = repo.merge("side", message="both")
    assert labels(repo) == {"a": 2, "b": 2}
    assert result.commit.parents == (before.id, repo.resolve("side").id)
    assert result.commit.message == "both"
    assert repo.merge("side").is_fast_forward
    assert repo.resolve("HEAD") == result.commit
    assert repo.resolve("HEAD^2") == repo.resolve("side")
    assert repo.merge("main", into="side").is_fast_forward
    assert repo.resolve("side") == result.commit


def test_conflicts_are_kept_for_the_branch_that_is_current(repo: tv.Repository) -> None:
    """Another process switches after the merge began, and before it has the lock."""
    with repo.edit() as co:
        co.add_ndarray_column("labels", (), "int64")["a"] = 1
        co.commit("first")
    for name, value in (("side", 2), ("other", 3)):
        repo.create_branch(name)
        with repo.transaction(name) as tx:
            tx["labels"]["a"] = value
    repo.switch("side")
    lock = repo._staging_lock

    def switch_then_lock() -> Any:
        repo._staging_lock = lock  # type: ignore[method-assign]
        repo.switch("main")
        return lock()

    repo._staging_lock = switch_then_lock  # type: ignore[method-assign]
    with pytest.raises(InvalidInputError, match="which is of branch 'main'"):
        repo.merge("other", keep_conflicts=True)
    assert repo.merge_in_progress is None


def test_a_merge_that_conflicts_changes_nothing(repo: tv.Repository) -> None:
    commit_labels(repo, a=1)
    repo.create_branch("side")
    commit_labels(repo, a=2)
    add_by_transaction(repo, "side", a=3)
    before = state_of(repo)
    with pytest.raises(MergeConflictError) as caught:
        repo.merge("side")
    assert [conflict.key for conflict in caught.value.conflicts] == ["a"]
    with pytest.raises(InvalidInputError):
        repo.merge("side", strategy="mine")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        repo.merge("side", strategy="ours", message=" ")
    with pytest.raises(RevisionNotFoundError):
        repo.merge("nothing")
    with pytest.raises(BranchNotFoundError):
        repo.merge("side", into="nothing")
    assert state_of(repo) == before
    assert len(repo.merge("side", strategy="theirs").conflicts) == 1
    assert labels(repo) == {"a": 3}


def test_merging_does_not_ask_what_is_staged_when_it_goes_elsewhere(repo: tv.Repository) -> None:
    commit_labels(repo, a=1)
    repo.create_branch("side")
    repo.create_branch("other")
    add_by_transaction(repo, "other", b=1)
    with repo.edit() as co:
        co["labels"]["a"] = 5
        co.flush()
        assert repo.merge("other", into="side").is_fast_forward
        co.commit("mine")
    assert labels(repo, "side") == {"a": 1, "b": 1}
    assert labels(repo, "main") == {"a": 5}


# Upkeep


def test_verify_and_stats(repo: tv.Repository) -> None:
    with repo.edit() as co:
        rows = np.random.default_rng(0).integers(0, 256, (3000, 30, 30), np.uint8)
        co.add_ndarray_column("images", (30, 30), "uint8").extend(rows)
        co.add_str_column("texts").extend(["a", "b"])
        co.commit("first")
    repo.create_branch("side")
    repo.create_tag("v1", message="x")
    report = repo.verify()
    assert report.is_sound
    assert report.commit_count == 1
    assert report.value_count == 3002
    assert str(report).startswith("sound: 1 commits")
    assert repo.verify("v1").is_sound
    stats = repo.stats()
    assert (stats.branch, stats.commit_count, stats.branch_count, stats.tag_count) == (
        "main",
        1,
        2,
        1,
    )
    assert stats.columns["images"].sample_count == 3000
    assert stats.packs.payload_nbytes >= rows.nbytes
    assert stats.total_nbytes > rows.nbytes
    assert "images" in stats._repr_html_()


def test_verify_finds_a_flipped_bit(repo: tv.Repository) -> None:
    with repo.edit() as co:
        rows = np.random.default_rng(0).integers(0, 256, (3000, 30, 30), np.uint8)
        co.add_ndarray_column("images", (30, 30), "uint8").extend(rows)
        co.commit("first")
    (pack,) = (repo.path / ".tensorvcs" / "packs").glob("*.h5")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    with tv.open(repo.path) as again:
        report = again.verify()
        assert not report.is_sound
        assert str(report).startswith("damaged: ")


def test_repacking_changes_nothing_that_is_read(repo: tv.Repository) -> None:
    for n in range(5):
        with repo.edit() as co:
            if not n:
                co.add_ndarray_column("images", (30, 30), "uint8")
            co["images"][n] = np.full((30, 30), n, np.uint8)
            co.commit(str(n))
    assert repo.stats().packs.loose_count == 5
    commits = list(repo.log())
    repo.repack()
    assert repo.stats().packs.loose_count == 0
    assert list(repo.log()) == commits
    assert repo.checkout()["images"][:].reshape(5, -1).max(axis=1).tolist() == list(range(5))
    assert repo.verify().is_sound


def test_refused_edits_leave_staging_as_it_was(repo: tv.Repository) -> None:
    commit_labels(repo, a=1)
    stage_labels(repo, b=2)
    before = state_of(repo)
    with repo.edit() as co:
        for key in (True, "", "k" * 10_000, "\ud800", 1.5):
            with pytest.raises(TensorVCSError):
                co["labels"][key] = 1
        with pytest.raises(TensorVCSError):
            co["labels"].extend([1, 2], keys=["x", "x"])
        with pytest.raises(TensorVCSError):
            co.add_str_column("labels")
    assert state_of(repo) == before


def test_pages_show_and_escape(repo: tv.Repository) -> None:
    commit_labels(repo, "<b>", a=1)
    repo.create_branch("<i>")
    page = repo._repr_html_()
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
    assert "main" in page


def test_blame_and_history_answer_for_a_revision_and_for_what_is_committed(
    repo: tv.Repository,
) -> None:
    first, second = commit_labels(repo, "first", a=1, b=1), commit_labels(repo, "second", a=2)
    stage_labels(repo, a=3)
    assert dict(repo.blame("labels")) == {"a": second, "b": first}
    assert dict(repo.blame("labels", first, keys=["a"])) == {"a": first}
    assert [(c.commit, c.before, c.after) for c in repo.history("labels", "a")] == [
        (second, 1, 2),
        (first, None, 1),
    ]
    assert [c.commit for c in repo.history("labels", "a", "HEAD~1")] == [first]
