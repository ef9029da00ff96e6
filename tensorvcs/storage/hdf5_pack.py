"""Write one pack: an HDF5 file of rows in slabs, with its own directory of digests.

The layout is in FORMAT.md. Slabs are written past the filters of HDF5, in order, so that those
of one dataset lie back to back in the file and can be memory-mapped as one array of rows.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from tensorvcs.errors import StorageError, with_hint
from tensorvcs.objects.sorted_digests import sort_digests
from tensorvcs.storage.dataset_writers import FramesWriter, RowsWriter
from tensorvcs.storage.durable import lock_shared, publish, refusal, step
from tensorvcs.storage.hdf5_file import create_contiguous, create_hdf5, rest_checksum
from tensorvcs.storage.pack_index import (
    DIRECTORY_BLOCK_ROWS,
    NO_BLOCKS,
    PACK_ID_NBYTES,
    Blocks,
    PackRecord,
)
from tensorvcs.storage.slab_streams import WRITE_NBYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    import h5py
    from numpy.typing import NDArray

    from tensorvcs.storage.dataset_writers import DatasetWriter
    from tensorvcs.storage.pack_index import DatasetRecord, Layout

TEMPORARY_PREFIX = "tmp-"
_STREAMED_METADATA_NBYTES = 256 << 10
_SYNC_NBYTES = 32 << 20
_HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError)


# Kept from being closed, which would write what HDF5 holds of them.
_ABANDONED: list[PackWriter] = []


class SealedPack:
    """A pack under its final name that the index may not know yet.

    It holds a lock on its file, which keeps other processes from taking it for an orphan; so
    keep it until the transaction that adds the record has ended, then call `release`.
    """

    def __init__(self, record: PackRecord, path: Path, descriptor: int) -> None:
        self.record = record
        self.path = path
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Give the lock up: the record is in the index."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Delete the file: its record never came into the index; nothing after `release`."""
        if self._descriptor is not None:
            with suppress(OSError):
                self.path.unlink()
            self.release()


