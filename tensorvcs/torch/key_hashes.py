"""Sample keys as 64-bit words, the same on every machine: for splits and for randomness."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.keys import collect_keys
from tensorvcs.torch.order import mixed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Key

_CHUNK_COUNT = 1 << 15
_INT_SALT = np.uint64(0x5851F42D4C957F2D)
_TEXT_SALT = np.uint64(0x14057B7EF767814F)


def key_hashes(keys: Iterable[Key]) -> NDArray[np.uint64]:
    """Return a word for each key, shape (n,), in their order.

    Notes
    -----
    About 0.5 µs a key. Words of different keys may be equal, with a chance of one in 2**64.
    """
    waiting = iter(keys)
    parts = [np.zeros(0, np.uint64)]
    while chunk := list(islice(waiting, _CHUNK_COUNT)):
        found, places = collect_keys(chunk)
        words = np.empty(len(places), np.uint64)
        words[places] = np.concatenate([_hash_ints(found.ints), _hash_texts(found.texts)])
        parts.append(words)
    return np.concatenate(parts)


def _hash_ints(ints: NDArray[np.int64]) -> NDArray[np.uint64]:
    return mixed(ints.astype(np.uint64) ^ _INT_SALT)


def _hash_texts(texts: NDArray[Any]) -> NDArray[np.uint64]:
    count = len(texts)
    hashed = np.full(count, _TEXT_SALT)
    if not count:
        return hashed
    width = max(map(len, texts.tolist()))
    padded = np.zeros((count, -(-width // 8) * 8), np.uint8)
    padded[:, :width] = texts.astype(f"S{width}").view(np.uint8).reshape(count, width)
    for words in padded.view("<u8").T:
        # A key has no NUL, so a word of zeros lies behind its end: the width changes nothing.
        hashed = np.where(words != 0, mixed(hashed ^ words), hashed)
    return hashed
