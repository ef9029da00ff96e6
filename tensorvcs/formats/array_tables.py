"""Files that hold named arrays whose first axis counts the samples.

The keys of an array NAME are 0, 1, …, or what arrays ``NAME.int_keys`` and ``NAME.str_keys`` beside
it hold: the ints first, then the texts, as in key order. Exports write those where the keys are not
just 0, 1, …
"""

from __future__ import annotations

import struct
import sys
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tensorvcs.errors import (
    InvalidColumnError,
    InvalidInputError,
    TensorVCSError,
    UnreadableFileError,
    with_hint,
)
from tensorvcs.formats.interfaces import Batch, ColumnBatch, Plan, Skipped
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.schema import Schema, check_column_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.formats.interfaces import ExportColumn, ImportOptions, Progress
    from tensorvcs.objects.keys import Key

BLOCK_NBYTES = 8 << 20
_MAX_BLOCK_COUNT = 1 << 16
INT_KEYS, STR_KEYS = ".int_keys", ".str_keys"

# What the parsers of numpy, zipfile and h5py raise on damaged files. `tokenize.TokenError`, for
# one, comes out of numpy's header parser.
DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, struct.error, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@contextmanager
def damage_named(where: str) -> Iterator[None]:
    """Turn what parsers raise on damaged files into UnreadableFileError."""
    try:
        yield
    except TensorVCSError:
        raise
    except DAMAGE as error:
        text = str(error).split("\n")[0][:300] or type(error).__name__
        raise UnreadableFileError(f"it cannot be read: {text}", path=where) from error


class RowArray(Protocol):
    """An array in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of kind U or O for texts."""
        ...

    @property
    def is_text(self) -> bool: ...

    def blocks(self, row_count: int) -> Iterator[NDArray[Any]]:
        """Give the rows in order, `row_count` at a time, the last time fewer."""
        ...


