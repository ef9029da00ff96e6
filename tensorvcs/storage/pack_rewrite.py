"""Rewrite packs: several to one, without what is not wanted; and check what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import (
    CorruptionError,
    DigestMismatchError,
    PackDamagedError,
    SlabChecksumError,
)
from tensorvcs.objects.digest import array_to_digests, hash_rows
from tensorvcs.objects.tensor import digest_value, value_header
from tensorvcs.storage import codecs
from tensorvcs.storage.hdf5_pack import (
    FramesWriter,
    PackWriter,
    RowsWriter,
    SealedPack,
    small_metadata_nbytes,
)
from tensorvcs.storage.mapped_pack import MappedFrames, MappedPack, MappedRows
from tensorvcs.storage.sorted_digests import sort_digests
from tensorvcs.storage.unsealed import path_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

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
    except BaseException:
        writer.abort()
        raise
    return writer.finish()


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
        try:
            names = pack.row_digests(dataset.ordinal)
        except CorruptionError:
            continue  # reported by its checksum
        step = 1
        if isinstance(dataset, MappedRows):
            step = max(1, _BLOCK_NBYTES // dataset.row_nbytes)
        for low in range(0, dataset.row_count, step):
            rows = np.arange(low, min(low + step, dataset.row_count))
            for row, digest in _digests_of_rows(dataset, rows):
                expected = names[row].tobytes()
                if digest != expected:
                    yield DigestMismatchError(
                        f"pack {pack.path.name}: row {row} of {dataset.layout.dtype or 'values'} "
                        f"is named {expected.hex()} and hashes to {digest.hex()}"
                    )


def _digests_of_rows(
    dataset: MappedRows | MappedFrames, rows: NDArray[np.intp]
) -> Iterator[tuple[int, bytes]]:
    """Yield row and digest of values; those in damaged slabs are left out."""
    try:
        if isinstance(dataset, MappedRows):
            dataset.ensure_rows(rows)
            block = np.empty((len(rows), dataset.row_nbytes), np.uint8)
            dataset.take(rows, block)
            layout = dataset.layout
            header = value_header("ndarray", layout.dtype, dataset.shape, dataset.row_nbytes)
            yield from zip(rows.tolist(), array_to_digests(hash_rows(header, block)), strict=True)
        else:
            for row in rows.tolist():
                yield row, digest_value(dataset.any_value(row))
    except (SlabChecksumError, PackDamagedError):
        if len(rows) > 1:
            for row in rows:
                yield from _digests_of_rows(dataset, np.array([row]))
