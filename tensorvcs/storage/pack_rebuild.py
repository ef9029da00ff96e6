"""Make the record of a pack anew from its file alone, when the index has lost it.

The HDF5 file says where its slabs and its directory are; only the checksums are in the record. New
ones are of the bytes as they are now, and vouch for nothing: so whoever takes such a record first
has every value hashed against the directory of the pack.
"""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import xxhash

from tensorvcs.errors import CorruptionError, InvalidInputError
from tensorvcs.objects.dtype import dtype_from_name
from tensorvcs.objects.sorted_digests import digest_prefixes
from tensorvcs.storage import codecs
from tensorvcs.storage.dataset_writers import NUMBERS_BLOCK_NBYTES
from tensorvcs.storage.hdf5_file import rest_checksum
from tensorvcs.storage.mapped_pack import MappedPack
from tensorvcs.storage.pack_index import (
    DIRECTORY_BLOCK_ROWS,
    NO_BLOCKS,
    Blocks,
    DatasetRecord,
    Layout,
    PackRecord,
)
from tensorvcs.storage.pack_rewrite import wrong_digests

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.codecs import Choice

# What h5py raises of a file that is damaged, and what its content leads to here.
_DAMAGE = (
    OSError, RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError,
    ArithmeticError, MemoryError, InvalidInputError, CorruptionError,
)  # fmt: skip
_COMPRESSORS: dict[int, Choice] = {1: "lz4", 5: "zstd"}
# In the flags of a frame of Blosc 1, which know LZ4 as 1 and Zstd as 4.
_FORMATS: dict[int, Choice] = {1: "lz4", 4: "zstd"}


def rebuild_record(path: Path) -> PackRecord | None:
    """Return a record of the pack file at `path`, as it is now.

    Returns
    -------
    PackRecord or None
        None when the file cannot be read as a pack. Blocks of the directory that name rows which
        are not there have a checksum that is not theirs.

    Notes
    -----
    Reads the whole file once. Memory is 40 bytes a value and a slab.
    """
    try:
        with h5py.File(path, "r", locking=False) as file, path.open("rb") as content:
            return _Rebuilding(file, content.fileno()).record(bytes.fromhex(path.stem))
    except _DAMAGE:
        return None


def is_proven(path: Path, record: PackRecord) -> bool:
    """Tell whether every value of a pack hashes to its name in the directory; reads all of it."""
    try:
        pack = MappedPack(path, record)
        names = [pack.row_digests(dataset.ordinal) for dataset in pack.datasets]
        is_named = all(bool(found.any(axis=1).all()) for found in names)
        return is_named and next(wrong_digests(pack), None) is None
    except _DAMAGE:
        return False


