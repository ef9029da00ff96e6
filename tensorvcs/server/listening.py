"""Listening: a socket, TLS, the program that waits for signals and ends when it is told."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from tensorvcs.errors import InvalidInputError, StorageError, with_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

_BACKLOG = 128
_KEEP_ALIVE_SECONDS = 75
_END_SECONDS = 60
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen.

    Attributes
    ----------
    host : str
        A name or an address of this machine.
    port : int
        0 for any that is free.
    certificate, key : str or None
        Files in PEM, for TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8417
    certificate: str | None = None
    key: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine itself can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def listen(
    app: ASGIApp,
    place: Place,
    *,
    on_ready: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Answer requests until the program is told to end, by SIGINT, SIGTERM, or an event.

    Parameters
    ----------
    on_ready : callable
        Called with the URL, once it can be reached.
    stop : Event, optional
        Set by another thread to end.

    Raises
    ------
    StorageError
        The address is taken, or not one of this machine.
    InvalidInputError
        The certificate or its key cannot be used.

    Notes
    -----
    Requests that run are finished, for up to a minute.
    """
    config = uvicorn.Config(
        app,
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        http="h11",
        ws="none",
        loop="asyncio",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    try:
        config.load()
    except OSError as error:  # errors of ssl are such
        raise with_hint(
            InvalidInputError(f"the certificate or its key cannot be used: {error}"),
            "both are files in PEM, and the key is that of the certificate",
        ) from error
    with _bound(place) as listener:
        port = listener.getsockname()[1]
        host = f"[{place.host}]" if ":" in place.host else place.host
        on_ready(f"{'https' if place.certificate else 'http'}://{host}:{port}")
        _Server(config, stop).run(sockets=[listener])


@contextmanager
def _bound(place: Place) -> Iterator[socket.socket]:
    try:
        family = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((place.host, place.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise with_hint(
            StorageError(f"cannot listen at {place.host}:{place.port}: {_reason(error)}"),
            "choose another --port, or --port 0 for any that is free",
        ) from error
    with listener:
        # Inherited by what is accepted. asyncio sets it only where it knows the protocol, and
        # without it a small answer waits 40 ms for the acknowledgement of its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def _reason(error: OSError) -> str:
    """Return what went wrong, without the address that Python repeats."""
    return (error.strerror or str(error)).partition(" (while")[0]


class _Server(uvicorn.Server):
    """A server of uvicorn that ends without raising the signal again."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event | None) -> None:
        super().__init__(config)
        self._stop = stop

    async def on_tick(self, counter: int) -> bool:
        """Tell, ten times a second, whether to end."""
        is_told = self._stop is not None and self._stop.is_set()
        return await super().on_tick(counter) or is_told

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have the first signal end the server, and the second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
