"""``tvcs tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints
from ..text import printable, summary_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Repository

    from ..context import Caller
    from ..output import Output


@click.command("tag")
@click.argument("names", metavar="[NAME [REV]]", nargs=-1)
@click.option("-m", "--message", metavar="TEXT", help="What the tag stands for.")
@click.option("--delete", "-d", is_flag=True, help="Delete the tags that are named.")
@prints
def command(
    caller: Caller, out: Output, names: tuple[str, ...], message: str | None, delete: bool
) -> None:
    """List, make and delete tags.

    Without arguments all tags are listed. With NAME a tag is made at REV, which is HEAD when
    omitted.

    \b
    Examples:
      tvcs tag
      tvcs tag v1 -m "As used in the paper"
      tvcs tag before-cleaning main~3
      tvcs tag --delete before-cleaning
    """
    if delete and message is not None:
        raise click.UsageError("--delete and --message exclude each other")
    if not names and (delete or message is not None):
        raise click.UsageError("which tag? Give its name")
    if not delete and len(names) > 2:
        raise click.UsageError(f"expected at most a name and a revision, not {len(names)} words")
    with caller.repository() as repo:
        if delete:
            _delete(repo, out, names)
        elif names:
            commit = repo.create_tag(names[0], names[1] if len(names) == 2 else "HEAD", message)
            document = {"created": {"name": names[0], "commit": commit.id, "message": message}}
            out.show(document, [f"Made tag {names[0]} at {commit.short_id}"])
        else:
            listed = [
                {"name": name, "commit": commit.id, "message": repo.tag_message(name)}
                for name, commit in repo.tags.items()
            ]
            out.show(listed, _lines(out, repo))


def _delete(repo: Repository, out: Output, names: tuple[str, ...]) -> None:
    deleted = {}
    for name in names:
        commit = repo.tags.get(name)
        repo.delete_tag(name)
        deleted[name] = commit
    out.show(
        {"deleted": {name: commit and commit.id for name, commit in deleted.items()}},
        [
            f"Deleted tag {name}" + (f", which was at {commit.short_id}" if commit else "")
            for name, commit in deleted.items()
        ],
    )


def _lines(out: Output, repo: Repository) -> Iterator[str]:
    tags = repo.tags
    width = max(map(len, tags), default=0)
    for name, commit in tags.items():
        message = repo.tag_message(name)
        text = printable(message.partition("\n")[0]) if message else summary_text(commit)
        yield f"{name:{width}}  {out.style(commit.short_id, 'yellow')} {text}"
