from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorvcs.checkout.areas import WorkingArea, read_staging
from tensorvcs.checkout.stash import (
    Stash,
    StashRecord,
    apply_stash,
    drop_stash,
    find_stash,
    iter_records,
    list_stashes,
    push_stash,
    reset_part,
)
from tensorvcs.errors import (
    InvalidInputError,
    MergeConflictError,
    MergeInProgressError,
    NothingToStashError,
    ObjectDamagedError,
    StashNotFoundError,
    UnsupportedFormatError,
)
from tensorvcs.history.operations import list_operations, plan_undo
from tensorvcs.history.picking.selection import Selection
from tensorvcs.history.refs import MERGE, STAGING, STASHES
from tensorvcs.objects.commit import Timestamp
from tensorvcs.objects.digest import CommitDigest, SnapshotDigest
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.tree.nodes import Nodes
from tests.memory_repository import MemoryRepository, contents_of


@pytest.fixture
def repo() -> MemoryRepository:
    """One commit with labels a and b, and a staged change of both, with texts and a picture."""
    made = MemoryRepository()

    def first(co: Any) -> None:
        co.add_ndarray_column("labels", (), "int64").update({"a": 1, "b": 1})
        co.add_ndarray_column("images", (16, 16), "uint8")["a"] = np.zeros((16, 16), np.uint8)

    made.commit(first, message="First\n\nwith more")
    with made.work() as co:
        co["labels"].update({"a": 2, "b": 2})
        co["images"]["a"] = np.ones((16, 16), np.uint8)
        co.add_str_column("texts")["a"] = "x"
    return made


def push(repo: MemoryRepository, message: str | None = None, **selected: Any) -> Stash:
    selection = Selection.of(selected.get("columns"), selected.get("keys"))
    with repo.stores.transaction():
        return push_stash(
            repo.stores, repo.nodes, "main", message=message, selection=selection, user="Ada",
            now=repo.now(),
        )  # fmt: skip


def apply(repo: MemoryRepository, which: Any = 0, *, drop: bool = True) -> None:
    with repo.stores.transaction():
        stash = find_stash(repo.stores, repo.nodes, which)
        apply_stash(repo.stores, repo.nodes, "main", stash, drop=drop, user="Ada", now=repo.now())


def staged(repo: MemoryRepository) -> dict[str, dict[Any, Any]]:
    with repo.work() as co:
        return contents_of(co.columns)


def stashes(repo: MemoryRepository) -> list[Stash]:
    return list_stashes(repo.stores, repo.nodes)


def test_push_and_pop_is_where_it_began(repo: MemoryRepository) -> None:
    before, value = staged(repo), repo.stores.refs.get(STAGING)
    stash = push(repo)
    assert read_staging(repo.stores.refs) is None
    assert staged(repo) == repo.content()
    assert stashes(repo) == [stash]
    assert stash.message == f"Work on main: {repo.load('main').short_id} First"
    assert (stash.place, stash.branch, stash.base) == (0, "main", repo.load("main"))
    assert stash.time == list_operations(repo.stores.refs, 1)[0].time
    assert stash.diff().columns["labels"].stat().modified == 2
    assert set(stash.diff().columns) == {"labels", "images", "texts"}
    assert repr(stash) == f"<Stash 0 of branch 'main': {stash.message!r}>"
    assert "labels" in stash._repr_html_()
    apply(repo)
    assert staged(repo) == before
    assert repo.stores.refs.get(STAGING) == value
    assert stashes(repo) == []
    assert [operation.command for operation in list_operations(repo.stores.refs, 2)] == [
        "stash", "stash",
    ]  # fmt: skip
    assert repo.state()[0].keys() == {"HEAD", "refs/heads/main", STAGING}


def test_before_the_first_commit() -> None:
    repo = MemoryRepository()
    with repo.work() as co:
        co.add_str_column("texts")["a"] = "x"
    stash = push(repo)
    assert (stash.message, stash.base) == ("Work on main: no commit yet", None)
    assert staged(repo) == {}
    repo.commit(lambda co: co.add_str_column("other"))
    apply(repo)
    assert staged(repo) == {"other": {}, "texts": {"a": "x"}}


