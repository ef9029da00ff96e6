"""Digests in order, and sets of them: look-ups of many at a time by their first 8 bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_WAITING_PREFIXES = 1 << 18


@dataclass(frozen=True, slots=True)
class SortedDigests:
    """A digest array in ascending order.

    Attributes
    ----------
    digests : ndarray, shape (n, 32), uint8
    prefixes : ndarray, shape (n,), uint64
        The first 8 bytes of each, as a number that sorts as they do.
    order : ndarray, shape (n,), intp
        Where each was before; equal digests keep their order.
    """

    digests: NDArray[np.uint8]
    prefixes: NDArray[np.uint64]
    order: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.prefixes)

    def is_repeat(self) -> NDArray[np.bool_]:
        """Tell for each digest whether it is equal to the one before."""
        is_repeat = np.zeros(len(self), np.bool_)
        same = np.nonzero(self.prefixes[1:] == self.prefixes[:-1])[0] + 1
        is_repeat[same] = (self.digests[same] == self.digests[same - 1]).all(axis=1)
        return is_repeat


def sort_digests(digests: NDArray[np.uint8]) -> SortedDigests:
    """Sort a digest array, shape (n, 32); equal digests stay in the order given."""
    prefixes = digest_prefixes(digests)
    order = np.argsort(prefixes)
    ranked = prefixes[order]
    ties = np.nonzero(ranked[1:] == ranked[:-1])[0]
    if len(ties):
        # Equal prefixes are nearly always equal digests; these stay in the order given.
        tied = np.union1d(ties, ties + 1)
        among = order[tied]
        words = np.ascontiguousarray(digests[among]).view(">u8").astype(np.uint64)
        by_digest = np.lexsort((among, words[:, 3], words[:, 2], words[:, 1], words[:, 0]))
        order[tied] = among[by_digest]
    return SortedDigests(digests[order], ranked, order)


def digest_prefixes(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each digest as a number that sorts as they do."""
    words = np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0]
    return words.astype(np.uint64)


class DigestSet:
    """A growing set of digests in memory, about 50 bytes each.

    Prefixes are kept in sorted parts that are joined as they grow, so there are few of them.
    """

    def __init__(self) -> None:
        self._names = np.empty((0, 32), np.uint8)
        self._count = 0
        self._parts: list[tuple[NDArray[np.uint64], NDArray[np.uint32]]] = []

    def __len__(self) -> int:
        return self._count

    def add(self, digests: NDArray[np.uint8]) -> None:
        """Add digests, shape (n, 32), none of which is here."""
        low, high = self._count, self._count + len(digests)
        if high > len(self._names):
            grown = np.empty((max(high, 2 * len(self._names)), 32), np.uint8)
            grown[:low] = self._names[:low]
            self._names = grown
        self._names[low:high] = digests
        self._count = high
        prefixes = digest_prefixes(digests)
        places = np.arange(low, high, dtype=np.uint32)
        while self._parts and len(self._parts[-1][0]) <= 2 * len(prefixes):
            before = self._parts.pop()
            prefixes = np.concatenate([before[0], prefixes])
            places = np.concatenate([before[1], places])
        order = np.argsort(prefixes)
        self._parts.append((prefixes[order], places[order]))

    def contains(self, wanted: SortedDigests) -> NDArray[np.bool_]:
        """Tell for each digest whether it is here."""
        is_here = np.zeros(len(wanted), np.bool_)
        for prefixes, places in self._parts:
            left = np.arange(len(wanted))
            at = np.searchsorted(prefixes, wanted.prefixes)
            # Digests that share their first 8 bytes are all compared, one step after the other.
            while len(left):
                is_inside = at < len(prefixes)
                left, at = left[is_inside], at[is_inside]
                same = prefixes[at] == wanted.prefixes[left]
                left, at = left[same], at[same]
                is_equal = (self._names[places[at]] == wanted.digests[left]).all(axis=1)
                is_here[left[is_equal]] = True
                left, at = left[~is_equal], at[~is_equal] + 1
        return is_here


class PrefixSet:
    """A growing set of digests of which only the first 8 bytes are kept, 8 bytes each.

    What was added is always found. So may be a digest that shares its first 8 bytes with one that
    was added; use it where that is harmless, as for what is to be kept.
    """

    def __init__(self) -> None:
        self._sorted = np.zeros(0, np.uint64)
        self._waiting: list[NDArray[np.uint64]] = []
        self._waiting_count = 0

    def __len__(self) -> int:
        """Return the number of distinct prefixes."""
        self._settle()
        return len(self._sorted)

    def add(self, digests: NDArray[np.uint8]) -> None:
        """Add digests, shape (n, 32); those that are here already cost nothing for long."""
        self._waiting.append(digest_prefixes(digests))
        self._waiting_count += len(digests)
        # Joined when they are as many as those in order, so that each is sorted a few times.
        if self._waiting_count > max(_WAITING_PREFIXES, len(self._sorted)):
            self._settle()

    def _settle(self) -> None:
        if self._waiting:
            joined = np.sort(np.concatenate([self._sorted, *self._waiting]))
            is_first = np.ones(len(joined), np.bool_)
            is_first[1:] = joined[1:] != joined[:-1]
            self._sorted = joined[is_first]
            self._waiting, self._waiting_count = [], 0

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each digest, shape (n, 32), whether one with its first 8 bytes was added."""
        self._settle()
        if not len(self._sorted):
            return np.zeros(len(digests), np.bool_)
        wanted = digest_prefixes(digests)
        at = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        is_here: NDArray[np.bool_] = self._sorted[at] == wanted
        return is_here
