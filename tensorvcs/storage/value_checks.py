"""Hash what is stored anew, and tell what is not what its name says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import CorruptionError
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.storage.lookup import located_in
from tensorvcs.storage.mapped_datasets import MappedFrames, MappedRows
from tensorvcs.storage.pack_index import decode_loose
from tensorvcs.storage.pack_rewrite import wrong_digests, wrong_rows
from tensorvcs.storage.sources import LOOSE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tensorvcs.storage.pack_folder import PackFolder
    from tensorvcs.storage.pack_index import PackIndex


def all_problems(packs: PackFolder) -> Iterator[CorruptionError]:
    """Yield everything that is wrong: checksums, and values that do not hash to their names.

    Notes
    -----
    Reads every pack once and hashes every value; memory is a few MiB.
    """
    _, pack_ids = packs.index.pack_ids()
    for pack_id in pack_ids:
        try:
            pack = packs.map(pack_id)
        except CorruptionError as error:
            yield error
            continue
        if pack is not None:
            yield from pack.problems()
            yield from wrong_digests(pack)
    for digest in packs.index.loose_digests():
        yield from loose_problems(packs.index, digest)


def problems_among(packs: PackFolder, digests: NDArray[np.uint8]) -> Iterator[CorruptionError]:
    """Hash some values anew, and yield those that are damaged.

    Values that are absent are passed over. Memory is a few MiB beside the digests.
    """
    with packs.lock:
        where = packs.generation.sources
        found = located_in(packs, digests, packs.refresh(), where, is_lazy=True)
    for number in np.unique(found.sources).tolist():
        source = where.items[number]
        places = np.nonzero(found.sources == number)[0]
        if isinstance(source, (MappedRows, MappedFrames)):
            order = places[np.argsort(found.rows[places], kind="stable")]
            yield from wrong_rows(source, found.rows[order].astype(np.intp), digests[order])
        elif number == LOOSE:
            for digest in array_to_digests(digests[places]):
                yield from loose_problems(packs.index, digest)


def loose_problems(index: PackIndex, digest: bytes) -> Iterator[CorruptionError]:
    """Yield what is wrong with a loose value; nothing when it is not loose any more."""
    content = index.loose([digest])[0]
    try:
        if content is not None:
            decode_loose(digest, content)
    except CorruptionError as error:
        yield error


def is_loose_damaged(index: PackIndex, digest: bytes) -> bool:
    """Tell whether anything is wrong with a loose value."""
    return next(loose_problems(index, digest), None) is not None
