"""A merge that waits: kept, decided, finished and given up, on stores in memory."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.checkout.areas import read_staging
from tensorvcs.checkout.merge_in_progress import MergeInProgress, keep_merge
from tensorvcs.checkout.reader import CheckoutColumns
from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    MergeConflictError,
    MergeInProgressError,
    NoMergeInProgressError,
    NothingToCommitError,
    ObjectDamagedError,
    ObjectNotFoundError,
    OpenConflictsError,
    SampleNotFoundError,
    SchemaMismatchError,
)
from tensorvcs.history.commit import load_commit
from tensorvcs.history.merging.merge import merge_commits
from tensorvcs.history.merging.merge_progress import (
    Intent,
    KeptMerge,
    merge_reach,
    read_merge,
    store_merge,
)
from tensorvcs.history.operations import plan_undo
from tensorvcs.history.refs import MERGE, STAGING
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.maintenance.verify import verify_repository
from tensorvcs.objects.commit import EMPTY_SNAPSHOT, Identity
from tensorvcs.objects.digest import CommitDigest
from tensorvcs.objects.encoding import encode_object
from tensorvcs.storage.interfaces import RefChange
from tests.memory_repository import ADA, MemoryRepository, contents_of

if TYPE_CHECKING:
    from tensorvcs.history.merging.merge import MergePlan, MergeResult

BOB = Identity("Bob", "bob@example.org")


def begin(repo: MemoryRepository, message: str = "Merge dev") -> MergeResult:
    """Merge dev into main and keep the conflicts."""

    def keep(plan: MergePlan) -> None:
        keep_merge(repo.stores, repo.nodes, plan, message, ADA, repo.writer)

    return merge_commits(
        repo.stores, repo.nodes, "main", repo.load("dev"),
        strategy="fail", author=ADA, now=repo.now(), message=message, keep=keep,
    )  # fmt: skip


def waiting(repo: MemoryRepository) -> MergeInProgress:
    return MergeInProgress(repo.stores, repo.nodes, repo.writer, nullcontext, repo.work)


def staged(repo: MemoryRepository) -> dict[str, Any]:
    """Return what is staged, or what the branch has when nothing is."""
    record = read_staging(repo.stores.refs)
    if record is None:
        return repo.content()
    columns = read_snapshot(repo.objects, record.snapshot)
    return contents_of(CheckoutColumns(repo.stores, repo.nodes, columns, "staging"))


def label(values: dict[Any, int | None], column: str = "labels") -> Any:
    """Return a change that sets labels, or deletes those that are None."""

    def change(co: Any) -> None:
        if column not in co:
            co.add_ndarray_column(column, (), "int64")
        for key, value in values.items():
            if value is None:
                del co[column][key]
            else:
                co[column, key] = value

    return change


@pytest.fixture
def repo() -> MemoryRepository:
    """Two branches with four conflicts in labels, and clean changes on both."""
    made = MemoryRepository()
    made.commit(label({1: 1, 2: 1, "a": 1, "b": 1, "c": 1}))
    made.branch_at("dev")
    made.commit(label({1: 2, "a": 2, "b": None, "d": 2, "new": 2}), "dev")
    made.commit(label({1: 3, "a": 3, "b": 3, "new": 3, 2: 3}), "main")
    return made


MERGED = {1: 3, 2: 3, "a": 3, "b": 3, "c": 1, "d": 2, "new": 3}
"""What is staged: the clean changes of both, and ours where a conflict is open."""


def test_a_merge_without_conflicts_is_made_at_once(repo: MemoryRepository) -> None:
    repo.branch_at("clean", "dev~1")
    repo.commit(label({"z": 1}), "clean")
    result = merge_commits(
        repo.stores, repo.nodes, "main", repo.load("clean"), strategy="fail",
        author=ADA, now=repo.now(), message="m", keep=lambda _: pytest.fail("nothing to keep"),
    )  # fmt: skip
    assert result.commit.digest == repo.head()
    assert result.open_conflicts == ()


def test_conflicts_are_kept_as_data(repo: MemoryRepository) -> None:
    head = repo.head()
    result = begin(repo)
    assert repo.head() == head == result.commit.digest
    assert len(result.open_conflicts) == 4
    assert repr(result) == "<MergeResult in progress: 4 conflicts open>"
    assert staged(repo) == {"labels": MERGED}
    merge = waiting(repo)
    assert (merge.verb, merge.message, merge.open_count) == ("merge", "Merge dev", 4)
    assert merge.schema("labels").spelling == "int64 ()"
    assert merge.head.digest == head
    assert merge.theirs == repo.load("dev")
    assert repr(merge) == f"<MergeInProgress: merge of {merge.theirs.short_id}, 4 conflicts open>"
    assert "modify/delete" in merge._repr_html_()
    found = [(c.key, c.kind, c.base, c.ours, c.theirs) for c in merge.conflicts]
    assert found == [
        (1, "modify/modify", 1, 3, 2),
        ("a", "modify/modify", 1, 3, 2),
        ("b", "modify/delete", 1, 3, None),
        ("new", "add/add", None, 3, 2),
    ]


@pytest.mark.parametrize(("side", "expected"), [
    ("ours", MERGED),
    ("theirs", {1: 2, 2: 3, "a": 2, "c": 1, "d": 2, "new": 2}),
    ("delete", {2: 3, "c": 1, "d": 2}),
])  # fmt: skip
def test_all_by_one_side(repo: MemoryRepository, side: Any, expected: dict[Any, int]) -> None:
    begin(repo)
    merge = waiting(repo)
    assert merge.resolve_all(side) == 0
    assert len(merge.conflicts) == 0
    assert staged(repo) == {"labels": expected}
    commit = merge.finish()
    assert commit.object.parents == (commit.object.parents[0], repo.load("dev").digest)
    assert commit.message == "Merge dev"
    assert repo.content() == {"labels": expected}
    assert repr(merge) == "<MergeInProgress: over>"
    assert merge._repr_html_() == "<p>no merge in progress</p>"
    assert repo.stores.refs.get(STAGING) is repo.stores.refs.get(MERGE) is None


def test_one_by_one_and_anew(repo: MemoryRepository) -> None:
    begin(repo)
    merge = waiting(repo)
    assert merge.resolve("labels", 1, "theirs") == 3
    assert merge.resolve("labels", ["a", "b"], "theirs") == 1
    assert staged(repo)["labels"] == {1: 2, 2: 3, "a": 2, "c": 1, "d": 2, "new": 3}
    assert merge.resolve("labels", "b", value=7) == 1
    assert merge.resolve("labels", 1, "ours") == 1
    assert merge.resolve("labels", "new", "delete") == 0
    assert staged(repo)["labels"] == {1: 3, 2: 3, "a": 2, "b": 7, "c": 1, "d": 2}
    with pytest.raises(NoMergeInProgressError):
        _ = (merge.finish("By hand", "Bob <bob@example.org>", metadata={"a": "b"}), merge.verb)
    assert repo.load("main").author == BOB
    assert (repo.load("main").message, repo.load("main").metadata) == ("By hand", {"a": "b"})


def test_what_others_staged_is_not_taken_for_the_merge(repo: MemoryRepository) -> None:
    """Another process gives the merge up, and stages, just before this one finishes it."""
    begin(repo)
    waiting(repo).resolve_all("ours")

    def edit() -> Any:
        waiting(repo).abort()
        with repo.work() as co:
            co["labels", "mine"] = 9
        return repo.work()

    head = repo.head()
    merge = MergeInProgress(repo.stores, repo.nodes, repo.writer, nullcontext, edit)
    with pytest.raises(NoMergeInProgressError):
        merge.finish()
    assert repo.head() == head
    assert staged(repo)["labels"]["mine"] == 9


def test_many_names_cost_one_look_up(repo: MemoryRepository) -> None:
    begin(repo)
    merge = waiting(repo)
    looks = []
    for keys in ([1], [1, "a", "b", "new"] * 50):
        before = repo.objects.get_count
        merge.resolve("labels", keys, "theirs")
        looks.append(repo.objects.get_count - before)
    assert looks[1] <= looks[0] + 3
    with pytest.raises(SampleNotFoundError, match="'labels': 'zz' is not in conflict"):
        merge.resolve("labels", ["a", 1, "zz", "b"], "ours")


def test_by_pattern(repo: MemoryRepository) -> None:
    begin(repo)
    merge = waiting(repo)
    assert merge.resolve_all("theirs", keys=["0:9", "n*"]) == 2
    assert merge.resolve_all("theirs", column="labels", keys="[ab]") == 0
    # What is decided stays, unless it is asked for.
    assert merge.resolve_all("ours", column="labels") == 0
    assert staged(repo)["labels"] == {1: 2, 2: 3, "a": 2, "c": 1, "d": 2, "new": 2}
    with pytest.raises(SampleNotFoundError, match="no conflict of column 'labels' has a key like"):
        merge.resolve_all("ours", column="labels", keys="a")
    assert merge.resolve_all("ours", keys="a", again=True) == 0
    assert merge.resolve_all(value=np.int64(5), keys=1, again=True) == 0
    assert staged(repo)["labels"] == {1: 5, 2: 3, "a": 3, "c": 1, "d": 2, "new": 2}
    assert merge.resolve_all("ours", again=True) == 0
    assert staged(repo) == {"labels": MERGED}


def test_a_wrong_wish_changes_nothing(repo: MemoryRepository) -> None:
    begin(repo)
    merge = waiting(repo)
    state = repo.state()
    wishes: list[tuple[type[Exception], Any]] = [
        (ColumnNotFoundError, lambda: merge.resolve("nope", 1, "ours")),
        (ColumnNotFoundError, lambda: merge.resolve_all("ours", column="nope")),
        (ColumnNotFoundError, lambda: merge.schema("nope")),
        (ColumnNotFoundError, lambda: merge.sides("labels")),
        (SampleNotFoundError, lambda: merge.resolve("labels", 2, "ours")),
        (SampleNotFoundError, lambda: merge.resolve("labels", [1, "zz"], "ours")),
        (SampleNotFoundError, lambda: merge.resolve_all("ours", keys=["a", "zz*"])),
        (InvalidInputError, lambda: merge.resolve("labels", None, "ours")),
        (InvalidInputError, lambda: merge.resolve("labels", 1)),
        (InvalidInputError, lambda: merge.resolve("labels", 1, "ours", value=1)),
        (InvalidInputError, lambda: merge.resolve("labels", 1, "mine")),  # type: ignore[arg-type]
        (SchemaMismatchError, lambda: merge.resolve("labels", 1, value=[1, 2])),
        (SchemaMismatchError, lambda: merge.resolve_all(value="text")),
        (OpenConflictsError, merge.finish),
    ]
    for error, act in wishes:
        with pytest.raises(error):
            act()
        assert repo.state() == state
    with pytest.raises(SchemaMismatchError, match="column 'labels', key 'a'"):
        merge.resolve("labels", "a", value=0.5)
    with pytest.raises(OpenConflictsError, match="has 4 open conflicts"), repo.work() as co:
        co.commit("Too early")


def test_finishing_keeps_what_was_edited_meanwhile(repo: MemoryRepository) -> None:
    begin(repo)
    with repo.work() as co:
        co["labels", "mine"] = 9
        co["labels", "c"] = 9
    waiting(repo).resolve_all("theirs")
    with repo.work() as co:
        commit = co.commit("Merged", metadata={"source": "x"})
    assert len(commit.parents) == 2
    assert commit.metadata == {"source": "x"}
    content = repo.content()["labels"]
    assert (content["mine"], content["c"], content["a"]) == (9, 9, 2)


def test_a_merge_that_leaves_all_as_it_is_is_recorded() -> None:
    repo = MemoryRepository()
    repo.commit(label({1: 1}))
    repo.branch_at("dev")
    repo.commit(label({1: 2}), "dev")
    repo.commit(label({1: 3}))
    begin(repo)
    assert repo.stores.refs.get(STAGING) is None
    merge = waiting(repo)
    merge.resolve_all("ours")
    commit = merge.finish()
    assert len(commit.parents) == 2
    assert repo.content() == {"labels": {1: 3}}


def test_giving_up_and_undo(repo: MemoryRepository) -> None:
    before = dict(repo.stores.refs.items())
    begin(repo)
    kept = dict(repo.stores.refs.items())
    merge = waiting(repo)
    merge.resolve("labels", 1, "theirs")
    decided = dict(repo.stores.refs.items())
    merge.abort()
    assert dict(repo.stores.refs.items()) == before
    with pytest.raises(NoMergeInProgressError):
        merge.abort()
    for count, expected in enumerate((decided, kept, before), 1):
        _, changes = plan_undo(repo.stores.refs, count)
        undone: dict[str, bytes | None] = {**repo.stores.refs.items()}
        undone |= {change.name: change.after for change in changes}
        assert {name: value for name, value in undone.items() if value is not None} == expected


def test_an_editor_that_drops_all_gives_the_merge_up(repo: MemoryRepository) -> None:
    begin(repo)
    with repo.work() as co:
        co.reset("labels")
        assert repo.stores.refs.get(MERGE) is not None
        co.reset()
    assert repo.stores.refs.get(MERGE) is repo.stores.refs.get(STAGING) is None
    with repo.work() as co:
        co.reset()


def test_amending_is_refused(repo: MemoryRepository) -> None:
    begin(repo)
    with repo.work() as co, pytest.raises(MergeInProgressError):
        co.commit("Amended", amend=True)


def test_the_branch_moves_meanwhile(repo: MemoryRepository) -> None:
    begin(repo)
    merge = waiting(repo)
    merge.resolve_all("theirs")
    moved = repo.commit(label({"late": 8}))
    commit = merge.finish()
    assert commit.object.parents == (moved.digest, repo.load("dev").digest)
    content = repo.content()["labels"]
    assert (content["late"], content["a"]) == (8, 2)


def test_the_branch_moves_meanwhile_against_a_decision(repo: MemoryRepository) -> None:
    begin(repo)
    merge = waiting(repo)
    merge.resolve_all("theirs")
    repo.commit(label({"a": 8}))
    with pytest.raises(MergeConflictError):
        merge.finish()
    assert merge.open_count == 0
    assert staged(repo)["labels"]["a"] == 2


def test_the_branch_moves_while_nothing_is_staged() -> None:
    repo = MemoryRepository()
    repo.commit(label({1: 1, 2: 1}))
    repo.branch_at("dev")
    repo.commit(label({1: 2}), "dev")
    repo.commit(label({1: 3}))
    begin(repo)
    assert repo.stores.refs.get(STAGING) is None
    repo.commit(label({1: 4, 2: 4}))
    merge = waiting(repo)
    merge.resolve("labels", 1, "theirs")
    # What the branch has now was never seen by who decided.
    with pytest.raises(MergeConflictError):
        merge.finish()


def test_a_staged_column_that_is_gone(repo: MemoryRepository) -> None:
    begin(repo)
    with repo.work() as co:
        del co["labels"]
    merge = waiting(repo)
    with pytest.raises(ColumnNotFoundError, match="the staged column 'labels' is gone"):
        merge.resolve("labels", 1, "ours")
    with repo.work() as co:
        co.add_str_column("labels")
    with pytest.raises(ColumnNotFoundError, match="has values of str"):
        merge.resolve_all("theirs")


# Columns of every kind


def two_sides(base: Any, ours: Any, theirs: Any) -> MemoryRepository:
    repo = MemoryRepository()
    repo.commit(base)
    repo.branch_at("dev")
    repo.commit(theirs, "dev")
    repo.commit(ours)
    return repo


def test_nested_columns() -> None:
    def put(value: int) -> Any:
        def change(co: Any) -> None:
            if "n" not in co:
                co.add_ndarray_column("n", (), "int64", nested=True)
            co["n"].update({"s": {1: value, "x": value}, 7: {"y": value}, "t": {"z": value}})

        return change

    repo = two_sides(put(1), put(2), put(3))
    begin(repo)
    merge = waiting(repo)
    assert [c.key for c in merge.conflicts] == [(7, "y"), ("s", 1), ("s", "x"), ("t", "z")]
    assert merge.resolve("n", ("s", 1), "theirs") == 3
    assert merge.resolve("n", 7, "theirs") == 2
    assert merge.resolve("n", "s", value=9) == 1
    assert merge.resolve_all("theirs", keys="t") == 0
    assert staged(repo)["n"] == {7: {"y": 3}, "s": {1: 9, "x": 9}, "t": {"z": 3}}
    with pytest.raises(SampleNotFoundError):
        merge.resolve("n", "nope", "ours")
    with pytest.raises(SampleNotFoundError):
        merge.resolve("n", ("s", "nope"), "ours")
    with pytest.raises(SchemaMismatchError) as error:
        merge.resolve("n", ("s", 1), value="text")
    assert error.value.key == ("s", 1)


@pytest.mark.parametrize(("add", "values"), [
    (lambda co: co.add_str_column("x"), ["", "ours", "theirs", "mine"]),
    (lambda co: co.add_bytes_column("x"), [b"", b"ours", b"theirs", b"mine"]),
    (lambda co: co.add_ndarray_column("x", (9, 9), "float64"),
     [np.full((9, 9), v) for v in (0.0, np.nan, -0.0, np.inf)]),
    (lambda co: co.add_ndarray_column("x", (None,), "uint8", variable_shape=True),
     [np.arange(n, dtype=np.uint8) for n in (0, 3, 5, 4)]),
])  # fmt: skip
def test_values_of_every_kind(add: Any, values: list[Any]) -> None:
    def put(value: Any) -> Any:
        def change(co: Any) -> None:
            if "x" not in co:
                add(co)
            co["x"].update({"k": value, "l": value})

        return change

    repo = two_sides(*(put(value) for value in values[:3]))
    begin(repo)
    merge = waiting(repo)
    conflict = merge.conflicts[0]
    for found, value in zip(
        (conflict.base, conflict.ours, conflict.theirs), values[:3], strict=True
    ):
        np.testing.assert_array_equal(found, value)
    merge.resolve("x", "k", "theirs")
    assert merge.resolve("x", "l", value=values[3]) == 0
    commit = merge.finish()
    column = repo.checkout(commit.id)["x"]
    np.testing.assert_array_equal(column["k"], values[2])
    np.testing.assert_array_equal(column["l"], values[3])


def test_a_value_beyond_a_megabyte_is_sealed_before_the_transaction() -> None:
    def put(value: int) -> Any:
        def change(co: Any) -> None:
            if "x" not in co:
                co.add_ndarray_column("x", (1100, 1000), "uint8")
            co["x", 1] = np.full((1100, 1000), value, np.uint8)

        return change

    repo = two_sides(put(1), put(2), put(3))
    begin(repo)
    waiting(repo).resolve("x", 1, value=np.full((1100, 1000), 9, np.uint8))
    waiting(repo).finish()
    assert repo.checkout()["x"][1][0, 0] == 9


# Columns in conflict as a whole


def drop(co: Any) -> None:
    del co["labels"]


def rename(new: str, old: str = "labels") -> Any:
    return lambda co: co.rename_column(old, new)


def of_shape(shape: tuple[int, ...]) -> Any:
    def change(co: Any) -> None:
        del co["labels"]
        co.add_ndarray_column("labels", shape, "int64")[1] = np.ones(shape, np.int64)

    return change


FIRST = label({1: 1, 2: 2, 3: 3})


@pytest.mark.parametrize(("ours", "theirs", "kind", "column", "sides"), [
    (drop, label({1: 9}), "delete/modify", "labels", ([], ["labels"])),
    (label({1: 9}), drop, "modify/delete", "labels", (["labels"], [])),
    (of_shape((2,)), of_shape((3,)), "schema", "labels", (["labels"], ["labels"])),
    (rename("y"), rename("z"), "rename", "y", (["y"], ["z"])),
])  # fmt: skip
def test_a_column_as_a_whole(ours: Any, theirs: Any, kind: str, column: str, sides: Any) -> None:
    for side in ("ours", "theirs", "delete"):
        repo = two_sides(FIRST, ours, theirs)
        wanted = {"ours": repo.content(), "theirs": repo.content("dev"), "delete": {}}
        begin(repo)
        merge = waiting(repo)
        assert [(c.column, c.key, c.kind) for c in merge.conflicts] == [(column, None, kind)]
        assert tuple(map(list, merge.sides(column))) == sides
        with pytest.raises(InvalidInputError, match="as a whole"):
            merge.resolve(column, 1, "ours")
        with pytest.raises(InvalidInputError, match="no value decides it"):
            merge.resolve(column, value=1)
        with pytest.raises(ColumnNotFoundError):
            merge.schema(column)
        with pytest.raises(SampleNotFoundError):
            merge.resolve_all("ours", keys=1)
        if side == "theirs":
            assert merge.resolve_all("theirs") == 0
        else:
            assert merge.resolve((sides[1] or [column])[0], None, side) == 0
        assert len(merge.conflicts) == 0
        assert staged(repo) == wanted[side]
        assert merge.resolve(column, None, "ours") == 0
        assert staged(repo) == wanted["ours"]


# The record


def test_the_record_survives_and_is_reached(repo: MemoryRepository) -> None:
    assert read_merge(repo.objects, repo.stores.refs) is None
    assert merge_reach(repo.objects, repo.stores.refs) == ({}, {})
    begin(repo)
    kept = read_merge(repo.objects, repo.stores.refs)
    assert kept is not None
    assert store_merge(repo.objects, kept) == repo.stores.refs.get(MERGE)
    commits, snapshots = merge_reach(repo.objects, repo.stores.refs)
    assert set(commits.values()) == {repo.head(), repo.load("dev").digest}
    assert len(snapshots) == 4
    assert all(load_commit(repo.objects, digest) for digest in commits.values())
    assert all(read_snapshot(repo.objects, digest) for digest in snapshots.values())


def test_an_intent_with_all_it_can_have(repo: MemoryRepository) -> None:
    head = repo.load("main").digest
    intent = Intent("cherry-pick", head, head, "m", BOB, repo.now(), {"source": "x"})
    value = store_merge(repo.objects, KeptMerge(intent, ()))
    repo.stores.refs.swap([RefChange(MERGE, None, value)])
    assert read_merge(repo.objects, repo.stores.refs) == KeptMerge(intent, ())
    with repo.work() as co:
        with pytest.raises(NothingToCommitError) as error:
            co.commit("m")
        assert error.value.hint == "nothing is left of it; give it up: tvcs merge --abort"
        co["labels", "z"] = 1
        commit = co.commit("m")
    assert commit.object.author_time == intent.author_time
    assert (commit.author, commit.committer, commit.metadata) == (BOB, ADA, {"source": "x"})
    assert len(commit.parents) == 1


def test_what_a_merge_reaches_is_verified(repo: MemoryRepository) -> None:
    begin(repo)
    commits, snapshots = merge_reach(repo.objects, repo.stores.refs)
    report = verify_repository(repo.stores, repo.nodes, commits, snapshots, check_values=None)
    assert report.is_sound
    kept = read_merge(repo.objects, repo.stores.refs)
    assert kept is not None
    open_keys = kept.snapshots()["open"]["0:labels"].tree.texts
    assert open_keys is not None
    del repo.objects.objects[open_keys.digest]
    report = verify_repository(repo.stores, repo.nodes, commits, snapshots, check_values=None)
    ((place, problem),) = report.problems
    assert place.startswith("merge in progress, open, column '0:labels'")
    assert isinstance(problem, ObjectNotFoundError)


def test_the_bytes_of_a_record() -> None:
    """As FORMAT.md has it: a change here is a change of format."""
    repo = MemoryRepository()
    digest = CommitDigest(b"\xab" * 32)
    value = store_merge(repo.objects, KeptMerge(Intent("revert", digest, digest, "m"), ()))
    empty = EMPTY_SNAPSHOT.digest.hex()
    (content,) = repo.objects.get([bytes.fromhex(value.split()[1].decode())])
    assert content.decode() == (
        'merge 1\n{"intent":{"author":null,"author_time":null,"head":"HEX","message":"m",'
        '"metadata":{},"theirs":"HEX","verb":"revert"},"parts":[],"snapshots":{"base":"EMPTY",'
        '"open":"EMPTY","ours":"EMPTY","theirs":"EMPTY"}}'
    ).replace("HEX", "ab" * 32).replace("EMPTY", empty)


@pytest.mark.parametrize("value", [
    b"", b"merge", b"merge zz", b"merge 00", b"commit " + b"00" * 32,
])  # fmt: skip
def test_a_damaged_ref(repo: MemoryRepository, value: bytes) -> None:
    repo.stores.refs.swap([RefChange(MERGE, None, value)])
    for act in (read_merge, merge_reach):
        with pytest.raises(ObjectDamagedError, match="the ref merge has a value that is none"):
            act(repo.objects, repo.stores.refs)


def test_a_record_that_is_not_there(repo: MemoryRepository) -> None:
    repo.stores.refs.swap([RefChange(MERGE, None, b"merge " + b"ab" * 32)])
    with pytest.raises(ObjectNotFoundError):
        read_merge(repo.objects, repo.stores.refs)


@pytest.mark.parametrize("damage", [
    {"intent": {}}, {"intent": None}, {"snapshots": {}}, {"snapshots": None}, {"parts": 3},
    {"parts": [{"column": "x", "kind": None, "names": ["x"], "is_open": True}]},
    {"intent": {"verb": "rebase"}},
])  # fmt: skip
def test_a_damaged_record(repo: MemoryRepository, damage: dict[str, Any]) -> None:
    empty = write_empty(repo)
    fields: dict[str, Any] = {
        "intent": Intent(
            "merge", repo.load("main").digest, repo.load("dev").digest, "m"
        ).to_fields(),
        "parts": [],
        "snapshots": dict.fromkeys(("base", "ours", "theirs", "open"), empty),
    }
    good = encode_object("merge", 1, fields)
    digest = repo.objects.put([good])[0]
    repo.stores.refs.swap([RefChange(MERGE, None, b"merge " + digest.hex().encode())])
    assert read_merge(repo.objects, repo.stores.refs) is not None
    bad = encode_object("merge", 1, fields | damage)
    worse = repo.objects.put([bad])[0]
    repo.stores.refs.swap([
        RefChange(MERGE, b"merge " + digest.hex().encode(), b"merge " + worse.hex().encode())
    ])  # fmt: skip
    with pytest.raises(ObjectDamagedError, match="the merge in progress cannot be read"):
        read_merge(repo.objects, repo.stores.refs)


def write_empty(repo: MemoryRepository) -> str:
    return repo.write_content({}).hex()


def test_deciding_one_of_many_reads_one_path() -> None:
    count = 5000

    def put(value: int) -> Any:
        def change(co: Any) -> None:
            if "x" not in co:
                co.add_ndarray_column("x", (), "int64")
            co["x"].extend(np.full(count, value), keys=range(count))

        return change

    repo = two_sides(put(1), put(2), put(3))
    begin(repo)
    fresh = MemoryRepository.__new__(MemoryRepository)
    fresh.__dict__.update(repo.__dict__)
    fresh.nodes = type(repo.nodes)(repo.stores.objects)
    reads, writes = repo.objects.get_count, repo.objects.put_count
    waiting(fresh).resolve("x", 77, "theirs")
    # Of some hundred nodes: the record, and a path of each tree.
    assert repo.objects.get_count - reads <= 16
    assert repo.objects.put_count - writes <= 8
