"""Read one sealed pack through a memory map, past HDF5.

Every stretch of the file is checked against its checksum when this process touches it first,
before any byte of it is handed out. A touch of a page that the file has no more is a signal that
ends the process, so the length of the file is asked for before each read, and pages are brought
in by a call that can fail. What remains is a file cut in the microseconds between the two, and a
disk that fails to give back a page that the kernel had dropped after its check.
"""

from __future__ import annotations

import errno
import mmap
import os
from bisect import bisect_right
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import (
    CorruptionError,
    PackDamagedError,
    SlabChecksumError,
    StorageError,
    with_hint,
)
from tensorvcs.objects.sorted_digests import digest_prefixes
from tensorvcs.storage.checked_blocks import CheckedBlocks
from tensorvcs.storage.hdf5_file import rest_checksum
from tensorvcs.storage.mapped_datasets import MappedFrames, MappedRows
from tensorvcs.storage.open_files import with_room
from tensorvcs.storage.pack_index import DIRECTORY_BLOCK_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.pack_index import PackRecord

# Above this share of a directory it is quicker to convert all prefixes than to search in place.
_BULK_SHARE = 64
_FEW = 16
# Of Linux 5.14; Python has no name for it yet.
_MADV_POPULATE_READ = 22
_EHWPOISON = 133
_UNREADABLE = {errno.EFAULT, errno.EIO, _EHWPOISON}
# What a process has no room for is no damage.
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class MappedPack:
    """A sealed pack: its directory and its datasets.

    Parameters
    ----------
    path : Path
    record : PackRecord

    Raises
    ------
    PackDamagedError
        The file is missing or has another size than it was sealed with.
    StorageError
        The process has as many files open, or as much mapped, as it may have.

    Notes
    -----
    Maps the file and reads nothing. The map outlives the removal of the file.
    """

    def __init__(self, path: Path, record: PackRecord) -> None:
        self.path = path
        self.record = record
        try:
            self.map = with_room(self._map)
        except OSError as error:
            problem = f"pack {path.name} cannot be opened: {error}"
            if error.errno in _NO_ROOM:
                raise with_hint(
                    StorageError(problem),
                    "a pack that is read takes one open file: raise the limit (`ulimit -n`), or "
                    "run `tvcs repack` where it is higher",
                ) from error
            raise PackDamagedError(problem) from error
        self.view = memoryview(self.map)
        self.content = np.frombuffer(self.map, np.uint8)
        self.datasets: tuple[MappedRows | MappedFrames, ...] = tuple(
            MappedRows(self, i, d) if d.layout.shape is not None else MappedFrames(self, i, d)
            for i, d in enumerate(record.datasets)
        )
        self._digest_blocks = CheckedBlocks(self, record.digests, "digest block")
        self._row_blocks = CheckedBlocks(self, record.rows, "row block", self._names_in_block)
        self._digests_at = int(record.digests.starts[0])
        self._rows_at = int(record.rows.starts[0])
        count = record.digest_count
        self.digests = self.content[self._digests_at : self._digests_at + 32 * count].reshape(
            count, 32
        )
        self.rows: NDArray[np.uint32] = np.frombuffer(
            self.map, "<u4", 2 * count, self._rows_at
        ).reshape(count, 2)
        self._fences: list[int] | None = None

    def __len__(self) -> int:
        return self.record.digest_count

    def _map(self) -> mmap.mmap:
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            self._check_size(status.st_size)
            self.file_number = status.st_dev, status.st_ino
            return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def _check_size(self, found: int) -> None:
        if found != self.record.file_nbytes:
            raise PackDamagedError(
                f"pack {self.path.name} has {found} bytes, expected {self.record.file_nbytes}"
            )

    def check_length(self) -> None:
        """Raise PackDamagedError when the file was cut since it was mapped.

        A touch of a page that is gone would be a bus error. A file that was removed, or another
        one put in its place, changes nothing: the map holds on to its own. A third of a
        microsecond.
        """
        try:
            found = self.map.size()
        except OSError as error:
            raise PackDamagedError(f"pack {self.path.name} cannot be read: {error}") from error
        if found != self.record.file_nbytes:
            self._check_size(found)

    def bring_in(self, start: int, nbytes: int) -> None:
        """Read a stretch of the file into memory; PackDamagedError when the disk does not give it.

        Where the kernel has no such call, the touch that follows brings it in.
        """
        first = start - start % mmap.PAGESIZE
        try:
            self.map.madvise(_MADV_POPULATE_READ, first, start + nbytes - first)
        except OSError as error:
            if error.errno in _UNREADABLE:
                raise PackDamagedError(
                    f"pack {self.path.name}: the disk does not give bytes {start} to "
                    f"{start + nbytes}: {os.strerror(error.errno or 0)}"
                ) from error

    def find(self, digest: bytes) -> tuple[int, int] | None:
        """Return (dataset, row) of one digest, or None; touches one block of the directory.

        Raises
        ------
        SlabChecksumError
            The block is damaged.
        """
        self.check_length()
        if self._fences is None:
            self._fences = self.record.fences.tolist()
        prefix = int.from_bytes(digest[:8], "big")
        # Digests that share 8 bytes with a fence may begin in the block before.
        block = bisect_right(self._fences, prefix) - 1
        while block >= 0:
            self._digest_blocks.ensure(block)
            low = block * DIRECTORY_BLOCK_ROWS
            high = min(low + DIRECTORY_BLOCK_ROWS, len(self))
            content, at = self.map, self._digests_at
            while low < high:
                middle = (low + high) // 2
                if content[at + 32 * middle : at + 32 * middle + 32] < digest:
                    low = middle + 1
                else:
                    high = middle
            if low < len(self) and content[at + 32 * low : at + 32 * low + 32] == digest:
                self._row_blocks.ensure(low // DIRECTORY_BLOCK_ROWS)
                dataset, row = self.rows[low].tolist()
                return dataset, row
            if self._fences[block] != prefix:
                return None
            block -= 1
        return None

    def locate(
        self,
        digests: NDArray[np.uint8],
        prefixes: NDArray[np.uint64],
        problems: list[CorruptionError] | None = None,
    ) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
        """Find many digests.

        Parameters
        ----------
        digests : ndarray, shape (n, 32), uint8
        prefixes : ndarray, shape (n,), uint64
            Of `digests`, in ascending order.
        problems : list, optional
            Takes what is wrong with the directory; what can be found beside it is.

        Returns
        -------
        found : ndarray, shape (m,), intp
            Which of `digests` are here.
        rows : ndarray, shape (m, 2), uint32
            Their datasets and rows.

        Raises
        ------
        SlabChecksumError, PackDamagedError
            A block of the directory is damaged, and `problems` is not given.
        """
        if problems is None:
            return self._locate(digests, prefixes)
        try:
            return self._locate(digests, prefixes)
        except CorruptionError as error:
            problems.append(error)
        return self._locate_few(digests, skip_damage=True)

    def _locate(
        self, digests: NDArray[np.uint8], prefixes: NDArray[np.uint64]
    ) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
        if len(digests) <= _FEW:
            return self._locate_few(digests)
        self.check_length()
        count = len(self)
        if len(digests) * _BULK_SHARE >= count:
            self._digest_blocks.ensure_all()
            places = np.searchsorted(digest_prefixes(self.digests), prefixes)
        else:
            places = self._search(prefixes)
        inside = np.minimum(places, count - 1)
        is_here = (self.digests[inside] == digests).all(axis=1)
        # Two digests may share their first 8 bytes; then the first of them was found.
        same = digest_prefixes(self.digests[inside]) == prefixes
        for i in np.nonzero(~is_here & same)[0].tolist():
            place = int(places[i])
            wanted = digests[i].tobytes()
            while place < count:
                self._digest_blocks.ensure(place // DIRECTORY_BLOCK_ROWS)
                entry = self.digests[place].tobytes()
                if entry[:8] != wanted[:8]:
                    break
                if entry == wanted:
                    is_here[i], inside[i] = True, place
                    break
                place += 1
        found = np.nonzero(is_here)[0]
        entries = inside[found]
        self._row_blocks.ensure_many(entries // DIRECTORY_BLOCK_ROWS)
        return found, self.rows[entries]

    def _locate_few(
        self, digests: NDArray[np.uint8], *, skip_damage: bool = False
    ) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
        """Find digests one by one, which is quicker for few of them."""
        hits = []
        for i, digest in enumerate(digests):
            with suppress(CorruptionError) if skip_damage else nullcontext():
                if hit := self.find(bytes(digest)):
                    hits.append((i, hit))
        found = np.array([i for i, _ in hits], np.intp)
        return found, np.array([hit for _, hit in hits], np.uint32).reshape(len(hits), 2)

    def _search(self, prefixes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the place of the first entry not below each prefix, touching few blocks."""
        blocks = np.searchsorted(self.record.fences, prefixes, side="left") - 1
        # An entry equal to a fence is the first of its block or the last of the one before.
        np.maximum(blocks, 0, out=blocks)
        self._digest_blocks.ensure_many(blocks)
        following = np.minimum(blocks + 1, len(self.record.fences) - 1)
        self._digest_blocks.ensure_many(
            following[self.record.fences[following] == prefixes]  # the place is its first entry
        )
        low = blocks * DIRECTORY_BLOCK_ROWS
        high = np.minimum(low + DIRECTORY_BLOCK_ROWS, len(self))
        for _ in range(DIRECTORY_BLOCK_ROWS.bit_length()):
            middle = (low + high) // 2
            at = np.minimum(middle, len(self) - 1)
            is_below = (digest_prefixes(self.digests[at]) < prefixes) & (low < high)
            is_above = ~is_below & (low < high)
            low = np.where(is_below, middle + 1, low)
            high = np.where(is_above, middle, high)
        return low

    def row_digests(self, dataset: int, *, skip_damage: bool = False) -> NDArray[np.uint8]:
        """Return the digests of a dataset in order of its rows, shape (row_count, 32).

        With `skip_damage` the digests that stand in damaged blocks of the directory are zeros.
        """
        self.check_length()
        ordered = np.zeros((self.datasets[dataset].row_count, 32), np.uint8)
        blocks = range(len(self._digest_blocks))
        if skip_damage:
            blocks_sound = [b for b in blocks if self._is_block_sound(b)]
        else:
            self._digest_blocks.ensure_all()
            self._row_blocks.ensure_all()
        if not skip_damage or len(blocks_sound) == len(blocks):
            chosen = np.nonzero(self.rows[:, 0] == dataset)[0]
            ordered[self.rows[chosen, 1]] = self.digests[chosen]
            return ordered
        for block in blocks_sound:
            entries = self._entries_of(block)
            rows, digests = self.rows[entries], self.digests[entries]
            chosen = np.nonzero(rows[:, 0] == dataset)[0]
            ordered[rows[chosen, 1]] = digests[chosen]
        return ordered

    def _entries_of(self, block: int) -> slice:
        low = block * DIRECTORY_BLOCK_ROWS
        return slice(low, min(low + DIRECTORY_BLOCK_ROWS, len(self)))

    def _is_block_sound(self, block: int) -> bool:
        try:
            self._digest_blocks.ensure(block)
            self._row_blocks.ensure(block)
        except CorruptionError:
            return False
        return True

    def _names_in_block(self, block: int) -> NDArray[np.uint8]:
        """Return the digests in a block of the directory."""
        self._digest_blocks.ensure(block)
        return self.digests[self._entries_of(block)]

    def problems(self) -> Iterator[CorruptionError]:
        """Yield what is wrong with the file: its size, and every stretch by its checksum."""
        try:
            self.check_length()
        except PackDamagedError as error:
            yield error
            return
        checked = [self._digest_blocks, self._row_blocks]
        for dataset in self.datasets:
            checked += dataset.checked
        for blocks in checked:
            blocks.forget()
            for block in range(len(blocks)):
                try:
                    blocks.ensure(block)
                except SlabChecksumError as error:
                    yield error
        try:
            with self.path.open("rb") as file:
                found = rest_checksum(file.fileno(), len(self.map), [b.blocks for b in checked])
        except OSError as error:
            yield PackDamagedError(f"pack {self.path.name} cannot be read: {error}")
            return
        if found != self.record.rest_check:
            yield PackDamagedError(
                f"pack {self.path.name}: the HDF5 structure around the slabs has the checksum "
                f"{found:016x}, expected {self.record.rest_check:016x}"
            )
