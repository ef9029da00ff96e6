"""Records come back as they were, and damage to them is found."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import DigestMismatchError, ObjectDamagedError, UnsupportedFormatError
from tensorvcs.objects.digest import digest_of
from tensorvcs.objects.tensor import value_header
from tensorvcs.storage.lmdb_environment import LmdbEnvironment
from tensorvcs.storage.pack_index import (
    NO_BLOCKS,
    Blocks,
    DatasetRecord,
    Layout,
    LooseValue,
    PackIndex,
    PackRecord,
    decode_loose,
    decode_pack_record,
    encode_loose,
    encode_pack_record,
)

if TYPE_CHECKING:
    from pathlib import Path

PACK_ID = bytes(range(16))


def blocks(count: int) -> Blocks:
    numbers = np.random.default_rng(count).integers(0, 2**64, (3, count), np.uint64)
    return Blocks(numbers[0], numbers[1], numbers[2])


def record(pack_id: bytes = PACK_ID) -> PackRecord:
    rows = Layout("ndarray", "bfloat16", (3, 4), 2, "zstd")
    texts = Layout("str", "", None, 0, None)
    return PackRecord(
        pack_id=pack_id,
        file_nbytes=2**40,
        payload_nbytes=5,
        datasets=(
            DatasetRecord("/a", rows, 7, 2, 48, blocks(4), NO_BLOCKS, NO_BLOCKS),
            DatasetRecord("/str/utf8", texts, 9, 0, 100, blocks(2), blocks(1), NO_BLOCKS),
        ),
        fences=blocks(3).starts,
        digests=blocks(3),
        rows=blocks(3),
        digest_count=16,
        rest_check=2**64 - 1,
    )


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right))
    if hasattr(left, "__dataclass_fields__"):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in fields(left))
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def test_a_record_comes_back() -> None:
    assert same(decode_pack_record(PACK_ID, encode_pack_record(record())), record())


@given(st.data())
def test_any_change_of_a_record_is_found(data: st.DataObject) -> None:
    content = bytearray(encode_pack_record(record()))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ObjectDamagedError, match=PACK_ID.hex()):
        decode_pack_record(PACK_ID, bytes(content))
    with pytest.raises(ObjectDamagedError):
        decode_pack_record(PACK_ID, bytes(content[:at]))


def test_a_record_of_a_later_version_is_unsupported() -> None:
    import struct

    import xxhash

    content = encode_pack_record(record())[:-8].replace(b"pack 1\n", b"pack 2\n")
    content += struct.pack("<Q", xxhash.xxh3_64_intdigest(content))
    with pytest.raises(UnsupportedFormatError):
        decode_pack_record(PACK_ID, content)


@pytest.mark.parametrize(
    "value",
    [
        LooseValue("ndarray", "float8_e4m3b11fnuz", (2, 3), b"abcdef", True),
        LooseValue("ndarray", "bool", (0, 2**40), b"", False),
        LooseValue("str", "", (), "é".encode(), False),
        LooseValue("bytes", "", (), bytes(1000), False),
    ],
)
def test_a_loose_value_comes_back(value: LooseValue) -> None:
    content = encode_loose(value)
    header = value_header(value.kind, value.dtype, value.shape, len(value.data))
    digest = digest_of(header + value.data)
    for _ in range(2):
        assert decode_loose(digest, content) == value
    for at in range(len(content)):
        with pytest.raises(ObjectDamagedError):
            decode_loose(digest, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    for at in range(0, len(content), 7):
        with pytest.raises(ObjectDamagedError):
            decode_loose(digest, content[:at])
    with pytest.raises(DigestMismatchError, match=digest.hex()):
        decode_loose(bytes(32), content)


def test_versions_count_changes_and_moves(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path)
    found = PackIndex(environment)
    seen = [found.version()]

    def change(**changes: Any) -> bool:
        is_changed = found.change(**changes)
        seen.append(found.version())
        return is_changed

    assert change(add_packs=[record()])
    assert change(add_loose=[(b"d" * 32, b"loose")])
    assert change(remove_loose=[b"d" * 32])
    assert change(add_packs=[record(b"n" * 16)], remove_packs=[PACK_ID])
    assert [(v.change_count, v.move_count) for v in seen] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 2),
    ]
    assert found.pack_ids() == (seen[-1], [b"n" * 16])
    # A pack that another process replaced before is not replaced again.
    assert not change(add_packs=[record(b"m" * 16)], remove_packs=[PACK_ID])
    assert found.pack_ids() == (seen[-2], [b"n" * 16])
    assert found.pack_record(b"m" * 16) is None
