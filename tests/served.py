"""Servers in a thread of the tests, and a wire between client and server that can be cut."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

from tensorvcs.server.app import create_app
from tensorvcs.server.listening import Place
from tensorvcs.server.serving import Rules, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_END_SECONDS = 60


@contextlib.contextmanager
def served(
    root: Path, rules: Rules | None = None, place: Place | None = None
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a folder; yields the URL, and the log as it grows."""
    ready: queue.Queue[str | BaseException] = queue.Queue()
    stop = threading.Event()
    log: list[dict[str, Any]] = []

    def run() -> None:
        try:
            serve(
                root,
                place or Place(port=0),
                rules or Rules(lets_anybody=True),
                on_ready=ready.put,
                write_log=lambda line: log.append(json.loads(line)),
                stop=stop,
            )
        except BaseException as error:  # noqa: BLE001 (raised by the test's own thread)
            ready.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        url = ready.get(timeout=_END_SECONDS)
        if isinstance(url, BaseException):
            raise url
        yield url, log
    finally:
        stop.set()
        thread.join(_END_SECONDS)
        assert not thread.is_alive()
        # What ended it after it had begun.
        assert ready.empty(), ready.get()


def port_of(url: str) -> int:
    return int(url.split("://")[1].split("/", maxsplit=1)[0].rpartition(":")[2])


class Proxy:
    """Passes bytes on to a port; cuts all lines when so many have passed in all.

    Whoever asks hears of a cut when the server has closed the other end, and not before: what
    runs there then is what `settled` waits for.

    Parameters
    ----------
    port : int
    limit : int or None
        None never cuts.
    counts : {"answers", "requests"}
        Which bytes count.
    resets : bool
        Whether lines are reset when they are cut, and not closed.
    piece_nbytes : int
        Bytes are passed on in pieces of this size.
    silent : int
        So many lines, the first ones, never pass on an answer.
    """

    def __init__(
        self,
        port: int,
        limit: int | None,
        counts: str = "answers",
        *,
        resets: bool = False,
        piece_nbytes: int = 1 << 16,
        silent: int = 0,
    ) -> None:
        self.passed = 0
        self.port = 0
        self._target = port
        self._limit = limit
        self._counts = counts
        self._resets = resets
        self._piece_nbytes = piece_nbytes
        self._silent = silent
        self._lock = threading.Lock()
        self._lines: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._is_cut = False

    def __enter__(self) -> Proxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_cut = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._lines:
            _hang_up(line)
        for thread in self._threads:
            thread.join(_END_SECONDS)
        for line in self._lines:
            line.close()

    def _start(self, run: Callable[..., None], *args: Any) -> threading.Thread:
        thread = threading.Thread(target=run, args=args)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                self._end(near)
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            for line in (near, far):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._lines += [near, far]
            is_silent, self._silent = self._silent > 0, self._silent - 1
            requests = self._start(self._pass_requests, near, far)
            self._start(self._pass_answers, far, near, requests, is_silent)

    def _pass_requests(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := near.recv(1 << 16):
                self._send(far, content, is_counted=self._counts == "requests")
                if self._is_cut:
                    break
        # The server hears that no more comes; when it hangs up, the other thread does.
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_WR)

    def _pass_answers(
        self, far: socket.socket, near: socket.socket, requests: threading.Thread, is_silent: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while content := far.recv(1 << 16):
                if not self._is_cut and not is_silent:
                    self._send(near, content, is_counted=self._counts == "answers")
                if self._is_cut:
                    far.shutdown(socket.SHUT_WR)
        if self._is_cut:
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RD)
            requests.join(_END_SECONDS)
        self._end(near)

    def _send(self, line: socket.socket, content: bytes, *, is_counted: bool) -> None:
        if is_counted:
            content = content[: self._room(len(content))]
        for low in range(0, len(content), self._piece_nbytes):
            line.sendall(content[low : low + self._piece_nbytes])

    def _room(self, nbytes: int) -> int:
        with self._lock:
            room = nbytes if self._limit is None else max(0, self._limit - self.passed)
            self.passed += nbytes
            if room < nbytes:
                self._is_cut = True
        return room

    def _end(self, near: socket.socket) -> None:
        """Close a line, which no thread reads any more when there is a cut."""
        if not self._is_cut:
            _hang_up(near)
            return
        if self._resets:
            # Closed without waiting for what is under way, which resets it.
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.close()


def _hang_up(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def settled() -> Iterator[Callable[[], None]]:
    """Yield what waits until the servers that begin inside this block answer no request."""
    changed = threading.Condition()
    running = 0

    def counted(*args: Any) -> Any:
        app = create_app(*args)

        async def counting_app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal running
            count = int(scope["type"] == "http")
            with changed:
                running += count
            try:
                await app(scope, receive, send)
            finally:
                with changed:
                    running -= count
                    changed.notify_all()

        return counting_app

    def settle() -> None:
        with changed:
            assert changed.wait_for(lambda: not running, _END_SECONDS)

    with mock.patch("tensorvcs.server.serving.create_app", counted):
        yield settle
