"""A selection of changes, by column and by key, and how it splits the changes of two versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import ColumnNotFoundError, InvalidInputError
from tensorvcs.history.difference.renames import is_beyond_chance
from tensorvcs.history.picking.partial import apply_part, renames_among
from tensorvcs.objects.key_patterns import KeyPattern, KeyPatterns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from tensorvcs.history.picking.partial import Choose
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.keys import Keys
    from tensorvcs.tree.nodes import Nodes


@dataclass(frozen=True, slots=True)
class Selection:
    """Which changes are meant: of some columns, of some keys, or all.

    Attributes
    ----------
    columns : tuple of str or None
        All columns when None.
    keys : KeyPatterns or None
        All keys when None.
    """

    columns: tuple[str, ...] | None = None
    keys: KeyPatterns | None = None

    @classmethod
    def of(
        cls, columns: str | Iterable[str] | None, keys: KeyPattern | Iterable[KeyPattern] | None
    ) -> Selection:
        """Return the selection that arguments of a user spell.

        Raises
        ------
        InvalidInputError
            A list is empty, or holds something else.
        """
        names = None
        if columns is not None:
            names = (columns,) if isinstance(columns, str) else tuple(columns)
            if not names or not all(isinstance(name, str) for name in names):
                raise InvalidInputError(f"columns are names of columns, not {columns!r}")
        return cls(names, None if keys is None else KeyPatterns.of(keys))

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self.columns is None and self.keys is None

    def __str__(self) -> str:
        parts = []
        if self.columns is not None:
            parts.append(("columns " if self.columns[1:] else "column ") + ", ".join(self.columns))
        if self.keys is not None:
            parts.append(f"keys {self.keys}")
        return "; ".join(parts) if parts else "everything"


def take_back(
    nodes: Nodes, before: Columns, after: Columns, selection: Selection
) -> tuple[Columns, Columns]:
    """Split what changed between two versions; both parts merged are the whole again.

    That a column was deleted is selected with all its samples, or not at all.

    Returns
    -------
    chosen : Columns
        `before` with the selected changes.
    rest : Columns
        `after` without them.

    Raises
    ------
    ColumnNotFoundError
        A selected column is in neither version.

    Notes
    -----
    Cost follows the changes. New nodes go to the object store.
    """
    for name in selection.columns or ():
        if name not in before and name not in after:
            known = ", ".join(sorted({*before, *after})) or "none"
            raise ColumnNotFoundError(f"no column {name!r}; there are: {known}")
    if selection.is_everything:
        return after, before
    choose = None
    if selection.keys is not None:
        choose = chooser(before, after, selection.keys)

    if choose is None:
        renames = renames_among(nodes, before, after, selection.columns)
        return _split(nodes, before, after, None, selection.columns, renames)
    # The parts are merged again some day, which must see one column in all of them: also where a
    # part alone looks more like the column before than the whole does.
    renames = _merged_renames(nodes, before, after, selection.columns)
    while True:
        chosen, rest = _split(nodes, before, after, choose, selection.columns, renames)
        seen = {
            old: new
            for part in (chosen, rest)
            for old, new in _merged_renames(nodes, before, part, selection.columns).items()
            if old not in renames and new not in renames.values() and old not in after
        }
        if not seen:
            return chosen, rest
        renames.update([next(iter(seen.items()))])


def _merged_renames(
    nodes: Nodes, before: Columns, after: Columns, names: Collection[str] | None
) -> dict[str, str]:
    """Return the renames that a merge sees between two versions, old name to new name."""
    return {
        old: new
        for old, new in renames_among(nodes, before, after, names).items()
        if is_beyond_chance(nodes, before[old], after[new])
    }


def _split(
    nodes: Nodes,
    before: Columns,
    after: Columns,
    choose: Choose | None,
    names: Collection[str] | None,
    renames: Mapping[str, str],
) -> tuple[Columns, Columns]:
    """Return the chosen part and the rest, where it is told which columns were renamed."""
    chosen = apply_part(nodes, before, after, choose, names, renames=renames)
    backwards = {new: old for old, new in renames.items()}
    rest = apply_part(nodes, after, before, choose, names, renames=backwards)
    for name in {*before} - {*after}:
        if name in chosen and name in rest:
            chosen[name] = before[name]
            del rest[name]
    return chosen, rest


def chooser(before: Columns, after: Columns, patterns: KeyPatterns) -> Choose:
    """Return what `apply_part` asks of changed keys, which of them are selected."""

    def choose(name: str, keys: Keys) -> NDArray[np.bool_]:
        is_nested = {side[name].schema.nested for side in (before, after) if name in side}
        if len(is_nested) == 1:
            return patterns.match(keys, nested=is_nested.pop())
        # The keys of the one side have no meaning for the other: all, or none.
        return np.full(len(keys), patterns.has_all)

    return choose
