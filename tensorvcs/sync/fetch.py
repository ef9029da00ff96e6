"""Fetch: copy what a remote has, and remember where its branches are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tensorvcs.errors import BranchNotFoundError, RefNameError, RemoteError
from tensorvcs.history.ancestry import is_ancestor, walk
from tensorvcs.history.commit import change_refs
from tensorvcs.history.refs import (
    BRANCHES,
    REMOTE_BRANCHES,
    TAGS,
    check_ref_name,
    decode_ref,
    ref_digest,
)
from tensorvcs.objects.commit import TagObject
from tensorvcs.objects.digest import CommitDigest
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.sync.depth import newest_commits
from tensorvcs.sync.remotes import remote_branch
from tensorvcs.sync.transfer import Payload, Progress, Transferred, transfer, transfer_trees

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorvcs.objects.commit import Timestamp
    from tensorvcs.storage.interfaces import Stores

Movement = Literal["new", "fast-forward", "forced", "deleted", "kept"]


@dataclass(frozen=True, slots=True)
class FetchedRef:
    """A remote branch or tag that a fetch has changed.

    Attributes
    ----------
    name : str
        Of a remote branch with its remote, such as ``origin/main``.
    is_tag : bool
    movement : {"new", "fast-forward", "forced", "deleted", "kept"}
        ``forced`` when the remote gave up commits; ``kept`` for a tag that is another one here,
        which stays.
    before, after : str or None
        The ids of the commits, or of the tag objects.
    """

    name: str
    is_tag: bool
    movement: Movement
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What a fetch has brought.

    Attributes
    ----------
    remote : str
    refs : tuple of FetchedRef
        Those that changed.
    moved : Transferred
    """

    remote: str
    refs: tuple[FetchedRef, ...]
    moved: Transferred

    def __repr__(self) -> str:
        return f"<FetchResult {self.remote}: {len(self.refs)} refs, {self.moved.nbytes} bytes>"


def fetch(
    source: Stores,
    local: Stores,
    remote: str,
    *,
    user: str,
    now: Timestamp,
    branches: Sequence[str] | None = None,
    prune: bool = False,
    payload: Payload | None = None,
    deepen: bool = False,
    progress: Progress | None = None,
) -> FetchResult:
    """Copy branches and tags of a remote.

    Parameters
    ----------
    source, local : Stores
        Of the remote, and of the repository here.
    remote : str
        The name of the remote.
    branches : sequence of str, optional
        Only these, and the tags that point into their history; all when omitted.
    prune : bool
        Whether to forget remote branches that the remote has no more.
    payload : Payload, optional
        What a partial clone takes.
    deepen : bool
        Whether the payload takes more than before: what is here is looked through for gaps.

    Raises
    ------
    BranchNotFoundError
        The remote has no branch of `branches`.
    RemoteError
        The remote names refs that are not legal.

    Notes
    -----
    Refs change last, in one operation that `undo` takes back. A tag that is here and differs is
    kept, as git does.
    """
    heads = _refs_of(source, BRANCHES)
    tags = _refs_of(source, TAGS)
    if branches is not None:
        for branch in branches:
            if branch not in heads:
                raise BranchNotFoundError(
                    f"remote {remote!r} has no branch {branch!r}; there are: "
                    f"{', '.join(sorted(heads)) or 'none'}"
                )
        heads = {name: heads[name] for name in dict.fromkeys(branches)}
    tips = [CommitDigest(ref_digest(value)) for value in heads.values()]
    moved = _transfer_tips(source, local, tips, payload, progress, deepen=deepen)
    if branches is not None:
        tags = {name: value for name, value in tags.items() if _is_here(source, local, value)}
    tag_objects = [ref_digest(value) for value in tags.values() if value.startswith(b"tag ")]
    plain = [CommitDigest(ref_digest(v)) for v in tags.values() if v.startswith(b"commit ")]
    whole = None if payload is None or payload.depth is None else ()
    more = transfer(
        source, local, plain, tags=tag_objects, payload=payload, whole=whole, progress=progress
    )
    if deepen and whole is None:
        refs = [local.refs.items(prefix) for prefix in (BRANCHES, TAGS, REMOTE_BRANCHES)]
        kept = {name: value for some in (*refs, tags) for name, value in some.items()}
        starts = [decode_ref(local.objects, name, value) for name, value in kept.items()]
        more += transfer_trees(
            source,
            local,
            walk(local.objects, [*tips, *starts]),
            payload=payload,
            is_thorough=True,
            progress=progress,
        )
    with local.transaction():
        changes, seen = _plan(local, remote, heads, tags, prune=prune and branches is None)
        if changes:
            change_refs(
                local,
                changes,
                command="fetch",
                description=f"{len(changes)} refs from {remote}",
                user=user,
                now=now,
            )
    return FetchResult(remote, tuple(seen), moved + more)


