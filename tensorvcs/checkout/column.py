"""Column: a read-only mapping from sample key to value, in key order."""

from __future__ import annotations

import threading
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from contextlib import suppress
from operator import index as as_int
from typing import TYPE_CHECKING, Any, Union, overload

import numpy as np

from tensorvcs.checkout.selection import (
    check_key_list,
    is_many,
    keys_in_order,
    not_found,
    slice_positions,
)
from tensorvcs.display.html import column_html
from tensorvcs.errors import InvalidInputError, InvalidKeyError, ObjectNotFoundError, with_hint
from tensorvcs.history.stored_values import inline_rows, load_values
from tensorvcs.objects.digest import DIGEST_NBYTES
from tensorvcs.objects.keys import Key, Keys, check_key, collect_keys
from tensorvcs.tree import cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.objects.schema import Kind, Schema
    from tensorvcs.storage.interfaces import LocationTable, TensorStore
    from tensorvcs.tree.nodes import Nodes

Value = Union["NDArray[Any]", str, bytes]
Values = Union["NDArray[Any]", list[Any]]

# A table costs a look-up of every sample; reads of fewer than one in this many go without.
_TABLE_FRACTION = 8
_KEYS_COMPARED = 1 << 18


class ColumnReader:
    """Reads the values of one column of one version, by tree key or by position.

    Shared by flat and nested columns; knows nothing of how a user spells keys.
    """

    def __init__(
        self, state: ColumnState, nodes: Nodes, tensors: TensorStore, pin: object = None
    ) -> None:
        self.state = state
        self._pin = pin  # lives as long as somebody may read
        self.schema: Schema = state.schema
        self.nodes = nodes
        self.tensors = tensors
        self._lock = threading.Lock()
        self._table: LocationTable | None = None
        self._inline: NDArray[Any] | None = None
        self._read_without_table = 0

    @property
    def count(self) -> int:
        """The number of values."""
        return self.state.tree.count

    def get_one(self, tree_key: int | bytes) -> Value | None:
        """Return one value, or None: through the tree and the index, whatever the size."""
        stored = cursor.get_one(self.nodes, self.state.tree, tree_key)
        if stored is None:
            return None
        row = np.frombuffer(stored, np.uint8).reshape(1, len(stored))
        value: Value = self.values_of(row)[0]
        return value

    def values_of(self, stored: NDArray[np.uint8]) -> list[Any]:
        """Return values by what the tree stores of them."""
        return load_values(self.schema, self.tensors, stored)

    def stack(self, stored: NDArray[np.uint8]) -> Values:
        """Return values by what the tree stores of them: stacked, or a list."""
        if self.schema.is_inline:
            return inline_rows(self.schema, stored).copy()
        values = self.tensors.read(self.schema, stored)
        if not self.schema.is_fixed_shape:
            return values
        out = np.empty((len(values), *self.schema.fixed_shape), self.schema.numpy_dtype)
        for place, value in enumerate(values):
            out[place] = value
        return out

    def read(self, positions: NDArray[np.integer[Any]], out: NDArray[Any] | None) -> Values:
        """Return the values at positions: stacked, or a list."""
        if out is not None:
            self._check_out(out, len(positions))
        if self.schema.is_inline:
            return self._read_inline(positions, out)
        table = self.table()
        if self.schema.is_fixed_shape:
            return table.read(positions, out)
        return table.read_list(positions)

    def fetch(self, positions: NDArray[np.integer[Any]]) -> int:
        """Bring the values at positions that are not here; return how many came."""
        return 0 if self.schema.is_inline else self.table().fetch(positions)

    def digests_of(self, keys: Keys | None) -> NDArray[np.uint8]:
        """Return the digests, shape (m, 32), of the values under some tree keys; of all when None.

        Those of inline values are none, and a key that is not there has none.
        """
        if self.schema.is_inline:
            return np.zeros((0, DIGEST_NBYTES), np.uint8)
        if keys is None:
            return cursor.scan_values(self.nodes, self.state.tree)
        stored, found = cursor.get(self.nodes, self.state.tree, keys)
        return stored[found]

    def _check_out(self, out: NDArray[Any], count: int) -> None:
        if not self.schema.is_fixed_shape:
            raise InvalidInputError("out= needs a column of one fixed shape")
        shape, dtype = (count, *self.schema.fixed_shape), self.schema.numpy_dtype
        if not isinstance(out, np.ndarray):
            raise InvalidInputError(f"out is an ndarray, not {type(out).__name__}")
        if out.shape != shape or out.dtype != dtype:
            raise InvalidInputError(
                f"out has shape {out.shape} and dtype {out.dtype}; expected {shape} and {dtype}"
            )
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise InvalidInputError("out is not C-contiguous, or is read-only")

    def read_few(self, start: int, stop: int) -> Values | None:
        """Return a range of values without the table, or None when the table pays off."""
        if self._table is not None or self._inline is not None:
            return None
        self._read_without_table += stop - start
        if self._read_without_table * _TABLE_FRACTION > self.count:
            return None
        return self.stack(cursor.values_at(self.nodes, self.state.tree, start, stop))

    def is_table_due(self, count: int) -> bool:
        """Tell whether reading `count` more values is better done through the table."""
        self._read_without_table += count
        return (
            self._table is not None
            or self._inline is not None
            or self._read_without_table * _TABLE_FRACTION > self.count
        )

    def _read_inline(
        self, positions: NDArray[np.integer[Any]], out: NDArray[Any] | None
    ) -> NDArray[Any]:
        rows = self.inline()
        if out is None:
            return rows.take(positions, axis=0)
        rows.take(positions, axis=0, out=out)
        return out

    def inline(self) -> NDArray[Any]:
        """Return all values of an inline column, read-only, in key order; scanned once."""
        if self._inline is None:
            rows = inline_rows(self.schema, cursor.scan_values(self.nodes, self.state.tree))
            rows.flags.writeable = False
            self._inline = rows
        return self._inline

    def table(self) -> LocationTable:
        """Return the location table, built when first needed."""
        if self._table is None:
            with self._lock:
                if self._table is None:
                    leaves = cursor.leaves(self.nodes, self.state.tree)
                    self._table = self.tensors.table(
                        self.schema, leaves.digests, leaves.counts, self._load_leaves
                    )
        return self._table

    def _load_leaves(self, digests: Sequence[bytes]) -> Iterator[NDArray[np.uint8]]:
        for first in range(0, len(digests), 256):
            some = digests[first : first + 256]
            yield from cursor.leaf_values(self.nodes, some, self.schema.value_nbytes)


