"""The changes between two versions, cut into the units that can be tried apart.

A modified sample is a unit by itself, in each column. A sample that was added, or deleted, in
several columns at once is one unit, so that every version in between has pictures and labels of
the same samples. A column that changed as a whole (another kind or shape, or nothing but its
schema or name) is one unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.history.difference.changed_keys import no_keys, spell
from tensorvcs.history.difference.renames import find_renames
from tensorvcs.history.picking.partial import apply_part
from tensorvcs.history.snapshot import holds_same_values
from tensorvcs.objects.keys import Keys, collect_keys, split_composite
from tensorvcs.tree.diff import diff
from tensorvcs.tree.entries import find_keys, join_keys
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns, ColumnState
    from tensorvcs.tree.nodes import Nodes

_ADDED, _DELETED, _MODIFIED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """What changed in one column, and the unit that each change belongs to.

    Attributes
    ----------
    name : str
        In the later version; in the earlier one when the column is gone.
    nested : bool
    is_whole : bool
        Whether the column changed as a whole, in one unit, and has no keys here.
    keys : Keys
        The changed samples; each sort in order.
    units : ndarray, shape (len(keys),), intp
        The unit of each key, ints then texts; of shape (1,) for a whole column.
    """

    name: str
    nested: bool
    is_whole: bool
    keys: Keys
    units: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ChangeUnits:
    """The changes from one version to another, in units.

    Attributes
    ----------
    before, after : Columns
    columns : tuple of ColumnChange
        By name.
    unit_count : int
    owners : ndarray, shape (unit_count,), intp
        The place in `columns` of the column that a unit takes its key from.
    places : ndarray, shape (unit_count,), intp
        The place of that key in the column's keys.
    are_samples : ndarray, shape (unit_count,), bool
        Whether a unit of a nested column is a whole sample, and not one subsample.
    """

    before: Columns
    after: Columns
    columns: tuple[ColumnChange, ...]
    unit_count: int
    owners: NDArray[np.intp]
    places: NDArray[np.intp]
    are_samples: NDArray[np.bool_]

    def apply(self, nodes: Nodes, chosen: NDArray[np.bool_]) -> Columns:
        """Return the earlier version with some of the changes.

        Parameters
        ----------
        chosen : ndarray, shape (unit_count,), bool

        Notes
        -----
        Cost follows the changes, chosen or not. New nodes go to the object store.
        """
        if chosen.all():
            return self.after
        whole = {c.name for c in self.columns if c.is_whole and bool(chosen[c.units[0]])}
        parts = {c.name: c for c in self.columns if not c.is_whole and bool(chosen[c.units].any())}

        def choose(name: str, keys: Keys) -> NDArray[np.bool_]:
            change = parts[name]
            ints, _ = find_keys(change.keys.ints, keys.ints)
            texts, _ = find_keys(change.keys.texts, keys.texts)
            places = np.concatenate([ints, texts + len(change.keys.ints)])
            taken: NDArray[np.bool_] = chosen[change.units[places]]
            return taken

        made = apply_part(nodes, self.before, self.after, None, whole) if whole else self.before
        return apply_part(nodes, made, self.after, choose, parts.keys()) if parts else made

    def column_groups(self) -> tuple[NDArray[np.intp], list[str]]:
        """Return for each unit the place of its name in a list of names of columns.

        A unit that is in several columns has a name such as ``images, labels``.
        """
        codes = np.zeros(self.unit_count, np.intp)
        names: list[tuple[str, ...]] = [()]
        for change in self.columns:
            is_in = np.zeros(self.unit_count, np.intp)
            is_in[change.units] = 1
            found, codes = np.unique(2 * codes + is_in, return_inverse=True)
            names = [
                (*names[code // 2], change.name) if code % 2 else names[code // 2]
                for code in found.tolist()
            ]
        return codes, [", ".join(parts) for parts in names]

    def keys_of(self, units: NDArray[np.intp]) -> list[Any]:
        """Return the keys of units in order: samples, or pairs of a nested column.

        A column that changed as a whole gives no key.
        """
        found: dict[Any, None] = {}
        for at, change in enumerate(self.columns):
            mine = units[self.owners[units] == at]
            if not change.is_whole and len(mine):
                keys = spell(_take(change.keys, self.places[mine]), nested=change.nested)
                # Units are numbered in key order, so both run alike.
                are_samples = self.are_samples[mine].tolist()
                found.update(
                    dict.fromkeys(
                        key[0] if is_sample else key
                        for key, is_sample in zip(keys, are_samples, strict=True)
                    )
                )
        return sorted(found, key=_place_of)


def cut_changes(
    nodes: Nodes, before: Columns, after: Columns, *, whole_samples: bool
) -> ChangeUnits:
    """Return the changes between two versions in units.

    Parameters
    ----------
    whole_samples : bool
        Whether a sample that was added or deleted in several columns at once is one unit.

    Notes
    -----
    Reads what differs. Takes memory for the changed keys.
    """
    renamed = {new: old for old, new in find_renames(nodes, before, after).items()}
    found: list[tuple[str, bool, _Kinds | None]] = []
    for name in sorted(({*before} - {*renamed.values()}) | {*after}):
        old, new = before.get(renamed.get(name, name)), after.get(name)
        if old == new and name not in renamed:
            continue
        some = old if new is None else new
        assert some is not None
        found.append((name, some.schema.nested, _changed_keys(nodes, old, new)))
    return _number(found, whole_samples=whole_samples, before=before, after=after)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Changed keys, each sort in order, and of each whether it was added, deleted or modified."""

    keys: Keys
    kinds: NDArray[np.int8]


