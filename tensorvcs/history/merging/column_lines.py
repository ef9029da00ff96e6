"""Which columns of three versions are one column, whatever its name in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.history.difference.renames import find_renames, is_beyond_chance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs.history.snapshot import Columns
    from tensorvcs.tree.nodes import Nodes


@dataclass(frozen=True, slots=True)
class Line:
    """One column through base, ours and theirs: its name in each, None where it is not."""

    base: str | None
    ours: str | None
    theirs: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names it has: that of the merge first, as far as the sides agree about it."""
        listed = [self.ours, self.theirs, self.base]
        if self.base is not None and self.ours == self.base:
            listed = [self.theirs, self.ours]
        return tuple(dict.fromkeys(name for name in listed if name is not None))

    @property
    def is_name_disputed(self) -> bool:
        """Whether the sides renamed it to different names."""
        names = {self.base, self.ours, self.theirs}
        return None not in names and len(names) == 3

    @property
    def claims(self) -> tuple[str, ...]:
        """The names that it may have in the merge; none when no side has it."""
        if self.ours is None and self.theirs is None:
            return ()
        if self.is_name_disputed:
            return self.names[:2]
        return self.names[:1]


def pair_columns(nodes: Nodes, base: Columns, ours: Columns, theirs: Columns) -> list[Line]:
    """Return the columns of three versions, each once, in order of their names.

    A column that one side renamed is found by its content; see `find_renames`. What may as well be
    another column of few values is none: a wrong guess would mix their changes.

    Notes
    -----
    Nothing is read unless a side lacks a column of the base that the other side changed or lacks
    as well, or both sides have a new column of one name that differs.
    """
    our_names, their_names = _renames(nodes, base, ours, theirs)
    lines = [
        Line(
            name,
            name if name in ours else our_names.get(name),
            name if name in theirs else their_names.get(name),
        )
        for name in base
    ]
    ours_new = [n for n in ours if n not in base and n not in our_names.values()]
    theirs_new = [n for n in theirs if n not in base and n not in their_names.values()]
    lines += [
        Line(None, name if name in ours_new else None, name if name in theirs_new else None)
        for name in dict.fromkeys([*ours_new, *theirs_new])
    ]
    return sorted(lines, key=lambda line: line.names)


def _renames(
    nodes: Nodes, base: Columns, ours: Columns, theirs: Columns
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the columns that each side renamed, old name to new, where it makes a difference."""
    clashing = {n for n in ours if n in theirs and n not in base and ours[n] != theirs[n]}
    found: list[dict[str, str]] = []
    for side, other in ((ours, theirs), (theirs, ours)):
        gone = [name for name in base if name not in side]
        is_wanted = any(other.get(name) != base[name] for name in gone) or (gone and clashing)
        pairs = find_renames(nodes, base, side) if is_wanted else {}
        found.append(
            {
                old: new
                for old, new in pairs.items()
                if is_beyond_chance(nodes, base[old], side[new])
            }
        )
    mine, yours = found
    sources = [{new: old for old, new in names.items()} for names in (mine, yours)]
    for new in {*sources[0], *sources[1]}:
        # What both sides have alike is one column, wherever it came from.
        if ours.get(new) == theirs.get(new) and sources[0].get(new) != sources[1].get(new):
            for names, source in zip((mine, yours), sources, strict=True):
                names.pop(source.get(new, ""), None)
    return mine, yours


def group_by_claim(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yield the lines in groups: those that claim a name in common are together."""
    groups: list[tuple[set[str], list[Line]]] = []
    for line in lines:
        claims = set(line.claims)
        joined = [group for group in groups if group[0] & claims]
        for group in joined:
            groups.remove(group)
            claims |= group[0]
        groups.append((claims, [*(one for _, members in joined for one in members), line]))
    yield from (members for _, members in groups)
