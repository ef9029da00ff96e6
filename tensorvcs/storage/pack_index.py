"""The index in LMDB: one record a pack, and the loose values.

Which value is in which row of a pack stands in the pack itself, sorted by digest (see
`mapped_pack`); the record holds what is needed to find and to check that directory, and every
slab. So a value costs the index 40 bytes in the pack file and next to nothing in LMDB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from tensorvcs.errors import DigestMismatchError, ObjectDamagedError
from tensorvcs.objects.digest import hash_rows
from tensorvcs.objects.encoding import decode_object, encode_object
from tensorvcs.objects.tensor import value_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Kind
    from tensorvcs.storage.codecs import Choice
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment, Transaction

DIRECTORY_BLOCK_ROWS = 1024
"""The entries of a pack directory that share one checksum."""

PACK_ID_NBYTES = 16
_VERSION_KEY = b"version"
_VERSION = struct.Struct("<QQ")
_CHECK = struct.Struct("<Q")
_SIZES = struct.Struct("<II")
_RECORD_KIND = "pack"
_RECORD_VERSION = 1
_EMPTY = np.zeros(0, np.uint64)
_SIZED_TOGETHER = 512


@dataclass(frozen=True, slots=True)
class Layout:
    """What the values of one dataset of a pack have in common.

    Attributes
    ----------
    kind : {"ndarray", "str", "bytes"}
    dtype : str
        Canonical dtype name; empty for text and bytes.
    shape : tuple of int, or None
        The shape of every value, which then are rows; None where each value is a frame of its
        own size.
    ndim : int
        The dimensions of the values; 0 for text and bytes.
    compressor : {"lz4", "zstd"} or None
    """

    kind: Kind
    dtype: str
    shape: tuple[int, ...] | None
    ndim: int
    compressor: Choice


@dataclass(frozen=True, slots=True)
class Blocks:
    """Stretches of a pack file, each with an xxh3-64 of its own.

    Attributes
    ----------
    starts, sizes, checks : ndarray, shape (n,), uint64
        Byte offset in the file, number of bytes, checksum.
    """

    starts: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    checks: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.starts)


NO_BLOCKS = Blocks(_EMPTY, _EMPTY, _EMPTY)


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """One dataset, or for frames one group, of a pack.

    Attributes
    ----------
    path : str
        Its name in the HDF5 file.
    layout : Layout
    row_count : int
    slab_rows : int
        Rows a slab; 0 for frames.
    slab_nbytes : int
        Bytes of a slab before compression, padding of the last one included.
    slabs : Blocks
    offsets, shapes : Blocks
        Of frames: the array of ``row_count + 1`` byte offsets, and the array of shapes.
    """

    path: str
    layout: Layout
    row_count: int
    slab_rows: int
    slab_nbytes: int
    slabs: Blocks
    offsets: Blocks
    shapes: Blocks


@dataclass(frozen=True, slots=True)
class PackRecord:
    """What the index knows of one pack.

    Attributes
    ----------
    pack_id : bytes
        16 random bytes; the file is called after them.
    file_nbytes, payload_nbytes : int
        Of the file, and of its values before compression.
    datasets : tuple of DatasetRecord
    fences : ndarray, uint64
        The first 8 bytes, as a big-endian number, of the first digest of each block.
    digests, rows : Blocks
        The directory: digests in ascending order, and beside each its dataset and row.
    digest_count : int
    rest_check : int
        The xxh3-64 of all bytes of the file that are in none of the blocks.
    """

    pack_id: bytes
    file_nbytes: int
    payload_nbytes: int
    datasets: tuple[DatasetRecord, ...]
    fences: NDArray[np.uint64]
    digests: Blocks
    rows: Blocks
    digest_count: int
    rest_check: int

    @property
    def file_name(self) -> str:
        """The name of the file in the folder of packs."""
        return f"{self.pack_id.hex()}.h5"


def encode_pack_record(record: PackRecord) -> bytes:
    """Return the bytes of a record: sizes, JSON, arrays, checksum."""
    arrays: list[NDArray[np.uint64]] = [record.fences]

    def block_count(blocks: Blocks) -> int:
        arrays.extend((blocks.starts, blocks.sizes, blocks.checks))
        return len(blocks)

    fields: dict[str, Any] = {
        "file_nbytes": record.file_nbytes,
        "payload_nbytes": record.payload_nbytes,
        "digest_count": record.digest_count,
        "rest_check": record.rest_check,
        "fences": len(record.fences),
        "digests": block_count(record.digests),
        "rows": block_count(record.rows),
        "datasets": [
            {
                "path": dataset.path,
                "kind": dataset.layout.kind,
                "dtype": dataset.layout.dtype,
                "shape": None if dataset.layout.shape is None else list(dataset.layout.shape),
                "ndim": dataset.layout.ndim,
                "compressor": dataset.layout.compressor,
                "row_count": dataset.row_count,
                "slab_rows": dataset.slab_rows,
                "slab_nbytes": dataset.slab_nbytes,
                "slabs": block_count(dataset.slabs),
                "offsets": block_count(dataset.offsets),
                "shapes": block_count(dataset.shapes),
            }
            for dataset in record.datasets
        ],
    }
    text = encode_object(_RECORD_KIND, _RECORD_VERSION, fields)
    numbers = b"".join(array.astype("<u8", copy=False).tobytes() for array in arrays)
    content = _SIZES.pack(len(text), len(numbers)) + text + numbers
    return content + _CHECK.pack(xxhash.xxh3_64_intdigest(content))


def decode_pack_record(pack_id: bytes, content: bytes) -> PackRecord:
    """Read what `encode_pack_record` wrote.

    Raises
    ------
    ObjectDamagedError
        The bytes are no such record, or not the ones that were written.
    UnsupportedFormatError
        The record has a newer version.
    """
    name = f"the index record of pack {pack_id.hex()}"
    body = content[: -_CHECK.size]
    if len(content) < _SIZES.size + _CHECK.size or (
        _CHECK.unpack_from(content, len(body))[0] != xxhash.xxh3_64_intdigest(body)
    ):
        raise ObjectDamagedError(f"{name} does not have the checksum it was written with")
    text_nbytes, numbers_nbytes = _SIZES.unpack_from(body)
    at = _SIZES.size + text_nbytes
    if at + numbers_nbytes != len(body) or numbers_nbytes % 8:
        raise ObjectDamagedError(f"{name} has {len(body)} bytes, expected {at + numbers_nbytes}")
    fields = decode_object(body[_SIZES.size : at], _RECORD_KIND, _RECORD_VERSION)
    numbers = np.frombuffer(body, "<u8", offset=at)
    taken = 0

    def take(count: int) -> NDArray[np.uint64]:
        nonlocal taken
        taken += count
        if taken > len(numbers):
            raise ObjectDamagedError(f"{name} has {len(numbers)} numbers, fewer than it names")
        return numbers[taken - count : taken]

    def take_blocks(count: int) -> Blocks:
        return Blocks(take(count), take(count), take(count))

    try:
        fences = take(fields["fences"])
        digests, rows = take_blocks(fields["digests"]), take_blocks(fields["rows"])
        datasets = tuple(
            DatasetRecord(
                path=found["path"],
                layout=Layout(
                    found["kind"],
                    found["dtype"],
                    None if found["shape"] is None else tuple(found["shape"]),
                    found["ndim"],
                    found["compressor"],
                ),
                row_count=found["row_count"],
                slab_rows=found["slab_rows"],
                slab_nbytes=found["slab_nbytes"],
                slabs=take_blocks(found["slabs"]),
                offsets=take_blocks(found["offsets"]),
                shapes=take_blocks(found["shapes"]),
            )
            for found in fields["datasets"]
        )
        return PackRecord(
            pack_id=pack_id,
            file_nbytes=fields["file_nbytes"],
            payload_nbytes=fields["payload_nbytes"],
            datasets=datasets,
            fences=fences,
            digests=digests,
            rows=rows,
            digest_count=fields["digest_count"],
            rest_check=fields["rest_check"],
        )
    except (KeyError, TypeError) as error:
        raise ObjectDamagedError(f"{name} lacks a field: {error}") from error


@dataclass(frozen=True, slots=True)
class IndexVersion:
    """How often the index changed: in any way, and by taking values from where they were."""

    change_count: int = 0
    move_count: int = 0


class PackIndex:
    """The databases `packs` and `loose` of an LMDB environment."""

    def __init__(self, environment: LmdbEnvironment) -> None:
        self._environment = environment
        self._packs = environment.database("packs")
        self._loose = environment.database("loose")

    def version(self) -> IndexVersion:
        """Return the version; one LMDB get."""
        with self._environment.read() as txn:
            return self._version(txn)

    def _version(self, txn: Transaction) -> IndexVersion:
        found = txn.get(_VERSION_KEY, db=self._packs)
        if found is None:
            return IndexVersion()
        if len(found) != _VERSION.size:
            raise ObjectDamagedError(f"the version of the index has {len(found)} bytes")
        return IndexVersion(*_VERSION.unpack(found))

    def pack_ids(self) -> tuple[IndexVersion, list[bytes]]:
        """Return the ids of all packs, in order, and the version in which they are all."""
        with self._environment.read() as txn, txn.cursor(db=self._packs) as cursor:
            found = []
            there = cursor.first()
            while there:
                if len(key := cursor.key()) == PACK_ID_NBYTES:
                    found.append(key)
                there = cursor.next()
            return self._version(txn), found

    def pack_record(self, pack_id: bytes) -> PackRecord | None:
        """Return the record of one pack, or None."""
        with self._environment.read() as txn:
            content = txn.get(pack_id, db=self._packs)
        return None if content is None else decode_pack_record(pack_id, content)

    def has_pack(self, pack_id: bytes) -> bool:
        """Tell whether a pack is in the index."""
        with self._environment.read() as txn:
            return txn.get(pack_id, db=self._packs) is not None

    def loose(self, digests: Sequence[bytes]) -> list[bytes | None]:
        """Return the loose records of some digests, None where there is none."""
        with self._environment.read() as txn:
            return [txn.get(digest, db=self._loose) for digest in digests]

    def loose_size(self) -> tuple[int, int]:
        """Return the number of loose values, and the bytes of LMDB that they take."""
        with self._environment.read() as txn:
            return txn.count(db=self._loose), txn.nbytes(db=self._loose)

    def loose_digests(self) -> list[bytes]:
        """Return the digests of all loose values, in order."""
        with self._environment.read() as txn, txn.cursor(db=self._loose) as cursor:
            found = []
            there = cursor.first()
            while there:
                found.append(cursor.key())
                there = cursor.next()
            return found

    def loose_sizes(self, digests: Sequence[bytes]) -> NDArray[np.int64]:
        """Return the bytes of loose values, heads and checksums included, shape (n,)."""
        sizes = np.zeros(len(digests), np.int64)
        for low in range(0, len(digests), _SIZED_TOGETHER):
            found = self.loose(digests[low : low + _SIZED_TOGETHER])
            sizes[low : low + len(found)] = [len(content or b"") for content in found]
        return sizes

    def change(
        self,
        *,
        add_packs: Iterable[PackRecord] = (),
        add_loose: Iterable[tuple[bytes, bytes]] = (),
        remove_packs: Sequence[bytes] = (),
        remove_loose: Sequence[bytes] = (),
        relied_on: Sequence[bytes] = (),
    ) -> bool:
        """Change the index in one transaction, or in the one that is open.

        Returns
        -------
        bool
            False, and nothing is changed, when one of the packs of `remove_packs` or `relied_on`
            is gone already.
        """
        with self._environment.write() as txn:
            needed = (*remove_packs, *relied_on)
            if any(txn.get(pack_id, db=self._packs) is None for pack_id in needed):
                return False
            for pack_id in remove_packs:
                txn.delete(pack_id, db=self._packs)
            for digest in remove_loose:
                txn.delete(digest, db=self._loose)
            for record in add_packs:
                txn.put(record.pack_id, encode_pack_record(record), db=self._packs)
            for digest, content in add_loose:
                txn.put(digest, content, db=self._loose, overwrite=False)
            before = self._version(txn)
            has_moved = bool(remove_packs or remove_loose)
            txn.put(
                _VERSION_KEY,
                _VERSION.pack(before.change_count + 1, before.move_count + has_moved),
                db=self._packs,
            )
            return True


@dataclass(frozen=True, slots=True)
class LooseValue:
    """A value that is kept in LMDB; `is_row` when its column has one shape."""

    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    data: bytes
    is_row: bool


_LOOSE_HEAD = struct.Struct("<BBBB")
_LOOSE_FORMAT = 1
_LOOSE_ROW = 3
_LOOSE_KINDS: tuple[Kind, ...] = ("ndarray", "str", "bytes", "ndarray")


def encode_loose(value: LooseValue) -> bytes:
    """Return the record of a loose value: head, dtype name, shape, data, checksum."""
    name = value.dtype.encode()
    kind = _LOOSE_ROW if value.is_row else _LOOSE_KINDS.index(value.kind)
    content = b"".join(
        (
            _LOOSE_HEAD.pack(_LOOSE_FORMAT, kind, len(name), len(value.shape)),
            name,
            struct.pack(f"<{len(value.shape)}Q", *value.shape),
            value.data,
        )
    )
    return content + _CHECK.pack(xxhash.xxh3_64_intdigest(content))


# The checksum of a loose value does not cover its key, so that of each value its name is checked
# when this process reads it first; it need not be again while the checksum is the same.
_NAMED: dict[bytes, int] = {}
_MAX_NAMED = 1 << 16


def decode_loose(digest: bytes, content: bytes) -> LooseValue:
    """Read what `encode_loose` wrote under a digest.

    Raises
    ------
    ObjectDamagedError
        The bytes are not the ones that were written.
    DigestMismatchError
        They are those of another value: its record came under this name.
    """
    end = len(content) - _CHECK.size
    if end < _LOOSE_HEAD.size or (
        _CHECK.unpack_from(content, end)[0] != xxhash.xxh3_64_intdigest(content[:end])
    ):
        raise ObjectDamagedError(
            f"the loose value {digest.hex()} does not have the checksum it was written with",
            (digest,),
        )
    form, kind, name_nbytes, ndim = _LOOSE_HEAD.unpack_from(content)
    at = _LOOSE_HEAD.size + name_nbytes
    if form != _LOOSE_FORMAT or kind >= len(_LOOSE_KINDS) or at + 8 * ndim > end:
        raise ObjectDamagedError(f"the loose value {digest.hex()} has the format {form}", (digest,))
    value = LooseValue(
        _LOOSE_KINDS[kind],
        content[_LOOSE_HEAD.size : at].decode("ascii", "replace"),
        struct.unpack_from(f"<{ndim}Q", content, at),
        content[at + 8 * ndim : end],
        kind == _LOOSE_ROW,
    )
    check = _CHECK.unpack_from(content, end)[0]
    if _NAMED.get(digest) != check:
        header = value_header(value.kind, value.dtype, value.shape, len(value.data))
        found = hash_rows(header, np.frombuffer(value.data, np.uint8).reshape(1, -1)).tobytes()
        if found != digest:
            raise DigestMismatchError(
                f"the loose value {digest.hex()} is another value, which hashes to {found.hex()}",
                (digest,),
            )
        if len(_NAMED) >= _MAX_NAMED:
            _NAMED.clear()
        _NAMED[digest] = check
    return value
