"""One object, one spelling."""

from __future__ import annotations

import pytest

from tensorvcs.errors import ObjectDamagedError, UnsupportedFormatError
from tensorvcs.objects.encoding import decode_object, encode_object

FIELDS = {"b": [1, None, True], "a": {"é": "\U0001f600\n"}}


def test_the_spelling_is_pinned() -> None:
    content = encode_object("thing", 1, FIELDS)
    assert content == 'thing 1\n{"a":{"é":"\U0001f600\\n"},"b":[1,null,true]}'.encode()
    assert decode_object(content, "thing", 1) == FIELDS


def test_the_order_of_the_fields_does_not_matter() -> None:
    assert encode_object("t", 1, dict(reversed(FIELDS.items()))) == encode_object("t", 1, FIELDS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"thing",
        b"thing 1",
        b"thing 1\n",
        b"thing 1\n[]",
        b"thing 1\nnull",
        b"thing 1\n{",
        b'thing 1\n{"a": 1}',
        b'thing 1\n{"b":1,"a":1}',
        b'thing 1\n{"a":1,"a":1}',
        b'thing 1\n{"a":1}\n',
        b'thing 1\n{"a":"\\u00e9"}',
        b'thing 1\n{"a":"\\ud800"}',
        b'thing 1\n{"a":1.0}',
        b'thing 1\n{"a":NaN}',
        b'thing 1\n{"a":-Infinity}',
        b'thing 1\n{"a":1e3}',
        b'thing 1\n{"a":-0}',
        b'thing 1\n{"a":"\xff"}',
        b'thing 1\n{"a":' + b"9" * 5000 + b"}",
        b"thing 1\n" + b'{"a":' * 100_000,
        b"thing 01\n{}",
        b"thing 0\n{}",
        b"thing -1\n{}",
        b"thing one\n{}",
        b"thing " + b"9" * 5000 + b"\n{}",
        b"other 1\n{}",
        b"thing  1\n{}",
        b"\xff\xfe",
    ],
)
def test_any_other_spelling_is_damage(content: bytes) -> None:
    with pytest.raises(ObjectDamagedError):
        decode_object(content, "thing", 1)


def test_a_version_of_the_future_is_named() -> None:
    with pytest.raises(UnsupportedFormatError, match="version 7; this TensorVCS reads up to 1"):
        decode_object(b'thing 7\n{"anything":1.5}', "thing", 1)
