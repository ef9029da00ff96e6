"""Changed samples in groups: by column, by the source of their commits, and by their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.history.bisecting.culprit_search import Grouping, range_name
from tensorvcs.history.blaming.blame import last_changed
from tensorvcs.history.commit import load_commit
from tensorvcs.objects.digest import CommitDigest
from tensorvcs.objects.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.bisecting.change_units import ChangeUnits
    from tensorvcs.history.commit import Commit
    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.tree.nodes import Nodes

# Int keys have no parts; they are cut into up to so many ranges.
_RANGES = 16


def group_by_column(changes: ChangeUnits) -> Grouping:
    """Return the units of changes by the columns that they are in."""
    return Grouping(*changes.column_groups())


def group_by_source(
    objects: ObjectStore,
    nodes: Nodes,
    changes: ChangeUnits,
    commit: Commit,
    *,
    is_one_commit: bool,
    source_key: str,
) -> Grouping:
    """Return the units of changes by where they come from.

    That is `source_key` of the metadata of the commit that last changed a sample, or its author
    when it has none.

    Parameters
    ----------
    commit : Commit
        The later version of the changes.
    is_one_commit : bool
        Whether this commit made all of them: it has one parent, and that is the earlier version.
    """
    makers = [commit.digest]
    codes = np.zeros(changes.unit_count, np.intp)
    if not is_one_commit:
        numbers = {commit.digest: 0}
        for at, change in enumerate(changes.columns):
            mine = np.flatnonzero(changes.owners == at)
            # A column that is gone, or changed as a whole, is the later version's own doing.
            if change.is_whole or change.name not in changes.after or not len(mine):
                continue
            places = changes.places[mine]
            split = len(change.keys.ints)
            order = np.argsort(places >= split, kind="stable")
            keys = Keys(
                change.keys.ints[places[places < split]],
                change.keys.texts[places[places >= split] - split],
            )
            found = last_changed(objects, nodes, commit.digest, change.name, keys)
            codes[mine[order]] = [numbers.setdefault(maker, len(numbers)) for maker in found]
        makers = list(numbers)
    names = [_source(load_commit(objects, CommitDigest(maker)), source_key) for maker in makers]
    return _renumber(codes, names)


def _source(commit: Commit, source_key: str) -> str:
    return commit.metadata.get(source_key) or str(commit.author)


def _renumber(codes: NDArray[np.intp], names: Sequence[str]) -> Grouping:
    """Return a grouping in which groups of one name are one."""
    distinct = list(dict.fromkeys(names))
    numbers = {name: number for number, name in enumerate(distinct)}
    return Grouping(np.array([numbers[name] for name in names], np.intp)[codes], distinct)


def group_by_keys(changes: ChangeUnits, separator: str) -> Grouping:
    """Return the units of changes by what their keys start with.

    Text keys go by what stands before the last `separator`, pairs of a nested column by their
    sample, int keys by ranges of about equal counts. All others are one group without a name.
    """
    names: list[str] = [""] * changes.unit_count
    ints: list[tuple[int, int]] = []
    for at, change in enumerate(changes.columns):
        mine = np.flatnonzero(changes.owners == at)
        if change.is_whole or not len(mine):
            continue
        places = changes.places[mine].tolist()
        keys: list[Any] = (change.keys.to_pairs if change.nested else change.keys.to_list)()
        are_samples = changes.are_samples[mine].tolist()
        for unit, place, is_sample in zip(mine.tolist(), places, are_samples, strict=True):
            key = keys[place]
            if isinstance(key, tuple) and not is_sample:
                names[unit] = str(key[0])
                continue
            key = key[0] if is_sample else key
            if isinstance(key, str):
                names[unit] = key.rpartition(separator)[0]
            else:
                ints.append((key, unit))
    ranges = _name_ranges(ints, names)
    grouping = _renumber(np.arange(changes.unit_count), names)
    numbers = frozenset(at for at, name in enumerate(grouping.names) if name in ranges)
    return Grouping(grouping.codes, grouping.names, numbers)


def _name_ranges(ints: list[tuple[int, int]], names: list[str]) -> set[str]:
    """Name the units of int keys by the range that each is in, and return these names."""
    ints.sort()
    distinct = sorted({key for key, _ in ints})
    count = min(_RANGES, len(distinct))
    ranges = {}
    for number in range(count):
        part = distinct[len(distinct) * number // count : len(distinct) * (number + 1) // count]
        ranges.update(dict.fromkeys(part, range_name(part)))
    for key, unit in ints:
        names[unit] = ranges[key]
    return set(ranges.values())
