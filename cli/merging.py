"""The end of a merge, cherry-pick or revert that waits, which three commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.display.counting import count_text
from tensorvcs.errors import NoMergeInProgressError, with_hint

from .commands.show import changes_of
from .conflicts import conflict_table
from .documents import commit_document, diff_document
from .text import stat_lines, summary_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs import Commit, Conflict, Diff, MergeInProgress, Repository

    from .documents import Document
    from .output import Output


def waiting_merge(repo: Repository, verb: str | None = None) -> MergeInProgress:
    """Return the merge that waits, or the pick that `verb` names.

    Raises
    ------
    NoMergeInProgressError
        There is none, or it was begun by another command than `verb`.
    """
    merge = repo.merge_in_progress
    if merge is not None and verb not in (None, merge.verb):
        raise with_hint(
            NoMergeInProgressError(f"no {verb} is in progress, but a {merge.verb}"),
            f"'tvcs {merge.verb} --continue' records it, 'tvcs {merge.verb} --abort' gives it up",
        )
    if merge is None:
        raise with_hint(
            NoMergeInProgressError("no merge, cherry-pick or revert is in progress"),
            "begin one that keeps its conflicts: tvcs merge REV --keep-conflicts",
        )
    return merge


def waiting_message(repo: Repository) -> tuple[str, ...]:
    """Return the message of what is in progress; none when nothing is."""
    merge = None if repo.is_bare else repo.merge_in_progress
    return () if merge is None else (merge.message,)


def waiting_document(repo: Repository) -> Document | None:
    """Return what is in progress, None when nothing is."""
    merge = repo.merge_in_progress
    if merge is None:
        return None
    return {"verb": merge.verb, "theirs": merge.theirs.id, "open": merge.open_count}


def waiting_lines(repo: Repository) -> Iterator[str]:
    """Yield what is in progress and what to do next; no line when nothing is."""
    merge = repo.merge_in_progress
    if merge is None:
        return
    what = f"{merge.verb} of {merge.theirs.short_id} {summary_text(merge.theirs)}"
    if merge.open_count:
        yield f"In progress: {what}, with {count_text(merge.open_count, 'conflict')} to decide."
        yield "See 'tvcs conflicts' and 'tvcs resolve'; 'tvcs merge --abort' gives up."
    else:
        yield f"In progress: {what}, with all conflicts decided."
        yield "Record it with 'tvcs merge --continue'; 'tvcs merge --abort' gives up."


def kept_lines(out: Output, conflicts: Sequence[Conflict]) -> Iterator[str]:
    """Yield the conflicts that were kept, and what to do about them."""
    yield from conflict_table(out, conflicts)
    yield (
        "Decide them with 'tvcs resolve' ('tvcs conflicts' shows the values), then "
        "'tvcs merge --continue'; 'tvcs merge --abort' gives up"
    )


def finish(repo: Repository, out: Output, message: str | None, *, verb: str | None = None) -> None:
    """Record the merge that waits; see `waiting_merge`."""
    commit = waiting_merge(repo, verb).finish(message)
    difference = changes_of(repo, commit)
    document = {
        "branch": repo.head,
        "commit": commit_document(commit),
        **diff_document(difference, has_keys=False),
    }
    out.show(document, _lines(out, repo.head, commit, difference))


def _lines(out: Output, branch: str, commit: Commit, difference: Diff) -> Iterator[str]:
    yield f"[{branch} {out.style(commit.short_id, 'yellow')}] {summary_text(commit)}"
    yield from stat_lines(out, difference)


def abort(repo: Repository, out: Output, *, verb: str | None = None) -> None:
    """Give the merge that waits up; see `waiting_merge`."""
    merge = waiting_merge(repo, verb)
    verb, theirs = merge.verb, merge.theirs
    merge.abort()
    out.show(
        {"branch": repo.head, "verb": verb, "theirs": theirs.id},
        [f"Gave up the {verb} of {theirs.short_id}; 'tvcs undo' brings it back"],
    )
