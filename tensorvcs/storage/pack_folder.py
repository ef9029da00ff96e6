"""The packs of a folder: which there are now, and how others take their place."""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.errors import CorruptionError, ObjectNotFoundError, StorageError
from tensorvcs.storage.durable import step
from tensorvcs.storage.mapped_pack import MappedPack
from tensorvcs.storage.pack_index import IndexVersion, PackIndex
from tensorvcs.storage.sources import Sources
from tensorvcs.storage.table_cache import TableCache

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tensorvcs.storage.hdf5_pack import SealedPack
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment
    from tensorvcs.storage.locations import Source


@dataclass(frozen=True, slots=True)
class Catalog:
    """The packs of one version of the index, the largest first; what cannot be read is an error."""

    version: IndexVersion
    packs: tuple[MappedPack, ...]
    damaged: tuple[CorruptionError, ...]


@dataclass(frozen=True, slots=True)
class Generation:
    """What was found of values while none was taken from where it was."""

    sources: Sources
    tables: TableCache


_NOT_READ = Catalog(IndexVersion(-1, -1), (), ())


class _PacksMoved(Exception):  # noqa: N818
    """The packs that were asked for are not the ones that are there now."""


class PackFolder:
    """The packs of a folder as the index has them, mapped when they are asked for.

    Parameters
    ----------
    path : Path
        The folder of the pack files; it need not be there.
    environment : LmdbEnvironment
        Holds the databases `packs` and `loose`.
    distrusted : set of bytes
        Ids of packs, and digests of loose values, that are taken for absent.
    is_apart : bool
        Whether to look at the files as they are now, and not through maps that others in this
        process have made.

    Attributes
    ----------
    lock : RLock
        Held while the catalog is renewed, and by whoever numbers sources.
    generation : Generation
        Begun anew when values were taken from where they were. Who uses it takes it once: a table
        goes on with the sources it has.
    unmergeable : set of bytes
        Ids of packs that were found damaged when they were to be merged.
    """

    def __init__(
        self,
        path: Path,
        environment: LmdbEnvironment,
        *,
        distrusted: frozenset[bytes] = frozenset(),
        is_apart: bool = False,
    ) -> None:
        self.path = path
        self.environment = environment
        self.index = PackIndex(environment)
        self.distrusted = distrusted
        self.unmergeable: set[bytes] = set()
        self.lock = threading.RLock()
        self._is_apart = is_apart
        self._catalog = _NOT_READ
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin a new generation."""
        self.generation = Generation(Sources(self._read_loose, self.find), TableCache())

    def _read_loose(self, digest: bytes) -> bytes | None:
        return self.index.loose([digest])[0]

    def refresh(self) -> Catalog:
        """Return the packs as the index has them now; one LMDB get when nothing changed."""
        catalog = self._catalog
        version = self.index.version()
        if version == catalog.version:
            return catalog
        with self.lock:
            return self._reload()

    def is_current(self, catalog: Catalog) -> bool:
        """Tell whether the index is as it was; if not, a value may have moved meanwhile."""
        return self.index.version() == catalog.version

    def _reload(self) -> Catalog:
        while True:
            version, pack_ids = self.index.pack_ids()
            try:
                packs, damaged = self._map_packs(version, pack_ids)
                break
            except _PacksMoved:
                continue
        if version.move_count != self._catalog.version.move_count:
            self.begin_anew()
        # The largest first: a digest is most likely there.
        packs.sort(key=len, reverse=True)
        self._catalog = Catalog(version, tuple(packs), tuple(damaged))
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
            if pack_id in self.distrusted:
                continue
            pack = known.get(pack_id)
            if pack is None and not self._is_apart:
                pack = _MAPPED.get((str(self.path), pack_id))
            if pack is None:
                try:
                    pack = self.map(pack_id)
                    if pack is None:
                        raise _PacksMoved
                except CorruptionError as error:
                    if self.index.version().move_count != version.move_count:
                        raise _PacksMoved from error
                    damaged.append(error)
                    continue
                if not self._is_apart:
                    _MAPPED[str(self.path), pack_id] = pack
            packs.append(pack)
        return packs, damaged

    def map(self, pack_id: bytes) -> MappedPack | None:
        """Map a pack anew, None when it is not in the index; raises CorruptionError."""
        record = self.index.pack_record(pack_id)
        return None if record is None else MappedPack(self.path / record.file_name, record)

    def open(self, pack_id: bytes) -> MappedPack | None:
        """Return a pack, None when it is gone; raises CorruptionError."""
        for pack in self.refresh().packs:
            if pack.record.pack_id == pack_id:
                return pack
        return self.map(pack_id)

    def find(self, digest: bytes) -> tuple[Source, int]:
        """Return source and row of one digest.

        Raises
        ------
        ObjectNotFoundError
            It is in no pack and not loose.
        CorruptionError
            It is not where it could be found, and some pack cannot be searched.
        """
        while True:
            catalog = self.refresh()
            problems = list(catalog.damaged)
            for pack in catalog.packs:
                try:
                    place = pack.find(digest)
                except CorruptionError as error:
                    problems.append(error)
                    continue
                if place is not None:
                    return pack.datasets[place[0]], place[1]
            if self.index.loose([digest])[0] is not None:
                loose = self.generation.sources.loose
                return loose, loose.rows_of([digest])[0]
            if self.is_current(catalog):
                raise not_found(digest, 1, problems)

    def change(
        self,
        sealed: Sequence[SealedPack] = (),
        *,
        add_loose: Sequence[tuple[bytes, bytes]] = (),
        remove_packs: Sequence[MappedPack | bytes] = (),
        remove_loose: Sequence[bytes] = (),
        relied_on: Sequence[MappedPack] = (),
    ) -> bool:
        """Change the index; when the transaction has ended, keep or remove the files.

        In the transaction that is open, or else in one of its own. When it raises, nothing was
        changed, and new packs are removed.

        Parameters
        ----------
        sealed : sequence of SealedPack
            New packs.
        add_loose : sequence of (digest, record)
        remove_packs : sequence of MappedPack or bytes
            The files of mapped ones are deleted; those given by their id are left.
        remove_loose : sequence of bytes
        relied_on : sequence of MappedPack
            Those that have what is removed elsewhere.

        Returns
        -------
        bool
            False, and nothing is changed, when one of `remove_packs` or `relied_on` is gone
            already.
        """
        is_joined = self.environment.is_writing
        try:
            is_changed = self.index.change(
                add_packs=[pack.record for pack in sealed],
                add_loose=add_loose,
                remove_packs=[
                    old.record.pack_id if isinstance(old, MappedPack) else old
                    for old in remove_packs
                ],
                remove_loose=remove_loose,
                relied_on=[pack.record.pack_id for pack in relied_on],
            )
        except BaseException:
            for pack in sealed:
                # An interrupt may come when the transaction is durable already.
                if is_joined or not self._is_named(pack.record.pack_id):
                    pack.remove()
                else:
                    pack.release()
            raise

        def finish(is_durable: bool) -> None:
            if not is_durable:
                for pack in sealed:
                    pack.remove()
                self.forget()
                return
            # All of them before the first old one goes: from here on they are what there is.
            for pack in sealed:
                pack.release()
            for old in remove_packs:
                if isinstance(old, MappedPack):
                    with suppress(OSError):
                        old.path.unlink()
                    step("pack removed")

        if is_changed and is_joined:
            self.environment.after_write(finish)
        else:
            finish(is_changed)
        return is_changed

    def _is_named(self, pack_id: bytes) -> bool:
        """Tell whether the index has a pack, or cannot be asked: an orphan costs space alone."""
        try:
            return self.index.has_pack(pack_id)
        except (CorruptionError, StorageError):
            return True

    def forget(self) -> None:
        """Read the index anew when it is asked for next."""
        with self.lock:
            self._catalog = _NOT_READ

    def forget_map(self, pack_id: bytes) -> None:
        """Keep others in this process from taking the map of a pack that was replaced."""
        _MAPPED.pop((str(self.path), pack_id), None)

    def leave_parent(self) -> None:
        """Take a lock of its own, in a forked child."""
        self.lock = threading.RLock()


def not_found(
    digest: bytes, count: int, problems: Sequence[CorruptionError]
) -> ObjectNotFoundError | CorruptionError:
    """Return the error for values that were not found: a pack that cannot be searched, if any."""
    for problem in problems:
        return problem
    more = f" and {count - 1} others are" if count > 1 else " is"
    return ObjectNotFoundError(f"tensor {digest.hex()}{more} not in the repository")


# Maps are shared by the stores of a process, and with them what was verified.
_MAPPED: weakref.WeakValueDictionary[tuple[str, bytes], MappedPack] = weakref.WeakValueDictionary()
