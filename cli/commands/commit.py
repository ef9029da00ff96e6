"""``tvcs commit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints, to_pairs
from ..documents import commit_document, diff_document
from ..text import stat_lines, summary_text
from .show import changes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorvcs import Commit, Diff

    from ..context import Caller
    from ..output import Output


@click.command("commit")
@click.option(
    "-m",
    "--message",
    "paragraphs",
    metavar="TEXT",
    multiple=True,
    required=True,
    help="What was changed and why; further -m are further paragraphs.",
)
@click.option("--author", metavar="'NAME <MAIL>'", help="Who made the change, if not you.")
@click.option(
    "--meta",
    metavar="NAME=VALUE",
    multiple=True,
    callback=to_pairs,
    help="Keep a pair with the commit.",
)
@prints
def command(
    caller: Caller,
    out: Output,
    paragraphs: tuple[str, ...],
    author: str | None,
    meta: dict[str, str],
) -> None:
    """Record what is staged.

    The author is --author, otherwise TENSORVCS_USER_NAME and TENSORVCS_USER_EMAIL of the
    environment, otherwise user.name and user.email of 'tvcs config'. TENSORVCS_COMMIT_TIME
    replaces the time.

    \b
    Examples:
      tvcs commit -m "Relabel the blurred cats"
      tvcs commit -m "Import week 12" --meta source=camera-3 --meta reviewed=yes
      tvcs commit -m "New labels" --author "Ada Lovelace <ada@example.org>"
    """
    with caller.repository() as repo:
        with repo.edit() as staging:
            branch = staging.branch
            commit = staging.commit("\n\n".join(paragraphs), author, metadata=meta)
        difference = changes_of(repo, commit)
        document = {
            "branch": branch,
            **commit_document(commit),
            **diff_document(difference, has_keys=False),
        }
        out.show(document, _lines(out, branch, commit, difference))


def _lines(out: Output, branch: str, commit: Commit, difference: Diff) -> Iterator[str]:
    yield f"[{branch} {out.style(commit.short_id, 'yellow')}] {summary_text(commit)}"
    yield from stat_lines(out, difference)
