"""The messages of the reader's pipes, and streams that hold something else."""

from __future__ import annotations

import io
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.formats.hangar.frames import (
    MAGIC,
    MAX_HEADER_NBYTES,
    MAX_PAYLOAD_NBYTES,
    PIECE_NBYTES,
    FrameError,
    read_frame,
    write_frame,
)

HEADERS = st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text()))


def frame(header: bytes, payload: bytes = b"", magic: bytes = MAGIC) -> bytes:
    return struct.pack("<4sIQ", magic, len(header), len(payload)) + header + payload


@given(st.lists(st.tuples(HEADERS, st.binary())))
def test_what_is_written_is_read(messages: list[tuple[dict[str, object], bytes]]) -> None:
    stream = io.BytesIO()
    for header, payload in messages:
        write_frame(stream, {**header, "type": "x"}, payload)
    stream.seek(0)
    for header, payload in messages:
        found = read_frame(stream)
        assert found is not None
        assert (found[0], bytes(found[1])) == ({**header, "type": "x"}, payload)
    assert read_frame(stream) is None


def test_a_payload_of_several_pieces() -> None:
    stream = io.BytesIO()
    payload = bytes(range(256)) * (PIECE_NBYTES // 256) + b"end"
    write_frame(stream, {"type": "x"}, memoryview(payload))
    stream.seek(0)
    found = read_frame(stream)
    assert found is not None
    assert found[1] == payload


def test_a_stream_cut_anywhere() -> None:
    whole = frame(b'{"type": "x"}', b"payload")
    for size in range(1, len(whole)):
        with pytest.raises(FrameError, match="the stream ends after"):
            read_frame(io.BytesIO(whole[:size]))


@given(st.binary(min_size=16).filter(lambda content: content[:4] != MAGIC))
def test_something_else(content: bytes) -> None:
    """Such as what a library prints."""
    with pytest.raises(FrameError, match="a frame starts with"):
        read_frame(io.BytesIO(content))


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "is no object with a type"),
        (b"{}", "is no object with a type"),
        (b'{"type": 3}', "is no object with a type"),
    ],
)
def test_a_header_that_is_none(header: bytes, problem: str) -> None:
    with pytest.raises(FrameError, match=problem):
        read_frame(io.BytesIO(frame(header)))


@pytest.mark.parametrize(
    ("header_nbytes", "payload_nbytes"),
    [(MAX_HEADER_NBYTES + 1, 0), (0, MAX_PAYLOAD_NBYTES + 1), (2**32 - 1, 2**64 - 1)],
)
def test_sizes_that_are_too_large(header_nbytes: int, payload_nbytes: int) -> None:
    stream = io.BytesIO(struct.pack("<4sIQ", MAGIC, header_nbytes, payload_nbytes) + b"x" * 99)
    with pytest.raises(FrameError, match=f"of {header_nbytes} and {payload_nbytes} bytes"):
        read_frame(stream)


def test_a_size_that_is_not_true_reserves_nothing() -> None:
    """Eight gigabytes are announced, and seven bytes come."""
    header = json.dumps({"type": "x"}).encode()
    stream = io.BytesIO(
        struct.pack("<4sIQ", MAGIC, len(header), MAX_PAYLOAD_NBYTES) + header + b"payload"
    )
    with pytest.raises(FrameError, match=f"after 7 of {MAX_PAYLOAD_NBYTES} bytes"):
        read_frame(stream)
