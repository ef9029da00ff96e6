"""The whole store as plain dicts: the oracle that the tests compare with.

A column is a pair (schema, samples), where a schema is any value that compares; a content is a
dict of columns by name. A history is a list of parents by commit number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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


def merge_contents(base: Content, ours: Content, theirs: Content, strategy: str) -> Merged:
    """Merge three contents, sample by sample; a conflict takes ours, or theirs with `theirs`."""
    merged = Merged()
    for name in sorted({*base, *ours, *theirs}):
        column = _merge_column(
            name, base.get(name), ours.get(name), theirs.get(name), strategy, merged.conflicts
        )
        if column is not None:
            merged.content[name] = column
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
