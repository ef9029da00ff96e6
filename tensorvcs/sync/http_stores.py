"""The line to a repository behind HTTP: connections are kept open between questions."""

from __future__ import annotations

import os
import re
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from tensorvcs.errors import (
    AccessDeniedError,
    ConnectionLostError,
    InvalidInputError,
    RemoteError,
    RepositoryNotFoundError,
    TensorVCSError,
    with_hint,
)
from tensorvcs.sync import wire
from tensorvcs.sync.remotes import shown_url

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator, Sequence
    from http.client import HTTPConnection, HTTPResponse
    from types import TracebackType

CONTENT_TYPE = "application/x-tensorvcs"
TIMEOUT_SECONDS = 60.0
PAUSES = (0.0, 0.5, 1.5, 4.0)
"""The first further try is at once: a connection that was kept open may have ended meanwhile."""

_PORTS = {"http": 80, "https": 443}
_MAX_ERROR_NBYTES = 64 << 10
_ONE_WRITE_NBYTES = 256 << 10
_BUFFER_NBYTES = 4 << 20
_TOKEN_HINT = "put a token into the URL: https://TOKEN@host/name"
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a repository is behind HTTP, and the token that it asks for.

    Attributes
    ----------
    scheme : {"http", "https"}
    host : str
    port : int
    path : str
        As it is sent, without a slash at the end.
    token : str or None
        Never shown.
    """

    scheme: str
    host: str
    port: int
    path: str
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, token: str | None = None) -> Address:
        """Read a URL such as ``https://TOKEN@host:8000/pets``.

        Parameters
        ----------
        token : str, optional
            Instead of the one in the URL.

        Raises
        ------
        InvalidInputError
            It is no such URL; the text of the error has no token.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            host = parts.hostname
        except ValueError as error:
            raise _bad_url(url, "it cannot be read") from error
        if parts.scheme not in _PORTS or not host:
            raise _bad_url(url, "it names no host")
        if parts.query or parts.fragment:
            raise _bad_url(url, "it has a '?' or a '#'")
        if not host.isascii() or not host.isprintable() or " " in host:
            raise _bad_url(url, "its host is no name of a machine")
        # Of "user:token" the user is for other programs.
        found = token or unquote(parts.password or parts.username or "") or None
        if found is not None and not _HEADER_VALUE.fullmatch(found):
            raise _bad_url(url, "its token has characters that no token has")
        path = quote(unquote(parts.path)).rstrip("/")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path, found)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def _bad_url(url: str, problem: str) -> InvalidInputError:
    return with_hint(
        InvalidInputError(f"{shown_url(url)!r} is no URL of a repository: {problem}"),
        "write it like https://TOKEN@host:port/name",
    )


