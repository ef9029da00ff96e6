"""Frames that any blosc reads, whose rows can be decoded alone."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import blosc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import PackDamagedError
from tensorvcs.storage import codecs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.storage.codecs import Compressor

COMPRESSORS = pytest.mark.parametrize("compressor", ["lz4", "zstd"])


def rows_of(count: int, row_nbytes: int, levels: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, levels, (count, row_nbytes), np.uint8)


def read_row(frame: bytes, shape: tuple[int, int], row: int) -> bytes:
    """Decode one row between guards that must not be written."""
    out = np.full(shape[1] + 64, 0xAA, np.uint8)
    codecs.RowFrame(memoryview(frame), *shape).read_into(row, out.ctypes.data + 32)
    assert (out[:32] == 0xAA).all()
    assert (out[-32:] == 0xAA).all()
    return out[32:-32].tobytes()


@COMPRESSORS
@pytest.mark.parametrize("levels", [1, 3, 256])
@pytest.mark.parametrize(
    ("count", "row_nbytes", "itemsize"),
    [
        (341, 3072, 1),
        (50, 4096, 8),
        (9, 7, 1),
        (100, 66, 2),
        (1, 300_000, 4),
        (3, 100_000, 1),
        (40, 130, 1),
    ],
)
def test_any_blosc_reads_the_frame_and_each_row_is_read_alone(
    compressor: Compressor, levels: int, count: int, row_nbytes: int, itemsize: int
) -> None:
    rows = rows_of(count, row_nbytes, levels)
    frame = codecs.compress_rows(rows, itemsize, compressor)
    assert blosc.decompress(frame) == rows.tobytes()
    for row in {0, count // 2, count - 1}:
        assert read_row(frame, rows.shape, row) == rows[row].tobytes()
    if levels == 3 and row_nbytes >= 3000:
        assert len(frame) < rows.size // 2


@COMPRESSORS
def test_a_row_that_does_not_shrink_among_those_that_do(compressor: Compressor) -> None:
    rows = rows_of(30, 2000, 2)
    rows[7] = rows_of(1, 2000, 256)
    frame = codecs.compress_rows(rows, 1, compressor)
    assert blosc.decompress(frame) == rows.tobytes()
    assert [read_row(frame, rows.shape, i) for i in range(30)] == [r.tobytes() for r in rows]


@given(
    st.sampled_from(["lz4", "zstd"]),
    st.integers(1, 20),
    st.integers(1, 700),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([1, 2, 100, 256]),
)
def test_every_row_comes_back(
    compressor: Compressor, count: int, items: int, itemsize: int, levels: int
) -> None:
    rows = rows_of(count, items * itemsize, levels)
    frame = codecs.compress_rows(rows, itemsize, compressor)
    assert [read_row(frame, rows.shape, i) for i in range(count)] == [r.tobytes() for r in rows]


@COMPRESSORS
@pytest.mark.parametrize("nbytes", [0, 1, 100, 100_000, 3_000_000])
def test_a_value_comes_back(compressor: Compressor, nbytes: int) -> None:
    data = rows_of(1, nbytes, 5)[0]
    frame = codecs.compress_value(data, 0, compressor)
    assert codecs.frame_nbytes(frame) == nbytes
    out = np.empty(nbytes, np.uint8)
    codecs.decompress_into(frame, out.ctypes.data, nbytes)
    assert out.tobytes() == data.tobytes()


@COMPRESSORS
def test_the_settings_of_the_user_are_put_back(compressor: Compressor) -> None:
    before = blosc.set_nthreads(2)
    blosc.set_blocksize(4096)
    try:
        codecs.compress_rows(rows_of(5, 1000, 3), 1, compressor)
        codecs.choose("auto", [rows_of(1, 1000, 3)[0]], 1, per_row=True)
        assert blosc.get_blocksize() == 4096
        assert blosc.set_nthreads(2) == 2
    finally:
        blosc.set_nthreads(before)
        blosc.set_blocksize(0)


def test_a_frame_that_lies_about_itself_is_damage() -> None:
    rows = rows_of(20, 2000, 3)
    good = codecs.compress_rows(rows, 1, "zstd")
    starts = struct.unpack_from("<20i", good, 16)

    def changed(offset: int, value: int) -> bytes:
        return good[:offset] + struct.pack("<I", value & 0xFFFFFFFF) + good[offset + 4 :]

    bad = {
        "empty": b"",
        "short": good[:15],
        "cut": good[:-1],
        "long": good + b"x",
        "more bytes": changed(4, 20 * 2000 + 1),
        "huge": changed(4, 2**32 - 1),
        "no block": changed(8, 0),
        "block larger than all": changed(8, 40_001),
        "many blocks": changed(8, 1),
        "start in the header": changed(16, 4),
        "negative start": changed(16, -5),
        "start behind the end": changed(16 + 4 * 19, len(good) + 9),
        "starts in no order": changed(16 + 4 * 3, starts[9]),
        "stored": good[:2] + bytes([good[2] | 2]) + good[3:],
        "format": b"\x01" + good[1:],
    }
    for name, frame in bad.items():
        with pytest.raises(PackDamagedError):
            codecs.check_frame(frame, rows.size)
            pytest.fail(name)


@given(st.data())
def test_rotten_frames_never_write_past_a_row(data: st.DataObject) -> None:
    rows = rows_of(8, 300, 4)
    frame = bytearray(codecs.compress_rows(rows, 1, data.draw(st.sampled_from(["lz4", "zstd"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    for row in range(8):
        try:
            read_row(bytes(frame), rows.shape, row)
        except PackDamagedError:
            continue


def test_auto_compresses_what_shrinks_by_a_fifth() -> None:
    noise, flat = list(rows_of(4, 3072, 256)), list(rows_of(4, 3072, 2))
    # Seven bits of eight are used: bitshuffle saves an eighth.
    hardly = list(rows_of(4, 3072, 128))
    assert codecs.choose("auto", noise, 1, per_row=True) is None
    assert codecs.choose("auto", hardly, 1, per_row=True) is None
    assert codecs.choose("auto", flat, 1, per_row=True) in ("lz4", "zstd")
    assert codecs.choose("raw", flat, 1, per_row=True) is None
    assert codecs.choose("blosc", noise, 1, per_row=True) is not None
    assert codecs.choose("auto", [], 1, per_row=True) is None
    assert codecs.choose("blosc", [], 1, per_row=True) is not None
    words = np.frombuffer(b"the quick brown fox jumps over the lazy dog " * 40, np.uint8)
    assert codecs.choose("auto", [words], 0, per_row=False) is not None


def test_samples_are_spread_over_all_and_bounded() -> None:
    assert codecs.sample_positions(0, 0) == []
    assert codecs.sample_positions(3, 30) == [0, 1, 2]
    many = codecs.sample_positions(1_000_000, 3_000_000_000)
    assert len(many) == 16
    assert (many[0], many[-1]) == (0, 937_500)
    assert codecs.sample_positions(10, 10 << 30) == [0]
