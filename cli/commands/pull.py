"""``tvcs pull``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..arguments import prints
from ..conflicts import takes_strategy
from ..documents import commit_document, diff_document
from ..text import stat_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Commit

    from ..context import Caller
    from ..output import Output


@click.command("pull")
@click.argument("remote", default="origin")
@click.argument("branch", required=False)
@takes_strategy
@prints
def command(caller: Caller, out: Output, remote: str, branch: str | None, strategy: Any) -> None:
    """Fetch a branch of a remote and merge it into the current branch.

    The remote is origin, and BRANCH is called like the current branch, when omitted.

    \b
    Examples:
      tvcs pull
      tvcs pull origin main
      tvcs pull --strategy theirs
    """
    with caller.repository() as repo:
        before = repo.branches.get(repo.head)
        with out.transfer("Fetching") as progress:
            result = repo.pull(remote, branch, strategy=strategy, progress=progress)
        difference = repo.diff(before, result.commit)
        document = {
            "branch": repo.head,
            "is_fast_forward": result.is_fast_forward,
            "has_moved": before is None or result.commit.id != before.id,
            "commit": commit_document(result.commit),
            **diff_document(difference, has_keys=False),
        }
        name = f"{remote}/{branch or repo.head}"
        lines = [*_lines(out, repo.head, name, before, result), *stat_lines(out, difference)]
        out.show(document, lines)


def _lines(
    out: Output, branch: str, name: str, before: Commit | None, result: Any
) -> Iterator[str]:
    place = out.style(result.commit.short_id, "yellow")
    if before is not None and result.commit.id == before.id:
        yield f"Branch {branch} has all of {name} already"
    elif before is None:
        yield f"Branch {branch} starts at {place} of {name}"
    elif result.is_fast_forward:
        yield f"Fast-forward of {branch} from {before.short_id} to {place}"
    else:
        yield f"Merged {name} into {branch} as {place}"
