"""``tvcs reset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints
from ..text import summary_text

if TYPE_CHECKING:
    from tensorvcs import Repository

    from ..context import Caller
    from ..output import Output


_DROPPED = "Dropped what was staged; 'tvcs undo' brings it back"


@click.command("reset")
@click.argument("revision", metavar="[REV]", required=False)
@click.option("--column", "-c", metavar="NAME", help="Drop only what is staged in this column.")
@prints
def command(caller: Caller, out: Output, revision: str | None, column: str | None) -> None:
    """Drop what is staged, or move the branch to another commit.

    With REV the current branch moves there too. 'tvcs undo' takes a reset back.

    \b
    Examples:
      tvcs reset
      tvcs reset --column labels
      tvcs reset main~1
    """
    if revision is not None and column is not None:
        raise click.UsageError("REV and --column exclude each other")
    with caller.repository() as repo:
        if column is not None:
            _reset_column(repo, out, column)
            return
        if revision is None and repo.staging_base is None:
            _reset_first(repo, out)
            return
        was_dirty = repo.is_dirty
        before = repo.branches.get(repo.head)
        commit = repo.reset(revision or "HEAD")
        has_moved = before is None or before.id != commit.id
        document = {
            "branch": repo.head,
            "commit": commit.id,
            "has_moved": has_moved,
            "has_dropped": was_dirty,
        }
        lines = []
        if was_dirty:
            lines.append(_DROPPED)
        if has_moved:
            lines.append(
                f"Branch {repo.head} is now at {out.style(commit.short_id, 'yellow')} "
                f"{summary_text(commit)}"
            )
        out.show(document, lines or ["Nothing to reset"])


def _reset_column(repo: Repository, out: Output, column: str) -> None:
    with repo.edit() as staging:
        was_staged = column in staging.diff().columns
        staging.reset(column)
        document = {
            "branch": staging.branch,
            "commit": staging.base.id if staging.base else None,
            "has_moved": False,
            "has_dropped": was_staged,
        }
    text = f"Dropped what was staged in column {column}; 'tvcs undo' brings it back"
    out.show(document, [text if was_staged else f"Nothing is staged in column {column}"])


def _reset_first(repo: Repository, out: Output) -> None:
    """Drop what is staged before the first commit."""
    with repo.edit() as staging:
        was_dirty = staging.is_dirty
        staging.reset()
        document = {
            "branch": staging.branch,
            "commit": None,
            "has_moved": False,
            "has_dropped": was_dirty,
        }
    out.show(document, [_DROPPED if was_dirty else "Nothing to reset"])
