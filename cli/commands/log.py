"""``tvcs log``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tensorvcs.errors import ColumnNotFoundError

from ..arguments import KEY_HELP, prints, to_moment, typed_key
from ..documents import commit_document
from ..graph import CommitGraph, children_first
from ..text import commit_lines, names_by_commit, oneline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorvcs import Commit, Repository

    from ..arguments import Moment
    from ..context import Caller
    from ..output import Output


@click.command("log", epilog=KEY_HELP)
@click.argument("revision", metavar="[REV]", default="HEAD")
@click.option("--graph", is_flag=True, help="Draw lines from commits to their parents.")
@click.option("--oneline", "is_oneline", is_flag=True, help="A line for each commit.")
@click.option("--column", "-c", metavar="NAME", help="Commits that changed this column.")
@click.option("--key", "-k", metavar="KEY", help="Commits that changed this sample.")
@click.option("--author", metavar="TEXT", help="Commits whose author's name or mail has TEXT.")
@click.option(
    "--since",
    metavar="TIME",
    callback=to_moment,
    help="Commits since a date, a time, or '2 weeks ago'.",
)
@click.option("-n", "--limit", type=click.IntRange(min=0), metavar="N", help="At most N commits.")
@prints
def command(
    caller: Caller,
    out: Output,
    revision: str,
    graph: bool,
    is_oneline: bool,
    column: str | None,
    key: str | None,
    author: str | None,
    since: Moment | None,
    limit: int | None,
) -> None:
    """List commits, newest first.

    REV is HEAD when omitted. Names in brackets are the branches and tags that point at a commit.

    \b
    Examples:
      tvcs log --oneline -n 10
      tvcs log --graph experiment
      tvcs log --column labels --key cat/1
      tvcs log --author ada --since "2 weeks ago"
    """
    with caller.repository() as repo:
        start = repo.resolve(revision)
        if column is not None:
            _check_column(repo, start, column)
        filters: dict[str, Any] = {
            "column": column,
            "key": None if key is None else _key(repo, start, column, key),
            "author": author,
            "since": None if since is None else since(caller.now()),
        }
        if out.is_json:
            commits = repo.log(start, limit=limit, **filters)
            out.document([commit_document(commit) for commit in commits])
            return
        names = names_by_commit(repo)

        def describe(commit: Commit) -> Iterable[str]:
            if is_oneline:
                return [oneline(out, commit, names.get(commit.id, []))]
            return commit_lines(out, commit, names.get(commit.id, []))

        if graph:
            lines = _graph_lines(out, repo, start, filters, limit, describe, is_oneline)
        else:
            lines = _plain_lines(repo.log(start, limit=limit, **filters), describe, is_oneline)
        out.lines(lines)


def _check_column(repo: Repository, start: Commit, column: str) -> None:
    """Raise ColumnNotFoundError when no commit ever had the column."""
    with repo.checkout(start) as checkout:
        known = list(checkout.columns)
    if column not in known and not any(repo.log(start, column=column, limit=1)):
        raise ColumnNotFoundError(
            f"no commit has had a column {column!r}; there are: {', '.join(known) or 'none'}"
        )


def _key(repo: Repository, start: Commit, column: str | None, key: str) -> int | str:
    with repo.checkout(start) as checkout:
        columns = checkout.columns
        named = [columns[name] for name in columns if column in (None, name)]
        return typed_key(key, named)


def _plain_lines(
    commits: Iterable[Commit], describe: Callable[[Commit], Iterable[str]], is_oneline: bool
) -> Iterator[str]:
    for number, commit in enumerate(commits):
        if number and not is_oneline:
            yield ""
        yield from describe(commit)


def _graph_lines(
    out: Output,
    repo: Repository,
    start: Commit,
    filters: dict[str, Any],
    limit: int | None,
    describe: Callable[[Commit], Iterable[str]],
    is_oneline: bool,
) -> Iterator[str]:
    """Yield the log with its graph; commits that the filters drop leave their edges."""
    wanted: set[str] | None = None
    if any(value is not None for value in filters.values()):
        wanted = {commit.id for commit in repo.log(start, **filters)}
    commits = children_first(start, repo.resolve, lambda commit: commit.object.generation)
    graph = CommitGraph()
    shown = 0
    gap: str | None = None
    for commit in commits:
        if limit is not None and shown == limit:
            return
        rows = graph.draw(commit.id, commit.parents)
        if wanted is not None and commit.id not in wanted:
            if shown:
                yield from rows.edges
            gap = None if gap is None else rows.lanes
            continue
        if gap is not None:
            yield gap
        shown += 1
        lines = iter(describe(commit))
        left = [rows.commit, *rows.edges]
        width = max(map(len, [*left, rows.lanes]))
        for prefix in left:
            text = next(lines, "")
            yield f"{prefix:{width}} {text}".rstrip()
        for text in lines:
            yield f"{rows.lanes:{width}} {text}".rstrip()
        gap = None if is_oneline else rows.lanes
        if wanted is not None and shown == len(wanted):
            return
