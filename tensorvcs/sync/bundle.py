"""Bundles: commits, and what they need, in one file for machines without a network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import InvalidInputError, ObjectNotFoundError, RemoteError, with_hint
from tensorvcs.history.ancestry import read_commit, walk
from tensorvcs.history.refs import (
    BRANCHES,
    HEAD,
    TAGS,
    current_branch,
    decode_ref,
    encode_symbolic_ref,
    ref_digest,
)
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.digest import CommitDigest, digests_to_array
from tensorvcs.sync.bundle_destination import bundle_destination
from tensorvcs.sync.bundle_format import Head
from tensorvcs.sync.bundle_stores import bundle_stores
from tensorvcs.sync.bundle_writer import BundleWriter
from tensorvcs.sync.connectivity import check_connected
from tensorvcs.sync.depth import newest_commits
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.ranges import damaged
from tensorvcs.sync.shared_content import SharedContent
from tensorvcs.sync.transfer import Transferred, transfer
from tensorvcs.sync.values import fetch_values
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorvcs.objects.commit import CommitObject
    from tensorvcs.storage.interfaces import ObjectStore, RefStore, Stores
    from tensorvcs.sync.bundle_file import BundleFile
    from tensorvcs.sync.transfer import Progress

_CHECKED_AT_ONCE = 4096
_SHOWN_COMMITS = 5


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds.

    Attributes
    ----------
    path : str
    nbytes : int
        The size of the file.
    branches, tags : mapping of str to str
        Names, and the ids of the commits or tag objects.
    prerequisites : tuple of str
        The ids of the commits that a receiver must have.
    part : Filter
        What is in it of each version.
    object_count, value_count : int
        Commits, nodes and the like; values.
    """

    path: str
    nbytes: int
    branches: Mapping[str, str]
    tags: Mapping[str, str]
    prerequisites: tuple[str, ...]
    part: Filter
    object_count: int
    value_count: int

    def __repr__(self) -> str:
        names = ", ".join([*self.branches, *self.tags]) or "nothing"
        needs = f", needs {len(self.prerequisites)} commits" if self.prerequisites else ""
        return f"<Bundle {self.path} of {names}: {self.nbytes} bytes{needs}>"

    def _repr_html_(self) -> str:
        refs = [("branch", self.branches), ("tag", self.tags)]
        rows = [
            [kind, value_html(name), value_html(commit[:12])]
            for kind, named in refs
            for name, commit in named.items()
        ]
        rows += [["needs", "", value_html(commit[:12])] for commit in self.prerequisites]
        return table_html(["", "name", "id"], rows, repr(self)[1:-1])


def describe_bundle(bundle: BundleFile) -> Bundle:
    """Return what a bundle says that it holds.

    Raises
    ------
    ObjectDamagedError
        It cannot be read.
    """
    refs = bundle.head.refs
    branches, tags = (
        {n.removeprefix(p): ref_digest(v).hex() for n, v in refs.items() if n.startswith(p)}
        for p in (BRANCHES, TAGS)
    )
    return Bundle(
        bundle.file.name,
        bundle.file.nbytes,
        branches,
        tags,
        tuple(digest.hex() for digest in bundle.head.prerequisites),
        bundle.head.part,
        len(bundle.objects.digests),
        len(bundle.values.digests),
    )


# Make one


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """What is to be in a bundle.

    Attributes
    ----------
    head : Head
    commits : tuple of CommitDigest
        To be copied with their histories, as far as these are new.
    tags : tuple of bytes
        The digests of annotated tags.
    new_commits : sequence of (CommitDigest, CommitObject), or None
        With prerequisites: those that are new, parents first.
    """

    head: Head
    commits: tuple[CommitDigest, ...]
    tags: tuple[bytes, ...]
    new_commits: Sequence[tuple[CommitDigest, CommitObject]] | None = field(repr=False)


