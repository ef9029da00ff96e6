"""The search for the first bad commit, on histories without columns."""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import InvalidInputError, UnrelatedHistoriesError
from tensorvcs.history.bisecting.bisect import (
    SKIP,
    Candidates,
    OutOfTestsError,
    ancestor_counts,
    candidates_between,
    check_ends,
    find_first_bad,
    middle,
)
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.objects.digest import CommitDigest

Graph = list[list[int]]
"""Of each commit its parents, which come before it."""


@st.composite
def graphs(draw: st.DrawFn, *, max_parents: int = 2) -> Graph:
    """Draw histories in which the last commit reaches all others."""
    count = draw(st.integers(2, 24))
    graph: Graph = [[]]
    for at in range(1, count):
        near = st.integers(max(0, at - 6), at - 1)
        graph.append(draw(st.lists(near, min_size=1, max_size=max_parents, unique=True)))
    heads = [at for at in range(count) if not any(at in parents for parents in graph)]
    while len(heads) > 1:
        graph.append(heads[:max_parents])
        heads = [*heads[max_parents:], len(graph) - 1]
    return graph


def reached(graph: Graph, start: int) -> set[int]:
    found = {start}
    for at in range(start, -1, -1):
        if at in found:
            found.update(graph[at])
    return found


def write(graph: Graph) -> tuple[MemoryRepository, list[CommitDigest]]:
    repo = MemoryRepository()
    made: list[CommitDigest] = []
    for at, parents in enumerate(graph):
        made.append(repo.bare_commit([made[parent] for parent in parents], message=str(at)))
    return repo, made


@given(graphs(max_parents=3), st.data())
def test_candidates_are_what_the_bad_commit_reaches_and_no_good_one(
    graph: Graph, data: st.DataObject
) -> None:
    repo, made = write(graph)
    bad = len(graph) - 1
    goods = data.draw(st.lists(st.integers(0, bad - 1), max_size=3, unique=True))
    found = candidates_between(repo.objects, [made[good] for good in goods], made[bad])
    expected = set(range(bad + 1)).difference(*(reached(graph, good) for good in goods))
    assert {made.index(digest) for digest in found} == expected
    order = [made.index(digest) for digest in found]
    assert order[-1] == bad
    for digest, parents in found.items():
        kept = {parent for parent in graph[made.index(digest)] if parent in expected}
        assert {made.index(parent) for parent in parents} == kept
        assert all(order.index(made.index(p)) < order.index(made.index(digest)) for p in parents)
    for digest, count in zip(found, ancestor_counts(found), strict=True):
        assert count == len(reached(graph, made.index(digest)) & expected)


def test_candidates_read_what_is_between_and_the_next() -> None:
    repo, made = write([[], *([at] for at in range(99))])
    before = repo.objects.get_count
    assert len(candidates_between(repo.objects, [made[90]], made[99])) == 9
    assert repo.objects.get_count - before == 10


def candidates_of(graph: Graph) -> tuple[Candidates, dict[CommitDigest, int]]:
    repo, made = write(graph)
    found = candidates_between(repo.objects, [], made[-1])
    return found, {digest: at for at, digest in enumerate(made)}


