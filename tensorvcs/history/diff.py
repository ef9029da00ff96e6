"""What differs between two versions: by column, and in it by sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import ColumnNotFoundError
from tensorvcs.history.stored_values import load_values
from tensorvcs.objects.keys import EMPTY_INTS, EMPTY_TEXTS, Keys
from tensorvcs.tree.diff import DiffBlock, diff
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns, ColumnState
    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.tree.nodes import Nodes

_SHOWN_PICTURES = 8


class ChangedKeys(Sequence[Any]):
    """Keys in order, ints before texts; pairs (sample, subsample) for a nested column."""

    def __init__(self, keys: Keys, *, nested: bool) -> None:
        self._keys = keys
        self._nested = nested

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"place {place} is outside {len(self)} keys")
        at, split = place % len(self), len(self._keys.ints)
        if at < split:
            one = Keys(self._keys.ints[at : at + 1], EMPTY_TEXTS)
        else:
            one = Keys(EMPTY_INTS, self._keys.texts[at - split : at - split + 1])
        return (one.to_pairs() if self._nested else one.to_list())[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys.to_pairs() if self._nested else self._keys.to_list())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence) and not isinstance(other, str):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:6]))
        return f"[{shown}{', …' if len(self) > 6 else ''}]"


@dataclass(frozen=True, slots=True)
class SampleChange:
    """One sample before and after; None where it is not there."""

    key: Any
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ColumnStat:
    """The counts of one column's changes."""

    added: int
    deleted: int
    modified: int
    is_schema_changed: bool

    @property
    def total(self) -> int:
        """All changed samples."""
        return self.added + self.deleted + self.modified


@dataclass(frozen=True, slots=True)
class DiffStat:
    """The counts of a diff, by column."""

    columns: Mapping[str, ColumnStat]

    @property
    def added(self) -> int:
        """Samples added, over all columns."""
        return sum(stat.added for stat in self.columns.values())

    @property
    def deleted(self) -> int:
        """Samples deleted, over all columns."""
        return sum(stat.deleted for stat in self.columns.values())

    @property
    def modified(self) -> int:
        """Samples modified, over all columns."""
        return sum(stat.modified for stat in self.columns.values())

    def __str__(self) -> str:
        width = max(map(len, self.columns), default=0)
        lines = [
            f"{name:{width}}  +{s.added} -{s.deleted} ~{s.modified}"
            + ("  schema" if s.is_schema_changed else "")
            for name, s in self.columns.items()
        ]
        return "\n".join(lines) if lines else "no changes"


