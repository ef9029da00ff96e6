"""What a collection of garbage does to the disk: listing, and deleting, everything."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.objects.digest import array_to_digests, digests_to_array
from tensorvcs.storage.durable import remove_leftovers
from tensorvcs.storage.folder import LMDB_FOLDER
from tensorvcs.storage.orphan_ages import OrphanAges, read_orphan_ages, write_orphan_ages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.hdf5_tensors import Hdf5Tensors
    from tensorvcs.storage.leases import Leases
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment
    from tensorvcs.storage.lmdb_objects import LmdbObjects
    from tensorvcs.storage.lmdb_refs import LmdbRefs
    from tensorvcs.storage.pack_rewrite import PackRewriting
    from tensorvcs.storage.value_blocks import ValueBlock

WAIT_SECONDS = 10.0
"""How long a collection waits for work in progress; new work waits for a part of that."""


class GarbageSite:
    """The disk of one repository, seen by a collection of garbage.

    Parameters
    ----------
    ages_file : Path
        Where a collection leaves for the next one since when garbage is garbage.
    settings_file : Path
        Beside it writers of settings may have left files.
    """

    def __init__(
        self,
        environment: LmdbEnvironment,
        objects: LmdbObjects,
        tensors: Hdf5Tensors,
        refs: LmdbRefs,
        leases: Leases,
        *,
        ages_file: Path,
        settings_file: Path,
        wait_seconds: float | None = None,
    ) -> None:
        self._environment = environment
        self._objects = objects
        self._tensors = tensors
        self._refs = refs
        self._leases = leases
        self._ages_file = ages_file
        self._settings_file = settings_file
        self._wait_seconds = WAIT_SECONDS if wait_seconds is None else wait_seconds
        self._ages = OrphanAges.nothing()

    def object_digests(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the digests of all objects, in order, some thousands at a time."""
        for digests in self._objects.iter_digest_batches():
            yield digests_to_array(digests)

    def value_blocks(self) -> Iterator[ValueBlock]:
        """Yield the values of each pack, then the loose ones; what is damaged is left out."""
        return self._tensors.value_blocks()

    def last_change(self) -> int:
        """Return the number of the last write transaction."""
        return self._environment.last_transaction

    def pinned(self) -> list[bytes]:
        """Return the commits that are being read."""
        return self._leases.pinned()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all work out; raises WorkInProgressError when it does not end."""
        with self._leases.exclusive(self._wait_seconds):
            yield

    def delete_objects(self, digests: NDArray[np.uint8]) -> None:
        """Delete objects, inside a transaction."""
        self._objects.delete(array_to_digests(digests))

    def forget_operations(self, before: int) -> None:
        """Delete the operations with a lower number, inside a transaction."""
        self._refs.forget_operations(before)

    def delete_loose(self, digests: NDArray[np.uint8]) -> None:
        """Delete loose values, inside a transaction."""
        self._tensors.delete_loose(array_to_digests(digests))

    def rewrite(
        self, pack_id: bytes, is_dropped: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
    ) -> PackRewriting | None:
        """Write a pack anew without some values; None when it is gone or damaged."""
        return self._tensors.rewrite(pack_id, is_dropped)

    def read_ages(self) -> OrphanAges:
        """Return what the last collection noted."""
        self._ages = read_orphan_ages(self._ages_file)
        return self._ages

    def write_ages(self, digests: list[NDArray[np.uint8]], now: int) -> None:
        """Note when these were first seen, and forget all others."""
        noted = np.concatenate([np.zeros((0, 32), np.uint8), *digests])
        write_orphan_ages(self._ages_file, self._ages.after(noted, now))

    def remove_leftovers(self) -> int:
        """Remove the files that writers left when they died, and return how many."""
        database = self._settings_file.with_name(LMDB_FOLDER)
        beside = (self._settings_file, self._ages_file, database)
        return self._tensors.remove_orphans() + sum(map(remove_leftovers, beside))
