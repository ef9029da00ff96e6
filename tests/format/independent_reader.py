"""A reader of repositories, written from FORMAT.md alone: no line of the library is used.

A value comes back as ``(kind, dtype name, shape, data)``. Every object and every value is compared
with the digest that names it.
"""

from __future__ import annotations

import json
import struct
import zlib
from math import prod
from typing import TYPE_CHECKING, Any

import blake3
import blosc
import h5py
import lmdb
import numpy as np
import xxhash

if TYPE_CHECKING:
    from pathlib import Path

Value = tuple[str, str, tuple[int, ...], bytes]
Key = Any
"""An int, a text, or a pair of both for a nested column."""

DTYPE_NBYTES = {f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)}
DTYPE_NBYTES |= {"bool": 1, "bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}
DTYPE_NBYTES |= {"complex64": 8, "complex128": 16}
INT_MIN = -(2**63)


def format_of(root: Path) -> Any:
    """Return the first of the two format files that holds, as section 1 tells."""
    found = [sound_json(root / name) for name in ("format.json", "format-copy.json")]
    checked = [fields for fields in found if fields and "crc32" in fields]
    if not checked:
        assert not (root / "format-copy.json").exists()
        return json.loads((root / "format.json").read_text())
    named = ("format", "version", "features", "bare")
    for fields in found:
        assert not fields or "crc32" in fields or all(fields[n] == checked[0][n] for n in named)
    return checked[0]


def sound_json(file: Path) -> Any:
    """Return the object in a file, None when there is none or its checksum is wrong."""
    try:
        fields = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    others = {name: value for name, value in fields.items() if name != "crc32"}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    is_sound = fields.get("crc32", zlib.crc32(text.encode())) == zlib.crc32(text.encode())
    return fields if is_sound else None


class Reader:
    """A repository at a folder: `.tensorvcs` of a working one, or a bare one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        described = format_of(root)
        assert described["format"] == "tensorvcs"
        assert described["version"] == 1
        assert described["features"] == []
        environment = lmdb.open(
            str(root / "lmdb"), max_dbs=16, readonly=True, lock=False, create=False
        )
        self.databases = {}
        for name in (b"objects", b"refs", b"operations", b"packs", b"loose"):
            database = environment.open_db(name, create=False)
            with environment.begin(db=database) as txn:
                self.databases[name.decode()] = dict(txn.cursor())
        environment.close()
        records = dict(self.databases["packs"])
        records.pop(b"version", None)
        self.packs = [Pack(root / "packs", name, record) for name, record in records.items()]

    # Section 5

    def refs(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.databases["refs"].items()}

    def branch_commit(self, name: str) -> str:
        kind, _, digest = self.refs()[f"refs/heads/{name}"].partition(" ")
        assert kind == "commit"
        return digest

    def tag_commit(self, name: str) -> str:
        kind, _, digest = self.refs()[f"refs/tags/{name}"].partition(" ")
        if kind == "tag":
            digest = self.object(digest, "tag 1")["commit"]
        return str(digest)

    def operations(self) -> list[dict[str, Any]]:
        """Return the operation log, the first operation first."""
        found: list[dict[str, Any]] = []
        for number, record in sorted(self.databases["operations"].items()):
            assert struct.unpack(">Q", number) == (len(found) + 1,)
            found.append(document(record, "operation 1"))
        return found

    # Section 3

    def object(self, name: str, line: str) -> Any:
        return document(self.content(bytes.fromhex(name)), line)

    def content(self, digest: bytes) -> bytes:
        content: bytes = self.databases["objects"][digest]
        assert blake3.blake3(content).digest() == digest
        return content

    def commit(self, name: str) -> dict[str, Any]:
        fields: dict[str, Any] = self.object(name, "commit 1")
        return fields

    def snapshot(self, name: str) -> dict[str, dict[Key, Value]]:
        """Return every value of every column of a snapshot."""
        columns = self.object(name, "snapshot 1")["columns"]
        return {column: dict(self.column(fields)) for column, fields in columns.items()}

    def at_commit(self, name: str) -> dict[str, dict[Key, Value]]:
        return self.snapshot(self.commit(name)["snapshot"])

    def column(self, fields: dict[str, Any]) -> list[tuple[Key, Value]]:
        schema, tree = fields["schema"], fields["tree"]
        found: list[tuple[Key, Value]] = []
        for sort in ("ints", "texts"):
            root = tree[sort]
            if root is None:
                continue
            items = self.items(bytes.fromhex(root["digest"]), tree["value_nbytes"])
            assert len(items) == root["count"]
            for key, stored in items:
                name: Key = key
                if isinstance(key, bytes):
                    name = pair_of(key) if schema["nested"] else key.decode()
                found.append((name, self.value(schema, stored)))
        return found

    def value(self, schema: dict[str, Any], stored: bytes) -> Value:
        nbytes = inline_nbytes(schema)
        if nbytes is None:
            value = self.read(stored)
        else:
            assert len(stored) == nbytes
            value = ("ndarray", schema["dtype"], tuple(schema["shape"]), stored)
        assert value[:2] == (schema["kind"], schema["dtype"] or "")
        return value

    # Section 4

    def items(self, digest: bytes, value_nbytes: int) -> list[tuple[int | bytes, bytes]]:
        """Return the keys below a node, in order, each with what its leaf holds for it."""
        content = self.content(digest)
        magic, sort, level, width, key_width, count_width, count, keys_nbytes = struct.unpack_from(
            "<7s5B2I", content
        )
        assert magic == b"node 1\n"
        assert width == value_nbytes
        at = struct.calcsize("<7s5B2I")
        section, payload = content[at : at + keys_nbytes], content[at + keys_nbytes :]
        keys = (text_keys if sort else int_keys)(section, key_width, count)
        if level == 0:
            assert len(payload) == count * width
            return [(key, payload[i * width : (i + 1) * width]) for i, key in enumerate(keys)]
        assert len(payload) == count * (32 + count_width)
        below: list[tuple[int | bytes, bytes]] = []
        for i, last in enumerate(keys):
            items = self.items(payload[32 * i : 32 * i + 32], value_nbytes)
            assert items[-1][0] == last
            place = 32 * count + i * count_width
            stored = int.from_bytes(payload[place : place + count_width], "little")
            assert stored == len(items)
            below += items
        return below

    # Sections 2, 6, 7 and 8

    def read(self, digest: bytes) -> Value:
        """Return a value that is loose or in a pack."""
        if digest in self.databases["loose"]:
            value = loose_value(self.databases["loose"][digest])
        else:
            value = next(v for pack in self.packs if (v := pack.read(digest)) is not None)
        assert digest_of(value) == digest
        return value


def document(content: bytes, line: str) -> Any:
    first, _, text = content.partition(b"\n")
    assert first.decode() == line
    fields = json.loads(text)
    spelled = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert spelled.encode() == text
    return fields


def digest_of(value: Value) -> bytes:
    kind, dtype, shape, data = value
    hashed = blake3.blake3()
    for part in (kind.encode(), dtype.encode(), struct.pack(f"<{len(shape)}Q", *shape), data):
        hashed.update(struct.pack("<Q", len(part)) + part)
    return hashed.digest()


def inline_nbytes(schema: dict[str, Any]) -> int | None:
    """Return the size of a value when values stand in the leaves, or None."""
    if schema["kind"] != "ndarray" or schema["variable_shape"]:
        return None
    nbytes = prod(schema["shape"]) * DTYPE_NBYTES.get(schema["dtype"], 1)
    return nbytes if nbytes <= 64 else None


def int_keys(section: bytes, width: int, count: int) -> list[int | bytes]:
    keys: list[int | bytes] = [struct.unpack_from("<q", section)[0]]
    key = struct.unpack_from("<q", section)[0]
    for i in range(count - 1):
        key += 1 + int.from_bytes(section[8 + i * width : 8 + (i + 1) * width], "little")
        keys.append(key)
    return keys


def text_keys(section: bytes, width: int, count: int) -> list[int | bytes]:
    prefix_nbytes, least = struct.unpack_from("<HH", section)
    prefix, rest = section[4 : 4 + prefix_nbytes], section[4 + prefix_nbytes :]
    keys: list[int | bytes] = []
    at = count * width
    for i in range(count):
        nbytes = least + int.from_bytes(rest[i * width : (i + 1) * width], "little")
        keys.append(prefix + rest[at : at + nbytes])
        at += nbytes
    assert at == len(rest)
    return keys


def pair_of(text: bytes) -> tuple[Key, Key]:
    """Read the spelling of a pair (sample, subsample)."""
    parts: list[Key] = []
    while text:
        tag, text = text[0], text[1:]
        if tag == 0x03:
            number = 0
            for byte in text[:10]:
                number = number * 128 + (byte & 0x7F)
            parts.append(number + INT_MIN)
            text = text[10:]
            continue
        assert tag == 0x04
        content = b""
        while text[0] != 0x01:
            if text[0] == 0x02:
                text = text[1:]
            content, text = content + text[:1], text[1:]
        parts.append(content.decode())
        text = text[1:]
    sample, subsample = parts
    return sample, subsample


def checked(content: bytes) -> bytes:
    """Return all but the check at the end, which must be right."""
    assert struct.unpack("<Q", content[-8:])[0] == xxhash.xxh3_64_intdigest(content[:-8])
    return content[:-8]


def loose_value(record: bytes) -> Value:
    content = checked(record)
    form, kind, name_nbytes, ndim = content[:4]
    assert form == 1
    at = 4 + name_nbytes
    shape = struct.unpack_from(f"<{ndim}Q", content, at)
    kind_name = ("ndarray", "str", "bytes", "ndarray")[kind]
    return kind_name, content[4:at].decode(), shape, content[at + 8 * ndim :]


class Pack:
    """One pack: its record says the order of its datasets, HDF5 has all else."""

    def __init__(self, folder: Path, pack_id: bytes, record: bytes) -> None:
        content = checked(record)
        text_nbytes, _ = struct.unpack_from("<II", content)
        fields = document(content[8 : 8 + text_nbytes], "pack 1")
        path = folder / f"{pack_id.hex()}.h5"
        assert path.stat().st_size == fields["file_nbytes"]
        self.file = h5py.File(path, "r", locking=False)
        self.datasets = fields["datasets"]
        assert self.file["index"].attrs["tensorvcs"] == 1
        digests, rows = self.file["index/digests"][:], self.file["index/rows"][:]
        names = [digest.tobytes() for digest in digests]
        assert names == sorted(set(names))
        self.places = dict(zip(names, rows.tolist(), strict=True))

    def read(self, digest: bytes) -> Value | None:
        if digest not in self.places:
            return None
        number, row = self.places[digest]
        fields = self.datasets[number]
        found = self.file[fields["path"].strip("/")]
        if isinstance(found, h5py.Group):
            return self.frame(found, row)
        dtype, shape = str(found.attrs["dtype"]), tuple(int(n) for n in found.attrs["shape"])
        if not fields["path"].endswith(".blosc"):
            return "ndarray", dtype, shape, np.ascontiguousarray(found[row]).tobytes()
        # Without the filter: the chunk is one frame of Blosc.
        slab_rows = found.chunks[0]
        slab, place = divmod(row, slab_rows)
        corner = (slab * slab_rows, *(0 for _ in found.shape[1:]))
        _, frame = found.id.read_direct_chunk(corner)
        nbytes = prod(shape) * found.dtype.itemsize
        return "ndarray", dtype, shape, row_of_frame(frame, place, nbytes)

    @staticmethod
    def frame(group: h5py.Group, row: int) -> Value:
        low, high = (int(n) for n in group["offsets"][row : row + 2])
        data = group["data"][low:high].tobytes()
        if group.attrs["compression"] == "blosc":
            data = blosc.decompress(data)
        shape = tuple(int(n) for n in group["shapes"][row]) if "shapes" in group else ()
        return str(group.attrs["kind"]), str(group.attrs["dtype"]), shape, data


def row_of_frame(f: bytes, i: int, n: int) -> bytes:
    """Decode row `i` of `n` bytes, its block alone where the blocks of the frame are rows."""
    if struct.unpack_from("<I", f, 8)[0] != n or f[2] & 2:
        whole: bytes = blosc.decompress(f)
        return whole[i * n : (i + 1) * n]
    count = struct.unpack_from("<I", f, 4)[0] // n
    start = (*struct.unpack_from(f"<{count}i", f, 16), len(f))
    block = f[start[i] : start[i + 1]]
    row: bytes = blosc.decompress(f[:4] + struct.pack("<IIIi", n, n, 20 + len(block), 20) + block)
    return row