def _changed_keys(nodes: Nodes, old: ColumnState | None, new: ColumnState | None) -> _Kinds | None:
    """Return what changed by sample; None when the column changed as a whole."""
    if old is not None and new is not None and not _are_samples_alike(old, new):
        return None
    some = old if new is None else new
    assert some is not None
    empty = Tree.empty(some.tree.value_nbytes)
    ints: list[NDArray[Any]] = []
    texts: list[NDArray[Any]] = []
    int_kinds: list[NDArray[np.int8]] = []
    text_kinds: list[NDArray[np.int8]] = []
    for block in diff(nodes, old.tree if old else empty, new.tree if new else empty):
        for kind, keys in (
            (_ADDED, block.added), (_DELETED, block.deleted), (_MODIFIED, block.modified)
        ):  # fmt: skip
            ints.append(keys.ints)
            int_kinds.append(np.full(len(keys.ints), kind, np.int8))
            texts.append(keys.texts)
            text_kinds.append(np.full(len(keys.texts), kind, np.int8))
    joined = Keys(join_keys(ints, is_text=False), join_keys(texts, is_text=True))
    if not len(joined):
        return None
    int_order = np.argsort(joined.ints, kind="stable")
    text_order = np.argsort(joined.texts, kind="stable")
    kinds = [np.concatenate(int_kinds)[int_order], np.concatenate(text_kinds)[text_order]]
    return _Kinds(Keys(joined.ints[int_order], joined.texts[text_order]), np.concatenate(kinds))


def _are_samples_alike(old: ColumnState, new: ColumnState) -> bool:
    """Tell whether samples of both versions of a column may stand beside each other."""
    return holds_same_values(old.schema, new.schema) and (
        old.schema.shape, old.schema.variable_shape
    ) == (new.schema.shape, new.schema.variable_shape)  # fmt: skip


