"""The values of samples in conflict, read when they are asked for, some neighbours at a time."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ObjectNotFoundError, with_hint
from tensorvcs.history.stored_values import load_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.tree.merge import Conflicts

BLOCK_NBYTES = 8 << 20
"""About how much payload is read at a time."""

BLOCK_COUNT = 64
"""Values of unknown size that are read at a time."""

PICKLED_COUNT = 16
PICKLED_NBYTES = 1 << 20

Sides = tuple[Any, Any, Any]
"""The values of base, ours and theirs; None where a side has none."""

BASE, OURS, THEIRS = range(3)


class ConflictValues:
    """The conflicts of one column's samples, and their values on all sides.

    Attributes
    ----------
    schema : Schema
        Of ours and theirs.
    base_schema : Schema
        Of the base, whose values may have had another shape.
    conflicts : Conflicts
        Keys, and what the trees store under them.

    Notes
    -----
    Holds the values of one block. Pickled, it leaves the store behind: it keeps the values in
    the tree leaves, and of the others those of the first sixteen conflicts, up to a megabyte.
    """

    def __init__(
        self,
        schema: Schema,
        base_schema: Schema,
        conflicts: Conflicts,
        tensors: TensorStore | None,
        held: dict[tuple[int, int], Any] | None = None,
    ) -> None:
        self.schema = schema
        self.base_schema = base_schema
        self.conflicts = conflicts
        self._tensors = tensors
        self._held = {} if held is None else held
        self._block: tuple[int, list[Sides]] = (-1, [])

    def __len__(self) -> int:
        return len(self.conflicts)

    @property
    def block_count(self) -> int:
        """How many conflicts are read at a time."""
        if not self.schema.is_fixed_shape:
            return BLOCK_COUNT
        return max(1, BLOCK_NBYTES // max(1, 3 * self.schema.row_nbytes))

    def value(self, place: int, side: int) -> Any:
        """Return the value of one conflict on one side, `BASE`, `OURS` or `THEIRS`, or None.

        Raises
        ------
        ObjectNotFoundError, CorruptionError
            The value is absent or damaged.
        """
        if (place, side) in self._held:
            return self._held[place, side]
        step = min(BLOCK_COUNT, self.block_count)
        number = place // step
        if self._block[0] != number:
            start = number * step
            try:
                self._block = (number, self.read(start, min(start + step, len(self))))
            except ObjectNotFoundError:
                # Another value may be absent where this one is not.
                return self._side(side, place, place + 1)[0]
        return self._block[1][place - number * step][side]

    def read(self, start: int, stop: int) -> list[Sides]:
        """Return the values of the conflicts from `start` to `stop`, without keeping them."""
        base, ours, theirs = (self._side(side, start, stop) for side in (BASE, OURS, THEIRS))
        return list(zip(base, ours, theirs, strict=True))

    def _side(self, side: int, start: int, stop: int) -> list[Any]:
        found = self.conflicts
        schema = self.base_schema if side == BASE else self.schema
        is_there = (found.in_base, found.in_ours, found.in_theirs)[side][start:stop]
        stored = (found.base, found.ours, found.theirs)[side][start:stop]
        values: list[Any] = [None] * len(is_there)
        places = np.flatnonzero(is_there).tolist()
        for place, value in zip(places, self._load(schema, stored[is_there]), strict=True):
            values[place] = value
        return values

    def _load(self, schema: Schema, stored: NDArray[np.uint8]) -> list[Any]:
        if self._tensors is None and not schema.is_inline and len(stored):
            raise with_hint(
                ObjectNotFoundError("the values of this conflict stayed with the repository"),
                "ask the repository for the conflicts again: repo.preview_merge(revision)",
            )
        return load_values(schema, self._tensors, stored) if len(stored) else []  # type: ignore[arg-type]

    def select(self, chosen: NDArray[np.bool_]) -> ConflictValues:
        """Return the conflicts for which `chosen`, shape (n,), holds."""
        return ConflictValues(
            self.schema, self.base_schema, self.conflicts.select(chosen), self._tensors
        )

    def only(self, place: int) -> ConflictValues:
        """Return one conflict alone, for a pickle."""
        held = {(0, side): value for (at, side), value in self._held.items() if at == place}
        conflicts = self.conflicts.span(place, place + 1)
        return ConflictValues(self.schema, self.base_schema, conflicts, self._tensors, held)

    def __reduce__(self) -> tuple[Any, ...]:
        return ConflictValues, (
            self.schema, self.base_schema, self.conflicts, None, self._first_values()
        )  # fmt: skip

    def _first_values(self) -> dict[tuple[int, int], Any]:
        if self.schema.is_inline or self._tensors is None:
            return self._held
        found: dict[tuple[int, int], Any] = {}
        left = PICKLED_NBYTES
        for place, side in product(range(min(PICKLED_COUNT, len(self))), (BASE, OURS, THEIRS)):
            try:
                (value,) = self._side(side, place, place + 1)
            except ObjectNotFoundError:
                continue
            left -= _nbytes(value)
            if left < 0:
                break
            found[place, side] = value
        return found


def _nbytes(value: Any) -> int:
    return 0 if value is None else value.nbytes if hasattr(value, "nbytes") else len(value)
