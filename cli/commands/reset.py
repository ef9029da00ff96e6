"""``tvcs reset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import KEY_PATTERN_HELP, prints
from ..text import summary_text

if TYPE_CHECKING:
    from ..context import Caller
    from ..output import Output


@click.command("reset", epilog=KEY_PATTERN_HELP)
@click.argument("revision", metavar="[REV]", required=False)
@click.option(
    "--column",
    "-c",
    "columns",
    metavar="NAME",
    multiple=True,
    help="Drop only what is staged in this column.",
)
@click.option(
    "--key",
    "-k",
    "keys",
    metavar="PATTERN",
    multiple=True,
    help="Drop only what is staged of samples whose key fits.",
)
@prints
def command(
    caller: Caller,
    out: Output,
    revision: str | None,
    columns: tuple[str, ...],
    keys: tuple[str, ...],
) -> None:
    """Drop what is staged, or move the branch to another commit.

    With REV the current branch moves there too. A merge that waits is dropped. 'tvcs undo' takes a
    reset back.

    \b
    Examples:
      tvcs reset
      tvcs reset --column labels
      tvcs reset --column labels --key 'cat/*'
      tvcs reset main~1
    """
    is_part = bool(columns or keys)
    if revision is not None and is_part:
        raise click.UsageError("REV excludes --column and --key")
    with caller.repository() as repo:
        newest = repo.operations(1)
        was_dirty, waiting = repo.is_dirty, repo.merge_in_progress
        before = repo.branches.get(repo.head)
        commit = repo.reset(revision or "HEAD", columns=columns or None, keys=keys or None)
        has_moved = commit is not None and (before is None or before.id != commit.id)
        has_changed = repo.operations(1) != newest
        has_dropped = was_dirty and has_changed
        document = {
            "branch": repo.head,
            "commit": None if commit is None else commit.id,
            "has_moved": has_moved,
            "has_dropped": has_dropped,
        }
        lines = []
        if has_dropped:
            what = "what was asked for" if is_part else "what was staged"
            lines.append(f"Dropped {what}; 'tvcs undo' brings it back")
        if waiting is not None and has_changed and not is_part:
            lines.append("Gave up what was being merged; 'tvcs undo' brings it back")
        if has_moved and commit is not None:
            lines.append(
                f"Branch {repo.head} is now at {out.style(commit.short_id, 'yellow')} "
                f"{summary_text(commit)}"
            )
        nothing = "Nothing of that is staged" if is_part else "Nothing to reset"
        out.show(document, lines or [nothing])
