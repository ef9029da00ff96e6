"""Serving a folder of repositories: all parts of the server put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.server.app import Gate, create_app
from tensorvcs.server.listening import Place, listen
from tensorvcs.server.logs import log_to
from tensorvcs.server.repositories import Repositories
from tensorvcs.server.streams import Traffic
from tensorvcs.server.tokens import TokenFile
from tensorvcs.sync.service import Limits, Policy

if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may do what, and how much.

    Attributes
    ----------
    token_file : path, optional
        Only those with a token of it may come in.
    lets_anybody : bool
        Whether everybody may come in and push, on any address, where there are no tokens;
        otherwise everybody on this machine may read.
    is_read_only : bool
        Whether nobody may push.
    rewritable : tuple of str
        Patterns of branches that may lose commits by whoever may write.
    max_request_nbytes : int
        Of what one request sends.
    max_concurrent : int
        Requests that run at a time.
    timeout_seconds : float
        How long to wait for the other end, each time.
    """

    token_file: str | os.PathLike[str] | None = None
    lets_anybody: bool = False
    is_read_only: bool = False
    rewritable: tuple[str, ...] = ()
    max_request_nbytes: int = 4 << 30
    max_concurrent: int = 16
    timeout_seconds: float = 60.0


def serve(
    root: str | os.PathLike[str],
    place: Place,
    rules: Rules,
    *,
    on_ready: Callable[[str], None],
    write_log: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve the repositories below a folder until the program is told to end.

    Parameters
    ----------
    root : path
        A folder with repositories in it; a repository is served alone, under its own name.
    place : Place
    rules : Rules
    on_ready : callable
        Called with the URL of the one repository, or of the folder, once it can be reached.
    write_log : callable
        Called with each line of the log, a JSON object.
    stop : Event, optional
        Set by another thread to end; SIGINT and SIGTERM do so as well.

    Raises
    ------
    InvalidInputError
        Without tokens a network would be let in, or the file of tokens is none.
    RepositoryNotFoundError
        There is no folder at `root`.
    StorageError
        The address is taken.
    """
    if rules.token_file is not None and rules.lets_anybody:
        raise InvalidInputError("with a file of tokens not everybody can be let in")
    if rules.token_file is None and not place.is_loopback and not rules.lets_anybody:
        raise with_hint(
            InvalidInputError(
                f"without tokens a server listens on this machine alone, and not at {place.host}"
            ),
            "make a token with 'tvcs token add tokens.json NAME' and name the file with "
            "--token-file, or trust the whole network with --insecure-anonymous",
        )
    tokens = None if rules.token_file is None else TokenFile(rules.token_file)
    if tokens is not None:
        tokens.tokens()
    limits = Limits(max_request_nbytes=rules.max_request_nbytes)
    repositories = Repositories(root, limits, Policy(rules.rewritable))
    gate = Gate(tokens, "admin" if rules.lets_anybody else "read", rules.is_read_only)
    traffic = Traffic(rules.max_concurrent, rules.timeout_seconds)
    name = f"/{repositories.root.name}" if repositories.is_single else ""
    log_to(write_log)
    listen(
        create_app(repositories, gate, limits, traffic),
        place,
        on_ready=lambda url: on_ready(url + name),
        stop=stop,
    )
