"""Commits as a user sees them, and how one is written and its branch moved."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tensorvcs.errors import InvalidInputError, ObjectNotFoundError, with_hint
from tensorvcs.history.ancestry import read_commit, read_commits
from tensorvcs.history.operations import Operation
from tensorvcs.objects.commit import CommitObject, Identity, Timestamp, is_unicode
from tensorvcs.objects.digest import CommitDigest
from tensorvcs.signing.signer import sign_payload
from tensorvcs.signing.ssh_signature import SshSignature

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from tensorvcs.objects.digest import SnapshotDigest
    from tensorvcs.signing.signer import Signer
    from tensorvcs.storage.interfaces import ObjectStore, RefChange, Stores

SHORT_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: equal to any commit with the same id."""

    digest: CommitDigest
    object: CommitObject

    @property
    def id(self) -> str:
        """The full id, 64 hexadecimal digits."""
        return self.digest.hex()

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self.id[:SHORT_ID_DIGITS]

    @property
    def parents(self) -> tuple[str, ...]:
        """The ids of the parents; none for a first commit, two for a merge."""
        return tuple(parent.hex() for parent in self.object.parents)

    @property
    def snapshot(self) -> str:
        """The id of the content; equal for commits with equal content."""
        return self.object.snapshot.hex()

    @property
    def author(self) -> Identity:
        """Who made the change."""
        return self.object.author

    @property
    def committer(self) -> Identity:
        """Who recorded it."""
        return self.object.committer

    @property
    def time(self) -> dt.datetime:
        """When the change was made, in the author's time zone."""
        return self.object.author_time.moment

    @property
    def message(self) -> str:
        """The message as it was given."""
        return self.object.message

    @property
    def summary(self) -> str:
        """The first line of the message."""
        return self.object.message.partition("\n")[0]

    @property
    def metadata(self) -> Mapping[str, str]:
        """Free key-value pairs."""
        return dict(self.object.metadata)

    @property
    def signature(self) -> str | None:
        """The armoured signature as it is stored, None when the commit is not signed.

        Whether it is good, `Repository.verify_commit` tells.
        """
        return self.object.signature

    @property
    def signing_key(self) -> str | None:
        """The fingerprint of the key that a signature claims to be of; None when unsigned.

        A claim only: anybody can put a signature into a commit.
        """
        if self.object.signature is None:
            return None
        try:
            return SshSignature.decode(self.object.signature).fingerprint
        except InvalidInputError:
            return "a signature that cannot be read"

    def __repr__(self) -> str:
        return f"<Commit {self.short_id} {self.summary!r} by {self.author.name}>"

    def _repr_html_(self) -> str:
        return (
            f"<code>{self.short_id}</code> <b>{html.escape(self.summary)}</b><br>"
            f"<small>{html.escape(str(self.author))}, {self.time:%Y-%m-%d %H:%M}</small>"
        )


# What the value of a ref names: "commit <digest>", or a field of the record of the staging area or
# of a stash, in which a quote that a person typed is escaped.
_TARGETS = re.compile(
    rb'(?:^(?:commit|tag|merge) |"(?:base|snapshot)": ?")([0-9a-f]{64})(?![0-9a-f])'
)


def load_commit(objects: ObjectStore, digest: CommitDigest) -> Commit:
    """Return a commit by digest."""
    return Commit(digest, read_commit(objects, digest))


def check_message(message: object) -> str:
    """Return a commit or tag message, or raise InvalidInputError when it has no text."""
    if not isinstance(message, str) or not message.strip():
        raise InvalidInputError("a message cannot be empty")
    if not is_unicode(message):
        raise InvalidInputError("the message has an unpaired surrogate and is not valid Unicode")
    return message


def new_commit(
    objects: ObjectStore,
    snapshot: SnapshotDigest,
    parents: Sequence[CommitDigest],
    *,
    author: Identity,
    now: Timestamp,
    message: str,
    author_time: Timestamp | None = None,
    committer: Identity | None = None,
    metadata: Mapping[str, str] | None = None,
    signer: Signer | None = None,
) -> Commit:
    """Store a commit object, signed when there is a signer; no ref moves."""
    generations = [commit.generation for commit in read_commits(objects, parents)]
    commit = CommitObject(
        snapshot=snapshot,
        parents=tuple(parents),
        generation=1 + max(generations, default=-1),
        author=author,
        author_time=author_time or now,
        committer=committer or author,
        commit_time=now,
        message=message,
        metadata=dict(metadata or {}),
    )
    if signer is not None:
        commit = replace(commit, signature=sign_payload(signer, commit.payload))
    return Commit(CommitDigest(objects.put([commit.encode()])[0]), commit)


def check_targets(objects: ObjectStore, changes: Sequence[RefChange]) -> None:
    """Raise ObjectNotFoundError when a ref is to name an object that is not here.

    An old operation, or a commit that somebody remembers, may name what was dropped as garbage.
    """
    for change in changes:
        named = [bytes.fromhex(text.decode()) for text in _TARGETS.findall(change.after or b"")]
        absent = objects.missing(named)
        if absent:
            raise with_hint(
                ObjectNotFoundError(
                    f"{change.name} cannot point at {absent[0].hex()[:12]}: it is not here any "
                    "more; 'tvcs gc' drops what nothing names"
                ),
                "fetch it from a repository that has it",
            )


def change_refs(
    stores: Stores,
    changes: Sequence[RefChange],
    *,
    command: str,
    description: str,
    user: str,
    now: Timestamp,
    undoes: Sequence[int] = (),
    continues: int | None = None,
) -> None:
    """Move refs by compare-and-swap and record the operation, in one step.

    Raises
    ------
    RefChangedError
        A ref is not what `changes` expected; nothing was changed.
    """
    operation = Operation(
        0, command, description, user, now, tuple(changes), tuple(undoes), continues
    )
    stores.refs.swap(changes, operation.encode())
