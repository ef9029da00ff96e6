"""Sample keys: what is legal, their order, and many of them as arrays.

A key is a signed 64-bit `int` or a non-empty `str` without NUL of at most 4096 bytes of UTF-8.
Ints come before strings; ints go by value, strings by code point, which is the byte order of
their UTF-8. A tree holds keys of one sort only, int or str, so many keys are two arrays.

A subsample of a nested column has the composite key (sample, subsample), spelled as one byte
string whose byte order is the order of the pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index as as_int
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from tensorvcs.errors import DuplicateKeyError, InvalidKeyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

Key = Union[int, str]

MAX_KEY_NBYTES = 4096
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
# An array of fixed-width byte strings past this size is kept as an array of objects instead.
_FIXED_WIDTH_LIMIT_NBYTES = 64 << 20

# Composite keys: a component is a tag, the content and, for text, a terminator. The content of
# an int is ten bytes of seven bits with the high bit set; text escapes what is below 0x03.
_TAG_INT, _TAG_STR, _END, _ESCAPE = b"\x03", b"\x04", b"\x01", b"\x02"


def check_key(key: object) -> Key:
    """Return `key` as a plain `int` or `str` when it may name a sample.

    Raises
    ------
    InvalidKeyError
        A bool, a type other than int and str, an int beyond 64 bits, or a text that is empty,
        has NUL or an unpaired surrogate, or is too long.
    """
    if isinstance(key, str):
        _encode_text(key)
        return str(key)
    if isinstance(key, (bool, np.bool_)):
        raise InvalidKeyError(f"{key!r} is a bool; a key is a str or an int")
    try:
        number = as_int(key)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidKeyError(
            f"a key is a str or an int, not {type(key).__name__}: {str(key)[:80]!r}"
        ) from None
    if not _INT_MIN <= number <= _INT_MAX:
        raise InvalidKeyError(f"key {number} does not fit a signed 64-bit integer")
    return number


def _encode_text(key: str) -> bytes:
    try:
        encoded = key.encode()
    except UnicodeEncodeError as error:
        raise InvalidKeyError(
            f"key {key[:80]!r} has an unpaired surrogate at position {error.start}"
        ) from None
    if not encoded:
        raise InvalidKeyError("a key cannot be the empty text")
    if len(encoded) > MAX_KEY_NBYTES:
        raise InvalidKeyError(
            f"key {key[:40]!r}… has {len(encoded)} bytes; at most {MAX_KEY_NBYTES} are allowed"
        )
    if b"\0" in encoded:
        raise InvalidKeyError(f"key {key[:80]!r} has a NUL character")
    return encoded


def text_array(encoded: Sequence[bytes]) -> NDArray[Any]:
    """Return byte strings as an array: of dtype S, or of objects when that would be large.

    Both compare, sort and search alike, because no key ends with NUL.
    """
    width = max(map(len, encoded), default=1) or 1
    if width * len(encoded) > _FIXED_WIDTH_LIMIT_NBYTES:
        array = np.empty(len(encoded), object)
        array[:] = encoded
        return array
    return np.array(encoded, dtype=f"S{width}")


@dataclass(frozen=True, slots=True)
class Keys:
    """Many keys: the ints, then the texts, as tree keys.

    Attributes
    ----------
    ints : ndarray, shape (n,), int64
    texts : ndarray, shape (m,), dtype S or object
        UTF-8, or composite keys of a nested column.
    """

    ints: NDArray[np.int64]
    texts: NDArray[Any]

    def __len__(self) -> int:
        return len(self.ints) + len(self.texts)

    def select(self, chosen: NDArray[np.bool_]) -> Keys:
        """Return the keys for which `chosen`, shape (n,), ints before texts, holds."""
        split = len(self.ints)
        return Keys(self.ints[chosen[:split]], self.texts[chosen[split:]])

    def span(self, start: int, stop: int) -> Keys:
        """Return the keys at places `start` to `stop`, ints before texts."""
        split = len(self.ints)
        return Keys(self.ints[start:stop], self.texts[max(0, start - split) : max(0, stop - split)])

    def to_list(self) -> list[Key]:
        """Return the keys as a user sees them: ints first, then texts."""
        return [*self.ints.tolist(), *(text.decode() for text in self.texts.tolist())]

    def to_pairs(self) -> list[tuple[Key, Key]]:
        """Return composite keys as pairs (sample, subsample)."""
        return [split_composite(text) for text in self.texts.tolist()]


EMPTY_INTS: NDArray[np.int64] = np.empty(0, np.int64)
EMPTY_TEXTS: NDArray[Any] = np.empty(0, "S1")


def collect_keys(keys: Iterable[object] | NDArray[Any]) -> tuple[Keys, NDArray[np.intp]]:
    """Check keys and gather them by sort.

    Returns
    -------
    keys : Keys
        In the order given, ints and texts apart.
    places : ndarray, shape (n,), intp
        For each key of the result (ints, then texts) its place in the input.

    Raises
    ------
    InvalidKeyError
    """
    if isinstance(keys, np.ndarray) and keys.dtype.kind in "iu" and keys.ndim == 1:
        if keys.dtype == np.uint64 and len(keys) and int(keys.max()) > _INT_MAX:
            raise InvalidKeyError(f"key {keys.max()} does not fit a signed 64-bit integer")
        return Keys(keys.astype(np.int64), EMPTY_TEXTS), np.arange(len(keys))
    if isinstance(keys, range):
        if not keys:
            return Keys(EMPTY_INTS, EMPTY_TEXTS), np.arange(0)
        # Looked at by its ends: a range of millions is no loop, and its stop may not fit.
        if not all(_INT_MIN <= end <= _INT_MAX for end in (keys[0], keys[-1])):
            raise InvalidKeyError(f"keys {keys} do not fit signed 64-bit integers")
        places = np.arange(len(keys))
        return Keys(keys[0] + keys.step * places, EMPTY_TEXTS), places
    ints: list[int] = []
    int_places: list[int] = []
    texts: list[bytes] = []
    text_places: list[int] = []
    for place, key in enumerate(keys):
        if type(key) is str:
            texts.append(_encode_text(key))
            text_places.append(place)
        else:
            checked = check_key(key)
            if isinstance(checked, str):
                texts.append(checked.encode())
                text_places.append(place)
            else:
                ints.append(checked)
                int_places.append(place)
    return (
        Keys(np.array(ints, np.int64), text_array(texts)),
        np.array(int_places + text_places, np.intp),
    )


def sort_unique(keys: NDArray[Any], what: str = "key") -> NDArray[np.intp]:
    """Return the order that sorts tree keys of one sort.

    Raises
    ------
    DuplicateKeyError
        A key comes twice.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    if len(ordered) and bool(np.any(same)):
        twice = ordered[int(np.argmax(same))]
        shown = twice.decode(errors="replace") if isinstance(twice, bytes) else int(twice)
        raise DuplicateKeyError(f"{what} {shown!r} comes more than once in one call")
    return order


