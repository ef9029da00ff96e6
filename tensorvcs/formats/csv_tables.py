"""CSV files: a column of numbers, bools or texts for each column of the table.

The first line has the names. The type of a column is that which fits all its cells: bool
(``true``, ``false``), int64 or uint64, float64, text; numbers with leading zeros are texts. An
empty cell is no value: the column lacks that sample.

Options, on the command line by ``-o NAME=VALUE``:

- ``key``: the column of keys; ``key`` by itself, or the number of the row where there is none.
- ``types``: dtypes to use, such as ``labels:int32,score:float32,zip:str``.
- ``delimiter``: a character, or ``tab``; a tab by itself for ``.tsv``, a comma for others.
- ``empty``: ``text`` makes an empty cell of a column of texts the empty text.
"""

from __future__ import annotations

import csv
import re
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidColumnError, InvalidInputError, UnreadableFileError, with_hint
from tensorvcs.formats.arrow_tables import no_such_column, refuse_table_options
from tensorvcs.formats.destinations import check_free, whole_file
from tensorvcs.formats.interfaces import Batch, ColumnBatch, Plan, Skipped
from tensorvcs.formats.table_keys import INT_KEY, KEY, STR_KEY, key_columns, refuse_duplicates
from tensorvcs.formats.table_rows import TableRows
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.schema import Schema, check_column_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.formats.interfaces import ExportColumn, ExportOptions, ImportOptions, Progress
    from tensorvcs.objects.keys import Key

_ROWS_AT_ONCE = 8192
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_BOOLS = {"true": True, "false": False, "True": True, "False": False}
# One spelling a number, so that keys which differ as texts differ as ints.
_INT = re.compile(r"0|-?[1-9][0-9]*")
_FLOAT = re.compile(
    r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan|Infinity|NaN|Inf)"
)
_INT64 = np.iinfo(np.int64)
_UINT64_MAX = int(np.iinfo(np.uint64).max)
_INT_KINDS, _FLOAT_KINDS = "iu", "f"


class _Guess:
    """What type all cells of a column that were seen so far have."""

    def __init__(self) -> None:
        self._kind = ""
        self._low = self._high = 0

    def look(self, cells: Sequence[str]) -> None:
        """Take more cells, none of them empty."""
        if not cells or self._kind == "str":
            return
        if self._kind in {"", "bool"} and all(cell in _BOOLS for cell in cells):
            self._kind = "bool"
        elif self._kind in {"", "int"} and all(map(_INT.fullmatch, cells)):
            self._kind = "int"
            numbers = [int(cell) for cell in cells] if max(map(len, cells)) < 40 else [1 << 99]
            self._low = min(self._low, *numbers)
            self._high = max(self._high, *numbers)
        elif self._kind in {"", "int", "float"} and all(map(_FLOAT.fullmatch, cells)):
            # Ints beyond 2**53 would change.
            is_exact = max(-self._low, self._high) <= 1 << 53
            self._kind = "float" if is_exact else "str"
        else:
            self._kind = "str"

    @property
    def schema(self) -> Schema:
        """The schema for the column."""
        if self._kind == "int":
            if _INT64.min <= self._low and self._high <= _INT64.max:
                return Schema("ndarray", "int64", ())
            if self._low >= 0 and self._high <= _UINT64_MAX:
                return Schema("ndarray", "uint64", ())
            return Schema("str")
        if self._kind in {"bool", "float"}:
            return Schema("ndarray", "bool" if self._kind == "bool" else "float64", ())
        return Schema("str")


