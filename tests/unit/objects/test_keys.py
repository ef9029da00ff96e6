from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import DuplicateKeyError, InvalidKeyError
from tensorvcs.objects import keys as keys_module
from tensorvcs.objects.keys import (
    Keys,
    check_key,
    collect_keys,
    composite_key,
    composite_prefix,
    sort_unique,
    split_composite,
    text_array,
)
from tests.strategies import KEYS, TEXT_KEYS

if TYPE_CHECKING:
    from tensorvcs.objects.keys import Key


def order_of(key: Key) -> tuple[bool, Any]:
    """Ints by value, then texts by code point."""
    return isinstance(key, str), key


def in_order(keys: list[Any]) -> list[Any]:
    return sorted(keys, key=order_of)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        (0, 0),
        (-(2**63), -(2**63)),
        (2**63 - 1, 2**63 - 1),
        (np.int8(-3), -3),
        (np.uint64(2**63 - 1), 2**63 - 1),
        (np.array(5), 5),
        ("a/../b\n\t é \U0001f600", "a/../b\n\t é \U0001f600"),
        ("..", ".."),
        (" ", " "),
        ("k" * 4096, "k" * 4096),
        (Text("sub"), "sub"),
        (np.str_("numpy"), "numpy"),
    ],
)
def test_a_legal_key_becomes_a_plain_one(key: Any, plain: Key) -> None:
    found = check_key(key)
    assert found == plain
    assert type(found) is type(plain)


ILLEGAL = [
    True, False, np.True_, None, 1.0, np.float64(1), b"a", ("a", "b"), [], {}, object(),
    2**63, -(2**63) - 1, np.uint64(2**63), "", "a\0b", "\ud800", "x\udfff", "k" * 4097,
    "é" * 2049, "k" * 10_000, np.array([1]),
]  # fmt: skip


@pytest.mark.parametrize("key", ILLEGAL)
def test_an_illegal_key_is_refused_alone_and_among_others(key: Any) -> None:
    with pytest.raises(InvalidKeyError) as caught:
        check_key(key)
    assert len(str(caught.value)) < 300
    with pytest.raises(InvalidKeyError):
        collect_keys([1, "a", key])


@given(st.lists(KEYS, unique=True, max_size=20))
def test_many_keys_are_gathered_with_their_places(keys: list[Key]) -> None:
    found, places = collect_keys(keys)
    assert len(found) == len(keys)
    assert [keys[at] for at in places.tolist()] == found.to_list()
    assert found.to_list() == [k for k in keys if type(k) is int] + [
        k for k in keys if type(k) is str
    ]


@pytest.mark.parametrize(
    "keys",
    [
        range(5),
        range(9, -3, -2),
        range(3, 3),
        range(2**63 - 2, 2**63),
        range(-(2**63) + 1, -(2**63) - 1, -1),
        np.arange(4, dtype=np.uint8),
        np.array([2, -7]),
        np.array([], np.int64),
        np.array(["b", "a"]),
        np.array([3, "x"], object),
        (k for k in [1, "a"]),
        {"a": 1, 2: 3},
        np.array([2**63 - 1], np.uint64),
    ],
)
def test_keys_come_in_many_forms(keys: Any) -> None:
    listed = list(keys) if not hasattr(keys, "gi_frame") else [1, "a"]
    found, places = collect_keys(keys)
    assert [listed[at] for at in places.tolist()] == found.to_list()
    assert all(type(key) in (int, str) for key in found.to_list())


@pytest.mark.parametrize(
    "keys",
    [
        np.array([2**63], np.uint64),
        range(2**63 - 2, 2**63 + 1),
        range(-(2**63) - 1, 0),
        np.array([True]),
        np.array([1.0]),
        np.array([[1, 2]]),
    ],
)
def test_many_illegal_keys_are_refused(keys: Any) -> None:
    with pytest.raises(InvalidKeyError):
        collect_keys(keys)


@given(st.lists(TEXT_KEYS, max_size=20))
def test_texts_sort_by_code_point(texts: list[str]) -> None:
    array = text_array([text.encode() for text in texts])
    assert [text.decode() for text in np.sort(array).tolist()] == sorted(texts)


def test_very_long_texts_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = [b"b" * 40, b"a", b"c"]
    fixed = text_array(encoded)
    monkeypatch.setattr(keys_module, "_FIXED_WIDTH_LIMIT_NBYTES", 100)
    loose = text_array(encoded)
    assert (fixed.dtype.kind, loose.dtype.kind) == ("S", "O")
    assert fixed.tolist() == loose.tolist() == encoded
    assert np.argsort(fixed).tolist() == np.argsort(loose).tolist()


@given(st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=12, unique=True))
def test_composite_keys_sort_as_their_pairs_do(pairs: list[tuple[Key, Key]]) -> None:
    encoded = [composite_key(*pair) for pair in pairs]
    assert [split_composite(text) for text in encoded] == pairs
    ordered = sorted(pairs, key=lambda pair: (order_of(pair[0]), order_of(pair[1])))
    assert [split_composite(text) for text in sorted(encoded)] == ordered
    assert all(b"\0" not in text for text in encoded)
    assert Keys(np.empty(0, np.int64), text_array(encoded)).to_pairs() == pairs


@given(KEYS, KEYS, KEYS)
def test_a_prefix_is_that_of_its_sample_alone(sample: Key, other: Key, subsample: Key) -> None:
    encoded = composite_key(other, subsample)
    assert encoded.startswith(composite_prefix(sample)) == (other == sample)


@pytest.mark.parametrize("key", ILLEGAL)
def test_a_composite_key_has_legal_parts(key: Any) -> None:
    for pair in [(key, 1), (1, key)]:
        with pytest.raises(InvalidKeyError):
            composite_key(*pair)


def test_a_key_that_comes_twice_is_named() -> None:
    assert sort_unique(np.array([3, 1, 2])).tolist() == [1, 2, 0]
    with pytest.raises(DuplicateKeyError, match="key 3 comes more than once"):
        sort_unique(np.array([3, 1, 3]))
    with pytest.raises(DuplicateKeyError, match="'b' comes more than once"):
        sort_unique(text_array([b"b", b"b", b"a"]), "column 'x': key")
    with pytest.raises(DuplicateKeyError):
        sort_unique(np.array([b"b", b"b"], object))
