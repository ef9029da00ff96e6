"""TensorStore on disk: packs found through the index, and loose values in LMDB."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import (
    CorruptionError,
    NotFoundError,
    ObjectNotFoundError,
    PackDamagedError,
    RemoteError,
    SchemaMismatchError,
    SlabChecksumError,
    StateError,
    StorageError,
    UnsupportedFormatError,
)
from tensorvcs.objects.digest import array_to_digests, digests_to_array
from tensorvcs.objects.sorted_digests import sort_digests
from tensorvcs.objects.tensor import (
    array_bytes,
    value_data,
)
from tensorvcs.storage import codecs
from tensorvcs.storage.durable import step
from tensorvcs.storage.exchange import checked_data, give_frames, give_loose, give_rows
from tensorvcs.storage.hdf5_pack import (
    MAX_ROW_NBYTES,
    SLAB_NBYTES,
    TEMPORARY_PREFIX,
    SealedPack,
)
from tensorvcs.storage.in_flight import in_flight
from tensorvcs.storage.interfaces import StoredValues, TensorStats
from tensorvcs.storage.locations import Locations, PackTable, TableCache
from tensorvcs.storage.mapped_pack import (
    MappedFrames,
    MappedPack,
    MappedRows,
)
from tensorvcs.storage.mending import Mended, Rescue, is_damaged, renew_pack
from tensorvcs.storage.pack_index import (
    IndexVersion,
    Layout,
    PackIndex,
    decode_loose,
)
from tensorvcs.storage.pack_order import PackOrder
from tensorvcs.storage.pack_rewrite import (
    PackRewriting,
    merge_packs,
    row_digests,
    wrong_digests,
    wrong_rows,
)
from tensorvcs.storage.sources import ABSENT, LOOSE, Sources
from tensorvcs.storage.unsealed import (
    MAX_PACK_ROWS,
    Unsealed,
    bytes_view,
    data_nbytes,
    loose_layout,
    schema_layout,
    write_together,
)
from tensorvcs.storage.value_blocks import ValueBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import CodecChoice, Schema
    from tensorvcs.objects.sorted_digests import SortedDigests
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment
    from tensorvcs.storage.locations import Source

LOOSE_SEAL_NBYTES = SLAB_NBYTES
"""A seal of less payload than this becomes loose values, not a pack."""

LOOSE_SEAL_ROWS = 2048
REPACK_LOOSE_COUNT = 2048
REPACK_LOOSE_NBYTES = 8 << 20
MERGE_PACK_COUNT = 8
"""Packs of one size class are merged when they are so many; a class is a factor of 8."""

MERGE_PAYLOAD_NBYTES = 128 << 20
"""What one automatic merge reads and writes at most."""

SMALL_PACK_NBYTES = 16 << 20
"""What `stats` calls a small pack."""

BUFFER_NBYTES = 32 << 20
"""Payload kept in memory before a pack is begun."""

_log = logging.getLogger(__name__)

_SINGLE_LOOKUPS = 16
_LOOSE_LOOKUPS = 256


@dataclass(frozen=True, slots=True)
class _Catalog:
    """The packs of one version of the index; those that cannot be read are errors."""

    version: IndexVersion
    packs: tuple[MappedPack, ...]
    damaged: tuple[CorruptionError, ...]


class _PacksMoved(Exception):  # noqa: N818
    """The packs that were asked for are not the ones that are there now."""


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
        self.supply = supply
        self.rescue = rescue
        self._distrusted = distrusted
        self._is_apart = is_apart
        self.folder = folder
        self._packs_folder = folder / "packs"
        self._environment = environment
        self._index = PackIndex(environment)
        self._lock = threading.RLock()
        self._mending = threading.RLock()
        self._catalog = _Catalog(IndexVersion(-1, -1), (), ())
        self._cache = TableCache()
        self._forget_locations()
        self._pending: dict[tuple[Layout, CodecChoice], Unsealed] = {}
        self._rolled: list[tuple[SealedPack, MappedPack]] = []
        self._unsealed_nbytes = 0
        self._unmergeable: set[bytes] = set()
        self._has_swept = False
        self._in_flight = in_flight(folder)
        _STORES.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hdf5Tensors, (self.folder, self._environment, self.supply, self.rescue)

    def __repr__(self) -> str:
        return f"Hdf5Tensors({str(self.folder)!r})"

    # What is where

    def _forget_locations(self) -> None:
        """Begin a new generation: tables made so far go on with the sources they have."""
        self._cache.clear()
        self._sources = Sources(self._read_loose, self._find)
        self._has_arrivals = False

    def _read_loose(self, digest: bytes) -> bytes | None:
        return self._index.loose([digest])[0]

    def _refresh(self) -> _Catalog:
        """Return the packs as the index has them now; one LMDB get when nothing changed."""
        catalog = self._catalog
        version = self._index.version()
        if version == catalog.version:
            return catalog
        with self._lock:
            return self._reload()

    def _reload(self) -> _Catalog:
        while True:
            version, pack_ids = self._index.pack_ids()
            try:
                packs, damaged = self._map_packs(version, pack_ids)
                break
            except _PacksMoved:
                continue
        if version.move_count != self._catalog.version.move_count:
            self._forget_locations()
        # The largest first: a digest is most likely there.
        packs.sort(key=len, reverse=True)
        self._catalog = _Catalog(version, tuple(packs), tuple(damaged))
        return self._catalog

    def _map_packs(
        self, version: IndexVersion, pack_ids: Sequence[bytes]
    ) -> tuple[list[MappedPack], list[CorruptionError]]:
        """Return the packs of a version, and what is wrong with the others.

        Raises
        ------
        _PacksMoved
            Another process merged them since the version was read.
        """
        known = {pack.record.pack_id: pack for pack in self._catalog.packs}
        packs: list[MappedPack] = []
        damaged: list[CorruptionError] = []
        for pack_id in pack_ids:
            if pack_id in self._distrusted:
                continue
            key = (str(self._packs_folder), pack_id)
            pack = known.get(pack_id)
            if pack is None and not self._is_apart:
                pack = _MAPPED.get(key)
            if pack is None:
                try:
                    record = self._index.pack_record(pack_id)
                    if record is None:
                        raise _PacksMoved
                    pack = MappedPack(self._packs_folder / record.file_name, record)
                except CorruptionError as error:
                    if self._index.version().move_count != version.move_count:
                        raise _PacksMoved from error
                    damaged.append(error)
                    continue
                if not self._is_apart:
                    _MAPPED[key] = pack
            packs.append(pack)
        return packs, damaged

    def _locate(
        self, wanted: SortedDigests, catalog: _Catalog, where: Sources
    ) -> tuple[NDArray[np.int64], NDArray[np.uint32], list[CorruptionError]]:
        """Return source (-1 where absent) and row of each digest, and what hindered the search."""
        sources = np.full(len(wanted), -1, np.int64)
        rows = np.zeros(len(wanted), np.uint32)
        problems = list(catalog.damaged)
        left: slice | NDArray[np.intp] = slice(None)
        count = len(wanted)
        for pack in catalog.packs:
            if not count:
                break
            try:
                found, places = pack.locate(wanted.digests[left], wanted.prefixes[left], problems)
            except CorruptionError as error:
                problems.append(error)
                continue
            if len(found):
                numbers = where.numbers_of(pack)
                here = found if isinstance(left, slice) else left[found]
                sources[here] = numbers[places[:, 0]]
                rows[here] = places[:, 1]
                left = np.nonzero(sources < 0)[0]
                count = len(left)
        if count:
            digests = wanted.digests[left]
            loose = self._find_loose(digests)
            if len(loose):
                here = loose if isinstance(left, slice) else left[loose]
                sources[here] = LOOSE
                rows[here] = where.loose.rows_of(array_to_digests(digests[loose]))
        return sources, rows, problems

    def _find_loose(self, digests: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return which digests are loose values."""
        count, _ = self._index.loose_size()
        if not count:
            return np.zeros(0, np.intp)
        wanted = array_to_digests(digests)
        if len(wanted) <= _LOOSE_LOOKUPS:
            there = [record is not None for record in self._index.loose(wanted)]
        else:
            known = set(self._index.loose_digests())
            there = [digest in known for digest in wanted]
        if self._distrusted:
            there = [
                is_here and digest not in self._distrusted
                for digest, is_here in zip(wanted, there, strict=True)
            ]
        return np.nonzero(np.array(there, np.bool_))[0]

    def _find(self, digest: bytes) -> tuple[Source, int]:
        """Return source and row of one digest.

        Raises
        ------
        ObjectNotFoundError
            It is in no pack and not loose.
        CorruptionError
            It is not where it could be found, and some pack cannot be searched.
        """
        while True:
            catalog = self._refresh()
            problems = list(catalog.damaged)
            for pack in catalog.packs:
                try:
                    place = pack.find(digest)
                except CorruptionError as error:
                    problems.append(error)
                    continue
                if place is not None:
                    return pack.datasets[place[0]], place[1]
            if self._index.loose([digest])[0] is not None:
                loose = self._sources.loose
                return loose, loose.rows_of([digest])[0]
            if self._is_current(catalog):
                raise _absent(digest, 1, problems)

    def _is_current(self, catalog: _Catalog) -> bool:
        """Tell whether the index is as it was; if not, a value may have moved meanwhile."""
        return self._index.version() == catalog.version

    # Reading

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each digest whether its value is here.

        A value in a pack that cannot be read is not, so that it can be written again.
        """
        wanted = sort_digests(digests)
        is_here = np.empty(len(digests), np.bool_)
        is_here[wanted.order] = self._contains(wanted)
        return is_here

    def _contains(self, wanted: SortedDigests) -> NDArray[np.bool_]:
        while True:
            with self._lock:
                catalog = self._refresh()
                is_here: NDArray[np.bool_] = self._locate(wanted, catalog, self._sources)[0] >= 0
            if is_here.all() or self._is_current(catalog):
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
            for digest in array_to_digests(digests):
                source, row = self._find(digest)
                source.check_schema(schema)
                values.append(source.value(schema, row))
            return values
        with self._lock:
            where = self._sources
            found = self._located(digests, where)
        sources = where.items
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
        with self._lock:
            if self._has_arrivals:
                self._forget_locations()
            while True:
                catalog, where = self._refresh(), self._sources
                find = partial(self._located_in, catalog=catalog, where=where, is_lazy=is_lazy)
                try:
                    found = self._cache.locate(leaves, counts, load, find)
                except (ObjectNotFoundError, SlabChecksumError, PackDamagedError):
                    # What is not found is looked for again when it is read.
                    is_lazy = self._has_arrivals = self._is_current(catalog)
                else:
                    fetch = partial(self._fetch, where) if self.supply is not None else None
                    mend = partial(self._mend_rows, where)
                    return PackTable(schema, found, where.items, fetch, mend)

    def _fetch(self, where: Sources, rows: NDArray[np.uint32]) -> tuple[Locations, int]:
        """Have values supplied that a table found absent; return where they are, how many came."""
        digests = digests_to_array(where.absent.digests_of(rows))
        count = self.fetch(digests)
        with self._lock:
            return self._located(digests, where), count

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
        # A writer of its own, since any number of threads may read.
        writer = Hdf5Tensors(self.folder, self._environment)
        try:
            self.supply(writer, absent)
            writer.seal()
        finally:
            writer.discard()
        self._has_arrivals = True
        count = int(self.contains(absent).sum())
        self.repack_loose()
        return count

    def _located(self, digests: NDArray[np.uint8], where: Sources) -> Locations:
        while True:
            catalog = self._refresh()
            try:
                return self._located_in(digests, catalog, where)
            except ObjectNotFoundError:
                if self._is_current(catalog):
                    raise

    def _located_in(
        self,
        digests: NDArray[np.uint8],
        catalog: _Catalog,
        where: Sources,
        *,
        is_lazy: bool = False,
    ) -> Locations:
        """Return where values are; with `is_lazy` an absent one is in the source of those."""
        wanted = sort_digests(digests)
        sources, rows, problems = self._locate(wanted, catalog, where)
        absent = np.nonzero(sources < 0)[0]
        if len(absent):
            if not is_lazy:
                raise _absent(wanted.digests[absent[0]].tobytes(), len(absent), problems)
            sources[absent] = ABSENT
            rows[absent] = where.absent.rows_of(array_to_digests(wanted.digests[absent]))
        places = np.empty(len(digests), np.uint32)
        places[wanted.order] = rows
        numbers = np.empty(len(digests), np.uint32)
        numbers[wanted.order] = sources
        if len(where.items) <= np.iinfo(np.uint16).max:
            return Locations(numbers.astype(np.uint16), places)
        return Locations(numbers, places)

    def sizes(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the bytes of each value as `stored` gives it; see `TensorStore.sizes`."""
        self.fetch(digests)
        with self._lock:
            where = self._sources
            found = self._located(digests, where)
        sources = where.items
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
        with self._lock:
            where = self._sources
            found = self._located(names, where)
        sources = where.items
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
        records = self._index.loose(array_to_digests(names))
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
        ndim = len(values.shape) if values.shape is not None else values.shapes.shape[1]
        is_row = values.shape is not None and 0 < int(values.sizes[0]) <= MAX_ROW_NBYTES
        layout = Layout(values.kind, values.dtype, values.shape if is_row else None, ndim, None)
        digests = values.digests[chosen]
        is_stored = values.shape is None and values.compressor is not None
        if is_stored:
            layout = replace(layout, compressor=values.compressor)
        choice: CodecChoice = "raw" if values.compressor is None else "blosc"
        pending = self._pending.get((layout, choice))
        if pending is None:
            pending = self._pending[layout, choice] = Unsealed(layout, choice)
        try:
            if is_row:
                assert isinstance(datas, np.ndarray)
                is_all = len(chosen) == len(values)
                self._write_rows(pending, digests, datas, chosen, is_all=is_all)
                return
            if values.shape is None:
                ends = np.cumsum(values.sizes)
                frames = [values.data[ends[i] - values.sizes[i] : ends[i]].data for i in chosen]
                shapes = [tuple(values.shapes[i].tolist()) for i in chosen.tolist()]
            else:
                frames = [datas[i].data for i in chosen.tolist()]
                shapes = [values.shape] * len(chosen)
            nbytes = sum(len(datas[i]) for i in chosen.tolist())
            self._write_datas(pending, digests, frames, shapes, nbytes)
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
        layout = schema_layout(schema)
        codec = schema.codec
        if layout.shape is None and any(
            data_nbytes(value) > codecs.MAX_FRAME_NBYTES for value in values
        ):
            codec = "raw"
        key = (layout, codec)
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = Unsealed(*key)
        is_all = len(chosen) == len(digests)
        if not is_all:
            digests = digests[chosen]
        try:
            if layout.shape is not None:
                self._write_rows(pending, digests, _stacked(schema, values), chosen, is_all=is_all)
            else:
                self._write_frames(
                    pending, digests, values if is_all else [values[i] for i in chosen.tolist()]
                )
        except BaseException:
            self.discard()
            raise

    def _fresh(self, digests: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return which digests are new, each once, in their order."""
        wanted = sort_digests(digests)
        is_known = self._contains(wanted) | wanted.is_repeat()
        for _, mapped in self._rolled:
            found, _ = mapped.locate(wanted.digests, wanted.prefixes)
            is_known[found] = True
        for pending in self._pending.values():
            is_known |= pending.known.contains(wanted)
        return np.sort(wanted.order[~is_known])

    def _write_rows(
        self,
        pending: Unsealed,
        digests: NDArray[np.uint8],
        rows: NDArray[np.uint8],
        chosen: NDArray[np.intp],
        *,
        is_all: bool,
    ) -> None:
        row_nbytes = rows.shape[1]
        self._unsealed_nbytes += len(chosen) * row_nbytes
        buffered = sum(p.buffered_nbytes for p in self._pending.values())
        if pending.pack is None and buffered + len(chosen) * row_nbytes <= BUFFER_NBYTES:
            pending.buffer_rows(digests, rows.copy() if is_all else rows[chosen])
            return
        # Rows not chosen are left out a block at a time, so that memory stays bounded.
        step = len(chosen) if is_all else max(1, SLAB_NBYTES * 8 // row_nbytes)
        done = 0
        while done < len(chosen):
            if pending.pack is None:
                pending.start(self._packs_folder, rows=rows)
            count = min(step, len(chosen) - done, pending.room(row_nbytes))
            if count == 0:
                self._roll(pending)
                continue
            part = slice(done, done + count)
            pending.stream_rows(digests[part], rows[part] if is_all else rows[chosen[part]])
            done += count

    def _write_frames(
        self,
        pending: Unsealed,
        digests: NDArray[np.uint8],
        values: NDArray[Any] | Sequence[Any],
    ) -> None:
        """Write values in batches of a few MiB, each with what it takes in memory."""
        low = nbytes = 0
        for high, value in enumerate(values, 1):
            nbytes += data_nbytes(value)
            if nbytes < 8 * SLAB_NBYTES and high < len(values):
                continue
            part = digests[low:high]
            datas = [value_data(v) for v in values[low:high]]
            shapes = [v.shape if isinstance(v, np.ndarray) else () for v in values[low:high]]
            self._write_datas(pending, part, datas, shapes, nbytes)
            low, nbytes = high, 0

    def _write_datas(
        self,
        pending: Unsealed,
        digests: NDArray[np.uint8],
        datas: Sequence[bytes | memoryview],
        shapes: Sequence[tuple[int, ...]],
        nbytes: int,
    ) -> None:
        """Write the data of a few values, which take `nbytes` bytes before compression."""
        self._unsealed_nbytes += nbytes
        buffered = sum(p.buffered_nbytes for p in self._pending.values())
        if pending.pack is None and buffered + nbytes <= BUFFER_NBYTES:
            pending.buffer_frames(digests, [bytes(data) for data in datas], shapes, nbytes)
            return
        if pending.pack is not None and pending.room(nbytes // len(digests)) < len(digests):
            self._roll(pending)
        if pending.pack is None:
            pending.start(self._packs_folder, samples=[bytes_view(d) for d in datas])
        pending.stream_frames(digests, datas, shapes, nbytes)

    def _roll(self, pending: Unsealed) -> None:
        """End a pack that is full; its record waits for `seal`."""
        sealed = pending.finish()
        self._rolled.append((sealed, MappedPack(sealed.path, sealed.record)))

    @property
    def unsealed_nbytes(self) -> int:
        """Payload bytes written since the last `seal`, values that were here already left out."""
        return self._unsealed_nbytes

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
        if not self._pending and not self._rolled:
            return
        if not self._has_swept:
            self._has_swept = True
            with suppress(StorageError):  # what cannot be removed takes space, and nothing else
                self.remove_orphans()
        try:
            sealed = [pack for pack, _ in self._rolled]
            self._rolled = []
            try:
                sealed += [p.finish() for p in self._pending.values() if p.pack is not None]
                left = [p for p in self._pending.values() if p.row_count]
                loose: list[tuple[bytes, bytes]] = []
                is_little = (
                    sum(p.buffered_nbytes for p in left) < LOOSE_SEAL_NBYTES
                    and sum(p.row_count for p in left) <= LOOSE_SEAL_ROWS
                )
                if is_little:
                    loose = sorted(entry for p in left for entry in p.loose_records())
                elif left:
                    sealed.append(write_together(self._packs_folder, left))
                self._commit(sealed, add_loose=loose)
            except BaseException:
                for pack in sealed:
                    pack.remove()
                raise
        finally:
            self.discard()

    def _commit(
        self,
        sealed: Sequence[SealedPack],
        *,
        add_loose: Sequence[tuple[bytes, bytes]] = (),
        remove_packs: Sequence[MappedPack | bytes] = (),
        remove_loose: Sequence[bytes] = (),
    ) -> bool:
        """Change the index; when the transaction has ended, keep or remove the files."""

        def finish(is_durable: bool) -> None:
            for pack in sealed:
                if is_durable:
                    pack.release()
                else:
                    pack.remove()
            if is_durable:
                for old in remove_packs:
                    if isinstance(old, MappedPack):
                        with suppress(OSError):
                            old.path.unlink()
                        step("pack removed")
            else:
                with self._lock:
                    self._catalog = _Catalog(IndexVersion(-1, -1), (), ())

        is_joined = self._environment.is_writing
        is_changed = self._index.change(
            add_packs=[pack.record for pack in sealed],
            add_loose=add_loose,
            remove_packs=[
                old.record.pack_id if isinstance(old, MappedPack) else old for old in remove_packs
            ],
            remove_loose=remove_loose,
        )
        if is_changed and is_joined:
            self._environment.after_write(finish)
        else:
            finish(is_changed)
        return is_changed

    def discard(self) -> None:
        """Forget what was written since the last `seal`."""
        for pending in self._pending.values():
            pending.abort()
        for sealed, _ in self._rolled:
            sealed.remove()
        self._pending = {}
        self._rolled = []
        self._unsealed_nbytes = 0

    # Upkeep

    def repack_loose(self, *, force: bool = False) -> bool:
        """Gather loose values into a pack when they are many, and merge packs that are small.

        Parameters
        ----------
        force : bool
            Gather the loose values however few they are.

        Returns
        -------
        bool
            Whether anything was moved.

        Notes
        -----
        Without need it costs two LMDB reads. It reads and writes at most 8 MiB of loose values
        and merges at most 128 MiB of packs, 8 of like size at a time, so that every value is
        written about once for each factor of 8 by which its pack grows. Readers go on with the
        files they have mapped.
        """
        count, nbytes = self._index.loose_size()
        has_moved = False
        if count and (force or count >= REPACK_LOOSE_COUNT or nbytes >= REPACK_LOOSE_NBYTES):
            has_moved = self._gather_loose()
        chosen = self._mergeable()
        while chosen:
            if not self._rewrite(chosen):
                break
            has_moved = True
            chosen = self._mergeable()
        return has_moved

    def _gather_loose(self) -> bool:
        self._refresh()
        digests = self._index.loose_digests()
        if not digests:
            return False
        in_packs = np.zeros(len(digests), np.bool_)
        wanted = sort_digests(digests_to_array(digests))
        for pack in self._catalog.packs:
            with suppress(CorruptionError):
                found, _ = pack.locate(wanted.digests, wanted.prefixes)
                in_packs[wanted.order[found]] = True
        groups: dict[Layout, Unsealed] = {}
        moved: list[bytes] = []
        for digest, record, is_packed in zip(
            digests, self._index.loose(digests), in_packs.tolist(), strict=True
        ):
            if record is None:
                continue
            if not is_packed:
                try:
                    value = decode_loose(digest, record)
                except CorruptionError:
                    continue  # left where `verify` finds it
                layout = loose_layout(value)
                pending = groups.get(layout)
                if pending is None:
                    pending = groups[layout] = Unsealed(layout, "auto")
                name = np.frombuffer(digest, np.uint8).reshape(1, 32)
                if value.is_row:
                    pending.buffer_rows(name, np.frombuffer(value.data, np.uint8).reshape(1, -1))
                else:
                    pending.buffer_frames(name, [value.data], [value.shape], len(value.data))
            moved.append(digest)
        sealed = [write_together(self._packs_folder, list(groups.values()))] if groups else []
        step("pack replaced")
        return self._commit_or_remove(sealed, remove_loose=moved)

    def _commit_or_remove(
        self,
        sealed: Sequence[SealedPack],
        *,
        remove_packs: Sequence[MappedPack | bytes] = (),
        remove_loose: Sequence[bytes] = (),
    ) -> bool:
        try:
            return self._commit(sealed, remove_packs=remove_packs, remove_loose=remove_loose)
        except BaseException:
            for pack in sealed:
                pack.remove()
            raise

    def _mergeable(self) -> list[MappedPack]:
        """Return packs of one size class that are enough to be merged, the smallest class first."""
        classes: dict[int, list[MappedPack]] = {}
        for pack in self._refresh().packs:
            if pack.record.pack_id not in self._unmergeable:
                size_class = pack.record.payload_nbytes.bit_length() // 3
                classes.setdefault(size_class, []).append(pack)
        for size_class in sorted(classes):
            chosen: list[MappedPack] = []
            nbytes = row_count = 0
            for pack in sorted(classes[size_class], key=lambda p: p.record.payload_nbytes):
                nbytes += pack.record.payload_nbytes
                row_count += len(pack)
                if nbytes > MERGE_PAYLOAD_NBYTES or row_count > MAX_PACK_ROWS:
                    break
                chosen.append(pack)
            if len(chosen) >= MERGE_PACK_COUNT:
                return chosen
        return []

    def _rewrite(
        self,
        packs: Sequence[MappedPack],
        keep: Callable[[NDArray[np.uint8]], NDArray[np.bool_]] | None = None,
    ) -> bool:
        """Write the values of some packs to new ones and replace them; False when it cannot be."""
        sealed: list[SealedPack] = []
        try:
            merged = merge_packs(self._packs_folder, packs, keep)
            if merged is not None:
                sealed.append(merged)
        except (CorruptionError, StorageError) as error:
            if isinstance(error, StorageError):
                raise
            # Damage is for `verify` to report; what is damaged stays as it is.
            self._unmergeable.update(pack.record.pack_id for pack in packs)
            return False
        step("pack replaced")
        return self._commit_or_remove(sealed, remove_packs=packs)

    def repack_in_order(
        self,
        order: Callable[[], Iterable[NDArray[np.uint8]]],
        *,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> tuple[int, int]:
        """Gather everything into few packs, in an order in which it will be read.

        Parameters
        ----------
        order : callable
            Return blocks of digests, shape (n, 32), uint8, in order; called twice. A digest may
            come several times, and one that is not here is passed over.
        progress : callable, optional
            Called with the number of packs written, and None.

        Returns
        -------
        moved_count, moved_nbytes : int
            Values that were written anew for the order, and their bytes before compression.

        Raises
        ------
        StorageError
            The disk is full or refused; everything is as it was.

        Notes
        -----
        What is in order already is left as it is. The packs that are written anew are on the disk
        twice until all of them are durable. Memory is a few tens of MiB a layout and a byte a
        value. Readers go on with the files they have mapped.
        """
        self.repack_loose(force=True)
        catalog = self._refresh()
        packs = [p for p in catalog.packs if p.record.pack_id not in self._unmergeable]
        if not packs:
            return 0, 0
        numbers = Sources(self._read_loose, self._find)
        first = {pack.record.pack_id: numbers.numbers_of(pack) for pack in packs}
        assert all(len(found) for found in first.values())
        offset = len(numbers.items) - sum(len(pack.datasets) for pack in packs)
        among = replace(catalog, packs=tuple(packs), damaged=())

        def find(digests: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
            wanted = sort_digests(digests)
            found, rows, _ = self._locate(wanted, among, numbers)
            sources, places = np.empty_like(found), np.empty_like(rows)
            sources[wanted.order], places[wanted.order] = found - offset, rows
            sources[sources < 0] = -1  # loose values are not for this
            return sources, places

        ordered = PackOrder(packs, find)
        try:
            ordered.look(order())
            groups = ordered.disordered()
            if not groups:
                return 0, 0
            done = ordered.write(self._packs_folder, order(), groups, progress)
        except CorruptionError:
            # Damage is for `verify` to report; everything stays as it is.
            return 0, 0
        step("pack replaced")
        if not self._commit_or_remove(done.sealed, remove_packs=done.replaced):
            return 0, 0  # somebody else merged some of them meanwhile
        return done.moved_count, done.moved_nbytes

    def value_blocks(self) -> Iterator[ValueBlock]:
        """Yield names and sizes of all values: those of each pack, then the loose ones.

        Packs that are damaged, and those that go meanwhile, are left out.

        Notes
        -----
        Reads the directory of each pack, and of frames where each begins; memory is that of one.
        """
        for pack_id in self._index.pack_ids()[1]:
            with suppress(CorruptionError):
                pack = self._open_pack(pack_id)
                if pack is None:
                    continue
                parts = [pack.row_digests(dataset.ordinal) for dataset in pack.datasets]
                sizes = [d.sizes(np.arange(d.row_count)) for d in pack.datasets]
                yield ValueBlock(
                    pack_id,
                    np.concatenate(parts),
                    np.concatenate(sizes),
                    pack.record.file_nbytes,
                )
        digests = self._index.loose_digests()
        yield ValueBlock(None, digests_to_array(digests), self._index.loose_sizes(digests), 0)

    def _open_pack(self, pack_id: bytes) -> MappedPack | None:
        """Return a pack, None when it is gone; raises CorruptionError."""
        for pack in self._refresh().packs:
            if pack.record.pack_id == pack_id:
                return pack
        record = self._index.pack_record(pack_id)
        return None if record is None else MappedPack(self._packs_folder / record.file_name, record)

    def rewrite(
        self, pack_id: bytes, is_dropped: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
    ) -> PackRewriting | None:
        """Write a pack anew without some values; it takes the place of the old one later.

        Parameters
        ----------
        is_dropped : callable
            Tell for digests, shape (n, 32), uint8, which are left out; shape (n,), bool.

        Returns
        -------
        PackRewriting or None
            None when the pack is gone, or damaged, which `verify` reports.
        """
        try:
            pack = self._open_pack(pack_id)
            if pack is None:
                return None
            merged = merge_packs(self._packs_folder, [pack], lambda names: ~is_dropped(names))
        except CorruptionError:
            return None
        step("pack replaced")
        sealed = [] if merged is None else [merged]
        return PackRewriting(merged, partial(self._commit, sealed, remove_packs=[pack]))

    def delete_loose(self, digests: Sequence[bytes]) -> None:
        """Delete loose values; only for what nothing names any more."""
        if digests:
            self._commit((), remove_loose=digests)

    def mend(self, rescue: Rescue) -> Mended:
        """Mend all packs and loose values that are damaged, with values from elsewhere.

        Returns
        -------
        Mended
            `lost` are the values that did not come. Packs in `unopened` are left in the index, in
            case that their files come back; see `forget_packs`.

        Raises
        ------
        StorageError
            The disk refused; what was not mended by then is as it was.

        Notes
        -----
        Reads every pack once and hashes every value, and reads a damaged one twice more.
        """
        mended = Mended()
        with self._mending:
            _, pack_ids = self._index.pack_ids()
            for pack_id in pack_ids:
                try:
                    record = self._index.pack_record(pack_id)
                    if record is None or not is_damaged(
                        MappedPack(self._packs_folder / record.file_name, record)
                    ):
                        continue
                except CorruptionError:
                    pass  # it is missing, has another size, or its record is damaged
                self._add_up(mended, self._renew(pack_id, rescue))
            self._mend_loose(self._damaged_loose(), rescue, mended)
        return mended

    @staticmethod
    def _add_up(mended: Mended, part: Mended) -> None:
        mended.packs += part.packs
        mended.value_count += part.value_count
        mended.lost += part.lost
        mended.unopened += part.unopened

    def _renew(self, pack_id: bytes, rescue: Rescue | None, *, is_wanted: bool = False) -> Mended:
        """Write a damaged pack anew."""
        try:
            record = self._index.pack_record(pack_id)
        except CorruptionError:
            return Mended(unopened=[pack_id])
        if record is None:
            return Mended()

        def replace(sealed: SealedPack | None) -> bool:
            new = [] if sealed is None else [sealed]
            is_replaced = self._commit_or_remove(new, remove_packs=[pack_id])
            if is_replaced:
                _MAPPED.pop((str(self._packs_folder), pack_id), None)
            return is_replaced

        writer = Hdf5Tensors(
            self.folder, self._environment, distrusted=self._distrusted | {pack_id}
        )
        mended = renew_pack(
            self._packs_folder, record, rescue, writer, replace, is_wanted=is_wanted
        )
        if mended.packs:
            _log.warning(
                "pack %s was damaged and is written anew: %d values came from elsewhere, "
                "%d are lost",
                record.file_name,
                mended.value_count,
                len(mended.lost),
            )
        return mended

    def _damaged_loose(self) -> list[bytes]:
        """Return the digests of loose values that are damaged; reads all of them."""
        return [d for d in self._index.loose_digests() if self._is_loose_damaged(d)]

    def _is_loose_damaged(self, digest: bytes) -> bool:
        return next(self._loose_problems(digest), None) is not None

    def _mend_loose(self, damaged: Sequence[bytes], rescue: Rescue, mended: Mended) -> None:
        """Replace damaged loose values by those that come from elsewhere."""
        if not damaged:
            return
        writer = Hdf5Tensors(
            self.folder, self._environment, distrusted=self._distrusted | set(damaged)
        )
        try:
            came = rescue(writer, digests_to_array(damaged)).tolist()
            healed = [digest for digest, is_here in zip(damaged, came, strict=True) if is_here]
            if healed:
                with self._environment.write():
                    self._index.change(remove_loose=healed)
                    writer.seal()
                _log.warning("%d loose values were damaged and came from elsewhere", len(healed))
        finally:
            writer.discard()
        mended.value_count += len(healed)
        mended.lost += [d for d, is_here in zip(damaged, came, strict=True) if not is_here]

    def take_missing(self, rescue: Rescue, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Take values that are in no pack that can be read; tell for each whether it came."""
        writer = Hdf5Tensors(self.folder, self._environment, distrusted=self._distrusted)
        try:
            came = rescue(writer, digests)
            writer.seal()
        finally:
            writer.discard()
        if came.any():
            self._has_arrivals = True
        return came

    def forget_packs(self, pack_ids: Sequence[bytes]) -> None:
        """Take packs out of the index of which nothing that is lost is missed; see `mend`.

        What is whole of them is kept in new packs.
        """
        for pack_id in pack_ids:
            if self._renew(pack_id, None, is_wanted=True).packs:
                continue
            if self._commit((), remove_packs=[pack_id]):
                path = self._packs_folder / f"{pack_id.hex()}.h5"
                with suppress(OSError):
                    path.rename(path.with_name(f"damaged-{path.name}"))

    def _mend_values(self, digests: NDArray[np.uint8]) -> bool:
        """Mend what keeps some values from being read; False when nothing was mended.

        What another thread or process has mended meanwhile needs no second time.
        """
        with self._mending:
            try:
                return self._mend_some(digests)
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

    def _mend_some(self, digests: NDArray[np.uint8]) -> bool:
        mended, rescue = Mended(), self.rescue
        packs, loose, absent = self._rotten(array_to_digests(digests))
        if not packs and not loose and not absent:
            return True
        if rescue is None or self._environment.is_writing:
            return False
        for pack_id in packs:
            self._add_up(mended, self._renew(pack_id, rescue))
        self._mend_loose(loose, rescue, mended)
        if absent:
            missing = digests_to_array(absent)
            missing = missing[~self.contains(missing)]
            if len(missing):
                mended.value_count += int(self.take_missing(rescue, missing).sum())
                _log.warning(
                    "%d values are in no pack that can be read; %d came from elsewhere",
                    len(missing),
                    mended.value_count,
                )
        return mended.is_anything

    def _rotten(self, digests: Sequence[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Return the packs, the loose values and the absent values that hinder a read."""
        packs: dict[bytes, None] = {}
        loose: list[bytes] = []
        absent: list[bytes] = []
        catalog = self._refresh()
        for digest in dict.fromkeys(digests):
            if not self._is_packed(digest, catalog, packs):
                if self._index.loose([digest])[0] is None:
                    absent.append(digest)
                elif self._is_loose_damaged(digest):
                    loose.append(digest)
        return list(packs), loose, absent

    @staticmethod
    def _is_packed(digest: bytes, catalog: _Catalog, damaged: dict[bytes, None]) -> bool:
        """Tell whether a value is in a pack; note the packs that hinder it from being read."""
        for pack in catalog.packs:
            place = None
            try:
                place = pack.find(digest)
                if place is None:
                    continue
                dataset = pack.datasets[place[0]]
                if row_digests(dataset, np.array([place[1]])).tobytes() != digest:
                    damaged[pack.record.pack_id] = None
            except CorruptionError:
                damaged[pack.record.pack_id] = None
                if place is None:
                    continue
            return True
        return False

    def _mend_rows(
        self, where: Sources, numbers: NDArray[Any], rows: NDArray[np.uint32]
    ) -> Locations | None:
        """Mend what keeps values at some places from being read, and return where they are then."""
        digests = where.names_of(numbers, rows)
        if not digests.any(axis=1).all() or not self._mend_values(digests):
            return None
        with self._lock:
            return self._located(digests, where)

    def verify_values(self, digests: NDArray[np.uint8]) -> Iterator[CorruptionError]:
        """Hash some values anew, and yield those that are damaged; see `verify`.

        Values that are absent are passed over. Memory is a few MiB beside the digests.
        """
        with self._lock:
            where = self._sources
            found = self._located_in(digests, self._refresh(), where, is_lazy=True)
        for number in np.unique(found.sources).tolist():
            source = where.items[number]
            places = np.nonzero(found.sources == number)[0]
            if isinstance(source, (MappedRows, MappedFrames)):
                order = places[np.argsort(found.rows[places], kind="stable")]
                yield from wrong_rows(source, found.rows[order].astype(np.intp), digests[order])
            elif number == LOOSE:
                for digest in array_to_digests(digests[places]):
                    yield from self._loose_problems(digest)

    def _loose_problems(self, digest: bytes) -> Iterator[CorruptionError]:
        content = self._index.loose([digest])[0]
        try:
            if content is not None:
                decode_loose(digest, content)
        except CorruptionError as error:
            yield error

    def verify(self) -> Iterator[CorruptionError]:
        """Yield everything that is wrong: checksums, and values that do not hash to their names.

        Notes
        -----
        Reads every pack once and hashes every value; memory is a few MiB.
        """
        _, pack_ids = self._index.pack_ids()
        for pack_id in pack_ids:
            try:
                record = self._index.pack_record(pack_id)
                if record is None:
                    continue
                pack = MappedPack(self._packs_folder / record.file_name, record)
            except CorruptionError as error:
                yield error
                continue
            yield from pack.problems()
            yield from wrong_digests(pack)
        for digest in self._index.loose_digests():
            yield from self._loose_problems(digest)

    def stats(self) -> TensorStats:
        """Return counts and sizes; reads no payload."""
        packs = self._refresh().packs
        loose_count, loose_nbytes = self._index.loose_size()
        return TensorStats(
            pack_count=len(packs),
            loose_count=loose_count,
            value_count=loose_count + sum(len(pack) for pack in packs),
            payload_nbytes=sum(pack.record.payload_nbytes for pack in packs),
            file_nbytes=sum(pack.record.file_nbytes for pack in packs),
            loose_nbytes=loose_nbytes,
            small_pack_count=sum(p.record.payload_nbytes < SMALL_PACK_NBYTES for p in packs),
        )

    def remove_orphans(self) -> int:
        """Remove files that a writer left behind when it died; return how many.

        A file whose writer lives, in this or another process, is locked and left alone.
        """
        removed = 0
        if not self._packs_folder.is_dir():
            return 0
        try:
            for path in sorted(self._packs_folder.glob("*.h5")):
                name = path.stem.removeprefix(TEMPORARY_PREFIX)
                is_temporary = path.stem.startswith(TEMPORARY_PREFIX)
                with suppress(ValueError, FileNotFoundError):
                    pack_id = bytes.fromhex(name)
                    if is_temporary or not self._index.has_pack(pack_id):
                        removed += self._remove_orphan(path, pack_id, is_temporary=is_temporary)
        except OSError as error:
            raise StorageError(f"cannot remove orphans: {error}") from error
        return removed

    def _remove_orphan(self, path: Path, pack_id: bytes, *, is_temporary: bool) -> bool:
        with path.open("rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            # Its writer may have added the record, then released it, since we looked.
            if not is_temporary and self._index.has_pack(pack_id):
                return False
            path.unlink()
            step("orphan removed")
            return True

    def close(self) -> None:
        """Discard what is not sealed and forget the maps; tables in use keep theirs."""
        self.discard()
        with self._lock:
            self._forget_locations()
            self._catalog = _Catalog(IndexVersion(-1, -1), (), ())

    def _leave_parent(self) -> None:
        """Forget what belongs to the parent, in a forked child."""
        self._lock = threading.RLock()
        self._mending = threading.RLock()
        self._in_flight = in_flight(self.folder)
        for pending in self._pending.values():
            if pending.pack is not None:
                pending.pack.abandon()
        self._pending = {}
        self._rolled = []
        self._unsealed_nbytes = 0


def _absent(
    digest: bytes, count: int, problems: Sequence[CorruptionError]
) -> ObjectNotFoundError | CorruptionError:
    """Return the error for values that were not found: a pack that cannot be searched, if any."""
    for problem in problems:
        return problem
    more = f" and {count - 1} others are" if count > 1 else " is"
    return ObjectNotFoundError(f"tensor {digest.hex()}{more} not in the repository")


# Maps are shared by the stores of a process, and with them what was verified.
_MAPPED: weakref.WeakValueDictionary[tuple[str, bytes], MappedPack] = weakref.WeakValueDictionary()
_STORES: weakref.WeakSet[Hdf5Tensors] = weakref.WeakSet()


def _leave_parents() -> None:
    for store in list(_STORES):
        store._leave_parent()


os.register_at_fork(after_in_child=_leave_parents)


def _stacked(schema: Schema, values: NDArray[Any] | Sequence[Any]) -> NDArray[np.uint8]:
    """View stacked values as rows of bytes."""
    array = np.ascontiguousarray(values, schema.numpy_dtype)
    if array.shape[1:] != schema.fixed_shape:
        raise SchemaMismatchError(
            "wrong shape", found=str(array.shape[1:]), expected=str(schema.fixed_shape)
        )
    return array_bytes(array).reshape(len(array), schema.row_nbytes)
