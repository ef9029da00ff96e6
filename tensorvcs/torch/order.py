"""In which order samples are read: pure functions from position to place.

Terms
-----
place : a sample by its number in a data set, from 0.
position : where in an epoch a sample comes, from 0.
epoch key : 64 bits made of seed and epoch, from which all that is random follows.

No state takes part, so that every machine, rank, worker and thread has the same order, a resumed
run goes on where it was, and an epoch of any size begins at once. Nothing here uses the random
streams of numpy or torch, which may differ between their versions.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_U64 = np.uint64
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 2**64 - 1
_ROUND_COUNT = 6
# Up to this many, sorting by hash is as quick, and every permutation is equally likely.
_SORTED_COUNT = 4096
# What is worked on at a time stays in the second cache.
_CHUNK_COUNT = 1 << 14


def mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64-bit words scrambled, one to one.

    References
    ----------
    The finaliser of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
    generators", 2014.
    """
    out = words ^ (words >> _U64(30))
    out *= _U64(0xBF58476D1CE4E5B9)
    out ^= out >> _U64(27)
    out *= _U64(0x94D049BB133111EB)
    out ^= out >> _U64(31)
    return out


def key_of(*parts: int) -> int:
    """Return 64 bits that depend on every part and on their order."""
    key = 0
    for part in parts:
        key = _mixed_int(((key ^ (part & _WORD)) + _GOLDEN) & _WORD)
    return key


def _mixed_int(word: int) -> int:
    word ^= word >> 30
    word = word * 0xBF58476D1CE4E5B9 & _WORD
    word ^= word >> 27
    word = word * 0x94D049BB133111EB & _WORD
    return word ^ word >> 31


def words_of(positions: NDArray[np.int64], key: int) -> NDArray[np.uint64]:
    """Return a random word for each position, shape (n,)."""
    words = positions.astype(_U64)
    words *= _U64(_GOLDEN)
    words += _U64(key)
    return mixed(words)


