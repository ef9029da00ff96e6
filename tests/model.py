"""The whole store as plain dicts: the oracle that the tests compare with.

A column is a pair (schema, samples), where a schema is any value that compares; a content is a
dict of columns by name. A history is a list of parents by commit number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Column = tuple[Any, dict[Any, Any]]
Content = dict[str, Column]
Parents = list[tuple[int, ...]]


def in_key_order(keys: Iterable[Any]) -> list[Any]:
    """Ints before texts; pairs by their parts."""

    def place(key: Any) -> tuple[Any, ...]:
        parts = key if isinstance(key, tuple) else (key,)
        return tuple((isinstance(part, str), part) for part in parts)

    return sorted(keys, key=place)


# Histories


def ancestors(parents: Parents, commit: int) -> set[int]:
    """The commit and all that it reaches."""
    found, queue = {commit}, [commit]
    while queue:
        fresh = set(parents[queue.pop()]) - found
        found |= fresh
        queue += fresh
    return found


def merge_bases(parents: Parents, a: int, b: int) -> set[int]:
    """The common ancestors that no other common ancestor reaches."""
    common = ancestors(parents, a) & ancestors(parents, b)
    return {
        one
        for one in common
        if not any(one in ancestors(parents, other) for other in common - {one})
    }


# Contents


def diff_columns(
    before: Mapping[Any, Any], after: Mapping[Any, Any]
) -> tuple[list[Any], list[Any], list[Any]]:
    """The keys added, deleted and modified, each in key order."""
    return (
        in_key_order(set(after) - set(before)),
        in_key_order(set(before) - set(after)),
        in_key_order(k for k in set(before) & set(after) if before[k] != after[k]),
    )


@dataclass
class Merged:
    """What a merge gives, and the (column, key) in conflict; a key of None is the column."""

    content: Content = field(default_factory=dict)
    conflicts: set[tuple[str, Any]] = field(default_factory=set)


_ABSENT = object()


Line = tuple[str | None, str | None, str | None]
"""One column: its name in base, ours and theirs, None where it is not."""


def find_renames(before: Content, after: Content) -> dict[str, str]:
    """The columns that another name has at least half of, as long as no two are alike."""
    score: dict[tuple[str, str], int] = {}
    for old, new in ((o, n) for o in before for n in after if o not in after and n not in before):
        (kind, olds), (other, news) = before[old], after[new]
        equal = sum(key in news and news[key] == value for key, value in olds.items())
        if kind == other and equal and 2 * equal >= max(len(olds), len(news)):
            score[old, new] = equal
    pairs: dict[str, str] = {}
    while score:
        best = max(score.values())
        tops = [pair for pair, equal in score.items() if equal == best]
        pairs |= {old: new for old, new in tops if sum(old == o or new == n for o, n in tops) == 1}
        taken = {name for pair in tops for name in pair}
        score = {pair: equal for pair, equal in score.items() if not taken & {*pair}}
    return pairs


def is_beyond_chance(before: Column, after: Column) -> bool:
    """Whether two columns are equal, or agree by more than columns of such values do anyway."""
    (_, olds), (_, news) = before, after
    if olds == news:
        return True
    equal = sum(key in news and news[key] == value for key, value in olds.items())
    chance = Fraction(
        sum(a == b for a in olds.values() for b in news.values()), len(olds) * len(news)
    )
    return Fraction(equal, max(len(olds), len(news))) - chance >= (1 - chance) / 3


def lines_of(base: Content, ours: Content, theirs: Content) -> list[Line]:
    """The columns of three versions, each once."""
    names = [
        {o: n for o, n in find_renames(base, side).items() if is_beyond_chance(base[o], side[n])}
        for side in (ours, theirs)
    ]
    for new in {*ours} & {*theirs} - {*base}:
        sources = [{n: o for o, n in side.items()}.get(new) for side in names]
        if ours[new] == theirs[new] and sources[0] != sources[1]:
            for side, source in zip(names, sources, strict=True):
                side.pop(source or "", None)
    mine, yours = names
    lines: list[Line] = [
        (n, n if n in ours else mine.get(n), n if n in theirs else yours.get(n)) for n in base
    ]
    mine_new = [n for n in ours if n not in base and n not in mine.values()]
    yours_new = [n for n in theirs if n not in base and n not in yours.values()]
    lines += [
        (None, n if n in mine_new else None, n if n in yours_new else None)
        for n in sorted({*mine_new, *yours_new})
    ]
    return lines


def claims_of(line: Line) -> list[str]:
    """The names that a column may have after the merge."""
    base, ours, theirs = line
    if ours is None or theirs is None or ours == theirs:
        return [name for name in (ours, theirs) if name is not None][:1]
    return [name for name in (ours, theirs) if name != base]


def merge_contents(base: Content, ours: Content, theirs: Content, strategy: str) -> Merged:
    """Merge three contents, sample by sample; a conflict takes ours, or theirs with `theirs`.

    A column that one side renamed is followed; a conflict of columns as a whole takes all that
    the side has.
    """
    merged = Merged()
    lines = lines_of(base, ours, theirs)
    rivals = {
        line: [other for other in lines if {*claims_of(line)} & {*claims_of(other)}]
        for line in lines
    }
    wins, at = (theirs, 2) if strategy == "theirs" else (ours, 1)
    for line in lines:
        claims = claims_of(line)
        b, o, t = (
            side.get(name or "") for name, side in zip(line, (base, ours, theirs), strict=True)
        )
        if len(rivals[line]) > 1:
            shared = min(n for n in claims if sum(n in claims_of(r) for r in rivals[line]) > 1)
            merged.conflicts.add((shared, None))
            if line[at] is not None:
                merged.content[str(line[at])] = wins[str(line[at])]
            continue
        is_moved = line[0] is not None and bool(claims) and line[0] not in line[1:]
        if is_moved and (o is None or t is None):
            merged.conflicts.add((claims[0], None))
            column = (o, t)[at - 1]
        elif len(claims) == 2:
            column = _merge_column(claims[at - 1], b, o, t, strategy, merged.conflicts)
            merged.conflicts.add((claims[0] if strategy == "fail" else claims[at - 1], None))
            claims = [claims[at - 1]]
        else:
            name = claims[0] if claims else ""
            column = _merge_column(name, b, o, t, strategy, merged.conflicts)
        if column is not None:
            merged.content[claims[0]] = column
    return merged


def _merge_column(
    name: str,
    base: Column | None,
    ours: Column | None,
    theirs: Column | None,
    strategy: str,
    conflicts: set[tuple[str, Any]],
) -> Column | None:
    if theirs in (ours, base):
        return ours
    if ours == base:
        return theirs
    wins = theirs if strategy == "theirs" else ours
    if ours is None or theirs is None or ours[0] != theirs[0] or (base and base[0] != ours[0]):
        conflicts.add((name, None))
        return wins
    start = base[1] if base is not None else {}
    samples: dict[Any, Any] = {}
    for key in {*start, *ours[1], *theirs[1]}:
        b, o, t = (side.get(key, _ABSENT) for side in (start, ours[1], theirs[1]))
        value = o
        if o is not t and o != t and t is not b and t != b:
            value = t
            if o is not b and o != b:
                conflicts.add((name, key))
                value = t if strategy == "theirs" else o
        if value is not _ABSENT:
            samples[key] = value
    return ours[0], samples
