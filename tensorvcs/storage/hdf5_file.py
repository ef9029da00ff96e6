"""How HDF5 is told to lay a pack out, and where in the file it did so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import xxhash

from tensorvcs.objects.dtype import dtype_from_name
from tensorvcs.storage import codecs
from tensorvcs.storage.pack_index import Blocks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# Rows that start at a multiple of 1024 bytes would collide, in the store buffers of the
# processor, with buffers of numpy, which start 16 bytes after one.
_SHIFT_NBYTES = 64
_READ_NBYTES = 1 << 20


def create_hdf5(path: Path, metadata_nbytes: int) -> h5py.File:
    """Create a file with room for metadata before the first slab."""
    return h5py.File(
        path,
        "w",
        libver=("earliest", "v110"),
        locking=False,
        meta_block_size=metadata_nbytes + _SHIFT_NBYTES,
        rdcc_nbytes=0,
    )


def create_chunked(
    parent: h5py.Group,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int | None, ...],
    *,
    chunk: tuple[int, ...],
    blosc_options: tuple[int, ...] | None = None,
) -> h5py.Dataset:
    """Create a chunked dataset; a first extent of None grows from 0."""
    first, *rest = shape
    space = h5py.h5s.create_simple(
        (first or 0, *rest), (h5py.h5s.UNLIMITED if first is None else first, *rest)
    )
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(chunk)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if blosc_options is None:
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_obj_track_times(False)
    if blosc_options is not None:
        # Optional, so that HDF5 creates the dataset where the filter is not installed.
        plist.set_filter(codecs.BLOSC_FILTER, h5py.h5z.FLAG_OPTIONAL, blosc_options)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    kind = h5py.h5t.py_create(dtype, logical=True)
    return h5py.Dataset(
        h5py.h5d.create(parent.id, name.encode(), kind, space, dcpl=plist, lcpl=links)
    )


def create_contiguous(parent: h5py.Group, name: str, numbers: NDArray[Any]) -> h5py.Dataset:
    """Create a dataset for an array that is not empty, its place in the file set aside."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_obj_track_times(False)
    kind = h5py.h5t.py_create(numbers.dtype, logical=True)
    space = h5py.h5s.create_simple(numbers.shape)
    return h5py.Dataset(h5py.h5d.create(parent.id, name.encode(), kind, space, dcpl=plist))


def hdf5_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype that plain h5py shows: the integer bits of those HDF5 does not know."""
    dtype = dtype_from_name(name)
    if dtype.type.__module__ == "ml_dtypes":
        return np.dtype(f"<u{dtype.itemsize}")
    return dtype


def chunk_blocks(dataset: h5py.Dataset, checks: Sequence[int]) -> Blocks:
    """Return where HDF5 put the chunks, in order of their rows."""
    found: list[tuple[int, int, int]] = []
    dataset.id.chunk_iter(lambda c: found.append((c.chunk_offset[0], c.byte_offset, c.size)))
    assert len(found) == len(checks), (len(found), len(checks))
    numbers = np.array(sorted(found), np.uint64).reshape(-1, 3)
    return Blocks(numbers[:, 1].copy(), numbers[:, 2].copy(), np.array(checks, np.uint64))


def rest_checksum(descriptor: int, file_nbytes: int, blocks: Sequence[Blocks]) -> int:
    """Return the xxh3-64 of the bytes of a file that are in none of `blocks`, in order."""
    starts = np.concatenate([b.starts for b in blocks]).astype(np.int64)
    ends = starts + np.concatenate([b.sizes for b in blocks]).astype(np.int64)
    order = np.argsort(starts)
    hasher = xxhash.xxh3_64()
    lows = np.concatenate(([0], ends[order]))
    highs = np.concatenate((starts[order], [file_nbytes]))
    for i in np.nonzero(lows < highs)[0]:
        at, high = int(lows[i]), int(highs[i])
        while at < high:
            part = os.pread(descriptor, min(_READ_NBYTES, high - at), at)
            if not part:
                break
            hasher.update(part)
            at += len(part)
    return hasher.intdigest()
