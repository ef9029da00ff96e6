"""Bytes on their way into the slabs of one dataset, as they are or compressed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import xxhash

from tensorvcs.storage import codecs
from tensorvcs.storage.hdf5_file import chunk_blocks

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    import h5py
    from numpy.typing import NDArray

    from tensorvcs.storage.pack_index import Blocks, Layout

# Larger writes give no larger pages in the cache of the system.
WRITE_NBYTES = 16 << 20
_DIRECT_NBYTES = 64 << 20


class SlabFile(Protocol):
    """The file that slabs are written to."""

    def run(self, task: Callable[[], None]) -> Future[None]:
        """Run a task beside this thread, after those given before."""
        ...

    def write_at(self, offset: int, data: memoryview) -> None:
        """Write bytes to a place that HDF5 has set aside for them."""
        ...

    def write_chunk(self, dataset: h5py.Dataset, row: int, frame: bytes) -> None:
        """Write the compressed chunk that starts at `row`."""
        ...


class SlabStream:
    """Bytes cut into slabs of one size, written many at a time.

    HDF5 sets the chunks aside, without writing them, and their bytes go to the file past it: a
    write of many slabs lets the system cache the file in large pages, from which rows are read
    at random a fifth faster, and runs beside the caller.
    """

    def __init__(
        self,
        pack: SlabFile,
        dataset: h5py.Dataset,
        *,
        slab_nbytes: int,
        unit_nbytes: int,
        known_nbytes: int | None,
    ) -> None:
        self._pack = pack
        self._dataset = dataset
        self._slab_nbytes = slab_nbytes
        self._unit_nbytes = unit_nbytes
        slabs_a_write = max(1, WRITE_NBYTES // slab_nbytes)
        if known_nbytes is not None:
            slabs_a_write = min(slabs_a_write, max(1, -(-known_nbytes // slab_nbytes)))
        self._write_nbytes = slabs_a_write * slab_nbytes
        self._buffers: list[NDArray[np.uint8]] = []
        self._running: tuple[Future[None], NDArray[np.uint8]] | None = None
        self._filled = 0
        self._nbytes = 0
        self._checks: dict[int, int] = {}

    def put(self, data: memoryview) -> None:
        """Add bytes; they are not needed any more when this returns."""
        while len(data):
            if not self._filled and len(data) >= self._write_nbytes:
                count = min(len(data), _DIRECT_NBYTES) // self._slab_nbytes * self._slab_nbytes
                self._write_directly(data[: max(count, self._slab_nbytes)])
                data = data[max(count, self._slab_nbytes) :]
                continue
            part = data[: self._write_nbytes - self._filled]
            self._buffer()[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            data = data[len(part) :]
            if self._filled == self._write_nbytes:
                self._write_buffer(self._filled)

    def _buffer(self) -> NDArray[np.uint8]:
        """Return the buffer being filled: one of two, the other being written."""
        if not self._buffers:
            self._buffers.append(np.empty(self._write_nbytes, np.uint8))
        return self._buffers[0]

    def _set_aside(self, nbytes: int, padding: int = 0) -> list[tuple[int, int, int]]:
        """Have HDF5 find place for the next bytes.

        Returns (slab, offset, nbytes) of each stretch of slabs that lie back to back.
        """
        first = self._nbytes // self._slab_nbytes
        count = (nbytes + padding) // self._slab_nbytes
        self._nbytes += nbytes
        units = self._nbytes // self._unit_nbytes
        dataset = self._dataset
        if dataset.shape[0] < units:
            dataset.id.set_extent((units, *dataset.shape[1:]))
        slab_units = self._slab_nbytes // self._unit_nbytes
        rest = (0,) * (dataset.ndim - 1)

        def offset_of(slab: int) -> int:
            corner = (slab * slab_units, *rest)
            return int(dataset.id.get_chunk_info_by_coord(corner).byte_offset)

        start = offset_of(first)
        if offset_of(first + count - 1) - start == (count - 1) * self._slab_nbytes:
            return [(first, start, count * self._slab_nbytes)]
        return [(i, offset_of(i), self._slab_nbytes) for i in range(first, first + count)]

    def _check(self, first: int, data: memoryview) -> None:
        size = self._slab_nbytes
        for i in range(len(data) // size):
            self._checks[first + i] = xxhash.xxh3_64_intdigest(data[i * size : (i + 1) * size])

    def _write_directly(self, data: memoryview) -> None:
        """Write whole slabs from the memory of the caller, the checksums beside."""
        first = self._nbytes // self._slab_nbytes
        checking = self._pack.run(partial(self._check, first, data))
        try:
            for _, offset, nbytes in self._set_aside(len(data)):
                self._pack.write_at(offset, data[:nbytes])
                data = data[nbytes:]
        finally:
            checking.result()

    def _write_buffer(self, nbytes: int, padding: int = 0) -> None:
        """Have the buffer written, and take the other one."""
        places = self._set_aside(nbytes, padding)
        buffer = self._buffers.pop(0)

        def write() -> None:
            data = buffer.data
            for slab, offset, size in places:
                self._pack.write_at(offset, data[:size])
                self._check(slab, data[:size])
                data = data[size:]

        if self._running is not None:
            self._running[0].result()
            self._buffers.append(self._running[1])
        self._running = (self._pack.run(write), buffer)
        self._filled = 0

    def close(self) -> Blocks:
        """Write what is left, padded with zeros, and return where the slabs are."""
        if self._filled:
            padding = -self._filled % self._slab_nbytes
            self._buffer()[self._filled : self._filled + padding] = 0
            self._write_buffer(self._filled, padding)
        if self._running is not None:
            self._running[0].result()
        self._running, self._buffers = None, []
        return chunk_blocks(self._dataset, [self._checks[i] for i in range(len(self._checks))])


class FrameStream:
    """Rows that are compressed slab by slab."""

    def __init__(
        self,
        pack: SlabFile,
        dataset: h5py.Dataset,
        slab_shape: tuple[int, int],
        itemsize: int,
        layout: Layout,
    ) -> None:
        assert layout.compressor is not None
        self._pack = pack
        self._dataset = dataset
        self._slab_shape = slab_shape
        self._itemsize = itemsize
        self._compressor = layout.compressor
        self._slab = np.zeros(slab_shape, np.uint8)
        self._filled = 0
        self._rows = 0
        self._checks: list[int] = []

    def put(self, data: memoryview) -> None:
        """Add rows, as bytes."""
        slab_rows, row_nbytes = self._slab_shape
        rows = np.frombuffer(data, np.uint8).reshape(-1, row_nbytes)
        while len(rows):
            if not self._filled and len(rows) >= slab_rows:
                self._write(rows[:slab_rows], slab_rows)
                rows = rows[slab_rows:]
                continue
            part = rows[: slab_rows - self._filled]
            self._slab[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rows = rows[len(part) :]
            if self._filled == slab_rows:
                self._write(self._slab, slab_rows)
                self._filled = 0

    def _write(self, rows: NDArray[np.uint8], count: int) -> None:
        """Write one slab, of which `count` rows are no padding."""
        frame = codecs.compress_rows(rows, self._itemsize, self._compressor)
        start = self._rows
        self._rows += count
        if self._dataset.shape[0] < self._rows:
            self._dataset.id.set_extent((self._rows, *self._dataset.shape[1:]))
        self._pack.write_chunk(self._dataset, start, frame)
        self._checks.append(xxhash.xxh3_64_intdigest(frame))

    def close(self) -> Blocks:
        """Write the last slab, padded with zeros, and return where the slabs are."""
        if self._filled:
            self._slab[self._filled :] = 0
            self._write(self._slab, self._filled)
        return chunk_blocks(self._dataset, self._checks)