def check_positions(positions: Any) -> NDArray[np.integer[Any]]:
    """Return positions as an array of ints with one axis, or raise InvalidInputError."""
    where = np.asarray(positions)
    if where.ndim != 1 or where.dtype.kind not in "iu":
        if where.size or where.ndim != 1:
            raise InvalidInputError(
                f"positions are ints on one axis; found dtype {where.dtype} and shape {where.shape}"
            )
        where = where.astype(np.intp)
    if where.dtype == np.uint64:
        where = np.minimum(where, np.uint64(np.iinfo(np.intp).max)).astype(np.intp)
    return where


class KeyedColumn(Mapping[Key, Any]):
    """What flat and nested columns tell of themselves."""

    def __init__(self, name: str, reader: ColumnReader) -> None:
        self._name = name
        self._reader_of_column = reader

    @property
    def _reader(self) -> ColumnReader:
        return self._reader_of_column

    @property
    def name(self) -> str:
        """The name of the column."""
        return self._name

    @property
    def schema(self) -> Schema:
        """What the values have in common."""
        return self._reader.schema

    @property
    def kind(self) -> Kind:
        """``ndarray``, ``str`` or ``bytes``."""
        return self.schema.kind

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the values; None for text and bytes."""
        return self.schema.numpy_dtype if self.schema.kind == "ndarray" else None

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """The shape of one value, or the maximum shape when it varies; None for text, bytes."""
        return self.schema.shape

    @property
    def is_nested(self) -> bool:
        """Whether a sample is a mapping of subsamples."""
        return self.schema.nested

    def _digests_of(self, keys: Sequence[Key] | None) -> NDArray[np.uint8]:
        """Return the digests, shape (m, 32), of the values of samples; of all when None."""
        return self._reader.digests_of(None if keys is None else collect_keys(keys)[0])

    # A mapping compares by content; comparing columns is what diff is for.
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class ColumnKeys(KeysView[Key]):
    """The keys of a column: a set in key order that can also be indexed by position."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._column = column

    @overload
    def __getitem__(self, position: int) -> Key: ...
    @overload
    def __getitem__(self, position: slice) -> list[Key]: ...
    def __getitem__(self, position: int | slice) -> Key | list[Key]:
        if isinstance(position, slice):
            span = slice_positions(position, len(self))
            if not span:
                return []
            low, high = min(span[0], span[-1]), max(span[0], span[-1]) + 1
            keys = self._column._keys_at(low, high)
            return [keys[at - low] for at in span]
        at = as_int(position)
        if not -len(self) <= at < len(self):
            raise IndexError(f"position {at} is outside a column of {len(self)} samples")
        at %= len(self)
        return self._column._keys_at(at, at + 1)[0]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:6]))
        return f"<{len(self)} keys: {shown}{', …' if len(self) > 6 else ''}>"


