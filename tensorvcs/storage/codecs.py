"""The codecs of packs: rows as they are, or blosc frames whose block is one row.

A slab of compressed rows is one frame of C-Blosc 1, the frame that HDF5 filter 32001 reads. Its
block size is the size of a row, so that block i is row i and can be decoded alone, behind a
header of its own. Text, bytes and values of variable shape are a frame each.

References
----------
The frame: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
"""

from __future__ import annotations

import ctypes
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import blosc
import numpy as np

from tensorvcs.errors import PackDamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import CodecChoice

Compressor = Literal["lz4", "zstd"]
Choice = Compressor | None
"""How values are compressed; None keeps them as they are."""

BLOSC_FILTER = 32001
BLOSC_FILTER_REVISION = 2
BLOSC_FORMAT = 2
MAX_FRAME_NBYTES = blosc.MAX_BUFFERSIZE
SINGLE_ROW_NBYTES = 256 << 10
"""Rows above this are a slab each, and blosc chooses the size of the blocks."""

_HEADER = struct.Struct("<BBBBIII")
_MINI_HEADER = struct.Struct("<BBBBIIIi")
_START = struct.Struct("<i")
_START_PAIR = struct.Struct("<ii")
_HEADER_NBYTES = 16
_MEMCPYED = 0x2
_LEVELS: dict[Compressor, int] = {"lz4": 9, "zstd": 3}
_COMPRESSOR_CODES: dict[Compressor, int] = {"lz4": 1, "zstd": 5}
_SAMPLE_NBYTES = 1 << 20
_SAMPLE_COUNT = 16
_MIN_SAVING = 0.2
# Zstd decodes four times as slowly as LZ4, so it must save this much more to be chosen.
_MIN_ZSTD_GAIN = 0.1

_LOCK = threading.Lock()


@contextmanager
def _settings(block_nbytes: int) -> Iterator[None]:
    """Set the block size, and one thread, for the process; put back what was there."""
    with _LOCK:
        before_block_nbytes = blosc.get_blocksize()
        before_threads = blosc.set_nthreads(1)
        blosc.set_blocksize(block_nbytes)
        try:
            yield
        finally:
            blosc.set_blocksize(before_block_nbytes)
            blosc.set_nthreads(before_threads)


def _compress(data: NDArray[np.uint8], itemsize: int, compressor: Compressor) -> bytes:
    shuffle = blosc.BITSHUFFLE if itemsize else blosc.NOSHUFFLE
    typesize = max(1, itemsize)
    frame: bytes = blosc.compress_ptr(
        data.ctypes.data,
        data.size // typesize,
        typesize,
        _LEVELS[compressor],
        shuffle,
        compressor,
    )
    return frame


def compress_value(data: NDArray[np.uint8], itemsize: int, compressor: Compressor) -> bytes:
    """Return the frame of one value.

    Parameters
    ----------
    data : ndarray, shape (nbytes,), uint8, C-contiguous
        Up to `MAX_FRAME_NBYTES` bytes.
    itemsize : int
        The bytes of one element, whose bits are shuffled; 0 for text and bytes.
    compressor : {"lz4", "zstd"}
    """
    with _settings(0):
        return _compress(data, itemsize, compressor)


def compress_rows(rows: NDArray[np.uint8], itemsize: int, compressor: Compressor) -> bytes:
    """Return one frame of many rows, each a block of its own.

    Parameters
    ----------
    rows : ndarray, shape (n, row_nbytes), uint8, C-contiguous
    itemsize : int
        The bytes of one element of a row.
    compressor : {"lz4", "zstd"}

    Notes
    -----
    C-Blosc enlarges the blocks of LZ4 to 64 KiB, so the frame is joined from one frame a row.
    Where that cannot be (a row that LZ4 does not shrink), Zstd is taken, then blocks of the
    size that blosc wants; `RowFrame` reads them all.
    """
    count, row_nbytes = rows.shape
    if count == 1:
        return compress_value(rows[0], itemsize, compressor)
    if compressor == "lz4":
        with _settings(row_nbytes):
            joined = _join([_compress(row, itemsize, "lz4") for row in rows], row_nbytes)
        if joined is not None:
            return joined
    with _settings(row_nbytes):
        frame = _compress(rows.reshape(-1), itemsize, "zstd")
        if not frame[2] & _MEMCPYED and _HEADER.unpack_from(frame)[5] == row_nbytes:
            return frame
    with _settings(0):
        return _compress(rows.reshape(-1), itemsize, "zstd")


