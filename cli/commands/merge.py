"""``tvcs merge``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from tensorvcs.errors import MergeConflictError, with_hint

from ..arguments import prints
from ..documents import commit_document, conflict_document, diff_document
from ..text import SHOWN_KEYS, count_text, key_text, stat_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs import Commit, Conflict, Diff, MergeResult

    from ..context import Caller
    from ..output import Output


@click.command("merge")
@click.argument("revision", metavar="REV")
@click.option(
    "--into", metavar="BRANCH", help="The branch to merge into; the current one if omitted."
)
@click.option(
    "--strategy",
    "-s",
    type=click.Choice(["fail", "ours", "theirs"]),
    default="fail",
    show_default=True,
    help="What a conflict does: stop the merge, or take the value of one side.",
)
@click.option("-m", "--message", metavar="TEXT", help="The message of the merge commit.")
@click.option("--no-ff", is_flag=True, help="Make a merge commit even where none is needed.")
@prints
def command(
    caller: Caller,
    out: Output,
    revision: str,
    into: str | None,
    strategy: Literal["fail", "ours", "theirs"],
    message: str | None,
    no_ff: bool,
) -> None:
    """Merge a commit into a branch.

    Samples that only one side changed come from that side. What both sides changed in different
    ways is a conflict; conflicts are listed, and the merge changes nothing, unless --strategy
    decides them.

    \b
    Examples:
      tvcs merge experiment
      tvcs merge experiment --strategy theirs -m "Take the new labels"
      tvcs merge main --into release --no-ff
    """
    with caller.repository() as repo:
        branch = into or repo.head
        before = repo.branches.get(branch)
        try:
            result = repo.merge(
                revision, into, message=message, strategy=strategy, fast_forward=not no_ff
            )
        except MergeConflictError as error:
            _report(out, error.conflicts)
            raise with_hint(
                MergeConflictError(
                    f"{count_text(len(error.conflicts), 'conflict')} between {branch!r} and "
                    f"{revision!r}; nothing was changed",
                    error.conflicts,
                ),
                "change one side, or decide all with --strategy ours or --strategy theirs",
            ) from error
        assert before is not None
        difference = repo.diff(before, result.commit)
        document = {
            "branch": branch,
            "is_fast_forward": result.is_fast_forward,
            "has_moved": result.commit.id != before.id,
            "commit": commit_document(result.commit),
            "conflicts": [conflict_document(conflict) for conflict in result.conflicts],
            **diff_document(difference, has_keys=False),
        }
        lines = _lines(out, branch, revision, before, result, difference, strategy)
        out.show(document, lines)


def _report(out: Output, conflicts: Sequence[Conflict]) -> None:
    if out.is_json:
        out.document({"conflicts": [conflict_document(conflict) for conflict in conflicts]})
        return
    rows = [
        (conflict.column, "" if conflict.key is None else key_text(conflict.key), conflict.kind)
        for conflict in conflicts[:SHOWN_KEYS]
    ]
    for line in out.table([("COLUMN", "KEY", "CONFLICT (OURS/THEIRS)"), *rows]):
        out.line(line)
    if len(conflicts) > len(rows):
        out.line(f"… and {len(conflicts) - len(rows):,} more; --json lists them")


def _lines(
    out: Output,
    branch: str,
    revision: str,
    before: Commit,
    result: MergeResult,
    difference: Diff,
    strategy: str,
) -> Iterator[str]:
    place = out.style(result.commit.short_id, "yellow")
    if result.commit.id == before.id:
        yield f"Branch {branch} has all of {revision} already"
        return
    if result.is_fast_forward:
        yield f"Fast-forward of {branch} from {before.short_id} to {place}"
    else:
        yield f"Merged {revision} into {branch} as {place}"
    if result.conflicts:
        yield f"{count_text(len(result.conflicts), 'conflict')} decided by strategy {strategy}"
    yield from stat_lines(out, difference)