class CsvSource:
    """One CSV file, read twice: to find the types and the keys, and for the values.

    Memory is some thousand rows, and eight bytes a key.
    """

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self.skipped: list[Skipped] = []
        self.ignored_count = 0
        self._path = path
        self._options = options
        self._names: list[str] = []
        self._keys: tuple[str, ...] = ()
        self._schemas: dict[str, Schema] = {}
        self._empty_counts: dict[str, int] = {}
        self._row_count = 0
        # Known when all keys were seen; until then they are compared as they are spelled.
        self._are_keys_ints = False
        self._progress: Progress | None = None
        extra = dict(options.extra)
        self._wanted_key = extra.pop("key", None)
        self._types = _types(extra.pop("types", ""))
        self._delimiter = delimiter_of(extra.pop("delimiter", None), path)
        self._keeps_empty = keeps_empty(extra)
        refuse_table_options(options, extra, str(path))

    @property
    def notes(self) -> list[str]:
        return [
            f"column {name!r}: {count} of {self._row_count} rows have no value, and give no sample"
            for name, count in self._empty_counts.items()
            if count
        ]

    def plan(self, progress: Progress | None = None) -> Plan:
        self._progress = progress
        self._names = self._header()
        self._keys = key_columns(self._names, self._options.key_from, self._wanted_key)
        wanted = self._options.column
        for name in (*self._keys, wanted, *self._types):
            if name is not None and name not in self._names:
                raise no_such_column(str(self._path), name, self._names)
        chosen = []
        for name in self._names:
            if name in self._keys or wanted not in {None, name}:
                continue
            try:
                chosen.append(check_column_name(name))
            except InvalidColumnError as error:
                self.skipped.append(Skipped(f"{self._path}: {name!r}", str(error)))
        if not chosen:
            raise UnreadableFileError(
                self.skipped[0].reason if self.skipped else "it has no column besides the keys",
                path=str(self._path),
            )
        guesses = {name: _Guess() for name in chosen if name not in self._types}
        key_guess = _Guess()
        is_first = True

        def keys_while_looking() -> Iterator[Sequence[Key]]:
            nonlocal is_first
            looks, is_first = is_first, False
            row = 0
            for cells, lines in self._columns():
                keys = self._keys_of(cells, lines, row)
                if looks:
                    if len(self._keys) == 1:
                        key_guess.look(cells[self._keys[0]])
                    for name, guess in guesses.items():
                        guess.look([cell for cell in cells[name] if cell])
                    for name, schema in self._types.items():
                        if name in chosen:
                            self._converted(name, schema, cells[name], lines)
                yield keys
                row += len(lines)

        self._row_count = refuse_duplicates(keys_while_looking, str(self._path))
        self._are_keys_ints = key_guess.schema.dtype == "int64"
        if not self._row_count:
            raise UnreadableFileError("it has no rows", path=str(self._path))
        self._schemas = {
            name: self._types[name] if name in self._types else guesses[name].schema
            for name in chosen
        }
        return Plan(self._schemas, self._row_count * len(chosen))

    def _header(self) -> list[str]:
        with self._rows() as rows:
            names: list[str] | None = next(rows, None)
        if not names:
            raise UnreadableFileError("it is empty; its first line names columns", str(self._path))
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UnreadableFileError(
                f"it has two columns named {', '.join(map(repr, twice))}", path=str(self._path)
            )
        return names

    @contextmanager
    def _rows(self) -> Iterator[Any]:
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                yield csv.reader(file, delimiter=self._delimiter, strict=True)
        except UnicodeDecodeError as error:
            raise UnreadableFileError(
                f"it is no UTF-8: {error.reason}", path=str(self._path)
            ) from error
        except OSError as error:
            raise UnreadableFileError(
                f"it cannot be read: {error.strerror}", path=str(self._path)
            ) from error

    def _columns(self) -> Iterator[tuple[dict[str, Sequence[str]], list[int]]]:
        """Yield blocks of rows: cells by column, and the line that each row ends at.

        Raises
        ------
        UnreadableFileError
            A row has more or fewer cells than the first line, or quotes do not close.
        """
        width = len(self._names)
        with self._rows() as rows:
            next(rows)
            while True:
                block: list[list[str]] = []
                lines: list[int] = []
                is_end = True
                try:
                    for row in islice(rows, _ROWS_AT_ONCE):
                        is_end = False
                        if len(row) == width:
                            block.append(row)
                            lines.append(rows.line_num)
                        elif row:
                            # A blank line has no cells, and is passed over.
                            raise self._bad_line(
                                rows.line_num,
                                f"{len(row)} cells, where the first line has {width}",
                            )
                except csv.Error as error:
                    raise self._bad_line(rows.line_num, str(error)) from error
                if is_end:
                    return
                if block:
                    yield dict(zip(self._names, zip(*block, strict=True), strict=True)), lines

    def _bad_line(self, line: int, reason: str) -> UnreadableFileError:
        return UnreadableFileError(reason, path=f"{self._path}, line {line}")

    def _keys_of(
        self, cells: Mapping[str, Sequence[str]], lines: list[int], first_row: int
    ) -> Sequence[Key]:
        if not self._keys:
            return range(first_row, first_row + len(lines))
        if len(self._keys) == 1:
            found = cells[self._keys[0]]
            if "" in found:
                raise self._bad_line(lines[found.index("")], "no key")
            return [int(cell) for cell in found] if self._are_keys_ints else found
        keys: list[Key] = []
        for line, number, text in zip(lines, cells[INT_KEY], cells[STR_KEY], strict=True):
            if bool(number) == bool(text) or (number and not _INT.fullmatch(number)):
                raise self._bad_line(line, f"{INT_KEY} or {STR_KEY} is to have a key")
            keys.append(text or int(number))
        return keys

    def batches(self) -> Iterator[Batch]:
        row = done = 0
        for cells, lines in self._columns():
            keys = self._keys_of(cells, lines, row)
            row += len(lines)
            columns = {}
            for name, schema in self._schemas.items():
                found, own_keys, own_lines = cells[name], keys, lines
                if "" in found and not (schema.kind == "str" and self._keeps_empty):
                    there = [place for place, cell in enumerate(found) if cell]
                    self._empty_counts[name] = (
                        self._empty_counts.get(name, 0) + len(found) - len(there)
                    )
                    found = [found[place] for place in there]
                    own_keys = [keys[place] for place in there]
                    own_lines = [lines[place] for place in there]
                values = self._converted(name, schema, found, own_lines)
                columns[name] = ColumnBatch(own_keys, values)
            yield Batch(columns)
            done += len(lines) * len(columns)
            if self._progress is not None:
                self._progress(done, self._row_count * len(columns))

    def _converted(
        self, name: str, schema: Schema, cells: Sequence[str], lines: list[int]
    ) -> NDArray[Any] | list[str]:
        """Return cells as values of a schema; empty ones are passed over."""
        if schema.kind == "str":
            return list(cells)
        dtype = schema.numpy_dtype
        try:
            return np.array([_number(cell, dtype) for cell in cells if cell], dtype)
        except (ValueError, OverflowError):
            for cell, line in zip(cells, lines, strict=True):
                try:
                    if cell:
                        np.array([_number(cell, dtype)], dtype)
                except (ValueError, OverflowError) as error:
                    raise self._bad_line(
                        line, f"{cell[:40]!r} in column {name!r} is no {schema.dtype}"
                    ) from error
            raise

    def close(self) -> None:
        return


