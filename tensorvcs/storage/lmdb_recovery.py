"""What is left of a damaged LMDB file, put into a new one.

Objects and loose values prove themselves: they are taken from any page, of whatever age, when their
bytes hash to their key. The record of a pack is taken when it fits the file of the pack, and made
anew from that file when none does. Refs and operations prove nothing: all versions that are found
are handed to who can judge them.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorvcs.errors import CorruptionError, UnsupportedFormatError
from tensorvcs.objects.digest import DIGEST_NBYTES, digest_of
from tensorvcs.storage.durable import step
from tensorvcs.storage.hdf5_pack import TEMPORARY_PREFIX
from tensorvcs.storage.lmdb_objects import DATABASE as OBJECTS
from tensorvcs.storage.lmdb_refs import OPERATIONS_DATABASE, REFS_DATABASE
from tensorvcs.storage.mapped_pack import MappedPack
from tensorvcs.storage.pack_index import (
    PACK_ID_NBYTES,
    PackRecord,
    decode_loose,
    decode_pack_record,
    encode_pack_record,
)
from tensorvcs.storage.pack_rebuild import is_proven, rebuild_record
from tensorvcs.storage.pack_rewrite import salvage_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tensorvcs.storage.hdf5_pack import SealedPack
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment, Transaction
    from tensorvcs.storage.lmdb_scan import Head, PageFile

_PACKS, _LOOSE = "packs", "loose"
_NAMED_DATABASES = (OBJECTS, _LOOSE, _PACKS, REFS_DATABASE, OPERATIONS_DATABASE)
_VERSION_KEY = b"version"
_VERSION = struct.Struct("<QQ")
_NUMBER = struct.Struct(">Q")
_OPERATION = b"operation 1\n"
_COMMIT = b"commit "
_BATCH_NBYTES = 32 << 20
_MAX_REF_NBYTES = 2 << 20
_MAX_RECORD_NBYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Names:
    """The refs and the operation log as one head page of an LMDB file has them.

    Attributes
    ----------
    refs : mapping of str to bytes, or None
        None where their tree is damaged.
    operations : mapping of int to bytes, or None
        The records by number; None where their tree is damaged.
    is_newest : bool
        Whether nothing can be newer: both head pages are whole, and this is the later one.
    """

    refs: Mapping[str, bytes] | None
    operations: Mapping[int, bytes] | None
    is_newest: bool


@dataclass(slots=True)
class Gathered:
    """What the pages of an LMDB file still have, beside what went to a new one.

    Attributes
    ----------
    page_count : int
    object_count, loose_count : int
        Objects and loose values that proved themselves, each once.
    commits : list of bytes
        The digests of the commits among them.
    names : list of Names
        Of each head page that can be read, the newest first.
    records : dict of bytes to list of bytes
        Records of packs by pack id, as they were found.
    operations : dict of int to list of bytes
        Records of the operation log by number, as they were found, each version once.
    refs : dict of str to list of bytes
        Values of refs by name, as they were found, each once.
    index_version : tuple of int
        Above all versions of the index that were found.
    """

    page_count: int = 0
    object_count: int = 0
    loose_count: int = 0
    commits: list[bytes] = field(default_factory=list)
    names: list[Names] = field(default_factory=list)
    records: dict[bytes, list[bytes]] = field(default_factory=dict)
    operations: dict[int, list[bytes]] = field(default_factory=dict)
    refs: dict[str, list[bytes]] = field(default_factory=dict)
    index_version: tuple[int, int] = (1, 1)


def find_damage(file: PageFile) -> str | None:
    """Return what is wrong with an LMDB file, the first thing that is found; None when it is sound.

    Notes
    -----
    Reads all pages that are in use, and hashes every object and every loose value. What a ref or
    an operation says is not looked at.
    """
    heads = file.heads()
    if len(heads) < 2:
        return f"{2 - len(heads)} of its 2 head pages cannot be read"
    if not _is_newest(heads):
        return f"its head pages are of the transactions {', '.join(_told(heads))}"
    try:
        file.check_free_pages(heads[0])
        databases = file.databases(heads[0])
        for name, tree in databases.items():
            for key, value in file.walk(tree, heads[0]):
                _check_record(name, key, value)
    except CorruptionError as error:
        return str(error)
    except UnsupportedFormatError:
        return None
    absent = [name for name in _NAMED_DATABASES if name not in databases]
    return f"the database {absent[0]} is gone" if absent else None


def find_wrong_record(file: PageFile, folder: Path) -> str | None:
    """Return what is wrong with the index of a sound file: the record of a pack that is another's.

    A pack that is damaged does not fit its record either; that is none of the index.

    Notes
    -----
    Reads the directory of each pack, and all of those that do not fit.
    """
    head = next(iter(file.heads()))
    for pack_id, content in _records_of(file, head, _PACKS):
        path = folder / f"{pack_id.hex()}.h5"
        if len(pack_id) != PACK_ID_NBYTES or not path.is_file():
            continue
        if not _fits(path, decode_pack_record(pack_id, content)):
            rebuilt = rebuild_record(path)
            if rebuilt is not None and is_proven(path, rebuilt):
                return f"the index record of pack {pack_id.hex()} is not that of its file"
    return None


def _told(heads: Sequence[Head]) -> list[str]:
    return [str(head.transaction) for head in heads]


def _is_newest(heads: Sequence[Head]) -> bool:
    """Tell whether the first head is the newest transaction that there was.

    A transaction with an even number has its head on page 0, and each keeps that before it.
    """
    if len(heads) != 2:
        return False
    newest, before = heads
    if newest.transaction == before.transaction == 0:
        return True
    return newest.transaction == before.transaction + 1 and newest.page == newest.transaction % 2


def _check_record(database: str, key: bytes, value: bytes) -> None:
    """Raise CorruptionError unless a record is what its key says."""
    if database == OBJECTS:
        if digest_of(value) != key:
            raise CorruptionError(f"object {key.hex()} does not hash to its name")
    elif database == _LOOSE:
        decode_loose(key, value)
    elif database == _PACKS and len(key) == PACK_ID_NBYTES:
        decode_pack_record(key, value)


def gather(
    file: PageFile,
    environment: LmdbEnvironment,
    is_ref: Callable[[str, bytes], bool],
    progress: Callable[[int], None] | None = None,
) -> Gathered:
    """Put all that proves itself into a new environment, and return the rest.

    Parameters
    ----------
    file : PageFile
    environment : LmdbEnvironment
        Empty.
    is_ref : callable
        Tells whether a name and a value may be those of a ref.
    progress : callable, optional
        Called with the number of pages that were read.

    Notes
    -----
    Reads the file twice. Memory is the operation log, the records of the packs, and 32 MiB.
    """
    found = Gathered(page_count=file.page_count, names=read_names(file))
    sieve = _Sieve(environment, is_ref, found)
    candidates = file.scan(sieve.wants, progress)
    while sieve.take_batch(candidates):
        pass
    return found


def read_names(file: PageFile) -> list[Names]:
    """Return the refs and the operations of each head page that can be read, newest first."""
    heads = file.heads()
    is_sure = _is_newest(heads)
    names = []
    for head in heads:
        refs: dict[str, bytes] | None = None
        operations: dict[int, bytes] | None = None
        with suppress(CorruptionError):
            refs = {
                key.decode(errors="backslashreplace"): value
                for key, value in _records_of(file, head, REFS_DATABASE)
            }
        with suppress(CorruptionError):
            operations = {
                _NUMBER.unpack(key)[0]: value
                for key, value in _records_of(file, head, OPERATIONS_DATABASE)
                if len(key) == _NUMBER.size
            }
        names.append(Names(refs, operations, is_sure and head is heads[0]))
    return names


def _records_of(file: PageFile, head: Head, database: str) -> Iterator[tuple[bytes, bytes]]:
    databases = file.databases(head)
    if database not in databases:
        raise CorruptionError(f"the database {database} is gone")
    return file.walk(databases[database], head)


class _Sieve:
    """Sorts what looks like a record into what it proves to be."""

    def __init__(
        self,
        environment: LmdbEnvironment,
        is_ref: Callable[[str, bytes], bool],
        found: Gathered,
    ) -> None:
        self._environment = environment
        self._is_ref = is_ref
        self._found = found
        self._objects = environment.database(OBJECTS)
        self._loose = environment.database(_LOOSE)
        self._txn: Transaction | None = None

    def wants(self, key: bytes, nbytes: int) -> bool:
        """Tell whether the value of a key is worth reading."""
        if _text_of(key) is not None and nbytes <= _MAX_REF_NBYTES:
            return True
        if len(key) == DIGEST_NBYTES:
            assert self._txn is not None
            return (
                nbytes > 0
                and self._txn.get(key, db=self._objects) is None
                and self._txn.get(key, db=self._loose) is None
            )
        if len(key) == PACK_ID_NBYTES:
            return nbytes <= _MAX_RECORD_NBYTES
        return len(key) == _NUMBER.size

    def take_batch(self, candidates: Iterator[tuple[bytes, bytes]]) -> bool:
        """Take some records in one transaction; False when there are no more."""
        with self._environment.write() as self._txn:
            nbytes = 0
            for key, value in candidates:
                nbytes += self._take(self._txn, key, value)
                if nbytes >= _BATCH_NBYTES:
                    return True
        return False

    def _take(self, txn: Transaction, key: bytes, value: bytes) -> int:
        """Take one record; return the bytes that were written."""
        found = self._found
        name = _text_of(key)
        if name is not None and self._is_ref(name, value):
            _add(found.refs.setdefault(name, []), value)
        elif len(key) == DIGEST_NBYTES:
            return self._take_named(txn, key, value)
        elif len(key) == PACK_ID_NBYTES:
            _add(found.records.setdefault(key, []), value)
        elif key == _VERSION_KEY and len(value) == _VERSION.size:
            changes, moves = _VERSION.unpack(value)
            # A flipped bit must not make the next number one that does not fit.
            if changes < 1 << 62 and moves < 1 << 62:
                last = found.index_version
                found.index_version = max(last[0], changes + 1), max(last[1], moves + 1)
        elif len(key) == _NUMBER.size and value.startswith(_OPERATION):
            _add(found.operations.setdefault(_NUMBER.unpack(key)[0], []), value)
        return 0

    def _take_named(self, txn: Transaction, key: bytes, value: bytes) -> int:
        if digest_of(value) == key:
            txn.put(key, value, db=self._objects)
            self._found.object_count += 1
            if value.startswith(_COMMIT):
                self._found.commits.append(key)
            return len(value)
        with suppress(CorruptionError, UnsupportedFormatError, ValueError):
            decode_loose(key, value)
            txn.put(key, value, db=self._loose)
            self._found.loose_count += 1
            return len(value)
        return 0


def _add(versions: list[bytes], value: bytes) -> None:
    if value not in versions:
        versions.append(value)


def _text_of(key: bytes) -> str | None:
    """Return a key that is plain text; None for what is a number or a digest."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


