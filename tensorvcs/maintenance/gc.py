"""Drop what nothing reaches any more, after a period of grace.

What is reached is what refs name (branches, tags, remote branches, stashes, the staging area, a
merge that waits), what the operation log of the period of grace names, and what is being read.
The rest is looked for while everybody goes on working. It is dropped in short steps, each under
the exclusive lock of the leases: there nothing is on its way, so what came since the search is
looked at first, and keeps what it names. The objects go in one transaction, so that an object that
is there always has all that it names; values go pack by pack, after them.

Of what no ref ever named nobody knows how old it is. So it is noted when it is first seen, and
dropped by a later collection, when it was seen so for the whole period of grace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tensorvcs.errors import WorkInProgressError
from tensorvcs.history.operations import decode_operation
from tensorvcs.history.refs import BRANCHES, REMOTE_BRANCHES, TAGS
from tensorvcs.maintenance.reachability import Reached, digests_in, named_by
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.objects.sorted_digests import DigestSet, PrefixSet, sort_digests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from tensorvcs.history.operations import Operation
    from tensorvcs.storage.interfaces import Stores

Release = Callable[["NDArray[np.uint8]", "NDArray[np.int64]"], "NDArray[np.bool_]"]
"""Given digests of values that are reached and their sizes, tell which are dropped all the same."""

_LOAD_OBJECTS = 512
_NOTHING = np.zeros((0, 32), np.uint8)


class ValueBlock(Protocol):
    """Values that are kept together: those of one pack, or all loose ones."""

    @property
    def pack_id(self) -> bytes | None:
        """The pack; None for the loose values."""
        ...

    @property
    def digests(self) -> NDArray[np.uint8]:
        """Shape (n, 32)."""
        ...

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The bytes of each value, shape (n,)."""
        ...

    @property
    def file_nbytes(self) -> int:
        """The bytes of the pack file; 0 for loose values."""
        ...


class Rewriting(Protocol):
    """A pack written anew without some values, which is not in the index yet."""

    @property
    def file_nbytes(self) -> int:
        """The bytes of the new file; 0 when nothing is left."""
        ...

    def commit(self) -> bool:
        """Put it in the place of the old one; False when that is gone."""
        ...

    def abandon(self) -> None:
        """Remove the new file."""
        ...


class Ages(Protocol):
    """When what no ref reaches was first seen so."""

    def of(self, digests: NDArray[np.uint8], now: int) -> NDArray[np.int64]:
        """Return when digests were first seen, in microseconds: `now` for those that are new."""
        ...


