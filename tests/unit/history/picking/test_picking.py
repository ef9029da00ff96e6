"""Which commits and changes a cherry-pick or revert takes, and what its commit says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tensorvcs.checkout.reader import CheckoutColumns
from tensorvcs.errors import ColumnNotFoundError, EmptyPickError, MainlineError
from tensorvcs.history.commit import load_commit, new_commit
from tensorvcs.history.merging.column_merge import merge_columns
from tensorvcs.history.picking.picking import (
    PickRequest,
    make_changes,
    pick_intent,
    requested_changes,
    requested_commits,
    versions_of,
)
from tensorvcs.history.picking.selection import Selection
from tensorvcs.objects.commit import Identity
from tests.memory_repository import ADA, MemoryRepository, contents_of

if TYPE_CHECKING:
    from tensorvcs.history.commit import Commit
    from tensorvcs.history.merging.column_merge import MergedColumns
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.digest import CommitDigest

BOB = Identity("Bob", "bob@uni-3.example")


def commit(
    repo: MemoryRepository, labels: dict[Any, int], message: str = "m", author: Identity = ADA
) -> Commit:
    with repo.edit() as co:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
        co["labels"].update(labels)
        return co.commit(message, author)


def merge_of(repo: MemoryRepository, *parents: CommitDigest) -> Commit:
    first = load_commit(repo.objects, parents[0])
    made = new_commit(
        repo.objects, first.object.snapshot, parents, author=ADA, now=repo.now(), message="Merge"
    )
    repo.put_branch("main", made.digest)
    return made


@pytest.fixture
def repo() -> MemoryRepository:
    """Five commits by two authors, the last but one a merge."""
    made = MemoryRepository()
    commit(made, {"a": 1, "b": 1}, "First")
    commit(made, {"a": 2}, "Second", BOB)
    side = commit(made, {"b": 2}, "Third")
    made.put_branch("main", made.load("main~1").digest)
    commit(made, {"c": 1}, "Fourth", BOB)
    merge_of(made, made.load("main").digest, side.digest)
    commit(made, {"a": 3}, "Fifth", BOB)
    return made


def request(
    repo: MemoryRepository, end: str = "main", start: str | None = None, **options: Any
) -> PickRequest:
    spoken = end if start is None else f"{start}..{end}"
    first = None if start is None else repo.resolve(start)
    verb = options.pop("verb", "revert")
    return PickRequest(verb, spoken, repo.load(end), first, **options)


def summaries(repo: MemoryRepository, wish: PickRequest) -> list[str]:
    return [commit.summary for commit in requested_commits(repo.nodes, wish)]


def test_one_commit_or_those_of_a_range_without_merges(repo: MemoryRepository) -> None:
    root = repo.load("main~4").id
    assert summaries(repo, request(repo)) == ["Fifth"]
    assert summaries(repo, request(repo, "main~1")) == ["Merge"]
    assert summaries(repo, request(repo, start=root)) == ["Second", "Third", "Fourth", "Fifth"]
    assert summaries(repo, request(repo, start="main~2")) == ["Third", "Fifth"]


def test_by_author(repo: MemoryRepository) -> None:
    root = repo.load("main~4").id
    for author in ("Bob", "UNI-3", "bob@"):
        found = summaries(repo, request(repo, start=root, author=author))
        assert found == ["Second", "Fourth", "Fifth"]
    assert summaries(repo, request(repo, author="bob")) == ["Fifth"]
    with pytest.raises(EmptyPickError, match=r"is by Bob <bob@uni-3.example>, not by 'ada'"):
        summaries(repo, request(repo, author="ada"))
    with pytest.raises(EmptyPickError, match="has no commits by 'nobody' that are no merges"):
        summaries(repo, request(repo, start=root, author="nobody"))
    with pytest.raises(EmptyPickError, match=r"main..main has no commits that are no merges"):
        summaries(repo, request(repo, start="main"))


def test_versions_before_and_after_a_commit(repo: MemoryRepository) -> None:
    first = repo.load("main~4")
    before, after = versions_of(repo.objects, first, None)
    assert (before, list(after)) == ({}, ["labels"])
    assert versions_of(repo.objects, repo.load("main"), 1)[0] == after_of(repo, "main~1")
    merge = repo.load("main~1")
    for mainline, parent in ((1, "main~2"), (2, "main~1^2")):
        assert versions_of(repo.objects, merge, mainline)[0] == after_of(repo, parent)


def after_of(repo: MemoryRepository, revision: str) -> Columns:
    return versions_of(repo.objects, repo.load(revision), 1)[1]


def test_a_parent_that_is_not_named_or_not_there(repo: MemoryRepository) -> None:
    merge = repo.load("main~1")
    with pytest.raises(MainlineError, match=r"is a merge of 2 parents \(1 is .*, 2 is .*\)"):
        versions_of(repo.objects, merge, None)
    for wrong in (0, 3, -1, True, "1"):
        with pytest.raises(MainlineError, match="it has 2"):
            versions_of(repo.objects, merge, wrong)  # type: ignore[arg-type]
    with pytest.raises(MainlineError, match="has no parent 2; it has 0"):
        versions_of(repo.objects, repo.load("main~4"), 2)


def changes(repo: MemoryRepository, wish: PickRequest) -> list[tuple[str, set[Any]]]:
    """Return of each change the commit and the keys."""
    found = []
    for change in requested_changes(repo.nodes, wish, requested_commits(repo.nodes, wish)):
        keys: set[Any] = set()
        for name in {*change.start, *change.goal}:
            both = [repo_content(repo, side).get(name, {}) for side in (change.start, change.goal)]
            keys |= {k for k in {*both[0], *both[1]} if both[0].get(k) != both[1].get(k)}
        found.append((change.commit.summary, keys))
    return found


def repo_content(repo: MemoryRepository, columns: Columns) -> dict[str, dict[Any, Any]]:
    return contents_of(CheckoutColumns(repo.stores, repo.nodes, columns, "test"))


def test_the_order_and_part_of_changes(repo: MemoryRepository) -> None:
    root = repo.load("main~4").id
    every = [("Second", {"a"}), ("Third", {"b"}), ("Fourth", {"c"}), ("Fifth", {"a"})]
    assert changes(repo, request(repo, start=root, verb="cherry-pick")) == every
    assert changes(repo, request(repo, start=root)) == every[::-1]
    part = Selection.of(None, ["a", "z*"])
    assert changes(repo, request(repo, start=root, selection=part)) == [
        ("Fifth", {"a"}), ("Second", {"a"}),
    ]  # fmt: skip
    assert changes(repo, request(repo, selection=Selection.of("labels", None))) == [
        ("Fifth", {"a"})
    ]


def test_nothing_of_what_is_selected(repo: MemoryRepository) -> None:
    with pytest.raises(EmptyPickError, match="main changes nothing of keys zz"):
        changes(repo, request(repo, selection=Selection.of(None, "zz")))
    with pytest.raises(ColumnNotFoundError, match="no column 'nope' in what is picked"):
        changes(repo, request(repo, selection=Selection.of("nope", None)))
    with pytest.raises(EmptyPickError, match=r"main~1 changes nothing\n"):
        changes(repo, request(repo, "main~1", mainline=1))


def test_a_selected_column_is_followed_to_its_older_names() -> None:
    repo = MemoryRepository()
    commit(repo, {"a": 1, "b": 1})
    start = repo.load("main").id
    commit(repo, {"a": 2}, "Before")
    repo.commit(lambda co: co.rename_column("labels", "y"), message="Rename")

    def change(co: Any) -> None:
        co["y", "b"] = 5

    repo.commit(change, message="After")
    wish = request(repo, start=start, selection=Selection.of("y", None))
    commits = requested_commits(repo.nodes, wish)
    found = requested_changes(repo.nodes, wish, commits)
    assert [c.commit.summary for c in found] == ["After", "Rename", "Before"]


def test_making_changes_reads_no_more_than_they_touch() -> None:
    repo = MemoryRepository()
    commit(repo, dict.fromkeys(range(20_000), 0))
    picked = commit(repo, {7: 1})
    far = commit(repo, dict.fromkeys(range(1000, 20_000), 2))
    wish = request(repo, picked.id, verb="revert")
    taken = requested_changes(repo.nodes, wish, [picked])
    ours = versions_of(repo.objects, far, None)[1]
    nodes = type(repo.nodes)(repo.stores.objects)

    def merge(base: Columns, mine: Columns, theirs: Columns, _: Commit) -> MergedColumns:
        return merge_columns(nodes, repo.stores.tensors, base, mine, theirs)

    before = repo.objects.get_count
    ((_, merged),) = make_changes(nodes, ours, taken, merge)
    assert repo.objects.get_count - before <= 12
    content = repo_content(repo, merged.columns)["labels"]
    assert (content[7], content[1000]) == (0, 2)
    assert not merged.conflicts


# What the commit says


def intent(repo: MemoryRepository, wish: PickRequest) -> Any:
    return pick_intent(wish, repo.resolve("main"), requested_commits(repo.nodes, wish))


def test_a_cherry_pick_of_one_commit_says_what_it_said(repo: MemoryRepository) -> None:
    second = repo.load("main~2^1")
    found = intent(repo, request(repo, second.id, verb="cherry-pick"))
    assert (found.verb, found.theirs) == ("cherry-pick", second.digest)
    assert (found.author, found.author_time) == (BOB, second.object.author_time)
    assert (found.message, found.metadata) == ("Second", {"cherry-picked-from": second.id})
    part = Selection.of(("labels", "x"), ["a*", 7])
    found = intent(repo, request(repo, second.id, verb="cherry-pick", selection=part))
    assert found.message == "Second\n\nOnly columns labels, x; keys a*, 7."
    assert intent(repo, request(repo, message="Mine")).message == "Mine"


def test_a_cherry_pick_keeps_metadata(repo: MemoryRepository) -> None:
    with repo.edit() as co:
        co["labels", "z"] = 1
        made = co.commit("m", metadata={"source": "camera"})
    found = intent(repo, request(repo, verb="cherry-pick"))
    assert found.metadata == {"source": "camera", "cherry-picked-from": made.id}


def test_a_revert_says_what_it_takes_back(repo: MemoryRepository) -> None:
    fifth = repo.load("main")
    found = intent(repo, request(repo))
    assert found.message == f'Revert "Fifth"\n\nThis reverts commit {fifth.id}.'
    assert (found.author, found.author_time, found.metadata) == (None, None, {"reverts": fifth.id})
    merge = repo.load("main~1")
    found = intent(repo, request(repo, "main~1", mainline=2))
    assert found.message == (
        f'Revert "Merge"\n\nThis reverts commit {merge.id},\nback to its parent {merge.parents[1]}.'
    )


def test_a_range_lists_its_commits(repo: MemoryRepository) -> None:
    root = repo.load("main~4")
    found = intent(repo, request(repo, start=root.id, author="bob"))
    lines = found.message.splitlines()
    assert lines[0] == f"Revert 3 commits of {root.id}..main by bob"
    assert [line.split(" ", 2)[2] for line in lines[2:]] == ["Fifth", "Fourth", "Second"]
    assert found.metadata == {"reverts": f"{root.id}..{repo.load('main').id}"}
    found = intent(repo, request(repo, start=root.id, author="bob", verb="cherry-pick"))
    assert (found.author, found.author_time) == (BOB, repo.load("main").object.author_time)
    found = intent(repo, request(repo, start=root.id, verb="cherry-pick"))
    assert (found.author, found.author_time) == (None, None)
    assert found.message.startswith("Cherry-pick 4 commits of ")


def test_a_long_range_is_cut() -> None:
    repo = MemoryRepository()
    commit(repo, {"a": 0})
    start = repo.load("main").id
    for number in range(1, 26):
        commit(repo, {"a": number}, f"c{number}")
    lines = intent(repo, request(repo, start=start)).message.splitlines()
    assert lines[2].endswith(" c25")
    assert lines[-2].endswith(" c6")
    assert lines[-1] == "- and 5 before them"
