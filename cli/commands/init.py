"""``tvcs init``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import tensorvcs

from ..arguments import prints

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("init")
@click.argument("path", required=False, type=click.Path())
@click.option("--bare", is_flag=True, help="Without a staging area, for a server.")
@click.option("--user-name", metavar="NAME", help="Who commits here.")
@click.option("--user-email", metavar="MAIL", help="Who commits here; needed with --user-name.")
@prints
def command(
    caller: Caller,
    out: Output,
    path: str | None,
    bare: bool,
    user_name: str | None,
    user_email: str | None,
) -> None:
    """Make an empty repository.

    PATH is the current folder when omitted, and is made when it is missing. The repository lives
    in PATH/.tensorvcs, a bare one in PATH itself.

    \b
    Examples:
      tvcs init --user-name Ada --user-email ada@example.org
      tvcs init photos
      tvcs init --bare photos.git
    """
    if (user_name is None) != (user_email is None):
        raise click.UsageError("--user-name and --user-email go together")
    if caller.at_operation is not None:
        raise click.UsageError("--at-op looks at a repository that is there already")
    folder = caller.directory / (path or "")
    with tensorvcs.init(folder, user_name, user_email, bare=bare) as repo:
        document = {"path": str(repo.path), "is_bare": repo.is_bare, "branch": repo.head}
        kind = "bare repository" if repo.is_bare else "repository"
        out.show(document, [f"Made an empty {kind} in {repo.path}"])
