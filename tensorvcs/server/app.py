"""The server over HTTP: who may ask what, and an answer from the service of a repository."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from tensorvcs.errors import (
    AccessDeniedError,
    ClosedError,
    InvalidInputError,
    RemoteError,
    RepositoryNotFoundError,
    StorageError,
    TensorVCSError,
)
from tensorvcs.server.logs import LOGGER
from tensorvcs.server.streams import (
    Answer,
    ClientGone,
    RefusedRequest,
    RequestBody,
    Traffic,
    too_large,
)
from tensorvcs.sync import wire
from tensorvcs.sync.http_stores import CONTENT_TYPE
from tensorvcs.sync.service import METHODS, WRITE_METHODS, Limits, Visitor, access_denied, right_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from tensorvcs.server.repositories import Repositories
    from tensorvcs.server.tokens import TokenFile
    from tensorvcs.sync.service import Right

# Requests that wait for a thread; those beyond are told to come again.
_MAX_WAITING = 64
_CLIENT_GONE = 499  # as nginx logs it
_CANNOT_KEEP = "the disk of the server refuses; its log says why"


@dataclass(frozen=True, slots=True)
class Gate:
    """Who may come in.

    Attributes
    ----------
    tokens : TokenFile, optional
        Only those with a token of it; everybody when omitted.
    anonymous : {"read", "write", "admin"}
        What everybody may do where there are no tokens.
    is_read_only : bool
        Whether nobody may write, whatever the tokens say.
    """

    tokens: TokenFile | None = None
    anonymous: Right = "read"
    is_read_only: bool = False

    def visitor(self, authorization: str | None, repository: str) -> Visitor:
        """Return who asks for a repository.

        Raises
        ------
        UnknownVisitorError
            The token is missing, not known or expired.
        AccessDeniedError
            It gives no right there.
        """
        if self.tokens is None:
            return Visitor("anonymous", "read" if self.is_read_only else self.anonymous)
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise UnknownVisitorError("a token is needed")
        token = self.tokens.find(secret.strip())
        if token is None:
            raise UnknownVisitorError("the token is not known, or has expired")
        visitor = token.visitor_in(repository)
        if visitor is None:
            raise AccessDeniedError(f"the token of {token.name!r} is for other repositories")
        return Visitor(visitor.name, "read") if self.is_read_only else visitor


class UnknownVisitorError(AccessDeniedError):
    """Nobody knows who asks, which HTTP tells from one who is known and may not."""


def create_app(
    repositories: Repositories,
    gate: Gate,
    limits: Limits | None = None,
    traffic: Traffic | None = None,
) -> Starlette:
    """Return the ASGI application of a server.

    ``POST /<repository>/-/<method>`` answers as `tensorvcs.sync.wire` says, and ``GET /health``
    that the server is there. When it ends it waits for running requests, and closes the
    repositories.
    """
    endpoint = _Endpoint(repositories, gate, limits or Limits(), traffic or Traffic())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.get_running_loop().run_in_executor(None, endpoint.close)

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "protocol": wire.PROTOCOL_VERSION})

    app = Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            Route("/{repository:path}/-/{method:path}", endpoint, methods=["POST"]),
        ],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


@dataclass(slots=True)
class _Exchange:
    """One request: what it asks, and what the log will say of it."""

    repository: str
    method: str
    client: str
    headers: dict[str, str]
    body: RequestBody
    answer: Answer
    user: str = ""
    status: int = 500
    problem: str = ""
    started: float = field(default_factory=time.monotonic)

    def log(self) -> None:
        """Write one record."""
        fields = {
            "repository": self.repository[:200],
            "method": self.method[:40],
            "client": self.client,
            "user": self.user,
            "status": self.status,
            "received_nbytes": self.body.nbytes,
            "sent_nbytes": self.answer.nbytes,
            "seconds": round(time.monotonic() - self.started, 4),
            **({"problem": self.problem[:500]} if self.problem else {}),
        }
        level = logging.WARNING if self.problem else logging.INFO
        LOGGER.log(level, "request", extra={"fields": fields})


class _Endpoint:
    """The one endpoint; an ASGI application."""

    def __init__(
        self, repositories: Repositories, gate: Gate, limits: Limits, traffic: Traffic
    ) -> None:
        self._repositories = repositories
        self._gate = gate
        self._limits = limits
        self._traffic = traffic
        self._running = 0
        self._threads = ThreadPoolExecutor(traffic.max_concurrent, "tensorvcs")
        self._upkeep = ThreadPoolExecutor(1, "tensorvcs-upkeep")

    def close(self) -> None:
        """Wait for what runs, and close the repositories."""
        self._threads.shutdown()
        self._upkeep.shutdown()
        self._repositories.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        words = scope["path_params"]
        client = scope.get("client") or ("", 0)
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        announced, limit = _announced_nbytes(headers), self._limits.max_request_nbytes
        exchange = _Exchange(
            words["repository"],
            words["method"],
            client[0],
            headers,
            RequestBody(receive, self._traffic, announced, limit),
            Answer(send, receive, self._traffic),
        )
        try:
            await self._exchange(exchange)
        except RefusedRequest as refused:
            exchange.status, exchange.problem = refused.status, str(refused.error)
            await exchange.answer.refuse(refused)
        except ClientGone as gone:
            exchange.status, exchange.problem = _CLIENT_GONE, str(gone)
            exchange.answer.stop_watching()
        finally:
            exchange.log()
        if exchange.method in WRITE_METHODS and exchange.status == 200:
            self._upkeep.submit(self._look_after, exchange.repository)

    async def _exchange(self, exchange: _Exchange) -> None:
        if self._running >= self._traffic.max_concurrent + _MAX_WAITING:
            raise RefusedRequest(503, RemoteError("the server has too many requests"))
        self._running += 1
        try:
            await exchange.body.read_small()
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, self._serve, exchange)
        finally:
            self._running -= 1
            exchange.body.stop()
        exchange.status = 200
        await exchange.answer.finish()

    def _serve(self, exchange: _Exchange) -> None:
        """Do one request, in a thread of its own."""
        visitor = self._admit(exchange)
        body, method = exchange.body, exchange.method
        with self._repositories.service(exchange.repository) as service:
            frames = wire.read_frames(
                body.read, service.max_frame_nbytes(method), read_into=body.read_into
            )

            def answered() -> Iterator[wire.Content]:
                try:
                    contents = service.answer(method, frames, visitor)
                    first = next(contents, None)
                    body.drain()
                    if first is not None:
                        yield first
                        yield from contents
                except TensorVCSError as error:
                    body.drain()
                    exchange.problem = f"{type(error).__name__}: {error}"
                    if isinstance(error, StorageError):
                        # Its text names folders of the server.
                        raise RemoteError(_CANNOT_KEEP) from error
                    raise

            exchange.answer.write(wire.stream(answered()))

    def _admit(self, exchange: _Exchange) -> Visitor:
        """Return who asks, or raise RefusedRequest; no large body has been read by then."""
        headers = exchange.headers
        if exchange.method not in METHODS:
            problem = f"there is no method {exchange.method[:40]!r}"
            raise RefusedRequest(404, RemoteError(problem))
        # A page in a browser cannot send this type to another site without asking it first.
        if headers.get("content-type") != CONTENT_TYPE:
            problem = f"a request has the content type {CONTENT_TYPE}"
            raise RefusedRequest(415, RemoteError(problem))
        if (_announced_nbytes(headers) or 0) > self._limits.max_request_nbytes:
            raise RefusedRequest(413, too_large(self._limits.max_request_nbytes))
        try:
            visitor = self._gate.visitor(headers.get("authorization"), exchange.repository)
            exchange.user = visitor.name
            if not visitor.has(right_of(exchange.method)):
                raise access_denied(visitor, right_of(exchange.method))
            with self._repositories.service(exchange.repository):
                return visitor
        except UnknownVisitorError as error:
            raise RefusedRequest(401, error) from error
        except AccessDeniedError as error:
            raise RefusedRequest(403, error) from error
        except RepositoryNotFoundError as error:
            raise RefusedRequest(404, error) from error
        except (StorageError, InvalidInputError, ClosedError) as error:
            # What the server cannot read of its own is not for those who ask.
            LOGGER.exception("cannot serve %s", exchange.repository[:200])
            problem = "the server cannot serve this now; its log says why"
            raise RefusedRequest(503, RemoteError(problem)) from error

    def _look_after(self, repository: str) -> None:
        try:
            self._repositories.upkeep(repository)
        except TensorVCSError:
            LOGGER.exception("upkeep of %s failed", repository[:200])


def _announced_nbytes(headers: dict[str, str]) -> int | None:
    """Return how long a body is to be; None when it comes in chunks of any number."""
    if "transfer-encoding" in headers:
        return None
    text = headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() else None