def test_a_part_is_put_aside(repo: MemoryRepository) -> None:
    whole = staged(repo)
    stash = push(repo, "half", columns=["labels", "texts"], keys="b")
    assert stash.message == "half"
    assert {name: s.total for name, s in stash.diff().stat().columns.items()} == {"labels": 1}
    assert staged(repo) == {**whole, "labels": {"a": 2, "b": 1}}
    push(repo, columns="images")
    assert staged(repo) == {
        "images": repo.content()["images"], "labels": {"a": 2, "b": 1}, "texts": {"a": "x"},
    }  # fmt: skip
    apply(repo, 1)
    apply(repo)
    assert staged(repo) == whole


def test_all_that_is_selected_leaves_nothing_staged(repo: MemoryRepository) -> None:
    push(repo, columns=["labels", "texts", "images"])
    assert read_staging(repo.stores.refs) is None


@pytest.mark.parametrize("selected", [{"keys": "zzz"}, {"columns": "texts", "keys": ["b", 3]}])
def test_nothing_of_that_is_staged(repo: MemoryRepository, selected: Any) -> None:
    before = repo.state()
    with pytest.raises(NothingToStashError, match="in the columns and keys asked for") as caught:
        push(repo, **selected)
    assert caught.value.hint == "'tvcs diff' lists what is staged"
    assert repo.state() == before


def test_nothing_is_staged(repo: MemoryRepository) -> None:
    push(repo)
    before = repo.state()
    with pytest.raises(NothingToStashError, match="nothing is staged"):
        push(repo)
    assert repo.state() == before


def test_several_newest_first(repo: MemoryRepository) -> None:
    push(repo, "one")
    for label, name in [(5, "two"), (6, "three")]:
        with repo.work() as co:
            co["labels"]["a"] = label
        push(repo, name)
    found = stashes(repo)
    assert [(stash.place, stash.message) for stash in found] == [
        (0, "three"), (1, "two"), (2, "one"),
    ]  # fmt: skip
    assert len({stash.id for stash in found}) == 3
    assert [find_stash(repo.stores, repo.nodes, at).message for at in (0, 1, 2)] == [
        "three", "two", "one",
    ]  # fmt: skip
    drop_stash(repo.stores, found[1], user="Ada", now=repo.now())
    assert [(stash.place, stash.message) for stash in stashes(repo)] == [(0, "three"), (1, "one")]
    # By itself a stash is found wherever it has moved to; a dropped one is not.
    assert find_stash(repo.stores, repo.nodes, found[2]).place == 1
    with pytest.raises(StashNotFoundError, match=f"no stash {found[1].id}; the newest is 0"):
        find_stash(repo.stores, repo.nodes, found[1])
    apply(repo, found[2])
    assert [stash.message for stash in stashes(repo)] == ["three"]


def test_ten_stashes_go_by_number_and_not_by_letter(repo: MemoryRepository) -> None:
    for label in range(12):
        with repo.work() as co:
            co["labels"]["a"] = 100 + label
        push(repo, f"{label}")
    assert [stash.message for stash in stashes(repo)] == [f"{n}" for n in range(11, -1, -1)]


@pytest.mark.parametrize("which", [1, -1, True, "0", None])
def test_a_stash_that_there_is_not(repo: MemoryRepository, which: Any) -> None:
    with pytest.raises(StashNotFoundError, match="nothing is stashed"):
        find_stash(repo.stores, repo.nodes, which)
    push(repo)
    with pytest.raises(StashNotFoundError, match="the newest is 0, the oldest 0") as caught:
        find_stash(repo.stores, repo.nodes, which)
    assert caught.value.hint == "'tvcs stash list' lists them"


def test_it_is_merged_with_what_came_meanwhile(repo: MemoryRepository) -> None:
    push(repo)
    repo.commit(lambda co: co["labels"].update({"c": 3}))
    with repo.work() as co:
        co["labels"]["d"] = 4
    apply(repo, drop=False)
    assert staged(repo)["labels"] == {"a": 2, "b": 2, "c": 3, "d": 4}
    assert len(stashes(repo)) == 1
    before = repo.state()
    apply(repo, drop=False)
    assert repo.state() == before
    apply(repo)
    assert staged(repo)["labels"] == {"a": 2, "b": 2, "c": 3, "d": 4}
    assert list_operations(repo.stores.refs, 1)[0].changes[0].name == f"{STASHES}1"


