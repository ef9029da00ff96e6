"""Rewrite packs: several to one, without what is not wanted; and check what is in them."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import (
    CorruptionError,
    DigestMismatchError,
    PackDamagedError,
    SlabChecksumError,
)
from tensorvcs.objects.digest import digests_to_array, hash_rows
from tensorvcs.objects.sorted_digests import DigestSet, sort_digests
from tensorvcs.objects.tensor import digest_value, value_header
from tensorvcs.storage import codecs
from tensorvcs.storage.dataset_writers import FramesWriter, RowsWriter, small_metadata_nbytes
from tensorvcs.storage.hdf5_pack import PackWriter, SealedPack
from tensorvcs.storage.mapped_datasets import MappedFrames, MappedRows
from tensorvcs.storage.unsealed import path_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.mapped_pack import MappedPack

_BLOCK_NBYTES = 4 << 20
_BLOCK_FRAMES = 1024


def merge_packs(
    folder: Path,
    packs: Sequence[MappedPack],
    keep: Callable[[NDArray[np.uint8]], NDArray[np.bool_]] | None,
) -> SealedPack | None:
    """Write the wanted values of some packs to one, each once; None when there are none."""
    groups: dict[tuple[object, ...], list[MappedRows | MappedFrames]] = {}
    names: dict[MappedRows | MappedFrames, NDArray[np.uint8]] = {}
    for pack in packs:
        for dataset in pack.datasets:
            groups.setdefault(path_key(dataset.layout), []).append(dataset)
            names[dataset] = pack.row_digests(dataset.ordinal)
    members = [dataset for group in groups.values() for dataset in group]
    wanted = _wanted([names[dataset] for dataset in members], keep)
    rows_of = dict(zip(members, wanted, strict=True))
    if not any(len(rows) for rows in wanted):
        return None
    nbytes = sum(pack.record.payload_nbytes for pack in packs)
    writer = PackWriter(folder, small_metadata_nbytes(len(groups), nbytes))
    try:
        for group in groups.values():
            if not any(len(rows_of[dataset]) for dataset in group):
                continue
            layout = group[0].layout
            if layout.shape is not None:
                by_rows = writer.rows(layout, sum(len(rows_of[dataset]) for dataset in group))
                for dataset in group:
                    assert isinstance(dataset, MappedRows)
                    _copy_rows(dataset, rows_of[dataset], names[dataset], by_rows)
            else:
                frames = [dataset for dataset in group if isinstance(dataset, MappedFrames)]
                stored_nbytes = sum(d.stored_nbytes(rows_of[d]) for d in frames)
                by_frames = writer.frames(layout, stored_nbytes)
                for dataset in frames:
                    _copy_frames(dataset, rows_of[dataset], names[dataset], by_frames)
            writer.close_dataset()
            for pack in packs:
                forget_pages(pack)
    except BaseException:
        writer.abort()
        raise
    return writer.finish()


def forget_pages(pack: MappedPack) -> None:
    """Let the system take the memory that was read of a pack; what reads it again finds it."""
    with suppress(AttributeError, OSError, ValueError):
        pack.map.madvise(mmap.MADV_DONTNEED)


class PackRewriting:
    """A pack written anew without some values, which is not in the index yet.

    Parameters
    ----------
    sealed : SealedPack or None
        The new pack; None when nothing is left.
    replace : callable
        Put it in the place of the old one; False when that is gone.
    """

    def __init__(self, sealed: SealedPack | None, replace: Callable[[], bool]) -> None:
        self._sealed = sealed
        self._replace = replace

    @property
    def file_nbytes(self) -> int:
        """The bytes of the new file; 0 when nothing is left."""
        return 0 if self._sealed is None else self._sealed.record.file_nbytes

    def commit(self) -> bool:
        """Put it in the place of the old one, in the transaction that is open."""
        return self._replace()

    def abandon(self) -> None:
        """Remove the new file."""
        if self._sealed is not None:
            self._sealed.remove()


def _wanted(
    names: Sequence[NDArray[np.uint8]],
    keep: Callable[[NDArray[np.uint8]], NDArray[np.bool_]] | None,
) -> list[NDArray[np.intp]]:
    """Return for each array of digests which are wanted and in no array before."""
    digests = np.concatenate(names)
    is_wanted = np.ones(len(digests), np.bool_) if keep is None else keep(digests).copy()
    ranked = sort_digests(digests)
    is_wanted[ranked.order[ranked.is_repeat()]] = False
    ends = np.cumsum([len(part) for part in names])
    return [np.nonzero(part)[0] for part in np.split(is_wanted, ends[:-1])]


def _copy_rows(
    dataset: MappedRows, rows: NDArray[np.intp], digests: NDArray[np.uint8], writer: RowsWriter
) -> None:
    step = max(1, _BLOCK_NBYTES // dataset.row_nbytes)
    for low in range(0, len(rows), step):
        part = rows[low : low + step]
        dataset.ensure_rows(part)
        block = np.empty((len(part), dataset.row_nbytes), np.uint8)
        dataset.take(part, block)
        writer.append(digests[part], block)


def _copy_frames(
    dataset: MappedFrames, rows: NDArray[np.intp], digests: NDArray[np.uint8], writer: FramesWriter
) -> None:
    for low in range(0, len(rows), _BLOCK_FRAMES):
        part = rows[low : low + _BLOCK_FRAMES]
        stored = [dataset.stored(row) for row in part.tolist()]
        shapes = [dataset.shape(row) for row in part.tolist()]
        is_raw = dataset.layout.compressor is None
        nbytes = sum(len(s) if is_raw else codecs.frame_nbytes(s) for s in stored)
        writer.append(digests[part], stored, shapes, nbytes)


def wrong_digests(pack: MappedPack) -> Iterator[CorruptionError]:
    """Yield the values of a pack that do not hash to their names; damaged slabs are left out."""
    for dataset in pack.datasets:
        names = pack.row_digests(dataset.ordinal, skip_damage=True)
        rows = np.nonzero(names.any(axis=1))[0]
        for problem in wrong_rows(dataset, rows, names[rows]):
            if not isinstance(problem, SlabChecksumError):  # reported by its checksum
                yield problem


def wrong_rows(
    dataset: MappedRows | MappedFrames, rows: NDArray[np.intp], names: NDArray[np.uint8]
) -> Iterator[CorruptionError]:
    """Yield what is wrong with some values of a dataset, given in rising order of their rows.

    Parameters
    ----------
    rows : ndarray, shape (n,), intp
    names : ndarray, shape (n, 32), uint8
        What they should hash to.
    """
    if isinstance(dataset, MappedRows):
        slabs = rows // dataset.slab_rows
        edges = np.nonzero(slabs[1:] != slabs[:-1])[0] + 1
    else:
        edges = np.arange(1, len(rows))
    last = ""
    for part, expected in zip(np.split(rows, edges), np.split(names, edges), strict=True):
        if not len(part):
            continue
        try:
            found = row_digests(dataset, part)
        except (SlabChecksumError, PackDamagedError) as error:
            if not error.digests:
                error.digests = tuple(name.tobytes() for name in expected)
            # Frames come one by one, and those of one slab fail together.
            if str(error) != last:
                yield error
            last = str(error)
            continue
        for place in np.nonzero((found != expected).any(axis=1))[0].tolist():
            name = expected[place].tobytes()
            yield DigestMismatchError(
                f"pack {dataset.pack.path.name}: row {part[place]} of "
                f"{dataset.layout.dtype or 'values'} is named {name.hex()} and hashes to "
                f"{found[place].tobytes().hex()}",
                (name,),
            )


def row_digests(dataset: MappedRows | MappedFrames, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return the digests that some values hash to, shape (n, 32).

    Raises
    ------
    SlabChecksumError, PackDamagedError
    """
    if isinstance(dataset, MappedRows):
        dataset.ensure_rows(rows)
        block = np.empty((len(rows), dataset.row_nbytes), np.uint8)
        dataset.take(rows, block)
        header = value_header("ndarray", dataset.layout.dtype, dataset.shape, dataset.row_nbytes)
        return hash_rows(header, block)
    return digests_to_array([digest_value(dataset.any_value(row)) for row in rows.tolist()])


