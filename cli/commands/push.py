"""``tvcs push``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints
from ..transfers import pushed_document, pushed_line

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("push")
@click.argument("remote", default="origin")
@click.argument("branch", required=False, metavar="[BRANCH[:NAME]]")
@click.option("--tag", metavar="NAME", help="Push this tag instead of a branch.")
@click.option(
    "--force", is_flag=True, help="Let the remote lose commits that the branch here has not."
)
@click.option("--delete", is_flag=True, help="Delete BRANCH of the remote.")
@prints
def command(
    caller: Caller,
    out: Output,
    remote: str,
    branch: str | None,
    tag: str | None,
    force: bool,
    delete: bool,
) -> None:
    """Copy a branch to a remote, and move it there.

    The remote is origin, and BRANCH the current one, when omitted; with :NAME it is called so
    there. A push that would make the remote lose commits of others is refused.

    \b
    Examples:
      tvcs push
      tvcs push origin main:week-12
      tvcs push --tag v1
    """
    if tag is not None and (branch is not None or delete):
        raise click.UsageError("--tag goes with neither a branch nor --delete")
    name, _, target = (branch or "").partition(":")
    with caller.repository() as repo, out.transfer("Pushing") as progress:
        if tag is not None:
            result = repo.push_tag(remote, tag, force=force, progress=progress)
        elif delete:
            if not name or target:
                raise click.UsageError("--delete needs the name of one branch of the remote")
            result = repo.delete_remote_branch(remote, name)
        else:
            result = repo.push(remote, name or None, force, to=target or None, progress=progress)
    out.show(pushed_document(result), [pushed_line(result)])
