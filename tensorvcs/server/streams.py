"""The two streams of a request over HTTP: its body and its answer, between a loop and a thread.

A request is served in a thread, which waits for disks; its bytes come and go in the loop. A small
body is read before the thread begins and a small answer is sent after it has ended, so that a
question costs one change of threads. What is large passes piece by piece.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import ConnectionLostError, RemoteError, TensorVCSError
from tensorvcs.sync import wire
from tensorvcs.sync.http_stores import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from starlette.types import Receive, Send

SMALL_NBYTES = 1 << 20
"""A body up to this size is read at once."""

# Small frames are joined up to so many bytes before they are sent.
_PIECE_NBYTES = 64 << 10
# What is larger than a socket takes at once is copied by the loop, which parts of this size avoid.
_SENT_NBYTES = 256 << 10
# What is read of a body before the thread takes it; a part more at most.
_AHEAD_NBYTES = 8 << 20
# How long a thread waits beyond a timeout for a loop that has ended.
_LOOP_SECONDS = 5.0


class RefusedRequest(Exception):  # noqa: N818 (no error of the library: a status of HTTP)
    """A request that is answered with a status and an error, and with nothing else."""

    def __init__(self, status: int, error: TensorVCSError) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = error


class ClientGone(Exception):  # noqa: N818 (nobody is there to hear of an error)
    """The other end has hung up, or takes nothing any more."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much a server does at a time.

    Attributes
    ----------
    max_concurrent : int
        Requests that run; some more wait, and what comes beyond is told to come again.
    timeout_seconds : float
        How long to wait for the next piece of a request, or for the other end to take one.
    """

    max_concurrent: int = 16
    timeout_seconds: float = 60.0


class RequestBody:
    """The body of a request.

    A large one is read in the loop, up to a few MiB ahead of the thread that takes it.

    Parameters
    ----------
    announced_nbytes : int or None
        What the head says of its length; None when it comes in chunks.
    max_nbytes : int
        What is taken at most.
    """

    def __init__(
        self,
        receive: Receive,
        traffic: Traffic,
        announced_nbytes: int | None,
        max_nbytes: int,
    ) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = traffic.timeout_seconds
        self._announced_nbytes = announced_nbytes
        self._max_nbytes = max_nbytes
        self._arrival = threading.Condition()
        self._parts: deque[memoryview] = deque()
        self._held_nbytes = 0
        self._has_more = True
        self._problem: ConnectionLostError | RefusedRequest | None = None
        self._feeding: Future[None] | None = None
        self._room = asyncio.Event()
        self.nbytes = 0

    async def read_small(self) -> None:
        """Read all of a body that says that it is small; called in the loop."""
        if self._announced_nbytes is None or self._announced_nbytes > SMALL_NBYTES:
            return
        await self._feed()

    async def _feed(self) -> None:
        """Read parts until there are no more, and wait whenever many of them are not taken."""
        while self._has_more:
            part, has_more, problem = memoryview(b""), False, None
            try:
                part, has_more = await self._receive_part()
            except (ConnectionLostError, RefusedRequest) as error:
                problem = error
            with self._arrival:
                self._room.clear()
                if part:
                    self._parts.append(part)
                    self._held_nbytes += len(part)
                self._problem, self._has_more = problem, has_more
                is_full = self._held_nbytes > _AHEAD_NBYTES
                self._arrival.notify()
            if is_full and has_more:
                await self._room.wait()

    async def _receive_part(self) -> tuple[memoryview, bool]:
        """Return the next part, and whether there are more."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                message = await self._receive()
        except TimeoutError as error:
            raise ConnectionLostError(
                f"the rest of the request did not come within {self._timeout_seconds:g} s"
            ) from error
        if message["type"] != "http.request":
            raise ConnectionLostError("the other end hung up in the middle of its request")
        part = memoryview(message.get("body", b""))
        self.nbytes += len(part)
        if self.nbytes > self._max_nbytes:
            raise RefusedRequest(413, too_large(self._max_nbytes))
        return part, bool(message.get("more_body", False))

    def read(self, nbytes: int) -> bytes:
        """Return up to so many bytes, and none at the end; called in the thread.

        Raises
        ------
        ConnectionLostError
            They do not come.
        RefusedRequest
            There are more in all than are taken.
        """
        return bytes(self._take(nbytes))

    def read_into(self, memory: memoryview) -> int:
        """Fill the start of some memory and return with how many bytes; see `read`."""
        part = self._take(len(memory))
        memory[: len(part)] = part
        return len(part)

    def _take(self, nbytes: int) -> memoryview:
        if self._has_more and self._feeding is None:
            self._feeding = asyncio.run_coroutine_threadsafe(self._feed(), self._loop)
        with self._arrival:
            # What has come is taken before what went wrong behind it is told.
            is_there = self._arrival.wait_for(
                lambda: self._parts or not self._has_more, self._timeout_seconds + _LOOP_SECONDS
            )
            if not is_there:
                self._has_more = False
                raise ConnectionLostError("the server ended in the middle of a request")
            if not self._parts:
                if self._problem is not None:
                    raise self._problem
                return memoryview(b"")
            first = self._parts.popleft()
            part, rest = first[:nbytes], first[nbytes:]
            if rest:
                self._parts.appendleft(rest)
            was_full = self._held_nbytes > _AHEAD_NBYTES
            self._held_nbytes -= len(part)
            if was_full and self._held_nbytes <= _AHEAD_NBYTES:
                self._loop.call_soon_threadsafe(self._room.set)
        return part

    def drain(self) -> None:
        """Read to the end, so that the other end hears the answer and the line can be kept."""
        with suppress(ConnectionLostError):
            while self._take(_AHEAD_NBYTES):
                pass

    def stop(self) -> None:
        """Read no further; called in the loop."""
        if self._feeding is not None:
            self._feeding.cancel()