def composite_key(sample: object, subsample: object) -> bytes:
    """Spell (sample, subsample) as one byte string that sorts as the pair does."""
    return composite_prefix(sample) + _component(subsample)


def composite_prefix(sample: object) -> bytes:
    """Return what the composite keys of one sample start with, and no others."""
    return _component(sample)


def _component(key: object) -> bytes:
    checked = check_key(key)
    if isinstance(checked, int):
        shifted = checked - _INT_MIN
        return _TAG_INT + bytes(0x80 | (shifted >> bit) & 0x7F for bit in range(63, -1, -7))
    content = checked.encode().replace(b"\x02", b"\x02\x02").replace(b"\x01", b"\x02\x01")
    return _TAG_STR + content + _END


def split_composite(text: bytes) -> tuple[Key, Key]:
    """Return (sample, subsample) of a composite key."""
    parts = list(_split(text))
    assert len(parts) == 2, text
    return parts[0], parts[1]


def _split(text: bytes) -> Iterator[Key]:
    at = 0
    while at < len(text):
        if text[at : at + 1] == _TAG_INT:
            number = 0
            for byte in text[at + 1 : at + 11]:
                number = number << 7 | byte & 0x7F
            yield number + _INT_MIN
            at += 11
            continue
        content = bytearray()
        at += 1
        while text[at] != 0x01:
            at += text[at] == 0x02
            content.append(text[at])
            at += 1
        yield content.decode()
        at += 1
