"""Columns side by side as the rows of one table, a block of rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.formats.table_keys import INT_KEY, KEY, STR_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.formats.interfaces import ExportColumn
    from tensorvcs.objects.keys import Key


class TableRows:
    """The rows of some columns: all their keys, in key order.

    Parameters
    ----------
    columns : sequence of ExportColumn
        Their keys are in one order, that of their keys or that a person chose.

    Raises
    ------
    InvalidInputError
        A column has the name that the table gives its keys.
    """

    def __init__(self, columns: Sequence[ExportColumn]) -> None:
        self.columns = columns
        first = columns[0].keys
        self.are_aligned = all(column.keys == first for column in columns[1:])
        self.keys: Sequence[Key] = first if self.are_aligned else _union(columns)
        for column in columns:
            if column.name in {KEY, INT_KEY, STR_KEY}:
                raise with_hint(
                    InvalidInputError(
                        f"the table names its keys {column.name!r}, as this column is named"
                    ),
                    "rename the column, or export it by itself to .npz or .h5",
                )

    def __len__(self) -> int:
        return len(self.keys)

    def blocks(
        self, row_count: int
    ) -> Iterator[tuple[Sequence[Key], dict[str, tuple[NDArray[np.bool_] | None, Any]]]]:
        """Yield keys, and for each column which of them it has (None: all) and their values."""
        streams = {column.name: _Stream(column) for column in self.columns}
        present = {column.name: set(column.keys) for column in self.columns}
        for start in range(0, len(self.keys), row_count):
            keys = self.keys[start : start + row_count]
            block: dict[str, tuple[NDArray[np.bool_] | None, Any]] = {}
            for name, stream in streams.items():
                is_there = None
                count = len(keys)
                if not self.are_aligned:
                    is_there = np.array([key in present[name] for key in keys], np.bool_)
                    count = int(is_there.sum())
                    is_there = None if count == len(keys) else is_there
                block[name] = is_there, stream.take(count)
            yield keys, block


class _Stream:
    """The values of a column in order, any number at a time."""

    def __init__(self, column: ExportColumn) -> None:
        self._batches = column.batches()
        self._schema = column.schema
        self._parts: list[Any] = []

    def take(self, count: int) -> Any:
        """Return the next values: stacked where the shape is fixed, or a list."""
        while sum(map(len, self._parts)) < count:
            self._parts.append(next(self._batches).values)
        stacks = self._schema.is_fixed_shape
        taken: list[Any] = []
        while count and self._parts:
            part = self._parts[0]
            taken.append(part[:count])
            self._parts[0] = part[count:]
            count -= len(taken[-1])
            if not len(self._parts[0]):
                del self._parts[0]
        if not stacks:
            return [value for part in taken for value in part]
        if not taken:
            return np.empty((0, *self._schema.fixed_shape), self._schema.numpy_dtype)
        return taken[0] if len(taken) == 1 else np.concatenate(taken)


def _union(columns: Sequence[ExportColumn]) -> list[Key]:
    every = {key for column in columns for key in column.keys}
    ints = sorted(key for key in every if isinstance(key, int))
    texts = sorted(key for key in every if isinstance(key, str))
    return [*ints, *texts]
