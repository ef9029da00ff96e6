"""``tvcs serve``."""

from __future__ import annotations

import os
import pwd
import sys
from typing import TYPE_CHECKING, cast

import click

from tensorvcs.errors import MissingDependencyError

from ..arguments import prints

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("serve")
@click.argument("root", default=".", type=click.Path())
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    default=8417,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port; 0 for any that is free.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(),
    help="Only those with a token of this file may come in; see 'tvcs token'.",
)
@click.option("--read-only", is_flag=True, help="Nobody may push.")
@click.option(
    "--rewritable",
    "rewritable",
    metavar="PATTERN",
    multiple=True,
    help="Branches, such as 'wip/*', that may lose commits by whoever may write.",
)
@click.option(
    "--insecure-anonymous",
    is_flag=True,
    help="Let anybody come in, and push, without a token: for a network that you trust.",
)
@click.option("--tls-cert", metavar="FILE", type=click.Path(), help="Certificate, in PEM.")
@click.option("--tls-key", metavar="FILE", type=click.Path(), help="Its key, in PEM.")
@click.option(
    "--max-request",
    "max_request_mib",
    default=4096,
    show_default=True,
    metavar="MIB",
    type=click.IntRange(min=1),
    help="What one request may send at most.",
)
@click.option(
    "--max-concurrent",
    default=16,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="How many requests run at a time.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    default=60,
    show_default=True,
    metavar="SECONDS",
    type=click.IntRange(min=1),
    help="How long to wait for the other end, each time.",
)
@click.option(
    "--stdio",
    is_flag=True,
    help="Serve the one repository at ROOT over standard input and output, as ssh:// URLs do.",
)
@prints
def command(
    caller: Caller,
    out: Output,
    root: str,
    host: str,
    port: int,
    token_file: str | None,
    read_only: bool,
    rewritable: tuple[str, ...],
    insecure_anonymous: bool,
    tls_cert: str | None,
    tls_key: str | None,
    max_request_mib: int,
    max_concurrent: int,
    timeout_seconds: int,
    stdio: bool,
) -> None:
    """Serve the repositories below a folder over HTTP.

    ROOT is a folder with repositories in it, the current one when omitted; a repository itself is
    served alone. Clone from the URL that is printed, with the name of the repository behind it.
    Without --token-file anybody on this machine may read, and nobody may push. The log goes to
    standard error, a line of JSON for each request. Ctrl-C ends the server when running requests
    are done.

    \b
    Examples:
      tvcs serve
      tvcs serve datasets/ --token-file tokens.json
      tvcs serve datasets/ --host 0.0.0.0 --tls-cert c.pem --tls-key k.pem
    """
    folder = str((caller.directory / root).resolve())
    if stdio:
        _serve_pipes(folder, is_read_only=read_only)
        return
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    if insecure_anonymous and token_file is not None:
        raise click.UsageError("--insecure-anonymous goes without --token-file")
    try:
        from tensorvcs.server.listening import Place
        from tensorvcs.server.repositories import has_repository
        from tensorvcs.server.serving import Rules, serve
    except ImportError as error:
        package = (error.name or "starlette").partition(".")[0]
        raise MissingDependencyError(package, "server", "serving") from error
    rules = Rules(
        token_file=token_file,
        lets_anybody=insecure_anonymous,
        is_read_only=read_only,
        rewritable=rewritable,
        max_request_nbytes=max_request_mib << 20,
        max_concurrent=max_concurrent,
        timeout_seconds=float(timeout_seconds),
    )

    def say(url: str) -> None:
        lines = [f"Serving {folder} at {url}"]
        if not has_repository(folder):
            lines.append(
                "No repository was found in it; make one with "
                f"'tvcs init --bare {folder}/NAME', and it is served at once"
            )
        out.show({"url": url, "root": folder}, lines)
        out.flush()

    serve(folder, Place(host, port, tls_cert, tls_key), rules, on_ready=say, write_log=out.note)


def _serve_pipes(folder: str, *, is_read_only: bool) -> None:
    from tensorvcs.server.pipes import Pipe, serve_pipes

    user = pwd.getpwuid(os.getuid()).pw_name
    source, target = cast("Pipe", sys.stdin.buffer), cast("Pipe", sys.stdout.buffer)
    serve_pipes(folder, source, target, user, is_read_only=is_read_only)