def _number(cell: str, dtype: np.dtype[Any]) -> int | float | bool:
    if dtype.kind == "b":
        if cell not in _BOOLS:
            raise ValueError(cell)
        return _BOOLS[cell]
    if dtype.kind in _INT_KINDS:
        if not _INT.fullmatch(cell) or len(cell) > 40:
            raise ValueError(cell)
        return int(cell)
    if not _FLOAT.fullmatch(cell):
        raise ValueError(cell)
    return float(cell)


def _types(spelled: str) -> dict[str, Schema]:
    """Read ``labels:int32,name:str``."""
    found = {}
    for part in filter(None, spelled.split(",")):
        name, colon, dtype = part.rpartition(":")
        if not colon or not name:
            raise InvalidInputError(f"types are NAME:DTYPE with commas between, not {part!r}")
        if dtype == "str":
            found[name] = Schema("str")
            continue
        schema = Schema("ndarray", dtype_name(dtype), ())
        if schema.numpy_dtype.kind not in "biuf":
            raise InvalidInputError(f"a cell holds no {dtype}; {name!r} cannot have that dtype")
        found[name] = schema
    return found


def delimiter_of(wanted: str | None, path: Path) -> str:
    """Return what is between cells.

    Raises
    ------
    InvalidInputError
        It is no single character.
    """
    if wanted is None:
        return _DELIMITERS.get(path.suffix.lower(), ",")
    found = "\t" if wanted == "tab" else wanted
    if len(found) != 1 or found in '"\r\n':
        raise InvalidInputError(f"delimiter is one character, or 'tab', not {wanted!r}")
    return found


