"""Digests in order: where each one is, many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.objects.digest import DIGEST_NBYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AS_TEXT = f"S{DIGEST_NBYTES}"


def sort_order(digests: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the order that sorts digests, shape (n, 32)."""
    prefixes = np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0].astype(np.uint64)
    order = np.argsort(prefixes, kind="stable")
    ranked = prefixes[order]
    ties = np.flatnonzero(ranked[1:] == ranked[:-1])
    # Equal prefixes are nearly always equal digests, which need no order among themselves.
    if len(ties) and (digests[order[ties]] != digests[order[ties + 1]]).any():
        order = np.argsort(_as_text(digests), kind="stable")
    return order


def find_digests(ordered: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return where each wanted digest is in a sorted digest array, -1 where it is not.

    Parameters
    ----------
    ordered : ndarray, shape (n, 32), uint8
        What is not in order is at worst not found.
    wanted : ndarray, shape (m, 32), uint8

    Returns
    -------
    ndarray, shape (m,), intp
    """
    places = np.full(len(wanted), -1, np.intp)
    if len(ordered) and len(wanted):
        at = np.searchsorted(_as_text(ordered), _as_text(wanted))
        at[at == len(ordered)] = 0
        is_there = (ordered[at] == wanted).all(axis=1)
        places[is_there] = at[is_there]
    return places


def _as_text(digests: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    # Of one length, so that it does not matter that numpy strips zero bytes from the end.
    return np.ascontiguousarray(digests).view(_AS_TEXT).reshape(-1)


class DigestCollection:
    """A growing set of digests, 32 bytes each, in sorted parts that are joined as they grow."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint8]] = []

    def add(self, digests: NDArray[np.uint8]) -> None:
        """Add digests, shape (n, 32); one that is here already is kept once or twice."""
        if not len(digests):
            return
        while self._parts and len(self._parts[-1]) <= 2 * len(digests):
            digests = np.concatenate([self._parts.pop(), digests])
        self._parts.append(digests[sort_order(digests)])

    def contains(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each digest whether it is here, shape (n,)."""
        is_here = np.zeros(len(digests), np.bool_)
        for part in self._parts:
            left = np.flatnonzero(~is_here)
            is_here[left] = find_digests(part, digests[left]) >= 0
        return is_here
