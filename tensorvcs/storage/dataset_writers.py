"""The datasets of a pack while it is written: rows of one shape, and frames of their own sizes."""

from __future__ import annotations

from array import array
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tensorvcs.objects.dtype import dtype_from_name
from tensorvcs.storage import codecs
from tensorvcs.storage.hdf5_file import create_chunked, hdf5_dtype
from tensorvcs.storage.pack_index import NO_BLOCKS, DatasetRecord
from tensorvcs.storage.slab_streams import FrameStream, SlabFile, SlabStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    import h5py
    from numpy.typing import NDArray

    from tensorvcs.storage.pack_index import Blocks, Layout

SLAB_NBYTES = 1 << 20
MAX_ROW_NBYTES = 1 << 30
"""Values above this are stored as frames: a chunk of HDF5 ends below 4 GiB."""

NUMBERS_BLOCK_NBYTES = 32 << 10
_MAX_HDF5_NDIM = 32
_SMALL_METADATA_NBYTES = 8 << 10


class DatasetWriter(Protocol):
    """One dataset of a pack while it is written."""

    digests: list[NDArray[np.uint8]]
    row_count: int

    def close(self) -> DatasetRecord:
        """Write what is left and return the record."""
        ...


class PackFile(SlabFile, Protocol):
    """The pack that datasets are written to."""

    payload_nbytes: int
    row_count: int

    def write_numbers(
        self, parent: h5py.Group, name: str, numbers: NDArray[Any], block_nbytes: int
    ) -> Blocks:
        """Write an array as one contiguous dataset; checksum it in blocks."""
        ...


class RowsWriter:
    """A dataset of rows of one shape, filled slab by slab."""

    def __init__(
        self, pack: PackFile, file: h5py.File, layout: Layout, row_count: int | None
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
        dataset = create_chunked(
            file,
            self._path,
            hdf5_dtype(layout.dtype),
            (row_count, *shape),
            chunk=(self._slab_rows, *shape),
            blosc_options=options,
        )
        dataset.attrs["dtype"] = layout.dtype
        dataset.attrs["shape"] = np.array(layout.shape, np.uint64)
        self._stream: SlabStream | FrameStream
        if layout.compressor is None:
            self._stream = SlabStream(
                pack,
                dataset,
                slab_nbytes=self._slab_rows * self._row_nbytes,
                unit_nbytes=self._row_nbytes,
                known_nbytes=None if row_count is None else row_count * self._row_nbytes,
            )
        else:
            self._stream = FrameStream(
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


class FramesWriter:
    """A group of values of their own sizes: their bytes joined, and where each begins."""

    def __init__(self, pack: PackFile, file: h5py.File, layout: Layout, nbytes: int | None) -> None:
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
        dataset = create_chunked(
            self._group, "data", np.dtype(np.uint8), (nbytes,), chunk=(self._slab_nbytes,)
        )
        self._stream = SlabStream(
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
            shapes = self._pack.write_numbers(self._group, "shapes", numbers, NUMBERS_BLOCK_NBYTES)
        return DatasetRecord(
            path="/" + self._path,
            layout=self._layout,
            row_count=self.row_count,
            slab_rows=0,
            slab_nbytes=self._slab_nbytes,
            slabs=slabs,
            offsets=self._pack.write_numbers(self._group, "offsets", offsets, NUMBERS_BLOCK_NBYTES),
            shapes=shapes,
        )


def small_metadata_nbytes(dataset_count: int, nbytes: int) -> int:
    """Return the room for metadata in a pack of known size."""
    slab_nbytes = 128  # of the B-tree of chunks, a slab
    wanted = dataset_count * 4096 + nbytes // SLAB_NBYTES * slab_nbytes
    return -(-wanted // _SMALL_METADATA_NBYTES) * _SMALL_METADATA_NBYTES


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
