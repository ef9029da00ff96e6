"""Tables of Arrow as a source of samples: a column of the table is a column, a row a sample."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import InvalidColumnError, InvalidInputError, UnreadableFileError, with_hint
from tensorvcs.formats.array_tables import damage_named, refuse_image_options
from tensorvcs.formats.arrow_values import arrow_values, schema_of_arrow
from tensorvcs.formats.interfaces import Batch, ColumnBatch, Plan, Skipped
from tensorvcs.formats.table_keys import INT_KEY, STR_KEY, key_columns, refuse_duplicates
from tensorvcs.objects.schema import Schema, check_column_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from tensorvcs.formats.interfaces import ImportOptions, Progress
    from tensorvcs.objects.keys import Key


class ArrowTableSource:
    """The rows of a table, a batch at a time.

    Parameters
    ----------
    schema : pyarrow.Schema
    read : callable
        Given names of columns, returns an iterator over record batches of those columns; called
        more than once.
    options : ImportOptions
        `extra` may name the column of keys: ``key``.
    where : str
        The file, for messages.
    row_count : int
    close : callable

    Notes
    -----
    The keys are read twice, so that a key that comes twice is found before anything is staged. A
    null gives no sample: the column lacks the key of that row.
    """

    def __init__(
        self,
        schema: pa.Schema,
        read: Callable[[list[str]], Iterator[pa.RecordBatch]],
        options: ImportOptions,
        where: str,
        row_count: int,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.skipped: list[Skipped] = []
        self.ignored_count = 0
        self.close = close
        self._types = {field.name: field.type for field in schema}
        self._read = read
        self._options = options
        self._where = where
        self._row_count = row_count
        self._planned: dict[str, tuple[str, Schema]] = {}
        self._keys: tuple[str, ...] = ()
        self._null_counts: dict[str, int] = {}
        self._progress: Progress | None = None
        names = [field.name for field in schema]
        self._twice = sorted({name for name in names if names.count(name) > 1})

    @property
    def notes(self) -> list[str]:
        return [
            f"column {name!r}: {count} of {self._row_count} rows have no value, and give no sample"
            for name, count in self._null_counts.items()
            if count
        ]

    def plan(self, progress: Progress | None = None) -> Plan:
        self._progress = progress
        extra = dict(self._options.extra)
        wanted_key = extra.pop("key", None)
        refuse_table_options(self._options, extra, self._where)
        if self._twice:
            raise UnreadableFileError(
                f"it has two columns named {', '.join(self._twice)}", path=self._where
            )
        self._keys = key_columns(self._types, self._options.key_from, wanted_key)
        for name in (*self._keys, self._options.column):
            if name is not None and name not in self._types:
                raise no_such_column(self._where, name, list(self._types))
        self._check_key_types()
        for name, kind in self._types.items():
            if name in self._keys or self._options.column not in {None, name}:
                continue
            try:
                check_column_name(name)
                self._planned[name] = name, schema_of_arrow(kind)
            except InvalidColumnError as error:
                self.skipped.append(Skipped(f"{self._where}: {name}", str(error)))
        if not self._planned:
            first = self.skipped[0] if self.skipped else None
            raise UnreadableFileError(
                first.reason if first else "there is no column besides the keys",
                path=first.path if first else self._where,
            )
        if self._keys:
            refuse_duplicates(self._iter_keys, self._where)
        return Plan(
            {column: schema for column, (_, schema) in self._planned.items()},
            self._row_count * len(self._planned),
        )

    def _check_key_types(self) -> None:
        expected: dict[str, tuple[str, ...]] = dict.fromkeys(self._keys, ("int", "str"))
        if len(self._keys) == 2:
            expected = {INT_KEY: ("int",), STR_KEY: ("str",)}
        for name in self._keys:
            kind = self._types[name]
            if _key_kind(kind) not in expected[name]:
                raise with_hint(
                    UnreadableFileError(
                        f"its column {name!r} is of {kind}; keys are ints or texts",
                        path=self._where,
                    ),
                    "key_from='number' (--key-from number) takes the number of the row",
                )

    def _iter_keys(self) -> Iterator[Sequence[Key]]:
        row = 0
        with damage_named(self._where):
            for batch in self._read(list(self._keys)):
                yield self._keys_of(batch, row)
                row += batch.num_rows

    def _keys_of(self, batch: pa.RecordBatch, first_row: int) -> Sequence[Key]:
        if not self._keys:
            return range(first_row, first_row + batch.num_rows)
        keys: list[Any] = batch.column(self._keys[0]).to_pylist()
        for name in self._keys[1:]:
            others = batch.column(name).to_pylist()
            keys = [b if a is None else a for a, b in zip(keys, others, strict=True)]
        if None in keys:
            raise UnreadableFileError(
                f"row {first_row + keys.index(None) + 1} has no key", path=self._where
            )
        return keys

    def batches(self) -> Iterator[Batch]:
        names = [name for name, _ in self._planned.values()]
        row = done = 0
        batches = self._read([*self._keys, *names])
        while True:
            with damage_named(self._where):
                batch = next(batches, None)
                if batch is None:
                    return
                keys = self._keys_of(batch, row)
                columns = {
                    column: self._column_batch(batch.column(name), schema, keys, column)
                    for column, (name, schema) in self._planned.items()
                }
            yield Batch(columns)
            row += batch.num_rows
            done += batch.num_rows * len(columns)
            if self._progress is not None:
                self._progress(done, self._row_count * len(columns))

    def _column_batch(
        self, array: pa.Array, schema: Schema, keys: Sequence[Key], column: str
    ) -> ColumnBatch:
        if array.null_count:
            self._null_counts[column] = self._null_counts.get(column, 0) + array.null_count
            is_there = array.is_valid().to_pylist()
            keys = [key for key, there in zip(keys, is_there, strict=True) if there]
            array = array.drop_null()
        try:
            return ColumnBatch(keys, arrow_values(schema, array))
        except InvalidInputError as error:
            raise UnreadableFileError(f"column {column!r}: {error}", path=self._where) from error


def _key_kind(kind: pa.DataType) -> str | None:
    """Return ``int`` or ``str`` where Arrow values may be keys."""
    try:
        schema = schema_of_arrow(kind)
    except InvalidColumnError:
        return None
    if schema.kind == "ndarray" and schema.shape == () and schema.dtype.startswith(("int", "uint")):
        return "int"
    return "str" if schema.kind == "str" else None


def refuse_table_options(options: ImportOptions, unknown: dict[str, str], where: str) -> None:
    """Raise InvalidInputError for options that make no sense for a table."""
    refuse_image_options(replace(options, extra=unknown), where)


def no_such_column(where: str, name: str, known: Sequence[str]) -> InvalidInputError:
    """Return the error for a column that a table does not have."""
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return InvalidInputError(f"{where} has no column {name!r}; it has {shown}")
