"""Write one pack: an HDF5 file of rows in slabs, with its own directory of digests.

The layout is in FORMAT.md. Slabs are written past the filters of HDF5, in order, so that those
of one dataset lie back to back in the file and can be memory-mapped as one array of rows.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import h5py
import numpy as np
import xxhash

from tensorvcs.errors import StorageError, with_hint
from tensorvcs.objects.dtype import dtype_from_name
from tensorvcs.objects.sorted_digests import sort_digests
from tensorvcs.storage import codecs
from tensorvcs.storage.durable import publish, step
from tensorvcs.storage.pack_index import (
    DIRECTORY_BLOCK_ROWS,
    NO_BLOCKS,
    PACK_ID_NBYTES,
    Blocks,
    DatasetRecord,
    Layout,
    PackRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SLAB_NBYTES = 1 << 20
MAX_ROW_NBYTES = 1 << 30
"""Values above this are stored as frames: a chunk of HDF5 ends below 4 GiB."""

TEMPORARY_PREFIX = "tmp-"
_MAX_HDF5_NDIM = 32
NUMBERS_BLOCK_NBYTES = 32 << 10
_STREAMED_METADATA_NBYTES = 256 << 10
_SMALL_METADATA_NBYTES = 8 << 10
_SYNC_NBYTES = 32 << 20
# Larger writes give no larger pages in the cache of the system.
_WRITE_NBYTES = 16 << 20
_DIRECT_NBYTES = 64 << 20
# Rows that start at a multiple of 1024 bytes would collide, in the store buffers of the
# processor, with buffers of numpy, which start 16 bytes after one.
_SHIFT_NBYTES = 64
_HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError)


# Kept from being closed, which would write what HDF5 holds of them.
_ABANDONED: list[PackWriter] = []


class SealedPack:
    """A pack under its final name that the index may not know yet.

    It holds a lock on its file, which keeps other processes from taking it for an orphan; so
    keep it until the transaction that adds the record has ended, then call `release`.
    """

    def __init__(self, record: PackRecord, path: Path, descriptor: int) -> None:
        self.record = record
        self.path = path
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Give the lock up: the record is in the index."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Delete the file: its record never came into the index."""
        with suppress(OSError):
            self.path.unlink()
        self.release()


class DatasetWriter(Protocol):
    """One dataset of a pack while it is written."""

    digests: list[NDArray[np.uint8]]
    row_count: int

    def close(self) -> DatasetRecord:
        """Write what is left and return the record."""
        ...


