"""The graph beside the log: which commit descends from which, in lines of text.

Each commit that is still to come has a lane. A commit takes the place of its lane; its first
parent goes on in it, other parents get lanes to its right or join theirs. Every commit must come
before its parents.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Sequence


@dataclass(slots=True)
class GraphRows:
    """What stands left of the lines of one commit.

    Attributes
    ----------
    commit : str
        Left of the first line.
    edges : list of str
        Left of the following lines, before those that need nothing but `lanes`.
    lanes : str
        Left of all lines after that, until the next commit.
    """

    commit: str
    edges: list[str]
    lanes: str


@dataclass(slots=True)
class CommitGraph:
    """Draws commits one after the other; remembers the lanes between them."""

    _lanes: list[str] = field(default_factory=list)

    def draw(self, commit: str, parents: Sequence[str], *, mark: str = "*") -> GraphRows:
        """Return the rows of the next commit.

        Parameters
        ----------
        commit : str
            Its id.
        parents : sequence of str
            Their ids.
        mark : str
            One character that stands for the commit.
        """
        before = self._lanes if commit in self._lanes else [*self._lanes, commit]
        place = before.index(commit)
        row = _join(mark if at == place else "|" for at in range(len(before)))
        fresh = [parent for parent in dict.fromkeys(parents) if parent not in before]
        after = [*before[:place], *fresh, *before[place + 1 :]]
        if parents and parents[0] in before and before.index(parents[0]) > place:
            # The lane of the first parent comes to the commit's place, which then is not lost.
            after.remove(parents[0])
            after.insert(place, parents[0])
        edges = [(at, after.index(lane)) for at, lane in enumerate(before) if at != place]
        edges += [(place, after.index(parent)) for parent in dict.fromkeys(parents)]
        self._lanes = after
        return GraphRows(row, list(_edge_rows(edges)), _join("|" * len(after)))


def _join(cells: Iterator[str] | str) -> str:
    return " ".join(cells)


def _edge_rows(edges: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Yield rows in which every edge moves one lane towards its target, until all are there."""
    current = sorted(set(edges))
    while any(at != target for at, target in current):
        cells: dict[int, str] = {}
        moved: list[tuple[int, int]] = []
        for at, target in current:
            step = (target > at) - (target < at)
            cell, sign = 2 * at + step, "/|\\"[step + 1]
            if cells.get(cell, sign) != sign:  # two edges would cross in one cell: one waits
                step, cell, sign = 0, 2 * at, "|"
            cells[cell] = sign
            moved.append((at + step, target))
        yield "".join(cells.get(at, " ") for at in range(max(cells) + 1))
        current = sorted(set(moved))


class Node(Protocol):
    """What the order of commits needs of one."""

    @property
    def id(self) -> str: ...

    @property
    def parents(self) -> Sequence[str]: ...

    @property
    def time(self) -> dt.datetime: ...


N = TypeVar("N", bound=Node)


def children_first(
    start: N, load: Callable[[str], N], generation: Callable[[N], int]
) -> Iterator[N]:
    """Yield a commit and its ancestors, newest first, yet never a commit before its child.

    Parameters
    ----------
    start : commit
    load : callable
        Returns a commit by its id.
    generation : callable
        Returns a number of a commit that is greater than that of each of its parents.

    Notes
    -----
    Lazy. A commit is yielded once all commits of a higher generation were looked at, since only
    those can be its children; clocks that were wrong then change the order of lines only.
    """
    known = {start.id: start}
    pending_children = {start.id: 0}
    unexplored = [(-generation(start), start.id)]
    ready = [(-start.time.timestamp(), -generation(start), start.id)]

    def explore(floor: int) -> None:
        while unexplored and -unexplored[0][0] > floor:
            _, child = heapq.heappop(unexplored)
            for parent in dict.fromkeys(known[child].parents):
                if parent not in known:
                    known[parent] = load(parent)
                    pending_children[parent] = 0
                    heapq.heappush(unexplored, (-generation(known[parent]), parent))
                pending_children[parent] += 1

    while ready:
        commit = known[heapq.heappop(ready)[2]]
        explore(generation(commit) - 1)
        yield commit
        for name in dict.fromkeys(commit.parents):
            parent = known[name]
            explore(generation(parent))
            pending_children[name] -= 1
            if not pending_children[name]:
                key = (-parent.time.timestamp(), -generation(parent), name)
                heapq.heappush(ready, key)