class Answer:
    """The answer to a request."""

    def __init__(self, send: Send, receive: Receive, traffic: Traffic) -> None:
        self._send = send
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = traffic.timeout_seconds
        self._has_begun = False
        self._last: list[wire.Frame] = []
        self._watch: Future[None] | None = None
        self.nbytes = 0

    def write(self, pieces: Iterator[wire.Frame]) -> None:
        """Send pieces as they come, and keep the last ones for `finish`; called in the thread.

        Raises
        ------
        ClientGone
            Nobody takes them.
        """
        waiting: list[wire.Frame] = []
        nbytes = 0
        sending: Future[None] | None = None
        try:
            for piece in pieces:
                waiting.append(piece)
                nbytes += len(piece)
                if nbytes >= _PIECE_NBYTES:
                    # The next pieces are made while these are sent.
                    self._wait(sending)
                    sending = self._begin(waiting)
                    waiting, nbytes = [], 0
        finally:
            self._wait(sending)
        self._last = waiting

    def _begin(self, pieces: Sequence[wire.Frame]) -> Future[None]:
        sending = asyncio.wait_for(self._send_pieces(pieces), self._timeout_seconds)
        return asyncio.run_coroutine_threadsafe(sending, self._loop)

    def _wait(self, sending: Future[None] | None) -> None:
        """Wait until pieces are sent, and see whether anybody is there for more."""
        if sending is None:
            return
        try:
            sending.result(self._timeout_seconds + _LOOP_SECONDS)
        except TimeoutError as error:
            raise ClientGone(f"nothing was taken for {self._timeout_seconds:g} s") from error
        except OSError as error:
            raise ClientGone(f"the other end hung up: {error}") from error
        if self._watch is None:
            self._watch = asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop)
        if self._watch.done():
            raise ClientGone("the other end hung up before its answer was whole")

    async def _send_pieces(self, pieces: Sequence[wire.Frame], *, has_more: bool = True) -> None:
        if not self._has_begun:
            self._has_begun = True
            await self._send(_start(200))
        for piece in joined(pieces):
            self.nbytes += len(piece)
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        if not has_more:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _hang_up(self) -> None:
        """Wait until the other end hangs up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def finish(self) -> None:
        """Send what is left; called in the loop."""
        self.stop_watching()
        if self._has_begun:
            await self._send_pieces(self._last, has_more=False)
            return
        content = b"".join(self._last)
        self.nbytes += len(content)
        await self._send(_start(200, len(content)))
        await self._send({"type": "http.response.body", "body": content, "more_body": False})

    def stop_watching(self) -> None:
        """Forget whether the other end is there."""
        if self._watch is not None:
            self._watch.cancel()

    async def refuse(self, refused: RefusedRequest) -> None:
        """Send a status and an error, unless the answer has begun; called in the loop."""
        self.stop_watching()
        if self._has_begun:
            return
        content = wire.frame(wire.encode_error(refused.error), wire.ERROR)
        self.nbytes += len(content)
        await self._send(_start(refused.status, len(content)))
        await self._send({"type": "http.response.body", "body": content, "more_body": False})


def joined(pieces: Sequence[wire.Frame]) -> Iterator[wire.Frame]:
    """Yield pieces, small ones that are neighbours joined, and large ones in parts."""
    small: list[wire.Frame] = []
    for piece in pieces:
        if len(piece) < _PIECE_NBYTES:
            small.append(piece)
            continue
        if small:
            yield b"".join(small)
            small = []
        view = memoryview(piece)
        for low in range(0, len(view), _SENT_NBYTES):
            yield view[low : low + _SENT_NBYTES]
    if small:
        yield b"".join(small)


def too_large(max_nbytes: int) -> RemoteError:
    """Return the error for a request of more bytes than are taken."""
    return RemoteError(f"a request has at most {max_nbytes} bytes here")


def _start(status: int, nbytes: int | None = None) -> dict[str, Any]:
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"cache-control", b"no-store")]
    if nbytes is not None:
        headers.append((b"content-length", str(nbytes).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    if status != 200:
        # The body may not have been read, so that what comes next on the line is not known.
        headers.append((b"connection", b"close"))
    return {"type": "http.response.start", "status": status, "headers": headers}
