"""The datasets of one mapped pack: rows of one shape, and frames of their own sizes.

Nothing is handed out before the slabs that it is in were checked; see `mapped_pack`.
"""

from __future__ import annotations

import mmap
import os
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import CorruptionError, PackDamagedError
from tensorvcs.objects.dtype import dtype_from_name
from tensorvcs.objects.tensor import array_bytes, value_from_data
from tensorvcs.storage import codecs
from tensorvcs.storage.checked_blocks import CheckedBlocks
from tensorvcs.storage.dataset_writers import NUMBERS_BLOCK_NBYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.mapped_pack import MappedPack
    from tensorvcs.storage.pack_index import DatasetRecord, Layout


class MappedRows:
    """A dataset of rows of one shape."""

    def __init__(self, pack: MappedPack, ordinal: int, record: DatasetRecord) -> None:
        assert record.layout.shape is not None
        self.ordinal = ordinal
        self.layout: Layout = record.layout
        self.row_count = record.row_count
        self.shape: tuple[int, ...] = record.layout.shape
        self.dtype = dtype_from_name(record.layout.dtype)
        self.row_nbytes = prod(self.shape) * self.dtype.itemsize
        self.slab_rows = record.slab_rows
        self.slabs = CheckedBlocks(
            pack, record.slabs, f"slab of {record.path}", self._names_in_slab
        )
        self.checked = [self.slabs]
        self.pack = pack
        self._frames: dict[int, codecs.RowFrame] = {}
        self._runs: list[tuple[int, NDArray[np.uint8]]] = []
        self.values: NDArray[Any] | None = None
        """All rows as they are, shape (row_count, *shape): only where they lie in one stretch."""
        if record.layout.compressor is None:
            self._find_runs(record)

    def _find_runs(self, record: DatasetRecord) -> None:
        """View slabs that lie back to back as one array of rows; mostly that is all of them."""
        starts = record.slabs.starts.astype(np.int64)
        breaks = np.nonzero(np.diff(starts) != record.slab_nbytes)[0] + 1
        edges = [0, *breaks.tolist(), len(starts)]
        for low, high in pairwise(edges):
            first = low * self.slab_rows
            count = min(high * self.slab_rows, self.row_count) - first
            at = int(starts[low])
            rows = self.pack.content[at : at + count * self.row_nbytes]
            self._runs.append((first, rows.reshape(count, self.row_nbytes)))
        if len(self._runs) == 1:
            values = self._runs[0][1].view(self.dtype).reshape(self.row_count, *self.shape)
            # A gather from an array that is not aligned would copy all of it first.
            if values.flags.aligned:
                self.values = values

    def private_rows(self, first: int, stop: int) -> NDArray[Any] | None:
        """Map rows, whose slabs were checked, copy-on-write: shape (stop - first, *shape).

        None when the file was removed, or another is in its place: what was checked is in the
        other map alone.

        Raises
        ------
        PackDamagedError
            The file cannot be mapped.
        """
        assert self.values is not None
        at = int(self.slabs.blocks.starts[0]) + first * self.row_nbytes
        nbytes = (stop - first) * self.row_nbytes
        offset = at % mmap.ALLOCATIONGRANULARITY
        try:
            with self.pack.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if (status.st_dev, status.st_ino) != self.pack.file_number:
                    return None
                self.pack.check_length()
                mapped = mmap.mmap(
                    file.fileno(), offset + nbytes, access=mmap.ACCESS_COPY, offset=at - offset
                )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PackDamagedError(
                f"pack {self.pack.path.name} cannot be mapped: {error}"
            ) from error
        return np.ndarray((stop - first, *self.shape), self.dtype, mapped, offset)

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the bytes of some rows, shape (n,)."""
        return np.full(len(rows), self.row_nbytes, np.int64)

    def names(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return the digests of some rows, zeros where the directory is damaged."""
        found: NDArray[np.uint8] = self.pack.row_digests(self.ordinal, skip_damage=True)[rows]
        return found

    def rows_of_slab(self, slab: int) -> tuple[int, int]:
        """Return the first row of a slab and the one after its last."""
        first = slab * self.slab_rows
        return first, min(first + self.slab_rows, self.row_count)

    def _names_in_slab(self, slab: int) -> NDArray[np.uint8]:
        first, stop = self.rows_of_slab(slab)
        return self.pack.row_digests(self.ordinal, skip_damage=True)[first:stop]

    def slab(self, slab: int) -> memoryview:
        """Return the bytes of a slab, which was checked, as they are stored."""
        at, size = int(self.slabs.blocks.starts[slab]), int(self.slabs.blocks.sizes[slab])
        return self.pack.view[at : at + size]

    def ensure_rows(self, rows: NDArray[np.integer[Any]]) -> None:
        """Check the slabs of some rows."""
        self.pack.check_length()
        if not self.slabs.are_all_verified:
            self.slabs.ensure_many(rows // self.slab_rows)

    def stretch(self, first: int, stop: int) -> NDArray[np.uint8] | None:
        """Return neighbouring rows, whose slabs were checked, as they lie in the map.

        Shape (n, row_nbytes), read-only. None when they are compressed, or do not lie together.
        """
        for start, run in self._runs:
            if start <= first and stop <= start + len(run):
                rows: NDArray[np.uint8] = run[first - start : stop - start]
                return rows
        return None

    def take(self, rows: NDArray[np.integer[Any]], out: NDArray[np.uint8]) -> None:
        """Copy rows, whose slabs were checked, to `out`, shape (n, row_nbytes).

        Raises
        ------
        PackDamagedError
            A compressed row does not decode.
        """
        if len(self._runs) == 1:
            self._runs[0][1].take(rows, 0, out, "clip")
        elif self._runs:
            run_of = np.searchsorted([first for first, _ in self._runs], rows, side="right") - 1
            for number in np.unique(run_of).tolist():
                first, run = self._runs[number]
                chosen = np.nonzero(run_of == number)[0]
                out[chosen] = run.take(rows[chosen] - first, 0)
        else:
            address, step = out.ctypes.data, self.row_nbytes
            for i, row in enumerate(rows.tolist()):
                self._decode(row, address + i * step)

    def _decode(self, row: int, address: int) -> None:
        slab, place = divmod(row, self.slab_rows)
        frame = self._frames.get(slab)
        if frame is None:
            frame = codecs.RowFrame(self.slab(slab), self.slab_rows, self.row_nbytes)
            self._frames[slab] = frame
        frame.read_into(place, address)

    def check_schema(self, schema: Schema) -> None:
        """Raise CorruptionError when the rows cannot be of `schema`."""
        check_layout(schema, self.layout)
        check_value_shape(schema, self.shape)

    def copy_row(self, schema: Schema, row: int, out: NDArray[np.uint8]) -> None:
        """Copy one row to `out`, shape (row_nbytes,).

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        self.pack.check_length()
        self.slabs.ensure(row // self.slab_rows)
        if len(self._runs) == 1:
            out[:] = self._runs[0][1][row]
        elif self._runs:
            self.take(np.array([row]), out.reshape(1, -1))
        else:
            self._decode(row, out.ctypes.data)

    def value(self, schema: Schema, row: int) -> NDArray[Any]:
        """Return one row as a fresh array."""
        array = np.empty(self.shape, self.dtype)
        self.copy_row(schema, row, array_bytes(array))
        return array


class MappedFrames:
    """Values of their own sizes: text, bytes, arrays of variable shape."""

    def __init__(self, pack: MappedPack, ordinal: int, record: DatasetRecord) -> None:
        self.ordinal = ordinal
        self.layout: Layout = record.layout
        self.row_count = record.row_count
        self.pack = pack
        self._slab_nbytes = record.slab_nbytes
        self.slabs = CheckedBlocks(
            pack, record.slabs, f"slab of {record.path}", self._names_in_slab
        )
        self._offset_blocks = CheckedBlocks(
            pack, record.offsets, f"block of offsets of {record.path}", self._names_at_offsets
        )
        self._shape_blocks = CheckedBlocks(
            pack, record.shapes, f"block of shapes of {record.path}", self._names_of_shapes
        )
        self.checked = [self.slabs, self._offset_blocks, self._shape_blocks]
        self._offsets: NDArray[np.uint64] = np.frombuffer(
            pack.map, "<u8", self.row_count + 1, int(record.offsets.starts[0])
        )
        ndim = record.layout.ndim
        self._shapes: NDArray[np.uint64] | None = None
        if ndim:
            self._shapes = np.frombuffer(
                pack.map, "<u8", self.row_count * ndim, int(record.shapes.starts[0])
            ).reshape(self.row_count, ndim)

    def names(self, rows: NDArray[np.integer[Any]] | slice) -> NDArray[np.uint8]:
        """Return the digests of some values, zeros where the directory is damaged."""
        return self.pack.row_digests(self.ordinal, skip_damage=True)[rows]

    def _names_in_slab(self, slab: int) -> NDArray[np.uint8]:
        """Return the digests of the values that have bytes in a slab; needs all offsets."""
        self._offset_blocks.ensure_all()
        low, high = slab * self._slab_nbytes, (slab + 1) * self._slab_nbytes
        first = int(np.searchsorted(self._offsets[1:], low, "right"))
        stop = int(np.searchsorted(self._offsets[:-1], high, "left"))
        return self.names(slice(first, stop))

    def _names_at_offsets(self, block: int) -> NDArray[np.uint8]:
        """Return the digests of the values that begin or end at an offset of a block."""
        count = NUMBERS_BLOCK_NBYTES // 8
        return self.names(slice(max(0, block * count - 1), (block + 1) * count))

    def _names_of_shapes(self, block: int) -> NDArray[np.uint8]:
        """Return the digests of the values with an extent in a block of shapes."""
        low, high = block * NUMBERS_BLOCK_NBYTES, (block + 1) * NUMBERS_BLOCK_NBYTES
        width = 8 * self.layout.ndim
        return self.names(slice(low // width, -(-high // width)))

    def shape(self, row: int) -> tuple[int, ...]:
        """Return the shape of one value."""
        if self._shapes is None:
            return ()
        self.pack.check_length()
        width = 8 * self.layout.ndim
        self._shape_blocks.ensure_range(row * width, (row + 1) * width)
        return tuple(self._shapes[row].tolist())

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the bytes of some values as they are stored, shape (n,); checks their offsets."""
        self.pack.check_length()
        self._offset_blocks.ensure_many(8 * rows // NUMBERS_BLOCK_NBYTES)
        self._offset_blocks.ensure_many(8 * (rows + 1) // NUMBERS_BLOCK_NBYTES)
        return (self._offsets[rows + 1] - self._offsets[rows]).astype(np.int64)

    def stored_nbytes(self, rows: NDArray[np.intp]) -> int:
        """Return the bytes that some values take together."""
        return int(self.sizes(rows).sum())

    def stored(self, row: int) -> bytes:
        """Return the bytes of one value as they are stored.

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        self.pack.check_length()
        self._offset_blocks.ensure_range(8 * row, 8 * row + 16)
        low, high = int(self._offsets[row]), int(self._offsets[row + 1])
        size, blocks = self._slab_nbytes, self.slabs.blocks
        if not low <= high <= size * len(blocks):
            raise PackDamagedError(f"pack {self.pack.path.name}: value {row} lies outside of it")
        parts = []
        at = low
        while at < high:
            slab, inside = divmod(at, size)
            self.slabs.ensure(slab)
            count = min(size - inside, high - at)
            start = int(blocks.starts[slab]) + inside
            parts.append(self.pack.view[start : start + count])
            at += count
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def data(self, row: int) -> bytes | memoryview:
        """Return the data of one value.

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        stored = self.stored(row)
        if self.layout.compressor is None:
            return stored
        nbytes = codecs.frame_nbytes(stored)
        if self.layout.kind == "ndarray":
            expected = prod(self.shape(row)) * dtype_from_name(self.layout.dtype).itemsize
            if nbytes != expected:
                raise PackDamagedError(
                    f"pack {self.pack.path.name}: value {row} has {nbytes} bytes, "
                    f"expected {expected}"
                )
        data = np.empty(nbytes, np.uint8)
        codecs.decompress_into(stored, data.ctypes.data, nbytes)
        return data.data

    def check_schema(self, schema: Schema) -> None:
        """Raise CorruptionError when the values cannot be of `schema`."""
        check_layout(schema, self.layout)

    def value(self, schema: Schema, row: int) -> NDArray[Any] | str | bytes:
        """Return one value, fresh.

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        shape = self.shape(row)
        if schema.kind == "ndarray":
            check_value_shape(schema, shape)
        return self.any_value(row)

    def any_value(self, row: int) -> NDArray[Any] | str | bytes:
        """Return one value, fresh, whatever its shape.

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        layout = self.layout
        data = self.data(row)
        shape = self.shape(row)
        if layout.kind == "ndarray":
            expected = prod(shape) * dtype_from_name(layout.dtype).itemsize
            if len(data) != expected:
                raise PackDamagedError(
                    f"pack {self.pack.path.name}: value {row} of shape {shape} has "
                    f"{len(data)} bytes, expected {expected}"
                )
        return value_from_data(layout.kind, layout.dtype, shape, data)

    def copy_row(self, schema: Schema, row: int, out: NDArray[np.uint8]) -> None:
        """Copy the data of one value to `out`, shape (nbytes,)."""
        check_value_shape(schema, self.shape(row))
        data = self.data(row)
        if len(data) != len(out):
            raise PackDamagedError(
                f"pack {self.pack.path.name}: value {row} has {len(data)} bytes, "
                f"expected {len(out)}"
            )
        out[:] = np.frombuffer(data, np.uint8)


def check_layout(schema: Schema, layout: Layout) -> None:
    """Raise CorruptionError when no value of `layout` can be one of a column of `schema`."""
    if (layout.kind, layout.dtype) != (schema.kind, schema.dtype):
        raise CorruptionError(
            f"a stored value is {layout.dtype or layout.kind}, which a column of "
            f"{schema.spelling} cannot have"
        )


def check_value_shape(schema: Schema, shape: tuple[int, ...]) -> None:
    """Raise CorruptionError when a stored value cannot be one of a column of `schema`."""
    limits = schema.shape
    assert limits is not None
    if len(shape) != len(limits) or not all(
        limit is None or extent == limit or (schema.variable_shape and extent < limit)
        for extent, limit in zip(shape, limits, strict=True)
    ):
        raise CorruptionError(
            f"a stored value has shape {shape}, which a column of {schema.spelling} cannot have"
        )
