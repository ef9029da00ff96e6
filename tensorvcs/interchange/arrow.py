"""Columns as Arrow tables, and Arrow tables as columns.

pandas, polars, DuckDB and all others that know Arrow take what `to_arrow` returns; `from_arrow`
takes what they give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ColumnNotFoundError, InvalidInputError, with_hint
from tensorvcs.formats.array_tables import block_count
from tensorvcs.formats.arrow_tables import ArrowTableSource
from tensorvcs.formats.arrow_values import arrow_array, arrow_type, require_pyarrow, why_no_arrow
from tensorvcs.formats.importing import import_source
from tensorvcs.formats.interfaces import ImportOptions
from tensorvcs.formats.table_keys import INT_KEY, KEY, STR_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from tensorvcs.checkout.column import Column
    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.formats.importing import ImportReport, Target
    from tensorvcs.objects.keys import Key

_KEYS_A_CHUNK = 1 << 16


def to_arrow(
    checkout: Checkout | EditableCheckout, columns: str | Sequence[str] | None = None
) -> pa.Table:
    """Return columns as one Arrow table, a row for each key.

    Parameters
    ----------
    checkout : Checkout
        Any.
    columns : str or sequence of str, optional
        When omitted, those that fit in memory by their nature: inline values (labels, boxes,
        short vectors) and texts.

    Returns
    -------
    pyarrow.Table
        The column `key`, int64 or string, and the columns that were asked for; rows in key order.
        Where some keys are ints and others texts there are `int_key` and `str_key` instead, one of
        them null. The rows are all keys of all columns; where a column lacks a key it has null.
        Fixed shapes are ``arrow.fixed_shape_tensor``.

    Raises
    ------
    ColumnNotFoundError
    InvalidInputError
        Arrow has no type for a column, a column is nested, or one has the name of the keys.
    MissingDependencyError
        pyarrow is not installed.

    Notes
    -----
    Stacked numbers are not copied where `Column.view` has them: the table then shares the memory
    map of the pack. Columns with the same keys are read in blocks; others by key, at some
    microseconds a sample.
    """
    pa = require_pyarrow("an Arrow table")
    chosen = _chosen(checkout, columns)
    rows = _Rows(list(chosen.values()))
    found: dict[str, Any] = _joined_keys(rows)
    for name, column in chosen.items():
        view = None if rows.keys is not None else column.view()
        if view is not None:
            chunks = [arrow_array(column.schema, view)]
        else:
            step = _row_step([column])
            chunks = [
                rows.read(column, start, min(start + step, len(rows)))
                for start in range(0, len(rows), step)
            ]
        found[name] = pa.chunked_array(chunks, arrow_type(column.schema))
    return pa.table(found)


def arrow_reader(
    checkout: Checkout | EditableCheckout, columns: str | Sequence[str] | None = None
) -> pa.RecordBatchReader:
    """Return what `to_arrow` does as a stream of record batches, a few megabytes at a time.

    DuckDB and polars read such a stream as they read a table, and ``pyarrow.parquet`` writes it.
    """
    pa = require_pyarrow("an Arrow stream")
    chosen = _chosen(checkout, columns)
    rows = _Rows(list(chosen.values()))
    fields = [(name, array.type) for name, array in rows.key_arrays(0, 0).items()]
    fields += [(name, arrow_type(column.schema)) for name, column in chosen.items()]
    schema = pa.schema(fields)
    step = _row_step(list(chosen.values()))

    def batches() -> Iterator[Any]:
        for start in range(0, len(rows), step):
            stop = min(start + step, len(rows))
            arrays = [*rows.key_arrays(start, stop).values()]
            arrays += [rows.read(column, start, stop) for column in chosen.values()]
            yield pa.record_batch(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def arrow_rows(
    checkout: Checkout | EditableCheckout, columns: Sequence[str], start: int, stop: int
) -> pa.RecordBatch:
    """Return a range of the rows of `to_arrow` as one record batch."""
    pa = require_pyarrow("Arrow arrays")
    chosen = _chosen(checkout, columns)
    rows = _Rows(list(chosen.values()))
    arrays = rows.key_arrays(start, stop)
    arrays |= {name: rows.read(column, start, stop) for name, column in chosen.items()}
    return pa.RecordBatch.from_pydict(arrays)


def from_arrow(
    table: Any,
    target: Target,
    *,
    key: str | None = None,
    columns: Sequence[str] | None = None,
) -> ImportReport:
    """Stage the columns of a table.

    Parameters
    ----------
    table : pyarrow.Table, or what pyarrow makes one of
        A data frame of pandas or polars, a relation of DuckDB, a record batch.
    target : editable checkout or transaction
        Columns that are not there are created.
    key : str, optional
        The column of keys: ints or texts. When omitted `key`, or `int_key` and `str_key`; where
        the table has none of them, the number of the row.
    columns : sequence of str, optional
        All columns when omitted.

    Returns
    -------
    ImportReport
        With the columns that were passed over, and why.

    Raises
    ------
    DuplicateKeyError
        Two rows have one key; nothing was staged.
    InvalidInputError, SchemaMismatchError, UnreadableFileError
        The table lacks a column, or does not fit what is there; nothing was staged.
    MissingDependencyError
        pyarrow is not installed.
    """
    pa = require_pyarrow("reading an Arrow table")
    found = table if isinstance(table, pa.Table) else pa.table(table)
    names = list(found.column_names)
    if columns is not None:
        keys = [key] if key is not None else [n for n in (KEY, INT_KEY, STR_KEY) if n in names]
        wanted = [*keys, *(name for name in columns if name not in keys)]
        absent = [name for name in wanted if name not in names]
        if absent:
            raise InvalidInputError(
                f"the table has no column {absent[0]!r}; it has {', '.join(names)}"
            )
        found = found.select(wanted)
    source = ArrowTableSource(
        found.schema,
        lambda some: iter(found.select(some).to_batches(max_chunksize=_KEYS_A_CHUNK)),
        ImportOptions(extra={} if key is None else {"key": key}),
        "the table",
        found.num_rows,
    )
    return import_source(target, source, "arrow")


def _chosen(
    checkout: Checkout | EditableCheckout, columns: str | Sequence[str] | None
) -> dict[str, Column]:
    """Return the columns asked for, all of which Arrow has a type for."""
    if columns is None:
        names = [
            name
            for name, column in checkout.columns.items()
            if (column.schema.is_inline or column.kind == "str")
            and why_no_arrow(column.schema) is None
            and name not in {KEY, INT_KEY, STR_KEY}
        ]
    else:
        names = [columns] if isinstance(columns, str) else list(columns)
    found = {}
    for name in names:
        if name not in checkout.columns:
            known = ", ".join(checkout.columns) or "none"
            raise ColumnNotFoundError(f"no column {name!r}; there are: {known}")
        if name in {KEY, INT_KEY, STR_KEY}:
            raise with_hint(
                InvalidInputError(f"the table names its keys {name!r}, as this column is named"),
                "rename the column",
            )
        arrow_type(checkout.columns[name].schema)
        found[name] = checkout.columns[name]
    if not found:
        raise with_hint(
            InvalidInputError("there is no column of inline values or texts"),
            "name the columns that are wanted",
        )
    return found


def _row_step(columns: Sequence[Column]) -> int:
    sizes = [
        column.schema.row_nbytes if column.schema.is_fixed_shape else 256 for column in columns
    ]
    return block_count(sum(sizes) + 64)


class _Rows:
    """The rows of a table over some columns: all their keys, in key order.

    `keys` is None where all columns have the same ones, as they mostly do: then a row is a
    position in each of them.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._first = columns[0]
        self.keys: list[Key] | None = None
        self._places: dict[str, Mapping[Key, int]] = {}
        if all(self._first.has_same_keys(other) for other in columns[1:]):
            self._count = len(self._first)
            ends = self._first.keys()[:: max(1, self._count - 1)] if self._count else []
            kinds = {type(key) for key in ends}
        else:
            every = {key for column in columns for key in column}
            ints = sorted(key for key in every if isinstance(key, int))
            texts = sorted(key for key in every if isinstance(key, str))
            self.keys = [*ints, *texts]
            self._places = {
                column.name: {key: at for at, key in enumerate(column)} for column in columns
            }
            self._count = len(self.keys)
            kinds = {type(key) for key in (self.keys[:1] + self.keys[-1:])}
        # Ints come before texts, so the first and the last key tell of all.
        self._kinds = kinds

    def __len__(self) -> int:
        return self._count

    def key_arrays(self, start: int, stop: int) -> dict[str, pa.Array]:
        """Return the columns of keys of a range of rows."""
        import pyarrow as pa

        every = self._first.keys() if self.keys is None else self.keys
        keys = every[start:stop]
        if len(self._kinds) == 2:
            return {
                INT_KEY: pa.array([k if isinstance(k, int) else None for k in keys], pa.int64()),
                STR_KEY: pa.array([k if isinstance(k, str) else None for k in keys], pa.string()),
            }
        return {KEY: pa.array(keys, pa.string() if str in self._kinds else pa.int64())}

    def read(self, column: Column, start: int, stop: int) -> pa.Array:
        """Return the values of a range of rows; null where the column has no such key."""
        import pyarrow as pa

        if self.keys is None:
            view = column.view(start, stop)
            return arrow_array(column.schema, column[start:stop] if view is None else view)
        places = self._places[column.name]
        at = np.array([places.get(key, -1) for key in self.keys[start:stop]], np.int64)
        is_there = at >= 0
        values = arrow_array(column.schema, column.read(at[is_there]))
        if is_there.all():
            return values
        taken = np.cumsum(is_there) - 1
        return values.take(pa.array(taken, mask=~is_there))


def _joined_keys(rows: _Rows) -> dict[str, pa.ChunkedArray]:
    import pyarrow as pa

    parts = [
        rows.key_arrays(start, min(start + _KEYS_A_CHUNK, len(rows)))
        for start in range(0, len(rows), _KEYS_A_CHUNK)
    ]
    kinds = {name: array.type for name, array in rows.key_arrays(0, 0).items()}
    return {
        name: pa.chunked_array([part[name] for part in parts], kind) for name, kind in kinds.items()
    }