class PackWriter:
    """A pack file that is being written under a temporary name.

    Parameters
    ----------
    folder : Path
        The folder of packs.
    metadata_nbytes : int
        Room for the metadata of HDF5 before the first slab, so that none comes between slabs.
    """

    def __init__(self, folder: Path, metadata_nbytes: int = _STREAMED_METADATA_NBYTES) -> None:
        self._folder = folder
        self.payload_nbytes = 0
        self.row_count = 0
        self._writers: list[DatasetWriter] = []
        self._records: list[DatasetRecord] = []
        self._worker: ThreadPoolExecutor | None = None
        self._syncing: threading.Thread | None = None
        self._unsynced_nbytes = 0
        with self._translated():
            folder.mkdir(parents=True, exist_ok=True)
        self._create()
        try:
            with self._translated():
                self._file = _create_hdf5(self._path, metadata_nbytes)
        except BaseException:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            raise

    def _create(self) -> None:
        """Make the temporary file and lock it; the lock ends with this process."""
        while True:
            self._pack_id = secrets.token_bytes(PACK_ID_NBYTES)
            self._path = self._folder / f"{TEMPORARY_PREFIX}{self._pack_id.hex()}.h5"
            with self._translated():
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o666)
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    if os.fstat(self._descriptor).st_nlink:
                        return
                except BlockingIOError:
                    pass  # a collector of orphans was quicker
                os.close(self._descriptor)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _HDF5_ERRORS as error:
            if isinstance(error, StorageError):
                raise
            raise with_hint(
                StorageError(f"cannot write a pack in {self._folder}: {error}"),
                "free space on the disk, check the permissions of the folder, and try again",
            ) from error

    def rows(self, layout: Layout, row_count: int | None) -> RowsWriter:
        """Begin a dataset of rows; the one before must be closed.

        Parameters
        ----------
        layout : Layout
        row_count : int or None
            How many rows will come; then the slabs are cut so that the last is nearly full.
        """
        with self._translated():
            writer = RowsWriter(self, self._file, layout, row_count)
        self._writers.append(writer)
        return writer

    def frames(self, layout: Layout, nbytes: int | None) -> FramesWriter:
        """Begin a group of frames; the dataset before must be closed.

        Parameters
        ----------
        layout : Layout
        nbytes : int or None
            The bytes of all frames that will come.
        """
        with self._translated():
            writer = FramesWriter(self, self._file, layout, nbytes)
        self._writers.append(writer)
        return writer

    def run(self, task: Callable[[], None]) -> Future[None]:
        """Run a task beside this thread, after those given before."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "tensorvcs-pack")
        return self._worker.submit(task)

    def write_at(self, offset: int, data: memoryview) -> None:
        """Write bytes to a place in the file that HDF5 has set aside for them."""
        with self._translated():
            while len(data):
                count = os.pwrite(self._descriptor, data[:_WRITE_NBYTES], offset)
                self.sync_behind(count)
                data, offset = data[count:], offset + count

    def write_chunk(self, dataset: h5py.Dataset, row: int, frame: bytes) -> None:
        """Write the compressed chunk that starts at `row`."""
        with self._translated():
            dataset.id.write_direct_chunk((row,) + (0,) * (dataset.ndim - 1), frame)
        self.sync_behind(len(frame))

    def sync_behind(self, nbytes: int) -> None:
        """Have the system write back what is there already, beside the slabs to come."""
        self._unsynced_nbytes += nbytes
        if self._unsynced_nbytes < _SYNC_NBYTES:
            return
        if self._syncing is None or not self._syncing.is_alive():
            self._unsynced_nbytes = 0
            self._syncing = threading.Thread(target=self._sync, daemon=True)
            self._syncing.start()

    def _sync(self) -> None:
        # An error shows again at the sync that counts, when the file is published.
        with suppress(OSError):
            os.fdatasync(self._descriptor)

    def _end_threads(self) -> None:
        if self._worker is not None:
            self._worker.shutdown()
            self._worker = None
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None

    def close_dataset(self) -> None:
        """Finish the dataset begun last."""
        with self._translated():
            self._records.append(self._writers[len(self._records)].close())

    def finish(self) -> SealedPack:
        """Write the directory, close the file, and publish it under its final name.

        Raises
        ------
        StorageError
            The disk refused; the file is removed.
        """
        try:
            if len(self._records) < len(self._writers):
                self.close_dataset()
            digests, rows, fences = _directory([writer.digests for writer in self._writers])
            with self._translated():
                group = self._file.create_group("index")
                group.attrs["tensorvcs"] = 1
                digest_blocks = _write_numbers(group, "digests", digests, 32 * DIRECTORY_BLOCK_ROWS)
                row_blocks = _write_numbers(group, "rows", rows, 8 * DIRECTORY_BLOCK_ROWS)
                self._file.close()
                file_nbytes = os.fstat(self._descriptor).st_size
                rest_check = rest_checksum(
                    self._descriptor,
                    file_nbytes,
                    [digest_blocks, row_blocks]
                    + [b for r in self._records for b in (r.slabs, r.offsets, r.shapes)],
                )
            self._end_threads()
            record = PackRecord(
                pack_id=self._pack_id,
                file_nbytes=file_nbytes,
                payload_nbytes=self.payload_nbytes,
                datasets=tuple(self._records),
                fences=fences,
                digests=digest_blocks,
                rows=row_blocks,
                digest_count=len(digests),
                rest_check=rest_check,
            )
            final = self._folder / record.file_name
            publish(self._path, final)
            step("pack sealed")
        except BaseException:
            self.abort()
            raise
        return SealedPack(record, final, self._descriptor)

    def abandon(self) -> None:
        """Leave the file to the parent, in a forked child: nothing that HDF5 holds may reach it."""
        with suppress(*_HDF5_ERRORS):
            descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(descriptor, self._file.id.get_vfd_handle())
            os.close(descriptor)
        _ABANDONED.append(self)

    def abort(self) -> None:
        """Give up: close and remove the temporary file."""
        self._end_threads()
        with suppress(OSError):
            # HDF5 keeps a file open that it could not flush; its space is freed all the same.
            os.ftruncate(self._descriptor, 0)
        with suppress(OSError):
            self._path.unlink()
        with suppress(*_HDF5_ERRORS):
            self._file.close()
        with suppress(OSError):
            os.close(self._descriptor)


class _SlabStream:
    """Bytes cut into slabs of one size, written many at a time.

    HDF5 sets the chunks aside, without writing them, and their bytes go to the file past it: a
    write of many slabs lets the system cache the file in large pages, from which rows are read
    at random a fifth faster, and runs beside the caller.
    """

    def __init__(
        self,
        pack: PackWriter,
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
        slabs_a_write = max(1, _WRITE_NBYTES // slab_nbytes)
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
        return _slabs(self._dataset, [self._checks[i] for i in range(len(self._checks))])


class RowsWriter:
    """A dataset of rows of one shape, filled slab by slab."""

    def __init__(
        self, pack: PackWriter, file: h5py.File, layout: Layout, row_count: int | None
    ) -> None:
        assert layout.shape is not None
        dtype = dtype_from_name(layout.dtype)
        self._pack = pack
        self._layout = layout
        self._itemsize = dtype.itemsize
        self._row_nbytes = prod(layout.shape) * dtype.itemsize
        self.digests: list[NDArray[np.uint8]] = []
        self.row_count = 0
        self._slab_rows = _slab_rows(self._row_nbytes, row_count, layout)
        self._path = f"{layout.dtype}/{'x'.join(map(str, layout.shape)) or 'scalar'}"
        shape = layout.shape
        if len(shape) >= _MAX_HDF5_NDIM:
            shape = (prod(shape),)
        options = None
        if layout.compressor is not None:
            self._path += ".blosc"
            slab_nbytes = self._slab_rows * self._row_nbytes
            options = codecs.filter_options(dtype.itemsize, slab_nbytes, layout.compressor)
        dataset = _create_chunked(
            file,
            self._path,
            _hdf5_dtype(layout.dtype),
            (row_count, *shape),
            chunk=(self._slab_rows, *shape),
            blosc_options=options,
        )
        dataset.attrs["dtype"] = layout.dtype
        dataset.attrs["shape"] = np.array(layout.shape, np.uint64)
        self._stream: _SlabStream | _FrameStream
        if layout.compressor is None:
            self._stream = _SlabStream(
                pack,
                dataset,
                slab_nbytes=self._slab_rows * self._row_nbytes,
                unit_nbytes=self._row_nbytes,
                known_nbytes=None if row_count is None else row_count * self._row_nbytes,
            )
        else:
            self._stream = _FrameStream(
                pack, dataset, (self._slab_rows, self._row_nbytes), dtype.itemsize, layout
            )

    def append(self, digests: NDArray[np.uint8], rows: NDArray[np.uint8]) -> None:
        """Add rows: digests of shape (n, 32), rows of shape (n, row_nbytes), uint8, contiguous."""
        self.digests.append(np.array(digests))
        self.row_count += len(rows)
        self._pack.row_count += len(rows)
        self._pack.payload_nbytes += rows.nbytes
        self._stream.put(rows.reshape(-1).data)

    def close(self) -> DatasetRecord:
        """Write the last slab and return the record."""
        return DatasetRecord(
            path="/" + self._path,
            layout=self._layout,
            row_count=self.row_count,
            slab_rows=self._slab_rows,
            slab_nbytes=self._slab_rows * self._row_nbytes,
            slabs=self._stream.close(),
            offsets=NO_BLOCKS,
            shapes=NO_BLOCKS,
        )


class _FrameStream:
    """Rows that are compressed slab by slab."""

    def __init__(
        self,
        pack: PackWriter,
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
        return _slabs(self._dataset, self._checks)


class FramesWriter:
    """A group of values of their own sizes: their bytes joined, and where each begins."""

    def __init__(
        self, pack: PackWriter, file: h5py.File, layout: Layout, nbytes: int | None
    ) -> None:
        self._pack = pack
        self._layout = layout
        self.compressor = layout.compressor
        self.digests: list[NDArray[np.uint8]] = []
        self.row_count = 0
        slab_count = 1 if nbytes is None else max(1, -(-nbytes // SLAB_NBYTES))
        self._slab_nbytes = SLAB_NBYTES if nbytes is None else max(1, -(-nbytes // slab_count))
        self._offsets = array("Q", [0])
        self._shapes = array("Q")
        self._path = {"str": "str/utf8", "bytes": "bytes/any"}.get(
            layout.kind, f"{layout.dtype}/{layout.ndim}d"
        )
        if layout.compressor is not None:
            self._path += ".blosc"
        self._group = file.create_group(self._path)
        self._group.attrs["kind"] = layout.kind
        self._group.attrs["dtype"] = layout.dtype
        self._group.attrs["compression"] = "none" if layout.compressor is None else "blosc"
        dataset = _create_chunked(
            self._group, "data", np.dtype(np.uint8), (nbytes,), chunk=(self._slab_nbytes,)
        )
        self._stream = _SlabStream(
            pack, dataset, slab_nbytes=self._slab_nbytes, unit_nbytes=1, known_nbytes=nbytes
        )

    def append(
        self,
        digests: NDArray[np.uint8],
        frames: Sequence[bytes | memoryview],
        shapes: Sequence[Sequence[int]],
        payload_nbytes: int,
    ) -> None:
        """Add values, each by its bytes as stored and its shape.

        Parameters
        ----------
        digests : ndarray, shape (n, 32), uint8
        frames : sequence of bytes, length n
            Compressed when the layout says so.
        shapes : sequence of tuple of int, length n
        payload_nbytes : int
            The bytes of the values before compression.
        """
        self.digests.append(np.array(digests))
        self.row_count += len(frames)
        self._pack.row_count += len(frames)
        self._pack.payload_nbytes += payload_nbytes
        end = self._offsets[-1]
        for frame, shape in zip(frames, shapes, strict=True):
            end += len(frame)
            self._offsets.append(end)
            self._shapes.extend(shape)
        if max(map(len, frames)) < SLAB_NBYTES:
            self._stream.put(memoryview(b"".join(frames)))
        else:
            for frame in frames:
                self._stream.put(memoryview(frame))

    def close(self) -> DatasetRecord:
        """Write the last slab, offsets and shapes, and return the record."""
        slabs = self._stream.close()
        offsets = np.frombuffer(self._offsets, np.uint64)
        shapes = NO_BLOCKS
        if self._layout.ndim:
            numbers = np.frombuffer(self._shapes, np.uint64).reshape(-1, self._layout.ndim)
            shapes = _write_numbers(self._group, "shapes", numbers, NUMBERS_BLOCK_NBYTES)
        return DatasetRecord(
            path="/" + self._path,
            layout=self._layout,
            row_count=self.row_count,
            slab_rows=0,
            slab_nbytes=self._slab_nbytes,
            slabs=slabs,
            offsets=_write_numbers(self._group, "offsets", offsets, NUMBERS_BLOCK_NBYTES),
            shapes=shapes,
        )


def small_metadata_nbytes(dataset_count: int, nbytes: int) -> int:
    """Return the room for metadata in a pack of known size."""
    slab_nbytes = 128  # of the B-tree of chunks, a slab
    wanted = dataset_count * 4096 + nbytes // SLAB_NBYTES * slab_nbytes
    return -(-wanted // _SMALL_METADATA_NBYTES) * _SMALL_METADATA_NBYTES


def rest_checksum(descriptor: int, file_nbytes: int, blocks: Sequence[Blocks]) -> int:
    """Return the xxh3-64 of the bytes of a file that are in none of `blocks`, in order."""
    starts = np.concatenate([b.starts for b in blocks]).astype(np.int64)
    ends = starts + np.concatenate([b.sizes for b in blocks]).astype(np.int64)
    order = np.argsort(starts)
    hasher = xxhash.xxh3_64()
    lows = np.concatenate(([0], ends[order]))
    highs = np.concatenate((starts[order], [file_nbytes]))
    for i in np.nonzero(lows < highs)[0]:
        at, high = int(lows[i]), int(highs[i])
        while at < high:
            part = os.pread(descriptor, min(SLAB_NBYTES, high - at), at)
            if not part:
                break
            hasher.update(part)
            at += len(part)
    return hasher.intdigest()


def _slab_rows(row_nbytes: int, row_count: int | None, layout: Layout) -> int:
    """Return how many rows a slab has: about 1 MiB of them, the last slab nearly full."""
    if layout.compressor is not None and row_nbytes > codecs.SINGLE_ROW_NBYTES:
        return 1
    rows = max(1, SLAB_NBYTES // row_nbytes)
    if row_count is None:
        return rows
    if row_count <= rows:
        return max(1, row_count)
    # A third to twice the rows wanted, if that leaves less of the last slab empty.
    choices = np.arange(max(1, rows // 3), 2 * rows + 1)
    empty_pages = -row_count % choices * row_nbytes // 4096
    return int(choices[np.lexsort((abs(choices - rows), empty_pages))[0]])


def _hdf5_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype that plain h5py shows: the integer bits of those HDF5 does not know."""
    dtype = dtype_from_name(name)
    if dtype.type.__module__ == "ml_dtypes":
        return np.dtype(f"<u{dtype.itemsize}")
    return dtype


