"""The messages: what is written can be read, and whatever else comes is our error."""

from __future__ import annotations

import io
import json
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs import errors
from tensorvcs.errors import (
    ConnectionLostError,
    DigestMismatchError,
    ObjectNotFoundError,
    RefChangedError,
    RemoteError,
    StorageError,
    TensorVCSError,
    with_hint,
)
from tensorvcs.storage.exchange import checked_data
from tensorvcs.storage.interfaces import RefChange, StoredValues
from tensorvcs.storage.memory import MemoryTensors
from tensorvcs.sync import wire
from tests.tensor_values import every_schema, put
from tests.unit.sync.services import reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIGESTS = st.lists(st.binary(min_size=32, max_size=32), max_size=8)
REF_VALUES = st.one_of(st.none(), st.binary(max_size=80))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def joined(contents: list[bytes]) -> bytes:
    return b"".join(wire.stream(contents))


# What is written can be read


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_a_stream_comes_back(contents: list[bytes]) -> None:
    assert list(wire.read_frames(reader(joined(contents)))) == contents


@given(DIGESTS)
def test_digests_come_back(digests: list[bytes]) -> None:
    frames = list(wire.encode_digests(digests))
    assert [d for frame in frames for d in wire.decode_digests(frame)] == digests


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_objects_come_back(objects: list[bytes]) -> None:
    frames = list(wire.encode_objects(objects))
    assert [o for frame in frames for o in wire.decode_objects(frame)] == objects


@given(st.dictionaries(NAMES, st.binary(max_size=80), max_size=4))
def test_refs_come_back(refs: dict[str, bytes]) -> None:
    assert wire.decode_refs(wire.encode_refs(refs.items())) == refs


@given(st.lists(st.builds(RefChange, NAMES, REF_VALUES, REF_VALUES), max_size=4))
def test_changes_come_back(changes: list[RefChange]) -> None:
    assert wire.decode_swap(wire.encode_swap(changes)) == changes


def test_many_small_things_share_frames() -> None:
    digests = [struct.pack("<Q", n) * 4 for n in range(70_000)]
    frames = list(wire.encode_digests(digests))
    assert [len(frame) for frame in frames] == [1 << 20, 1 << 20, (70_000 - 65_536) * 32]
    objects = [b"x" * 1000] * 3000
    frames = list(wire.encode_objects(objects))
    assert len(frames) == 3
    assert sum(len(wire.decode_objects(frame)) for frame in frames) == 3000


@pytest.mark.parametrize(
    "case", [pytest.param(case[1:], id=case[0]) for case in every_schema()[::4]]
)
def test_values_come_back(case: tuple[Any, Any]) -> None:
    store, taken = MemoryTensors(), MemoryTensors()
    digests = put(store, case[0], case[1](0)[:20])
    for part in store.stored(digests):
        found = wire.decode_values(wire.encode_values(part))
        assert (found.kind, found.dtype, found.shape, found.compressor) == (
            part.kind,
            part.dtype,
            part.shape,
            part.compressor,
        )
        taken.take(found)
    taken.seal()
    assert set(taken.values) == set(store.values)


def test_a_greeting_comes_back() -> None:
    greeting = wire.Greeting(1, 2, 3)
    assert wire.Greeting.decode(greeting.encode()) == greeting


# Errors


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ObjectNotFoundError("object 12 is away"), ObjectNotFoundError),
        (with_hint(RefChangedError("ref moved"), "try again"), RefChangedError),
        (StorageError("the disk /home/ada is full"), RemoteError),
        (RemoteError("no"), RemoteError),
    ],
)
def test_an_error_ends_a_stream_and_arrives(error: TensorVCSError, kind: type) -> None:
    def failing() -> Iterator[bytes]:
        yield b"first"
        raise error

    frames = wire.read_frames(reader(b"".join(wire.stream(failing()))))
    assert next(frames) == b"first"
    with pytest.raises(TensorVCSError) as caught:
        next(frames)
    assert type(caught.value) is kind
    assert str(caught.value) == str(error)
    assert caught.value.hint == error.hint


def test_damage_at_the_other_end_says_where_to_verify() -> None:
    found = wire.decode_error(wire.encode_error(DigestMismatchError("bad")))
    assert isinstance(found, DigestMismatchError)
    assert found.hint == "run 'tvcs verify' in the repository of the remote"


