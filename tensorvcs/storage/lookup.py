"""Where values are: many digests to sources and rows, in one pass over the packs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import CorruptionError, ObjectNotFoundError
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.objects.sorted_digests import sort_digests
from tensorvcs.storage.locations import Locations
from tensorvcs.storage.pack_folder import not_found
from tensorvcs.storage.sources import ABSENT, LOOSE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.objects.sorted_digests import SortedDigests
    from tensorvcs.storage.pack_folder import Catalog, PackFolder
    from tensorvcs.storage.sources import Sources

_LOOSE_LOOKUPS = 256


def locate(
    packs: PackFolder, wanted: SortedDigests, catalog: Catalog, where: Sources
) -> tuple[NDArray[np.int64], NDArray[np.uint32], list[CorruptionError]]:
    """Return source (-1 where absent) and row of each digest, and what hindered the search."""
    sources = np.full(len(wanted), -1, np.int64)
    rows = np.zeros(len(wanted), np.uint32)
    problems = list(catalog.damaged)
    left: slice | NDArray[np.intp] = slice(None)
    count = len(wanted)
    for pack in catalog.packs:
        if not count:
            break
        try:
            found, places = pack.locate(wanted.digests[left], wanted.prefixes[left], problems)
        except CorruptionError as error:
            problems.append(error)
            continue
        if len(found):
            numbers = where.numbers_of(pack)
            here = found if isinstance(left, slice) else left[found]
            sources[here] = numbers[places[:, 0]]
            rows[here] = places[:, 1]
            left = np.nonzero(sources < 0)[0]
            count = len(left)
    if count:
        digests = wanted.digests[left]
        loose = _find_loose(packs, digests)
        if len(loose):
            here = loose if isinstance(left, slice) else left[loose]
            sources[here] = LOOSE
            rows[here] = where.loose.rows_of(array_to_digests(digests[loose]))
    return sources, rows, problems


def _find_loose(packs: PackFolder, digests: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return which digests are loose values."""
    count, _ = packs.index.loose_size()
    if not count:
        return np.zeros(0, np.intp)
    wanted = array_to_digests(digests)
    if len(wanted) <= _LOOSE_LOOKUPS:
        there = [record is not None for record in packs.index.loose(wanted)]
    else:
        known = set(packs.index.loose_digests())
        there = [digest in known for digest in wanted]
    if packs.distrusted:
        there = [
            is_here and digest not in packs.distrusted
            for digest, is_here in zip(wanted, there, strict=True)
        ]
    return np.nonzero(np.array(there, np.bool_))[0]


def are_here(packs: PackFolder, wanted: SortedDigests) -> NDArray[np.bool_]:
    """Tell for each digest whether its value can be found, shape (n,)."""
    while True:
        with packs.lock:
            catalog = packs.refresh()
            found, _, _ = locate(packs, wanted, catalog, packs.generation.sources)
            is_here: NDArray[np.bool_] = found >= 0
        if is_here.all() or packs.is_current(catalog):
            return is_here


def located(packs: PackFolder, digests: NDArray[np.uint8], where: Sources) -> Locations:
    """Return where values are; the caller holds the lock.

    Raises
    ------
    ObjectNotFoundError
        A value is not here.
    CorruptionError
        A value was not found, and some pack cannot be searched.
    """
    while True:
        catalog = packs.refresh()
        try:
            return located_in(packs, digests, catalog, where)
        except ObjectNotFoundError:
            if packs.is_current(catalog):
                raise


def located_in(
    packs: PackFolder,
    digests: NDArray[np.uint8],
    catalog: Catalog,
    where: Sources,
    *,
    is_lazy: bool = False,
) -> Locations:
    """Return where values are; with `is_lazy` an absent one is in the source of those."""
    wanted = sort_digests(digests)
    sources, rows, problems = locate(packs, wanted, catalog, where)
    absent = np.nonzero(sources < 0)[0]
    if len(absent):
        if not is_lazy:
            raise not_found(wanted.digests[absent[0]].tobytes(), len(absent), problems)
        sources[absent] = ABSENT
        rows[absent] = where.absent.rows_of(array_to_digests(wanted.digests[absent]))
    places = np.empty(len(digests), np.uint32)
    places[wanted.order] = rows
    numbers = np.empty(len(digests), np.uint32)
    numbers[wanted.order] = sources
    if len(where.items) <= np.iinfo(np.uint16).max:
        return Locations(numbers.astype(np.uint16), places)
    return Locations(numbers, places)
