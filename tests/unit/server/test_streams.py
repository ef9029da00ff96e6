"""The body of a request, between the loop in which it comes and the thread that reads it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("starlette")

from tensorvcs.errors import ConnectionLostError
from tensorvcs.server import streams
from tensorvcs.server.streams import RefusedRequest, RequestBody, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

PART_NBYTES = 1 << 20


class Sender:
    """Gives out a body in parts of a MiB, and counts them."""

    def __init__(self, count: int, *, is_cut: bool = False) -> None:
        self.given = 0
        self._count = count
        self._is_cut = is_cut

    async def receive(self) -> dict[str, Any]:
        if self._is_cut and self.given == self._count:
            return {"type": "http.disconnect"}
        self.given += 1
        part = bytes([self.given]) * PART_NBYTES
        has_more = self._is_cut or self.given < self._count
        return {"type": "http.request", "body": part, "more_body": has_more}


def read_by(
    sender: Sender, read: Callable[[RequestBody], Any], max_nbytes: int = 1 << 40
) -> tuple[Any, RequestBody]:
    """Return what a thread makes of a body."""

    async def serve() -> tuple[Any, RequestBody]:
        body = RequestBody(sender.receive, Traffic(), None, max_nbytes)
        try:
            return await asyncio.get_running_loop().run_in_executor(None, read, body), body
        finally:
            body.stop()

    return asyncio.run(serve())


def test_a_body_is_read_ahead_of_the_thread_and_not_far() -> None:
    sender = Sender(30)
    ahead = []

    def read(body: RequestBody) -> bytes:
        found = []
        while part := body.read(PART_NBYTES):
            found.append(part[:1])
            assert len(part) == PART_NBYTES
            ahead.append(sender.given - len(found))
        return b"".join(found)

    content, body = read_by(sender, read)
    assert content == bytes(range(1, 31))
    assert body.nbytes == 30 * PART_NBYTES
    assert max(ahead) <= streams._AHEAD_NBYTES // PART_NBYTES + 1


def test_a_body_is_read_into_memory() -> None:
    def read(body: RequestBody) -> bytes:
        memory = bytearray(3 * PART_NBYTES // 2)
        view = memoryview(memory)
        while view:
            view = view[body.read_into(view) :]
        return bytes(memory) + body.read(5) + bytes([body.read_into(memoryview(memory)) > 5])

    content, _ = read_by(Sender(2), read)
    half = PART_NBYTES // 2
    assert content == b"\1" * PART_NBYTES + b"\2" * (half + 5) + b"\1"


def test_what_has_come_is_read_before_a_cut_is_told() -> None:
    def read(body: RequestBody) -> list[int]:
        sizes = [len(body.read(1 << 30)) for _ in range(3)]
        with pytest.raises(ConnectionLostError, match="hung up in the middle"):
            body.read(1)
        body.drain()
        return sizes

    assert read_by(Sender(3, is_cut=True), read)[0] == [PART_NBYTES] * 3


def test_a_body_of_more_than_is_taken_is_left() -> None:
    def read(body: RequestBody) -> int:
        count = 0
        with pytest.raises(RefusedRequest) as caught:
            while body.read(PART_NBYTES):
                count += 1
        assert caught.value.status == 413
        return count

    sender = Sender(30)
    assert read_by(sender, read, 3 * PART_NBYTES)[0] == 3
    assert sender.given == 4
