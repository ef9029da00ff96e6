"""Write values to new packs in a given order, so that a scan of them is a scan of the disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.storage import codecs
from tensorvcs.storage.dataset_writers import FramesWriter, RowsWriter, small_metadata_nbytes
from tensorvcs.storage.hdf5_pack import PackWriter, SealedPack
from tensorvcs.storage.mapped_datasets import MappedFrames, MappedRows
from tensorvcs.storage.pack_rewrite import forget_pages
from tensorvcs.storage.unsealed import MAX_PACK_PAYLOAD_NBYTES, MAX_PACK_ROWS, path_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.mapped_pack import MappedPack
    from tensorvcs.storage.pack_index import Layout

    Dataset = MappedRows | MappedFrames
    Find = Callable[[NDArray[np.uint8]], tuple[NDArray[np.int64], NDArray[np.uint32]]]

_BREAK_SHARE = 0.02
_BLOCK_NBYTES = 4 << 20
_BLOCK_FRAMES = 1024
_FORGET_NBYTES = 64 << 20


class PackOrder:
    """All datasets of some packs, numbered, and what is known of the order in their layouts.

    Parameters
    ----------
    packs : sequence of MappedPack
    find : callable
        Return the number of the dataset, -1 where there is none, and the row of each digest.
    """

    def __init__(self, packs: Sequence[MappedPack], find: Find) -> None:
        self.packs = packs
        self._find = find
        self._datasets = [(pack, dataset) for pack in packs for dataset in pack.datasets]
        self._met = [np.zeros(dataset.row_count, np.bool_) for _, dataset in self._datasets]
        keys = [path_key(dataset.layout) for _, dataset in self._datasets]
        self._groups = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        self._group_of = np.array([self._groups[key] for key in keys], np.int64)
        self._breaks = np.zeros(len(self._groups), np.int64)
        self._counts = np.zeros(len(self._groups), np.int64)
        self._stored = np.zeros(len(self._groups), np.int64)

    def _fresh(
        self, digests: NDArray[np.uint8]
    ) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.intp]]:
        """Return which digests are met for the first time, with their dataset and row."""
        numbers, rows = self._find(digests)
        wanted: list[NDArray[np.intp]] = []
        for number in np.unique(numbers[numbers >= 0]).tolist():
            places = np.flatnonzero(numbers == number)
            found, first = np.unique(rows[places], return_index=True)
            met = self._met[number]
            is_new = ~met[found]
            met[found[is_new]] = True
            wanted.append(places[first[is_new]])
        chosen = np.sort(np.concatenate(wanted)) if wanted else np.zeros(0, np.intp)
        return chosen, numbers[chosen], rows[chosen].astype(np.intp)

    def look(self, order: Iterable[NDArray[np.uint8]]) -> None:
        """Find out how far the values are in order already; reads no values."""
        last: dict[int, tuple[int, int]] = {}
        for digests in order:
            _, numbers, rows = self._fresh(digests)
            groups = self._group_of[numbers]
            for group in np.unique(groups).tolist():
                is_here = groups == group
                of, at = numbers[is_here], rows[is_here]
                before = last.get(group, (-1, -1))
                from_of = np.concatenate([[before[0]], of[:-1]])
                from_at = np.concatenate([[before[1]], at[:-1]])
                self._breaks[group] += int(((of != from_of) | (at != from_at + 1)).sum())
                self._counts[group] += len(of)
                self._stored[group] += self._stored_nbytes(of, at)
                last[group] = (int(of[-1]), int(at[-1]))

    def _stored_nbytes(self, numbers: NDArray[np.int64], rows: NDArray[np.intp]) -> int:
        """Return the bytes of some values as they are stored."""
        return sum(
            int(self._datasets[number][1].sizes(rows[numbers == number]).sum())
            for number in np.unique(numbers).tolist()
        )

    def disordered(self) -> set[int]:
        """Return the layouts, by number, whose values are worth to be written anew."""
        nbytes = np.zeros(len(self._groups), np.int64)
        for (_, dataset), group in zip(self._datasets, self._group_of, strict=True):
            nbytes[group] += _payload_nbytes(dataset)
        packs = 1 + self._counts // MAX_PACK_ROWS + nbytes // MAX_PACK_PAYLOAD_NBYTES
        is_wild = self._breaks > 2 * packs + _BREAK_SHARE * self._counts
        return set(np.flatnonzero(is_wild).tolist())

    def write(
        self,
        folder: Path,
        order: Iterable[NDArray[np.uint8]],
        groups: set[int],
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Reordered:
        """Write the values of some layouts in order, and behind them those that are in no order.

        Raises
        ------
        CorruptionError
            A pack is damaged; nothing is left behind.
        StorageError
            The disk refused; nothing is left behind.

        Notes
        -----
        Memory is a few tens of MiB for each layout, and a byte a value. The disk has to have room
        for what is written.
        """
        for met in self._met:
            met[:] = False
        done = Reordered(folder, progress)
        for key, group in self._groups.items():
            done.expected[key] = int(self._counts[group]), int(self._stored[group])
        try:
            for digests in order:
                chosen, numbers, rows = self._fresh(digests)
                is_wanted = np.isin(self._group_of[numbers], list(groups))
                self._copy(done, digests[chosen][is_wanted], numbers[is_wanted], rows[is_wanted])
            done.roll()
            changed = {
                pack.record.pack_id
                for (pack, _), group in zip(self._datasets, self._group_of, strict=True)
                if group in groups
            }
            left_of: dict[int, NDArray[np.intp]] = {}
            done.expected = dict.fromkeys(self._groups, (0, 0))
            for number, (pack, dataset) in enumerate(self._datasets):
                if pack.record.pack_id in changed:
                    # Of a layout that is in order already nothing was copied yet.
                    is_left = ~self._met[number] | (int(self._group_of[number]) not in groups)
                    left = left_of[number] = np.flatnonzero(is_left)
                    count, nbytes = done.expected[path_key(dataset.layout)]
                    done.expected[path_key(dataset.layout)] = (
                        count + len(left),
                        nbytes + int(dataset.sizes(left).sum()),
                    )
            for number, left in left_of.items():
                pack, dataset = self._datasets[number]
                done.copy(pack, dataset, pack.row_digests(dataset.ordinal)[left], left)
            done.roll()
        except BaseException:
            done.abort()
            raise
        done.replaced = [pack for pack in self.packs if pack.record.pack_id in changed]
        return done

    def _copy(
        self,
        done: Reordered,
        digests: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        rows: NDArray[np.intp],
    ) -> None:
        """Copy values of several datasets in their order, runs of one dataset together."""
        if not len(numbers):
            return
        edges = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
        starts = [0, *edges.tolist()]
        for low, high in zip(starts, [*starts[1:], len(numbers)], strict=True):
            pack, dataset = self._datasets[int(numbers[low])]
            done.copy(pack, dataset, digests[low:high], rows[low:high])


def _payload_nbytes(dataset: Dataset) -> int:
    if isinstance(dataset, MappedRows):
        return dataset.row_count * dataset.row_nbytes
    return int(dataset.sizes(np.arange(dataset.row_count)).sum())


@dataclass(slots=True)
class Reordered:
    """New packs, sealed and not yet in the index, and the old ones that they stand for."""

    folder: Path
    progress: Callable[[int, int | None], None] | None
    sealed: list[SealedPack] = field(default_factory=list)
    replaced: list[MappedPack] = field(default_factory=list)
    expected: dict[tuple[object, ...], tuple[int, int]] = field(default_factory=dict)
    """Of each layout how many values will come until the next `roll`, and their stored bytes."""
    moved_count: int = 0
    moved_nbytes: int = 0
    _open: dict[tuple[object, ...], tuple[PackWriter, RowsWriter | FramesWriter]] = field(
        default_factory=dict
    )
    _unforgotten_nbytes: int = 0

    def copy(
        self, pack: MappedPack, dataset: Dataset, digests: NDArray[np.uint8], rows: NDArray[np.intp]
    ) -> None:
        """Copy values of one dataset, in the order given."""
        step = _BLOCK_FRAMES
        if isinstance(dataset, MappedRows):
            step = max(1, _BLOCK_NBYTES // dataset.row_nbytes)
        for low in range(0, len(rows), step):
            part, names = rows[low : low + step], digests[low : low + step]
            writer, target = self._target(dataset.layout)
            before = writer.payload_nbytes
            if isinstance(dataset, MappedRows):
                assert isinstance(target, RowsWriter)
                dataset.ensure_rows(part)
                block = np.empty((len(part), dataset.row_nbytes), np.uint8)
                dataset.take(part, block)
                target.append(names, block)
            else:
                assert isinstance(target, FramesWriter)
                _append_frames(dataset, part, names, target)
            nbytes = writer.payload_nbytes - before
            self.moved_count += len(part)
            self.moved_nbytes += nbytes
            self._unforgotten_nbytes += nbytes
            if self._unforgotten_nbytes > _FORGET_NBYTES:
                forget_pages(pack)
                self._unforgotten_nbytes = 0
            if (
                writer.row_count >= MAX_PACK_ROWS
                or writer.payload_nbytes >= MAX_PACK_PAYLOAD_NBYTES
            ):
                self._seal(path_key(dataset.layout))

    def _target(self, layout: Layout) -> tuple[PackWriter, RowsWriter | FramesWriter]:
        key = path_key(layout)
        found = self._open.get(key)
        if found is None:
            count, nbytes = self.expected[key]
            # What fits into one pack gets slabs of a size that leaves little of the last one empty.
            is_one = count < MAX_PACK_ROWS and nbytes < MAX_PACK_PAYLOAD_NBYTES // 8
            writer = (
                PackWriter(self.folder, small_metadata_nbytes(1, nbytes))
                if is_one
                else PackWriter(self.folder)
            )
            if layout.shape is not None:
                target: RowsWriter | FramesWriter = writer.rows(layout, count if is_one else None)
            else:
                target = writer.frames(layout, nbytes if is_one else None)
            found = self._open[key] = (writer, target)
        return found

    def _seal(self, key: tuple[object, ...]) -> None:
        writer, _ = self._open.pop(key)
        self.sealed.append(writer.finish())
        if self.progress is not None:
            self.progress(len(self.sealed), None)

    def roll(self) -> None:
        """Seal what is open."""
        for key in list(self._open):
            self._seal(key)

    def abort(self) -> None:
        """Remove everything that was written."""
        for writer, _ in self._open.values():
            writer.abort()
        for pack in self.sealed:
            pack.remove()
        self._open, self.sealed = {}, []


def _append_frames(
    dataset: MappedFrames, rows: NDArray[np.intp], digests: NDArray[np.uint8], target: FramesWriter
) -> None:
    stored = [dataset.stored(row) for row in rows.tolist()]
    shapes = [dataset.shape(row) for row in rows.tolist()]
    is_raw = dataset.layout.compressor is None
    nbytes = sum(len(s) if is_raw else codecs.frame_nbytes(s) for s in stored)
    target.append(digests, stored, shapes, nbytes)
