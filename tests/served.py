"""Servers in a thread of the tests, and a wire between client and server that can be cut."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from typing import TYPE_CHECKING, Any

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
    """Passes bytes on to a port; cuts all lines when so many have come back in all.

    Parameters
    ----------
    port : int
    limit : int or None
        None never cuts.
    counts : {"answers", "requests"}
        Which bytes count.
    """

    def __init__(self, port: int, limit: int | None, counts: str = "answers") -> None:
        self.passed = 0
        self.port = 0
        self._target = port
        self._limit = limit
        self._counts = counts
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
        self._cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(_END_SECONDS)
        for line in self._lines:
            line.close()

    def _start(self, run: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=run, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._lines += [near, far]
            self._start(self._pass, near, far, self._counts == "requests")
            self._start(self._pass, far, near, self._counts == "answers")

    def _pass(self, source: socket.socket, target: socket.socket, is_counted: bool) -> None:
        try:
            while content := source.recv(1 << 16):
                target.sendall(content[: self._room(len(content))] if is_counted else content)
                if self._is_cut:
                    break
        except OSError:
            pass
        for line in (source, target):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _room(self, nbytes: int) -> int:
        with self._lock:
            room = nbytes if self._limit is None else max(0, self._limit - self.passed)
            self.passed += nbytes
        if room < nbytes:
            self._cut()
        return room

    def _cut(self) -> None:
        self._is_cut = True