class _Numbers:
    """Units as they are numbered: their columns, and the key that each of them has."""

    def __init__(self, changes: Sequence[tuple[str, bool, _Kinds | None]]) -> None:
        self.units = [
            np.zeros(1 if kinds is None else len(kinds.keys), np.intp) for _, _, kinds in changes
        ]
        self.count = 0
        self._parts: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]] = []

    def add(self, column: int, places: NDArray[np.intp]) -> None:
        """Number changes of one column, each a unit by itself."""
        self.units[column][places] = self.count + np.arange(len(places))
        self.count += len(places)
        self._parts.append((np.full(len(places), column), places, np.zeros(len(places), np.bool_)))

    def add_samples(
        self,
        members: Sequence[tuple[int, NDArray[np.intp]]],
        samples: NDArray[Any],
        nested: set[int],
    ) -> None:
        """Number changes of several columns, those of one sample as one unit.

        Parameters
        ----------
        members : sequence of (int, ndarray)
            Columns, and the places of the changes in each.
        samples : ndarray
            The sample keys of all of them, of one sort, one behind the other.
        nested : set of int
            The nested ones of the columns.
        """
        unique, numbers = np.unique(samples, return_inverse=True)
        owner = np.zeros(len(unique), np.intp)
        place = np.zeros(len(unique), np.intp)
        ends = np.cumsum([len(places) for _, places in members])
        # A column that is not nested comes last, and so it is the one that gives the key.
        for (column, places), stop in sorted(
            zip(members, ends.tolist(), strict=True), key=lambda m: m[0][0] not in nested
        ):
            mine = numbers[stop - len(places) : stop]
            self.units[column][places] = self.count + mine
            owner[mine], place[mine] = column, places
        self.count += len(unique)
        self._parts.append((owner, place, np.isin(owner, sorted(nested))))

    def joined(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
        """Return owners, places and are_samples of `ChangeUnits`."""
        if not self._parts:
            return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.bool_)
        owners, places, are_samples = zip(*self._parts, strict=True)
        return np.concatenate(owners), np.concatenate(places), np.concatenate(are_samples)


def _number(
    changes: Sequence[tuple[str, bool, _Kinds | None]],
    *,
    whole_samples: bool,
    before: Columns,
    after: Columns,
) -> ChangeUnits:
    numbers = _Numbers(changes)
    nested = {at for at, (_, is_nested, _) in enumerate(changes) if is_nested}
    for kind in (_ADDED, _DELETED, _MODIFIED):
        members = [
            (at, np.flatnonzero(kinds.kinds == kind))
            for at, (_, _, kinds) in enumerate(changes)
            if kinds is not None and bool((kinds.kinds == kind).any())
        ]
        if kind == _MODIFIED or not whole_samples or len(members) < 2:
            for at, places in members:
                numbers.add(at, places)
            continue
        for is_text in (False, True):
            sorts = []
            for at, places in members:
                kinds = changes[at][2]
                assert kinds is not None
                chosen, samples = _samples_at(kinds.keys, places, at in nested, is_text=is_text)
                if len(chosen):
                    sorts.append(((at, chosen), samples))
            if sorts:
                joined = join_keys([samples for _, samples in sorts], is_text=is_text)
                numbers.add_samples([member for member, _ in sorts], joined, nested)
    for at, (_, _, kinds) in enumerate(changes):
        if kinds is None:
            numbers.add(at, np.zeros(1, np.intp))
    owners, places, are_samples = numbers.joined()
    return ChangeUnits(
        before,
        after,
        tuple(
            ColumnChange(
                name, is_nested, kinds is None, no_keys() if kinds is None else kinds.keys, units
            )
            for (name, is_nested, kinds), units in zip(changes, numbers.units, strict=True)
        ),
        numbers.count,
        owners,
        places,
        are_samples,
    )


def _samples_at(
    keys: Keys, places: NDArray[np.intp], is_nested: bool, *, is_text: bool
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return those of `places` whose sample key is of one sort, and these sample keys."""
    split = len(keys.ints)
    if not is_nested:
        mine = places[places >= split] if is_text else places[places < split]
        return mine, keys.texts[mine - split] if is_text else keys.ints[mine]
    samples, order = collect_keys(
        [split_composite(text)[0] for text in keys.texts[places - split].tolist()]
    )
    mine = places[order]
    int_count = len(samples.ints)
    if is_text:
        return mine[int_count:], samples.texts
    return mine[:int_count], samples.ints


def _take(keys: Keys, places: NDArray[np.intp]) -> Keys:
    split = len(keys.ints)
    return Keys(keys.ints[places[places < split]], keys.texts[places[places >= split] - split])


def _place_of(key: Any) -> tuple[Any, ...]:
    parts = key if isinstance(key, tuple) else (key,)
    return tuple((isinstance(part, str), part) for part in parts)
