"""Serving one repository over the pipes of this program, to whoever started it."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from tensorvcs.connections import open_connection
from tensorvcs.errors import ConnectionLostError, RemoteError, TensorVCSError
from tensorvcs.objects.commit import Timestamp
from tensorvcs.sync import wire
from tensorvcs.sync.service import WRITE_METHODS, Service, Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_METHOD_NBYTES = 64


class Pipe(Protocol):
    """What is used of a binary stream."""

    def read(self, nbytes: int, /) -> bytes: ...
    def write(self, content: wire.Frame, /) -> int: ...
    def flush(self) -> None: ...


def serve_pipes(path: str, source: Pipe, target: Pipe, user: str, *, is_read_only: bool) -> None:
    """Answer questions about a repository until there are no more.

    Parameters
    ----------
    path : str
        The folder of the repository.
    source, target : Pipe
        Where questions come from and answers go, as `tensorvcs.sync.wire` says.
    user : str
        As the operation log will have it. Who can start a program here may do all that the files
        allow.

    Raises
    ------
    RepositoryNotFoundError
        There is none at the path.
    ConnectionLostError
        The other end hung up in the middle of an answer.
    """
    try:
        connection = open_connection(path)
    except TensorVCSError as error:
        # The other end hears it as the answer to its first question.
        target.write(wire.frame(wire.encode_error(error), wire.ERROR))
        target.flush()
        raise
    try:
        service = Service(connection.stores, connection.open_writer, _now)
        visitor = Visitor(user, "read" if is_read_only else "admin")
        while (first := source.read(1)) != b"":
            method = _answer_one(service, visitor, _Prefixed(first, source), target)
            if method is None:
                return
            if method in WRITE_METHODS:
                connection.upkeep()
    except BrokenPipeError as error:
        raise ConnectionLostError("the other end hung up before its answer was whole") from error
    finally:
        connection.close()


def _answer_one(service: Service, visitor: Visitor, source: _Prefixed, target: Pipe) -> str | None:
    """Answer one question; return its method, or None when no other can follow."""
    is_in_step = True
    frames = wire.read_frames(source.read, service.limits.max_frame_nbytes)
    method = ""

    def answered() -> Iterator[wire.Content]:
        nonlocal is_in_step, method
        try:
            method = bytes(next(frames, b""))[:_MAX_METHOD_NBYTES].decode("latin-1")
            contents = service.answer(method, frames, visitor)
            first = next(contents, None)
            _drain(frames)
            if first is not None:
                yield first
                yield from contents
        except RemoteError:
            # It was no question, and where the next one begins is not known.
            is_in_step = False
            raise
        except TensorVCSError:
            _drain(frames)
            raise

    for piece in wire.stream(answered()):
        target.write(piece)
    target.flush()
    return method if is_in_step else None


def _drain(frames: Iterator[wire.Frame]) -> None:
    """Read a question to its end, so that the next one begins where it begins."""
    with suppress(ConnectionLostError):
        for _ in frames:
            pass


class _Prefixed:
    """A pipe of which one byte was read to see whether anything comes."""

    def __init__(self, first: bytes, source: Pipe) -> None:
        self._first = first
        self._source = source

    def read(self, nbytes: int) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return self._source.read(nbytes)


def _now() -> Timestamp:
    return Timestamp.of(dt.datetime.now().astimezone())
