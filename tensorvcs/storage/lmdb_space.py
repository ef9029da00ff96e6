"""Give the disk the space of pages of an LMDB file that hold nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import DiskFullError, ObjectDamagedError
from tensorvcs.storage.durable import refusal, step
from tensorvcs.storage.lmdb_environment import Database
from tensorvcs.storage.lmdb_scan import PageFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tensorvcs.storage.lmdb_environment import LmdbEnvironment

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # of fallocate(2)
_NOT_HERE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_NOTHING, _LOOSE = b"nothing", Database("loose")
# Holes smaller than that cost more than they give.
_LEAST_RUN_PAGES = 4


def give_back_space(environment: LmdbEnvironment) -> int:
    """Leave a hole in the file wherever pages are free, and return how many bytes these have.

    Writers go on using the pages, which then take space again. Where the system or the file system
    knows no holes, or somebody reads an old version, nothing is done.

    Raises
    ------
    ObjectDamagedError
        The list of the free pages is damaged; nothing was done.
    StorageError
        The disk refused.

    Notes
    -----
    Keeps writers out for as long as it takes: a call of the system for each run of neighbouring
    pages. Pages that are free in the last two versions are nothing that LMDB would read, whichever
    of its two head pages it takes; it would itself write to them next.
    """
    if sys.platform != "linux":
        return 0
    path = environment.folder / "data.mdb"
    # A version more, so that what the last one freed is free in two.
    with suppress(DiskFullError), environment.write() as txn:
        txn.put(_NOTHING, b"", db=_LOOSE)
        txn.delete(_NOTHING, db=_LOOSE)
    with environment.write():
        last = environment.last_transaction
        oldest = environment.oldest_reader()
        if oldest is not None and oldest < last:
            return 0
        with PageFile(path) as file:
            head = file.heads()[0] if file.heads() else None
            if head is None or head.transaction != last:
                raise ObjectDamagedError(f"the LMDB file {path} has no head of version {last}")
            freed = [pages for number, pages in file.free_pages(head) if number < last]
            page_nbytes, page_count = file.page_nbytes, file.page_count
        pages = np.unique(np.concatenate(freed)) if freed else np.zeros(0, np.uint64)
        # LMDB leaves pages at the end out of the file that it never wrote.
        runs = list(_runs(pages[pages < page_count].astype(np.int64)))
        if not runs:
            return 0
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            before = os.fstat(descriptor).st_blocks
            for first, count in runs:
                if not _punch(descriptor, first * page_nbytes, count * page_nbytes):
                    break
                step("hole made")
            return max(0, before - os.fstat(descriptor).st_blocks) * 512
        except OSError as error:
            raise refusal(f"cannot make holes in {path}", error) from error
        finally:
            os.close(descriptor)


def _runs(pages: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the first page and the length of each long run of neighbours, given sorted pages."""
    ends = np.flatnonzero(np.diff(pages) != 1) + 1
    for run in np.split(pages, ends):
        if len(run) >= _LEAST_RUN_PAGES:
            yield int(run[0]), len(run)


def _punch(descriptor: int, at: int, nbytes: int) -> bool:
    """Make a hole in a file; False where there are none."""
    library = ctypes.CDLL(None, use_errno=True)
    mode = _PUNCH_HOLE | _KEEP_SIZE
    offset, length = ctypes.c_int64(at), ctypes.c_int64(nbytes)
    if not library.fallocate64(descriptor, mode, offset, length):
        return True
    number = ctypes.get_errno()
    if number in _NOT_HERE:
        return False
    raise OSError(number, os.strerror(number))
