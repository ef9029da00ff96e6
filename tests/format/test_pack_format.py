"""A reader written from FORMAT.md alone, with no line of the library, finds every value."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import blosc
import lmdb
import numpy as np
import pytest
import xxhash

from tensorvcs.objects.schema import Schema
from tensorvcs.storage import pending_values
from tests.tensor_values import IMAGES, IMAGES_IN_FRAMES, TEXTS, open_store, put, random_images

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Blocks = tuple[list[int], list[int], list[int]]


class PlainReader:
    """Section 7 of FORMAT.md: records, blocks, the directory."""

    def __init__(self, folder: Path) -> None:
        environment = lmdb.open(str(folder / "lmdb"), max_dbs=16, readonly=True, lock=False)
        packs = environment.open_db(b"packs", create=False)
        loose = environment.open_db(b"loose", create=False)
        with environment.begin() as txn:
            self.packs = dict(txn.cursor(db=packs))
            self.loose = dict(txn.cursor(db=loose))
        environment.close()
        self.changes = struct.unpack("<QQ", self.packs.pop(b"version"))
        self.folder = folder

    def read(self, digest: bytes) -> tuple[Any, ...]:
        """Return (kind, dtype, shape, data)."""
        if digest in self.loose:
            return loose_value(self.loose[digest])
        for pack_id, record in self.packs.items():
            found = Pack(self.folder / "packs" / f"{pack_id.hex()}.h5", record).read(digest)
            if found is not None:
                return found
        raise KeyError(digest)


def loose_value(record: bytes) -> tuple[Any, ...]:
    assert struct.unpack("<Q", record[-8:])[0] == xxhash.xxh3_64_intdigest(record[:-8])
    form, kind, name_nbytes, ndim = record[:4]
    assert form == 1
    at = 4 + name_nbytes
    shape = struct.unpack_from(f"<{ndim}Q", record, at)
    kind_name = ("ndarray", "str", "bytes", "ndarray")[kind]
    return kind_name, record[4:at].decode(), shape, record[at + 8 * ndim : -8]


class Pack:
    def __init__(self, path: Path, record: bytes) -> None:
        assert struct.unpack("<Q", record[-8:])[0] == xxhash.xxh3_64_intdigest(record[:-8])
        text_nbytes, _ = struct.unpack_from("<II", record)
        line, _, text = record[8 : 8 + text_nbytes].partition(b"\n")
        assert line == b"pack 1"
        self.fields = json.loads(text)
        self.numbers: list[int] = np.frombuffer(record[8 + text_nbytes : -8], "<u8").tolist()
        self.content = path.read_bytes()
        assert len(self.content) == self.fields["file_nbytes"]
        self.fences = self.take(self.fields["fences"])
        self.digests, self.rows = (self.blocks(self.fields[n]) for n in ("digests", "rows"))
        self.datasets = [
            (d, self.blocks(d["slabs"]), self.blocks(d["offsets"]), self.blocks(d["shapes"]))
            for d in self.fields["datasets"]
        ]
        assert self.numbers == []

    def take(self, count: int) -> list[int]:
        taken, self.numbers = self.numbers[:count], self.numbers[count:]
        return taken

    def blocks(self, count: int) -> Blocks:
        return self.take(count), self.take(count), self.take(count)

    def block(self, blocks: Blocks, i: int) -> bytes:
        start, size, check = (array[i] for array in blocks)
        found = self.content[start : start + size]
        assert xxhash.xxh3_64_intdigest(found) == check
        return found

    def all_of(self, blocks: Blocks) -> bytes:
        return b"".join(self.block(blocks, i) for i in range(len(blocks[0])))

    def read(self, digest: bytes) -> tuple[Any, ...] | None:
        prefix = int.from_bytes(digest[:8], "big")
        for i in reversed(range(len(self.fences))):
            if self.fences[i] > prefix:
                continue
            names = self.block(self.digests, i)
            for at in range(0, len(names), 32):
                if names[at : at + 32] == digest:
                    place = struct.unpack_from("<II", self.block(self.rows, i), at // 4)
                    return self.value(*place)
            if self.fences[i] < prefix:
                break
        return None

    def value(self, dataset: int, row: int) -> tuple[Any, ...]:
        fields, slabs, offsets, shapes = self.datasets[dataset]
        if fields["shape"] is not None:
            slab, place = divmod(row, fields["slab_rows"])
            data = self.block(slabs, slab)
            nbytes = fields["slab_nbytes"] // fields["slab_rows"]
            if fields["compressor"]:
                data = self.row_of_frame(data, place, nbytes)
            else:
                data = data[place * nbytes : (place + 1) * nbytes]
            return fields["kind"], fields["dtype"], tuple(fields["shape"]), data
        low, high = struct.unpack_from("<QQ", self.all_of(offsets), 8 * row)
        data = self.all_of(slabs)[low:high]
        if fields["compressor"]:
            data = blosc.decompress(data)
        ndim = fields["ndim"]
        shape = struct.unpack_from(f"<{ndim}Q", self.all_of(shapes), 8 * ndim * row)
        return fields["kind"], fields["dtype"], shape, data

    @staticmethod
    def row_of_frame(f: bytes, i: int, n: int) -> bytes:
        block_nbytes = struct.unpack_from("<I", f, 8)[0]
        if block_nbytes != n or f[2] & 2:
            whole: bytes = blosc.decompress(f)
            return whole[i * n : (i + 1) * n]
        count = struct.unpack_from("<I", f, 4)[0] // n
        start = (*struct.unpack_from(f"<{count}i", f, 16), len(f))
        block = f[start[i] : start[i + 1]]
        header = f[:4] + struct.pack("<IIIi", n, n, 20 + len(block), 20)
        row: bytes = blosc.decompress(header + block)
        return row


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_reader_of_the_format_finds_every_value(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_packed: bool,
) -> None:
    if is_packed:
        monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    masks_schema = Schema("ndarray", "int16", (30, 40), codec="blosc")
    masks = (np.arange(100 * 1200) // 7 % 5).astype(np.int16).reshape(100, 30, 40)
    texts = [f"text {i} " * i for i in range(100)]
    variable = [image[: 1 + i % 16] for i, image in enumerate(random_images(100))]
    store = open_store(tmp_path)
    written: list[tuple[Schema, Any, NDArray[np.uint8]]] = [
        (schema, values, put(store, schema, values))
        for schema, values in (
            (IMAGES, random_images(3000, seed=1)),
            (masks_schema, masks),
            (TEXTS, texts),
            (Schema("str", codec="blosc"), [text + "!" for text in texts]),
            (IMAGES_IN_FRAMES, variable),
        )
    ]
    store.close()
    store._environment.close()
    reader = PlainReader(tmp_path)
    assert reader.changes == (5, 0)
    assert bool(reader.loose) is not is_packed
    for schema, values, digests in written:
        for i in range(0, len(values), max(1, len(values) // 15)):
            kind, dtype, shape, data = reader.read(digests[i].tobytes())
            assert (kind, dtype) == (schema.kind, schema.dtype)
            if kind == "str":
                assert data.decode() == values[i]
            else:
                assert shape == values[i].shape
                assert data == values[i].tobytes()