def test_a_text_of_the_other_end_moves_no_cursor_and_fills_no_screen() -> None:
    found = wire.decode_error(b'{"error": "X", "problem": "\\u001b[2J\\nroot#", "hint": "\\u0007"}')
    assert str(found) == " [2J root#"
    assert found.hint == " "
    long = wire.decode_error(wire.encode_error(RemoteError("x" * 100_000)))
    assert len(str(long)) < 5000


@pytest.mark.parametrize("name", wire._CARRIED)
def test_every_error_that_is_carried_is_made_of_one_text(name: str) -> None:
    kind = getattr(errors, name)
    found = wire.decode_error(wire.encode_error(kind("a text")))
    assert type(found) is kind


# What is no message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_stream_or_our_error(content: bytes) -> None:
    with suppress(TensorVCSError):
        for _ in wire.read_frames(reader(content)):
            pass


@given(st.lists(st.binary(max_size=40), max_size=3), st.integers(0, 200))
def test_a_stream_that_was_cut_is_never_a_whole_one(contents: list[bytes], cut: int) -> None:
    whole = joined(contents)
    with pytest.raises(ConnectionLostError, match="the line was cut"):
        list(wire.read_frames(reader(whole[: cut % len(whole)])))


@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(0, 200_000), st.data())
def test_large_frames_come_in_one_piece(
    contents: list[bytes], nbytes: int, data: st.DataObject
) -> None:
    large = bytes(range(256)) * (nbytes // 256)
    whole = joined([*contents, large])
    source = io.BytesIO(whole)
    found = list(wire.read_frames(source.read, read_into=source.readinto))
    assert [bytes(content) for content in found] == [*contents, large]
    assert isinstance(found[-1], memoryview) == (len(large) > 65536)
    cut = io.BytesIO(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ConnectionLostError, match="the line was cut"):
        list(wire.read_frames(cut.read, read_into=cut.readinto))


def test_a_content_in_two_parts_is_one_frame() -> None:
    pieces = list(wire.stream([(b"ab", memoryview(b"cd")), (b"e", memoryview(b""))]))
    assert list(wire.read_frames(reader(b"".join(pieces)))) == [b"abcd", b"e"]


def test_a_length_that_lies_takes_no_memory() -> None:
    asked: list[int] = []

    def read(nbytes: int) -> bytes:
        asked.append(nbytes)
        return reader(struct.pack("<cQ", b"d", 1 << 30))(nbytes) if len(asked) == 1 else b""

    with pytest.raises(ConnectionLostError, match=f"{1 << 30} of {1 << 30} bytes are missing"):
        list(wire.read_frames(read))
    assert max(asked) <= 4 << 20
    for nbytes in (wire.MAX_FRAME_NBYTES + 1, 2**64 - 1):
        head = struct.pack("<cQ", b"d", nbytes)
        with pytest.raises(RemoteError, match=f"{nbytes} bytes is announced; at most"):
            list(wire.read_frames(reader(head)))
    with pytest.raises(RemoteError, match="at most 10 are read"):
        list(wire.read_frames(reader(joined([b"x" * 11])), 10))


DECODERS: dict[str, Callable[[bytes], object]] = {
    "digests": wire.decode_digests,
    "objects": wire.decode_objects,
    "values": wire.decode_values,
    "refs": wire.decode_refs,
    "swap": wire.decode_swap,
    "greeting": wire.Greeting.decode,
}
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
        st.sampled_from(["kind", "ndarray", "changes", "protocol"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["kind", "dtype", "shape", "compressor", "count", "ndim", "changes", "error",
                 "problem", "hint", "protocol", "max_frame_nbytes", "max_request_nbytes"]
            ),
            inner,
            max_size=8,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("name", DECODERS)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_message_or_our_error(name: str, content: bytes) -> None:
    with suppress(RemoteError):
        DECODERS[name](content)


@pytest.mark.parametrize("name", DECODERS)
@given(fields=JSON, is_framed=st.booleans(), rest=st.binary(max_size=80))
def test_any_json_is_a_message_or_our_error(
    name: str, fields: object, is_framed: bool, rest: bytes
) -> None:

    text = json.dumps(fields).encode()
    content = struct.pack("<I", len(text)) + text + rest if is_framed else text
    with suppress(RemoteError):
        DECODERS[name](content)


@given(st.one_of(st.binary(max_size=200), JSON))
def test_any_error_can_be_shown(content: object) -> None:

    found = wire.decode_error(
        content if isinstance(content, bytes) else json.dumps(content).encode()
    )
    assert isinstance(found, TensorVCSError)
    assert str(found).isprintable()


@pytest.mark.parametrize("name", ["values", "refs", "swap", "greeting"])
def test_nested_json_is_our_error(name: str) -> None:
    text = b"[" * 100_000
    for content in (text, struct.pack("<I", 4000) + text[:4000], b'{"changes":' + text):
        with pytest.raises(RemoteError):
            DECODERS[name](content)


NUMBERS = st.one_of(st.integers(-3, 70), st.sampled_from([2**31, 2**47, 2**62, 2**63, -1]))


@given(
    fields=st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["ndarray", "str", "bytes", "x"]),
            "dtype": st.sampled_from(["", "uint8", "float64", "object", "V8"]),
            "shape": st.one_of(st.none(), st.lists(NUMBERS, max_size=70)),
            "compressor": st.sampled_from([None, "lz4", "zstd", "x"]),
            "count": NUMBERS,
            "ndim": NUMBERS,
        }
    ),
    numbers=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=12),
    data=st.binary(max_size=64),
)
def test_values_that_lie_are_never_taken(
    fields: dict[str, Any], numbers: list[int], data: bytes
) -> None:
    """Whatever the description says: our error, or values that hash to their names."""

    text = json.dumps(fields).encode()
    content = b"".join(
        (struct.pack("<I", len(text)), text, struct.pack(f"<{len(numbers)}q", *numbers), data)
    )
    with suppress(RemoteError, DigestMismatchError):
        checked_data(wire.check_decoded(wire.decode_values(content), 1 << 20))


