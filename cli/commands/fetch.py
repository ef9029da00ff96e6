"""``tvcs fetch``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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
@click.option(
    "--depth",
    metavar="N",
    callback=lambda ctx, param, text: to_depth(text),
    help="Of a partial clone: bring the N newest versions of each branch, now and from now on; "
    "'all' for every version.",
)
@prints
def command(
    caller: Caller,
    out: Output,
    remote: str,
    branches: tuple[str, ...],
    prune: bool,
    depth: int | Literal["all"] | None,
) -> None:
    """Copy what a remote has; no branch of yours moves.

    The remote is origin when omitted. Its branches are then known as origin/main and so on.

    \b
    Examples:
      tvcs fetch
      tvcs fetch origin main
      tvcs fetch --prune
      tvcs fetch --depth 10
    """
    with caller.repository() as repo:
        with out.transfer("Fetching") as progress:
            result = repo.fetch(
                remote,
                branches=list(branches) or None,
                prune=prune,
                depth=depth,
                progress=progress,
            )
        document = {
            "remote": remote,
            "refs": [fetched_document(ref) for ref in result.refs],
            "moved": moved_document(result.moved),
        }
        out.show(document, _lines(result))


def to_depth(text: str | None) -> int | Literal["all"] | None:
    """Turn ``10`` or ``all`` into a depth."""
    if text is None:
        return None
    if text == "all":
        return "all"
    if not text.isdecimal() or int(text) < 1:
        raise click.BadParameter(f"{text!r} is no depth; write a number from 1, or all")
    return int(text)


def _lines(result: FetchResult) -> Iterator[str]:
    if not result.refs and result.moved.nbytes:
        yield f"From {result.remote}: {moved_text(result.moved)}"
        return
    if not result.refs:
        yield f"Nothing new at {result.remote}"
        return
    yield f"From {result.remote}: {moved_text(result.moved)}"
    for ref in result.refs:
        yield f"  {fetched_line(ref)}"
