"""Conflicts of a merge as values: what both sides changed, and the values on all sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tensorvcs.display.counting import count_text
from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import ObjectNotFoundError
from tensorvcs.history.merging.conflict_values import BASE, OURS, THEIRS

if TYPE_CHECKING:
    from tensorvcs.history.merging.conflict_values import ConflictValues
    from tensorvcs.objects.keys import Keys
    from tensorvcs.objects.schema import Schema

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class StoredSides:
    """What the trees store of a sample: a digest or an inline value, None where it is absent."""

    base: bytes | None = None
    ours: bytes | None = None
    theirs: bytes | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Conflict:
    """One thing that both sides changed in different ways.

    Attributes
    ----------
    column : str
        Its name in the merge; for a column as a whole that of ours where it has one.
    key : str, int, pair or None
        The sample; a pair for a subsample; None when the column as a whole is in conflict.
    kind : str
        ``modify/modify``, ``modify/delete``, ``delete/modify`` or ``add/add``, ours first;
        ``schema`` when the sides want different schemas; ``rename`` when they want different
        names, or one name for different columns; ``rename/delete`` and ``delete/rename``;
        ``criss-cross`` when the common ancestors disagree, and one side has the sample and the
        other has not, or the sides differ in a column whose schema or existence the ancestors
        disagree about.
    stored : StoredSides
        What identifies the value on each side.
    decided_by : str or None
        The policy that decided it, None while it is open.
    """

    column: str
    key: Any
    kind: str
    stored: StoredSides = field(default=StoredSides())
    decided_by: str | None = None
    _values: ConflictValues | None = field(default=None, compare=False)
    _place: int = field(default=0, compare=False)

    @property
    def schema(self) -> Schema | None:
        """The schema of the values of ours and theirs; None for a column as a whole."""
        return None if self._values is None else self._values.schema

    @property
    def base(self) -> Any:
        """The value in the base: an array, a text, bytes, or None where it is absent.

        Raises
        ------
        ObjectNotFoundError, CorruptionError
            The value is absent or damaged.

        Notes
        -----
        Read when first asked for, with those of the neighbours in the list. A conflict that was
        pickled holds what its list held; see `tensorvcs.history.merging.conflict_values`.
        """
        return self._value(BASE)

    @property
    def ours(self) -> Any:
        """The value in ours, as `base`."""
        return self._value(OURS)

    @property
    def theirs(self) -> Any:
        """The value in theirs, as `base`."""
        return self._value(THEIRS)

    def _value(self, side: int) -> Any:
        return None if self._values is None else self._values.value(self._place, side)

    def _picture(self, side: int) -> str:
        try:
            value = self._value(side)
        except ObjectNotFoundError:
            return value_html("not here")
        return "" if value is None else value_html(value)

    def __str__(self) -> str:
        where = self.column if self.key is None else f"{self.column}[{self.key!r}]"
        decided = f", decided by {self.decided_by}" if self.decided_by else ""
        return f"{where}: {self.kind}{decided}"

    def __repr__(self) -> str:
        return f"<Conflict {self}>"

    def _repr_html_(self) -> str:
        return _table([self], str(self))

    def __reduce__(self) -> tuple[Any, ...]:
        values = None if self._values is None else self._values.only(self._place)
        return Conflict, (
            self.column, self.key, self.kind, self.stored, self.decided_by, values, 0
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Samples:
    """The samples of one column that are in a list."""

    column: str
    values: ConflictValues
    decided_by: str | None

    def conflict(self, place: int, key: Any) -> Conflict:
        found = self.values.conflicts
        sides = [
            stored[place].tobytes() if is_there[place] else None
            for is_there, stored in (
                (found.in_base, found.base),
                (found.in_ours, found.ours),
                (found.in_theirs, found.theirs),
            )
        ]
        if sides[0] is None:
            kind = "add/add" if None not in sides[1:] else "criss-cross"
        else:
            kind = "/".join("delete" if side is None else "modify" for side in sides[1:])
        return Conflict(
            self.column, key, kind, StoredSides(*sides), self.decided_by, self.values, place
        )

    def keys(self, keys: Keys) -> list[Any]:
        return keys.to_pairs() if self.values.schema.nested else keys.to_list()

    def __getitem__(self, place: int) -> Conflict:
        one = self.values.conflicts.keys.span(place, place + 1)
        return self.conflict(place, self.keys(one)[0])

    def __iter__(self) -> Iterator[Conflict]:
        for place, key in enumerate(self.keys(self.values.conflicts.keys)):
            yield self.conflict(place, key)


class ConflictList(Sequence[Conflict]):
    """All conflicts of a merge, by column and in key order; made one by one when asked for.

    Pickled, it keeps the values in tree leaves and those of the first conflicts; see
    `tensorvcs.history.merging.conflict_values`.
    """

    def __init__(self) -> None:
        self._parts: list[_Samples | Conflict] = []
        self._ends: list[int] = []

    def add_samples(
        self, column: str, values: ConflictValues, decided_by: str | None = None
    ) -> None:
        """Add the conflicts of one column's samples."""
        if len(values):
            self._parts.append(_Samples(column, values, decided_by))
            self._ends.append(len(self) + len(values))

    def add_column(self, conflict: Conflict) -> None:
        """Add a conflict of a column as a whole."""
        self._parts.append(conflict)
        self._ends.append(len(self) + 1)

    def samples(self) -> dict[str, ConflictValues]:
        """Return the samples in conflict by column."""
        return {part.column: part.values for part in self._parts if isinstance(part, _Samples)}

    def sample_keys(self) -> dict[str, Keys]:
        """Return the samples in conflict by column, as sorted tree keys."""
        return {column: values.conflicts.keys for column, values in self.samples().items()}

    def column_conflicts(self) -> list[Conflict]:
        """Return the conflicts of columns as a whole."""
        return [part for part in self._parts if isinstance(part, Conflict)]

    def column_names(self) -> list[str]:
        """Return the columns that are in conflict as a whole."""
        return [part.column for part in self._parts if isinstance(part, Conflict)]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, place: int) -> Conflict: ...
    @overload
    def __getitem__(self, place: slice) -> list[Conflict]: ...
    def __getitem__(self, place: int | slice) -> Conflict | list[Conflict]:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"place {place} is outside {count_text(len(self), 'conflict')}")
        at = place % len(self)
        part_at = int(np.searchsorted(self._ends, at, "right"))
        part = self._parts[part_at]
        if isinstance(part, Conflict):
            return part
        return part[at - (self._ends[part_at] - len(part.values))]

    def __iter__(self) -> Iterator[Conflict]:
        for part in self._parts:
            if isinstance(part, Conflict):
                yield part
            else:
                yield from part

    def __repr__(self) -> str:
        shown = "; ".join(map(str, self[:3]))
        return f"<{count_text(len(self), 'conflict')}: {shown}{'; …' if len(self) > 3 else ''}>"

    def _repr_html_(self) -> str:
        return _table(self[:_SHOWN], count_text(len(self), "conflict"), is_cut=len(self) > _SHOWN)


def _table(conflicts: Sequence[Conflict], caption: str, *, is_cut: bool = False) -> str:
    rows = []
    for conflict in conflicts:
        where = "" if conflict.key is None else value_html(str(conflict.key))
        pictures = [conflict._picture(side) for side in (BASE, OURS, THEIRS)]
        kind = conflict.kind + (f", {conflict.decided_by}" if conflict.decided_by else "")
        rows.append([value_html(conflict.column), where, value_html(kind), *pictures])
    if is_cut:
        rows.append(["…", "", "", "", "", ""])
    return table_html(["column", "key", "conflict", "base", "ours", "theirs"], rows, caption)
