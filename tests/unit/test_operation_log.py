"""The operation log of a repository on disk: undo, restore, looking back, the stash, amending."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    BareRepositoryError,
    ClosedError,
    ColumnNotFoundError,
    InvalidInputError,
    NothingToCommitError,
    NothingToStashError,
    OperationNotFoundError,
    ReadOnlyError,
    RevisionNotFoundError,
    RevisionSyntaxError,
    StagingLockedError,
    StashNotFoundError,
)
from tests.memory_repository import contents_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START = 1_700_000_000


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tv.Repository]:
    """A repository with a clock that ticks a second at each look."""
    with tv.init(tmp_path / "repo", user_name="Ada", user_email="ada@example.org") as made:
        seconds = iter(range(10**9))
        made.record_as(clock=lambda: dt.datetime.fromtimestamp(START + next(seconds), dt.UTC))
        yield made


def stage(repo: tv.Repository, reason: str | None = None, **labels: int) -> None:
    with repo.edit(reason=reason) as co:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
        co["labels"].update(labels)


def commit(repo: tv.Repository, message: str = "m", **labels: int) -> tv.Commit:
    with repo.edit() as co:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
        co["labels"].update(labels)
        return co.commit(message)


def refs_of(repo: tv.Repository) -> dict[str, bytes]:
    return dict(repo._stores.refs.items())


def staged(repo: tv.Repository) -> dict[str, dict[Any, Any]]:
    with repo.edit() as co:
        return contents_of(co.columns)


def newest(repo: tv.Repository) -> int:
    return repo.operations(1)[0].number


def reset_and_switch(repo: tv.Repository) -> None:
    repo.reset()
    repo.switch("side")


def reset_and_merge(repo: tv.Repository) -> None:
    repo.reset()
    transact(repo)
    repo.merge("side")


def transact(repo: tv.Repository) -> None:
    with repo.transaction("side") as tx:
        tx["labels"]["side"] = 5


def amend(repo: tv.Repository) -> None:
    with repo.edit() as co:
        co.commit("better", amend=True)


# What moves a ref or what is staged, on a repository with two commits, a branch, a tag, a stash
# and staged changes of `a` and `b`; and how many operations it is.
STEPS: dict[str, tuple[Callable[[tv.Repository], Any], int]] = {
    "edit": (lambda r: stage(r, c=1), 1),
    "commit": (lambda r: commit(r, "third"), 1),
    "edit and commit": (lambda r: commit(r, "third", c=1), 2),
    "transaction": (transact, 1),
    "branch made": (lambda r: r.create_branch("new"), 1),
    "branch deleted": (lambda r: r.delete_branch("side", force=True), 1),
    "branch renamed": (lambda r: r.rename_branch("side", "other"), 1),
    "current branch renamed": (lambda r: r.rename_branch("main", "trunk"), 1),
    "switch to new": (lambda r: r.switch("new", create=True), 1),
    "reset": (lambda r: r.reset(), 1),
    "reset to another": (lambda r: r.reset("HEAD~1"), 1),
    "reset of a column": (lambda r: r.reset(columns="labels"), 1),
    "reset of a key": (lambda r: r.reset(keys="a"), 1),
    "tag": (lambda r: r.create_tag("v2"), 1),
    "annotated tag": (lambda r: r.create_tag("v2", message="two"), 1),
    "tag deleted": (lambda r: r.delete_tag("v1"), 1),
    "reset and merge": (reset_and_merge, 3),
    "reset and switch": (reset_and_switch, 2),
    "stash": (lambda r: r.stash(), 1),
    "stash of a key": (lambda r: r.stash("x", keys="b"), 1),
    "stash applied": (lambda r: r.apply_stash(), 1),
    "stash popped": (lambda r: r.pop_stash(), 1),
    "stash dropped": (lambda r: r.drop_stash(), 1),
    "amend": (amend, 1),
    "restore": (lambda r: r.restore_operation(2), 1),
    "undo": (lambda r: r.undo(2), 1),
}


@pytest.fixture
def full(repo: tv.Repository) -> tv.Repository:
    first = commit(repo, "first", a=1, b=1)
    commit(repo, "second", a=2)
    repo.create_branch("side", first)
    repo.create_tag("v1", first)
    stage(repo, z=9)
    repo.stash("aside")
    stage(repo, a=3, b=3)
    return repo


@pytest.mark.parametrize("what", STEPS)
def test_every_step_can_be_undone_and_done_again(full: tv.Repository, what: str) -> None:
    step, count = STEPS[what]
    before, number = refs_of(full), newest(full)
    step(full)
    after, done = refs_of(full), newest(full)
    assert done - number == count
    assert after != before
    if what == "undo":
        full.restore_operation(number)
        assert refs_of(full) == before
        full.restore_operation(done)
        assert refs_of(full) == after
        return
    full.undo(count)
    assert refs_of(full) == before
    full.restore_operation(done)
    assert refs_of(full) == after
    full.undo()
    assert refs_of(full) == before
    full.restore_operation(number)
    assert refs_of(full) == before
    assert full.verify().is_sound


def test_restore(full: tv.Repository) -> None:
    goal = {number: refs_of(full.at_operation(number)) for number in range(1, newest(full) + 1)}
    assert goal[newest(full)] == refs_of(full)
    for number in (1, 5, 3, 5, newest(full)):
        operation = full.restore_operation(number)
        assert operation.number == number
        assert refs_of(full) == goal[number]
        entry = full.operations(1)[0]
        assert entry.command == "restore"
        assert entry.description == f"{number}, {operation.command}: {operation.description}"
    count = newest(full)
    full.restore_operation(newest(full))
    assert newest(full) == count
    for unknown in (0, count + 1, -1, True):
        with pytest.raises(OperationNotFoundError, match=f"the newest is {count}"):
            full.restore_operation(unknown)
    with full.edit(), pytest.raises(StagingLockedError):
        full.restore_operation(1)
    assert newest(full) == count


def test_one_operation(full: tv.Repository) -> None:
    operation = full.operation(newest(full))
    assert operation == full.operations(1)[0]
    assert (operation.command, operation.description) == ("edit", "branch main")
    (move,) = full.moves_of(operation)
    assert move.ref == "staging"
    assert move.before is None
    assert move.after is not None
    assert move.after.commit == full.resolve("HEAD")
    with pytest.raises(OperationNotFoundError):
        full.operation(1000)


def test_the_log_says_what_caused_it(repo: tv.Repository) -> None:
    stage(repo, "clean: drop the blurred", a=1)
    stage(repo, a=2)
    assert [f"{o.command}: {o.description}" for o in repo.operations()] == [
        "edit: branch main", "clean: drop the blurred",
    ]  # fmt: skip
    with pytest.raises(InvalidInputError, match="a reason"):
        repo.edit(reason=" ")
    with repo.edit() as co:
        assert co["labels"]["a"] == 2


def test_a_closed_repository_says_so(repo: tv.Repository) -> None:
    commit(repo, a=1)
    operation = repo.operation(1)
    past = repo.at_operation(1)
    repo.close()
    assert past.operation(1) == operation
    past.close()
    calls: list[Callable[[], Any]] = [
        lambda: repo.operation(1), lambda: repo.restore_operation(1), lambda: repo.at_operation(1),
        lambda: repo.moves_of(operation), lambda: repo.stashes, repo.stash, repo.apply_stash,
        repo.pop_stash, repo.drop_stash, repo.find_stash, lambda: past.stashes, past.operations,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ClosedError):
            call()


# Looking back


def test_a_repository_as_it_was(full: tv.Repository) -> None:
    number = next(o.number for o in full.operations() if o.description.startswith("create side"))
    with full.at_operation(number) as past:
        assert [*past.branches] == ["main", "side"]
        assert [*past.tags] == []
        assert past.stashes == []
        assert not past.is_dirty
        assert newest(past) == number
        assert past.resolve("HEAD@{1}").message == "first"
        assert [c.message for c in past.log()] == ["second", "first"]
        assert past.diff("HEAD~1").stat().modified == 1
        assert past.staged().is_empty
        assert past.verify().is_sound
        assert f"as it was after operation {number}" in repr(past)
        assert past.user == full.user
        with past.at_operation(2) as before, past.at_operation(number) as same:
            assert [*before.branches] == ["main"]
            assert [*same.branches] == ["main", "side"]
        with pytest.raises(OperationNotFoundError):
            past.at_operation(number + 1)
        again = pickle.loads(pickle.dumps(past))
        with again:
            assert [*again.branches] == ["main", "side"]
            with pytest.raises(ReadOnlyError):
                again.create_branch("x")
        checkout = pickle.loads(pickle.dumps(past.checkout("side")))
        assert checkout["labels", "a"] == 1
    assert full.is_dirty
    assert [*full.tags] == ["v1"]
    with full.at_operation(newest(full)) as now:
        assert now.is_dirty
        assert now.stashes[0].message == "aside"
        assert now.stashes[0].diff().stat().added == 1


def test_the_past_cannot_be_changed(full: tv.Repository) -> None:
    before, count = refs_of(full), newest(full)
    settings = full.config
    past = full.at_operation(count)
    calls: list[Callable[[], Any]] = [
        past.edit, past.transaction, past.reset, past.undo, past.repack, past.stash,
        past.apply_stash, past.pop_stash, past.drop_stash,
        lambda: past.reset("HEAD~1"), lambda: past.reset(keys="a"),
        lambda: past.restore_operation(1), lambda: past.create_branch("x"),
        lambda: past.delete_branch("side", force=True), lambda: past.rename_branch("side", "x"),
        lambda: past.rename_branch("main", "x"), lambda: past.switch("side"),
        lambda: past.switch("x", create=True), lambda: past.create_tag("x"),
        lambda: past.create_tag("x", message="y"), lambda: past.delete_tag("v1"),
        lambda: past.merge("side"), lambda: past.merge("main", into="side"),
        lambda: past.set_config("user.name", "Eve"), lambda: past.set_config("user.name", None),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ReadOnlyError, match=f"as it was after operation {count}") as caught:
            call()
        assert caught.value.hint == f"go back to it first: tvcs op restore {count}"
    assert (refs_of(full), newest(full), full.config) == (before, count, settings)
    with full.edit() as co:
        assert co.is_dirty


def test_a_bare_repository_restores_and_looks_back(tmp_path: Path) -> None:
    with tv.init(tmp_path / "bare", user_name="A", user_email="a", bare=True) as repo:
        for label in (1, 2):
            with repo.transaction(message=f"{label}") as tx:
                if "x" not in tx:
                    tx.add_ndarray_column("x", (), "int64")
                tx["x"]["a"] = label
        assert repo.at_operation(1).resolve("HEAD").message == "1"
        repo.restore_operation(1)
        assert repo.resolve("HEAD").message == "1"
        repo.undo()
        assert repo.resolve("HEAD").message == "2"
        for call in (repo.stash, repo.apply_stash, repo.pop_stash, repo.reset):
            with pytest.raises(BareRepositoryError):
                call()
        with pytest.raises(StashNotFoundError):
            repo.drop_stash()
        past = repo.at_operation(1)
        for write in (past.undo, past.transaction, lambda: past.restore_operation(1)):
            with pytest.raises(ReadOnlyError):
                write()


# The stash


def test_stashes(repo: tv.Repository) -> None:
    commit(repo, a=1, b=1)
    stage(repo, a=2)
    stash = repo.stash("half")
    assert isinstance(stash, tv.Stash)
    assert not repo.is_dirty
    with repo.edit() as co:
        co["labels"]["b"] = 2
        with pytest.raises(StagingLockedError):
            repo.stash()
    assert repo.stashes == [stash] == [repo.find_stash()]
    assert repo.apply_stash() == stash
    assert staged(repo) == {"labels": {"a": 2, "b": 2}}
    repo.reset()
    assert repo.pop_stash(stash) == stash
    assert staged(repo) == {"labels": {"a": 2, "b": 1}}
    with pytest.raises(StashNotFoundError):
        repo.pop_stash()
    repo.undo()
    assert repo.drop_stash().message == "half"
    with pytest.raises(NothingToStashError):
        repo.stash()
    with pytest.raises(InvalidInputError, match="cannot be empty"):
        repo.stash(" ")
    assert repo.verify().is_sound


def test_a_stash_counts_for_verify(repo: tv.Repository) -> None:
    commit(repo, a=1)
    stage(repo, a=2)
    stash = repo.stash()
    repo.create_branch("other")
    repo.switch("other")
    repo.delete_branch("main")
    clean = repo.verify()
    stage(repo, a=77)
    repo.reset()
    assert repo.verify().node_count == clean.node_count
    repo.drop_stash()
    assert repo.verify().node_count == clean.node_count - 1
    repo.undo()
    refs = repo._stores.refs
    broken = stash.record.encode().replace(stash.record.snapshot.hex().encode(), b"0" * 64)
    refs.swap([tv.repository.RefChange(stash.ref, refs.get(stash.ref), broken)])  # type: ignore[attr-defined]
    assert "stash/1" in [place for place, _ in repo.verify().problems]
    refs.swap([tv.repository.RefChange(stash.ref, broken, b"x")])  # type: ignore[attr-defined]
    assert "stash/1" in [place for place, _ in repo.verify().problems]


# Resetting


def test_reset_before_the_first_commit_drops_what_is_staged(repo: tv.Repository) -> None:
    assert repo.reset() is None
    assert repo.operations() == []
    stage(repo, a=1)
    assert repo.reset() is None
    assert not repo.is_dirty
    assert repo.operations(1)[0].description == "main to no commit"
    repo.undo()
    assert staged(repo) == {"labels": {"a": 1}}
    with pytest.raises(RevisionNotFoundError):
        repo.reset("main")
    assert repo.reset(keys="a") is None
    assert staged(repo) == {}


def test_reset_of_a_part(full: tv.Repository) -> None:
    head = full.resolve("HEAD")
    assert full.reset(columns=["labels"], keys="b") == head
    assert staged(full) == {"labels": {"a": 3, "b": 1}}
    count = newest(full)
    assert full.reset(columns=["labels"], keys=["b", "zz"]) == head
    assert newest(full) == count
    with pytest.raises(ColumnNotFoundError):
        full.reset(columns="nope")
    for revision in ("HEAD~1", head):
        with pytest.raises(InvalidInputError, match="reset to HEAD"):
            full.reset(revision, columns="labels")
    assert newest(full) == count


# Amending


def test_amend(repo: tv.Repository) -> None:
    with repo.edit() as co, pytest.raises(NothingToCommitError, match="no commit yet"):
        co.commit(amend=True)
    first = commit(repo, "first", a=1)
    stage(repo, a=2)
    with repo.edit() as co:
        second = co.commit("better", amend=True)
        assert co.base == second
        assert not co.is_dirty
    assert second.parents == ()
    assert (second.time, second.author, second.message) == (first.time, first.author, "better")
    assert not repo.is_dirty
    repo.undo()
    assert repo.resolve("HEAD") == first
    assert staged(repo) == {"labels": {"a": 2}}


# Revisions and the log


def test_revisions_by_time(repo: tv.Repository) -> None:
    now = [dt.datetime(2026, 1, 10, 12, tzinfo=dt.UTC)]
    repo.record_as(clock=lambda: now[0])
    commits = []
    for day in range(5):
        now[0] = dt.datetime(2026, 1, 10 + day, 12, tzinfo=dt.UTC)
        commits.append(commit(repo, f"{day}", a=day))
    now[0] += dt.timedelta(hours=1)
    for revision, expected in [
        ("@{2026-01-12T12:00Z}", 2),
        ("main@{2026-01-12T11:59:59Z}", 1),
        ("HEAD@{now}", 4),
        ("main@{1 hour ago}", 4),
        ("main@{61 minutes ago}", 3),
        ("@{yesterday}", 2),
        ("@{today}~1", 2),
    ]:
        assert repo.resolve(revision) == commits[expected], revision
    with pytest.raises(RevisionNotFoundError, match="was not there at"):
        repo.resolve("@{1 year ago}")
    with pytest.raises(RevisionSyntaxError, match="neither a number of changes nor a time"):
        repo.resolve("@{soon}")
    assert repo.diff("@{yesterday}").columns["labels"].stat().modified == 1


def test_ranges_of_the_log(repo: tv.Repository) -> None:
    commit(repo, "base", a=1)
    repo.switch("dev", create=True)
    for number in (1, 2):
        with repo.edit() as co:
            co["labels"]["b"] = number
            co.commit(f"dev {number}", metadata={"source": f"uni-{number}"})
    repo.switch("main")
    commit(repo, "main", c=1)

    def log(revision: str = "HEAD", **filters: Any) -> list[str]:
        return [found.message for found in repo.log(revision, **filters)]

    assert log("main..dev") == ["dev 2", "dev 1"]
    assert log("dev..main") == log("dev..") == ["main"]
    assert log("..dev", limit=1) == ["dev 2"]
    assert log("main..main") == []
    assert log("main..dev", metadata={"source": "uni-1"}) == ["dev 1"]
    repo.merge("dev", message="merge")
    assert log(first_parent=True) == ["merge", "main", "base"]
    assert log(merges=True) == ["merge"]
    assert log(merges=False, first_parent=True) == ["main", "base"]
    assert log("dev..main") == ["merge", "main"]
    assert log(grep="DEV") == ["dev 2", "dev 1"]
    assert log(until=repo.resolve("dev~1").time) == ["dev 1", "base"]
    with pytest.raises(RevisionSyntaxError):
        repo.log("a...b")
    with pytest.raises(RevisionNotFoundError):
        repo.log("nope..dev")


def test_the_log_of_a_long_history_is_lazy(repo: tv.Repository) -> None:
    for number in range(30):
        commit(repo, f"{number}", a=number)
    commits = repo.log(merges=False, grep="2")
    assert next(commits).message == "29"