class HttpLine:
    """The line to the repository at an address; threads may share it, and forked children.

    Each question has a connection to itself; those that are idle are kept for the next ones.

    Parameters
    ----------
    address : Address
    timeout_seconds : float
        How long to wait for the other end, each time.
    pauses : sequence of float
        Seconds before each further try.
    ca_file : str, optional
        Certificates to trust, in PEM, instead of those of the system.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        pauses: Sequence[float] = PAUSES,
        ca_file: str | None = None,
    ) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._ca_file = ca_file
        self.pauses = pauses
        self._idle: deque[HTTPConnection] = deque()
        self._process = os.getpid()
        self._context: ssl.SSLContext | None = None
        weakref.finalize(self, _close_all, self._idle)

    reads_ahead = True

    def __repr__(self) -> str:
        return f"HttpLine({str(self._address)!r})"

    def ask(
        self, method: str, contents: Sequence[wire.Content], *, is_repeatable: bool = True
    ) -> Iterator[wire.Frame]:
        """Yield the contents of an answer; see `Line.ask`.

        Raises
        ------
        AccessDeniedError
            The token is missing, not known, or has not the right.
        RepositoryNotFoundError
            The server has no such repository.
        """
        # An idle connection may have ended unnoticed, and then it is not known whether what was
        # sent had arrived: a question that is asked once only gets a new one.
        connection = self._take_idle() if is_repeatable else None
        if connection is None:
            connection = self._connect()
        with _Translated(self, connection):
            if connection.sock is None:
                connection.connect()
            with suppress(BrokenPipeError, ConnectionResetError):
                # A server that refuses may answer before all was sent; see what it says.
                self._send(connection, method, contents)
            response = connection.getresponse()
            if response.status != 200:
                raise self._refusal(response)
            if response.getheader("Content-Type") != CONTENT_TYPE:
                raise RemoteError(f"{self._address} is no server of repositories")
            yield from wire.read_frames(response.read, read_into=response.readinto)
            if response.read(1):
                raise RemoteError(f"{self._address} sends more than its answer")
        self._idle.append(connection)

    def close(self) -> None:
        """Close the connections that are idle."""
        if self._process == os.getpid():
            _close_all(self._idle)

    def _take_idle(self) -> HTTPConnection | None:
        """Return an idle connection; a forked child never uses one of its parent."""
        if self._process != os.getpid():
            self._idle.clear()
            self._process = os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _send(
        self, connection: HTTPConnection, method: str, contents: Sequence[wire.Content]
    ) -> None:
        pieces: list[Any] = list(wire.stream(contents))
        nbytes = sum(map(len, pieces))
        connection.putrequest("POST", f"{self._address.path}/-/{method}", skip_accept_encoding=True)
        connection.putheader("Content-Type", CONTENT_TYPE)
        connection.putheader("Content-Length", str(nbytes))
        if self._address.token is not None:
            connection.putheader("Authorization", f"Bearer {self._address.token}")
        if nbytes <= _ONE_WRITE_NBYTES:
            connection.endheaders(b"".join(pieces))
            return
        connection.endheaders()
        for piece in pieces:
            connection.send(piece)

    def _connect(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        host, port, timeout = self._address.host, self._address.port, self._timeout_seconds
        connection: HTTPConnection
        if self._address.scheme == "http":
            connection = HTTPConnection(host, port, timeout=timeout)
        else:
            if self._context is None:
                import ssl

                self._context = ssl.create_default_context(cafile=self._ca_file)
            connection = HTTPSConnection(host, port, timeout=timeout, context=self._context)
        connection.response_class = _buffered_response  # type: ignore[assignment]
        return connection

    def _refusal(self, response: HTTPResponse) -> TensorVCSError:
        """Return the error for an answer that is none."""
        error = wire.read_error(response.read(_MAX_ERROR_NBYTES))
        said = "" if error is None else str(error)
        where, status = str(self._address), response.status
        if status in (401, 403):
            problem = f"{where} refuses: " + (said or "it wants a token, or another one")
            hint = error.hint if error is not None else None
            return with_hint(AccessDeniedError(problem), hint or _TOKEN_HINT)
        if status == 404:
            return with_hint(
                RepositoryNotFoundError(f"there is no repository at {where}"),
                "check the name at the end of the URL",
            )
        if status == 413:
            return RemoteError(f"{where} takes no request of this size{_behind(said)}")
        if status in (502, 503, 504):
            return ConnectionLostError(f"too busy, or away: {status}{_behind(said)}")
        if 300 <= status < 400:
            place = shown_url(response.getheader("Location") or "another place")
            shown = "".join(c for c in place[:200] if c.isprintable())
            return with_hint(
                RemoteError(f"{where} has moved to {shown}; the token is not sent there"),
                "check that place, and set it as the URL of the remote",
            )
        return RemoteError(f"{where} answers {status} {response.reason[:80]}{_behind(said)}")


def _buffered_response(line: socket.socket, **options: Any) -> HTTPResponse:
    """Return a response that is read in large pieces.

    After each piece the thread waits for its turn in the interpreter, up to 5 ms when another one
    hashes what came before.
    """
    from http.client import HTTPResponse

    response = HTTPResponse(line, **options)
    response.fp.close()
    stream: Any = line.makefile("rb", _BUFFER_NBYTES)
    response.fp = stream
    return response


class _Translated:
    """Turns errors of sockets, TLS and HTTP into ours, and closes a connection that had one."""

    def __init__(self, line: HttpLine, connection: HTTPConnection) -> None:
        self._line = line
        self._connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        self._connection.close()
        where = str(self._line._address)
        translated = _translate(error, where, self._line._timeout_seconds)
        if translated is not None:
            raise translated from error


def _translate(error: BaseException, where: str, timeout_seconds: float) -> RemoteError | None:
    import socket
    import ssl
    from http.client import HTTPException, IncompleteRead, RemoteDisconnected

    if type(error) is ConnectionLostError:
        return ConnectionLostError(f"{where}: {error.problem}")
    if isinstance(error, TensorVCSError):
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return with_hint(
            RemoteError(f"the certificate of {where} is not trusted: {error.verify_message}"),
            "name the file of its authority in the environment variable SSL_CERT_FILE",
        )
    if isinstance(error, socket.gaierror):
        return RemoteError(f"no machine has the name in {where}: {error.strerror}")
    if isinstance(error, TimeoutError):
        return ConnectionLostError(f"{where} did not answer within {timeout_seconds:g} s")
    if isinstance(error, ConnectionRefusedError):
        return with_hint(
            RemoteError(f"nobody answers at {where}"),
            "check host and port, and that 'tvcs serve' runs there",
        )
    if isinstance(error, (RemoteDisconnected, IncompleteRead)):
        return ConnectionLostError(f"{where} hung up before its answer was whole")
    if isinstance(error, HTTPException):
        return RemoteError(f"{where} does not speak HTTP as it should: {type(error).__name__}")
    if isinstance(error, ssl.SSLError):
        return RemoteError(f"no encrypted line to {where}: {error.reason or error}")
    if isinstance(error, OSError):
        return ConnectionLostError(f"the line to {where} broke: {error.strerror or error}")
    return None


def _behind(said: str) -> str:
    return f": {said}" if said else ""


def _close_all(connections: deque[Any]) -> None:
    while connections:
        connections.pop().close()
