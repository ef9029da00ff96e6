from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import ObjectDamagedError, UnsupportedFormatError
from tensorvcs.objects.keys import text_array
from tensorvcs.tree import node as node_module
from tensorvcs.tree.boundary import DEFAULT_BOUNDARY, hash_keys
from tensorvcs.tree.node import (
    MAX_NODE_ENTRIES,
    Node,
    check_node,
    encode_inner,
    encode_leaves,
    leaf_payloads,
)
from tests.unit.tree.model import TINY

if TYPE_CHECKING:
    from numpy.typing import NDArray

INT_KEYS: dict[str, list[int]] = {
    "one": [5],
    "dense": [-2, -1, 0, 1],
    "bytes": [0, 256],
    "shorts": [0, 257, 70_000 - 5000],
    "words": [-(2**31), 0, 1],
    "extremes": [-(2**63), 0, 2**63 - 1],
}
TEXT_KEYS: dict[str, list[bytes]] = {
    "one": [b"a"],
    "same length": [b"img/001", b"img/002", b"img/003"],
    "prefix of the next": [b"a", b"aa", b"ab"],
    "nothing shared": [b"z", "ü".encode(), "\U0001f600".encode()],
    "long": [b"a" * 300, b"a" * 300 + b"b" * 4000],
}


def columns(count: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, width), dtype=np.uint8)


def key_array(keys: list[Any]) -> NDArray[Any]:
    return np.array(keys, np.int64) if isinstance(keys[0], int) else text_array(keys)


def leaf(keys: list[Any], width: int = 3) -> bytes:
    stops = np.array([len(keys)])
    return encode_leaves(key_array(keys), columns(len(keys), width), stops)[0]


def inner(keys: list[Any], counts: list[int], level: int = 1) -> bytes:
    children = columns(len(keys), 32)
    stops = np.array([len(keys)])
    return encode_inner(key_array(keys), children, np.array(counts), stops, level, 3)[0]


ALL_KEYS: list[list[Any]] = [*INT_KEYS.values(), *TEXT_KEYS.values()]


@pytest.mark.parametrize("width", [0, 1, 32, 64])
@pytest.mark.parametrize("keys", ALL_KEYS)
def test_a_leaf_reads_back(keys: list[Any], width: int) -> None:
    node = Node(leaf(keys, width))
    assert node.keys.tolist() == keys
    assert np.array_equal(node.values, columns(len(keys), width))
    assert [node.value(i) for i in range(len(keys))] == list(map(bytes, node.values))
    assert (node.level, node.value_nbytes, node.total) == (0, width, len(keys))
    assert node.is_text is isinstance(keys[0], bytes)
    assert node.hashes.tolist() == hash_keys(key_array(keys)).tolist()
    assert not node.values.flags.writeable


@pytest.mark.parametrize("largest", [1, 255, 256, 65_536, 2**32])
@pytest.mark.parametrize("keys", ALL_KEYS)
def test_an_inner_node_reads_back(keys: list[Any], largest: int) -> None:
    counts = [1] * (len(keys) - 1) + [largest]
    node = Node(inner(keys, counts, 3))
    assert node.total == sum(counts)
    assert node.keys.tolist() == keys
    assert node.counts.tolist() == counts
    assert np.array_equal(node.children, columns(len(keys), 32))
    assert node.child(0) == bytes(node.children[0])
    assert node.level == 3


def test_texts_in_an_object_array_have_the_same_encoding() -> None:
    for keys in TEXT_KEYS.values():
        objects = np.array(keys, object)
        again = encode_leaves(objects, columns(len(keys), 3), np.array([len(keys)]))
        assert again == [leaf(keys)]


def test_texts_that_padding_would_blow_up_decode_to_an_object_array(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_module, "_PADDED_LIMIT_NBYTES", 10)
    for keys in TEXT_KEYS.values():
        node = Node(leaf(keys))
        assert node.keys.tolist() == keys
        check_node(leaf(keys), DEFAULT_BOUNDARY)


def test_dense_keys_take_no_space_and_close_ones_a_byte() -> None:
    assert len(leaf(list(range(1000)), 0)) == 28
    assert len(leaf(list(range(0, 2000, 2)), 0)) == 28 + 999
    assert len(leaf([b"img/%03d" % i for i in range(1000)], 0)) == 20 + 8 + 3000