def _transfer_tips(
    source: Stores,
    local: Stores,
    tips: Sequence[CommitDigest],
    payload: Payload | None,
    progress: Progress | None,
    *,
    deepen: bool,
) -> Transferred:
    """Copy commits with their history, and the trees as deep as the payload takes them."""
    if payload is None or payload.depth is None:
        return transfer(source, local, tips, payload=payload, progress=progress)
    whole = newest_commits((local.objects, source.objects), tips, payload.depth)
    absent = set(local.objects.missing(list(whole)))
    moved = transfer(source, local, tips, payload=payload, whole=whole, progress=progress)
    # A branch may have been set to an older commit, which came without its trees.
    there = [item for item in whole.items() if deepen or item[0] not in absent]
    return moved + transfer_trees(
        source, local, there, payload=payload, is_thorough=deepen, progress=progress
    )


def _refs_of(source: Stores, prefix: str) -> dict[str, bytes]:
    """Return refs of a remote by short name; what it says is not trusted."""
    found = {}
    for full, value in source.refs.items(prefix).items():
        name = full[len(prefix) :]
        try:
            check_ref_name(name, "remote")
        except RefNameError as error:
            raise RemoteError(f"the remote has a ref {full!r}: {error}") from error
        kind = value.partition(b" ")[0]
        if ref_digest(value) == b"" or (kind != b"commit" and prefix == BRANCHES):
            raise RemoteError(f"the remote has a ref {full!r} that is no commit")
        found[name] = value
    return found


def _is_here(source: Stores, local: Stores, value: bytes) -> bool:
    """Tell whether what a tag of the remote points at was fetched."""
    digest = ref_digest(value)
    if value.startswith(b"tag "):
        from_tag = source.objects.get([digest])[0]
        digest = TagObject.decode(from_tag).commit
    return not local.objects.missing([digest])


def _plan(
    local: Stores,
    remote: str,
    heads: Mapping[str, bytes],
    tags: Mapping[str, bytes],
    *,
    prune: bool,
) -> tuple[list[RefChange], list[FetchedRef]]:
    changes: list[RefChange] = []
    seen: list[FetchedRef] = []

    def move(full: str, shown: str, after: bytes | None, *, is_tag: bool) -> None:
        before = local.refs.get(full)
        if before == after:
            return
        movement: Movement = "new"
        if after is None:
            movement = "deleted"
        elif before is not None and is_tag:
            movement = "kept"
        elif before is not None:
            old, new = (CommitDigest(ref_digest(value)) for value in (before, after))
            movement = "fast-forward" if is_ancestor(local.objects, old, new) else "forced"
        if movement != "kept":
            changes.append(RefChange(full, before, after))
        seen.append(FetchedRef(shown, is_tag, movement, _id_of(before), _id_of(after)))

    for name, value in heads.items():
        move(remote_branch(remote, name), f"{remote}/{name}", value, is_tag=False)
    for name, value in tags.items():
        move(TAGS + name, name, value, is_tag=True)
    if prune:
        prefix = f"{REMOTE_BRANCHES}{remote}/"
        for full in local.refs.items(prefix):
            if full[len(prefix) :] not in heads:
                move(full, full[len(REMOTE_BRANCHES) :], None, is_tag=False)
    return changes, seen


def _id_of(value: bytes | None) -> str | None:
    return None if value is None else ref_digest(value).hex()