class PackWriter:
    """A pack file that is being written under a temporary name.

    Parameters
    ----------
    folder : Path
        The folder of packs.
    metadata_nbytes : int
        Room for the metadata of HDF5 before the first slab, so that none comes between slabs.
    """

    def __init__(self, folder: Path, metadata_nbytes: int = _STREAMED_METADATA_NBYTES) -> None:
        self._folder = folder
        self.payload_nbytes = 0
        self.row_count = 0
        self._writers: list[DatasetWriter] = []
        self._records: list[DatasetRecord] = []
        self._worker: ThreadPoolExecutor | None = None
        self._syncing: threading.Thread | None = None
        self._unsynced_nbytes = 0
        self._is_given_up = False
        with self._translated():
            folder.mkdir(parents=True, exist_ok=True)
        self._create()
        try:
            with self._translated():
                self._file = create_hdf5(self._path, metadata_nbytes)
        except BaseException:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            raise

    def _create(self) -> None:
        """Make the temporary file and lock it; the lock ends with this process."""
        while True:
            self._pack_id = secrets.token_bytes(PACK_ID_NBYTES)
            self._final = self._folder / f"{self._pack_id.hex()}.h5"
            self._path = self._folder / f"{TEMPORARY_PREFIX}{self._final.name}"
            with self._translated():
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o666)
                if lock_shared(self._descriptor):
                    return
                os.close(self._descriptor)  # a collector of orphans was quicker

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _HDF5_ERRORS as error:
            if isinstance(error, StorageError):
                raise
            refused = refusal(f"cannot write a pack in {self._folder}", error)
            if refused.hint is None:
                with_hint(refused, "check the permissions of the folder, and try again")
            raise refused from error

    def rows(self, layout: Layout, row_count: int | None) -> RowsWriter:
        """Begin a dataset of rows; the one before must be closed.

        Parameters
        ----------
        layout : Layout
        row_count : int or None
            How many rows will come; then the slabs are cut so that the last is nearly full.
        """
        with self._translated():
            writer = RowsWriter(self, self._file, layout, row_count)
        self._writers.append(writer)
        return writer

    def frames(self, layout: Layout, nbytes: int | None) -> FramesWriter:
        """Begin a group of frames; the dataset before must be closed.

        Parameters
        ----------
        layout : Layout
        nbytes : int or None
            The bytes of all frames that will come.
        """
        with self._translated():
            writer = FramesWriter(self, self._file, layout, nbytes)
        self._writers.append(writer)
        return writer

    def run(self, task: Callable[[], None]) -> Future[None]:
        """Run a task beside this thread, after those given before."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "tensorvcs-pack")
        return self._worker.submit(task)

    def write_at(self, offset: int, data: memoryview) -> None:
        """Write bytes to a place in the file that HDF5 has set aside for them."""
        with self._translated():
            while len(data):
                count = os.pwrite(self._descriptor, data[:WRITE_NBYTES], offset)
                self.sync_behind(count)
                data, offset = data[count:], offset + count

    def write_chunk(self, dataset: h5py.Dataset, row: int, frame: bytes) -> None:
        """Write the compressed chunk that starts at `row`."""
        with self._translated():
            dataset.id.write_direct_chunk((row,) + (0,) * (dataset.ndim - 1), frame)
        self.sync_behind(len(frame))

    def write_numbers(
        self, parent: h5py.Group, name: str, numbers: NDArray[Any], block_nbytes: int
    ) -> Blocks:
        """Write an array as one contiguous dataset; checksum it in blocks."""
        if not numbers.nbytes:
            parent.create_dataset(name, data=numbers)
            return NO_BLOCKS
        offset = create_contiguous(parent, name, numbers).id.get_offset()
        content = numbers.data.cast("B")
        # Past HDF5, which would keep the end of it in memory and fail where nobody can answer.
        self.write_at(offset, content)
        starts = np.arange(0, len(content), block_nbytes, dtype=np.uint64)
        sizes = np.minimum(block_nbytes, len(content) - starts)
        checks = [
            xxhash.xxh3_64_intdigest(content[at : at + block_nbytes])
            for at in range(0, len(content), block_nbytes)
        ]
        return Blocks(starts + np.uint64(offset), sizes, np.array(checks, np.uint64))

    def sync_behind(self, nbytes: int) -> None:
        """Have the system write back what is there already, beside the slabs to come."""
        self._unsynced_nbytes += nbytes
        if self._unsynced_nbytes < _SYNC_NBYTES:
            return
        if self._syncing is None or not self._syncing.is_alive():
            self._unsynced_nbytes = 0
            self._syncing = threading.Thread(target=self._sync, daemon=True)
            self._syncing.start()

    def _sync(self) -> None:
        # An error shows again at the sync that counts, when the file is published.
        with suppress(OSError):
            os.fdatasync(self._descriptor)

    def _end_threads(self) -> None:
        if self._worker is not None:
            self._worker.shutdown()
            self._worker = None
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None

    def close_dataset(self) -> None:
        """Finish the dataset begun last."""
        with self._translated():
            self._records.append(self._writers[len(self._records)].close())

    def finish(self) -> SealedPack:
        """Write the directory, close the file, and publish it under its final name.

        Raises
        ------
        StorageError
            The disk refused; the file is removed.
        """
        try:
            if len(self._records) < len(self._writers):
                self.close_dataset()
            digests, rows, fences = _directory([writer.digests for writer in self._writers])
            with self._translated():
                group = self._file.create_group("index")
                group.attrs["tensorvcs"] = 1
                block_nbytes = 32 * DIRECTORY_BLOCK_ROWS
                digest_blocks = self.write_numbers(group, "digests", digests, block_nbytes)
                row_blocks = self.write_numbers(group, "rows", rows, 8 * DIRECTORY_BLOCK_ROWS)
                # HDF5 may end the process when it cannot write what it holds as it closes a file.
                self._file.flush()
                self._file.close()
                file_nbytes = os.fstat(self._descriptor).st_size
                rest_check = rest_checksum(
                    self._descriptor,
                    file_nbytes,
                    [digest_blocks, row_blocks]
                    + [b for r in self._records for b in (r.slabs, r.offsets, r.shapes)],
                )
            self._end_threads()
            record = PackRecord(
                pack_id=self._pack_id,
                file_nbytes=file_nbytes,
                payload_nbytes=self.payload_nbytes,
                datasets=tuple(self._records),
                fences=fences,
                digests=digest_blocks,
                rows=row_blocks,
                digest_count=len(digests),
                rest_check=rest_check,
            )
            publish(self._path, self._final)
            step("pack sealed")
        except BaseException:
            self.abort()
            raise
        return SealedPack(record, self._final, self._descriptor)

    def abandon(self) -> None:
        """Leave the file to the parent, in a forked child: nothing that HDF5 holds may reach it."""
        self._send_hdf5_away()
        _ABANDONED.append(self)

    def abort(self) -> None:
        """Give up: close and remove the temporary file; a second call does nothing."""
        if self._is_given_up:
            return  # the number of the descriptor may be that of another file by now
        self._is_given_up = True
        self._end_threads()
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        # Under its final name, too, when it was renamed and the folder could not be synced.
        for path in (self._path, self._final):
            with suppress(OSError):
                path.unlink()
        if self._file:
            if self._send_hdf5_away():
                with suppress(*_HDF5_ERRORS):
                    self._file.close()
            else:
                _ABANDONED.append(self)
        with suppress(OSError):
            os.close(self._descriptor)

    def _send_hdf5_away(self) -> bool:
        """Have HDF5 write to nowhere what it holds; tell whether it can close the file then.

        On a full disk it could not write it, and might end the process.
        """
        with suppress(*_HDF5_ERRORS):
            handle = self._file.id.get_vfd_handle()
            if sys.platform == "linux":
                nowhere, is_file = os.memfd_create("tensorvcs", os.MFD_CLOEXEC), True
            else:
                nowhere, is_file = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), False
            os.dup2(nowhere, handle, inheritable=False)
            os.close(nowhere)
            return is_file
        return False


def _directory(
    digests_of_datasets: Sequence[Sequence[NDArray[np.uint8]]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint64]]:
    """Return digests in ascending order, (dataset, row) beside them, and the block fences."""
    digests = np.concatenate([part for parts in digests_of_datasets for part in parts])
    counts = [sum(len(part) for part in parts) for parts in digests_of_datasets]
    rows = np.empty((len(digests), 2), np.uint32)
    rows[:, 0] = np.repeat(np.arange(len(counts)), counts)
    rows[:, 1] = np.concatenate([np.arange(count) for count in counts])
    ranked = sort_digests(digests)
    return ranked.digests, rows[ranked.order], ranked.prefixes[::DIRECTORY_BLOCK_ROWS]