def test_consecutive_nodes_encode_as_they_do_alone() -> None:
    keys = [b"a", b"ab", b"abc", b"b", b"b" * 40, b"c"]
    stops = np.array([2, 3, 6])
    values = columns(6, 3)
    parts = encode_leaves(key_array(keys), values, stops)
    assert [Node(part).keys.tolist() for part in parts] == [keys[:2], keys[2:3], keys[3:]]
    assert np.array_equal(np.concatenate([Node(part).values for part in parts]), values)
    alone = encode_leaves(key_array(keys[3:]), values[3:], np.array([3]))
    assert alone == parts[2:]


def test_memory_is_estimated_above_the_size() -> None:
    for keys in ALL_KEYS:
        node = Node(leaf(keys))
        assert node.memory_nbytes >= len(node.content) + node.keys.nbytes


def test_payloads_of_many_leaves_need_no_keys() -> None:
    contents = [leaf([1, 2]), leaf([b"x"]), leaf(list(range(9)))]
    expected = b"".join(bytes(columns(count, 3)) for count in (2, 1, 9))
    assert leaf_payloads(contents, 3) == expected
    assert leaf_payloads([], 3) == b""


@pytest.mark.parametrize(
    "content",
    [b"", b"node 1\n", leaf([1], 4), inner([1], [1]), leaf([1, 2])[:-1], b"x" + leaf([1])[1:]],
)
def test_payloads_of_what_is_no_such_leaf_are_damage(content: bytes) -> None:
    with pytest.raises(ObjectDamagedError):
        leaf_payloads([leaf([1]), content], 3)


def header(**changes: int) -> bytes:
    fields = {
        "sort": 0,
        "level": 0,
        "value_nbytes": 0,
        "key_width": 0,
        "count_width": 0,
        "entry_count": 1,
        "keys_nbytes": 8,
    }
    return struct.pack("<7s5B2I", b"node 1\n", *{**fields, **changes}.values())


def read_all(content: bytes) -> None:
    """Decode everything that a node has."""
    node = Node(content)
    assert len(node.keys) == node.entry_count
    assert len(node.hashes) == node.entry_count
    assert node.total > 0
    if node.level:
        assert len(node.children) == len(node.counts) == node.entry_count
    else:
        assert len(node.values) == node.entry_count


def test_the_smallest_node_is_a_header_and_a_key() -> None:
    read_all(header() + struct.pack("<q", -5))


@pytest.mark.parametrize(
    "content",
    [
        header(),
        header(sort=2) + bytes(8),
        header(entry_count=0) + bytes(8),
        header(entry_count=MAX_NODE_ENTRIES + 1) + bytes(8),
        header(entry_count=2**32 - 1) + bytes(8),
        header(value_nbytes=65) + bytes(8 + 65),
        header(key_width=3, entry_count=2, keys_nbytes=11) + bytes(11),
        header(key_width=8, entry_count=2, keys_nbytes=15) + bytes(15),
        header(count_width=1) + bytes(9),
        header(level=1) + bytes(8 + 32),
        header(level=1, count_width=3) + bytes(8 + 35),
        header(level=1, count_width=1) + bytes(8 + 33),
        header(level=1, count_width=8) + bytes(8 + 32) + b"\xff" * 8,
        header(keys_nbytes=9) + bytes(9),
        header(sort=1, keys_nbytes=3) + bytes(3),
        header(sort=1, keys_nbytes=4) + bytes(4),
        header(sort=1, keys_nbytes=5) + struct.pack("<HH", 9, 0) + b"a",
        header(sort=1, keys_nbytes=5) + struct.pack("<HH", 0, 2) + b"a",
        header(sort=1, key_width=4, keys_nbytes=8) + bytes(8),
        header(sort=1, key_width=1, keys_nbytes=6) + struct.pack("<HHB", 0, 1, 1) + b"a",
        header(sort=1, key_width=2, keys_nbytes=6) + struct.pack("<HHH", 65535, 0, 0),
        # Past the largest int: densely, in a jump, and in a jump that turns round.
        header(entry_count=2) + struct.pack("<q", 2**63 - 1),
        header(key_width=1, entry_count=2, keys_nbytes=9) + struct.pack("<qB", 2**63 - 2, 9),
        header(key_width=8, entry_count=2, keys_nbytes=16) + struct.pack("<qQ", 0, 2**64 - 1),
        header(key_width=8, entry_count=3, keys_nbytes=24)
        + struct.pack("<qQQ", 2**62, 2**63, 2**63),
    ],
)
def test_damaged_bytes_are_told_apart(content: bytes) -> None:
    with pytest.raises(ObjectDamagedError):
        read_all(content)


