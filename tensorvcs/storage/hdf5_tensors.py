"""TensorStore on disk: packs found through the index, and loose values in LMDB."""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import (
    CorruptionError,
    DigestMismatchError,
    ObjectDamagedError,
    ObjectNotFoundError,
    SchemaMismatchError,
    StorageError,
)
from tensorvcs.objects.digest import array_to_digests, digests_to_array, hash_rows
from tensorvcs.objects.tensor import (
    array_bytes,
    value_data,
    value_header,
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
from tensorvcs.storage.interfaces import StoredValues, TensorStats
from tensorvcs.storage.locations import Locations, PackTable, TableCache
from tensorvcs.storage.mapped_pack import (
    MappedFrames,
    MappedPack,
    MappedRows,
)
from tensorvcs.storage.pack_index import (
    IndexVersion,
    Layout,
    PackIndex,
    decode_loose,
)
from tensorvcs.storage.pack_rewrite import merge_packs, salvage_pack, wrong_digests
from tensorvcs.storage.sorted_digests import sort_digests
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import CodecChoice, Schema
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment
    from tensorvcs.storage.locations import Source
    from tensorvcs.storage.sorted_digests import SortedDigests

LOOSE_SEAL_NBYTES = SLAB_NBYTES
"""A seal of less payload than this becomes loose values, not a pack."""

LOOSE_SEAL_ROWS = 2048
REPACK_LOOSE_COUNT = 2048
REPACK_LOOSE_NBYTES = 8 << 20
MERGE_PACK_COUNT = 8
"""Packs of one size class are merged when they are so many; a class is a factor of 8."""

MERGE_PAYLOAD_NBYTES = 128 << 20
"""What one automatic merge reads and writes at most."""

BUFFER_NBYTES = 32 << 20
"""Payload kept in memory before a pack is begun."""

_SINGLE_LOOKUPS = 16
_LOOSE_LOOKUPS = 256
_DEAD_SHARE = 0.2


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
    """

    def __init__(
        self,
        folder: Path,
        environment: LmdbEnvironment,
        supply: Callable[[TensorStore, NDArray[np.uint8]], None] | None = None,
    ) -> None:
        self.supply = supply
        self.folder = folder
        self._packs_folder = folder / "packs"
        self._environment = environment
        self._index = PackIndex(environment)
        self._lock = threading.RLock()
        self._catalog = _Catalog(IndexVersion(-1, -1), (), ())
        self._cache = TableCache()
        self._forget_locations()
        self._pending: dict[tuple[Layout, CodecChoice], Unsealed] = {}
        self._rolled: list[tuple[SealedPack, MappedPack]] = []
        self._unsealed_nbytes = 0
        self._unmergeable: set[bytes] = set()
        _STORES.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hdf5Tensors, (self.folder, self._environment, self.supply)

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
            key = (str(self._packs_folder), pack_id)
            pack = known.get(pack_id) or _MAPPED.get(key)
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
                found, places = pack.locate(wanted.digests[left], wanted.prefixes[left])
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
        is fetched first where there is a promisor.
        """
        if self.supply is not None:
            self._supply(digests)
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
        ObjectNotFoundError
            A value is not here.
        CorruptionError
            A directory is damaged, or a value cannot be one of `schema`.
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
                except ObjectNotFoundError:
                    if self._is_current(catalog):
                        raise
                else:
                    fetch = partial(self._fetch, where) if is_lazy else None
                    return PackTable(schema, found, where.items, fetch)

    def _fetch(self, where: Sources, rows: NDArray[np.uint32]) -> Locations:
        """Have values supplied that a table found absent, and return where they are now."""
        digests = digests_to_array(where.absent.digests_of(rows))
        self._supply(digests)
        with self._lock:
            return self._located(digests, where)

    def _supply(self, digests: NDArray[np.uint8]) -> None:
        """Have those values supplied that are not here; nothing without a promisor."""
        absent = digests[~self.contains(digests)]
        if self.supply is None or not len(absent):
            return
        # A writer of its own, since any number of threads may read.
        writer = Hdf5Tensors(self.folder, self._environment)
        try:
            self.supply(writer, absent)
            writer.seal()
        finally:
            writer.discard()
        self._has_arrivals = True
        self.repack_loose()

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
            if problems or not is_lazy:
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
        Reads each dataset of each pack in the order of its rows; memory is a few MiB.
        """
        wanted = sort_digests(digests)
        names = wanted.digests[~wanted.is_repeat()]
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
        them to the index. When that transaction is undone, they are removed.

        Raises
        ------
        StorageError
            The disk refused; what was written since the last `seal` is lost.
        """
        if not self._pending and not self._rolled:
            return
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
                except ObjectDamagedError:
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

    def prune(self, keep: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]) -> int:
        """Drop values that are not wanted any more.

        Parameters
        ----------
        keep : callable
            Tell for digests, shape (n, 32), uint8, which are wanted; shape (n,), bool.

        Returns
        -------
        int
            The number of values dropped. Of a pack with under a fifth of unwanted bytes none
            are: it is left as it is.

        Raises
        ------
        CorruptionError
            A pack to be rewritten is damaged; nothing of it was changed.
        """
        dropped = 0
        loose = self._index.loose_digests()
        if loose:
            is_kept = keep(digests_to_array(loose))
            unwanted = [d for d, kept in zip(loose, is_kept.tolist(), strict=True) if not kept]
            if unwanted and self._commit((), remove_loose=unwanted):
                dropped += len(unwanted)
        for pack in self._refresh().packs:
            kept = sum(int(keep(pack.row_digests(i)).sum()) for i in range(len(pack.datasets)))
            if len(pack) - kept <= _DEAD_SHARE * len(pack):
                continue
            merged = merge_packs(self._packs_folder, [pack], keep)
            if self._commit_or_remove([merged] if merged else [], remove_packs=[pack]):
                dropped += len(pack) - kept
        return dropped

    def salvage(self) -> list[bytes]:
        """Take out of the store what is damaged, so that it can be fetched or written again.

        Packs with damage are written anew without the values that cannot be read, and set aside
        under the name ``damaged-<pack id>``; so is a pack that cannot be opened at all. Loose
        values that are damaged are removed.

        Returns
        -------
        list of bytes
            The digests that were lost, as far as they are known: what was in a pack whose file
            or directory is damaged is not.

        Notes
        -----
        Reads every pack once.
        """
        lost: list[bytes] = []
        _, pack_ids = self._index.pack_ids()
        for pack_id in pack_ids:
            path = self._packs_folder / f"{pack_id.hex()}.h5"
            sealed: SealedPack | None = None
            try:
                record = self._index.pack_record(pack_id)
                if record is None:
                    continue
                pack = MappedPack(path, record)
            except CorruptionError:
                pass
            else:
                if next(chain(pack.problems(), wrong_digests(pack)), None) is None:
                    continue
                sealed, names = salvage_pack(self._packs_folder, pack)
                lost += array_to_digests(names)
            _MAPPED.pop((str(self._packs_folder), pack_id), None)
            if self._commit_or_remove([sealed] if sealed else [], remove_packs=[pack_id]):
                with suppress(OSError):
                    path.rename(path.with_name(f"damaged-{path.name}"))
        damaged = []
        for digest in self._index.loose_digests():
            content = self._index.loose([digest])[0]
            try:
                if content is not None:
                    decode_loose(digest, content)
            except CorruptionError:
                damaged.append(digest)
        if damaged:
            self._commit((), remove_loose=damaged)
        lost += damaged
        is_here = self.contains(digests_to_array(lost)).tolist()
        return [digest for digest, is_left in zip(lost, is_here, strict=True) if not is_left]

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
            content = self._index.loose([digest])[0]
            if content is None:
                continue
            try:
                value = decode_loose(digest, content)
                header = value_header(value.kind, value.dtype, value.shape, len(value.data))
                row = np.frombuffer(value.data, np.uint8).reshape(1, -1)
                if hash_rows(header, row).tobytes() != digest:
                    yield DigestMismatchError(f"loose value {digest.hex()} is another value")
            except CorruptionError as error:
                yield error

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