def test_what_was_committed_meanwhile_is_not_staged_again(repo: MemoryRepository) -> None:
    push(repo)
    repo.commit(lambda co: co["labels"].update({"a": 2, "b": 2}))
    apply(repo)
    assert {*staged(repo)} == {"images", "labels", "texts"}
    with repo.work() as co:
        assert set(co.diff().columns) == {"images", "texts"}


def test_a_conflict_changes_nothing(repo: MemoryRepository) -> None:
    stash = push(repo)
    repo.commit(lambda co: co["labels"].update({"a": 7}))
    with repo.work() as co:
        co["labels"]["b"] = 8
    before, content = repo.state(), staged(repo)
    for drop in (True, False):
        with pytest.raises(MergeConflictError, match="applying stash 0 has 2 conflicts") as caught:
            apply(repo, drop=drop)
        assert [str(conflict) for conflict in caught.value.conflicts] == [
            "labels['a']: modify/modify", "labels['b']: modify/modify",
        ]  # fmt: skip
        assert stash.base is not None
        assert f"tvcs switch -c NEW {stash.base.short_id}" in (caught.value.hint or "")
    assert repo.state() == before
    assert staged(repo) == content


def test_a_conflict_of_a_stash_without_a_commit() -> None:
    repo = MemoryRepository()
    with repo.work() as co:
        co.add_str_column("texts")["a"] = "x"
    push(repo)
    repo.commit(lambda co: co.add_str_column("texts").update({"a": "y"}))
    with pytest.raises(MergeConflictError) as caught:
        apply(repo)
    assert caught.value.hint == "the stash is kept"


def test_a_policy_kept_in_the_schema_decides_as_in_a_merge() -> None:
    repo = MemoryRepository()

    def first(co: Any) -> None:
        co.add_ndarray_column("x", (40,), "float64", merge="mean")["a"] = np.zeros(40)

    repo.commit(first)
    with repo.work() as co:
        co["x"]["a"] = np.full(40, 2.0)
    push(repo)
    repo.commit(lambda co: co["x"].update({"a": np.full(40, 4.0)}))
    apply(repo)
    assert staged(repo)["x"]["a"] == [3.0] * 40
    said = list_operations(repo.stores.refs, 1)[0].description
    assert said.endswith("; 1 conflict decided by policies")


def test_a_merge_that_waits_comes_first(repo: MemoryRepository) -> None:
    stash = push(repo, columns="texts")
    repo.stores.refs.swap([RefChange(MERGE, None, b"merge " + b"0" * 64)])
    before = repo.state()
    for call in (lambda: push(repo), lambda: apply(repo)):
        with pytest.raises(MergeInProgressError, match="a merge waits in the staging area"):
            call()
    assert repo.state() == before
    drop_stash(repo.stores, stash, user="Ada", now=repo.now())
    assert stashes(repo) == []


def test_each_step_can_be_undone(repo: MemoryRepository) -> None:
    states = [repo.state()[0]]
    for step in (
        lambda: push(repo, "one", keys="a"),
        lambda: push(repo, "two"),
        lambda: apply(repo, 1, drop=False),
        lambda: drop_stash(repo.stores, stashes(repo)[0], user="Ada", now=repo.now()),
        lambda: apply(repo),
    ):
        step()
        states.append(repo.state()[0])
    for state in states[-2::-1]:
        undone, changes = plan_undo(repo.stores.refs, 1)
        repo.stores.refs.swap(changes)
        repo.stores.refs.log.pop()  # type: ignore[attr-defined]
        assert len(undone) == 1
        assert repo.state()[0] == state


def test_the_cost_follows_the_change() -> None:
    repo = MemoryRepository()
    keys = np.arange(50_000)
    repo.commit(
        lambda co: co.add_ndarray_column("x", (), "int64").extend(np.zeros(50_000, int), keys)
    )
    with repo.work() as co:
        co["x"][7] = 1
    repo.nodes = Nodes(repo.objects)
    repo.objects.get_count = 0
    push(repo, keys="0:10")
    apply(repo)
    assert repo.objects.get_count < 40


# Taking back a part of what is staged


