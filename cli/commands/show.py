"""``tvcs show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints
from ..documents import commit_document, diff_document
from ..text import commit_lines, names_by_commit, printable, stat_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Commit, Diff, Repository

    from ..context import Caller
    from ..output import Output


@click.command("show")
@click.argument("revision", metavar="[REV]", default="HEAD")
@prints
def command(caller: Caller, out: Output, revision: str) -> None:
    """Show one commit and what it changed.

    REV is HEAD when omitted. Of a merge, the changes are those since its first parent.

    \b
    Examples:
      tvcs show
      tvcs show main~2
      tvcs show v1 --json
    """
    with caller.repository() as repo:
        commit = repo.resolve(revision)
        difference = changes_of(repo, commit)
        tag_message = repo.tag_message(revision) if revision in repo.tags else None
        if out.is_json:
            document = {**commit_document(commit), **diff_document(difference, has_keys=False)}
            if tag_message is not None:
                document["tag_message"] = tag_message
            out.document(document)
            return
        names = names_by_commit(repo).get(commit.id, [])
        out.lines(_lines(out, commit, names, difference, revision, tag_message))


def changes_of(repo: Repository, commit: Commit) -> Diff:
    """Return what a commit changed since its first parent; everything of a first commit."""
    parent = repo.resolve(commit.parents[0]) if commit.parents else None
    return repo.diff(parent, commit)


def _lines(
    out: Output,
    commit: Commit,
    names: list[str],
    difference: Diff,
    revision: str,
    tag_message: str | None,
) -> Iterator[str]:
    if tag_message is not None:
        yield out.style(f"tag {revision}", "yellow")
        for line in tag_message.strip().splitlines():
            yield f"    {printable(line)}".rstrip()
        yield ""
    yield from commit_lines(out, commit, names)
    if not difference.is_empty:
        yield ""
        yield from stat_lines(out, difference)