def permuted(positions: NDArray[np.int64], count: int, key: int) -> NDArray[np.int64]:
    """Return where a random permutation of ``range(count)`` puts some positions.

    Parameters
    ----------
    positions : ndarray, shape (n,), int64
        Each in ``range(count)``.
    count : int
        Less than 2**62.
    key : int
        Chooses the permutation: 64 bits.

    Notes
    -----
    Constant memory and about 20 ns a position, whatever the count. Up to 4096 it sorts hashes;
    above, a Feistel network of six rounds permutes a rectangle of at least `count` cells, and what
    falls outside is permuted again.

    References
    ----------
    Black, Rogaway, "Ciphers with arbitrary finite domains", 2002: the generalised Feistel
    construction, with cycle walking.
    """
    if count <= _SORTED_COUNT:
        return _sorted_by_hash(count, key).take(positions)
    width = isqrt(count - 1) + 1
    sides = _U64(width), _U64(-(-count // width))
    keys = [_U64(key_of(key, number)) for number in range(_ROUND_COUNT)]
    out = np.empty(len(positions), np.int64)
    for low in range(0, len(positions), _CHUNK_COUNT):
        chunk = positions[low : low + _CHUNK_COUNT]
        found = feistel(chunk.astype(_U64), sides, keys)
        _walk(found, _U64(count), sides, keys)
        out[low : low + len(chunk)] = found
    return out


def _sorted_by_hash(count: int, key: int) -> NDArray[np.int64]:
    return np.argsort(words_of(np.arange(count), key), kind="stable").astype(np.int64)


def permuted_each(
    positions: NDArray[np.int64], counts: NDArray[np.int64], keys: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return `permuted` with a count and a key for each position, shapes (n,).

    Notes
    -----
    The permutations are not those of `permuted`. For counts under ten some permutations are a
    little likelier than others.
    """
    words = counts.astype(_U64)
    width = np.ceil(np.sqrt(counts)).astype(_U64)
    sides = width, (words + width - _U64(1)) // width
    round_keys = [mixed(keys + _U64(key_of(number))) for number in range(_ROUND_COUNT)]
    found = feistel(positions.astype(_U64), sides, round_keys)
    outside = np.flatnonzero(found >= words)
    while len(outside):
        again = feistel(
            found[outside],
            (sides[0][outside], sides[1][outside]),
            [key[outside] for key in round_keys],
        )
        found[outside] = again
        outside = outside[again >= words[outside]]
    return found.astype(np.int64)


def feistel(cells: NDArray[np.uint64], sides: tuple[Any, Any], keys: Any) -> NDArray[np.uint64]:
    """Return where a network of rounds puts the cells of a rectangle.

    Parameters
    ----------
    cells : ndarray, shape (n,), uint64
        Each in ``range(width * height)``.
    sides : (width, height), uint64 or ndarrays of shape (n,)
        Each under 2**32.
    keys : sequence of uint64 or of ndarrays, shape (n,)
        One a round.
    """
    width, height = sides
    rows: NDArray[np.uint64] = cells // width
    columns = cells - rows * width
    hashed, shifted = np.empty_like(cells), np.empty_like(cells)
    for number, key in enumerate(keys):
        source, changed, side = (columns, rows, height) if number % 2 else (rows, columns, width)
        np.multiply(source, _U64(_GOLDEN), out=hashed)
        hashed += key
        np.right_shift(hashed, _U64(32), out=shifted)
        hashed ^= shifted
        hashed *= _U64(0xD6E8FEB86659FD93)
        hashed >>= _U64(32)
        hashed *= side
        hashed >>= _U64(32)
        changed += hashed
        # What is not below the side wraps; otherwise the difference is negative, which is large.
        np.subtract(changed, side, out=shifted)
        np.minimum(changed, shifted, out=changed)
    rows *= width
    rows += columns
    return rows


def _walk(cells: NDArray[np.uint64], count: np.uint64, sides: Any, keys: Any) -> None:
    outside = np.flatnonzero(cells >= count)
    while len(outside):
        again = feistel(cells[outside], sides, keys)
        cells[outside] = again
        outside = outside[again >= count]


class Order(Protocol):
    """The order of an epoch."""

    @property
    def count(self) -> int:
        """How many positions an epoch has."""
        ...

    def places(self, positions: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return the places at some positions of the epoch of `key`, shape (n,)."""
        ...

    def spelled(self) -> dict[str, Any]:
        """Return what tells this order from others, as plain values."""
        ...


class InOrder:
    """Every sample once, by place."""

    def __init__(self, count: int) -> None:
        self.count = count

    def places(self, positions: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return the positions as they are."""
        del key
        return positions

    def spelled(self) -> dict[str, Any]:
        """Return the kind and the count."""
        return {"kind": "in order", "count": self.count}


class Shuffled:
    """Every sample once, all permuted together."""

    def __init__(self, count: int) -> None:
        self.count = count

    def places(self, positions: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return a keyed permutation of the positions."""
        return permuted(positions, self.count, key)

    def spelled(self) -> dict[str, Any]:
        """Return the kind and the count."""
        return {"kind": "shuffled", "count": self.count}


class BlockShuffled:
    """Every sample once: blocks of neighbours permuted, then samples within windows of blocks.

    Parameters
    ----------
    count : int
    block_count : int
        Samples a block; the last block may have fewer.
    window : int
        Blocks that are shuffled together: what a reader has at hand at a time.
    """

    def __init__(self, count: int, block_count: int, window: int) -> None:
        self.count = count
        self.block_count = block_count
        self.window = window

    def places(self, positions: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return the places; memory is one word a block."""
        size, span = self.block_count, self.block_count * self.window
        block_total = -(-self.count // size)
        if not block_total:
            return positions
        blocks = permuted(np.arange(block_total), block_total, key_of(key, 0))
        # The last block may be short: wherever it comes, its slot has a gap at its end.
        gap = block_total * size - self.count
        short_slot = int(np.flatnonzero(blocks == block_total - 1)[0])
        gap_at = short_slot * size + size - gap
        out = np.empty(len(positions), np.int64)
        windows = (positions + np.where(positions >= gap_at, gap, 0)) // span
        for number in np.unique(windows).tolist():
            chosen = windows == number
            first = number * span - (gap if short_slot < number * self.window else 0)
            stop = min((number + 1) * span, block_total * size)
            stop -= gap if short_slot < (number + 1) * self.window else 0
            inside = permuted(positions[chosen] - first, stop - first, key_of(key, 1, number))
            out[chosen] = first + inside
        slots, offsets = np.divmod(out + np.where(out >= gap_at, gap, 0), size)
        return blocks[slots] * size + offsets

    def spelled(self) -> dict[str, Any]:
        """Return the kind and the sizes."""
        return {
            "kind": "blocks",
            "count": self.count,
            "block_count": self.block_count,
            "window": self.window,
        }


def spread(order: Order, key: int, sample_count: int = 1 << 16) -> float:
    """Return how far apart in key order samples are that follow each other in an epoch.

    Parameters
    ----------
    order : Order
        Of samples that come once an epoch.
    key : int
        Of the epoch.
    sample_count : int
        How many neighbours are looked at, from the first.

    Returns
    -------
    float
        The mean distance of neighbours, divided by that of a full shuffle (a third of the
        count): 1 is as good as a full shuffle, 0 is in order.
    """
    if order.count < 2:
        return 0.0
    places = order.places(np.arange(min(sample_count, order.count)), key)
    return float(np.abs(np.diff(places)).mean() / (order.count / 3))
