"""Push: copy a branch or a tag to a remote, and move it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tensorvcs.errors import (
    BranchNotFoundError,
    NonFastForwardError,
    ObjectNotFoundError,
    RefChangedError,
    TagExistsError,
    TagNotFoundError,
    with_hint,
)
from tensorvcs.history.ancestry import is_ancestor
from tensorvcs.history.commit import change_refs
from tensorvcs.history.refs import BRANCHES, TAGS, check_ref_name, ref_digest
from tensorvcs.objects.commit import TagObject
from tensorvcs.objects.digest import CommitDigest
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.sync.connectivity import new_values
from tensorvcs.sync.remotes import remote_branch
from tensorvcs.sync.transfer import Progress, Transferred, transfer
from tensorvcs.sync.values import fetch_values
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    from tensorvcs.objects.commit import Timestamp
    from tensorvcs.storage.interfaces import Stores

PushMovement = Literal["new", "fast-forward", "forced", "deleted", "up to date"]


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push has done.

    Attributes
    ----------
    remote : str
    name : str
        The branch or tag of the remote.
    is_tag : bool
    movement : {"new", "fast-forward", "forced", "deleted", "up to date"}
    before, after : str or None
        The ids of the commits that it pointed at, or of the tag objects.
    moved : Transferred
    """

    remote: str
    name: str
    is_tag: bool
    movement: PushMovement
    before: str | None
    after: str | None
    moved: Transferred

    def __repr__(self) -> str:
        return f"<PushResult {self.name} to {self.remote}: {self.movement}>"


