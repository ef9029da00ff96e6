"""Bisect: which commit of a history made something worse.

A test tells of a version that it is good or bad, or gives it a score. The commits in question
are those that the bad commit reaches and no good one does. Each step tests the one that comes
closest to having half of them as ancestors: when it is bad, these are left, and when it is good,
the others.

With scores a commit is good when its score is nearer to that of the good end than to that of the
bad end, and then becomes that end. So each step goes on in the part with the larger drop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, Literal

from tensorvcs.errors import InvalidInputError, UnrelatedHistoriesError, with_hint
from tensorvcs.history.ancestry import is_ancestor, merge_bases, read_commit

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from tensorvcs.history.commit import Commit
    from tensorvcs.objects.commit import CommitObject
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import ObjectStore


class Skip(Enum):
    """What a test returns of a version that it can say nothing about."""

    SKIP = "skip"

    def __repr__(self) -> str:
        return "SKIP"


SKIP: Final[Literal[Skip.SKIP]] = Skip.SKIP

Outcome = bool | float | None
"""What became of a test: good or bad, a score, or None when the version was skipped."""


@dataclass(frozen=True, slots=True)
class BisectStep:
    """One version that was tested, or whose content was tested before.

    Attributes
    ----------
    commit : Commit
    outcome : bool, float or None
        What the test said: True is good; None when it was skipped.
    is_good : bool or None
        What the outcome was taken for; None when it was skipped, and for a part of a commit.
    is_repeated : bool
        Whether the content was tested before, so that the test did not run.
    left_count : int
        How many commits may still be the first bad one.
    part : str
        What of a commit was tried; empty for a commit as it is.
    """

    commit: Commit
    outcome: Outcome
    is_good: bool | None
    is_repeated: bool
    left_count: int
    part: str = ""


class OutOfTestsError(Exception):
    """No more tests may run; never leaves the search, which returns what it knows by then."""


Candidates = dict["CommitDigest", tuple["CommitDigest", ...]]
"""Commits that may be the first bad one, parents before children: to those of their parents that
are candidates as well. The last one is the bad commit, which reaches all others."""


def check_ends(objects: ObjectStore, goods: Sequence[Commit], bad: Commit) -> None:
    """Raise unless every good commit is an ancestor of the bad one, and has another content.

    Raises
    ------
    InvalidInputError
        There is no good commit, it is the bad one or its content is equal, or it comes later.
    UnrelatedHistoriesError
        They have no ancestor in common.
    """
    if not goods:
        raise InvalidInputError("a bisect needs at least one good commit")
    for good in goods:
        if good == bad:
            raise InvalidInputError(f"commit {bad.short_id} cannot be both good and bad")
        if good.object.snapshot == bad.object.snapshot:
            raise with_hint(
                InvalidInputError(
                    f"the good commit {good.short_id} and the bad commit {bad.short_id} have "
                    "equal content, so no test can tell them apart"
                ),
                f"'tvcs log {bad.short_id}' lists the commits before it",
            )
        if not is_ancestor(objects, good.digest, bad.digest):
            raise _not_an_ancestor(objects, good, bad)


def _not_an_ancestor(
    objects: ObjectStore, good: Commit, bad: Commit
) -> InvalidInputError | UnrelatedHistoriesError:
    if is_ancestor(objects, bad.digest, good.digest):
        return with_hint(
            InvalidInputError(
                f"the good commit {good.short_id} comes after the bad commit {bad.short_id}; "
                "a bisect finds what made a later commit worse"
            ),
            "name the good commit first; to find what made it better, turn the test round",
        )
    bases = merge_bases(objects, good.digest, bad.digest)
    if not bases:
        return UnrelatedHistoriesError(
            f"commits {good.short_id} and {bad.short_id} have no ancestor in common"
        )
    return with_hint(
        InvalidInputError(
            f"the good commit {good.short_id} is no ancestor of the bad commit {bad.short_id}"
        ),
        f"start from their merge base: {bases[0].hex()[:12]}",
    )


def candidates_between(
    objects: ObjectStore, goods: Sequence[CommitDigest], bad: CommitDigest
) -> Candidates:
    """Return the commits that `bad` reaches, itself included, and none of `goods` does.

    Notes
    -----
    Visits commits by falling generation, and stops when only ancestors of good ones are left.
    """
    commits: dict[CommitDigest, CommitObject] = {}
    queue: list[tuple[int, CommitDigest]] = []
    are_good: set[CommitDigest] = set()
    open_count = 0  # in the queue, and not known to be good

    def reach(digest: CommitDigest, *, is_good: bool) -> None:
        nonlocal open_count
        if digest not in commits:
            commits[digest] = read_commit(objects, digest)
            heappush(queue, (-commits[digest].generation, digest))
            open_count += not is_good
        elif is_good and digest not in are_good:
            open_count -= 1
        if is_good:
            are_good.add(digest)

    for good in goods:
        reach(good, is_good=True)
    reach(bad, is_good=False)
    found: list[CommitDigest] = []
    while open_count:
        _, digest = heappop(queue)
        is_good = digest in are_good
        if not is_good:
            open_count -= 1
            found.append(digest)
        for parent in commits[digest].parents:
            reach(parent, is_good=is_good)
    found.reverse()
    return _within({digest: commits[digest].parents for digest in found}, set(found))


def _within(candidates: Candidates, kept: Container[CommitDigest]) -> Candidates:
    return {
        digest: tuple(dict.fromkeys(parent for parent in parents if parent in kept))
        for digest, parents in candidates.items()
        if digest in kept
    }


def ancestor_counts(candidates: Mapping[CommitDigest, Sequence[CommitDigest]]) -> list[int]:
    """Return for each candidate how many candidates it reaches, itself included.

    Notes
    -----
    A set of bits for each candidate, which lives until the last of its children has taken it.
    """
    children_left = dict.fromkeys(candidates, 0)
    for parents in candidates.values():
        for parent in parents:
            children_left[parent] += 1
    reached: dict[CommitDigest, int] = {}
    counts = []
    for place, (digest, parents) in enumerate(candidates.items()):
        bits = 1 << place
        for parent in parents:
            bits |= reached[parent]
            children_left[parent] -= 1
            if not children_left[parent]:
                del reached[parent]
        reached[digest] = bits
        counts.append(bits.bit_count())
    return counts


def middle(candidates: Candidates, skipped: Container[CommitDigest]) -> CommitDigest | None:
    """Return the candidate to test next, None when all but the bad one were skipped.

    That is the one that comes closest to reaching half of them. After a skip, what is near was
    likely to be skipped as well, so a quarter, three quarters, an eighth and so on come next.
    """
    *others, _ = candidates
    open_places = [place for place, digest in enumerate(others) if digest not in skipped]
    if not open_places:
        return None
    skip_count = len(others) - len(open_places)
    aim = _fraction(skip_count + 1) * len(candidates)
    counts = ancestor_counts(candidates)
    return others[min(open_places, key=lambda place: abs(counts[place] - aim))]


def _fraction(number: int) -> float:
    """Return the terms of the van der Corput sequence: 1/2, 1/4, 3/4, 1/8, 5/8, 3/8, 7/8, ..."""
    value, weight = 0.0, 0.5
    while number:
        value += weight * (number & 1)
        number >>= 1
        weight /= 2
    return value


def _ancestors(candidates: Candidates, start: CommitDigest) -> set[CommitDigest]:
    """Return the candidates that one of them reaches, itself included."""
    found, queue = {start}, [start]
    while queue:
        fresh = [parent for parent in candidates[queue.pop()] if parent not in found]
        found.update(fresh)
        queue += fresh
    return found


def find_first_bad(
    candidates: Candidates, judge: Callable[[CommitDigest, int], bool | None]
) -> list[CommitDigest]:
    """Return the first bad commit, or those it may be when some had to be skipped.

    Parameters
    ----------
    candidates : Candidates
        The last one is bad.
    judge : callable
        Called with a commit and the number of candidates; True when it is good, None to skip it.
        `OutOfTestsError` ends the search.

    Returns
    -------
    list of CommitDigest
        Parents before children.

    Notes
    -----
    About ``log2(n)`` calls for n candidates in a row, and at most ``log(n) / log(3/2)`` where each
    has two parents at most.

    References
    ----------
    ``git bisect``; J. Courtiel, P. Dorbec and R. Lecoq, Theoretical analysis of git bisect, LATIN
    2022.
    """
    skipped: set[CommitDigest] = set()
    while len(candidates) > 1:
        tested = middle(candidates, skipped)
        if tested is None:
            break
        try:
            is_good = judge(tested, len(candidates))
        except OutOfTestsError:
            break
        if is_good is None:
            skipped.add(tested)
            continue
        reached = _ancestors(candidates, tested)
        candidates = _within(candidates, candidates.keys() - reached if is_good else reached)
    return list(candidates)