@pytest.mark.parametrize("magic", [b"commit ", b"node 0\n", b"node x\n", b"\0" * 7])
def test_another_kind_is_damage(magic: bytes) -> None:
    with pytest.raises(ObjectDamagedError, match="expected a tree node"):
        Node(magic + leaf([1])[7:])


def test_a_newer_version_is_not_damage() -> None:
    with pytest.raises(UnsupportedFormatError, match="version 2"):
        Node(b"node 2\n" + leaf([1])[7:])


def test_a_small_node_cannot_ask_for_much_memory() -> None:
    lengths = np.zeros(60_000, "<u2")
    lengths[0] = 60_000
    body = struct.pack("<HH", 0, 0) + lengths.tobytes() + b"x" * 60_000
    content = header(sort=1, key_width=2, entry_count=60_000, keys_nbytes=len(body)) + body
    assert Node(content).keys.dtype == object


def test_any_bytes_decode_or_are_damage() -> None:
    rng = random.Random(3)
    good = [leaf(keys) for keys in ALL_KEYS]
    good += [inner(keys, [1] * len(keys)) for keys in ALL_KEYS]
    outcomes = {True: 0, False: 0}
    for _ in range(4000):
        content = bytearray(rng.choice(good))
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(min(len(content), 40))] = rng.randrange(256)
        if rng.random() < 0.3:
            content = content[: rng.randrange(len(content))]
        if rng.random() < 0.1:
            content += rng.randbytes(rng.randrange(40))
        try:
            read_all(bytes(content))
        except (ObjectDamagedError, UnsupportedFormatError):
            outcomes[False] += 1
        else:
            outcomes[True] += 1
    assert min(outcomes.values()) > 100


@pytest.mark.parametrize("keys", ALL_KEYS)
def test_what_is_encoded_passes_the_check(keys: list[Any]) -> None:
    ends = TINY.ends_run(hash_keys(key_array(keys)), 0, 3)[:-1]
    content = leaf(keys)
    if not ends.any():
        assert check_node(content, TINY).content == content
    check_node(content, DEFAULT_BOUNDARY)
    check_node(inner(keys, [1] * len(keys)), DEFAULT_BOUNDARY)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (leaf([b"b", b"a"]), "increase"),
        (leaf([b"a", b"a"]), "increase"),
        (leaf([b"a", b"b\0c"]), "NUL"),
        # Widths that are too wide, and a prefix that is too short.
        (
            header(entry_count=2, key_width=1, keys_nbytes=9) + struct.pack("<qB", 0, 0),
            "canonical",
        ),
        (
            header(level=1, count_width=2) + struct.pack("<q", 1) + bytes(32) + b"\1\0",
            "canonical",
        ),
        (
            header(sort=1, entry_count=2, keys_nbytes=8) + struct.pack("<HH", 0, 2) + b"abac",
            "canonical",
        ),
        (leaf(list(range(2000))), "goes on"),
    ],
)
def test_the_check_finds_what_decoding_lets_pass(content: bytes, problem: str) -> None:
    read_all(content)
    with pytest.raises(ObjectDamagedError, match=problem):
        check_node(content, DEFAULT_BOUNDARY)


def test_the_check_refuses_an_empty_key() -> None:
    body = struct.pack("<HHBB", 0, 0, 0, 1) + b"a"
    content = header(sort=1, key_width=1, entry_count=2, keys_nbytes=len(body)) + body
    with pytest.raises(ObjectDamagedError, match="empty"):
        check_node(content, DEFAULT_BOUNDARY)
