"""``tvcs log``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tensorvcs.errors import ColumnNotFoundError

from ..arguments import KEY_HELP, prints, to_moment, to_pairs, typed_key
from ..documents import commit_document
from ..graph import CommitGraph, children_first
from ..text import commit_lines, names_by_commit, oneline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorvcs import Commit, Repository
    from tensorvcs.objects.moments import Moment

    from ..context import Caller
    from ..output import Output


@click.command("log", epilog=KEY_HELP)
@click.argument("revision", metavar="[REV]", default="HEAD")
@click.option("--graph", is_flag=True, help="Draw lines from commits to their parents.")
@click.option("--oneline", "is_oneline", is_flag=True, help="A line for each commit.")
@click.option("--column", "-c", metavar="NAME", help="Commits that changed this column.")
@click.option("--key", "-k", metavar="KEY", help="Commits that changed this sample.")
@click.option("--author", metavar="TEXT", help="Commits whose author's name or mail has TEXT.")
@click.option("--grep", metavar="TEXT", help="Commits whose message has TEXT.")
@click.option(
    "--since",
    metavar="TIME",
    callback=to_moment,
    help="Commits since a date, a time, or '2 weeks ago'.",
)
@click.option(
    "--until", metavar="TIME", callback=to_moment, help="Commits until then; a date is its start."
)
@click.option(
    "--meta",
    metavar="NAME=VALUE",
    multiple=True,
    callback=to_pairs,
    help="Commits that were made with this pair.",
)
@click.option("--merges/--no-merges", "merges", default=None, help="Merges alone, or none of them.")
@click.option("--first-parent", is_flag=True, help="Of a merge, follow the branch it went into.")
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
    grep: str | None,
    since: Moment | None,
    until: Moment | None,
    meta: dict[str, str],
    merges: bool | None,
    first_parent: bool,
    limit: int | None,
) -> None:
    """List commits, newest first.

    REV is HEAD when omitted; A..B are the commits that B reaches and A does not. Names in brackets
    are the branches and tags that point at a commit.

    \b
    Examples:
      tvcs log --oneline -n 10
      tvcs log --graph experiment
      tvcs log --column labels --key cat/1
      tvcs log --author ada --since "2 weeks ago"
      tvcs log --meta source=camera-3
      tvcs log main..experiment
    """
    with caller.repository() as repo:
        if ".." in revision:
            repo.log(revision, limit=0)  # says what is wrong with a range, in the words typed
        since_revision, dots, end = revision.partition("..")
        start = repo.resolve((end if dots else revision) or "HEAD")
        if column is not None:
            _check_column(repo, start, column)
        filters: dict[str, Any] = {
            "column": column,
            "key": None if key is None else _key(repo, start, column, key),
            "author": author,
            "grep": grep,
            "since": None if since is None else since(caller.now()),
            "until": None if until is None else until(caller.now()),
            "metadata": meta or None,
            "merges": merges,
        }
        walked: str | Commit = f"{since_revision}..{start.id}" if dots else start
        listing = _Listing(repo, start, walked, filters, limit, is_first_parent=first_parent)
        if out.is_json:
            out.document([commit_document(commit) for commit in listing.commits()])
            return
        names = names_by_commit(repo)

        def describe(commit: Commit) -> Iterable[str]:
            if is_oneline:
                return [oneline(out, commit, names.get(commit.id, []))]
            return commit_lines(out, commit, names.get(commit.id, []))

        if graph:
            lines = _graph_lines(listing, describe, is_oneline)
        else:
            lines = _plain_lines(listing.commits(), describe, is_oneline)
        out.lines(lines)


@dataclass(frozen=True, slots=True)
class _Listing:
    """Which commits are listed: those of a revision or range that fit the filters."""

    repo: Repository
    start: Commit
    walked: str | Commit
    filters: dict[str, Any]
    limit: int | None
    is_first_parent: bool

    def commits(self) -> Iterator[Commit]:
        return self.repo.log(
            self.walked, first_parent=self.is_first_parent, limit=self.limit, **self.filters
        )

    def drawn(self) -> Iterator[Commit]:
        """Yield all commits that have a place in the graph, children first."""
        if self.is_first_parent:
            return self.repo.log(self.start, first_parent=True)
        return children_first(
            self.start, self.repo.resolve, lambda commit: commit.object.generation
        )

    def parents_of(self, commit: Commit) -> Sequence[str]:
        return commit.parents[:1] if self.is_first_parent else commit.parents

    def wanted(self) -> set[str] | None:
        """Return the ids of the commits that are shown, None when all are."""
        is_range = self.walked is not self.start
        if not is_range and all(value is None for value in self.filters.values()):
            return None
        walked = self.repo.log(self.walked, first_parent=self.is_first_parent, **self.filters)
        return {commit.id for commit in walked}


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
    listing: _Listing, describe: Callable[[Commit], Iterable[str]], is_oneline: bool
) -> Iterator[str]:
    """Yield the log with its graph; commits that the filters drop leave their edges."""
    wanted = listing.wanted()
    graph = CommitGraph()
    shown = 0
    gap: str | None = None
    for commit in listing.drawn():
        if listing.limit is not None and shown == listing.limit:
            return
        rows = graph.draw(commit.id, listing.parents_of(commit))
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