def plan_bundle(
    local: Stores,
    names: Sequence[str] = (),
    *,
    since: Sequence[CommitDigest] = (),
    part: Filter | None = None,
) -> BundlePlan:
    """Find out what a bundle of branches and tags would hold.

    Parameters
    ----------
    names : sequence of str
        Branches and tags, or HEAD; all when empty.
    since : sequence of CommitDigest
        Commits that the receiver has; they and their histories are left out.
    part : Filter, optional
        What is taken of each version.

    Raises
    ------
    InvalidInputError
        A name is neither a branch nor a tag, or nothing is left to take.
    """
    refs = _chosen_refs(local.refs, names)
    if not refs:
        raise InvalidInputError("there is no branch and no tag to put into a bundle")
    tips = {name: decode_ref(local.objects, name, value) for name, value in refs.items()}
    new_commits = None
    prerequisites: list[CommitDigest] = []
    if since:
        found = walk(local.objects, list(dict.fromkeys(tips.values())), without=since)
        new_commits = sorted(found, key=lambda item: item[1].generation)
        new = {digest for digest, _ in new_commits}
        if not new:
            raise with_hint(
                InvalidInputError("the receiver has all of it already; there is nothing to bundle"),
                "name an older commit with --since",
            )
        parents = [parent for _, commit in new_commits for parent in commit.parents]
        met = dict.fromkeys([*parents, *tips.values()])
        prerequisites = [digest for digest in met if digest not in new]
    chosen = Filter() if part is None else part
    values = {HEAD: encode_symbolic_ref(_head_of(local.refs, refs)), **refs}
    return BundlePlan(
        Head(values, tuple(prerequisites), chosen),
        tuple(dict.fromkeys(tips.values())),
        tuple(ref_digest(value) for value in refs.values() if value.startswith(b"tag ")),
        new_commits,
    )


def _chosen_refs(refs: RefStore, names: Sequence[str]) -> dict[str, bytes]:
    """Return branches and tags by their full names."""
    known = {**refs.items(BRANCHES), **refs.items(TAGS)}
    if not names:
        return known
    chosen = {}
    for name in names:
        short = current_branch(refs) if name == HEAD else name
        full = next((p + short for p in (BRANCHES, TAGS) if p + short in known), None)
        if full is None:
            raise with_hint(
                InvalidInputError(f"{name!r} is neither a branch nor a tag that could be sent"),
                "a bundle holds branches and tags; make one with 'tvcs branch' or 'tvcs tag'",
            )
        chosen[full] = known[full]
    return chosen


def _head_of(refs: RefStore, chosen: Mapping[str, bytes]) -> str:
    """Return the full name of the branch that a clone of the bundle is on."""
    current = BRANCHES + current_branch(refs)
    branches = [name for name in chosen if name.startswith(BRANCHES)]
    return current if current in chosen else next(iter(branches), current)


def write_bundle(
    local: Stores,
    plan: BundlePlan,
    write: Callable[[bytes | memoryview], object],
    *,
    progress: Progress | None = None,
) -> Transferred:
    """Write a bundle that `plan_bundle` has planned.

    Parameters
    ----------
    write : callable
        Takes bytes behind those before.

    Returns
    -------
    Transferred
        What is in it.

    Raises
    ------
    ObjectNotFoundError
        Something is not here: this is a partial clone, and a part of it was not asked for.

    Notes
    -----
    Memory is what the directories take, about 60 bytes a value, and a few parts of payload.
    """
    part = plan.head.part
    writer = BundleWriter(write, plan.head)
    shared = SharedContent(Nodes(local.objects))
    for digest, commit in plan.new_commits or ():
        shared.add(digest, commit, part.columns)
    destination = bundle_destination(writer, shared)
    payload = None if part.is_everything else part
    whole = None
    if part.depth is not None:
        whole = newest_commits((local.objects,), plan.commits, part.depth)
    moved = transfer(
        local,
        destination,
        plan.commits,
        tags=plan.tags,
        payload=payload,
        whole=whole,
        progress=progress,
    )
    if part.max_bytes is not None:
        head = plan.head.refs[HEAD].decode().removeprefix("ref ")
        value = plan.head.refs.get(head)
        newest = plan.commits[0] if value is None else CommitDigest(ref_digest(value))
        moved += _write_budget(local, destination, part, newest)
    writer.close()
    return moved


def _write_budget(
    local: Stores, destination: Stores, part: Filter, commit: CommitDigest
) -> Transferred:
    """Write the values of one version that fit a budget."""
    columns = read_snapshot(local.objects, read_commit(local.objects, commit).snapshot)
    order = part.values_in_order(Nodes(local.objects), columns)
    return fetch_values(local.tensors, destination.tensors, order, max_bytes=part.max_bytes)


# Check one