class ColumnItems(ItemsView[Key, Any]):
    """The pairs of a column, read in batches."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._column = column

    def __iter__(self) -> Iterator[tuple[Key, Any]]:
        for keys, values in self._column._iter_blocks():
            yield from zip(keys, values, strict=True)


class ColumnValues(ValuesView[Any]):
    """The values of a column, read in batches."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._column = column

    def __iter__(self) -> Iterator[Any]:
        for _, values in self._column._iter_blocks():
            yield from values


class Column(KeyedColumn):
    """A mapping from sample key to value, ints before texts, of one version.

    ``column[key]`` is one value: a fresh ndarray, a `str` or `bytes`. ``column[[key, ...]]`` and
    ``column[start:stop]`` are many: a stacked array ``(n, *shape)``, or a list where shapes vary.
    A slice and `read` go by position in key order.
    """

    def __len__(self) -> int:
        return self._reader.count

    def __iter__(self) -> Iterator[Key]:
        for keys, _ in cursor.iter_blocks(self._reader.nodes, self._reader.state.tree):
            yield from keys.to_list()

    def __contains__(self, key: object) -> bool:
        try:
            tree_key = self._tree_key(key)
        except InvalidKeyError:
            return False
        reader = self._reader
        return cursor.get_one(reader.nodes, reader.state.tree, tree_key) is not None

    def keys(self) -> ColumnKeys:
        """Return the keys in order: sized, a set, and indexable by position."""
        return ColumnKeys(self)

    def items(self) -> ColumnItems:
        """Return the pairs (key, value) in order, read a leaf at a time."""
        return ColumnItems(self)

    def values(self) -> ColumnValues:
        """Return the values in key order, read a leaf at a time."""
        return ColumnValues(self)

    @overload
    def __getitem__(self, selection: Key) -> Any: ...
    @overload
    def __getitem__(self, selection: slice | list[Any] | range | NDArray[Any]) -> Values: ...
    def __getitem__(
        self, selection: Key | slice | list[Any] | range | NDArray[Any]
    ) -> Value | Values:
        if isinstance(selection, slice):
            return self._read_span(slice_positions(selection, len(self)))
        if is_many(selection):
            return self._read_keys(check_key_list(selection))
        value = self._reader.get_one(self._tree_key(selection))
        if value is None:
            raise not_found(self._name, [selection])
        return value

    def _read_span(self, span: range) -> Values:
        if span.step == 1 and span:
            few = self._reader.read_few(span.start, span.stop)
            if few is not None:
                return few
        return self._reader.read(np.arange(span.start, span.stop, span.step), None)

    def _read_keys(self, selection: Sequence[object] | NDArray[Any]) -> Values:
        keys, places = collect_keys(selection)
        reader = self._reader
        tree = reader.state.tree
        by_table = reader.is_table_due(len(keys))
        if by_table:
            found_at, found = cursor.positions(reader.nodes, tree, keys)
        else:
            stored, found = cursor.get(reader.nodes, tree, keys)
        if not found.all():
            raise not_found(self._name, keys_in_order(keys, places, ~found))
        in_order = np.empty(len(places), np.intp)
        in_order[places] = np.arange(len(places))
        if by_table:
            return reader.read(found_at[in_order], None)
        return reader.stack(stored[in_order])

    def read(self, positions: Any, out: NDArray[Any] | None = None) -> Values:
        """Read many samples by position.

        Parameters
        ----------
        positions : sequence or ndarray of int, shape (n,)
            Places in key order, from 0; negative ones count from the end; repeats allowed.
        out : ndarray, shape (n, *shape), dtype of the column, C-contiguous, optional
            Filled and returned; allocated when omitted. Only for columns of one fixed shape.

        Returns
        -------
        ndarray, shape (n, *shape), or list of ndarray, str or bytes

        Raises
        ------
        IndexError
            A position is outside the column.
        InvalidInputError
            Positions that are no ints, or `out` does not fit.
        CorruptionError
            Bytes on disk are not what was stored.

        Notes
        -----
        The first call looks up where every sample is (about 1 s for a million); after that one
        gather from the memory map fills the batch.
        """
        return self._reader.read(check_positions(positions), out)

    def fetch(self, positions: Any) -> int:
        """Bring what samples need before they are read, in one request.

        In a partial clone a value that is not here is fetched when it is read; this does the same
        ahead of time, in any thread and any process. Elsewhere there is nothing to bring.

        Parameters
        ----------
        positions : sequence or ndarray of int, shape (n,)
            As for `read`.

        Returns
        -------
        int
            The number of values that this call brought; those that another thread of this process
            was bringing are waited for, and not counted.

        Raises
        ------
        IndexError
            A position is outside the column, and not all of the column is here.
        InvalidInputError
            Positions that are no ints.
        ObjectNotFoundError
            A value cannot be had; PromisorAwayError when the remote does not answer.

        Notes
        -----
        The first call looks up where every sample is, as `read` does. Where all is here, a call
        costs a microsecond.
        """
        return self._reader.fetch(check_positions(positions))

    def positions(self, keys: Sequence[Key]) -> NDArray[np.int64]:
        """Return the position of each key; raise SampleNotFoundError when one is not there."""
        wanted, places = collect_keys(keys)
        at, found = cursor.positions(self._reader.nodes, self._reader.state.tree, wanted)
        if not found.all():
            raise not_found(self._name, keys_in_order(wanted, places, ~found))
        result = np.empty(len(places), np.int64)
        result[places] = at
        return result

    def has_same_keys(self, other: Mapping[Key, Any]) -> bool:
        """Tell whether another column has exactly the same sample keys; scans the keys."""
        if not isinstance(other, Column):
            return len(self) == len(other) and list(self) == list(other)
        mine, yours = self._reader, other._reader
        if (mine.state.tree.int_count, mine.state.tree.text_count) != (
            yours.state.tree.int_count,
            yours.state.tree.text_count,
        ):
            return False
        for start in range(0, mine.count, _KEYS_COMPARED):
            stop = start + _KEYS_COMPARED
            a = cursor.keys_at(mine.nodes, mine.state.tree, start, min(stop, mine.count))
            b = cursor.keys_at(yours.nodes, yours.state.tree, start, min(stop, mine.count))
            if not (np.array_equal(a.ints, b.ints) and np.array_equal(a.texts, b.texts)):
                return False
        return True

    def to_numpy(self, *, copy: bool | None = True) -> Values:
        """Return all values in key order: stacked, or a list where shapes vary.

        Parameters
        ----------
        copy : bool or None
            True for an array of its own; None for a read-only view where `view` has one; False
            for a view or an error.

        Raises
        ------
        InvalidInputError
            `copy` is False, and the values can only be had as a copy.
        """
        if copy is not True:
            found = self.view()
            if found is not None:
                return found
            if copy is False:
                raise with_hint(
                    InvalidInputError(
                        f"column {self._name!r} of {self.schema.spelling} cannot be had without a "
                        "copy: its values do not lie behind each other as they are"
                    ),
                    "copy=None takes a view where there is one and a copy elsewhere",
                )
        return self[:]

    def view(
        self, start: int = 0, stop: int | None = None, *, is_private: bool = False
    ) -> NDArray[Any] | None:
        """Return the values at a range of positions without copying them.

        Parameters
        ----------
        start, stop : int, optional
            As in a slice; to the end when `stop` is omitted.
        is_private : bool
            Give an array that can be written to: a write is seen through this array alone, and
            never reaches the repository.

        Returns
        -------
        ndarray, shape (n, *shape), or None
            A view of the memory map of a pack, or of the inline values; read-only unless private.
            None where there is no such view: the values are compressed, vary in shape, are in
            several packs, or lie in another order than that of the keys.

        Raises
        ------
        SlabChecksumError, PackDamagedError
            Stored bytes are not what was stored.

        Notes
        -----
        The bytes of a range are read once, to check them; after that a page is read when it is
        touched. The array stays whole when the repository is repacked or removed.
        """
        span = slice_positions(slice(start, stop), len(self))
        reader = self._reader
        if not reader.schema.is_fixed_shape:
            return None
        low, high = span.start, max(span.start, span.stop)
        if reader.schema.is_inline or low == high:
            rows = (
                reader.inline()[low:high]
                if reader.schema.is_inline
                else np.empty((0, *reader.schema.fixed_shape), reader.schema.numpy_dtype)
            )
            # Inline values are small: a private array of them is a copy.
            return rows.copy() if is_private else rows
        return reader.table().view(low, high, is_private=is_private)

    def _tree_key(self, key: object) -> int | bytes:
        checked = check_key(key)
        return checked if isinstance(checked, int) else checked.encode()

    def _keys_at(self, start: int, stop: int) -> list[Key]:
        return cursor.keys_at(self._reader.nodes, self._reader.state.tree, start, stop).to_list()

    def _iter_blocks(self) -> Iterator[tuple[list[Key], list[Any]]]:
        reader = self._reader
        for keys, stored in cursor.iter_blocks(reader.nodes, reader.state.tree):
            yield keys.to_list(), reader.values_of(stored)

    def __repr__(self) -> str:
        return f"<Column {self._name!r}: {len(self)} × {self.schema.spelling}>"

    def _repr_html_(self) -> str:
        keys: list[Key] = []
        values: Values = []
        # Of a partial clone the keys may be here without the values, or nothing.
        with suppress(ObjectNotFoundError):
            keys = self.keys()[:8]
            values = ["not here"] * len(keys)
            values = self[:8]
        return column_html(self._name, self._count_text(), self.schema.spelling, keys, values)

    def _count_text(self) -> str:
        return str(len(self))
