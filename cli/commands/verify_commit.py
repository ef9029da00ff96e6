"""``tvcs verify-commit``."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import click

from tensorvcs.display.counting import count_text
from tensorvcs.errors import RevisionNotFoundError, UntrustedCommitError, with_hint

from ..arguments import prints
from ..signing import allowed_signers
from ..text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs import Commit, Repository, SignatureCheck

    from ..context import Caller
    from ..documents import Document
    from ..output import Output

_COLOURS = {"good": "green", "bad": "red", "unknown": "yellow", "unsigned": "yellow"}
_HINTS = {
    "bad": "do not rely on it: it is not what its signer recorded",
    "unknown": "name the keys you trust in a file of lines such as: MAIL ssh-ed25519 AAAA…; "
    "then 'tvcs config signing.allowed-signers FILE'",
    "unsigned": "commits are signed with 'tvcs commit --sign'",
}


@click.command("verify-commit")
@click.argument("revisions", metavar="[REV]...", nargs=-1)
@click.option(
    "--allowed-signers",
    "file",
    metavar="FILE",
    type=click.Path(),
    help="The keys that are trusted, and whose they are.",
)
@prints
def command(caller: Caller, out: Output, revisions: tuple[str, ...], file: str | None) -> None:
    """Check who signed a commit.

    REV is HEAD when omitted; a range such as v1..main stands for all its commits. A signature
    is good when it is of this very commit, and FILE has its key for the mail address of the
    committer. FILE is in the format of ssh-keygen, a line for each key (see ALLOWED SIGNERS in
    'man ssh-keygen'); if omitted, it is the one that signing.allowed-signers of 'tvcs config'
    names. The exit code is 1 when a signature is bad, missing or of an unknown signer.

    A good signature vouches for the content by its digest; 'tvcs verify REV' checks that what
    is stored here has that digest.

    \b
    Examples:
      tvcs verify-commit --allowed-signers allowed_signers
      tvcs verify-commit v1..main --allowed-signers allowed_signers
      tvcs verify-commit v1 v2 --allowed-signers allowed_signers --json
    """
    with caller.repository() as repo:
        allowed = allowed_signers(caller, repo, file)
        commits = chain.from_iterable(_commits(repo, name) for name in revisions or ("HEAD",))
        checks = [repo.verify_commit(commit, allowed) for commit in commits]
    out.show([_document(check) for check in checks], _lines(out, checks))
    failed = [check for check in checks if not check.is_good]
    if failed:
        counted = f"{len(failed):,} of {count_text(len(checks), 'commit')}"
        worst = min(failed, key=lambda check: list(_HINTS).index(check.status))
        raise with_hint(
            UntrustedCommitError(f"without a good signature: {counted}"), _HINTS[worst.status]
        )


def _commits(repo: Repository, name: str) -> list[Commit]:
    if ".." not in name:
        return [repo.resolve(name)]
    commits = list(repo.log(name))
    if not commits:
        raise RevisionNotFoundError(f"there is no commit in {name!r}")
    return commits


def _document(check: SignatureCheck) -> Document:
    return {
        "commit": check.commit.id,
        "status": check.status,
        "principal": check.principal,
        "fingerprint": check.fingerprint,
        "reason": check.reason,
    }


def _lines(out: Output, checks: Sequence[SignatureCheck]) -> Iterator[str]:
    for check in checks:
        status = out.style(check.status, _COLOURS[check.status], bold=True)
        yield f"{check.commit.short_id} {status}: {printable(check.reason)}"