def reset(repo: MemoryRepository, **selected: Any) -> bool:
    selection = Selection.of(selected.get("columns"), selected.get("keys"))
    return reset_part(repo.stores, repo.nodes, "main", selection, user="Ada", now=repo.now())


def test_a_part_is_taken_back(repo: MemoryRepository) -> None:
    whole = staged(repo)
    assert reset(repo, columns="labels", keys="b")
    assert staged(repo) == {**whole, "labels": {"a": 2, "b": 1}}
    assert list_operations(repo.stores.refs, 1)[0].description == (
        "staged changes of column labels; keys b"
    )
    before = repo.state()
    assert not reset(repo, columns="labels", keys="b")
    assert not reset(repo, keys="zzz")
    assert repo.state() == before
    assert reset(repo, keys="*")
    assert read_staging(repo.stores.refs) is None
    assert not reset(repo, keys="*")


# The record


RECORD = StashRecord(
    CommitDigest(b"\1" * 32), SnapshotDigest(b"\2" * 32), "main", "é\nx", "", Timestamp(5, 60)
)


@pytest.mark.parametrize("base", [RECORD.base, None])
def test_a_record_comes_back(base: CommitDigest | None) -> None:
    record = StashRecord(base, *(getattr(RECORD, name) for name in RECORD.__slots__[1:]))
    assert StashRecord.decode(record.encode()) == record


@pytest.mark.parametrize("value", [b"", b"stash 1\n{}", b'stash 1\n{"base":3}', b"commit 1\n{}"])
def test_a_record_that_is_none(repo: MemoryRepository, value: bytes) -> None:
    with pytest.raises(ObjectDamagedError):
        StashRecord.decode(value)
    repo.stores.refs.swap([RefChange(STASHES + "1", None, value)])
    ((name, problem),) = iter_records(repo.stores.refs)
    assert name == "stash/1"
    assert isinstance(problem, ObjectDamagedError)


def test_a_record_of_a_later_version(repo: MemoryRepository) -> None:
    newer = RECORD.encode().replace(b"stash 1", b"stash 2")
    repo.stores.refs.swap([RefChange(STASHES + "1", None, newer)])
    stash = push(repo)
    records = dict(iter_records(repo.stores.refs))
    assert isinstance(records["stash/1"], UnsupportedFormatError)
    assert records["stash/2"] == stash.record


def test_a_name_that_is_no_number(repo: MemoryRepository) -> None:
    repo.stores.refs.swap([RefChange(STASHES + "x", None, RECORD.encode())])
    with pytest.raises(ObjectDamagedError, match="'stash/x' is no stash"):
        stashes(repo)


# What the log says of an edit


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, "edit: branch main"),
        ("drop the blurred", "edit: drop the blurred"),
        ("import: photos -> images", "import: photos -> images"),
        (" clean: a: b\n", "clean: a: b"),
        ("import: \udcff", "import: \\udcff"),
    ],
)
def test_a_reason(reason: str | None, expected: str) -> None:
    repo = MemoryRepository()
    with repo.work(reason) as co:
        co.add_str_column("texts")
    newest = list_operations(repo.stores.refs, 1)[0]
    assert f"{newest.command}: {newest.description}" == expected


@pytest.mark.parametrize("reason", ["", " ", 3])
def test_what_is_no_reason(reason: Any) -> None:
    repo = MemoryRepository()
    with pytest.raises(InvalidInputError, match="a reason is a text"):
        WorkingArea(repo.stores, repo.nodes, "main", repo.writer, lambda: None, reason)


def test_a_part_comes_back_of_a_column_that_may_be_renamed() -> None:
    """Most values are equal by chance, so that a merge takes the columns for two."""
    repo = MemoryRepository()
    flags: dict[int | str, int] = dict.fromkeys([-5, 0, 10, "a", "b/1"], 0)
    repo.commit(lambda co: co.add_ndarray_column("old", (), "int64").update({**flags, "k": 2}))
    with repo.work() as co:
        co.rename_column("old", "new")
        co["new"].update({"k": 0, 1: 1, "a/1": 0})
    before = staged(repo)
    push(repo, keys="k")
    assert staged(repo) != before
    apply(repo)
    assert staged(repo) == before