class _Rebuilding:
    """One file, while its record is made."""

    def __init__(self, file: h5py.File, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor
        self._payload_nbytes = 0

    def record(self, pack_id: bytes) -> PackRecord:
        """Return the record."""
        datasets = [self._dataset(found) for found in self._in_order()]
        digests, rows = self._file["index/digests"], self._file["index/rows"]
        names: NDArray[np.uint8] = digests[:]
        places: NDArray[np.uint32] = rows[:]
        counts = np.array([dataset.row_count for dataset in datasets], np.int64)
        is_wrong = places[:, 0] >= len(counts)
        is_wrong |= places[:, 1] >= counts[np.where(is_wrong, 0, places[:, 0])]
        row_blocks = self._numbers(rows, 8 * DIRECTORY_BLOCK_ROWS)
        wrong_blocks = np.unique(np.nonzero(is_wrong)[0] // DIRECTORY_BLOCK_ROWS)
        row_blocks.checks[wrong_blocks] ^= np.uint64(1)
        digest_blocks = self._numbers(digests, 32 * DIRECTORY_BLOCK_ROWS)
        file_nbytes = os.fstat(self._descriptor).st_size
        blocks = [digest_blocks, row_blocks]
        blocks += [b for d in datasets for b in (d.slabs, d.offsets, d.shapes)]
        return PackRecord(
            pack_id=pack_id,
            file_nbytes=file_nbytes,
            payload_nbytes=self._payload_nbytes,
            datasets=tuple(datasets),
            fences=digest_prefixes(np.ascontiguousarray(names))[::DIRECTORY_BLOCK_ROWS].copy(),
            digests=digest_blocks,
            rows=row_blocks,
            digest_count=len(names),
            rest_check=rest_checksum(self._descriptor, file_nbytes, blocks),
        )

    def _in_order(self) -> list[Any]:
        """Return the datasets and groups of values in the order in which they were made."""
        found = [
            self._file[top][name]
            for top in self._file
            if top != "index"
            for name in self._file[top]
        ]
        # Their headers lie in the file one behind the other.
        return sorted(found, key=lambda item: h5py.h5o.get_info(item.id).addr)

    def _dataset(self, item: h5py.Dataset | h5py.Group) -> DatasetRecord:
        return self._rows(item) if isinstance(item, h5py.Dataset) else self._frames(item)

    def _rows(self, dataset: h5py.Dataset) -> DatasetRecord:
        dtype = str(dataset.attrs["dtype"])
        shape = tuple(int(extent) for extent in dataset.attrs["shape"])
        row_nbytes = prod(shape) * dtype_from_name(dtype).itemsize
        compressor: Choice = None
        plist = dataset.id.get_create_plist()
        if plist.get_nfilters():
            compressor = _COMPRESSORS[plist.get_filter(0)[2][6]]
        row_count, slab_rows = int(dataset.shape[0]), int(dataset.chunks[0])
        self._payload_nbytes += row_count * row_nbytes
        return DatasetRecord(
            path=dataset.name,
            layout=Layout("ndarray", dtype, shape, len(shape), compressor),
            row_count=row_count,
            slab_rows=slab_rows,
            slab_nbytes=slab_rows * row_nbytes,
            slabs=self._slabs(dataset, -(-row_count // slab_rows)),
            offsets=NO_BLOCKS,
            shapes=NO_BLOCKS,
        )

    def _frames(self, group: h5py.Group) -> DatasetRecord:
        kind, dtype = str(group.attrs["kind"]), str(group.attrs["dtype"])
        data, offsets = group["data"], group["offsets"]
        starts: NDArray[np.uint64] = offsets[:]
        compressor: Choice = None
        nbytes = int(starts[-1])
        if group.attrs["compression"] == "blosc":
            frames = [data[low : low + 16].tobytes() for low in starts[:-1].tolist()]
            nbytes = sum(codecs.frame_nbytes(frame) for frame in frames)
            compressor = _FORMATS[frames[0][2] >> 5]
        self._payload_nbytes += nbytes
        shapes = group.get("shapes")
        slab_nbytes = int(data.chunks[0])
        return DatasetRecord(
            path=group.name,
            layout=Layout(
                kind,  # type: ignore[arg-type]
                dtype,
                None,
                0 if shapes is None else int(shapes.shape[1]),
                compressor,
            ),
            row_count=len(starts) - 1,
            slab_rows=0,
            slab_nbytes=slab_nbytes,
            slabs=self._slabs(data, -(-int(data.shape[0]) // slab_nbytes)),
            offsets=self._numbers(offsets, NUMBERS_BLOCK_NBYTES),
            shapes=NO_BLOCKS if shapes is None else self._numbers(shapes, NUMBERS_BLOCK_NBYTES),
        )

    def _slabs(self, dataset: h5py.Dataset, count: int) -> Blocks:
        found: list[tuple[int, int, int]] = []
        dataset.id.chunk_iter(lambda c: found.append((c.chunk_offset[0], c.byte_offset, c.size)))
        if len(found) != count:
            raise CorruptionError(f"{dataset.name} has {len(found)} slabs of {count}")
        numbers = np.array(sorted(found), np.uint64).reshape(-1, 3)
        return self._blocks(numbers[:, 1].copy(), numbers[:, 2].copy())

    def _numbers(self, dataset: h5py.Dataset, block_nbytes: int) -> Blocks:
        nbytes = dataset.size * dataset.dtype.itemsize
        offset = dataset.id.get_offset()
        if not nbytes or offset is None:
            return NO_BLOCKS
        starts = np.arange(0, nbytes, block_nbytes, dtype=np.uint64)
        sizes = np.minimum(np.uint64(block_nbytes), np.uint64(nbytes) - starts)
        return self._blocks(starts + np.uint64(offset), sizes)

    def _blocks(self, starts: NDArray[np.uint64], sizes: NDArray[np.uint64]) -> Blocks:
        checks = np.zeros(len(starts), np.uint64)
        for i, (at, nbytes) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
            content = os.pread(self._descriptor, nbytes, at)
            if len(content) != nbytes:
                raise CorruptionError(f"the file ends before byte {at + nbytes}")
            checks[i] = xxhash.xxh3_64_intdigest(content)
        return Blocks(starts, sizes, checks)