def test_sizes_that_add_up_by_overflow_are_refused() -> None:
    values = StoredValues(
        "bytes",
        "",
        None,
        None,
        np.zeros((5, 32), np.uint8),
        np.zeros((5, 0), np.int64),
        np.array([2**62] * 4 + [5]),
        np.zeros(5, np.uint8),
    )
    with pytest.raises(DigestMismatchError, match="sizes do not fit"):
        checked_data(wire.decode_values(wire.encode_values(values)))


def test_a_few_bytes_never_become_many() -> None:
    frame = struct.pack("<BBBBIII", 2, 1, 0, 1, 2**32 - 1, 2**31, 16)
    values = StoredValues(
        "bytes",
        "",
        None,
        "lz4",
        np.zeros((3, 32), np.uint8),
        np.zeros((3, 0), np.int64),
        np.array([len(frame)] * 3),
        np.frombuffer(frame * 3, np.uint8),
    )
    assert wire.decoded_nbytes(values) == 3 * (2**32 - 1)
    with pytest.raises(RemoteError, match=f"3 values arrived that decode to {3 * (2**32 - 1)} byt"):
        wire.check_decoded(values, 1 << 30)
    rows = StoredValues(
        "ndarray",
        "uint8",
        (1 << 40,),
        "zstd",
        np.zeros((2, 32), np.uint8),
        np.zeros((2, 0), np.int64),
        np.array([1 << 40] * 2),
        np.frombuffer(frame, np.uint8),
    )
    assert wire.decoded_nbytes(rows) == 1 << 41


def test_numbers_are_as_many_as_were_asked_for() -> None:
    assert wire.decode_numbers(struct.pack("<2q", 1, 2), 2).tolist() == [1, 2]
    with pytest.raises(RemoteError, match="16 bytes arrived for 3 numbers"):
        wire.decode_numbers(struct.pack("<2q", 1, 2), 3)


def test_what_is_announced_and_does_not_come_is_named() -> None:
    with pytest.raises(RemoteError, match="no multiple of 32"):
        wire.decode_digests(b"x" * 33)
    with pytest.raises(RemoteError, match="an object of 9 bytes is announced"):
        wire.decode_objects(struct.pack("<I", 9) + b"x")
    with pytest.raises(RemoteError, match="unknown kind b'q'"):
        list(wire.read_frames(reader(struct.pack("<cQ", b"q", 0))))
    with pytest.raises(RemoteError, match="a description of values has 5000 bytes"):
        wire.decode_values(struct.pack("<I", 5000))