def keeps_empty(extra: dict[str, str]) -> bool:
    """Take the option ``empty`` out of options; tell whether an empty cell is an empty text."""
    wanted = extra.pop("empty", "missing")
    if wanted not in {"missing", "text"}:
        raise InvalidInputError(f"empty is 'missing' or 'text', not {wanted!r}")
    return wanted == "text"


class CsvFormat:
    """A table of text."""

    name = "csv"
    aliases = ("tsv",)

    def detect(self, source: Path) -> bool:
        return source.is_file() and source.suffix.lower() in _DELIMITERS

    def open(self, source: Path, options: ImportOptions) -> CsvSource:
        return CsvSource(source, options)

    def accepts(self, columns: Sequence[ExportColumn], destination: Path) -> bool:
        return destination.suffix.lower() in _DELIMITERS and all(
            _why_no_cells(column.schema) is None for column in columns
        )

    def write(
        self,
        columns: Sequence[ExportColumn],
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        extra = dict(options.extra)
        delimiter = delimiter_of(extra.pop("delimiter", None), destination)
        is_empty_text = keeps_empty(extra)
        if extra:
            raise InvalidInputError(f"unknown option {', '.join(sorted(extra))}")
        for column in columns:
            reason = _why_no_cells(column.schema)
            if reason is not None:
                raise with_hint(
                    InvalidInputError(f"column {column.name!r} cannot be cells of text: {reason}"),
                    "export it to .parquet, .npz or .h5",
                )
        rows = TableRows(columns)
        check_free([destination], overwrite=options.overwrite)
        key_names, key_cells = _key_writer(rows.keys)
        with whole_file(destination) as binary:
            file = _Utf8(binary)
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            writer.writerow([*key_names, *(column.name for column in columns)])
            for keys, block in rows.blocks(_ROWS_AT_ONCE):
                cells = key_cells(keys)
                for column in columns:
                    is_there, values = block[column.name]
                    texts = _cells(column, values, is_empty_text=is_empty_text)
                    progress(len(texts))
                    if is_there is not None:
                        given = iter(texts)
                        texts = [next(given) if there else "" for there in is_there.tolist()]
                    cells.append(texts)
                writer.writerows(zip(*cells, strict=True))
        return 1


class _Utf8:
    """What `csv` writes text to."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


def _why_no_cells(schema: Schema) -> str | None:
    if schema.nested:
        return "its samples are nested"
    if schema.kind == "bytes":
        return "its values are bytes"
    if schema.kind == "ndarray" and (schema.shape != () or schema.numpy_dtype.kind not in "biuf"):
        return f"its values are {schema.spelling}"
    return None


def _key_writer(
    keys: Sequence[Key],
) -> tuple[list[str], Callable[[Sequence[Key]], list[list[str]]]]:
    """Return the names of the columns of keys, and what makes their cells.

    Keys that are texts and look like ints would come back as ints: they stand in `str_key`.
    """
    kinds = {type(key) for key in keys}
    if kinds != {int} and (
        len(kinds) > 1 or all(isinstance(key, str) and _INT.fullmatch(key) for key in keys)
    ):
        return [INT_KEY, STR_KEY], lambda some: [
            [str(key) if isinstance(key, int) else "" for key in some],
            [key if isinstance(key, str) else "" for key in some],
        ]
    return [KEY], lambda some: [[str(key) for key in some]]


def _cells(column: ExportColumn, values: Any, *, is_empty_text: bool) -> list[str]:
    """Return values as cells that are read back as the same values."""
    if column.schema.kind == "str":
        texts = [str(text) for text in values]
        for text in texts:
            if not text and not is_empty_text:
                raise with_hint(
                    InvalidInputError(
                        f"column {column.name!r} has the empty text, and an empty cell is no value"
                    ),
                    "empty='text' (-o empty=text) makes both the same, on the way out and in; "
                    "or export to .parquet",
                )
            if "\0" in text:
                raise InvalidInputError(f"column {column.name!r} has a text with NUL")
        return texts
    if column.schema.dtype == "bool":
        return ["true" if value else "false" for value in values]
    # numpy spells a float in the fewest digits that give it back.
    return [str(value) for value in values]


FORMAT = CsvFormat()
