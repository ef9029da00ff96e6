"""The messages that both ends of a connection share: frames, batches of digests, values.

A request is the name of a method and a stream of frames; its answer is a stream. A frame is one
byte for its kind, eight bytes for its length (little-endian), and its content. A stream ends with a
frame of kind ``z``, so that one that was cut off is never taken for a whole one, or with an error,
kind ``e``. Over HTTP the method is in the path, ``POST /<repository>/-/<method>``, and the streams
are the bodies; over pipes the first frame of a request is the name of the method.

======================  ==============================  ======================================
method                  request                         answer
======================  ==============================  ======================================
``hello``               nothing                         the protocol and the limits, in JSON
``refs``                the start of their names        refs, in JSON, in any number of frames
``swap``                changes of refs, in JSON        nothing
``objects/get``         digests                         the objects, in the same order
``objects/missing``     digests                         those that are not there
``objects/put``         objects                         nothing
``objects/find``        a start in hexadecimal          digests
``values/contains``     digests                         a byte for each, 0 or 1
``values/sizes``        digests                         an int64 for each
``values/stored``       digests                         values, each once, in any order
``values/take``         values                          nothing
======================  ==============================  ======================================

Nothing here trusts the other end: lengths are bounded before memory is taken, and what does not
fit raises RemoteError.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs import errors
from tensorvcs.errors import ConnectionLostError, RemoteError, TensorVCSError, with_hint
from tensorvcs.objects.digest import DIGEST_NBYTES, array_to_digests
from tensorvcs.storage.interfaces import RefChange, StoredValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

PROTOCOL_VERSION = 1

DATA, END, ERROR = b"d", b"z", b"e"
_HEAD = struct.Struct("<cQ")
_COUNT = struct.Struct("<I")
MAX_FRAME_NBYTES = 2 << 30
MAX_DESCRIPTION_NBYTES = 4096
MAX_NDIM = 64
# What a sender puts into one frame of many small things.
FRAME_NBYTES = 1 << 20
MAX_DIGESTS = FRAME_NBYTES // DIGEST_NBYTES
"""How many digests one request asks about at most."""

_LARGE_NBYTES = 64 << 10
_MAX_TEXT_LENGTH = 4000

# Errors that mean the same at both ends; any other is a RemoteError with its text.
_CARRIED = (
    "AccessDeniedError", "BranchInUseError", "BranchNotFoundError", "DigestMismatchError",
    "InvalidInputError", "NonFastForwardError", "ObjectDamagedError", "ObjectNotFoundError",
    "PackDamagedError", "RefChangedError", "RefNameError", "RepositoryNotFoundError",
    "SlabChecksumError",
)  # fmt: skip


Frame = bytes | memoryview
"""The content of a frame that arrived; a large one is a view of memory of its own."""

Content = bytes | tuple[bytes, memoryview]
"""The content of a frame to be sent, perhaps in two parts, so that the large one is not copied."""


def frame(content: bytes, kind: bytes = DATA) -> bytes:
    """Return one frame."""
    return frame_head(len(content), kind) + content


def frame_head(nbytes: int, kind: bytes = DATA) -> bytes:
    """Return what comes before a content of so many bytes."""
    return _HEAD.pack(kind, nbytes)


def stream(contents: Iterable[Content]) -> Iterator[Frame]:
    """Yield contents as frames, and the end; an error of the library ends the stream as one.

    What is yielded is small, or a large part of a content as it is.
    """
    try:
        for content in contents:
            first, rest = content if isinstance(content, tuple) else (content, b"")
            yield _HEAD.pack(DATA, len(first) + len(rest))
            yield first
            if rest:
                yield rest
    except TensorVCSError as error:
        yield frame(encode_error(error), ERROR)
        return
    yield frame(b"", END)


def read_frames(
    read: Callable[[int], bytes],
    max_frame_nbytes: int = MAX_FRAME_NBYTES,
    read_into: Callable[[memoryview], int] | None = None,
) -> Iterator[Frame]:
    """Yield the contents of the frames of a stream.

    Parameters
    ----------
    read : callable
        ``read(n)`` returns up to n bytes, and none at the end.
    read_into : callable, optional
        Fill the start of some memory and return with how many bytes, none at the end; large
        frames are read by it.

    Raises
    ------
    ConnectionLostError
        The stream was cut off.
    RemoteError
        It is none, or a frame is announced that is too long.
    TensorVCSError
        What the other end sent as an error.
    """
    while True:
        kind, nbytes = _HEAD.unpack(_read_exactly(read, _HEAD.size))
        if nbytes > max_frame_nbytes:
            raise RemoteError(
                f"a message of {nbytes} bytes is announced; at most {max_frame_nbytes} are read"
            )
        content: Frame
        if read_into is not None and nbytes > _LARGE_NBYTES:
            content = _fill_exactly(read_into, nbytes)
        else:
            content = _read_exactly(read, nbytes)
        if kind == END:
            return
        if kind == ERROR:
            raise decode_error(bytes(content))
        if kind != DATA:
            raise RemoteError(f"a message of the unknown kind {kind!r} arrived")
        yield content


def read_error(content: bytes) -> TensorVCSError | None:
    """Return the error that a whole answer is, or None when it is something else."""
    if len(content) < _HEAD.size:
        return None
    kind, nbytes = _HEAD.unpack_from(content)
    rest = content[_HEAD.size :]
    return decode_error(rest) if kind == ERROR and nbytes == len(rest) else None


def _read_exactly(read: Callable[[int], bytes], nbytes: int) -> bytes:
    parts: list[bytes] = []
    left = nbytes
    while left:
        # Never more at once than a few MiB, so that a length that lies takes no memory.
        part = read(min(left, 4 << 20))
        if not part:
            raise ConnectionLostError(f"the line was cut: {left} of {nbytes} bytes are missing")
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _fill_exactly(read_into: Callable[[memoryview], int], nbytes: int) -> memoryview:
    # Memory is taken from the system as it is filled, so that a length that lies takes none.
    content = np.empty(nbytes, np.uint8).data
    left = content
    while len(left):
        count = read_into(left[: 4 << 20])
        if not count:
            raise ConnectionLostError(
                f"the line was cut: {len(left)} of {nbytes} bytes are missing"
            )
        left = left[count:]
    return content


# Errors


def encode_error(error: TensorVCSError) -> bytes:
    """Return an error as JSON: what it is, what it says, and what to do next."""
    name = type(error).__name__
    return json.dumps({"error": name, "problem": str(error), "hint": error.hint}).encode()


def decode_error(content: bytes) -> TensorVCSError:
    """Return the error of the other end: of the same kind where both ends mean the same."""
    try:
        fields = json.loads(content)
        name, problem, hint = str(fields["error"]), str(fields["problem"]), fields["hint"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return RemoteError("the remote reported an error that cannot be read")
    kind: Any = getattr(errors, name) if name in _CARRIED else RemoteError
    error: TensorVCSError = kind(_printable(problem))
    if isinstance(error, errors.CorruptionError):
        return with_hint(error, "run 'tvcs verify' in the repository of the remote")
    return with_hint(error, _printable(str(hint))) if hint else error


def _printable(text: str) -> str:
    """Return a text of the other end without what a terminal would obey."""
    shown = "".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT_LENGTH])
    return shown if len(text) <= _MAX_TEXT_LENGTH else f"{shown}…"


# Digests


def encode_digests(digests: Sequence[bytes]) -> Iterator[bytes]:
    """Yield digests in frames of up to a MiB."""
    for low in range(0, len(digests), MAX_DIGESTS):
        yield b"".join(digests[low : low + MAX_DIGESTS])


def decode_digests(content: Frame) -> list[bytes]:
    """Return the digests of one frame; raise RemoteError when it has a part of one."""
    if len(content) % DIGEST_NBYTES:
        raise RemoteError(f"a list of digests has {len(content)} bytes, no multiple of 32")
    return array_to_digests(np.frombuffer(content, np.uint8).reshape(-1, DIGEST_NBYTES))


# Objects


def encode_objects(objects: Iterable[bytes]) -> Iterator[bytes]:
    """Yield objects in frames of about a MiB: the length of each, then its bytes."""
    parts: list[bytes] = []
    nbytes = 0
    for content in objects:
        parts += [_COUNT.pack(len(content)), content]
        nbytes += len(content)
        if nbytes >= FRAME_NBYTES:
            yield b"".join(parts)
            parts, nbytes = [], 0
    if parts:
        yield b"".join(parts)


def decode_objects(content: Frame) -> list[bytes]:
    """Return the objects of one frame; raise RemoteError when it is cut."""
    objects: list[bytes] = []
    at = 0
    while at < len(content):
        start = at + _COUNT.size
        (nbytes,) = _COUNT.unpack(bytes(content[at:start]).ljust(_COUNT.size, b"\0"))
        at = start + nbytes
        if at > len(content):
            raise RemoteError(f"an object of {nbytes} bytes is announced, and fewer came")
        objects.append(bytes(content[start:at]))
    return objects


# Values


def encode_values(values: StoredValues) -> bytes:
    """Return values as one message: a description in JSON, digests, shapes, sizes, data."""
    return b"".join(value_parts(values))


def value_parts(values: StoredValues) -> tuple[bytes, memoryview]:
    """Return the message of values in two parts; the second is their data, not copied."""
    description = json.dumps(
        {
            "kind": values.kind,
            "dtype": values.dtype,
            "shape": values.shape,
            "compressor": values.compressor,
            "count": len(values),
            "ndim": values.shapes.shape[1],
        }
    ).encode()
    head = (
        _COUNT.pack(len(description)),
        description,
        np.ascontiguousarray(values.digests).tobytes(),
        values.shapes.astype("<i8").tobytes(),
        values.sizes.astype("<i8").tobytes(),
    )
    return b"".join(head), np.ascontiguousarray(values.data).data


def decode_values(content: Frame) -> StoredValues:
    """Read what `encode_values` wrote; raise RemoteError when it is something else.

    Notes
    -----
    Views of `content`. The store that takes the values checks that all parts fit each other.
    """
    try:
        (nbytes,) = _COUNT.unpack_from(content)
        if nbytes > MAX_DESCRIPTION_NBYTES:
            raise RemoteError(f"a description of values has {nbytes} bytes")
        at = _COUNT.size + nbytes
        fields = json.loads(bytes(content[_COUNT.size : at]))
        count, ndim = _checked_int(fields["count"], 2**31), _checked_int(fields["ndim"], MAX_NDIM)
        shape = fields["shape"]
        if shape is not None:
            shape = tuple(_checked_int(extent, 2**48) for extent in shape)
        if (
            fields["kind"] not in ("ndarray", "str", "bytes")
            or fields["compressor"] not in (None, "lz4", "zstd")
            or not isinstance(fields["dtype"], str)
            or len(shape or ()) > MAX_NDIM
        ):
            raise RemoteError("values of an unknown kind arrived")
        digests = np.frombuffer(content, np.uint8, count * DIGEST_NBYTES, at)
        at += count * DIGEST_NBYTES
        shapes = np.frombuffer(content, "<i8", count * ndim, at)
        at += 8 * count * ndim
        sizes = np.frombuffer(content, "<i8", count, at)
        at += 8 * count
    except (ValueError, KeyError, TypeError, struct.error, RecursionError) as error:
        raise RemoteError(f"values arrived that cannot be read: {error}") from error
    return StoredValues(
        fields["kind"],
        fields["dtype"],
        shape,
        fields["compressor"],
        digests.reshape(count, DIGEST_NBYTES),
        shapes.reshape(count, ndim),
        sizes,
        np.frombuffer(content, np.uint8, len(content) - at, at),
    )


def decoded_nbytes(values: StoredValues) -> int:
    """Return how many bytes values say that they have when they are decoded.

    Notes
    -----
    A frame of blosc has that number in the bytes 4 to 7 of its header, little-endian. Whether it
    says the truth is seen when it is decoded, into no more bytes than that.
    """
    if values.compressor is None:
        return len(values.data)
    if values.shape is not None:
        return len(values) * int(values.sizes.max(initial=0))
    starts = np.cumsum(values.sizes) - values.sizes + 4
    if len(starts) and not 0 <= int(starts.min()) <= int(starts.max()) <= len(values.data) - 4:
        raise RemoteError("values arrived whose sizes do not fit them")
    headers = values.data[starts[:, None] + np.arange(4)]
    return int(np.ascontiguousarray(headers).view("<u4").sum(dtype=np.int64))


def check_decoded(values: StoredValues, max_nbytes: int) -> StoredValues:
    """Return values, or raise RemoteError when few bytes would become more than so many."""
    nbytes = decoded_nbytes(values)
    if nbytes > max_nbytes:
        raise RemoteError(
            f"{len(values)} values arrived that decode to {nbytes} bytes; at most {max_nbytes} "
            "are taken at once"
        )
    return values


def _checked_int(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise RemoteError(f"a number arrived that does not fit: {str(value)[:40]}")
    return value


# Refs


def encode_refs(refs: Iterable[tuple[str, bytes]]) -> bytes:
    """Return refs as JSON."""
    return json.dumps([[name, value.decode("latin-1")] for name, value in refs]).encode()


def decode_refs(content: Frame) -> dict[str, bytes]:
    """Read what `encode_refs` wrote; raise RemoteError when it is something else."""
    try:
        return {
            str(name): str(value).encode("latin-1") for name, value in json.loads(bytes(content))
        }
    except (ValueError, TypeError, RecursionError) as error:
        raise RemoteError(f"a list of refs cannot be read: {error}") from error


def encode_swap(changes: Sequence[RefChange]) -> bytes:
    """Return changes of refs as JSON."""

    def text(value: bytes | None) -> str | None:
        return None if value is None else value.decode("latin-1")

    listed = [[change.name, text(change.before), text(change.after)] for change in changes]
    return json.dumps({"changes": listed}).encode()


def decode_swap(content: Frame) -> list[RefChange]:
    """Read what `encode_swap` wrote; raise RemoteError when it is something else."""

    def read(value: object) -> bytes | None:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{value!r} is no text")
        return None if value is None else value.encode("latin-1")

    try:
        return [
            RefChange(str(name), read(before), read(after))
            for name, before, after in json.loads(bytes(content))["changes"]
        ]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RemoteError(f"a change of refs cannot be read: {error}") from error


def decode_numbers(content: bytes, count: int) -> NDArray[np.int64]:
    """Return as many int64 numbers as were asked for; raise RemoteError for any other count."""
    if len(content) != 8 * count:
        raise RemoteError(f"{len(content)} bytes arrived for {count} numbers")
    return np.frombuffer(content, "<i8").astype(np.int64)


# Greetings


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a server says of itself.

    Attributes
    ----------
    protocol : int
    max_frame_nbytes, max_request_nbytes : int
        What it takes at most: of one frame, and of all frames of a request.
    """

    protocol: int
    max_frame_nbytes: int
    max_request_nbytes: int

    def encode(self) -> bytes:
        """Return the greeting as JSON."""
        fields = {
            "protocol": self.protocol,
            "max_frame_nbytes": self.max_frame_nbytes,
            "max_request_nbytes": self.max_request_nbytes,
        }
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, content: Frame) -> Greeting:
        """Read what `encode` wrote; raise RemoteError when it is something else."""
        try:
            fields = json.loads(bytes(content))
            return cls(
                _checked_int(fields["protocol"], 2**31),
                _checked_int(fields["max_frame_nbytes"], 2**63),
                _checked_int(fields["max_request_nbytes"], 2**63),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RemoteError(f"the remote does not say what it is: {error}") from error
