"""Location tables: where each value of a column is, in key order; batches by position.

A location is a source and a row in it. A source is one dataset of a pack, or the loose values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tensorvcs.errors import CorruptionError, InvalidInputError, SchemaMismatchError
from tensorvcs.objects.tensor import array_bytes
from tensorvcs.storage.gathering import PARALLEL_NBYTES, take_in_parts
from tensorvcs.storage.mapped_datasets import MappedRows
from tensorvcs.storage.sources import ABSENT, LOOSE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema

    Fetch = Callable[[NDArray[np.uint32]], "tuple[Locations, int]"]
    Mend = Callable[[NDArray[Any], NDArray[np.uint32]], "Locations | None"]

# A row copy in Python costs 0.3 µs, a gather through a scratch array one more pass over memory.
_LONG_ROW_NBYTES = 8 << 10
_SCRATCH_NBYTES = 256 << 10
# A batch may meet damage in several packs; each is mended as a whole.
_MAX_MENDS = 8


class Source(Protocol):
    """Where values are: a dataset of a pack, or the loose values."""

    def check_schema(self, schema: Schema) -> None:
        """Raise CorruptionError when no value here can be of `schema`."""
        ...

    def names(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return the digests of some values, shape (n, 32); zeros where nobody can tell."""
        ...

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the bytes of some values as they are stored, shape (n,)."""
        ...

    def value(self, schema: Schema, row: int) -> Any:
        """Return one value, fresh; CorruptionError when it is not of `schema`."""
        ...

    def copy_row(self, schema: Schema, row: int, out: NDArray[np.uint8]) -> None:
        """Copy the data of one value to `out`, shape (nbytes,)."""
        ...


@dataclass(frozen=True, slots=True)
class Locations:
    """Arrays of the same length: which source each value is in, and which row of it."""

    sources: NDArray[np.uint16] | NDArray[np.uint32]
    rows: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """The bytes of both arrays."""
        return self.sources.nbytes + self.rows.nbytes


@dataclass(frozen=True, slots=True)
class _Placed:
    """The locations of a table; the source of all of them, when it is one of rows; what fetches
    those that are absent, when some are."""

    at: Locations
    only: MappedRows | None
    fetch: Fetch | None


class PackTable:
    """LocationTable over sources.

    Parameters
    ----------
    schema : Schema
    locations : Locations
        In key order.
    sources : sequence
        What `locations.sources` counts; it may grow, and never changes otherwise.
    fetch : callable, optional
        Of a partial clone: has absent values fetched, given their rows, and returns where they
        are and how many came. Called with the absent ones of a batch together.
    mend : callable, optional
        Has damaged values mended, given the sources and rows of a batch that cannot be read, and
        returns where they are then; None when nothing was mended.
    """

    def __init__(
        self,
        schema: Schema,
        locations: Locations,
        sources: Sequence[Source],
        fetch: Fetch | None = None,
        mend: Mend | None = None,
    ) -> None:
        self._schema = schema
        self._sources = sources
        self._mend = mend
        self._shape: tuple[int, ...] = ()
        if schema.is_fixed_shape:
            self._shape = schema.fixed_shape
            self._dtype = schema.numpy_dtype
            self._row_nbytes = schema.row_nbytes
            self._parallel_count = PARALLEL_NBYTES // max(1, self._row_nbytes)
        used = _distinct(locations.sources)
        for number in used:
            sources[number].check_schema(schema)
        # Replaced as a whole, so that no thread sees one part with the other's successor.
        self._placed = self._place(locations, used, fetch)

    def __len__(self) -> int:
        return len(self._at)

    @property
    def _at(self) -> Locations:
        return self._placed.at

    def _place(self, at: Locations, used: Sequence[int], fetch: Fetch | None) -> _Placed:
        """Return what is known of some locations; `used` are the sources in them."""
        only = self._sources[used[0]] if len(used) == 1 else None
        return _Placed(
            at, only if isinstance(only, MappedRows) else None, fetch if ABSENT in used else None
        )

    def fetch(self, positions: NDArray[np.integer[Any]]) -> int:
        """Have those values at some positions fetched that are absent; return how many came.

        Raises
        ------
        IndexError
            A position is outside of ``-len .. len - 1``.
        ObjectNotFoundError
            A value cannot be had.

        Notes
        -----
        One request for all of them. Where no value of the column was absent when the table was
        made, or all have come since, nothing is done.
        """
        placed = self._placed
        return 0 if placed.fetch is None else self._present(placed, _as_positions(positions))[1]

    def read(
        self, positions: NDArray[np.integer[Any]], out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Read values of fixed shape into one array.

        Parameters
        ----------
        positions : ndarray, shape (n,), any integer dtype
            Counted from the end where negative; repeats allowed.
        out : ndarray, shape (n, *shape), dtype of the schema, C-contiguous, optional
            Filled and returned; allocated when omitted.

        Returns
        -------
        ndarray, shape (n, *shape), dtype of the schema

        Raises
        ------
        IndexError
            A position is outside of ``-len .. len - 1``; `out` is untouched.
        InvalidInputError
            Positions are no integers, or `out` is read-only or not C-contiguous.
        SchemaMismatchError
            `out` has another shape or dtype, or the schema has no fixed shape.
        SlabChecksumError, PackDamagedError
            Stored bytes are not what was stored; nothing of them is in `out`.
        ObjectNotFoundError
            A value was lost.

        Notes
        -----
        Rows kept as they are cost one gather from the memory map; compressed rows are decoded
        one by one. From 4 MiB on, the gather is shared by a few threads.
        """
        placed = self._placed
        if placed.fetch is not None:
            placed, _ = self._present(placed, _as_positions(positions))
        rows = placed.at.rows.take(_as_positions(positions))
        if not self._schema.is_fixed_shape:
            raise SchemaMismatchError(
                "values have no one shape to be stacked in; read them as a list",
                found=self._schema.spelling,
            )
        count = len(rows)
        if out is None:
            out = np.empty((count, *self._shape), self._dtype)
        else:
            self._check_out(out, count)
        for _ in range(_MAX_MENDS):
            try:
                return self._fill(placed, positions, rows, out)
            except CorruptionError:
                mended = self._mended(placed, positions)
                if mended is None:
                    raise
                placed = mended
                rows = placed.at.rows.take(positions)
        return self._fill(placed, positions, rows, out)

    def _fill(
        self,
        placed: _Placed,
        positions: NDArray[np.integer[Any]],
        rows: NDArray[np.uint32],
        out: NDArray[Any],
    ) -> NDArray[Any]:
        """Read the rows at some positions into `out`, and return it."""
        count = len(rows)
        source = placed.only
        if source is not None:
            source.ensure_rows(rows)
            if source.values is not None and count < self._parallel_count:
                source.values.take(rows, 0, out, "clip")
            else:
                take_in_parts(source, rows, array_bytes(out).reshape(count, self._row_nbytes))
        elif count:
            flat = array_bytes(out).reshape(count, self._row_nbytes)
            self._gather(placed.at.sources.take(positions), rows, flat)
        return out

    def _mended(self, placed: _Placed, positions: NDArray[np.integer[Any]]) -> _Placed | None:
        """Return the locations once damage at some positions was mended, None when it was not."""
        if self._mend is None:
            return None
        wanted = np.unique(np.arange(len(self)).take(positions))
        found = self._mend(placed.at.sources[wanted], placed.at.rows[wanted])
        return None if found is None else self._put(wanted, found, placed.fetch)

    def _put(self, wanted: NDArray[np.intp], found: Locations, fetch: Fetch | None) -> _Placed:
        """Note where the values at some positions are now."""
        for number in _distinct(found.sources):
            self._sources[number].check_schema(self._schema)
        # Others may have found more meanwhile.
        at = self._at
        sources = at.sources.astype(np.promote_types(at.sources.dtype, found.sources.dtype))
        rows = at.rows.copy()
        sources[wanted], rows[wanted] = found.sources, found.rows
        used = [ABSENT, LOOSE] if bool((sources == ABSENT).any()) else _distinct(sources)
        made = self._placed = self._place(Locations(sources, rows), used, fetch)
        return made

    def _present(self, placed: _Placed, positions: NDArray[np.integer[Any]]) -> tuple[_Placed, int]:
        """Return the locations once the values at some positions are here, and how many came.

        Notes
        -----
        Copies the locations when values were fetched: 6 bytes a sample of the column, next to
        nothing beside the fetch. Of two threads that do so at once, one may forget what the other
        has found, and look it up again.
        """
        at, fetch = placed.at, placed.fetch
        is_absent = at.sources.take(positions) == ABSENT
        if fetch is None or not is_absent.any():
            return placed, 0
        wanted = np.unique(positions[is_absent].astype(np.intp) % len(at))
        found, count = fetch(at.rows[wanted])
        return self._put(wanted, found, fetch), count

    def _check_out(self, out: NDArray[Any], count: int) -> None:
        expected = (count, *self._shape)
        if out.shape != expected or out.dtype != self._dtype:
            raise SchemaMismatchError(
                "out has the wrong shape or dtype",
                found=f"{out.dtype} {out.shape}",
                expected=f"{self._dtype} {expected}",
            )
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise InvalidInputError("out must be C-contiguous and writeable")

    def _gather(
        self, source_of: NDArray[Any], rows: NDArray[np.uint32], flat: NDArray[np.uint8]
    ) -> None:
        """Read from several sources, one after the other.

        A source of plain rows that has most of the values, as the first import has behind a few
        later changes, fills all places in one gather; the others then put theirs where they are.
        """
        numbers = _distinct(source_of)
        for number in numbers:
            source = self._sources[number]
            if not isinstance(source, MappedRows) or source.values is None:
                continue
            is_here = source_of == number
            here = rows[is_here]
            if 2 * len(here) >= len(rows):
                source.ensure_rows(here)
                take_in_parts(source, np.where(is_here, rows, here[0]), flat)
                numbers.remove(number)
                break
        for number in numbers:
            source = self._sources[number]
            places = np.nonzero(source_of == number)[0]
            chosen = rows[places]
            if not isinstance(source, MappedRows):
                for place, row in zip(places.tolist(), chosen.tolist(), strict=True):
                    source.copy_row(self._schema, row, flat[place])
                continue
            source.ensure_rows(chosen)
            if self._row_nbytes >= _LONG_ROW_NBYTES:
                for i, place in enumerate(places.tolist()):
                    source.take(chosen[i : i + 1], flat[place : place + 1])
            else:
                step = max(1, _SCRATCH_NBYTES // self._row_nbytes)
                scratch = np.empty((min(step, len(places)), self._row_nbytes), np.uint8)
                for low in range(0, len(places), step):
                    part = places[low : low + step]
                    source.take(chosen[low : low + step], scratch[: len(part)])
                    flat[part] = scratch[: len(part)]

    def read_list(self, positions: NDArray[np.integer[Any]]) -> list[Any]:
        """Read values of any schema, one by one.

        Raises
        ------
        IndexError
            A position is outside of ``-len .. len - 1``.
        SlabChecksumError, PackDamagedError
            Stored bytes are not what was stored.
        """
        placed = self._placed
        if placed.fetch is not None:
            placed, _ = self._present(placed, _as_positions(positions))
        _as_positions(positions)
        for _ in range(_MAX_MENDS):
            try:
                return self._values(placed, positions)
            except CorruptionError:
                mended = self._mended(placed, positions)
                if mended is None:
                    raise
                placed = mended
        return self._values(placed, positions)

    def _values(self, placed: _Placed, positions: NDArray[np.integer[Any]]) -> list[Any]:
        rows = placed.at.rows.take(positions).tolist()
        numbers = placed.at.sources.take(positions).tolist()
        sources, schema = self._sources, self._schema
        return [
            sources[number].value(schema, row) for number, row in zip(numbers, rows, strict=True)
        ]

    def view(self, start: int, stop: int, *, is_private: bool = False) -> NDArray[Any] | None:
        """Return the values of a range without copying them.

        Parameters
        ----------
        start, stop : int
            ``0 <= start <= stop <= len``.
        is_private : bool
            Map the values anew, so that they can be written to: a write copies its page, and is
            seen through the returned array alone.

        Returns
        -------
        ndarray, shape (stop - start, *shape), dtype of the schema, or None
            Read-only unless private. None where the values are compressed, loose, absent, in
            several packs, or in another order than that of the keys.

        Raises
        ------
        SlabChecksumError, PackDamagedError
            Stored bytes are not what was stored.

        Notes
        -----
        Reads the range once where it was not checked before. The array keeps the memory map
        alive, and with it the bytes of a pack that is removed.
        """
        if not self._schema.is_fixed_shape or start == stop:
            return None
        numbers = _distinct(self._at.sources[start:stop])
        rows = self._at.rows[start:stop]
        source = self._sources[numbers[0]]
        if len(numbers) > 1 or not isinstance(source, MappedRows) or source.values is None:
            return None
        if not bool((rows[1:] == rows[:-1] + np.uint32(1)).all()):
            return None
        source.ensure_rows(rows[:1])
        source.slabs.ensure_many(
            np.arange(rows[0] // source.slab_rows, rows[-1] // source.slab_rows + 1)
        )
        first = int(rows[0])
        if is_private:
            return source.private_rows(first, first + len(rows))
        return source.values[first : first + len(rows)]


def _as_positions(positions: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    if isinstance(positions, np.ndarray) and positions.dtype.kind in "iu" and positions.ndim == 1:
        return positions
    raise InvalidInputError("positions must be an array of integers with one axis")


def _distinct(numbers: NDArray[Any]) -> list[int]:
    """Return the distinct values of an array of small numbers."""
    if not len(numbers):
        return []
    first = int(numbers[0])
    if bool((numbers == first).all()):
        return [first]
    found: list[int] = np.unique(numbers).tolist()
    return found
