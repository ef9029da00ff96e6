"""Mend what is damaged among packs and loose values: all of it, or what hinders one read.

How one pack is written anew is in `mending`. Values that come from elsewhere go through a writer:
a store that takes what is being mended for absent, so that it keeps them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import CorruptionError
from tensorvcs.objects.digest import array_to_digests, digests_to_array
from tensorvcs.objects.sorted_digests import sort_digests
from tensorvcs.storage.interfaces import TensorStore
from tensorvcs.storage.lookup import are_here
from tensorvcs.storage.mending import Mended, Rescue, is_damaged, put_aside, renew_pack
from tensorvcs.storage.pack_rewrite import row_digests
from tensorvcs.storage.value_checks import is_loose_damaged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.storage.hdf5_pack import SealedPack
    from tensorvcs.storage.pack_folder import Catalog, PackFolder

OpenWriter = Callable[[frozenset[bytes]], TensorStore]
"""Opens a writer of the same folder that takes packs and loose values, by id and digest, for
absent."""

_log = logging.getLogger(__name__)


def mend_all(packs: PackFolder, rescue: Rescue, open_writer: OpenWriter) -> Mended:
    """Mend all packs and loose values that are damaged, with values from elsewhere.

    Returns
    -------
    Mended
        `lost` are the values that did not come. Packs in `unopened` are left in the index, in
        case that their files come back; see `forget_packs`.

    Raises
    ------
    StorageError
        The disk refused; what was not mended by then is as it was.

    Notes
    -----
    Reads every pack once and hashes every value, and reads a damaged one twice more.
    """
    mended = Mended()
    _, pack_ids = packs.index.pack_ids()
    for pack_id in pack_ids:
        try:
            pack = packs.map(pack_id)
            if pack is None or not is_damaged(pack):
                continue
        except CorruptionError:
            pass  # it is missing, has another size, or its record is damaged
        mended.add(_renew(packs, pack_id, rescue, open_writer))
    damaged = [d for d in packs.index.loose_digests() if is_loose_damaged(packs.index, d)]
    _mend_loose(packs, damaged, rescue, open_writer, mended)
    return mended


def mend_some(
    packs: PackFolder,
    digests: NDArray[np.uint8],
    rescue: Rescue | None,
    open_writer: OpenWriter,
) -> bool:
    """Mend what keeps some values from being read; False when nothing was mended.

    What another thread or process has mended meanwhile needs no second time. Without `rescue`,
    and inside a transaction, nothing is mended.

    Parameters
    ----------
    packs : PackFolder
    digests : ndarray, shape (n, 32), uint8
    rescue : callable, optional
    open_writer : callable
    """
    mended = Mended()
    damaged, loose, absent = _rotten(packs, array_to_digests(digests))
    if not damaged and not loose and not absent:
        return True
    if rescue is None or packs.environment.is_writing:
        return False
    for pack_id in damaged:
        mended.add(_renew(packs, pack_id, rescue, open_writer))
    _mend_loose(packs, loose, rescue, open_writer, mended)
    if absent:
        wanted = sort_digests(digests_to_array(absent))
        missing = wanted.digests[~are_here(packs, wanted)]
        if len(missing):
            came = take_missing(missing, rescue, open_writer)
            mended.value_count += int(came.sum())
            _log.warning(
                "%d values are in no pack that can be read; %d came from elsewhere",
                len(missing),
                mended.value_count,
            )
    return mended.is_anything


def take_missing(
    digests: NDArray[np.uint8], rescue: Rescue, open_writer: OpenWriter
) -> NDArray[np.bool_]:
    """Take values that are in no pack that can be read; tell for each whether it came."""
    writer = open_writer(frozenset())
    try:
        came = rescue(writer, digests)
        writer.seal()
    finally:
        writer.discard()
    return came


def forget_packs(packs: PackFolder, pack_ids: Sequence[bytes], open_writer: OpenWriter) -> None:
    """Take packs out of the index of which nothing that is lost is missed; see `mend_all`.

    What is whole of them is kept in new packs.
    """
    for pack_id in pack_ids:
        if _renew(packs, pack_id, None, open_writer, is_wanted=True).packs:
            continue
        if packs.change(remove_packs=[pack_id]):
            put_aside(packs.path / f"{pack_id.hex()}.h5")


def _renew(
    packs: PackFolder,
    pack_id: bytes,
    rescue: Rescue | None,
    open_writer: OpenWriter,
    *,
    is_wanted: bool = False,
) -> Mended:
    """Write a damaged pack anew."""
    try:
        record = packs.index.pack_record(pack_id)
    except CorruptionError:
        return Mended(unopened=[pack_id])
    if record is None:
        return Mended()

    def replace(sealed: SealedPack | None) -> bool:
        is_replaced = packs.change([] if sealed is None else [sealed], remove_packs=[pack_id])
        if is_replaced:
            packs.forget_map(pack_id)
        return is_replaced

    writer = open_writer(frozenset({pack_id}))
    mended = renew_pack(packs.path, record, rescue, writer, replace, is_wanted=is_wanted)
    if mended.packs:
        _log.warning(
            "pack %s was damaged and is written anew: %d values came from elsewhere, %d are lost",
            record.file_name,
            mended.value_count,
            len(mended.lost),
        )
    return mended


def _mend_loose(
    packs: PackFolder,
    damaged: Sequence[bytes],
    rescue: Rescue,
    open_writer: OpenWriter,
    mended: Mended,
) -> None:
    """Replace damaged loose values by those that come from elsewhere."""
    if not damaged:
        return
    writer = open_writer(frozenset(damaged))
    try:
        came = rescue(writer, digests_to_array(damaged)).tolist()
        healed = [digest for digest, is_here in zip(damaged, came, strict=True) if is_here]
        if healed:
            with packs.environment.write():
                packs.index.change(remove_loose=healed)
                writer.seal()
            _log.warning("%d loose values were damaged and came from elsewhere", len(healed))
    finally:
        writer.discard()
    mended.value_count += len(healed)
    mended.lost += [d for d, is_here in zip(damaged, came, strict=True) if not is_here]


def _rotten(
    packs: PackFolder, digests: Sequence[bytes]
) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the packs, the loose values and the absent values that hinder a read."""
    damaged: dict[bytes, None] = {}
    loose: list[bytes] = []
    absent: list[bytes] = []
    catalog = packs.refresh()
    for digest in dict.fromkeys(digests):
        if not _is_packed(digest, catalog, damaged):
            if packs.index.loose([digest])[0] is None:
                absent.append(digest)
            elif is_loose_damaged(packs.index, digest):
                loose.append(digest)
    return list(damaged), loose, absent


def _is_packed(digest: bytes, catalog: Catalog, damaged: dict[bytes, None]) -> bool:
    """Tell whether a value is in a pack; note the packs that hinder it from being read."""
    for pack in catalog.packs:
        place = None
        try:
            place = pack.find(digest)
            if place is None:
                continue
            dataset = pack.datasets[place[0]]
            if row_digests(dataset, np.array([place[1]])).tobytes() != digest:
                damaged[pack.record.pack_id] = None
        except CorruptionError:
            damaged[pack.record.pack_id] = None
            if place is None:
                continue
        return True
    return False
