"""The messages between this process and the one that reads Hangar: JSON headers and bytes.

Both ends use this module; the far one may be an old Python without this package, so the module
imports nothing of it and keeps to what Python 3.8 knows.

A frame is the magic ``TVHG``, the size of the header (uint32) and of the payload (uint64), both
little-endian, then the header, a JSON object in ASCII, and the payload.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any

MAGIC = b"TVHG"
PREFIX = struct.Struct("<4sIQ")
MAX_HEADER_NBYTES = 64 << 20
MAX_PAYLOAD_NBYTES = 1 << 33
PIECE_NBYTES = 16 << 20
"""Read at a time, so that a size that is not true costs no memory before the end is found."""


class FrameError(Exception):
    """What came through a pipe is no frame, or ends inside of one."""


def write_frame(
    stream: IO[bytes], header: dict[str, Any], payload: bytes | memoryview = b""
) -> None:
    """Write one frame and flush."""
    encoded = json.dumps(header).encode("ascii")
    size = payload.nbytes if isinstance(payload, memoryview) else len(payload)
    stream.write(PREFIX.pack(MAGIC, len(encoded), size))
    stream.write(encoded)
    stream.write(payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytearray] | None:
    """Return the header and the payload of the next frame, or None at the end of the stream.

    Raises
    ------
    FrameError
        The stream ends inside of a frame, or holds something else.
    """
    prefix = stream.read(PREFIX.size)
    if not prefix:
        return None
    if len(prefix) < PREFIX.size:
        raise FrameError(f"the stream ends after {len(prefix)} bytes of a frame")
    magic, header_nbytes, payload_nbytes = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise FrameError(f"a frame starts with {magic!r}, expected {MAGIC!r}")
    if header_nbytes > MAX_HEADER_NBYTES or payload_nbytes > MAX_PAYLOAD_NBYTES:
        raise FrameError(
            f"a frame of {header_nbytes} and {payload_nbytes} bytes is larger than "
            f"{MAX_HEADER_NBYTES} and {MAX_PAYLOAD_NBYTES}"
        )
    try:
        header = json.loads(_read_exactly(stream, header_nbytes))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"the header of a frame is no JSON: {error}") from error
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise FrameError("the header of a frame is no object with a type")
    return header, _read_exactly(stream, payload_nbytes)


def _read_exactly(stream: IO[bytes], nbytes: int) -> bytearray:
    found = bytearray()
    while len(found) < nbytes:
        piece = stream.read(min(PIECE_NBYTES, nbytes - len(found)))
        if not piece:
            raise FrameError(f"the stream ends after {len(found)} of {nbytes} bytes")
        found += piece
    return found