def _join(frames: Sequence[bytes], row_nbytes: int) -> bytes | None:
    """Join frames of one block each to one frame; None when they cannot be joined."""
    first = frames[0][:4]
    if first[2] & _MEMCPYED:
        return None
    starts, blocks = [], []
    at = _HEADER_NBYTES + 4 * len(frames)
    for frame in frames:
        *head, nbytes, block_nbytes, _ = _HEADER.unpack_from(frame)
        if bytes(head) != first or nbytes != row_nbytes or block_nbytes != row_nbytes:
            return None
        starts.append(at)
        blocks.append(frame[_HEADER_NBYTES + 4 :])
        at += len(blocks[-1])
    header = _HEADER.pack(*first, row_nbytes * len(frames), row_nbytes, at)
    return b"".join([header, struct.pack(f"<{len(starts)}i", *starts), *blocks])


def check_frame(frame: bytes | memoryview, nbytes: int) -> None:
    """Check that a frame holds `nbytes` bytes and keeps to its own bounds.

    Raises
    ------
    PackDamagedError
        The header is not that of such a frame.
    """
    if len(frame) < _HEADER_NBYTES:
        raise PackDamagedError(f"a compressed frame has {len(frame)} bytes, fewer than a header")
    form, _, flags, typesize, found, block_nbytes, frame_nbytes = _HEADER.unpack_from(frame)
    if form != BLOSC_FORMAT or typesize == 0 or frame_nbytes != len(frame) or found != nbytes:
        raise PackDamagedError(
            f"a compressed frame of format {form} says it has {frame_nbytes} bytes for {found}; "
            f"it has {len(frame)} for {nbytes}"
        )
    if nbytes == 0:
        return
    if flags & _MEMCPYED:
        if frame_nbytes != _HEADER_NBYTES + nbytes:
            raise PackDamagedError(
                f"a stored frame has {frame_nbytes} bytes, expected {_HEADER_NBYTES + nbytes}"
            )
        return
    block_count = -(-nbytes // block_nbytes) if block_nbytes else 0
    low = _HEADER_NBYTES + 4 * block_count
    if not 0 < block_nbytes <= nbytes or low > frame_nbytes:
        raise PackDamagedError(f"a compressed frame has blocks of {block_nbytes} bytes")
    starts = np.frombuffer(frame, "<i4", block_count, _HEADER_NBYTES)
    if starts[0] < low or starts[-1] >= frame_nbytes or bool((np.diff(starts) <= 0).any()):
        raise PackDamagedError("the blocks of a compressed frame lie outside of it")


def frame_nbytes(frame: bytes | memoryview) -> int:
    """Return the bytes that a frame says it decodes to.

    Raises
    ------
    PackDamagedError
        It is too short for a header.
    """
    if len(frame) < _HEADER_NBYTES:
        raise PackDamagedError(f"a compressed frame has {len(frame)} bytes, fewer than a header")
    nbytes: int = _HEADER.unpack_from(frame)[4]
    return nbytes


def decompress_into(frame: bytes, address: int, nbytes: int) -> None:
    """Decode a frame of `nbytes` bytes to a place in memory.

    Raises
    ------
    PackDamagedError
        The frame is not one of `nbytes` bytes, or does not decode.
    """
    check_frame(frame, nbytes)
    if nbytes:
        _decode(frame, address, nbytes)


def decompress(frame: bytes) -> bytes:
    """Return what a frame decodes to; raise PackDamagedError when it does not."""
    data = np.empty(frame_nbytes(frame), np.uint8)
    decompress_into(frame, data.ctypes.data, data.size)
    return data.tobytes()


def _decode(frame: bytes, address: int, nbytes: int) -> None:
    try:
        found = blosc.decompress_ptr(frame, address)
    except (blosc.blosc_extension.error, ValueError) as error:
        raise PackDamagedError(f"a compressed frame does not decode: {error}") from error
    if found != nbytes:
        raise PackDamagedError(f"a compressed frame decodes to {found} bytes, expected {nbytes}")


class RowFrame:
    """A checked frame of rows, for reading single ones.

    Parameters
    ----------
    frame : memoryview
        The whole frame.
    row_count, row_nbytes : int
        Of the slab, rows of padding included.
    """

    __slots__ = ("_block_nbytes", "_flags", "_frame", "_nbytes", "_row_count", "_row_nbytes")

    def __init__(self, frame: memoryview, row_count: int, row_nbytes: int) -> None:
        check_frame(frame, row_count * row_nbytes)
        self._frame = frame
        self._row_count = row_count
        self._row_nbytes = row_nbytes
        self._nbytes = row_count * row_nbytes
        self._flags = tuple(frame[:4])
        self._block_nbytes: int = _HEADER.unpack_from(frame)[5]

    def read_into(self, row: int, address: int) -> None:
        """Decode one row to a place in memory.

        Raises
        ------
        PackDamagedError
            The row does not decode.
        """
        assert 0 <= row < self._row_count
        row_nbytes = self._row_nbytes
        low, high = row * row_nbytes, (row + 1) * row_nbytes
        block_nbytes = self._block_nbytes
        if self._flags[2] & _MEMCPYED:
            stored = np.frombuffer(self._frame, np.uint8, row_nbytes, _HEADER_NBYTES + low)
            ctypes.memmove(address, stored.ctypes.data, row_nbytes)
        elif block_nbytes == row_nbytes:
            self._decode_block(row, address, row_nbytes)
        elif self._row_count == 1:
            _decode(bytes(self._frame), address, row_nbytes)
        else:
            for block in range(low // block_nbytes, -(-high // block_nbytes)):
                start = block * block_nbytes
                decoded = np.empty(min(block_nbytes, self._nbytes - start), np.uint8)
                self._decode_block(block, decoded.ctypes.data, decoded.size)
                part = decoded[max(0, low - start) : high - start]
                ctypes.memmove(address + max(0, start - low), part.ctypes.data, part.size)

    def _decode_block(self, block: int, address: int, nbytes: int) -> None:
        frame = self._frame
        at = _HEADER_NBYTES + 4 * block
        if (block + 1) * self._block_nbytes < self._nbytes:
            start, stop = _START_PAIR.unpack_from(frame, at)
        else:
            start, stop = _START.unpack_from(frame, at)[0], len(frame)
        header = _MINI_HEADER.pack(*self._flags, nbytes, nbytes, 20 + stop - start, 20)
        _decode(header + frame[start:stop], address, nbytes)


def choose(
    choice: CodecChoice, samples: Sequence[NDArray[np.uint8]], itemsize: int, *, per_row: bool
) -> Choice:
    """Choose how the values of a dataset are compressed, from a few of them.

    Parameters
    ----------
    choice : {"auto", "raw", "blosc"}
        The wish of the schema: `auto` keeps values as they are when compression saves less
        than a fifth, `blosc` compresses in any case.
    samples : sequence of ndarray, shape (nbytes,), uint8, C-contiguous
        See `sample_rows`.
    itemsize : int
        The bytes of one element; 0 for text and bytes.
    per_row : bool
        Whether the values share a frame, which then costs 4 bytes a value.

    Returns
    -------
    {"lz4", "zstd"} or None
    """
    total = sum(sample.size for sample in samples)
    if choice == "raw" or any(sample.size > MAX_FRAME_NBYTES for sample in samples):
        return None
    if total == 0:
        return "zstd" if choice == "blosc" else None
    overhead = -16 if per_row else 0
    with _settings(0):
        lz4, zstd = (
            sum(len(_compress(sample, itemsize, name)) + overhead for sample in samples) / total
            for name in ("lz4", "zstd")
        )
    if lz4 <= 1 - _MIN_SAVING and zstd > lz4 * (1 - _MIN_ZSTD_GAIN):
        return "lz4"
    if choice == "blosc" or zstd <= 1 - _MIN_SAVING:
        return "lz4" if zstd > lz4 * (1 - _MIN_ZSTD_GAIN) else "zstd"
    return None


def sample_positions(count: int, nbytes: int) -> list[int]:
    """Return the positions of the values that `choose` should see, spread over all.

    Parameters
    ----------
    count : int
        How many values there are.
    nbytes : int
        The bytes of all of them.
    """
    if count == 0:
        return []
    wanted = max(1, min(_SAMPLE_COUNT, count, _SAMPLE_NBYTES * count // max(1, nbytes)))
    return [i * count // wanted for i in range(wanted)]


def filter_options(typesize: int, slab_nbytes: int, compressor: Compressor) -> tuple[int, ...]:
    """Return the client data of HDF5 filter 32001 for a dataset."""
    return (
        BLOSC_FILTER_REVISION,
        BLOSC_FORMAT,
        typesize,
        slab_nbytes,
        _LEVELS[compressor],
        blosc.BITSHUFFLE,
        _COMPRESSOR_CODES[compressor],
    )
