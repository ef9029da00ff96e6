"""Depth: the newest commits of some branches, those of which a shallow clone has the trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.history.ancestry import read_commits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorvcs.objects.commit import CommitObject
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import ObjectStore


def newest_commits(
    stores: Sequence[ObjectStore], tips: Iterable[CommitDigest], depth: int
) -> dict[CommitDigest, CommitObject]:
    """Return the commits that fewer than `depth` steps from child to parent lead to.

    Parameters
    ----------
    stores : sequence of ObjectStore
        Each commit is read from the first of them that has it.
    tips : iterable of CommitDigest
    depth : int
        1 for the tips alone.

    Raises
    ------
    ObjectNotFoundError
        The last store lacks a commit, and so do the others.

    Notes
    -----
    One batch a step goes to each store.
    """
    found: dict[CommitDigest, CommitObject] = {}
    edge = list(dict.fromkeys(tips))
    for _ in range(depth):
        if not edge:
            break
        read = _read_from_any(stores, edge)
        found.update((digest, read[digest]) for digest in edge)
        parents = (parent for digest in edge for parent in found[digest].parents)
        edge = [parent for parent in dict.fromkeys(parents) if parent not in found]
    return found


def _read_from_any(
    stores: Sequence[ObjectStore], wanted: Sequence[CommitDigest]
) -> dict[CommitDigest, CommitObject]:
    read: dict[CommitDigest, CommitObject] = {}
    left = list(wanted)
    for store in stores[:-1]:
        absent = set(store.missing(left))
        here = [digest for digest in left if digest not in absent]
        read.update(zip(here, read_commits(store, here), strict=True))
        left = [digest for digest in left if digest in absent]
    if left:
        read.update(zip(left, read_commits(stores[-1], left), strict=True))
    return read