@dataclass(slots=True)
class RecoveredPacks:
    """The packs of a folder, and how each came by its record.

    Attributes
    ----------
    records : list of PackRecord
        For the index.
    kept_count : int
        Packs whose record was found and fits the file.
    rebuilt : list of str
        Files whose record was lost and made anew, every value having proved itself.
    rewritten : list of str
        Files whose record was lost and which are damaged: what proved itself went to a new pack.
    unreadable : list of str
        Files of which nothing could be read.
    """

    records: list[PackRecord] = field(default_factory=list)
    kept_count: int = 0
    rebuilt: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    _sealed: list[SealedPack] = field(default_factory=list)

    def release(self) -> None:
        """Give up the locks of the new packs: their records are in the index, or never will be."""
        for sealed in self._sealed:
            sealed.release()


def recover_packs(
    folder: Path, found: Mapping[bytes, Sequence[bytes]], *, is_dry_run: bool
) -> RecoveredPacks:
    """Find or make a record for each pack file.

    Parameters
    ----------
    folder : Path
        Of the packs.
    found : mapping of bytes to sequence of bytes
        Records of packs by pack id, as they were found.
    is_dry_run : bool
        Write nothing; packs that would be written anew are left out.

    Raises
    ------
    StorageError
        The disk refused.

    Notes
    -----
    Reads the directory of each pack; all of it, twice, where the record was lost.
    """
    packs = RecoveredPacks()
    for path in sorted(folder.glob("*.h5")) if folder.is_dir() else []:
        with suppress(ValueError):
            pack_id = bytes.fromhex(path.stem)
            if len(pack_id) == PACK_ID_NBYTES and not path.stem.startswith(TEMPORARY_PREFIX):
                _recover_pack(folder, path, found.get(pack_id, ()), packs, is_dry_run=is_dry_run)
    return packs


