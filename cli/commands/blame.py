"""``tvcs blame``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tensorvcs.display.counting import count_text

from ..arguments import KEY_HELP, prints, typed_sample
from ..documents import commit_document, identity_document, key_document
from ..text import key_text, printable, summary_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Blame

    from ..context import Caller
    from ..output import Output


@click.command("blame", epilog=KEY_HELP)
@click.argument("column")
@click.argument("keys", metavar="[KEY...]", nargs=-1)
@click.option(
    "--revision", "-r", metavar="REV", default="HEAD", help="The version that is looked at."
)
@click.option("--summary", is_flag=True, help="Count the samples of each author and commit.")
@click.option(
    "--by", type=click.Choice(["author", "commit"]), help="Count the samples of each of these."
)
@prints
def command(
    caller: Caller,
    out: Output,
    column: str,
    keys: tuple[str, ...],
    revision: str,
    summary: bool,
    by: str | None,
) -> None:
    """Show for each sample the commit that last changed it.

    All samples of COLUMN without a KEY. In a nested column KEY is SAMPLE[SUBSAMPLE]; SAMPLE alone
    is for all its subsamples.

    \b
    Examples:
      tvcs blame labels
      tvcs blame labels cat/1 cat/2
      tvcs blame labels --revision v1 --summary
      tvcs blame labels --by author --json
    """
    with caller.repository() as repo:
        commit = repo.resolve(revision)
        wanted: list[Any] | None = None
        if keys:
            with repo.checkout(commit) as checkout:
                wanted = [typed_sample(key, checkout[column]) for key in keys]
        blame = repo.blame(column, commit, wanted)
        sides = [by] if by is not None else ["author", "commit"]
        is_counted = summary or by is not None
        if out.is_json:
            out.document(_document(blame, sides, has_samples=not is_counted))
        elif is_counted:
            out.lines(_summary_lines(out, blame, sides))
        else:
            out.lines(_lines(out, blame))


def _lines(out: Output, blame: Blame) -> Iterator[str]:
    names = {share.author: printable(share.author.name) for share in blame.by_author()}
    width = max(map(len, names.values()), default=0)
    starts: dict[str, str] = {}
    for key, commit in blame.items():
        start = starts.get(commit.id)
        if start is None:
            start = starts[commit.id] = (
                f"{out.style(commit.short_id, 'yellow')}  {names[commit.author]:{width}}  "
                f"{commit.time:%Y-%m-%d}"
            )
        yield f"{start}  {key_text(key)}"


def _summary_lines(out: Output, blame: Blame, sides: list[str]) -> Iterator[str]:
    if "author" in sides:
        authors = blame.by_author()
        yield out.style(count_text(len(authors), "author"), bold=True)
        yield from out.table(
            (f"{one.count:>9,}", f"{one.share:>6.1%}", printable(str(one.author)))
            for one in authors
        )
    if "commit" in sides:
        commits = blame.by_commit()
        yield out.style(count_text(len(commits), "commit"), bold=True)
        yield from out.table(
            (
                f"{one.count:>9,}",
                f"{one.share:>6.1%}",
                out.style(one.commit.short_id, "yellow"),
                printable(one.commit.author.name),
                f"{one.commit.time:%Y-%m-%d}",
                summary_text(one.commit),
            )
            for one in commits
        )


def _document(blame: Blame, sides: list[str], *, has_samples: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"column": blame.column, "commit": blame.commit.id}
    if has_samples:
        document["samples"] = [
            {"key": key_document(key), "commit": commit.id} for key, commit in blame.items()
        ]
    if "author" in sides:
        document["authors"] = [
            identity_document(one.author) | {"count": one.count, "share": one.share}
            for one in blame.by_author()
        ]
    if "commit" in sides:
        document["commits"] = [
            commit_document(one.commit) | {"count": one.count, "share": one.share}
            for one in blame.by_commit()
        ]
    return document