class ArrayTableSource:
    """The samples of one or more arrays.

    Parameters
    ----------
    arrays : mapping of str to RowArray
        By column name; key arrays among them.
    options : ImportOptions
    where : str
        The file, for messages.
    default_column : str, optional
        The name of the only array, where the file has none for it.
    skipped : sequence of Skipped
        What the file has besides.
    close : callable
    """

    def __init__(
        self,
        arrays: Mapping[str, RowArray],
        options: ImportOptions,
        where: str,
        *,
        skipped: Sequence[Skipped] = (),
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.skipped = list(skipped)
        self.notes: list[str] = []
        self.ignored_count = 0
        self.close = close
        self._options = options
        self._where = where
        self._progress: Progress | None = None
        self._all = dict(arrays)
        self._planned: dict[str, tuple[str, Schema]] = {}

    def plan(self, progress: Progress | None = None) -> Plan:
        self._progress = progress
        refuse_image_options(self._options, self._where)
        key_names = {name + suffix for name in self._all for suffix in (INT_KEYS, STR_KEYS)}
        data = {name: array for name, array in self._all.items() if name not in key_names}
        wanted = self._options.column
        if wanted is not None and len(data) > 1:
            if wanted not in data:
                raise InvalidInputError(
                    f"{self._where} has no array {wanted!r}; it has {', '.join(sorted(data))}"
                )
            data = {wanted: data[wanted]}
        for name, array in data.items():
            column = wanted if wanted is not None and len(data) == 1 else name
            try:
                check_column_name(column)
                self._planned[column] = name, schema_of_rows(array)
            except InvalidColumnError as error:
                self.skipped.append(Skipped(f"{self._where}: {name}", str(error)))
        if not self._planned:
            nothing = Skipped(self._where, "there is no array to import")
            first = self.skipped[0] if self.skipped else nothing
            raise with_hint(
                UnreadableFileError(first.reason, path=first.path),
                "the first axis of an array counts the samples",
            )
        self._total = sum(self._all[name].shape[0] for name, _ in self._planned.values())
        return Plan({c: schema for c, (_, schema) in self._planned.items()}, self._total)

    def batches(self) -> Iterator[Batch]:
        done = 0
        for column, (name, schema) in self._planned.items():
            array = self._all[name]
            keys = iter(self._keys_of(name, array.shape[0]))
            row_nbytes = 64 if schema.kind == "str" else schema.row_nbytes
            with damage_named(f"{self._where}: {name}"):
                blocks = iter(array.blocks(block_count(row_nbytes)))
            while True:
                with damage_named(f"{self._where}: {name}"):
                    rows = next(blocks, None)
                    if rows is None:
                        break
                    values = texts_of(rows) if array.is_text else rows
                yield Batch({column: ColumnBatch(list(islice(keys, len(values))), values)})
                done += len(values)
                if self._progress is not None:
                    self._progress(done, self._total)

    def _keys_of(self, name: str, count: int) -> Sequence[Key]:
        if self._options.key_from == "number":
            return range(count)
        found: list[Key] = []
        has_keys = False
        for suffix, kinds in ((INT_KEYS, "iu"), (STR_KEYS, "U")):
            array = self._all.get(name + suffix)
            if array is None:
                continue
            has_keys = True
            if len(array.shape) != 1 or not (
                array.is_text if kinds == "U" else array.dtype.kind in kinds
            ):
                raise UnreadableFileError(
                    f"keys are one axis of {'texts' if kinds == 'U' else 'ints'}; found "
                    f"{array.dtype} of shape {array.shape}",
                    path=f"{self._where}: {name}{suffix}",
                )
            with damage_named(f"{self._where}: {name}{suffix}"):
                for rows in array.blocks(_MAX_BLOCK_COUNT):
                    found += texts_of(rows) if array.is_text else rows.tolist()
        if not has_keys:
            return range(count)
        if len(found) != count:
            raise UnreadableFileError(
                f"array {name!r} has {count} samples and {len(found)} keys", path=self._where
            )
        return found


def texts_of(rows: NDArray[Any]) -> list[str]:
    """Return the texts of an array of dtype U or of objects.

    Raises
    ------
    ValueError
        A number in the array is no character; Python itself would fail on it in odd ways.
    """
    if rows.dtype.kind == "U" and rows.size and rows.dtype.itemsize:
        codes = rows.view(np.dtype("u4").newbyteorder(rows.dtype.byteorder))
        if int(codes.max()) > sys.maxunicode or bool(((codes >> 11) == 0xD800 >> 11).any()):
            raise ValueError("a text holds numbers that are no characters")
    return [str(text) for text in rows.tolist()]


def block_count(row_nbytes: int) -> int:
    """Return how many rows of a size to read at a time."""
    return max(1, min(_MAX_BLOCK_COUNT, BLOCK_NBYTES // max(1, row_nbytes)))


def schema_of_rows(array: RowArray) -> Schema:
    """Return the schema of a column of the rows of an array.

    Raises
    ------
    InvalidColumnError
        The array has no axis of samples, or a dtype that no column has.
    """
    if not array.shape:
        raise InvalidColumnError("it has no axes; the first axis counts the samples")
    if array.is_text:
        if len(array.shape) != 1:
            raise InvalidColumnError(
                f"it has texts in the shape {array.shape}; a column of texts is one axis"
            )
        return Schema("str")
    if array.dtype.hasobject:
        raise InvalidColumnError("it has Python objects, which are never unpickled")
    return Schema("ndarray", dtype_name(array.dtype), tuple(map(int, array.shape[1:])))


def refuse_image_options(options: ImportOptions, where: str) -> None:
    """Raise InvalidInputError when an option makes sense for images alone."""
    for name, value in (
        ("resize", options.resize),
        ("mode", options.mode),
        ("label_column", options.label_column),
    ):
        if value is not None:
            raise InvalidInputError(f"{where}: {name} is for folders of images, not for arrays")
    if options.extra:
        raise InvalidInputError(f"{where}: unknown option {', '.join(sorted(options.extra))}")


def has_plain_keys(keys: Sequence[Key]) -> bool:
    """Tell whether the keys are 0, 1, …, as an import gives them by itself."""
    return all(type(key) is int and key == place for place, key in enumerate(keys))


def key_arrays(keys: Sequence[Key]) -> dict[str, list[int] | list[str]]:
    """Return the key arrays to write behind a column, by their suffix; none for plain keys."""
    if has_plain_keys(keys):
        return {}
    ints = [key for key in keys if isinstance(key, int)]
    texts = [key for key in keys if isinstance(key, str)]
    found: dict[str, list[int] | list[str]] = {}
    if ints:
        found[INT_KEYS] = ints
    if texts:
        found[STR_KEYS] = texts
    return found


def stacked_schema(column: ExportColumn, format_name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and dtype of all values of a column in one array.

    Raises
    ------
    InvalidInputError
        The values do not stack, or numpy's own dtypes do not cover theirs.
    """
    schema = column.schema
    reason = None
    if schema.nested:
        reason = "its samples are nested"
    elif schema.kind != "ndarray":
        reason = f"its values are {schema.kind}"
    elif schema.variable_shape:
        reason = "its shapes vary"
    elif schema.numpy_dtype.type.__module__ != "numpy":
        reason = f"the dtype {schema.dtype} is none of numpy's own"
    if reason is not None:
        raise with_hint(
            InvalidInputError(
                f"column {column.name!r} cannot be one {format_name} array: {reason}"
            ),
            "export it to a folder of .npy files, one a sample: format='npy', and a destination "
            "without .npy"
            if schema.kind == "ndarray" and not schema.nested
            else "choose other columns",
        )
    return (len(column.keys), *schema.fixed_shape), schema.numpy_dtype


def column_rows(
    column: ExportColumn, progress: Callable[[int], None]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Give (first row, stacked values) of a fixed-shape column."""
    at = 0
    for batch in column.batches():
        rows = np.asarray(batch.values)
        yield at, rows
        at += len(rows)
        progress(len(rows))


def expected_nbytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Return the bytes of an array without overflow."""
    return prod(int(extent) for extent in shape) * dtype.itemsize
