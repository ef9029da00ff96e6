"""Where a node ends: a rule on the keys alone.

An entry ends its node at level l when the low ``leaf_bits + inner_bits * l`` bits of the hash of
its key are zero. A key that ends a node at one level therefore ends one at every level below,
and a changed value never moves an end.

Keys can be chosen so that none ends a node. A run between two such ends that weighs more than
`run_nbytes` is therefore cut by weight into equal parts. The weight of an entry is the length of
its key, at least the share that makes `run_factor` mean nodes of short keys weigh `run_nbytes`.
The cuts depend on the keys of the run alone, so equal content still has an equal root, and a
run of honest short keys is cut once in nine million (``exp(-16)``).

Keys can also be chosen so that every one ends a node. From 64 bits on no entry ends a node by
its hash, so the height of a tree stays bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from numpy.typing import NDArray

HASH_BITS = 64

# The path of XXH3 for inputs of 4 to 8 bytes, with seed 0: what is XORed into the input is the
# XOR of the secret's bytes 8 to 16 and 16 to 24.
_XXH3_BITFLIP = np.uint64(0x1CAD21F72C81017C ^ 0xDB979083E96DD4DE)
_XXH3_PRIME = np.uint64(0x9FB21C651E98DF25)
_INT_NBYTES = np.uint64(8)
# Hashing goes through the keys in pieces that stay in the processor's cache.
_HASH_BLOCK = 16_384


def hash_ints(keys: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return xxh3-64 of the 8 little-endian bytes of each key.

    Parameters
    ----------
    keys : ndarray, shape (n,), int64

    Returns
    -------
    ndarray, shape (n,), uint64

    References
    ----------
    ``XXH3_len_4to8_64b`` of the xxHash specification.
    """
    words = np.ascontiguousarray(keys).view(np.uint64)
    if len(words) <= _HASH_BLOCK:
        return _hash_words(words)
    hashes = np.empty(len(words), np.uint64)
    for first in range(0, len(words), _HASH_BLOCK):
        piece = slice(first, first + _HASH_BLOCK)
        hashes[piece] = _hash_words(words[piece])
    return hashes


def _hash_words(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = (words << np.uint64(32)) | (words >> np.uint64(32))
    mixed ^= _XXH3_BITFLIP
    turned = (mixed << np.uint64(49)) | (mixed >> np.uint64(15))
    turned ^= (mixed << np.uint64(24)) | (mixed >> np.uint64(40))
    mixed ^= turned
    mixed *= _XXH3_PRIME
    mixed ^= (mixed >> np.uint64(35)) + _INT_NBYTES
    mixed *= _XXH3_PRIME
    mixed ^= mixed >> np.uint64(28)
    return mixed


def hash_texts(keys: NDArray[Any]) -> NDArray[np.uint64]:
    """Return xxh3-64 of the bytes of each key, shape (n,), uint64."""
    return np.fromiter(map(xxh3_64_intdigest, keys.tolist()), np.uint64, len(keys))


def hash_keys(keys: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the hashes of tree keys of one sort, int64 or text."""
    return hash_ints(keys) if keys.dtype == np.int64 else hash_texts(keys)


def text_lengths(keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the length in bytes of each text key, shape (n,), int64."""
    if keys.dtype == object:
        return np.fromiter(map(len, keys.tolist()), np.int64, len(keys))
    return np.char.str_len(keys).astype(np.int64, copy=False)


@dataclass(frozen=True, slots=True)
class Boundary:
    """The sizes of nodes. A repository has one rule for ever: the default.

    Attributes
    ----------
    wide_leaf_bits, narrow_leaf_bits : int
        A leaf has 2**bits entries on average; narrow are values of at most `narrow_nbytes`.
    narrow_nbytes : int
    inner_bits : int
        The same for inner nodes.
    run_factor : int
        A run may be this many times as heavy as a mean node of short keys.
    run_nbytes : int
        The weight above which a run is cut.
    """

    wide_leaf_bits: int = 7
    narrow_leaf_bits: int = 9
    narrow_nbytes: int = 16
    inner_bits: int = 7
    run_factor: int = 16
    run_nbytes: int = 1 << 20

    def node_bits(self, level: int, value_nbytes: int) -> int:
        """Return b where nodes of a level have 2**b entries on average."""
        if level > 0:
            return self.inner_bits
        return self.narrow_leaf_bits if value_nbytes <= self.narrow_nbytes else self.wide_leaf_bits

    def max_entries(self, level: int, value_nbytes: int) -> int:
        """Return the number of entries that no node of a level exceeds."""
        return self.run_factor << self.node_bits(level, value_nbytes)

    def ends_run(
        self, hashes: NDArray[np.uint64], level: int, value_nbytes: int
    ) -> NDArray[np.bool_]:
        """Tell which entries end their run at a level by the hash of their key.

        Parameters
        ----------
        hashes : ndarray, shape (n,), uint64

        Returns
        -------
        ndarray, shape (n,), bool
        """
        bits = self.node_bits(0, value_nbytes) + self.inner_bits * level
        if bits >= HASH_BITS:
            return np.zeros(len(hashes), np.bool_)
        found: NDArray[np.bool_] = (hashes & np.uint64((1 << bits) - 1)) == 0
        return found

    def node_stops(
        self, keys: NDArray[Any], hashes: NDArray[np.uint64], level: int, value_nbytes: int
    ) -> NDArray[np.intp]:
        """Return where the nodes of a sequence of whole runs stop.

        Parameters
        ----------
        keys : ndarray, shape (n,), int64 or text, strictly increasing
        hashes : ndarray, shape (n,), uint64

        Returns
        -------
        ndarray, shape (m,), intp
            Increasing; a node has the entries from the stop before it to its own; the last is n.
        """
        count = len(keys)
        if not count:
            return np.empty(0, np.intp)
        stops = np.flatnonzero(self.ends_run(hashes, level, value_nbytes)) + 1
        if not len(stops) or stops[-1] != count:
            stops = np.append(stops, count)
        least = max(1, self.run_nbytes // self.max_entries(level, value_nbytes))
        entry_counts = np.diff(stops, prepend=0)
        longest = int(entry_counts.max())
        if keys.dtype != object and longest * max(least, keys.itemsize) <= self.run_nbytes:
            return stops
        if keys.dtype == np.int64:
            weights = np.full(count, least, np.int64)
        else:
            weights = np.maximum(text_lengths(keys), least)
        before = np.cumsum(weights) - weights
        starts = stops - entry_counts
        run_weights = np.append(before, before[-1] + weights[-1])
        run_weights = run_weights[stops] - run_weights[starts]
        extra = [
            start + self._cuts(weights[start:stop], int(weight))
            for start, stop, weight in zip(starts, stops, run_weights, strict=True)
            if weight > self.run_nbytes
        ]
        return np.sort(np.concatenate([stops, *extra])) if extra else stops

    def _cuts(self, weights: NDArray[np.int64], total: int) -> NDArray[np.intp]:
        """Return where a run is cut: parts of equal weight, each of the weight of a mean node."""
        part_count = -(-total // (self.run_nbytes // self.run_factor))
        # A part holds two entries at least, else a level could be as long as the one below.
        part_nbytes = max(-(-total // part_count), 2 * int(weights.max()))
        parts = (np.cumsum(weights) - weights) // part_nbytes
        return np.flatnonzero(np.diff(parts)) + 1


DEFAULT_BOUNDARY = Boundary()
