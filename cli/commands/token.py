"""``tvcs token``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Literal

import click

from tensorvcs.server.tokens import RIGHTS, Token, TokenFile

from ..arguments import prints

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.group("token")
def command() -> None:
    """Make, list and revoke the tokens that 'tvcs serve --token-file' asks for.

    The file has the digests of the tokens, never a token itself. A server reads it again when it
    has changed.

    \b
    Examples:
      tvcs token add tokens.json ada --right write
      tvcs token list tokens.json
      tvcs token revoke tokens.json ada
    """


@command.command("add")
@click.argument("file", type=click.Path())
@click.argument("name")
@click.option(
    "--right",
    type=click.Choice(RIGHTS),
    default="read",
    show_default=True,
    help="What it lets do: admin is to write, and to let branches lose commits.",
)
@click.option(
    "--repository",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    help="Only in repositories with such a name, such as 'team/*'; in all when omitted.",
)
@click.option(
    "--days",
    type=click.IntRange(min=1, max=36_500),
    metavar="N",
    help="Good for so many days; for ever when omitted.",
)
@prints
def add(
    caller: Caller,
    out: Output,
    file: str,
    name: str,
    right: Literal["read", "write", "admin"],
    patterns: tuple[str, ...],
    days: int | None,
) -> None:
    """Make a token for somebody, and print it: nobody can tell it again.

    \b
    Examples:
      tvcs token add tokens.json ada
      tvcs token add tokens.json ci --right write --repository 'pets' --days 90
    """  # fmt: skip
    expires = None if days is None else caller.now() + dt.timedelta(days=days)
    rights = [(pattern, right) for pattern in patterns or ("*",)]
    secret = TokenFile(file).add(name, rights, expires)
    document = {"name": name, "token": secret, "expires": expires and expires.isoformat()}
    out.show(document, [secret])


@command.command("list")
@click.argument("file", type=click.Path())
@prints
def list_(caller: Caller, out: Output, file: str) -> None:
    """List who has tokens, and what they may do.

    \b
    Examples:
      tvcs token list tokens.json
    """
    tokens = TokenFile(file).tokens()
    rows = [(token.name, _rights_text(token), _expiry_text(token)) for token in tokens]
    lines = [line.rstrip() for line in out.table(rows)]
    out.show([_document(token) for token in tokens], lines or ["no tokens"])


@command.command("revoke")
@click.argument("file", type=click.Path())
@click.argument("name")
@prints
def revoke(caller: Caller, out: Output, file: str, name: str) -> None:
    """Make a token good for nothing, from the next request on.

    \b
    Examples:
      tvcs token revoke tokens.json ada
    """
    token = TokenFile(file).revoke(name)
    out.show(_document(token), [f"Revoked the token of {name}"])


def _document(token: Token) -> dict[str, Any]:
    fields = token.to_fields()
    return {name: fields.get(name) for name in ("name", "rights", "expires")}


def _rights_text(token: Token) -> str:
    return ", ".join(f"{right} {pattern}" for pattern, right in token.rights)


def _expiry_text(token: Token) -> str:
    return "" if token.expires is None else f"until {token.expires:%Y-%m-%d}"
