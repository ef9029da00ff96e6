"""What the numbers in location tables stand for: datasets of packs, loose values, absent ones."""

from __future__ import annotations

from itertools import count
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ObjectDamagedError, ObjectNotFoundError
from tensorvcs.objects.digest import digests_to_array
from tensorvcs.objects.dtype import dtype_from_name
from tensorvcs.objects.tensor import value_from_data
from tensorvcs.storage.mapped_datasets import check_layout, check_value_shape
from tensorvcs.storage.pack_index import LooseValue, decode_loose
from tensorvcs.storage.unsealed import loose_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.locations import Source
    from tensorvcs.storage.mapped_pack import MappedPack

LOOSE = 0
"""The number of the loose values."""

ABSENT = 1
"""The number of the values that are not here."""


class Sources:
    """One generation of numbers; it grows, and what a number stands for never changes.

    Parameters
    ----------
    read_loose : callable
        Return the record of a loose value, None when it is not loose any more.
    find : callable
        Return source and row of a digest, wherever it is by now.
    """

    def __init__(
        self,
        read_loose: Callable[[bytes], bytes | None],
        find: Callable[[bytes], tuple[Source, int]],
    ) -> None:
        self.loose = LooseValues(read_loose, find)
        self.absent = AbsentValues(find)
        self.items: list[Source] = [self.loose, self.absent]
        self._numbers: dict[bytes, NDArray[np.int64]] = {}

    def numbers_of(self, pack: MappedPack) -> NDArray[np.int64]:
        """Return the numbers of the datasets of a pack; the caller holds the lock of the store."""
        numbers = self._numbers.get(pack.record.pack_id)
        if numbers is None:
            numbers = len(self.items) + np.arange(len(pack.datasets))
            self._numbers[pack.record.pack_id] = numbers
            self.items.extend(pack.datasets)
        return numbers

    def names_of(
        self, numbers: NDArray[np.integer[Any]], rows: NDArray[np.integer[Any]]
    ) -> NDArray[np.uint8]:
        """Return the digests of the values at some places, shape (n, 32).

        Those that nobody can tell, since the directory of their pack is damaged, are zeros.
        """
        names = np.zeros((len(rows), 32), np.uint8)
        for number in np.unique(numbers).tolist():
            is_here = numbers == number
            names[is_here] = self.items[number].names(rows[is_here])
        return names


class _Names:
    """Digests under numbers.

    Without a lock, which a forked child might inherit held: what two threads can cost each other
    is a second number for a digest.
    """

    def __init__(self) -> None:
        self.digests: dict[int, bytes] = {}
        self._rows: dict[bytes, int] = {}
        self._next = count()

    def rows_of(self, digests: Sequence[bytes]) -> list[int]:
        rows = []
        for digest in digests:
            row = self._rows.get(digest)
            if row is None:
                row = next(self._next)
                self.digests[row] = digest
                self._rows[digest] = row
            rows.append(row)
        return rows


class LooseValues:
    """The source of all loose values; a row counts the digests asked for so far."""

    def __init__(
        self,
        read: Callable[[bytes], bytes | None],
        find: Callable[[bytes], tuple[Source, int]],
    ) -> None:
        self._read = read
        self._find = find
        self._names = _Names()

    def rows_of(self, digests: Sequence[bytes]) -> list[int]:
        """Return the rows of some digests, made where missing."""
        return self._names.rows_of(digests)

    def names(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return the digests of some rows, shape (n, 32)."""
        return digests_to_array([self._names.digests[row] for row in rows.tolist()])

    def check_schema(self, schema: Schema) -> None:
        """Do nothing: each value is checked by itself."""

    def _load(self, row: int) -> LooseValue | tuple[Source, int]:
        """Return a value, or where it is by now."""
        digest = self._names.digests[row]
        content = self._read(digest)
        if content is not None:
            return decode_loose(digest, content)
        source, found = self._find(digest)
        return (source, found) if source is not self else self._load(row)

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the bytes of some values."""
        found = [self._load(row) for row in rows.tolist()]
        return np.array(
            [
                len(value.data)
                if isinstance(value, LooseValue)
                else int(value[0].sizes(np.array([value[1]]))[0])
                for value in found
            ],
            np.int64,
        )

    def value(self, schema: Schema, row: int) -> Any:
        """Return one value, fresh."""
        found = self._load(row)
        if not isinstance(found, LooseValue):
            found[0].check_schema(schema)
            return found[0].value(schema, found[1])
        _check_loose(schema, found)
        return value_from_data(found.kind, found.dtype, found.shape, found.data)

    def copy_row(self, schema: Schema, row: int, out: NDArray[np.uint8]) -> None:
        """Copy the data of one value to `out`, shape (nbytes,)."""
        found = self._load(row)
        if not isinstance(found, LooseValue):
            found[0].check_schema(schema)
            found[0].copy_row(schema, found[1], out)
            return
        _check_loose(schema, found)
        out[:] = np.frombuffer(found.data, np.uint8)


def _check_loose(schema: Schema, value: LooseValue) -> None:
    check_layout(schema, loose_layout(value))
    if value.kind == "ndarray":
        check_value_shape(schema, value.shape)
        expected = prod(value.shape) * dtype_from_name(value.dtype).itemsize
        if len(value.data) != expected:
            raise ObjectDamagedError(
                f"a loose value of shape {value.shape} has {len(value.data)} bytes, "
                f"expected {expected}"
            )


class AbsentValues:
    """The source of values that a partial clone left out; a row counts the digests asked for."""

    def __init__(self, find: Callable[[bytes], tuple[Source, int]]) -> None:
        self._find = find
        self._names = _Names()

    def rows_of(self, digests: Sequence[bytes]) -> list[int]:
        """Return the rows of some digests, made where missing."""
        return self._names.rows_of(digests)

    def digests_of(self, rows: NDArray[np.integer[Any]]) -> list[bytes]:
        """Return the digests of some rows."""
        return [self._names.digests[row] for row in rows.tolist()]

    def names(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return the digests of some rows, shape (n, 32)."""
        return digests_to_array(self.digests_of(rows))

    def check_schema(self, schema: Schema) -> None:
        """Do nothing: each value is checked when it is here."""

    def _load(self, row: int) -> tuple[Source, int]:
        digest = self._names.digests[row]
        source, found = self._find(digest)
        if source is self:
            raise ObjectNotFoundError(f"tensor {digest.hex()} is not in the repository")
        return source, found

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the bytes of some values that came here meanwhile."""
        found = [self._load(row) for row in rows.tolist()]
        return np.array([int(s.sizes(np.array([row]))[0]) for s, row in found], np.int64)

    def value(self, schema: Schema, row: int) -> Any:
        """Return one value that came here meanwhile."""
        source, found = self._load(row)
        source.check_schema(schema)
        return source.value(schema, found)

    def copy_row(self, schema: Schema, row: int, out: NDArray[np.uint8]) -> None:
        """Copy the data of one value that came here meanwhile."""
        source, found = self._load(row)
        source.check_schema(schema)
        source.copy_row(schema, found, out)
