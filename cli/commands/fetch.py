"""``tvcs fetch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints
from ..transfers import (
    fetched_document,
    fetched_line,
    moved_document,
    moved_text,
    )

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import FetchResult

    from ..context import Caller
    from ..output import Output


@click.command("fetch")
@click.argument("remote", default="origin")
@click.argument("branches", nargs=-1, metavar="[BRANCH]...")
@click.option("--prune", is_flag=True, help="Forget remote branches that the remote has no more.")
@prints
def command(
    caller: Caller, out: Output, remote: str, branches: tuple[str, ...], prune: bool
) -> None:
    """Copy what a remote has; no branch of yours moves.

    The remote is origin when omitted. Its branches are then known as origin/main and so on.

    \b
    Examples:
      tvcs fetch
      tvcs fetch origin main
      tvcs fetch --prune
    """
    with caller.repository() as repo:
        with out.transfer("Fetching") as progress:
            result = repo.fetch(
                remote, branches=list(branches) or None, prune=prune, progress=progress
            )
        document = {
            "remote": remote,
            "refs": [fetched_document(ref) for ref in result.refs],
            "moved": moved_document(result.moved),
        }
        out.show(document, _lines(result))


def _lines(result: FetchResult) -> Iterator[str]:
    if not result.refs:
        yield f"Nothing new at {result.remote}"
        return
    yield f"From {result.remote}: {moved_text(result.moved)}"
    for ref in result.refs:
        yield f"  {fetched_line(ref)}"
