"""``tvcs commit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..arguments import prints, to_pairs
from ..documents import commit_document, diff_document
from ..merging import waiting_message
from ..signing import open_signer
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
    help="What was changed and why; further -m are further paragraphs.",
)
@click.option(
    "--amend", is_flag=True, help="Replace the last commit; its message stays unless -m is given."
)
@click.option("--author", metavar="'NAME <MAIL>'", help="Who made the change, if not you.")
@click.option(
    "--meta",
    metavar="NAME=VALUE",
    multiple=True,
    callback=to_pairs,
    help="Keep a pair with the commit.",
)
@click.option("--sign", "-S", is_flag=True, help="Sign with the key of signing.key.")
@click.option("--key", metavar="FILE", type=click.Path(), help="Sign with this ed25519 SSH key.")
@prints
def command(
    caller: Caller,
    out: Output,
    paragraphs: tuple[str, ...],
    amend: bool,
    author: str | None,
    meta: dict[str, str],
    sign: bool,
    key: str | None,
) -> None:
    """Record what is staged.

    The author is --author, otherwise TENSORVCS_USER_NAME and TENSORVCS_USER_EMAIL of the
    environment, otherwise user.name and user.email of 'tvcs config'. TENSORVCS_COMMIT_TIME
    replaces the time. A merge in progress brings its message, and is recorded with both parents.

    By convention --meta source=… says where the samples come from, and --meta script=PATH@REV what
    changed them. A signed commit tells who vouches for it; see 'tvcs verify-commit'. --amend keeps
    the author, the time and the pairs of the commit that it replaces.

    \b
    Examples:
      tvcs commit -m "Relabel the blurred cats"
      tvcs commit -m "Import week 12" --meta source=camera-3 --meta reviewed=yes
      tvcs commit -m "New labels" --author "Ada Lovelace <ada@example.org>"
      tvcs commit -m "Checked by hand" --sign --key ~/.ssh/id_ed25519
      tvcs commit --amend -m "Relabel the blurred cats and dogs"
    """
    with caller.repository() as repo:
        if not paragraphs and not amend:
            paragraphs = waiting_message(repo)
        if not paragraphs and not amend:
            raise click.UsageError("what was changed? Say it with -m")
        signer = open_signer(caller, out, repo, key) if sign or key is not None else None
        with repo.edit() as staging:
            branch = staging.branch
            message = "\n\n".join(paragraphs) if paragraphs else None
            commit = staging.commit(message, author, metadata=meta, sign=signer, amend=amend)
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
