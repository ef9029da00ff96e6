from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.history.ancestry import is_ancestor, merge_bases, read_commit, walk
from tests import model
from tests.memory_repository import MemoryRepository
from tests.strategies import histories

if TYPE_CHECKING:
    from tensorvcs.objects.digest import CommitDigest


def build(parents: list[tuple[int, ...]]) -> tuple[MemoryRepository, list[CommitDigest]]:
    repo = MemoryRepository()
    commits: list[CommitDigest] = []
    for at, chosen in enumerate(parents):
        commits.append(repo.bare_commit([commits[p] for p in chosen], f"commit {at}"))
    return repo, commits


CRISS_CROSS = [(), (0,), (0,), (1, 2), (2, 1)]
OCTOPUS = [(), (0,), (0,), (0,), (1, 2, 3), (0,), (4, 5)]


@pytest.mark.parametrize(
    ("parents", "a", "b", "bases"),
    [
        ([()], 0, 0, {0}),
        ([(), (0,)], 1, 0, {0}),
        ([(), (0,), (0,)], 1, 2, {0}),
        ([(), ()], 0, 1, set()),
        (CRISS_CROSS, 3, 4, {1, 2}),
        (OCTOPUS, 4, 5, {0}),
        (OCTOPUS, 6, 3, {3}),
        # A long side and a short one: the short path reaches the root first.
        ([(), (0,), (1,), (2,), (3,), (0, 4), (4,)], 5, 6, {4}),
        # A base that is an ancestor of another base is no best one.
        ([(), (0,), (0, 1), (0, 1)], 2, 3, {1}),
    ],
)
def test_merge_bases(parents: list[tuple[int, ...]], a: int, b: int, bases: set[int]) -> None:
    repo, commits = build(parents)
    expected = sorted(commits[at] for at in bases)
    assert merge_bases(repo.stores.objects, commits[a], commits[b]) == expected
    assert merge_bases(repo.stores.objects, commits[b], commits[a]) == expected
    assert model.merge_bases(parents, a, b) == bases


@given(histories(), st.data())
def test_ancestry_is_that_of_the_model(parents: list[tuple[int, ...]], data: st.DataObject) -> None:
    repo, commits = build(parents)
    objects = repo.stores.objects
    a = data.draw(st.integers(0, len(parents) - 1))
    b = data.draw(st.integers(0, len(parents) - 1))
    bases = merge_bases(objects, commits[a], commits[b])
    assert set(bases) == {commits[at] for at in model.merge_bases(parents, a, b)}
    assert is_ancestor(objects, commits[a], commits[b]) == (a in model.ancestors(parents, b))
    walked = [digest for digest, _ in walk(objects, [commits[a], commits[b]])]
    reached = model.ancestors(parents, a) | model.ancestors(parents, b)
    # The clock ticks once a commit, so newest first is by falling number.
    assert walked == [commits[at] for at in sorted(reached, reverse=True)]


@given(histories(), st.data())
def test_a_range_is_that_of_the_model(parents: list[tuple[int, ...]], data: st.DataObject) -> None:
    repo, commits = build(parents)
    places = st.lists(st.integers(0, len(parents) - 1), min_size=1, max_size=2)
    starts, without = data.draw(places), data.draw(places)
    walked = walk(
        repo.stores.objects, [commits[at] for at in starts], without=[commits[at] for at in without]
    )
    reached = set().union(*(model.ancestors(parents, at) for at in starts))
    left_out = set().union(*(model.ancestors(parents, at) for at in without))
    expected = [commits[at] for at in sorted(reached - left_out, reverse=True)]
    assert [digest for digest, _ in walked] == expected


def test_a_range_reads_no_further_than_where_it_began() -> None:
    repo, commits = build([(), *((at,) for at in range(200)), *[(195,), (201,), (202,)]])
    repo.objects.get_count = 0
    found = walk(repo.stores.objects, [commits[203]], without=[commits[200]])
    assert [digest for digest, _ in found] == commits[203:200:-1]
    assert repo.objects.get_count <= 10


def test_the_first_parents_of_a_history() -> None:
    #  0 - 1 - 3 - 5     and 2 beside 1, 4 beside 3
    repo, commits = build([(), (0,), (0,), (1, 2), (2,), (3, 4)])
    objects = repo.stores.objects
    repo.objects.get_count = 0
    found = [digest for digest, _ in walk(objects, [commits[5]], first_parent=True)]
    assert found == [commits[at] for at in (5, 3, 1, 0)]
    assert repo.objects.get_count == 4
    part = walk(objects, [commits[5]], without=[commits[2]], first_parent=True)
    assert [digest for digest, _ in part] == [commits[at] for at in (5, 3, 1)]


def test_generations_are_one_more_than_the_largest_of_the_parents() -> None:
    repo, commits = build([(), (0,), (1,), (0, 2), (), (4, 1)])
    found = [read_commit(repo.stores.objects, digest).generation for digest in commits]
    assert found == [0, 1, 2, 3, 0, 2]


def test_is_ancestor_stops_at_the_generation_of_the_ancestor() -> None:
    repo, commits = build([(), *((at,) for at in range(50))])
    side = repo.bare_commit([commits[9]])
    for ancestor, of, reads in [(commits[40], commits[50], 11), (side, commits[50], 41)]:
        repo.objects.get_count = 0
        assert is_ancestor(repo.stores.objects, ancestor, of) == (ancestor != side)
        assert repo.objects.get_count == reads


def test_merge_bases_does_not_read_the_whole_history() -> None:
    repo, commits = build([(), *((at,) for at in range(200)), (195,), (200, 201), (201,)])
    repo.objects.get_count = 0
    assert merge_bases(repo.stores.objects, commits[202], commits[203]) == [commits[201]]
    assert repo.objects.get_count < 12


def test_the_walk_is_lazy() -> None:
    repo, commits = build([(), *((at,) for at in range(100))])
    repo.objects.get_count = 0
    steps = walk(repo.stores.objects, [commits[100]])
    assert [next(steps)[0] for _ in range(3)] == commits[100:97:-1]
    assert repo.objects.get_count <= 4


def test_a_commit_comes_once_however_many_children_it_has() -> None:
    repo, commits = build([(), (0,), (0,), (1, 2), (1, 2)])
    walked = [digest for digest, _ in walk(repo.stores.objects, [*commits[3:], commits[4]])]
    assert len(walked) == len(set(walked)) == 5
