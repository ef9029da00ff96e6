"""``tvcs merge``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import MergeConflictError, with_hint

from ..arguments import prints, to_pairs
from ..conflicts import conflict_table, decided_text, takes_strategy
from ..documents import commit_document, conflict_document, diff_document
from ..merging import abort, finish, kept_lines
from ..text import stat_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Commit, Diff, MergePreview, MergeResult, Repository

    from ..context import Caller
    from ..output import Output


@click.command("merge")
@click.argument("revision", metavar="[REV]", required=False)
@click.option(
    "--into", metavar="BRANCH", help="The branch to merge into; the current one if omitted."
)
@takes_strategy
@click.option("-m", "--message", metavar="TEXT", help="The message of the merge commit.")
@click.option(
    "--meta",
    metavar="NAME=VALUE",
    multiple=True,
    callback=to_pairs,
    help="Keep a pair with the merge commit.",
)
@click.option("--no-ff", is_flag=True, help="Make a merge commit even where none is needed.")
@click.option(
    "--keep-conflicts", is_flag=True, help="Keep what no strategy decides, to decide it later."
)
@click.option("--dry-run", is_flag=True, help="Show what the merge would do, and change nothing.")
@click.option("--continue", "is_continue", is_flag=True, help="Record the merge in progress.")
@click.option("--abort", "is_abort", is_flag=True, help="Give the merge in progress up.")
@prints
def command(
    caller: Caller,
    out: Output,
    revision: str | None,
    into: str | None,
    strategy: Any,
    message: str | None,
    meta: dict[str, str],
    no_ff: bool,
    keep_conflicts: bool,
    dry_run: bool,
    is_continue: bool,
    is_abort: bool,
) -> None:
    """Merge a commit into a branch.

    Samples that only one side changed come from that side. What both sides changed in different
    ways is a conflict, which --strategy decides, or the merge policy of its column. What is left
    is listed, and the merge changes nothing; with --keep-conflicts the merge waits in the staging
    area for 'tvcs resolve', then --continue, and the exit code is 1.

    \b
    Examples:
      tvcs merge experiment
      tvcs merge experiment --dry-run
      tvcs merge experiment --strategy theirs -m "Take the new labels"
      tvcs merge experiment -s labels=newest -s masks=union
      tvcs merge main --into release --no-ff --meta source=uni-3
      tvcs merge experiment --keep-conflicts
      tvcs merge --continue
      tvcs merge --abort
    """
    if sum((revision is not None, is_continue, is_abort)) != 1:
        raise click.UsageError("name a REV, or one of --continue and --abort")
    if dry_run and keep_conflicts:
        raise click.UsageError("--dry-run and --keep-conflicts exclude each other")
    with caller.repository() as repo:
        if revision is None:
            has_more = into or strategy != "fail" or meta or no_ff or keep_conflicts or dry_run
            _refuse_extra(bool(has_more))
            if is_abort:
                abort(repo, out)
            else:
                finish(repo, out, message)
        elif dry_run:
            preview = repo.preview_merge(revision, into, strategy=strategy, fast_forward=not no_ff)
            _show_preview(out, into or repo.head, revision, preview)
        else:
            branch = into or repo.head
            before = repo.branches.get(branch)
            try:
                result = repo.merge(
                    revision,
                    into,
                    message=message,
                    metadata=meta,
                    strategy=strategy,
                    fast_forward=not no_ff,
                    keep_conflicts=keep_conflicts,
                )
            except MergeConflictError as error:
                raise _report(out, branch, revision, error) from error
            assert before is not None
            _show(repo, out, branch, revision, before, result)


def _refuse_extra(has_more: bool) -> None:
    if has_more:
        raise click.UsageError("--continue and --abort take no other option, but -m for a message")


def _report(
    out: Output, branch: str, revision: str, error: MergeConflictError
) -> MergeConflictError:
    """Print the conflicts that stopped a merge; return the error to raise."""
    conflicts = error.conflicts
    if out.is_json:
        out.document({"conflicts": [conflict_document(conflict) for conflict in conflicts]})
    else:
        out.lines(conflict_table(out, conflicts))
    return with_hint(
        MergeConflictError(
            f"{count_text(len(conflicts), 'conflict')} between {branch!r} and {revision!r}; "
            "nothing was changed",
            conflicts,
        ),
        "decide all with --strategy ours or --strategy theirs, or each with --keep-conflicts",
    )


def _show(
    repo: Repository,
    out: Output,
    branch: str,
    revision: str,
    before: Commit,
    result: MergeResult,
) -> None:
    is_open = bool(result.open_conflicts)
    difference = repo.staged() if is_open else repo.diff(before, result.commit)
    document = {
        "branch": branch,
        "is_fast_forward": result.is_fast_forward,
        "has_moved": result.commit.id != before.id,
        "commit": commit_document(result.commit),
        "conflicts": [conflict_document(conflict) for conflict in result.conflicts],
        "open_conflicts": [conflict_document(conflict) for conflict in result.open_conflicts],
        **diff_document(difference, has_keys=False),
    }
    lines = _lines(out, branch, revision, before, result, difference)
    if is_open:
        lines = _kept_lines(out, branch, revision, result)
    out.show(document, lines)
    if is_open:
        click.get_current_context().exit(1)


def _kept_lines(out: Output, branch: str, revision: str, result: MergeResult) -> Iterator[str]:
    count = count_text(len(result.open_conflicts), "conflict")
    yield f"Merging {revision} into {branch}: {count} to decide"
    if result.conflicts:
        yield decided_text(result.conflicts)
    yield from kept_lines(out, result.open_conflicts)


def _lines(
    out: Output,
    branch: str,
    revision: str,
    before: Commit,
    result: MergeResult,
    difference: Diff,
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
        yield decided_text(result.conflicts)
    yield from stat_lines(out, difference)


def _show_preview(out: Output, branch: str, revision: str, preview: MergePreview) -> None:
    document = {
        "branch": branch,
        "is_fast_forward": preview.is_fast_forward,
        "conflicts": [conflict_document(conflict) for conflict in preview.decided],
        "open_conflicts": [conflict_document(conflict) for conflict in preview.conflicts],
        **diff_document(preview.diff, has_keys=False),
    }
    out.show(document, _preview_lines(out, branch, revision, preview))
    if preview.conflicts:
        click.get_current_context().exit(1)


def _preview_lines(out: Output, branch: str, revision: str, preview: MergePreview) -> Iterator[str]:
    if preview.is_fast_forward and preview.diff.is_empty:
        yield f"Branch {branch} has all of {revision} already"
        return
    how = "be a fast-forward" if preview.is_fast_forward else "make a merge commit"
    if preview.conflicts:
        how = f"have {count_text(len(preview.conflicts), 'conflict')}"
    yield f"Merging {revision} into {branch} would {how}"
    if preview.decided:
        yield decided_text(preview.decided)
    yield from stat_lines(out, preview.diff)
    if preview.conflicts:
        yield from conflict_table(out, preview.conflicts)
