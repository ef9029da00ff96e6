"""TensorStore on disk: packs found through the index, and loose values in LMDB.

Here is what a store is asked for. Which packs there are is in `pack_folder`, where a value is in
`lookup`, what waits to be sealed in `pending_values`, and the rest in `upkeep`, `store_mending`,
`value_checks` and `orphans`.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import (
    CorruptionError,
    NotFoundError,
    ObjectNotFoundError,
    PackDamagedError,
    RemoteError,
    SlabChecksumError,
    StateError,
    StorageError,
    UnsupportedFormatError,
)
from tensorvcs.objects.digest import array_to_digests, digests_to_array
from tensorvcs.objects.sorted_digests import sort_digests
from tensorvcs.storage.exchange import checked_data, give_frames, give_loose, give_rows
from tensorvcs.storage.in_flight import in_flight
from tensorvcs.storage.interfaces import StoredValues, TensorStats
from tensorvcs.storage.locations import Locations, PackTable
from tensorvcs.storage.lookup import are_here, located, located_in
from tensorvcs.storage.mapped_datasets import MappedFrames, MappedRows
from tensorvcs.storage.orphans import remove_orphans
from tensorvcs.storage.pack_folder import PackFolder
from tensorvcs.storage.pack_index import decode_loose
from tensorvcs.storage.pending_values import PendingValues
from tensorvcs.storage.store_mending import forget_packs, mend_all, mend_some, take_missing
from tensorvcs.storage.upkeep import repack_in_order, repack_loose, rewrite_pack, value_blocks
from tensorvcs.storage.value_checks import all_problems, problems_among

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment
    from tensorvcs.storage.locations import Source
    from tensorvcs.storage.mending import Mended, Rescue
    from tensorvcs.storage.pack_rewrite import PackRewriting
    from tensorvcs.storage.sources import Sources
    from tensorvcs.storage.value_blocks import ValueBlock

SMALL_PACK_NBYTES = 16 << 20
"""What `stats` calls a small pack."""

_log = logging.getLogger(__name__)

_SINGLE_LOOKUPS = 16


class Hdf5Tensors:
    """TensorStore in a folder of packs and an LMDB environment.

    Picklable as its folder. After a fork a child goes on reading; what the parent had not
    sealed stays with the parent.

    Parameters
    ----------
    folder : Path
        Packs are in ``folder/packs``.
    environment : LmdbEnvironment
        Holds the databases `packs` and `loose`; the caller closes it.
    supply : callable, optional
        The promisor of a partial clone: called with a store and the digests, shape (n, 32), uint8,
        of values that are read and not here; has that store take them, or raises. Picklable when
        the store is to be.
    rescue : callable, optional
        Where values come from that are found to be damaged when they are read: then they are
        mended, and the read goes on. Picklable when the store is to be.
    distrusted : set of bytes
        Ids of packs, and digests of loose values, that this store takes for absent.
    is_apart : bool
        Whether to look at the files as they are now, and not through maps that other stores of
        this process have made.
    """

    def __init__(
        self,
        folder: Path,
        environment: LmdbEnvironment,
        supply: Callable[[TensorStore, NDArray[np.uint8]], None] | None = None,
        rescue: Rescue | None = None,
        distrusted: frozenset[bytes] = frozenset(),
        *,
        is_apart: bool = False,
    ) -> None:
        self.folder = folder
        self.supply = supply
        self.rescue = rescue
        self._environment = environment
        self._distrusted = distrusted
        self._packs = PackFolder(
            folder / "packs", environment, distrusted=distrusted, is_apart=is_apart
        )
        self._pending = PendingValues(self._packs.path)
        self._mending = threading.RLock()
        self._has_arrivals = False
        self._has_swept = False
        self._in_flight = in_flight(folder)
        _STORES.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hdf5Tensors, (self.folder, self._environment, self.supply, self.rescue)

    def __repr__(self) -> str:
        return f"Hdf5Tensors({str(self.folder)!r})"

    def _writer(self, distrusted: frozenset[bytes] = frozenset()) -> Hdf5Tensors:
        """Open a writer of its own, since any number of threads may read from this store."""
        return Hdf5Tensors(self.folder, self._environment, distrusted=self._distrusted | distrusted)

    # Reading

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each digest whether its value is here.

        A value in a pack that cannot be read is not, so that it can be written again.
        """
        wanted = sort_digests(digests)
        is_here = np.empty(len(digests), np.bool_)
        is_here[wanted.order] = are_here(self._packs, wanted)
        return is_here

    def read(self, schema: Schema, digests: NDArray[np.uint8]) -> list[Any]:
        """Return values by digest, fresh.

        Parameters
        ----------
        schema : Schema
        digests : ndarray, shape (n, 32), uint8

        Raises
        ------
        ObjectNotFoundError
            A digest is not here.
        SlabChecksumError, PackDamagedError, ObjectDamagedError
            Stored bytes are not what was stored.

        Notes
        -----
        A few digests cost a binary search in a block of each pack, about 5 µs. What is not here
        is fetched first where there is a promisor. What is damaged is mended where something can
        supply it, which writes the pack that it is in anew, and the read goes on.
        """
        self.fetch(digests)
        try:
            return self._read(schema, digests)
        except CorruptionError:
            if not self._mend_values(digests):
                raise
        return self._read(schema, digests)

    def _read(self, schema: Schema, digests: NDArray[np.uint8]) -> list[Any]:
        if len(digests) <= _SINGLE_LOOKUPS:
            values = []
            find = self._packs.find
            for digest in array_to_digests(digests):
                source, row = find(digest)
                source.check_schema(schema)
                values.append(source.value(schema, row))
            return values
        found, sources = self._places_of(digests)
        for number in np.unique(found.sources).tolist():
            sources[number].check_schema(schema)
        return [
            sources[number].value(schema, row)
            for number, row in zip(found.sources.tolist(), found.rows.tolist(), strict=True)
        ]

    def table(
        self,
        schema: Schema,
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
    ) -> PackTable:
        """Return the location table of a column; see `TensorStore.table`.

        Raises
        ------
        CorruptionError
            A value cannot be one of `schema`.

        Notes
        -----
        A value that is lost, or in a pack that cannot be searched, is an error when it is read;
        the others can be read.
        """
        is_lazy = self.supply is not None
        packs = self._packs
        with packs.lock:
            if self._has_arrivals:
                packs.begin_anew()
                self._has_arrivals = False
            while True:
                catalog, here = packs.refresh(), packs.generation
                where = here.sources
                find = partial(located_in, packs, catalog=catalog, where=where, is_lazy=is_lazy)
                try:
                    found = here.tables.locate(leaves, counts, load, find)
                except (ObjectNotFoundError, SlabChecksumError, PackDamagedError):
                    # What is not found is looked for again when it is read.
                    is_lazy = self._has_arrivals = packs.is_current(catalog)
                else:
                    fetch = partial(self._fetch, where) if self.supply is not None else None
                    mend = partial(self._mend_rows, where)
                    return PackTable(schema, found, where.items, fetch, mend)

    def _fetch(self, where: Sources, rows: NDArray[np.uint32]) -> tuple[Locations, int]:
        """Have values supplied that a table found absent; return where they are, how many came."""
        digests = digests_to_array(where.absent.digests_of(rows))
        count = self.fetch(digests)
        with self._packs.lock:
            return located(self._packs, digests, where), count

    def fetch(self, digests: NDArray[np.uint8]) -> int:
        """Have those values supplied that are not here; see `TensorStore.fetch`.

        Notes
        -----
        One request for all of them. What another thread of this process is fetching is waited
        for, and asked for again only when that thread did not get it.
        """
        count = 0
        # What supplies the values may look for them here, and must not wait for itself.
        while self.supply is not None and not self._in_flight.is_mine:
            digests = digests[~self.contains(digests)]
            if not len(digests):
                break
            absent = array_to_digests(digests)
            if self._environment.is_writing:
                # The others would wait for the transaction that this thread is in.
                return count + self._supply(digests_to_array(list(dict.fromkeys(absent))))
            with self._in_flight.claim(absent) as claimed:
                if claimed:
                    count += self._supply(digests_to_array(claimed))
            # What was asked for and did not come is for the reader to say.
            done = set(claimed)
            digests = digests_to_array([d for d in absent if d not in done])
        return count

    def _supply(self, digests: NDArray[np.uint8]) -> int:
        """Have values supplied that are not here by now, and return how many came."""
        absent = digests[~self.contains(digests)]
        if self.supply is None or not len(absent):
            return 0
        writer = self._writer()
        try:
            self.supply(writer, absent)
            writer.seal()
        finally:
            writer.discard()
        self._has_arrivals = True
        count = int(self.contains(absent).sum())
        self.repack_loose()
        return count

    def _places_of(self, digests: NDArray[np.uint8]) -> tuple[Locations, Sequence[Source]]:
        """Return where values are, and the sources that are counted there."""
        with self._packs.lock:
            where = self._packs.generation.sources
            return located(self._packs, digests, where), where.items

    def sizes(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the bytes of each value as `stored` gives it; see `TensorStore.sizes`."""
        self.fetch(digests)
        found, sources = self._places_of(digests)
        nbytes = np.empty(len(digests), np.int64)
        for number in np.unique(found.sources).tolist():
            source = sources[number]
            is_here = found.sources == number
            nbytes[is_here] = source.sizes(found.rows[is_here].astype(np.intp))
        return nbytes

    def stored(self, digests: NDArray[np.uint8]) -> Iterator[StoredValues]:
        """Yield values as they are kept; see `TensorStore.stored`.

        Notes
        -----
        Reads each dataset of each pack in the order of its rows; memory is a few MiB. What is not
        here is fetched first where there is a promisor.
        """
        wanted = sort_digests(digests)
        names = wanted.digests[~wanted.is_repeat()]
        self.fetch(names)
        found, sources = self._places_of(names)
        for number in np.unique(found.sources).tolist():
            source = sources[number]
            places = np.nonzero(found.sources == number)[0]
            if isinstance(source, (MappedRows, MappedFrames)):
                rows = found.rows[places].astype(np.intp)
                order = np.argsort(rows, kind="stable")
                give = give_rows if isinstance(source, MappedRows) else give_frames
                yield from give(source, rows[order], names[places[order]])  # type: ignore[arg-type]
            else:
                yield from self._give_loose(names[places])

    def _give_loose(self, names: NDArray[np.uint8]) -> Iterator[StoredValues]:
        """Yield loose values; those that were packed meanwhile come from their packs."""
        records = self._packs.index.loose(array_to_digests(names))
        here = [place for place, record in enumerate(records) if record is not None]
        values = [decode_loose(names[i].tobytes(), records[i] or b"") for i in here]
        yield from give_loose(names[here], values)
        moved = np.delete(names, here, axis=0)
        if len(moved):
            yield from self.stored(moved)

    # Writing

    def take(self, values: StoredValues) -> None:
        """Keep values of another store under their names; see `TensorStore.take`.

        Raises
        ------
        DigestMismatchError
            One is not what its name says; nothing of these values is kept.
        StorageError
            The disk refused; what was written since the last `seal` is lost.

        Notes
        -----
        Compressed frames are decoded to be hashed, and kept as they came.
        """
        datas = checked_data(values)
        chosen = self._fresh(values.digests)
        if not len(chosen):
            return
        try:
            self._pending.take(values, datas, chosen)
        except BaseException:
            self.discard()
            raise

    def write(
        self, schema: Schema, digests: NDArray[np.uint8], values: NDArray[Any] | Sequence[Any]
    ) -> None:
        """Take canonical values under their digests; see `TensorStore.write`.

        Parameters
        ----------
        schema : Schema
        digests : ndarray, shape (n, 32), uint8
        values : ndarray, shape (n, *shape), or sequence of length n
            A stacked array when the shape is fixed; not kept after the call.

        Raises
        ------
        StorageError
            The disk refused; what was written since the last `seal` is lost.

        Notes
        -----
        Up to 32 MiB are buffered, then slabs are written as they fill. Memory is that, and 80
        bytes a value of the packs being written.
        """
        if not len(digests):
            return
        chosen = self._fresh(digests)
        if not len(chosen):
            return
        try:
            self._pending.write(schema, digests, values, chosen)
        except BaseException:
            self.discard()
            raise

    def _fresh(self, digests: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return which digests are new, each once, in their order."""
        wanted = sort_digests(digests)
        is_known = are_here(self._packs, wanted) | wanted.is_repeat()
        is_known |= self._pending.contain(wanted)
        return np.sort(wanted.order[~is_known])

    @property
    def unsealed_nbytes(self) -> int:
        """Payload bytes written since the last `seal`, values that were here already left out."""
        return self._pending.nbytes

    def seal(self) -> None:
        """Make all that was written durable and readable.

        Packs are synced and named first; then one transaction, or the one that is open, adds
        them to the index. When that transaction is undone, they are removed. The first call also
        removes what writers that died have left behind; see `remove_orphans`.

        Raises
        ------
        StorageError
            The disk refused; what was written since the last `seal` is lost.
        """
        if not self._pending:
            return
        if not self._has_swept:
            self._has_swept = True
            with suppress(StorageError):  # what cannot be removed takes space, and nothing else
                self.remove_orphans()
        sealed, loose = self._pending.finish()
        self._packs.change(sealed, add_loose=loose)

    def discard(self) -> None:
        """Forget what was written since the last `seal`."""
        self._pending.discard()

    # Upkeep

    def repack_loose(self, *, force: bool = False) -> bool:
        """Gather loose values when they are many, or by `force`; see `upkeep.repack_loose`."""
        return repack_loose(self._packs, force=force)

    def repack_in_order(
        self,
        order: Callable[[], Iterable[NDArray[np.uint8]]],
        *,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> tuple[int, int]:
        """Gather everything into few packs, in an order; see `upkeep.repack_in_order`."""
        return repack_in_order(self._packs, order, progress=progress)

    def value_blocks(self) -> Iterator[ValueBlock]:
        """Yield names and sizes of all values; see `upkeep.value_blocks`."""
        return value_blocks(self._packs)

    def rewrite(
        self, pack_id: bytes, is_dropped: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
    ) -> PackRewriting | None:
        """Write a pack anew without some values; see `upkeep.rewrite_pack`."""
        return rewrite_pack(self._packs, pack_id, is_dropped)

    def delete_loose(self, digests: Sequence[bytes]) -> None:
        """Delete loose values; only for what nothing names any more."""
        if digests:
            self._packs.change(remove_loose=digests)

    def remove_orphans(self) -> int:
        """Remove files that a writer left when it died; see `orphans.remove_orphans`."""
        return remove_orphans(self._packs.path, self._packs.index)

    def stats(self) -> TensorStats:
        """Return counts and sizes; reads no payload."""
        packs = self._packs.refresh().packs
        loose_count, loose_nbytes = self._packs.index.loose_size()
        return TensorStats(
            pack_count=len(packs),
            loose_count=loose_count,
            value_count=loose_count + sum(len(pack) for pack in packs),
            payload_nbytes=sum(pack.record.payload_nbytes for pack in packs),
            file_nbytes=sum(pack.record.file_nbytes for pack in packs),
            loose_nbytes=loose_nbytes,
            small_pack_count=sum(p.record.payload_nbytes < SMALL_PACK_NBYTES for p in packs),
        )

    # Damage

    def verify(self) -> Iterator[CorruptionError]:
        """Yield everything that is wrong; see `value_checks.all_problems`."""
        return all_problems(self._packs)

    def verify_values(self, digests: NDArray[np.uint8]) -> Iterator[CorruptionError]:
        """Hash some values anew, and yield those that are damaged."""
        return problems_among(self._packs, digests)

    def mend(self, rescue: Rescue) -> Mended:
        """Mend all that is damaged, with values from elsewhere; see `store_mending.mend_all`."""
        with self._mending:
            return mend_all(self._packs, rescue, self._writer)

    def take_missing(self, rescue: Rescue, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Take values that are in no pack that can be read; tell for each whether it came."""
        came = take_missing(digests, rescue, self._writer)
        self._has_arrivals |= bool(came.any())
        return came

    def forget_packs(self, pack_ids: Sequence[bytes]) -> None:
        """Take packs out of the index of which nothing that is lost is missed; see `mend`."""
        forget_packs(self._packs, pack_ids, self._writer)

    def _mend_values(self, digests: NDArray[np.uint8]) -> bool:
        """Mend what keeps some values from being read; False when nothing was mended."""
        with self._mending:
            try:
                is_mended = mend_some(self._packs, digests, self.rescue, self._writer)
            except (
                CorruptionError,
                NotFoundError,
                RemoteError,
                StateError,
                StorageError,
                UnsupportedFormatError,
            ) as error:
                if self.rescue is not None:
                    _log.warning("damaged values could not be mended: %s", error)
                return False
            self._has_arrivals |= is_mended
            return is_mended

    def _mend_rows(
        self, where: Sources, numbers: NDArray[Any], rows: NDArray[np.uint32]
    ) -> Locations | None:
        """Mend what keeps values at some places from being read, and return where they are then."""
        digests = where.names_of(numbers, rows)
        if not digests.any(axis=1).all() or not self._mend_values(digests):
            return None
        with self._packs.lock:
            return located(self._packs, digests, where)

    # The life of the store

    def close(self) -> None:
        """Discard what is not sealed and forget the maps; tables in use keep theirs."""
        self.discard()
        with self._packs.lock:
            self._packs.begin_anew()
            self._packs.forget()

    def _leave_parent(self) -> None:
        """Forget what belongs to the parent, in a forked child."""
        self._packs.leave_parent()
        self._mending = threading.RLock()
        self._in_flight = in_flight(self.folder)
        self._pending.leave_parent()


_STORES: weakref.WeakSet[Hdf5Tensors] = weakref.WeakSet()


def _leave_parents() -> None:
    for store in list(_STORES):
        store._leave_parent()


os.register_at_fork(after_in_child=_leave_parents)
