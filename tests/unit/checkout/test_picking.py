"""Cherry-pick and revert recorded on a branch, on stores in memory."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.checkout.areas import read_staging
from tensorvcs.checkout.merge_in_progress import MergeInProgress
from tensorvcs.checkout.picking import PickMode, pick_commits
from tensorvcs.checkout.reader import CheckoutColumns
from tensorvcs.errors import (
    BranchNotFoundError,
    ColumnNotFoundError,
    EmptyPickError,
    InvalidInputError,
    MergeConflictError,
    NothingToCommitError,
)
from tensorvcs.history.merging.policies import Policies
from tensorvcs.history.operations import list_operations
from tensorvcs.history.picking.picking import PickRequest
from tensorvcs.history.picking.selection import Selection
from tensorvcs.history.refs import BRANCHES, MERGE, STAGING, encode_commit_ref
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.commit import Identity
from tensorvcs.storage.interfaces import RefChange
from tests.memory_repository import ADA, MemoryRepository, contents_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorvcs.history.commit import Commit

BOB = Identity("Bob", "bob@uni-3.example")


def put(
    repo: MemoryRepository,
    labels: dict[Any, int | None],
    message: str = "m",
    author: Identity = ADA,
    branch: str = "main",
) -> Commit:
    """Commit labels; None deletes."""
    with repo.edit(branch) as co:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
        for key, value in labels.items():
            if value is None:
                del co["labels"][key]
            else:
                co["labels", key] = value
        return co.commit(message, author)


def pick(
    repo: MemoryRepository,
    verb: Any,
    end: str,
    start: str | None = None,
    *,
    strategy: Any = "fail",
    mode: PickMode | None = None,
    columns: Any = None,
    keys: Any = None,
    **options: Any,
) -> Commit:
    """Run a cherry-pick or revert on main."""
    first = None if start is None else repo.resolve(start)
    spoken = end if start is None else f"{start}..{end}"
    request = PickRequest(
        verb, spoken, repo.load(end), first, Selection.of(columns, keys), **options
    )
    return pick_commits(
        repo.stores, repo.nodes, "main", request, Policies.of(strategy), mode or PickMode(),
        repo.writer,
    )  # fmt: skip


def labels(repo: MemoryRepository, revision: str = "main") -> dict[Any, int]:
    found: dict[Any, int] = repo.content(revision)["labels"]
    return found


def staged(repo: MemoryRepository) -> dict[Any, int]:
    record = read_staging(repo.stores.refs)
    assert record is not None
    columns = read_snapshot(repo.objects, record.snapshot)
    found: dict[Any, int] = contents_of(
        CheckoutColumns(repo.stores, repo.nodes, columns, "staging")
    )["labels"]
    return found


def waiting(repo: MemoryRepository) -> MergeInProgress:
    return MergeInProgress(repo.stores, repo.nodes, repo.writer, nullcontext, repo.work)


@pytest.fixture
def repo() -> MemoryRepository:
    """Four commits on main and two on dev, by two authors."""
    made = MemoryRepository()
    put(made, {"a": 1, "b": 1, "c": 1}, "First")
    made.branch_at("dev")
    put(made, {"a": 2, "d": 2}, "Dev 1", BOB, "dev")
    put(made, {"b": None, 7: 7}, "Dev 2", ADA, "dev")
    put(made, {"c": 3}, "Main 1", BOB)
    put(made, {"e": 3}, "Main 2")
    put(made, {"c": 4, "f": 4}, "Main 3", BOB)
    return made


def test_a_cherry_pick_keeps_author_time_and_message(repo: MemoryRepository) -> None:
    head = repo.head()
    original = repo.load("dev~1")
    made = pick(repo, "cherry-pick", "dev~1")
    assert labels(repo) == {"a": 2, "b": 1, "c": 4, "d": 2, "e": 3, "f": 4}
    assert made.digest == repo.head()
    assert made.object.parents == (head,)
    assert (made.author, made.committer, made.message) == (BOB, ADA, "Dev 1")
    assert made.object.author_time == original.object.author_time
    assert made.object.commit_time != original.object.author_time
    assert made.metadata == {"cherry-picked-from": original.id}


def test_a_revert_takes_back_one_commit_of_many(repo: MemoryRepository) -> None:
    made = pick(repo, "revert", "main~1")
    assert labels(repo) == {"a": 1, "b": 1, "c": 4, "f": 4}
    assert (made.author, made.summary) == (ADA, 'Revert "Main 2"')
    pick(repo, "revert", "main")
    assert labels(repo) == labels(repo, "main~2")


def test_the_first_commit(repo: MemoryRepository) -> None:
    with pytest.raises(MergeConflictError) as error:
        pick(repo, "revert", "main~3")
    assert [(c.column, c.key, c.kind) for c in error.value.conflicts] == [
        ("labels", None, "modify/delete")
    ]
    assert error.value.problem.startswith("the revert of ")
    pick(repo, "revert", "main~3", strategy="theirs")
    assert repo.content() == {}
    pick(repo, "cherry-pick", "main~4")
    assert labels(repo) == {"a": 1, "b": 1, "c": 1}


def test_a_part_by_column_and_key(repo: MemoryRepository) -> None:
    pick(repo, "cherry-pick", "dev", "main~3", keys=["d", 0, "5:9"], columns="labels")
    assert labels(repo) == {"a": 1, "b": 1, "c": 4, "d": 2, "e": 3, "f": 4, 7: 7}
    with pytest.raises(ColumnNotFoundError):
        pick(repo, "cherry-pick", "dev", columns="nope")


def test_one_contributor_of_a_range_is_taken_back(repo: MemoryRepository) -> None:
    made = pick(repo, "revert", "main", "main~3", author="uni-3", columns="labels")
    assert labels(repo) == {"a": 1, "b": 1, "c": 1, "e": 3}
    assert made.summary == "Revert 2 commits of main~3..main by uni-3"
    assert len(made.parents) == 1


def test_each_commit_of_a_range(repo: MemoryRepository) -> None:
    operations = len(repo.stores.refs.operations())
    head = repo.load("main")
    made = pick(repo, "cherry-pick", "dev", "main~3", mode=PickMode(is_each=True))
    assert [repo.load(f"main~{n}").message for n in range(3)] == ["Dev 2", "Dev 1", "Main 3"]
    assert [repo.load(f"main~{n}").author for n in range(2)] == [ADA, BOB]
    assert repo.load("main~2") == head
    assert made == repo.load("main")
    assert labels(repo) == {"a": 2, "c": 4, "d": 2, "e": 3, "f": 4, 7: 7}
    # One operation, so that one undo takes all of it back.
    assert len(repo.stores.refs.operations()) == operations + 1


def test_each_passes_over_what_is_here_already(repo: MemoryRepository) -> None:
    pick(repo, "cherry-pick", "dev~1")
    pick(repo, "cherry-pick", "dev", "main~4", mode=PickMode(is_each=True))
    assert [repo.load(f"main~{n}").message for n in range(3)] == ["Dev 2", "Dev 1", "Main 3"]
    with pytest.raises(EmptyPickError):
        pick(repo, "cherry-pick", "dev", "main~5", mode=PickMode(is_each=True))


def test_staged_only(repo: MemoryRepository) -> None:
    head = repo.load("main")
    assert pick(repo, "revert", "main", mode=PickMode(is_staged_only=True)) == head
    assert repo.head() == head.digest
    assert repo.stores.refs.get(MERGE) is None
    assert staged(repo) == {"a": 1, "b": 1, "c": 3, "e": 3}
    with repo.work() as co:
        commit = co.commit("By hand")
    assert (commit.metadata, len(commit.parents)) == ({}, 1)


def test_nothing_left_to_do(repo: MemoryRepository) -> None:
    pick(repo, "cherry-pick", "dev~1")
    state = repo.state()
    with pytest.raises(NothingToCommitError, match="all that dev~1 changes is here already"):
        pick(repo, "cherry-pick", "dev~1")
    with pytest.raises(EmptyPickError, match=r"is here already \(of keys a\)"):
        pick(repo, "cherry-pick", "dev~1", keys="a")
    with pytest.raises(EmptyPickError, match="nothing that dev changed is left"):
        pick(repo, "revert", "dev", keys=7)
    assert repo.state() == state


def test_the_branch_has_no_commit() -> None:
    repo = MemoryRepository()
    put(repo, {"a": 1})
    repo.branch_at("dev")
    repo.put_branch("main", None)
    with pytest.raises(BranchNotFoundError, match="branch 'main' has no commits yet"):
        pick(repo, "cherry-pick", "dev")


def test_modes_that_exclude_each_other() -> None:
    for other in ({"keeps_conflicts": True}, {"is_staged_only": True}):
        with pytest.raises(InvalidInputError, match="exclude each other"):
            PickMode(is_each=True, **other)


def test_a_renamed_column_is_followed() -> None:
    repo = MemoryRepository()
    zeros: dict[Any, int | None] = dict.fromkeys(range(9), 0)
    put(repo, zeros)
    repo.branch_at("dev")
    put(repo, {"d": 2}, branch="dev")
    repo.commit(lambda co: co.rename_column("labels", "y"))
    pick(repo, "cherry-pick", "dev")
    assert repo.content() == {"y": {**zeros, "d": 2}}
    pick(repo, "revert", "main~1")
    assert labels(repo)["d"] == 2


# Conflicts


@pytest.fixture
def parted(repo: MemoryRepository) -> MemoryRepository:
    put(repo, {"a": 9, "b": 9})
    return repo


def test_conflicts_change_nothing(parted: MemoryRepository) -> None:
    state = parted.state()
    with pytest.raises(MergeConflictError) as error:
        pick(parted, "cherry-pick", "dev", "main~4")
    assert [(c.key, c.base, c.ours, c.theirs) for c in error.value.conflicts] == [("a", 1, 9, 2)]
    assert parted.load("dev~1").short_id in str(error.value)
    with pytest.raises(MergeConflictError):
        pick(parted, "cherry-pick", "dev", "main~4", mode=PickMode(is_each=True))
    assert parted.state() == state


@pytest.mark.parametrize(("strategy", "a", "b"), [
    ("ours", 9, 9), ("theirs", 2, None), ("newest", 9, 9), ({"labels": "theirs"}, 2, None),
    ("max", 9, KeyError), ("mean", 6, KeyError),
    (lambda base, ours, theirs, _: int(base) + int(ours) + int(theirs or 0), 12, 10),
])  # fmt: skip
def test_strategies(parted: MemoryRepository, strategy: Any, a: int, b: Any) -> None:
    if b is KeyError:
        with pytest.raises(MergeConflictError):
            pick(parted, "cherry-pick", "dev", "main~4", strategy=strategy)
        pick(parted, "cherry-pick", "dev~1", strategy=strategy)
        assert labels(parted)["a"] == a
        return
    pick(parted, "cherry-pick", "dev", "main~4", strategy=strategy)
    assert (labels(parted)["a"], labels(parted).get("b")) == (a, b)
    said = list_operations(parted.stores.refs, 1)[0].description
    assert said.endswith("; 2 conflicts decided by policies")


def test_a_revert_is_newer_than_what_was_recorded(parted: MemoryRepository) -> None:
    put(parted, {"a": 10})
    pick(parted, "revert", "main~1", strategy="newest")
    assert (labels(parted)["a"], labels(parted)["b"]) == (1, 1)


def test_kept_conflicts_of_one_commit(parted: MemoryRepository) -> None:
    head = parted.load("main")
    mode = PickMode(keeps_conflicts=True)
    assert pick(parted, "cherry-pick", "dev~1", mode=mode) == head
    merge = waiting(parted)
    assert (merge.verb, merge.theirs, merge.open_count) == ("cherry-pick", parted.load("dev~1"), 1)
    assert staged(parted)["d"] == 2
    merge.resolve("labels", "a", "theirs")
    made = merge.finish()
    assert (made.author, made.message, made.committer) == (BOB, "Dev 1", ADA)
    assert made.object.parents == (head.digest,)
    assert made.metadata == {"cherry-picked-from": parted.load("dev~1").id}
    assert made.object.author_time == parted.load("dev~1").object.author_time
    assert labels(parted)["a"] == 2


def test_kept_conflicts_when_nothing_else_changes(parted: MemoryRepository) -> None:
    pick(parted, "cherry-pick", "dev~1", keys="a", mode=PickMode(keeps_conflicts=True))
    assert parted.stores.refs.get(STAGING) is None
    merge = waiting(parted)
    merge.resolve_all("ours")
    with pytest.raises(NothingToCommitError):
        merge.finish()
    merge.abort()
    assert parted.stores.refs.get(MERGE) is None


def test_kept_conflicts_of_a_range_are_gathered_by_sample() -> None:
    repo = MemoryRepository()
    put(repo, {"a": 1, "b": 1, "c": 1, "d": 1})
    repo.branch_at("dev")
    put(repo, {"a": 2, "b": 2, "x": 2}, branch="dev")
    put(repo, {"a": 3, "c": 3, "d": 5}, branch="dev")
    put(repo, {"a": 4, "d": 6, "y": 4}, branch="dev")
    put(repo, {"a": 7, "c": 7, "d": 5})
    pick(repo, "cherry-pick", "dev", "main~1", mode=PickMode(keeps_conflicts=True))
    merge = waiting(repo)
    assert [(c.key, c.base, c.ours, c.theirs) for c in merge.conflicts] == [
        ("a", 1, 7, 4), ("c", 1, 7, 3),
    ]  # fmt: skip
    assert staged(repo) == {"a": 7, "b": 2, "c": 7, "d": 6, "x": 2, "y": 4}


def test_a_later_change_that_fits_again_is_what_theirs_wants() -> None:
    repo = MemoryRepository()
    put(repo, {"a": 1, "b": 1})
    repo.branch_at("dev")
    put(repo, {"a": 2}, author=BOB, branch="dev")
    put(repo, {"a": 7}, branch="dev")
    put(repo, {"a": 8, "b": 8}, author=BOB, branch="dev")
    put(repo, {"a": 7})
    # 1 to 2 is in conflict with 7, and 7 to 8 is not.
    mode = PickMode(keeps_conflicts=True)
    pick(repo, "cherry-pick", "dev", "main~1", author="bob", mode=mode)
    merge = waiting(repo)
    assert [(c.key, c.base, c.ours, c.theirs) for c in merge.conflicts] == [("a", 1, 7, 8)]
    assert staged(repo) == {"a": 7, "b": 8}
    merge.resolve_all("theirs")
    merge.finish()
    assert labels(repo) == {"a": 8, "b": 8}


def test_a_column_as_a_whole_stops_a_range_and_is_kept_of_one_commit() -> None:
    repo = MemoryRepository()
    put(repo, {"a": 1})
    repo.branch_at("dev")
    put(repo, {"a": 2}, branch="dev")

    def drop(co: Any) -> None:
        del co["labels"]

    repo.commit(drop, "dev")
    put(repo, {"a": 3})
    mode = PickMode(keeps_conflicts=True)
    with pytest.raises(MergeConflictError):
        pick(repo, "cherry-pick", "dev", "main~1", mode=mode)
    pick(repo, "cherry-pick", "dev", mode=mode)
    merge = waiting(repo)
    assert [(c.column, c.key) for c in merge.conflicts] == [("labels", None)]
    merge.resolve("labels", None, "theirs")
    merge.finish()
    assert repo.content() == {}


def test_conflicts_in_a_column_that_a_later_change_renames() -> None:
    repo = MemoryRepository()
    put(repo, dict.fromkeys("abcdef", 1))
    repo.branch_at("dev")
    put(repo, {"a": 2}, "Relabel", branch="dev")
    repo.commit(lambda co: co.rename_column("labels", "y"), "dev")
    put(repo, {"a": 7})
    state = repo.state()
    with pytest.raises(MergeConflictError, match=repo.load("dev~1").short_id):
        pick(repo, "cherry-pick", "dev", "main~1", mode=PickMode(keeps_conflicts=True))
    assert repo.state() == state


def test_conflicts_in_several_columns_of_a_range() -> None:
    repo = MemoryRepository()

    def both(x: dict[str, int], y: dict[str, int]) -> Callable[[Any], None]:
        def change(co: Any) -> None:
            for name, values in (("x", x), ("y", y)):
                if name not in co:
                    co.add_ndarray_column(name, (), "int64")
                co[name].update({key: np.int64(value) for key, value in values.items()})

        return change

    repo.commit(both({"a": 1}, {"a": 1}))
    repo.branch_at("dev")
    repo.commit(both({"a": 2}, {"b": 2}), "dev")
    repo.commit(both({"a": 3}, {"a": 3}), "dev")
    repo.commit(both({"a": 9}, {"a": 9}))
    pick(repo, "cherry-pick", "dev", "main~1", mode=PickMode(keeps_conflicts=True))
    found = [(c.column, c.key, c.base, c.ours, c.theirs) for c in waiting(repo).conflicts]
    assert found == [("x", "a", 1, 9, 3), ("y", "a", 1, 9, 3)]


def test_columns_that_a_commit_leaves_alone_stay_as_they_are_here() -> None:
    repo = MemoryRepository()
    put(repo, {"a": 1})
    repo.commit(lambda co: co.add_str_column("notes"))
    repo.branch_at("dev")
    put(repo, {"a": 2}, branch="dev")

    def change(co: Any) -> None:
        co["notes", "x"] = "here"
        co.add_bytes_column("more")["y"] = b"here"

    repo.commit(change)
    pick(repo, "cherry-pick", "dev")
    assert repo.content() == {"labels": {"a": 2}, "more": {"y": b"here"}, "notes": {"x": "here"}}


def test_a_column_that_has_other_values_here() -> None:
    repo = MemoryRepository()
    put(repo, {"a": 1})
    repo.branch_at("dev")
    put(repo, {"a": 2}, branch="dev")

    def change(co: Any) -> None:
        del co["labels"]
        co.add_str_column("labels")["a"] = "one"

    repo.commit(change)
    with pytest.raises(MergeConflictError) as error:
        pick(repo, "cherry-pick", "dev")
    assert [(c.column, c.key, c.kind) for c in error.value.conflicts] == [
        ("labels", None, "schema")
    ]


# What is stored, and other writers


def test_nothing_of_the_way_is_stored() -> None:
    written = []
    for is_revert in (True, False):
        repo = MemoryRepository()
        put(repo, dict.fromkeys(range(20_000), 0))
        for number in range(1, 6):
            put(repo, {number * 1000: number}, author=BOB)
        put(repo, {500: 1})
        before = repo.objects.put_count
        if is_revert:
            pick(repo, "revert", "main", "main~6", author="bob")
        else:
            put(repo, {number * 1000: 0 for number in range(1, 6)})
        written.append(repo.objects.put_count - before)
    # What five commits did is taken back in as many nodes as one commit by hand writes.
    assert written[0] == written[1]


def test_the_branch_moves_meanwhile(repo: MemoryRepository) -> None:
    moves: list[dict[Any, int | None]] = [{"late": 1}, {"later": 1}]

    def transaction() -> Any:
        if moves:
            wanted = moves.pop()
            inner = MemoryRepository.__new__(MemoryRepository)
            inner.__dict__.update(repo.__dict__)
            inner.stores = stores
            put(inner, wanted)
        return stores.transaction()

    stores = repo.stores
    repo.stores = replace(stores, transaction=transaction)
    made = pick(repo, "cherry-pick", "dev~1")
    assert labels(repo) == {
        "a": 2, "b": 1, "c": 4, "d": 2, "e": 3, "f": 4, "late": 1, "later": 1,
    }  # fmt: skip
    assert made.digest == repo.head()


def test_a_strategy_that_fails_leaves_nothing_behind(parted: MemoryRepository) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no idea")

    state = parted.state()
    with pytest.raises(RuntimeError):
        pick(parted, "cherry-pick", "dev~1", strategy=broken)
    assert parted.state() == state
    assert parted.stores.tensors.unsealed_nbytes == 0


def test_a_large_value_that_a_strategy_makes() -> None:
    repo = MemoryRepository()
    shape = (1100, 1000)

    def fill(value: int) -> Callable[[Any], None]:
        def change(co: Any) -> None:
            if "x" not in co:
                co.add_ndarray_column("x", shape, "uint8")
            co["x", 1] = np.full(shape, value, np.uint8)

        return change

    repo.commit(fill(0))
    repo.branch_at("dev")
    repo.commit(fill(10), "dev")
    repo.commit(fill(20))
    pick(repo, "cherry-pick", "dev", strategy="mean")
    assert repo.checkout()["x"][1][0, 0] == 15


# Against dictionaries

EDITS = st.lists(
    st.tuples(
        st.booleans(),
        st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3) | st.none(), min_size=1),
    ),
    min_size=1,
    max_size=5,
)


@given(EDITS, st.sampled_from(["cherry-pick", "revert"]), st.sampled_from(["ours", "theirs"]))
def test_ranges_against_dictionaries(
    edits: list[tuple[bool, dict[str, int | None]]], verb: str, strategy: str
) -> None:
    repo = MemoryRepository()
    versions: list[dict[str, int]] = [{"a": 0, "b": 0, "k": 0}]
    put(repo, dict(versions[0]))
    repo.branch_at("start")
    taken: list[tuple[dict[str, int], dict[str, int]]] = []
    for by_bob, wanted in edits:
        before = versions[-1]
        change = {k: v for k, v in wanted.items() if before.get(k) != v}
        after = {k: v for k, v in {**before, **change}.items() if v is not None}
        if after != before:
            put(repo, change, author=BOB if by_bob else ADA)
            versions.append(after)
            if by_bob:
                taken.append((before, after))
    if verb == "cherry-pick":
        repo.branch_at("dev")
        repo.put_branch("main", repo.resolve("start"))
        put(repo, {"z": 1})
    model = dict(labels(repo))
    for before, after in taken if verb == "cherry-pick" else [(a, b) for b, a in taken[::-1]]:
        for key in {*before, *after}:
            base, ours, theirs = before.get(key), model.get(key), after.get(key)
            if base != theirs and (ours == base or strategy == "theirs"):
                model.pop(key, None)
                model |= {} if theirs is None else {key: theirs}
    end = "dev" if verb == "cherry-pick" else "main"
    if model == labels(repo):
        with pytest.raises(EmptyPickError):
            pick(repo, verb, end, "start", author="bob", strategy=strategy)
        return
    pick(repo, verb, end, "start", author="bob", strategy=strategy)
    assert labels(repo) == model


@given(EDITS)
def test_a_revert_of_all_is_where_it_began(
    edits: list[tuple[bool, dict[str, int | None]]],
) -> None:
    repo = MemoryRepository()
    put(repo, {"a": 0, "k": 0})
    repo.branch_at("start")
    for _, wanted in edits:
        now = labels(repo)
        change = {k: v for k, v in wanted.items() if now.get(k) != v}
        if change:
            put(repo, change)
    if labels(repo) == labels(repo, "start"):
        return
    pick(repo, "revert", "main", "start")
    assert repo.load("main").snapshot == repo.load("start").snapshot
    pick(repo, "revert", "main")
    assert repo.load("main").snapshot == repo.load("main~2").snapshot
    refs = repo.stores.refs
    refs.swap([RefChange(
        BRANCHES + "main", refs.get(BRANCHES + "main"), encode_commit_ref(repo.resolve("start"))
    )])  # fmt: skip
