"""Walks over commits: the log, ancestors, merge bases."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from tensorvcs.objects.commit import CommitObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import ObjectStore


def read_commits(objects: ObjectStore, digests: Sequence[CommitDigest]) -> list[CommitObject]:
    """Return commits by digest, one batch of reads."""
    return [CommitObject.decode(content) for content in objects.get(digests)]


def read_commit(objects: ObjectStore, digest: CommitDigest) -> CommitObject:
    """Return one commit."""
    return read_commits(objects, [digest])[0]


def walk(
    objects: ObjectStore,
    starts: Sequence[CommitDigest],
    *,
    without: Sequence[CommitDigest] = (),
    first_parent: bool = False,
) -> Iterator[tuple[CommitDigest, CommitObject]]:
    """Yield the commits that `starts` reach, newest first; of equal times, children first.

    Parameters
    ----------
    without : sequence of CommitDigest
        Commits that are left out, with all their ancestors.
    first_parent : bool
        Whether to follow only the first parent of a merge.

    Notes
    -----
    Lazy: reads a commit when one of its children was yielded. With `without` all commits of the
    range are read first, and of the others those of no lower generation than the lowest of them.
    """
    chosen = _reached_without(objects, starts, without) if without else None
    seen: set[CommitDigest] = set()
    queue: list[tuple[int, int, CommitDigest, CommitObject]] = []

    def push(digests: Sequence[CommitDigest]) -> None:
        fresh = [digest for digest in dict.fromkeys(digests) if digest not in seen]
        seen.update(fresh)
        if chosen is None:
            commits = read_commits(objects, fresh)
        else:
            fresh = [digest for digest in fresh if digest in chosen]
            commits = [chosen[digest] for digest in fresh]
        for digest, commit in zip(fresh, commits, strict=True):
            key = (-commit.commit_time.microseconds, -commit.generation)
            heapq.heappush(queue, (*key, digest, commit))

    push(starts)
    while queue:
        _, _, digest, commit = heapq.heappop(queue)
        yield digest, commit
        push(commit.parents[:1] if first_parent else commit.parents)


def _reached_without(
    objects: ObjectStore, starts: Sequence[CommitDigest], without: Sequence[CommitDigest]
) -> dict[CommitDigest, CommitObject]:
    """Return the commits that `starts` reach and `without` do not, by falling generation."""
    is_left_out = dict.fromkeys(starts, False) | dict.fromkeys(without, True)
    queue: list[tuple[int, CommitDigest, CommitObject]] = []

    def push(digests: Sequence[CommitDigest]) -> None:
        for digest, commit in zip(digests, read_commits(objects, digests), strict=True):
            heapq.heappush(queue, (-commit.generation, digest, commit))

    push(list(is_left_out))
    live = sum(1 for left_out in is_left_out.values() if not left_out)
    reached: dict[CommitDigest, CommitObject] = {}
    # A commit is looked at after all its descendants: by then its mark is final.
    while live:
        _, digest, commit = heapq.heappop(queue)
        left_out = is_left_out[digest]
        if not left_out:
            live -= 1
            reached[digest] = commit
        fresh = [parent for parent in dict.fromkeys(commit.parents) if parent not in is_left_out]
        for parent in commit.parents:
            if left_out and is_left_out.get(parent) is False:
                live -= 1
            is_left_out[parent] = left_out or is_left_out.get(parent, False)
        live += 0 if left_out else len(fresh)
        push(fresh)
    return reached


_FROM_A, _FROM_B, _STALE = 1, 2, 4


def merge_bases(objects: ObjectStore, a: CommitDigest, b: CommitDigest) -> list[CommitDigest]:
    """Return the best common ancestors of two commits, none an ancestor of another.

    Empty when the histories are unrelated; more than one for criss-cross histories.

    Notes
    -----
    Visits commits by falling generation, and stops when only ancestors of found bases are left.

    References
    ----------
    ``paint_down_to_common`` of git, with generation numbers.
    """
    if a == b:
        return [a]
    marks: dict[CommitDigest, int] = {a: _FROM_A, b: _FROM_B}
    commits: dict[CommitDigest, CommitObject] = {}
    queue: list[tuple[int, CommitDigest]] = []
    for digest in (a, b):
        commits[digest] = read_commit(objects, digest)
        heapq.heappush(queue, (-commits[digest].generation, digest))
    live = len(queue)
    bases: list[CommitDigest] = []
    while queue and live:
        _, digest = heapq.heappop(queue)
        mark = marks[digest]
        if not mark & _STALE:
            live -= 1
            if mark == _FROM_A | _FROM_B:
                bases.append(digest)
                mark |= _STALE
        for parent in dict.fromkeys(commits[digest].parents):
            before = marks.get(parent, 0)
            after = before | mark
            if after == before:
                continue
            marks[parent] = after
            if parent not in commits:
                commits[parent] = read_commit(objects, parent)
                heapq.heappush(queue, (-commits[parent].generation, parent))
                live += not after & _STALE
            elif after & _STALE and not before & _STALE:
                live -= 1
    return sorted(bases)


def is_ancestor(objects: ObjectStore, ancestor: CommitDigest, of: CommitDigest) -> bool:
    """Tell whether `ancestor` is `of` or can be reached from it.

    Notes
    -----
    Stops at the generation of `ancestor`: the parents of a commit of the next generation are
    not read.
    """
    if ancestor == of:
        return True
    floor = read_commit(objects, ancestor).generation
    queue, seen = [of], {of}
    while queue:
        commits = read_commits(objects, queue)
        queue = []
        for commit in commits:
            if commit.generation <= floor:
                continue
            if ancestor in commit.parents:
                return True
            if commit.generation == floor + 1:
                continue
            fresh = [parent for parent in commit.parents if parent not in seen]
            seen.update(fresh)
            queue += fresh
    return False
