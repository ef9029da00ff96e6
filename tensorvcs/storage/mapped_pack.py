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
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from tensorvcs.errors import CorruptionError, PackDamagedError, SlabChecksumError
from tensorvcs.objects.dtype import dtype_from_name
from tensorvcs.objects.sorted_digests import digest_prefixes
from tensorvcs.objects.tensor import array_bytes, value_from_data
from tensorvcs.storage import codecs
from tensorvcs.storage.hdf5_pack import NUMBERS_BLOCK_NBYTES, rest_checksum
from tensorvcs.storage.pack_index import DIRECTORY_BLOCK_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.pack_index import Blocks, DatasetRecord, Layout, PackRecord

# Above this share of a directory it is quicker to convert all prefixes than to search in place.
_BULK_SHARE = 64
_FEW = 16
_NAMED_DIGESTS = 3
# Of Linux 5.14; Python has no name for it yet.
_MADV_POPULATE_READ = 22
_EHWPOISON = 133
_UNREADABLE = {errno.EFAULT, errno.EIO, _EHWPOISON}


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

    Notes
    -----
    Maps the file and reads nothing. The map outlives the removal of the file.
    """

    def __init__(self, path: Path, record: PackRecord) -> None:
        self.path = path
        self.record = record
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                self._check_size(status.st_size)
                self.file_number = status.st_dev, status.st_ino
                self.map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except OSError as error:
            raise PackDamagedError(f"pack {path.name} cannot be opened: {error}") from error
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


class CheckedBlocks:
    """Stretches of a pack, each checked at its first touch."""

    def __init__(
        self,
        pack: MappedPack,
        blocks: Blocks,
        name: str,
        names_in: Callable[[int], NDArray[np.uint8]] | None = None,
    ) -> None:
        self.blocks = blocks
        self.is_verified = np.zeros(len(blocks), np.bool_)
        self.are_all_verified = not len(blocks)
        self._pack = pack
        self._name = name
        self._names_in = names_in

    def __len__(self) -> int:
        return len(self.blocks)

    def forget(self) -> None:
        """Check everything anew at its next touch."""
        self.is_verified[:] = False
        self.are_all_verified = not len(self.blocks)

    def ensure(self, block: int) -> None:
        """Check one block.

        Raises
        ------
        SlabChecksumError
            It does not have its checksum.
        PackDamagedError
            The file was cut.
        """
        if not self.is_verified[block]:
            self._check(block)
            self.are_all_verified = bool(self.is_verified.all())

    def _check(self, block: int) -> None:
        pack, blocks = self._pack, self.blocks
        pack.check_length()
        start, size = int(blocks.starts[block]), int(blocks.sizes[block])
        pack.bring_in(start, size)
        found = xxhash.xxh3_64_intdigest(pack.view[start : start + size])
        if found != blocks.checks[block]:
            raise self._damage(block, found)
        self.is_verified[block] = True

    def ensure_many(self, blocks: NDArray[np.integer[Any]]) -> None:
        """Check several blocks, given with repeats and in any order."""
        if self.are_all_verified or self.is_verified[blocks].all():
            return
        for block in np.unique(blocks[~self.is_verified[blocks]]).tolist():
            self._check(block)
        self.are_all_verified = bool(self.is_verified.all())

    def ensure_all(self) -> None:
        """Check every block."""
        if not self.are_all_verified:
            self.ensure_many(np.arange(len(self.blocks)))

    def ensure_range(self, low: int, high: int) -> None:
        """Check the blocks that hold the bytes from `low` to `high` of an array of numbers."""
        if not self.are_all_verified and low < high:
            size = int(self.blocks.sizes[0])
            for block in range(low // size, (high - 1) // size + 1):
                self.ensure(block)

    def _damage(self, block: int, found: int) -> SlabChecksumError:
        text = (
            f"pack {self._pack.path.name}, {self._name} {block} does not have its checksum: "
            f"found {found:016x}, expected {int(self.blocks.checks[block]):016x}"
        )
        if self._names_in is None:
            return SlabChecksumError(text)
        try:
            names = self._names_in(block)
        except CorruptionError:
            return SlabChecksumError(text)
        digests = [digest.tobytes() for digest in names if digest.any()]
        text += f"; it holds {len(names)} samples"
        shown = ", ".join(digest.hex()[:12] for digest in digests[:_NAMED_DIGESTS])
        more = ", …" if len(digests) > _NAMED_DIGESTS else ""
        return SlabChecksumError(f"{text}: {shown}{more}", tuple(digests))


class MappedRows:
    """A dataset of rows of one shape."""

    def __init__(self, pack: MappedPack, ordinal: int, record: DatasetRecord) -> None:
        assert record.layout.shape is not None
        self.ordinal = ordinal
        self.layout: Layout = record.layout
        self.row_count = record.row_count
        self.shape: tuple[int, ...] = record.layout.shape
        self.dtype = dtype_from_name(record.layout.dtype)
        self.row_nbytes = prod(self.shape) * self.dtype.itemsize
        self.slab_rows = record.slab_rows
        self.slabs = CheckedBlocks(
            pack, record.slabs, f"slab of {record.path}", self._names_in_slab
        )
        self.checked = [self.slabs]
        self.pack = pack
        self._frames: dict[int, codecs.RowFrame] = {}
        self._runs: list[tuple[int, NDArray[np.uint8]]] = []
        self.values: NDArray[Any] | None = None
        """All rows as they are, shape (row_count, *shape): only where they lie in one stretch."""
        if record.layout.compressor is None:
            self._find_runs(record)

    def _find_runs(self, record: DatasetRecord) -> None:
        """View slabs that lie back to back as one array of rows; mostly that is all of them."""
        starts = record.slabs.starts.astype(np.int64)
        breaks = np.nonzero(np.diff(starts) != record.slab_nbytes)[0] + 1
        edges = [0, *breaks.tolist(), len(starts)]
        for low, high in pairwise(edges):
            first = low * self.slab_rows
            count = min(high * self.slab_rows, self.row_count) - first
            at = int(starts[low])
            rows = self.pack.content[at : at + count * self.row_nbytes]
            self._runs.append((first, rows.reshape(count, self.row_nbytes)))
        if len(self._runs) == 1:
            values = self._runs[0][1].view(self.dtype).reshape(self.row_count, *self.shape)
            # A gather from an array that is not aligned would copy all of it first.
            if values.flags.aligned:
                self.values = values

    def private_rows(self, first: int, stop: int) -> NDArray[Any] | None:
        """Map rows, whose slabs were checked, copy-on-write: shape (stop - first, *shape).

        None when the file was removed, or another is in its place: what was checked is in the
        other map alone.

        Raises
        ------
        PackDamagedError
            The file cannot be mapped.
        """
        assert self.values is not None
        at = int(self.slabs.blocks.starts[0]) + first * self.row_nbytes
        nbytes = (stop - first) * self.row_nbytes
        offset = at % mmap.ALLOCATIONGRANULARITY
        try:
            with self.pack.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if (status.st_dev, status.st_ino) != self.pack.file_number:
                    return None
                self.pack.check_length()
                mapped = mmap.mmap(
                    file.fileno(), offset + nbytes, access=mmap.ACCESS_COPY, offset=at - offset
                )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PackDamagedError(
                f"pack {self.pack.path.name} cannot be mapped: {error}"
            ) from error
        return np.ndarray((stop - first, *self.shape), self.dtype, mapped, offset)

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the bytes of some rows, shape (n,)."""
        return np.full(len(rows), self.row_nbytes, np.int64)

    def names(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return the digests of some rows, zeros where the directory is damaged."""
        found: NDArray[np.uint8] = self.pack.row_digests(self.ordinal, skip_damage=True)[rows]
        return found

    def rows_of_slab(self, slab: int) -> tuple[int, int]:
        """Return the first row of a slab and the one after its last."""
        first = slab * self.slab_rows
        return first, min(first + self.slab_rows, self.row_count)

    def _names_in_slab(self, slab: int) -> NDArray[np.uint8]:
        first, stop = self.rows_of_slab(slab)
        return self.pack.row_digests(self.ordinal, skip_damage=True)[first:stop]

    def slab(self, slab: int) -> memoryview:
        """Return the bytes of a slab, which was checked, as they are stored."""
        at, size = int(self.slabs.blocks.starts[slab]), int(self.slabs.blocks.sizes[slab])
        return self.pack.view[at : at + size]

    def ensure_rows(self, rows: NDArray[np.integer[Any]]) -> None:
        """Check the slabs of some rows."""
        self.pack.check_length()
        if not self.slabs.are_all_verified:
            self.slabs.ensure_many(rows // self.slab_rows)

    def stretch(self, first: int, stop: int) -> NDArray[np.uint8] | None:
        """Return neighbouring rows, whose slabs were checked, as they lie in the map.

        Shape (n, row_nbytes), read-only. None when they are compressed, or do not lie together.
        """
        for start, run in self._runs:
            if start <= first and stop <= start + len(run):
                rows: NDArray[np.uint8] = run[first - start : stop - start]
                return rows
        return None

    def take(self, rows: NDArray[np.integer[Any]], out: NDArray[np.uint8]) -> None:
        """Copy rows, whose slabs were checked, to `out`, shape (n, row_nbytes).

        Raises
        ------
        PackDamagedError
            A compressed row does not decode.
        """
        if len(self._runs) == 1:
            self._runs[0][1].take(rows, 0, out, "clip")
        elif self._runs:
            run_of = np.searchsorted([first for first, _ in self._runs], rows, side="right") - 1
            for number in np.unique(run_of).tolist():
                first, run = self._runs[number]
                chosen = np.nonzero(run_of == number)[0]
                out[chosen] = run.take(rows[chosen] - first, 0)
        else:
            address, step = out.ctypes.data, self.row_nbytes
            for i, row in enumerate(rows.tolist()):
                self._decode(row, address + i * step)

    def _decode(self, row: int, address: int) -> None:
        slab, place = divmod(row, self.slab_rows)
        frame = self._frames.get(slab)
        if frame is None:
            frame = codecs.RowFrame(self.slab(slab), self.slab_rows, self.row_nbytes)
            self._frames[slab] = frame
        frame.read_into(place, address)

    def check_schema(self, schema: Schema) -> None:
        """Raise CorruptionError when the rows cannot be of `schema`."""
        check_layout(schema, self.layout)
        check_value_shape(schema, self.shape)

    def copy_row(self, schema: Schema, row: int, out: NDArray[np.uint8]) -> None:
        """Copy one row to `out`, shape (row_nbytes,).

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        self.pack.check_length()
        self.slabs.ensure(row // self.slab_rows)
        if len(self._runs) == 1:
            out[:] = self._runs[0][1][row]
        elif self._runs:
            self.take(np.array([row]), out.reshape(1, -1))
        else:
            self._decode(row, out.ctypes.data)

    def value(self, schema: Schema, row: int) -> NDArray[Any]:
        """Return one row as a fresh array."""
        array = np.empty(self.shape, self.dtype)
        self.copy_row(schema, row, array_bytes(array))
        return array


class MappedFrames:
    """Values of their own sizes: text, bytes, arrays of variable shape."""

    def __init__(self, pack: MappedPack, ordinal: int, record: DatasetRecord) -> None:
        self.ordinal = ordinal
        self.layout: Layout = record.layout
        self.row_count = record.row_count
        self.pack = pack
        self._slab_nbytes = record.slab_nbytes
        self.slabs = CheckedBlocks(
            pack, record.slabs, f"slab of {record.path}", self._names_in_slab
        )
        self._offset_blocks = CheckedBlocks(
            pack, record.offsets, f"block of offsets of {record.path}", self._names_at_offsets
        )
        self._shape_blocks = CheckedBlocks(
            pack, record.shapes, f"block of shapes of {record.path}", self._names_of_shapes
        )
        self.checked = [self.slabs, self._offset_blocks, self._shape_blocks]
        self._offsets: NDArray[np.uint64] = np.frombuffer(
            pack.map, "<u8", self.row_count + 1, int(record.offsets.starts[0])
        )
        ndim = record.layout.ndim
        self._shapes: NDArray[np.uint64] | None = None
        if ndim:
            self._shapes = np.frombuffer(
                pack.map, "<u8", self.row_count * ndim, int(record.shapes.starts[0])
            ).reshape(self.row_count, ndim)

    def names(self, rows: NDArray[np.integer[Any]] | slice) -> NDArray[np.uint8]:
        """Return the digests of some values, zeros where the directory is damaged."""
        return self.pack.row_digests(self.ordinal, skip_damage=True)[rows]

    def _names_in_slab(self, slab: int) -> NDArray[np.uint8]:
        """Return the digests of the values that have bytes in a slab; needs all offsets."""
        self._offset_blocks.ensure_all()
        low, high = slab * self._slab_nbytes, (slab + 1) * self._slab_nbytes
        first = int(np.searchsorted(self._offsets[1:], low, "right"))
        stop = int(np.searchsorted(self._offsets[:-1], high, "left"))
        return self.names(slice(first, stop))

    def _names_at_offsets(self, block: int) -> NDArray[np.uint8]:
        """Return the digests of the values that begin or end at an offset of a block."""
        count = NUMBERS_BLOCK_NBYTES // 8
        return self.names(slice(max(0, block * count - 1), (block + 1) * count))

    def _names_of_shapes(self, block: int) -> NDArray[np.uint8]:
        """Return the digests of the values with an extent in a block of shapes."""
        low, high = block * NUMBERS_BLOCK_NBYTES, (block + 1) * NUMBERS_BLOCK_NBYTES
        width = 8 * self.layout.ndim
        return self.names(slice(low // width, -(-high // width)))

    def shape(self, row: int) -> tuple[int, ...]:
        """Return the shape of one value."""
        if self._shapes is None:
            return ()
        self.pack.check_length()
        width = 8 * self.layout.ndim
        self._shape_blocks.ensure_range(row * width, (row + 1) * width)
        return tuple(self._shapes[row].tolist())

    def sizes(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the bytes of some values as they are stored, shape (n,); checks their offsets."""
        self.pack.check_length()
        self._offset_blocks.ensure_many(8 * rows // NUMBERS_BLOCK_NBYTES)
        self._offset_blocks.ensure_many(8 * (rows + 1) // NUMBERS_BLOCK_NBYTES)
        return (self._offsets[rows + 1] - self._offsets[rows]).astype(np.int64)

    def stored_nbytes(self, rows: NDArray[np.intp]) -> int:
        """Return the bytes that some values take together."""
        return int(self.sizes(rows).sum())

    def stored(self, row: int) -> bytes:
        """Return the bytes of one value as they are stored.

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        self.pack.check_length()
        self._offset_blocks.ensure_range(8 * row, 8 * row + 16)
        low, high = int(self._offsets[row]), int(self._offsets[row + 1])
        size, blocks = self._slab_nbytes, self.slabs.blocks
        if not low <= high <= size * len(blocks):
            raise PackDamagedError(f"pack {self.pack.path.name}: value {row} lies outside of it")
        parts = []
        at = low
        while at < high:
            slab, inside = divmod(at, size)
            self.slabs.ensure(slab)
            count = min(size - inside, high - at)
            start = int(blocks.starts[slab]) + inside
            parts.append(self.pack.view[start : start + count])
            at += count
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def data(self, row: int) -> bytes | memoryview:
        """Return the data of one value.

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        stored = self.stored(row)
        if self.layout.compressor is None:
            return stored
        nbytes = codecs.frame_nbytes(stored)
        if self.layout.kind == "ndarray":
            expected = prod(self.shape(row)) * dtype_from_name(self.layout.dtype).itemsize
            if nbytes != expected:
                raise PackDamagedError(
                    f"pack {self.pack.path.name}: value {row} has {nbytes} bytes, "
                    f"expected {expected}"
                )
        data = np.empty(nbytes, np.uint8)
        codecs.decompress_into(stored, data.ctypes.data, nbytes)
        return data.data

    def check_schema(self, schema: Schema) -> None:
        """Raise CorruptionError when the values cannot be of `schema`."""
        check_layout(schema, self.layout)

    def value(self, schema: Schema, row: int) -> NDArray[Any] | str | bytes:
        """Return one value, fresh.

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        shape = self.shape(row)
        if schema.kind == "ndarray":
            check_value_shape(schema, shape)
        return self.any_value(row)

    def any_value(self, row: int) -> NDArray[Any] | str | bytes:
        """Return one value, fresh, whatever its shape.

        Raises
        ------
        SlabChecksumError, PackDamagedError
        """
        layout = self.layout
        data = self.data(row)
        shape = self.shape(row)
        if layout.kind == "ndarray":
            expected = prod(shape) * dtype_from_name(layout.dtype).itemsize
            if len(data) != expected:
                raise PackDamagedError(
                    f"pack {self.pack.path.name}: value {row} of shape {shape} has "
                    f"{len(data)} bytes, expected {expected}"
                )
        return value_from_data(layout.kind, layout.dtype, shape, data)

    def copy_row(self, schema: Schema, row: int, out: NDArray[np.uint8]) -> None:
        """Copy the data of one value to `out`, shape (nbytes,)."""
        check_value_shape(schema, self.shape(row))
        data = self.data(row)
        if len(data) != len(out):
            raise PackDamagedError(
                f"pack {self.pack.path.name}: value {row} has {len(data)} bytes, "
                f"expected {len(out)}"
            )
        out[:] = np.frombuffer(data, np.uint8)


def check_layout(schema: Schema, layout: Layout) -> None:
    """Raise CorruptionError when no value of `layout` can be one of a column of `schema`."""
    if (layout.kind, layout.dtype) != (schema.kind, schema.dtype):
        raise CorruptionError(
            f"a stored value is {layout.dtype or layout.kind}, which a column of "
            f"{schema.spelling} cannot have"
        )


def check_value_shape(schema: Schema, shape: tuple[int, ...]) -> None:
    """Raise CorruptionError when a stored value cannot be one of a column of `schema`."""
    limits = schema.shape
    assert limits is not None
    if len(shape) != len(limits) or not all(
        limit is None or extent == limit or (schema.variable_shape and extent < limit)
        for extent, limit in zip(shape, limits, strict=True)
    ):
        raise CorruptionError(
            f"a stored value has shape {shape}, which a column of {schema.spelling} cannot have"
        )