def _recover_pack(
    folder: Path,
    path: Path,
    found: Sequence[bytes],
    packs: RecoveredPacks,
    *,
    is_dry_run: bool,
) -> None:
    decoded = []
    for content in found:
        with suppress(CorruptionError, UnsupportedFormatError):
            decoded.append(decode_pack_record(bytes.fromhex(path.stem), content))
    for record in decoded:
        if _fits(path, record):
            packs.records.append(record)
            packs.kept_count += 1
            return
    rebuilt = rebuild_record(path)
    if rebuilt is not None and is_proven(path, rebuilt):
        packs.records.append(rebuilt)
        packs.rebuilt.append(path.name)
    elif decoded:
        # The pack is damaged, and this says where: a repair may mend it.
        packs.records.append(decoded[0])
        packs.kept_count += 1
    elif rebuilt is not None:
        sealed = None if is_dry_run else salvage_pack(folder, MappedPack(path, rebuilt))[0]
        packs.rewritten.append(path.name)
        if sealed is not None:
            packs.records.append(sealed.record)
            packs._sealed.append(sealed)
    else:
        packs.unreadable.append(path.name)


def _fits(path: Path, record: PackRecord) -> bool:
    """Tell whether a record is that of a file: its size, and the checksums of its directory."""
    try:
        pack = MappedPack(path, record)
        for dataset in pack.datasets:
            pack.row_digests(dataset.ordinal)
    except (CorruptionError, ValueError, IndexError, OverflowError):
        return False
    return True


def put_aside(folder: Path, names: Sequence[str]) -> None:
    """Rename packs so that nobody takes them for garbage."""
    for name in names:
        with suppress(OSError):
            (folder / name).rename(folder / f"damaged-{name}")
        step("pack put aside")


def write_index(
    environment: LmdbEnvironment, records: Sequence[PackRecord], version: tuple[int, int]
) -> None:
    """Put the records of packs into a new environment, with the version of the index."""
    database = environment.database(_PACKS)
    with environment.write() as txn:
        for record in records:
            txn.put(record.pack_id, encode_pack_record(record), db=database)
        txn.put(_VERSION_KEY, _VERSION.pack(*version), db=database)


def write_names(
    environment: LmdbEnvironment, refs: Mapping[str, bytes], operations: Mapping[int, bytes]
) -> None:
    """Put refs, and the records of operations by number, into a new environment."""
    by_name = environment.database(REFS_DATABASE)
    by_number = environment.database(OPERATIONS_DATABASE)
    with environment.write() as txn:
        for name, value in refs.items():
            txn.put(name.encode(), value, db=by_name)
        for number, record in sorted(operations.items()):
            txn.put(_NUMBER.pack(number), record, db=by_number)
