"""The drawing of the graph, and the order of commits in it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from cli.graph import CommitGraph, children_first


@dataclass(frozen=True)
class FakeCommit:
    id: str
    parents: tuple[str, ...]
    generation: int
    time: dt.datetime


def drawing(history: list[tuple[str, str]]) -> list[str]:
    """Draw commits given as (id, parents); the id stands behind its row."""
    graph = CommitGraph()
    lines = []
    for commit, parents in history:
        rows = graph.draw(commit, parents.split())
        lines.append(f"{rows.commit} {commit}")
        lines += rows.edges
    return lines


def test_line() -> None:
    assert drawing([("c", "b"), ("b", "a"), ("a", "")]) == ["* c", "* b", "* a"]


def test_merge() -> None:
    assert drawing([("m", "a b"), ("a", "base"), ("b", "base"), ("base", "")]) == [
        "* m",
        "|\\",
        "* | a",
        "| * b",
        "|/",
        "* base",
    ]


def test_side_branch_first() -> None:
    assert drawing([("m", "a b"), ("b", "base"), ("a", "base"), ("base", "")]) == [
        "* m",
        "|\\",
        "| * b",
        "* | a",
        "|/",
        "* base",
    ]


def test_criss_cross() -> None:
    history = [("m", "x y"), ("x", "a b"), ("y", "b a"), ("a", "o"), ("b", "o"), ("o", "")]
    assert drawing(history) == [
        "* m",
        "|\\",
        "* | x",
        "|\\ \\",
        "| | * y",
        "| |/",
        "|/|",
        "* | a",
        "| * b",
        "|/",
        "* o",
    ]


def test_more_than_two_parents() -> None:
    history = [("m", "a b c"), ("a", "z"), ("b", "z"), ("c", "z"), ("z", "")]
    assert drawing(history) == [
        "* m",
        "|\\",
        "| |\\",
        "* | | a",
        "| * | b",
        "|/ /",
        "| * c",
        "|/",
        "* z",
    ]


def test_edge_over_a_lane_that_goes_on() -> None:
    """The edge of `c` to `a` crosses the lane of `b`."""
    history = [("m", "n c"), ("n", "a b"), ("c", "a"), ("b", "a"), ("a", "")]
    assert drawing(history) == [
        "* m",
        "|\\",
        "* | n",
        "|\\ \\",
        "| | * c",
        "| |/",
        "|/|",
        "| * b",
        "|/",
        "* a",
    ]


def test_merge_whose_second_parent_has_a_lane_on_the_left() -> None:
    history = [("m", "a b"), ("b", "c a"), ("a", "c"), ("c", "")]
    assert drawing(history) == ["* m", "|\\", "| * b", "|/|", "* | a", "|/", "* c"]


def test_first_commit_beside_another_history() -> None:
    history = [("m", "a b"), ("b", ""), ("a", "c"), ("c", "")]
    assert drawing(history) == ["* m", "|\\", "| * b", "* a", "* c"]


def test_a_lane_that_ends_lets_the_others_move_left() -> None:
    history = [("m", "a n"), ("n", "b c"), ("b", ""), ("c", "a"), ("a", "")]
    assert drawing(history) == [
        "* m",
        "|\\",
        "| * n",
        "| |\\",
        "| * | b",
        "|  /",
        "| * c",
        "|/",
        "* a",
    ]


@st.composite
def histories(draw: st.DrawFn) -> list[FakeCommit]:
    """Commits, oldest first, each with up to two parents among the last few; the last has all."""
    count = draw(st.integers(1, 14))
    made: list[FakeCommit] = []
    for number in range(count):
        recent = made[-4:]
        parents = draw(
            st.lists(st.sampled_from(recent), max_size=2, unique=True) if recent else st.just([])
        )
        minute = draw(st.integers(0, 59))
        made.append(
            FakeCommit(
                f"c{number}",
                tuple(parent.id for parent in parents),
                1 + max((parent.generation for parent in parents), default=-1),
                dt.datetime(2026, 1, 1, 0, minute, tzinfo=dt.UTC),
            )
        )
    return made


def ancestors(commits: dict[str, FakeCommit], start: str) -> set[str]:
    found, queue = {start}, [start]
    while queue:
        fresh = set(commits[queue.pop()].parents) - found
        found |= fresh
        queue += fresh
    return found


@given(histories())
def test_order_has_every_ancestor_once_and_children_first(history: list[FakeCommit]) -> None:
    commits = {commit.id: commit for commit in history}
    start = history[-1]
    order = [
        commit.id
        for commit in children_first(start, commits.__getitem__, lambda commit: commit.generation)
    ]
    assert sorted(order) == sorted(ancestors(commits, start.id))
    for commit in order:
        for parent in commits[commit].parents:
            assert order.index(commit) < order.index(parent)


def test_order_is_by_time_and_lazy() -> None:
    def commit(name: str, parents: str, generation: int, minute: int) -> FakeCommit:
        moment = dt.datetime(2026, 1, 1, 0, minute, tzinfo=dt.UTC)
        return FakeCommit(name, tuple(parents.split()), generation, moment)

    known = [
        commit("top", "old new", 2, 50),
        commit("old", "base", 1, 10),
        commit("new", "base", 1, 40),
        commit("base", "root", 0, 5),
    ]
    commits = {one.id: one for one in known}
    loaded: list[str] = []

    def load(name: str) -> FakeCommit:
        loaded.append(name)
        return commits[name]

    order = children_first(commits["top"], load, lambda one: one.generation)
    assert [next(order).id, next(order).id, next(order).id] == ["top", "new", "old"]
    assert "root" not in loaded


@given(histories())
def test_edges_lead_from_each_commit_to_its_parents(history: list[FakeCommit]) -> None:
    """Follow the characters downwards: every parent can be reached, and no row is torn."""
    commits = {commit.id: commit for commit in history}
    order = children_first(history[-1], commits.__getitem__, lambda commit: commit.generation)
    graph = CommitGraph()
    rows: list[str] = []
    place_of: dict[str, tuple[int, int]] = {}
    drawn = list(order)
    for commit in drawn:
        made = graph.draw(commit.id, commit.parents)
        place_of[commit.id] = (len(rows), made.commit.index("*"))
        rows += [made.commit, *made.edges]
    at_place = {place: name for name, place in place_of.items()}
    for commit in drawn:
        reached = reachable(rows, place_of[commit.id], at_place)
        assert set(commit.parents) <= reached, "\n".join(rows)


def reachable(
    rows: list[str], start: tuple[int, int], at_place: dict[tuple[int, int], str]
) -> set[str]:
    """Return the commits that lines lead to from a place, not passing another commit."""
    found: set[str] = set()
    queue, seen = [start], {start}
    while queue:
        line, column = queue.pop()
        if (line, column) in at_place and (line, column) != start:
            found.add(at_place[line, column])
            continue
        below = rows[line + 1] if line + 1 < len(rows) else ""
        mark = rows[line][column]
        # The column of the lane where the character ends, and what may go on from there.
        lane = column + {"/": -1, "\\": 1}.get(mark, 0)
        for step, marks in ((-1, "/"), (0, "|*"), (1, "\\")):
            place = (line + 1, lane + step)
            if 0 <= lane + step < len(below) and below[lane + step] in marks and place not in seen:
                seen.add(place)
                queue.append(place)
    return found