class Site(Protocol):
    """What a collection does to the disk."""

    def object_digests(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the digests of all objects, shape (n, 32) each."""
        ...

    def value_blocks(self) -> Iterator[ValueBlock]:
        """Yield all values; what cannot be read is left out."""
        ...

    def last_change(self) -> int:
        """Return a number that is another one after every transaction that changed anything."""
        ...

    def pinned(self) -> list[bytes]:
        """Return the commits that are being read."""
        ...

    def exclusive(self) -> AbstractContextManager[object]:
        """Keep all work out; raises WorkInProgressError."""
        ...

    def delete_objects(self, digests: NDArray[np.uint8]) -> None:
        """Delete objects, inside a transaction."""
        ...

    def forget_operations(self, before: int) -> None:
        """Delete the operations with a lower number, inside a transaction."""
        ...

    def delete_loose(self, digests: NDArray[np.uint8]) -> None:
        """Delete loose values, inside a transaction."""
        ...

    def rewrite(
        self, pack_id: bytes, is_dropped: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
    ) -> Rewriting | None:
        """Write a pack anew without some values; None when it is gone or damaged."""
        ...

    def read_ages(self) -> Ages:
        """Return what the last collection noted."""
        ...

    def write_ages(self, digests: list[NDArray[np.uint8]], now: int) -> None:
        """Note when these were first seen, and forget all others."""
        ...

    def remove_leftovers(self) -> int:
        """Remove the files that writers left when they died, and return how many."""
        ...


@dataclass(slots=True)
class GcReport:
    """What a collection of garbage did, or would do.

    Attributes
    ----------
    is_dry_run : bool
        Whether nothing was changed.
    object_count, value_count : int
        Commits, snapshots and tree nodes, and values, that were dropped.
    value_nbytes : int
        The bytes of these values.
    freed_nbytes : int
        How much of the disk the packs and the database take less. 0 of a dry run.
    released_count, released_nbytes : int
        Values that a remote has and that were dropped here for `keep_bytes`.
    young_object_count, young_value_count : int
        Garbage that is kept until its period of grace is over.
    scattered_value_count, scattered_nbytes : int
        Values to be dropped that stay, since a fifth or less of their packs is garbage.
    operation_count : int
        Records of the operation log that were forgotten.
    removed_file_count : int
        Files of writers that died.
    is_complete : bool
        False when work began meanwhile, so that some packs were left for the next collection.
    """

    is_dry_run: bool = False
    object_count: int = 0
    value_count: int = 0
    value_nbytes: int = 0
    freed_nbytes: int = 0
    released_count: int = 0
    released_nbytes: int = 0
    young_object_count: int = 0
    young_value_count: int = 0
    scattered_value_count: int = 0
    scattered_nbytes: int = 0
    operation_count: int = 0
    removed_file_count: int = 0
    is_complete: bool = True

    def __repr__(self) -> str:
        verb = "would drop" if self.is_dry_run else "dropped"
        return (
            f"<GcReport {verb} {self.object_count:,} objects and {self.value_count:,} values, "
            f"{self.value_nbytes:,} bytes>"
        )


DEAD_SHARE = 0.2
"""A pack is written anew when more than this part of it is to be dropped."""


@dataclass(slots=True)
class _Window:
    """The operation log: what is remembered, and what is old enough to be forgotten."""

    kept: list[bytes]
    forgotten: list[bytes]
    first_number: int
    """Of the oldest record that stays; the newest one always does, so that numbers go on."""


@dataclass(slots=True)
class _Search:
    """What was found to be garbage, before anything is dropped."""

    kept: Reached
    doomed: NDArray[np.uint8]
    young: NDArray[np.uint8]
    seen_change: int
    """What `Site.last_change` was when everything had been looked at."""
    orphan_values: PrefixSet = field(default_factory=PrefixSet)
    """Values that objects named that are dropped: they have waited with them."""


def collect(
    stores: Stores,
    site: Site,
    *,
    now: int,
    grace_seconds: float,
    allow_absent: bool,
    dry_run: bool = False,
    release: Release | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> GcReport:
    """Drop what nothing reaches any more.

    Parameters
    ----------
    now : int
        Microseconds since 1970.
    grace_seconds : float
        Garbage, and the operation log, are kept for so long.
    allow_absent : bool
        Whether a part of the trees may be absent, as in a partial clone.
    dry_run : bool
        Count, and change nothing.
    release : callable, optional
        Given digests of values that are reached, shape (n, 32), and their sizes, tell which are
        dropped all the same; called for one block of values after the other.
    progress : callable, optional
        Called with the number of packs that were looked at, and None.

    Raises
    ------
    WorkInProgressError
        Somebody writes and does not end; nothing was dropped.
    ObjectNotFoundError, CorruptionError
        What refs reach cannot be read, so that nobody knows what is garbage; nothing was dropped.

    Notes
    -----
    Reads all objects that are reached once, and no values. Memory is about 50 bytes an object, 8
    bytes a value, and 50 bytes for each value that is dropped of one pack.
    """
    report = GcReport(is_dry_run=dry_run)
    cutoff = now - int(grace_seconds * 1e6)
    ages = site.read_ages()
    window = _window(stores, cutoff)
    search = _search(stores, site, window, ages, now, cutoff, allow_absent=allow_absent)
    noted = [search.young, search.doomed]
    report.object_count = len(search.doomed)
    report.young_object_count = len(search.young)
    report.operation_count = len(window.forgotten)
    if not dry_run:
        # Noted before anything may fail: time passes for what stays.
        _note(site, search, noted, now)
        report.removed_file_count = site.remove_leftovers()
        with site.exclusive(), stores.transaction():
            search.doomed = _still_doomed(stores, site, search)
            site.delete_objects(search.doomed)
            site.forget_operations(window.first_number)
        report.object_count = len(search.doomed)
    left = [search.young]
    for count, block in enumerate(site.value_blocks(), 1):
        garbage = _garbage_of(block, search, ages, now, cutoff, release, report)
        left += [garbage.young, garbage.scattered]
        if progress is not None:
            progress(count, None)
        if dry_run or not len(garbage.dropped):
            _count(report, garbage.counts)
            continue
        try:
            is_dropped = report.is_complete and _drop(stores, site, block, search, garbage, report)
        except WorkInProgressError:
            report.is_complete = is_dropped = False
        if is_dropped:
            _count(report, garbage.counts)
        else:
            left.append(garbage.dropped)
    if not dry_run:
        site.write_ages(left, now)
    return report


def _window(stores: Stores, cutoff: int) -> _Window:
    """Split the operation log; what was done as one operation stays together."""
    records = stores.refs.operations()
    newest = records[0][0] if records else 0
    first_kept = newest + 1
    for number, record in records:
        operation: Operation = decode_operation(number, record)
        if number < first_kept and operation.timestamp.microseconds <= cutoff:
            break
        first_kept = min(first_kept, number, operation.continues or number)
    return _Window(
        [record for number, record in records if number >= first_kept],
        [record for number, record in records if number < first_kept],
        min(first_kept, newest),
    )


def _roots(stores: Stores, site: Site) -> tuple[list[bytes], list[bytes]]:
    """Return what must be there, and what is kept as far as it is there."""
    needed: list[bytes] = []
    more: list[bytes] = site.pinned()
    for name, value in stores.refs.items().items():
        is_plain = name.startswith((BRANCHES, TAGS, REMOTE_BRANCHES))
        (needed if is_plain else more).extend(digests_in(value))
    return needed, more


def _search(
    stores: Stores,
    site: Site,
    window: _Window,
    ages: Ages,
    now: int,
    cutoff: int,
    *,
    allow_absent: bool,
) -> _Search:
    """Find the objects that nothing reaches, and that have waited long enough."""
    seen_change = site.last_change()
    objects, kept = stores.objects, Reached()
    needed, more = _roots(stores, site)
    kept.walk(objects, needed, allow_absent=allow_absent)
    kept.walk(objects, more, allow_absent=True)
    kept.walk(objects, (d for r in window.kept for d in digests_in(r)), allow_absent=True)
    expired = Reached()
    forgotten = (digest for record in window.forgotten for digest in digests_in(record))
    expired.walk(objects, forgotten, allow_absent=True, beyond=kept)
    unreached = [block[~_met(kept, block)] for block in site.object_digests()]
    garbage = np.concatenate([_NOTHING, *unreached])
    first_seen = ages.of(garbage, now)
    is_young = (first_seen > cutoff) & ~_met(expired, garbage)
    # What stays keeps what it names, so that whatever is there is whole.
    kept.walk(objects, garbage[is_young], allow_absent=True)
    is_doomed = ~_met(kept, garbage)
    search = _Search(kept, garbage[is_doomed], garbage[~is_doomed], seen_change)
    names = array_to_digests(search.doomed)
    for low in range(0, len(names), _LOAD_OBJECTS):
        for content in objects.get(names[low : low + _LOAD_OBJECTS]):
            search.orphan_values.add(named_by(content)[1])
    return search


def _met(reached: Reached, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
    ranked = sort_digests(digests)
    is_met = np.empty(len(digests), np.bool_)
    is_met[ranked.order] = reached.objects.contains(ranked)
    return is_met


def _note(site: Site, search: _Search, noted: list[NDArray[np.uint8]], now: int) -> None:
    dead = [
        block.digests[~search.kept.values.contains(block.digests)] for block in site.value_blocks()
    ]
    site.write_ages([*noted, *dead], now)


def _still_doomed(stores: Stores, site: Site, search: _Search) -> NDArray[np.uint8]:
    """Return the doomed objects that nothing that came since names; inside the transaction."""
    _catch_up(stores, site, search)
    return search.doomed[~_met(search.kept, search.doomed)]


def _catch_up(stores: Stores, site: Site, search: _Search) -> None:
    """Keep what refs name by now, and what came since the search, with all that they name."""
    needed, more = _roots(stores, site)
    search.kept.walk(stores.objects, [*needed, *more], allow_absent=True)
    last_change = site.last_change()
    if last_change == search.seen_change:
        return
    search.seen_change = last_change + 1  # the transaction that is open, if it changes anything
    doomed = DigestSet()
    doomed.add(search.doomed)
    for block in site.object_digests():
        ranked = sort_digests(block)
        is_known = search.kept.objects.contains(ranked) | doomed.contains(ranked)
        if not is_known.all():
            search.kept.walk(stores.objects, ranked.digests[~is_known], allow_absent=True)


@dataclass(slots=True)
class _BlockGarbage:
    """What of a block is dropped, what waits, and what stays since it is too little."""

    dropped: NDArray[np.uint8]
    released: DigestSet
    young: NDArray[np.uint8]
    scattered: NDArray[np.uint8]
    counts: tuple[int, int, int, int]
    """Dead values and their bytes, released values and their bytes: of what is dropped."""


def _garbage_of(
    block: ValueBlock,
    search: _Search,
    ages: Ages,
    now: int,
    cutoff: int,
    release: Release | None,
    report: GcReport,
) -> _BlockGarbage:
    digests, sizes = block.digests, block.sizes
    is_live = search.kept.values.contains(digests)
    is_old = (ages.of(digests, now) <= cutoff) | search.orphan_values.contains(digests)
    is_dead = ~is_live & is_old
    is_young = ~is_live & ~is_old
    is_released = np.zeros(len(digests), np.bool_)
    if release is not None:
        places = np.flatnonzero(is_live)
        is_released[places] = release(digests[places], sizes[places])
    is_dropped = is_dead | is_released
    report.young_value_count += int(is_young.sum())
    share = is_dropped.sum() / max(1, len(digests))
    nbytes_share = sizes[is_dropped].sum() / max(1, int(sizes.sum()))
    released = DigestSet()
    if block.pack_id is not None and max(share, nbytes_share) <= DEAD_SHARE:
        report.scattered_value_count += int(is_dropped.sum())
        report.scattered_nbytes += int(sizes[is_dropped].sum())
        return _BlockGarbage(_NOTHING, released, digests[is_young], digests[is_dead], (0, 0, 0, 0))
    released.add(_distinct(digests[is_released]))
    counts = (
        int(is_dead.sum()),
        int(sizes[is_dead].sum()),
        int(is_released.sum()),
        int(sizes[is_released].sum()),
    )
    return _BlockGarbage(digests[is_dropped], released, digests[is_young], _NOTHING, counts)


def _count(report: GcReport, counts: tuple[int, int, int, int]) -> None:
    report.value_count += counts[0]
    report.value_nbytes += counts[1]
    report.released_count += counts[2]
    report.released_nbytes += counts[3]


def _distinct(digests: NDArray[np.uint8]) -> NDArray[np.uint8]:
    ranked = sort_digests(digests)
    return ranked.digests[~ranked.is_repeat()]


def _drop(
    stores: Stores,
    site: Site,
    block: ValueBlock,
    search: _Search,
    garbage: _BlockGarbage,
    report: GcReport,
) -> bool:
    """Drop values of one block, unless something that came since the search names one of them."""
    dropped = DigestSet()
    dropped.add(_distinct(garbage.dropped))

    def is_dropped(digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        ranked = sort_digests(digests)
        found = np.empty(len(digests), np.bool_)
        found[ranked.order] = dropped.contains(ranked)
        return found

    def is_needed(digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell what must stay; what is released may be read, and comes back then."""
        ranked = sort_digests(digests)
        is_released = np.empty(len(digests), np.bool_)
        is_released[ranked.order] = garbage.released.contains(ranked)
        needed: NDArray[np.bool_] = search.kept.values.contains(digests) & ~is_released
        return needed

    if block.pack_id is None:
        with site.exclusive(), stores.transaction():
            _catch_up(stores, site, search)
            site.delete_loose(garbage.dropped[~is_needed(garbage.dropped)])
        return True
    rewriting = site.rewrite(block.pack_id, is_dropped)
    if rewriting is None:
        return False
    is_done = False
    try:
        with site.exclusive(), stores.transaction():
            _catch_up(stores, site, search)
            if not is_needed(garbage.dropped).any():
                is_done = rewriting.commit()
    finally:
        if not is_done:
            rewriting.abandon()
    if is_done:
        report.freed_nbytes += block.file_nbytes - rewriting.file_nbytes
    return is_done
