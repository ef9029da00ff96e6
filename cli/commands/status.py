"""``tvcs status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tensorvcs.errors import BareRepositoryError

from ..arguments import prints
from ..documents import diff_document
from ..merging import waiting_document, waiting_lines
from ..text import stat_lines, summary_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Commit, Diff

    from ..context import Caller
    from ..output import Output


@click.command("status")
@prints
def command(caller: Caller, out: Output) -> None:
    """Show the branch and what is staged.

    \b
    Examples:
      tvcs status
      tvcs status --json
    """
    with caller.repository() as repo:
        if repo.is_bare:
            raise BareRepositoryError(f"the repository {repo.path} is bare: nothing is staged")
        base, staged = repo.staging_base, repo.staged()
        head = repo.branches.get(repo.head)
        document = {
            "branch": repo.head,
            "head": head.id if head else None,
            "base": base.id if base else None,
            "is_dirty": not staged.is_empty,
            "merge": waiting_document(repo),
            **diff_document(staged, has_keys=False),
        }
        waiting = list(waiting_lines(repo))
        out.show(document, _lines(out, repo.head, head, base, staged, waiting))


def _lines(
    out: Output,
    branch: str,
    head: Commit | None,
    base: Commit | None,
    staged: Diff,
    waiting: list[str],
) -> Iterator[str]:
    yield f"On branch {out.style(branch, bold=True)}"
    if base is None:
        yield "No commits yet"
    else:
        yield f"Based on {out.style(base.short_id, 'yellow')} {summary_text(base)}"
    if (head and head.id) != (base and base.id):
        there = head.short_id if head else "gone"
        yield f"The branch has moved since, to {there}; a commit is merged onto it."
    yield from waiting
    yield ""
    if not staged.is_empty:
        yield "Changes to be committed:"
        yield from stat_lines(out, staged)
        if not waiting:
            yield ""
            yield "Record them with 'tvcs commit -m MESSAGE', or drop them with 'tvcs reset'."
    elif base is None:
        yield "Nothing is staged; begin with 'tvcs import SOURCE' or 'tvcs column create'."
    else:
        yield "Nothing is staged."