def _create_hdf5(path: Path, metadata_nbytes: int) -> h5py.File:
    return h5py.File(
        path,
        "w",
        libver=("earliest", "v110"),
        locking=False,
        meta_block_size=metadata_nbytes + _SHIFT_NBYTES,
        rdcc_nbytes=0,
    )


def _create_chunked(
    parent: h5py.Group,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int | None, ...],
    *,
    chunk: tuple[int, ...],
    blosc_options: tuple[int, ...] | None = None,
) -> h5py.Dataset:
    """Create a chunked dataset; a first extent of None grows from 0."""
    first, *rest = shape
    space = h5py.h5s.create_simple(
        (first or 0, *rest), (h5py.h5s.UNLIMITED if first is None else first, *rest)
    )
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(chunk)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if blosc_options is None:
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_obj_track_times(False)
    if blosc_options is not None:
        # Optional, so that HDF5 creates the dataset where the filter is not installed.
        plist.set_filter(codecs.BLOSC_FILTER, h5py.h5z.FLAG_OPTIONAL, blosc_options)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    kind = h5py.h5t.py_create(dtype, logical=True)
    return h5py.Dataset(
        h5py.h5d.create(parent.id, name.encode(), kind, space, dcpl=plist, lcpl=links)
    )


def _slabs(dataset: h5py.Dataset, checks: Sequence[int]) -> Blocks:
    """Return where HDF5 put the chunks, in order of their rows."""
    found: list[tuple[int, int, int]] = []
    dataset.id.chunk_iter(lambda c: found.append((c.chunk_offset[0], c.byte_offset, c.size)))
    assert len(found) == len(checks), (len(found), len(checks))
    numbers = np.array(sorted(found), np.uint64).reshape(-1, 3)
    return Blocks(numbers[:, 1].copy(), numbers[:, 2].copy(), np.array(checks, np.uint64))