def salvage_pack(
    folder: Path, pack: MappedPack
) -> tuple[SealedPack | None, NDArray[np.uint8], int]:
    """Write what can still be read of a damaged pack to a new one.

    A value is taken when its slab has its checksum, under the digest that it hashes to; what the
    directory says is not needed.

    Returns
    -------
    sealed : SealedPack or None
        None when nothing can be read.
    lost : ndarray, shape (n, 32), uint8
        The digests that are not in it, but for those in damaged parts of the directory.
    unnamed_count : int
        How many values more are not in it, whose digests nobody knows.
    """
    whole: list[tuple[MappedRows | MappedFrames, NDArray[np.intp], NDArray[np.uint8]]] = []
    for dataset in pack.datasets:
        step = dataset.slab_rows if isinstance(dataset, MappedRows) else 1
        rows: list[NDArray[np.intp]] = []
        found: list[NDArray[np.uint8]] = []
        for low in range(0, dataset.row_count, step):
            part = np.arange(low, min(low + step, dataset.row_count))
            with suppress(SlabChecksumError, PackDamagedError, UnicodeDecodeError):
                found.append(row_digests(dataset, part))
                rows.append(part)
        if rows:
            whole.append((dataset, np.concatenate(rows), np.concatenate(found)))
    sealed = None
    if whole:
        writer = PackWriter(folder, small_metadata_nbytes(len(whole), pack.record.payload_nbytes))
        try:
            for dataset, kept, digests in whole:
                names = np.zeros((dataset.row_count, 32), np.uint8)
                names[kept] = digests
                if isinstance(dataset, MappedRows):
                    _copy_rows(dataset, kept, names, writer.rows(dataset.layout, len(kept)))
                else:
                    by_frames = writer.frames(dataset.layout, dataset.stored_nbytes(kept))
                    _copy_frames(dataset, kept, names, by_frames)
                writer.close_dataset()
        except BaseException:
            writer.abort()
            raise
        sealed = writer.finish()
    named = np.concatenate([pack.row_digests(d.ordinal, skip_damage=True) for d in pack.datasets])
    known = DigestSet()
    for _, _, digests in whole:
        known.add(digests)
    wanted = sort_digests(named[named.any(axis=1)])
    lost = wanted.digests[~known.contains(wanted)]
    return sealed, lost, len(pack) - len(lost) - len(known)
