"""What ``tvcs cherry-pick`` and ``tvcs revert`` share: their options, and what they print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import MergeConflictError, with_hint

from .arguments import to_pairs
from .conflicts import conflict_table, takes_strategy
from .documents import commit_document, conflict_document, diff_document
from .merging import abort, finish, kept_lines
from .text import stat_lines, summary_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tensorvcs import Commit, Diff, Repository

    from .context import Caller
    from .output import Output

_OPTIONS = (
    click.argument("revision", metavar="[REV | A..B]", required=False),
    click.option(
        "--column", "-c", "columns", metavar="NAME", multiple=True, help="Only this column."
    ),
    click.option(
        "--key",
        "-k",
        "keys",
        metavar="PATTERN",
        multiple=True,
        help="Only samples whose key fits, such as 'cat/*', 17 or 0:100.",
    ),
    click.option(
        "--author", metavar="TEXT", help="Only commits whose author's name or mail has TEXT in it."
    ),
    click.option(
        "--mainline",
        "-m",
        type=click.IntRange(min=1),
        metavar="N",
        help="For a merge commit: the parent that its change is seen from.",
    ),
    takes_strategy,
    click.option("--message", metavar="TEXT", help="The message of the new commit."),
    click.option(
        "--meta",
        metavar="NAME=VALUE",
        multiple=True,
        callback=to_pairs,
        help="Keep a pair with the new commit.",
    ),
    click.option("--each", is_flag=True, help="Make a commit of each commit of a range."),
    click.option("--no-commit", "-n", "stage_only", is_flag=True, help="Stage the change only."),
    click.option(
        "--keep-conflicts", is_flag=True, help="Keep what no strategy decides, to decide it later."
    ),
    click.option("--continue", "is_continue", is_flag=True, help="Record what is in progress."),
    click.option("--abort", "is_abort", is_flag=True, help="Give up what is in progress."),
)


def takes_picks(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a cherry-pick or revert."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class PickOptions:
    """The options of a cherry-pick or revert, as they were typed."""

    revision: str | None
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    author: str | None
    mainline: int | None
    strategy: Any
    message: str | None
    meta: dict[str, str]
    each: bool
    stage_only: bool
    keep_conflicts: bool
    is_continue: bool
    is_abort: bool

    def check(self) -> None:
        """Raise UsageError when options do not go together."""
        if sum((self.revision is not None, self.is_continue, self.is_abort)) != 1:
            raise click.UsageError("name a REV, or one of --continue and --abort")
        if self.each and (self.stage_only or self.keep_conflicts):
            other = "--no-commit" if self.stage_only else "--keep-conflicts"
            raise click.UsageError(f"--each and {other} exclude each other")


def run_pick(
    caller: Caller, out: Output, verb: Literal["cherry-pick", "revert"], options: PickOptions
) -> None:
    """Run one of the two commands."""
    options.check()
    with caller.repository() as repo:
        if options.is_abort:
            abort(repo, out, verb=verb)
        elif options.is_continue:
            finish(repo, out, options.message, verb=verb)
        else:
            _pick(repo, out, verb, options)


def _pick(
    repo: Repository, out: Output, verb: Literal["cherry-pick", "revert"], options: PickOptions
) -> None:
    assert options.revision is not None
    before = repo.branches.get(repo.head)
    act = repo.cherry_pick if verb == "cherry-pick" else repo.revert
    try:
        commit = act(
            options.revision,
            columns=options.columns or None,
            keys=options.keys or None,
            author=options.author,
            mainline=options.mainline,
            strategy=options.strategy,
            message=options.message,
            metadata=options.meta,
            keep_conflicts=options.keep_conflicts,
            each=options.each,
            stage_only=options.stage_only,
        )
    except MergeConflictError as error:
        raise _report(out, verb, options.revision, error) from error
    assert before is not None
    waiting = repo.conflicts
    has_moved = commit.id != before.id
    difference = repo.diff(before, commit) if has_moved else repo.staged()
    document = {
        "branch": repo.head,
        "has_moved": has_moved,
        "commit": commit_document(commit),
        "open_conflicts": [conflict_document(conflict) for conflict in waiting],
        **diff_document(difference, has_keys=False),
    }
    if waiting:
        count = count_text(len(waiting), "conflict")
        lines = [f"The {verb} of {options.revision} onto {repo.head}: {count} to decide"]
        out.show(document, [*lines, *kept_lines(out, waiting)])
        click.get_current_context().exit(1)
    out.show(document, _lines(out, repo, before, commit, difference))


def _report(out: Output, verb: str, revision: str, error: MergeConflictError) -> MergeConflictError:
    """Print the conflicts that stopped a command; return the error to raise."""
    conflicts = error.conflicts
    if out.is_json:
        out.document({"conflicts": [conflict_document(conflict) for conflict in conflicts]})
    else:
        out.lines(conflict_table(out, conflicts))
    where = error.problem.partition(" has ")[0]
    return with_hint(
        MergeConflictError(
            f"{where} has {count_text(len(conflicts), 'conflict')} with what is here; "
            "nothing was changed",
            conflicts,
        ),
        "decide all with --strategy ours or --strategy theirs, or each with --keep-conflicts",
    )


def _lines(
    out: Output, repo: Repository, before: Commit, commit: Commit, difference: Diff
) -> Iterator[str]:
    if commit.id == before.id:
        yield "Staged, to be recorded with 'tvcs commit'"
    else:
        made = list(repo.log(f"{before.id}..{commit.id}"))
        for one in reversed(made):
            yield f"[{repo.head} {out.style(one.short_id, 'yellow')}] {summary_text(one)}"
    yield from stat_lines(out, difference)