class ColumnDiff:
    """What differs in one column.

    The trees are compared when a count or a key is first asked for; the cost follows what
    differs, not the size of the column.
    """

    def __init__(
        self,
        name: str,
        nodes: Nodes,
        tensors: TensorStore,
        before: ColumnState | None,
        after: ColumnState | None,
    ) -> None:
        self.name = name
        self._nodes = nodes
        self._tensors = tensors
        self._before = before
        self._after = after

    @property
    def schema(self) -> tuple[Schema | None, Schema | None] | None:
        """The schema before and after, None where there is no column; None when it is equal."""
        before = self._before.schema if self._before else None
        after = self._after.schema if self._after else None
        return None if before == after else (before, after)

    @property
    def is_added(self) -> bool:
        """Whether the column is new."""
        return self._before is None

    @property
    def is_deleted(self) -> bool:
        """Whether the column is gone."""
        return self._after is None

    def _blocks(self) -> Iterator[DiffBlock]:
        """Yield what differs; a column of other values is deleted and added as a whole."""
        before, after = self._before, self._after
        if before and after and holds_same_values(before.schema, after.schema):
            yield from diff(self._nodes, before.tree, after.tree)
            return
        if before:
            yield from diff(self._nodes, before.tree, Tree.empty(before.tree.value_nbytes))
        if after:
            yield from diff(self._nodes, Tree.empty(after.tree.value_nbytes), after.tree)

    @cached_property
    def _keys(self) -> tuple[ChangedKeys, ChangedKeys, ChangedKeys]:
        added: list[Keys] = []
        deleted: list[Keys] = []
        modified: list[Keys] = []
        for block in self._blocks():
            added.append(block.added)
            deleted.append(block.deleted)
            modified.append(block.modified)
        before = self._before.schema.nested if self._before else False
        after = self._after.schema.nested if self._after else False
        return (
            ChangedKeys(_join(added), nested=after),
            ChangedKeys(_join(deleted), nested=before),
            ChangedKeys(_join(modified), nested=after),
        )

    @property
    def added(self) -> ChangedKeys:
        """The keys that only the later version has."""
        return self._keys[0]

    @property
    def deleted(self) -> ChangedKeys:
        """The keys that only the earlier version has."""
        return self._keys[1]

    @property
    def modified(self) -> ChangedKeys:
        """The keys whose values differ."""
        return self._keys[2]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs, schema included."""
        return self._before == self._after

    def stat(self) -> ColumnStat:
        """Return the counts."""
        return ColumnStat(
            len(self.added), len(self.deleted), len(self.modified), self.schema is not None
        )

    def changes(self) -> Iterator[SampleChange]:
        """Yield each changed sample with its values, block by block in key order.

        Raises
        ------
        ObjectNotFoundError, CorruptionError
            A value is absent or damaged.
        """
        for block in self._blocks():
            rows = [
                *zip(
                    self._spell(block.deleted, self._before),
                    self._load(self._before, block.deleted_values),
                    _nothing(len(block.deleted)),
                    strict=True,
                ),
                *zip(
                    self._spell(block.added, self._after),
                    _nothing(len(block.added)),
                    self._load(self._after, block.added_values),
                    strict=True,
                ),
                *zip(
                    self._spell(block.modified, self._after),
                    self._load(self._before, block.before),
                    self._load(self._after, block.after),
                    strict=True,
                ),
            ]
            yield from (SampleChange(*row) for row in sorted(rows, key=_place_of))

    def _load(self, state: ColumnState | None, stored: NDArray[np.uint8]) -> list[Any]:
        if not len(stored):
            return []
        assert state is not None
        return load_values(state.schema, self._tensors, stored)

    def _spell(self, keys: Keys, state: ColumnState | None) -> list[Any]:
        nested = state is not None and state.schema.nested
        return keys.to_pairs() if nested else keys.to_list()

    def __repr__(self) -> str:
        stat = self.stat()
        return f"<ColumnDiff {self.name!r}: +{stat.added} -{stat.deleted} ~{stat.modified}>"

    def _repr_html_(self) -> str:
        rows: list[list[str]] = []
        for change in self.changes():
            if len(rows) == _SHOWN_PICTURES:
                rows.append(["…", "", ""])
                break
            sides = [
                "" if side is None else value_html(side) for side in (change.before, change.after)
            ]
            rows.append([value_html(str(change.key)), *sides])
        return table_html(["key", "before", "after"], rows, repr(self)[1:-1])


@dataclass(frozen=True)
class Diff:
    """What differs between two versions.

    Attributes
    ----------
    columns : mapping of str to ColumnDiff
        The columns that differ, by name.
    """

    columns: Mapping[str, ColumnDiff] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the versions are equal."""
        return not self.columns

    def stat(self) -> DiffStat:
        """Return the counts by column."""
        return DiffStat({name: column.stat() for name, column in self.columns.items()})

    def __bool__(self) -> bool:
        return not self.is_empty

    def __repr__(self) -> str:
        parts = [
            f"{name} +{s.added} -{s.deleted} ~{s.modified}"
            for name, s in self.stat().columns.items()
        ]
        return f"<Diff: {'; '.join(parts) or 'no changes'}>"

    def _repr_html_(self) -> str:
        if self.is_empty:
            return "<p>no changes</p>"
        return "".join(column._repr_html_() for column in self.columns.values())


def holds_same_values(before: Schema, after: Schema) -> bool:
    """Tell whether two schemas differ at most in how values are stored."""
    return (before.kind, before.dtype, before.nested, before.value_nbytes) == (
        after.kind,
        after.dtype,
        after.nested,
        after.value_nbytes,
    ) and (before.is_inline, before.shape if before.is_inline else None) == (
        after.is_inline,
        after.shape if after.is_inline else None,
    )


def diff_columns(
    nodes: Nodes,
    before: Columns,
    after: Columns,
    tensors: TensorStore,
    names: Sequence[str] | None = None,
) -> Diff:
    """Return what differs between the columns of two versions.

    Parameters
    ----------
    names : sequence of str, optional
        Only these columns.

    Raises
    ------
    ColumnNotFoundError
        Neither version has a column of `names`.
    """
    known = sorted({*before, *after})
    if names is not None:
        for name in names:
            if name not in known:
                raise ColumnNotFoundError(
                    f"neither version has a column {name!r}; there are: "
                    f"{', '.join(known) or 'none'}"
                )
        known = sorted(set(names))
    return Diff(
        {
            name: ColumnDiff(name, nodes, tensors, before.get(name), after.get(name))
            for name in known
            if before.get(name) != after.get(name)
        }
    )


def _join(keys: Sequence[Keys]) -> Keys:
    if not keys:
        return Keys(EMPTY_INTS, EMPTY_TEXTS)
    return Keys(
        np.concatenate([block.ints for block in keys]),
        np.concatenate([block.texts for block in keys]),
    )


def _nothing(count: int) -> list[None]:
    return [None] * count


def _place_of(row: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    """Order rows as keys are ordered: ints before texts, pairs by their parts."""
    parts = row[0] if isinstance(row[0], tuple) else (row[0],)
    return tuple((isinstance(part, str), part) for part in parts)
