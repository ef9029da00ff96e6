"""Upkeep of the packs: gather loose values, merge small packs, put values in order, drop them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import CorruptionError
from tensorvcs.objects.digest import digests_to_array
from tensorvcs.objects.sorted_digests import sort_digests
from tensorvcs.storage.durable import step
from tensorvcs.storage.lookup import locate
from tensorvcs.storage.pack_index import decode_loose
from tensorvcs.storage.pack_order import PackOrder
from tensorvcs.storage.pack_rewrite import PackRewriting, merge_packs, row_digests
from tensorvcs.storage.sources import Sources
from tensorvcs.storage.unsealed import MAX_PACK_ROWS, Unsealed, loose_layout, write_together
from tensorvcs.storage.value_blocks import ValueBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.sorted_digests import SortedDigests
    from tensorvcs.storage.mapped_pack import MappedPack
    from tensorvcs.storage.pack_folder import PackFolder
    from tensorvcs.storage.pack_index import Layout

REPACK_LOOSE_COUNT = 2048
REPACK_LOOSE_NBYTES = 8 << 20
MERGE_PACK_COUNT = 8
"""Packs of one size class are merged when they are so many; a class is a factor of 8."""

MERGE_PAYLOAD_NBYTES = 128 << 20
"""What one automatic merge reads and writes at most."""


def repack_loose(packs: PackFolder, *, force: bool = False) -> bool:
    """Gather loose values into a pack when they are many, and merge packs that are small.

    Parameters
    ----------
    packs : PackFolder
    force : bool
        Gather the loose values however few they are.

    Returns
    -------
    bool
        Whether anything was moved.

    Raises
    ------
    StorageError
        The disk is full or refused; what was not moved by then is as it was.

    Notes
    -----
    Without need it costs two LMDB reads. It reads and writes at most 8 MiB of loose values
    and merges at most 128 MiB of packs, 8 of like size at a time, so that every value is
    written about once for each factor of 8 by which its pack grows. Readers go on with the
    files they have mapped.
    """
    count, nbytes = packs.index.loose_size()
    has_moved = False
    if count and (force or count >= REPACK_LOOSE_COUNT or nbytes >= REPACK_LOOSE_NBYTES):
        has_moved = _gather_loose(packs)
    chosen = _mergeable(packs)
    while chosen:
        if not _merge(packs, chosen):
            break
        has_moved = True
        chosen = _mergeable(packs)
    return has_moved


def _gather_loose(packs: PackFolder) -> bool:
    catalog = packs.refresh()
    digests = packs.index.loose_digests()
    if not digests:
        return False
    in_packs = np.zeros(len(digests), np.bool_)
    wanted = sort_digests(digests_to_array(digests))
    relied_on: list[MappedPack] = []
    for pack in catalog.packs:
        with suppress(CorruptionError):
            found = _held_whole(pack, wanted)
            if len(found):
                in_packs[wanted.order[found]] = True
                relied_on.append(pack)
    groups: dict[Layout, Unsealed] = {}
    moved: list[bytes] = []
    for digest, record, is_packed in zip(
        digests, packs.index.loose(digests), in_packs.tolist(), strict=True
    ):
        if record is None:
            continue
        if not is_packed:
            try:
                value = decode_loose(digest, record)
            except CorruptionError:
                continue  # left where `verify` finds it
            layout = loose_layout(value)
            unsealed = groups.get(layout)
            if unsealed is None:
                unsealed = groups[layout] = Unsealed(layout, "auto")
            name = np.frombuffer(digest, np.uint8).reshape(1, 32)
            if value.is_row:
                unsealed.buffer_rows(name, np.frombuffer(value.data, np.uint8).reshape(1, -1))
            else:
                unsealed.buffer_frames(name, [value.data], [value.shape], len(value.data))
        moved.append(digest)
    sealed = [write_together(packs.path, list(groups.values()))] if groups else []
    step("pack replaced")
    return packs.change(sealed, remove_loose=moved, relied_on=relied_on)


def _held_whole(pack: MappedPack, wanted: SortedDigests) -> NDArray[np.intp]:
    """Return which values are in a pack, and are there what their names say.

    What two wrote at once is in a pack and loose. What is being mended is, too, and of that the
    loose value is the one to keep.
    """
    found, places = pack.locate(wanted.digests, wanted.prefixes)
    is_whole = np.zeros(len(found), np.bool_)
    for ordinal in np.unique(places[:, 0]).tolist():
        chosen = np.nonzero(places[:, 0] == ordinal)[0]
        with suppress(CorruptionError):
            hashed = row_digests(pack.datasets[ordinal], places[chosen, 1].astype(np.intp))
            is_whole[chosen] = (hashed == wanted.digests[found[chosen]]).all(axis=1)
    return found[is_whole]


def _mergeable(packs: PackFolder) -> list[MappedPack]:
    """Return packs of one size class that are enough to be merged, the smallest class first."""
    classes: dict[int, list[MappedPack]] = {}
    for pack in packs.refresh().packs:
        if pack.record.pack_id not in packs.unmergeable:
            size_class = pack.record.payload_nbytes.bit_length() // 3
            classes.setdefault(size_class, []).append(pack)
    for size_class in sorted(classes):
        chosen: list[MappedPack] = []
        nbytes = row_count = 0
        for pack in sorted(classes[size_class], key=lambda p: p.record.payload_nbytes):
            nbytes += pack.record.payload_nbytes
            row_count += len(pack)
            if nbytes > MERGE_PAYLOAD_NBYTES or row_count > MAX_PACK_ROWS:
                break
            chosen.append(pack)
        if len(chosen) >= MERGE_PACK_COUNT:
            return chosen
    return []


def _merge(packs: PackFolder, chosen: Sequence[MappedPack]) -> bool:
    """Write the values of some packs to one and replace them; False when it cannot be."""
    try:
        merged = merge_packs(packs.path, chosen, None)
    except CorruptionError:
        # Damage is for `verify` to report; what is damaged stays as it is.
        packs.unmergeable.update(pack.record.pack_id for pack in chosen)
        return False
    step("pack replaced")
    return packs.change([] if merged is None else [merged], remove_packs=chosen)


def repack_in_order(
    packs: PackFolder,
    order: Callable[[], Iterable[NDArray[np.uint8]]],
    *,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[int, int]:
    """Gather everything into few packs, in an order in which it will be read.

    Parameters
    ----------
    packs : PackFolder
    order : callable
        Return blocks of digests, shape (n, 32), uint8, in order; called twice. A digest may
        come several times, and one that is not here is passed over.
    progress : callable, optional
        Called with the number of packs written, and None.

    Returns
    -------
    moved_count, moved_nbytes : int
        Values that were written anew for the order, and their bytes before compression.

    Raises
    ------
    StorageError
        The disk is full or refused; everything is as it was.

    Notes
    -----
    What is in order already is left as it is. The packs that are written anew are on the disk
    twice until all of them are durable. Memory is a few tens of MiB a layout and a byte a
    value. Readers go on with the files they have mapped.
    """
    repack_loose(packs, force=True)
    catalog = packs.refresh()
    chosen = [p for p in catalog.packs if p.record.pack_id not in packs.unmergeable]
    if not chosen:
        return 0, 0
    among = replace(catalog, packs=tuple(chosen), damaged=())
    numbers = Sources(lambda _: None, packs.find)
    first = {pack.record.pack_id: numbers.numbers_of(pack) for pack in chosen}
    assert all(len(found) for found in first.values())
    offset = len(numbers.items) - sum(len(pack.datasets) for pack in chosen)

    def find(digests: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        wanted = sort_digests(digests)
        found, rows, _ = locate(packs, wanted, among, numbers)
        sources, places = np.empty_like(found), np.empty_like(rows)
        sources[wanted.order], places[wanted.order] = found - offset, rows
        sources[sources < 0] = -1  # loose values are not for this
        return sources, places

    ordered = PackOrder(chosen, find)
    try:
        ordered.look(order())
        groups = ordered.disordered()
        if not groups:
            return 0, 0
        done = ordered.write(packs.path, order(), groups, progress)
    except CorruptionError:
        # Damage is for `verify` to report; everything stays as it is.
        return 0, 0
    step("pack replaced")
    if not packs.change(done.sealed, remove_packs=done.replaced):
        return 0, 0  # somebody else merged some of them meanwhile
    return done.moved_count, done.moved_nbytes


def value_blocks(packs: PackFolder) -> Iterator[ValueBlock]:
    """Yield names and sizes of all values: those of each pack, then the loose ones.

    Packs that are damaged, and those that go meanwhile, are left out.

    Notes
    -----
    Reads the directory of each pack, and of frames where each begins; memory is that of one.
    """
    for pack_id in packs.index.pack_ids()[1]:
        with suppress(CorruptionError):
            pack = packs.open(pack_id)
            if pack is None:
                continue
            parts = [pack.row_digests(dataset.ordinal) for dataset in pack.datasets]
            sizes = [d.sizes(np.arange(d.row_count)) for d in pack.datasets]
            yield ValueBlock(
                pack_id,
                np.concatenate(parts),
                np.concatenate(sizes),
                pack.record.file_nbytes,
            )
    digests = packs.index.loose_digests()
    yield ValueBlock(None, digests_to_array(digests), packs.index.loose_sizes(digests), 0)


def rewrite_pack(
    packs: PackFolder, pack_id: bytes, is_dropped: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
) -> PackRewriting | None:
    """Write a pack anew without some values; it takes the place of the old one later.

    Parameters
    ----------
    packs : PackFolder
    pack_id : bytes
    is_dropped : callable
        Tell for digests, shape (n, 32), uint8, which are left out; shape (n,), bool.

    Returns
    -------
    PackRewriting or None
        None when the pack is gone, or damaged, which `verify` reports.
    """
    try:
        pack = packs.open(pack_id)
        if pack is None:
            return None
        merged = merge_packs(packs.path, [pack], lambda names: ~is_dropped(names))
    except CorruptionError:
        return None
    step("pack replaced")
    sealed = [] if merged is None else [merged]
    return PackRewriting(merged, partial(packs.change, sealed, remove_packs=[pack]))