def check_bundle(bundle: BundleFile, progress: Progress | None = None) -> None:
    """Read all of a bundle: hash every object and value, and look for what the refs name.

    Where nothing was left out, all that the refs reach is looked for; what a receiver must have,
    or never gets, is not.

    Parameters
    ----------
    bundle : BundleFile
        Opened to check whole directories.

    Raises
    ------
    ObjectDamagedError, DigestMismatchError
        It is not what was written.
    """
    objects, values = bundle.objects.digests, bundle.values.digests
    moved = Transferred()
    for low in range(0, len(objects), _CHECKED_AT_ONCE):
        places = np.arange(low, min(low + _CHECKED_AT_ONCE, len(objects)))
        contents = bundle.read_objects(places)
        moved.object_count += len(contents)
        moved.object_nbytes += sum(map(len, contents))
        if progress is not None:
            progress(moved)
    for part in bundle.stored_values(np.arange(len(values))):
        bundle.unpack(part)
        moved.value_count += len(part)
        moved.value_nbytes += len(part.data)
        if progress is not None:
            progress(moved)
    _check_refs(bundle)


def _check_refs(bundle: BundleFile) -> None:
    head = bundle.head
    named = {n: ref_digest(v) for n, v in head.refs.items() if n != HEAD}
    places = bundle.find_objects(digests_to_array(list(named.values())))
    for (name, digest), place in zip(named.items(), places.tolist(), strict=True):
        if place < 0 and digest not in head.prerequisites:
            raise damaged(bundle.file, f"ref {name!r} names {digest.hex()}, which is not in it")
    if head.prerequisites or not head.part.is_everything:
        return
    stores = bundle_stores(bundle)
    try:
        commits = [
            decode_ref(stores.objects, name, value)
            for name, value in head.refs.items()
            if name != HEAD
        ]
        check_connected(Nodes(stores.objects), stores.tensors, list(dict.fromkeys(commits)), [])
    except ObjectNotFoundError as error:
        raise damaged(bundle.file, f"it is not whole: {error}") from error


def check_receiver(head: Head, name: str, objects: ObjectStore, part: Filter) -> None:
    """Check that a repository can take what a bundle has.

    Parameters
    ----------
    head : Head
    name : str
        What errors call the bundle.
    objects : ObjectStore
        Of the repository.
    part : Filter
        What the repository takes of this remote.

    Raises
    ------
    RemoteError
        The bundle needs commits that are not here; the error has their ids.
    InvalidInputError
        The bundle holds a part of each version only, and more is to be taken.
    """
    absent = objects.missing(list(head.prerequisites))
    if absent:
        raise _lacking(name, absent)
    if part.is_everything and not head.part.is_everything:
        raise with_hint(
            InvalidInputError(f"{name} holds a part of each version only, and all is asked for"),
            "clone it into a repository of its own, or ask for a whole bundle",
        )
    depth = head.part.depth
    if depth is not None and (part.depth is None or part.depth > depth):
        raise with_hint(
            InvalidInputError(f"{name} holds only the newest {depth} commits of a branch whole"),
            f"ask for no more with --depth {depth}",
        )
    here = head.part.columns
    if here is not None and (part.columns is None or not set(part.columns) <= set(here)):
        raise with_hint(
            InvalidInputError(f"{name} holds only these columns: {', '.join(here)}"),
            "ask for these alone with --columns",
        )


def part_of_clone(head: Head, name: str, wanted: Filter) -> Filter:
    """Return what a clone of a bundle takes: what is wanted, or the part that is there.

    Raises
    ------
    RemoteError
        The bundle holds new commits only; their ancestors are not in it.
    """
    if head.prerequisites:
        raise with_hint(
            _lacking(name, head.prerequisites),
            "clone what it continues, and fetch from the bundle there",
        )
    if wanted.is_everything:
        return head.part
    depths = [part.depth for part in (wanted, head.part) if part.depth is not None]
    columns = head.part.columns if wanted.columns is None else wanted.columns
    return replace(wanted, columns=columns, depth=min(depths, default=None))


def _lacking(name: str, commits: Sequence[bytes]) -> RemoteError:
    """Return the error of a bundle whose prerequisites are not there."""
    shown = ", ".join(digest.hex()[:12] for digest in commits[:_SHOWN_COMMITS])
    more = f" and {len(commits) - _SHOWN_COMMITS} more" if len(commits) > _SHOWN_COMMITS else ""
    return with_hint(
        RemoteError(f"{name} needs commits that are not here: {shown}{more}"),
        "get these first, or ask for a bundle made with an older --since, or without it",
    )
