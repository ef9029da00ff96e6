"""Repair: bring back what is damaged or lost from another repository that has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.maintenance.verify import Verification, VerifyReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.errors import CorruptionError
    from tensorvcs.maintenance.verify import Problem
    from tensorvcs.objects.digest import CommitDigest, SnapshotDigest
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes


@dataclass(slots=True)
class Repair:
    """What was mended.

    Attributes
    ----------
    source : str
        Where it came from, as a person is shown it; empty when nothing was asked of elsewhere.
    packs : list of str
        Pack files that were damaged and are written anew; what is left of them is kept under the
        name ``damaged-<file>``.
    value_count, object_count : int
        Values; and commits, snapshots, tags and tree nodes that came from there.
    files : list of str
        Files that were written anew from their copies here.
    """

    source: str
    packs: list[str] = field(default_factory=list)
    value_count: int = 0
    object_count: int = 0
    files: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = []
        if self.source:
            parts.append(f"{self.value_count:,} values, {self.object_count:,} objects")
        if self.packs:
            parts.append(f"{len(self.packs):,} packs were written anew")
        if self.files:
            parts.append(f"written anew from their copies: {', '.join(self.files)}")
        origin = f"mended from {self.source}" if self.source else "mended here"
        return f"{origin}: {'; '.join(parts) or 'nothing'}"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a verification calls for what it finds damaged or lost.

    Attributes
    ----------
    mend_object : callable
        Put an object back under its digest and return it; None when it cannot be had.
    mend_values : callable
        Put values back, by digests of shape (n, 32); tell for each whether it can be had.
    """

    mend_object: Callable[[bytes], bytes | None]
    mend_values: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Means:
    """What the stores of a repository do for its repair.

    Attributes
    ----------
    find_object : callable
        Return an object of the source, None when it has not got it.
    replace_object : callable
        Put an object under its digest, in place of what is there.
    mend_packs : callable
        Mend damaged packs and loose values, and note in a `Repair` what was mended; return the ids
        of packs that cannot be opened, and the digests that were lost with others.
    take_values : callable
        Take values that are in no pack; tell for each whether it came.
    has_values : callable
        Tell for each digest whether the source has the value.
    forget_packs : callable
        Take packs out of the index.
    """

    find_object: Callable[[bytes], bytes | None]
    replace_object: Callable[[bytes, bytes], None]
    mend_packs: Callable[[Repair], tuple[Sequence[bytes], Sequence[bytes]]]
    take_values: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
    has_values: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
    forget_packs: Callable[[Sequence[bytes]], None]


def repair_repository(
    stores: Stores,
    nodes: Nodes,
    starts: Mapping[str, CommitDigest],
    snapshots: Mapping[str, SnapshotDigest],
    *,
    means: Means,
    source: str,
    check_values: Callable[[], Iterator[CorruptionError]],
    allow_absent: bool = False,
    problems: Iterable[Problem] = (),
    progress: Callable[[int, int | None], None] | None = None,
) -> VerifyReport:
    """Mend what can be mended, then report what stays broken; see `verify_repository`.

    Raises
    ------
    StorageError
        The disk refused; what was mended by then is mended, and a second run goes on.

    Notes
    -----
    Packs come first, since their values are then where the trees look for them. Every step leaves
    a repository in which at least as much can be read as before.
    """
    repair = Repair(source)
    unopened, lost = means.mend_packs(repair)
    unmended = set(lost)
    is_missing = False

    def mend_object(digest: bytes) -> bytes | None:
        content = means.find_object(digest)
        if content is not None:
            means.replace_object(digest, content)
            repair.object_count += 1
        return content

    def mend_values(digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        nonlocal is_missing
        if not allow_absent:
            came = means.take_values(digests)
            repair.value_count += int(came.sum())
        else:
            # A partial clone fetches what it lacks when it is read, if there is where to fetch it.
            came = np.array([d.tobytes() not in unmended for d in digests], np.bool_)
            if unopened:
                came &= means.has_values(digests)
        is_missing |= not bool(came.all())
        return came

    remedy = Remedy(mend_object, mend_values)
    check = Verification(stores, nodes, remedy=remedy, allow_absent=allow_absent, problems=problems)
    check.walk_all(starts, snapshots, progress)
    if unopened and not is_missing:
        means.forget_packs(unopened)
    check.note_values(check_values())
    report = check.finish()
    report.repair = repair
    return report