def _write_numbers(
    parent: h5py.Group, name: str, numbers: NDArray[Any], block_nbytes: int
) -> Blocks:
    """Write an array as one contiguous dataset; checksum it in blocks."""
    dataset = parent.create_dataset(name, data=numbers)
    if not numbers.nbytes:
        return NO_BLOCKS
    offset = dataset.id.get_offset()
    content = numbers.data.cast("B")
    starts = np.arange(0, len(content), block_nbytes, dtype=np.uint64)
    sizes = np.minimum(block_nbytes, len(content) - starts)
    checks = [
        xxhash.xxh3_64_intdigest(content[at : at + block_nbytes])
        for at in range(0, len(content), block_nbytes)
    ]
    return Blocks(starts + np.uint64(offset), sizes, np.array(checks, np.uint64))


def _directory(
    digests_of_datasets: Sequence[Sequence[NDArray[np.uint8]]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint64]]:
    """Return digests in ascending order, (dataset, row) beside them, and the block fences."""
    digests = np.concatenate([part for parts in digests_of_datasets for part in parts])
    counts = [sum(len(part) for part in parts) for parts in digests_of_datasets]
    rows = np.empty((len(digests), 2), np.uint32)
    rows[:, 0] = np.repeat(np.arange(len(counts)), counts)
    rows[:, 1] = np.concatenate([np.arange(count) for count in counts])
    ranked = sort_digests(digests)
    return ranked.digests, rows[ranked.order], ranked.prefixes[::DIRECTORY_BLOCK_ROWS]