@given(graphs(), st.data())
def test_the_first_bad_commit_is_found_in_few_tests(graph: Graph, data: st.DataObject) -> None:
    candidates, numbers = candidates_of(graph)
    first_bad = data.draw(st.integers(0, len(graph) - 1))
    tested: list[int] = []

    def judge(digest: CommitDigest, left: int) -> bool:
        tested.append(numbers[digest])
        return first_bad not in reached(graph, numbers[digest])

    found = find_first_bad(candidates, judge)
    assert [numbers[digest] for digest in found] == [first_bad]
    assert len(set(tested)) == len(tested)
    assert len(tested) <= math.ceil(math.log(len(graph), 1.5)) + 1


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100, 1024])
def test_commits_in_a_row_take_the_logarithm(count: int) -> None:
    graph: Graph = [[], *([at] for at in range(count - 1))]
    candidates, numbers = candidates_of(graph)
    most = 0
    for first_bad in {0, count // 3, count // 2, count - 1}:
        tested = 0

        def judge(digest: CommitDigest, left: int, first_bad: int = first_bad) -> bool:
            nonlocal tested
            tested += 1
            return numbers[digest] < first_bad

        assert [numbers[d] for d in find_first_bad(candidates, judge)] == [first_bad]
        most = max(most, tested)
    assert most <= math.ceil(math.log2(count))


@given(graphs(max_parents=3), st.data())
def test_with_skips_the_first_bad_commit_is_among_the_suspects(
    graph: Graph, data: st.DataObject
) -> None:
    candidates, numbers = candidates_of(graph)
    first_bad = data.draw(st.integers(0, len(graph) - 1))
    skipped = data.draw(st.sets(st.integers(0, len(graph) - 1)))
    tested: set[int] = set()

    def judge(digest: CommitDigest, left: int) -> bool | None:
        at = numbers[digest]
        assert at not in tested
        tested.add(at)
        return None if at in skipped else first_bad not in reached(graph, at)

    found = [numbers[digest] for digest in find_first_bad(candidates, judge)]
    assert first_bad in found
    # Each of them may be it for all that is known: nothing but the last of them can be tested.
    assert len(found) == 1 or set(found[:-1]) <= skipped


def test_after_a_skip_the_next_one_is_far_away() -> None:
    candidates, numbers = candidates_of([[], *([at] for at in range(99))])
    skipped: list[CommitDigest] = []
    for _ in range(4):
        chosen = middle(candidates, skipped)
        assert chosen is not None
        skipped.append(chosen)
    assert [numbers[digest] for digest in skipped] == [49, 24, 74, 11]


def test_all_but_the_bad_one_skipped() -> None:
    candidates, numbers = candidates_of([[], [0], [1]])
    assert middle(candidates, [d for d in candidates if numbers[d] < 2]) is None


def test_a_search_without_tests_left_returns_what_is_left() -> None:
    candidates, numbers = candidates_of([[], *([at] for at in range(15))])
    asked = 0

    def judge(digest: CommitDigest, left: int) -> bool:
        nonlocal asked
        asked += 1
        if asked > 2:
            raise OutOfTestsError
        return True

    assert [numbers[digest] for digest in find_first_bad(candidates, judge)] == [12, 13, 14, 15]


# The ends


@pytest.fixture
def history() -> MemoryRepository:
    """Commits first, second and same in a row, side beside second, and other without a parent."""
    repo = MemoryRepository()
    for name, start, label in (
        ("first", "main", 1),
        ("second", "first", 2),
        ("same", "second", 1),
        ("side", "first", 3),
    ):
        if name != "first":
            repo.branch_at(name, start)

        def label_it(co: EditableCheckout, label: int = label) -> None:
            if "labels" not in co:
                co.add_ndarray_column("labels", (), "int64")
            co["labels", "a"] = label

        repo.commit(label_it, "main" if name == "first" else name)
        if name == "first":
            repo.branch_at("first")
    repo.put_branch("other", repo.bare_commit())
    return repo


@pytest.mark.parametrize(
    ("goods", "bad", "problem"),
    [
        ([], "second", "at least one good commit"),
        (["second"], "second", "cannot be both good and bad"),
        (["first"], "same", "equal content"),
        (["second"], "first", "comes after the bad commit"),
        (["side"], "second", "is no ancestor of the bad commit"),
        (["first", "side"], "second", "is no ancestor of the bad commit"),
    ],
)
def test_ends_that_are_refused(
    history: MemoryRepository, goods: list[str], bad: str, problem: str
) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        check_ends(history.objects, [history.load(good) for good in goods], history.load(bad))


def test_ends_beside_each_other_name_their_merge_base(history: MemoryRepository) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_ends(history.objects, [history.load("side")], history.load("second"))
    assert caught.value.hint == f"start from their merge base: {history.load('first').short_id}"


def test_unrelated_ends(history: MemoryRepository) -> None:
    with pytest.raises(UnrelatedHistoriesError, match="no ancestor in common"):
        check_ends(history.objects, [history.load("other")], history.load("second"))


def test_ends_that_are_accepted(history: MemoryRepository) -> None:
    goods = [history.load("first"), history.load("second")]
    history.branch_at("last", "same")
    history.commit(lambda co: co["labels"].update({"b": 1}), "last")
    check_ends(history.objects, goods, history.load("last"))


def test_the_constant_for_skipping_says_its_name() -> None:
    assert repr(SKIP) == "SKIP"
    assert pickle.loads(pickle.dumps(SKIP)) is SKIP
