"""Amending: a new commit in the place of the newest one of a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.errors import NothingToCommitError, RefChangedError, with_hint
from tensorvcs.history.commit import change_refs, load_commit, new_commit
from tensorvcs.history.refs import BRANCHES, branch_commit, encode_commit_ref
from tensorvcs.history.snapshot import write_snapshot
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorvcs.errors import ConflictError, StateError
    from tensorvcs.history.commit import Commit
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.commit import Identity, Timestamp
    from tensorvcs.objects.digest import CommitDigest, SnapshotDigest
    from tensorvcs.signing.signer import Signer
    from tensorvcs.storage.interfaces import ObjectStore, Stores


def amend_commit(
    stores: Stores,
    branch: str,
    base: CommitDigest | None,
    columns: Columns,
    *,
    message: str | None,
    author: Identity | None,
    committer: Identity,
    now: Timestamp,
    metadata: Mapping[str, str],
    extra_changes: Sequence[RefChange] = (),
    signer: Signer | None = None,
) -> Commit | StateError | ConflictError:
    """Put a commit of `columns` in the place of `base`, the newest of a branch.

    The parents, the author and the author's time stay. Runs inside a transaction; what stands in
    the way is returned and not raised, so that the transaction keeps what was staged.

    Parameters
    ----------
    base : CommitDigest or None
        The commit that `columns` were made over; None before the first.
    message, author : optional
        In place of those of `base`.
    metadata : mapping of str to str
        Added to that of `base`; of one name the new value counts.

    Returns
    -------
    Commit
        Or NothingToCommitError when there is no commit, nothing would change, or nothing would be
        left of the commit; or RefChangedError when the branch has moved since `base`.
    """
    head = branch_commit(stores.objects, stores.refs, branch)
    if head is None and base is None:
        return with_hint(
            NothingToCommitError(f"branch {branch!r} has no commit yet that could be amended"),
            "record the first one: tvcs commit -m MESSAGE",
        )
    if head is None or base is None or head != base:
        there = "gone" if head is None else f"at {head.hex()[:12]}"
        return with_hint(
            RefChangedError(
                f"branch {branch!r} is {there} now, and the staged changes were made over "
                + ("no commit" if base is None else base.hex()[:12])
            ),
            "commit without amending: the changes are merged onto the branch",
        )
    before = load_commit(stores.objects, head)
    old = before.object
    snapshot = write_snapshot(stores.objects, columns)
    pairs = {**old.metadata, **metadata}
    text = old.message if message is None else message
    who = author or old.author
    is_same = (snapshot, text, who, pairs) == (
        old.snapshot, old.message, old.author, dict(old.metadata),
    )  # fmt: skip
    if is_same and signer is None:
        return with_hint(
            NothingToCommitError(f"nothing to amend in {before.short_id}: nothing is staged"),
            "change a sample first, or give another message",
        )
    if snapshot != old.snapshot and _is_empty(stores.objects, snapshot, old.parents, columns):
        return with_hint(
            NothingToCommitError(f"nothing would be left of {before.short_id}"),
            "take it back as a whole: tvcs reset HEAD~1" if old.parents else "tvcs undo",
        )
    commit = new_commit(
        stores.objects,
        snapshot,
        old.parents,
        author=who,
        author_time=old.author_time,
        now=now,
        message=text,
        committer=committer,
        metadata=pairs,
        signer=signer,
    )
    move = RefChange(BRANCHES + branch, encode_commit_ref(head), encode_commit_ref(commit.digest))
    change_refs(
        stores,
        [move, *extra_changes],
        command="commit",
        description=f"{commit.short_id} to {branch} in place of {before.short_id}: "
        f"{commit.summary[:60]}",
        user=str(committer),
        now=now,
    )
    return commit


def _is_empty(
    objects: ObjectStore,
    snapshot: SnapshotDigest,
    parents: Sequence[CommitDigest],
    columns: Columns,
) -> bool:
    """Tell whether a commit that is no merge would change nothing."""
    if not parents:
        return not columns
    return len(parents) == 1 and load_commit(objects, parents[0]).object.snapshot == snapshot