def push_branch(
    local: Stores,
    target: Stores,
    remote: str,
    branch: str,
    *,
    user: str,
    now: Timestamp,
    to: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> PushResult:
    """Copy a branch to a remote and move it there by compare-and-swap.

    Parameters
    ----------
    local, target : Stores
        Of the repository here, and of the remote.
    remote : str
        The name of the remote.
    branch : str
        A branch that is here.
    to : str, optional
        What it is called there; the same when omitted.
    force : bool
        Whether the remote may lose commits: its branch moves even when it has some that the
        branch here has not, as long as nobody moves it meanwhile.

    Raises
    ------
    BranchNotFoundError
    NonFastForwardError
        The remote has commits that the branch here has not; nothing was moved.
    RefChangedError
        Somebody else moved the branch during the push.

    Notes
    -----
    A push whose answer was lost has succeeded when the branch is where it should be; the next
    push finds that.
    """
    value = local.refs.get(BRANCHES + branch)
    if value is None:
        raise BranchNotFoundError(f"no branch {branch!r} to push, or it has no commits")
    name = check_ref_name(branch if to is None else to, "branch")
    commit = CommitDigest(ref_digest(value))
    before = target.refs.get(BRANCHES + name)
    movement: PushMovement = "new"
    moved = Transferred()
    if before == value:
        movement = "up to date"
    else:
        if before is not None:
            movement = "fast-forward"
            if not _is_in_history(local, CommitDigest(ref_digest(before)), commit):
                if not force:
                    raise _behind(remote, name)
                movement = "forced"
        moved = transfer(local, target, [commit], progress=progress)
        change = RefChange(BRANCHES + name, before, value)
        moved += _publish(local, target, commit, change, f"{branch} of {user}", user, now)
    _remember(local, remote, name, value, user, now)
    return PushResult(remote, name, False, movement, _id_of(before), commit.hex(), moved)


def push_tag(
    local: Stores,
    target: Stores,
    remote: str,
    tag: str,
    *,
    user: str,
    now: Timestamp,
    force: bool = False,
    progress: Progress | None = None,
) -> PushResult:
    """Copy a tag to a remote.

    Raises
    ------
    TagNotFoundError
    TagExistsError
        The remote has another tag of that name, and `force` is false.
    """
    value = local.refs.get(TAGS + tag)
    if value is None:
        raise TagNotFoundError(f"no tag {tag!r} to push")
    before = target.refs.get(TAGS + tag)
    if before == value:
        return PushResult(
            remote, tag, True, "up to date", _id_of(before), _id_of(value), Transferred()
        )
    if before is not None and not force:
        raise with_hint(
            TagExistsError(f"remote {remote!r} has another tag {tag!r}"),
            "choose another name, or replace it for everybody with --force",
        )
    digest = ref_digest(value)
    is_annotated = value.startswith(b"tag ")
    moved = transfer(
        local,
        target,
        [] if is_annotated else [CommitDigest(digest)],
        tags=[digest] if is_annotated else [],
        progress=progress,
    )
    commit = CommitDigest(digest)
    if is_annotated:
        commit = TagObject.decode(local.objects.get([digest])[0]).commit
    change = RefChange(TAGS + tag, before, value)
    moved += _publish(local, target, commit, change, f"tag {tag} of {user}", user, now)
    movement: PushMovement = "new" if before is None else "forced"
    return PushResult(remote, tag, True, movement, _id_of(before), digest.hex(), moved)


def delete_remote_ref(
    local: Stores,
    target: Stores,
    remote: str,
    name: str,
    *,
    user: str,
    now: Timestamp,
    is_tag: bool = False,
) -> PushResult:
    """Delete a branch or a tag of a remote.

    Raises
    ------
    BranchNotFoundError, TagNotFoundError
        The remote has none of that name.
    """
    full = (TAGS if is_tag else BRANCHES) + name
    before = target.refs.get(full)
    if before is None:
        kind = TagNotFoundError if is_tag else BranchNotFoundError
        raise kind(f"remote {remote!r} has no {'tag' if is_tag else 'branch'} {name!r}")
    _swap(target, RefChange(full, before, None), f"delete {name}", user, now)
    if not is_tag:
        _remember(local, remote, name, None, user, now)
    return PushResult(remote, name, is_tag, "deleted", _id_of(before), None, Transferred())


def _is_in_history(local: Stores, theirs: CommitDigest, ours: CommitDigest) -> bool:
    """Tell whether what the remote has is in the history of what is pushed."""
    if local.objects.missing([theirs]):
        return False
    return is_ancestor(local.objects, theirs, ours)


def _behind(remote: str, branch: str) -> NonFastForwardError:
    return with_hint(
        NonFastForwardError(
            f"branch {branch!r} of remote {remote!r} has commits that the branch here has not; "
            "nothing was pushed"
        ),
        f"bring them in with 'tvcs pull {remote} {branch}', then push again",
    )


def _publish(
    local: Stores,
    target: Stores,
    commit: CommitDigest,
    change: RefChange,
    description: str,
    user: str,
    now: Timestamp,
) -> Transferred:
    """Have a ref point at a commit that was sent; return what had to be sent again for it.

    Whoever may write to a server can put leaves there and keep their values to himself. Then a
    leaf that is there says nothing of its values, and the server, which finds them missing,
    refuses to move the ref: they are sent, whatever leaves are there.
    """
    try:
        _swap(target, change, description, user, now)
    except ObjectNotFoundError:
        refs = target.refs.items(BRANCHES).values()
        theirs = list(dict.fromkeys(ref_digest(value) for value in refs))
        absent = set(local.objects.missing(theirs))
        known = [CommitDigest(digest) for digest in theirs if digest not in absent]
        wanted = new_values(Nodes(local.objects), [commit], known)
        sent = fetch_values(local.tensors, target.tensors, wanted)
        if not sent.value_count:
            raise
        _swap(target, change, description, user, now)
        return sent
    return Transferred()


def _swap(target: Stores, change: RefChange, description: str, user: str, now: Timestamp) -> None:
    try:
        change_refs(target, [change], command="push", description=description, user=user, now=now)
    except RefChangedError:
        # The answer to an earlier try may have been lost on the way.
        if target.refs.get(change.name) != change.after:
            raise


def _remember(
    local: Stores, remote: str, branch: str, value: bytes | None, user: str, now: Timestamp
) -> None:
    """Keep where the branch of the remote is now."""
    full = remote_branch(remote, branch)
    with local.transaction():
        known = local.refs.get(full)
        if known != value:
            change_refs(
                local,
                [RefChange(full, known, value)],
                command="push",
                description=f"{branch} to {remote}",
                user=user,
                now=now,
            )


def _id_of(value: bytes | None) -> str | None:
    return None if value is None else ref_digest(value).hex()
