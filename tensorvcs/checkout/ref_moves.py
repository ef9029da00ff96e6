"""What an operation did to each ref, as a person reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.checkout.areas import StagingRecord
from tensorvcs.checkout.stash import StashRecord
from tensorvcs.errors import CorruptionError, ObjectNotFoundError
from tensorvcs.history.commit import Commit, load_commit
from tensorvcs.history.refs import BRANCHES, HEAD, MERGE, STAGING, STASHES, decode_ref

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import ObjectStore, RefChange


@dataclass(frozen=True, slots=True)
class RefTarget:
    """What a ref was set to.

    Attributes
    ----------
    text : str
        What it is, in words: ``commit 3f9a…``, ``branch main``, ``changes over 3f9a…``.
    commit : Commit or None
        The commit that it names or starts from; None when there is none, or it is not here.
    """

    text: str
    commit: Commit | None = None

    def __str__(self) -> str:
        return self.text if self.commit is None else f"{self.text} {self.commit.summary}"


@dataclass(frozen=True, slots=True)
class RefMove:
    """A ref before and after an operation; None where it was not there."""

    ref: str
    before: RefTarget | None
    after: RefTarget | None


def describe_changes(objects: ObjectStore, changes: Iterable[RefChange]) -> list[RefMove]:
    """Return what was changed, in words and commits.

    Notes
    -----
    Reads a commit for each value. One that is absent or damaged is told by its id alone.
    """
    return [
        RefMove(
            change.name,
            None if change.before is None else _target(objects, change.name, change.before),
            None if change.after is None else _target(objects, change.name, change.after),
        )
        for change in changes
    ]


def _target(objects: ObjectStore, name: str, value: bytes) -> RefTarget:
    if name == HEAD:
        return RefTarget("branch " + value.decode(errors="replace").partition(BRANCHES)[2])
    if name == MERGE:
        return RefTarget("a merge that waits")
    try:
        if name == STAGING:
            return _over(objects, StagingRecord.decode(value).base, "changes over")
        if name.startswith(STASHES):
            record = StashRecord.decode(value)
            return _over(objects, record.base, f"{record.message!r}, changes over")
        return _over(objects, decode_ref(objects, name, value), "commit")
    except (CorruptionError, ObjectNotFoundError):
        return RefTarget(f"a value that cannot be read: {value.decode(errors='replace')[:80]!r}")


def _over(objects: ObjectStore, digest: CommitDigest | None, what: str) -> RefTarget:
    if digest is None:
        return RefTarget(f"{what} no commit")
    text = f"{what} {digest.hex()[:12]}"
    try:
        return RefTarget(text, load_commit(objects, digest))
    except (CorruptionError, ObjectNotFoundError):
        return RefTarget(text)
