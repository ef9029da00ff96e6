"""Columns of keys, and the entries of inner nodes beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.digest import DIGEST_NBYTES
from tensorvcs.objects.keys import EMPTY_INTS, EMPTY_TEXTS, Keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.tree.node import Node

# Text keys are padded to the longest of them only up to this size of the padded array.
_PADDED_LIMIT_NBYTES = 64 << 20


def empty_keys(*, is_text: bool) -> NDArray[Any]:
    """Return no keys of one sort."""
    return EMPTY_TEXTS if is_text else EMPTY_INTS


def keys_of(keys: NDArray[Any], *, is_text: bool) -> Keys:
    """Return keys of one sort as `Keys`."""
    return Keys(EMPTY_INTS, keys) if is_text else Keys(keys, EMPTY_TEXTS)


def join_keys(pieces: Sequence[NDArray[Any]], *, is_text: bool) -> NDArray[Any]:
    """Return key arrays of one sort behind each other."""
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return empty_keys(is_text=is_text)
    if is_text:
        width = max(piece.itemsize for piece in pieces)
        if width * sum(map(len, pieces)) > _PADDED_LIMIT_NBYTES:
            return np.concatenate([piece.astype(object) for piece in pieces])
    return np.concatenate(pieces)


def join_values(pieces: Sequence[NDArray[np.uint8]], value_nbytes: int) -> NDArray[np.uint8]:
    """Return value arrays of shape (n, value_nbytes) behind each other."""
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty((0, value_nbytes), np.uint8)


def find_keys(
    keys: NDArray[Any], wanted: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return for each wanted key its place in sorted `keys`, and whether it is there.

    The place of one that is not there is where it would be put.
    """
    at = np.searchsorted(keys, wanted)
    found = np.zeros(len(wanted), np.bool_)
    if len(keys):
        np.equal(keys[np.minimum(at, len(keys) - 1)], wanted, out=found)
        found &= at < len(keys)
    return at, found


def run_batches(
    counts: NDArray[np.int64], ends: NDArray[np.bool_], batch_count: int
) -> Iterator[tuple[int, int]]:
    """Yield ranges (start, stop) of nodes with about `batch_count` entries that end with a run.

    Parameters
    ----------
    counts : ndarray, shape (n,), int64
        The number of entries of each node.
    ends : ndarray, shape (n,), bool
        Which nodes end their run; the last node ends the last range in any case.
    """
    stops = np.flatnonzero(ends) + 1
    totals = np.cumsum(counts)
    start = done = 0
    while start < len(counts):
        full = int(np.searchsorted(totals, done + batch_count)) + 1
        at = int(np.searchsorted(stops, full))
        stop = int(stops[at]) if at < len(stops) else len(counts)
        yield start, stop
        start, done = stop, int(totals[stop - 1])


def rows_equal(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which rows of two arrays of one shape (n, width) are equal."""
    width = left.shape[1]
    if not width:
        return np.ones(len(left), np.bool_)
    # One comparison a row instead of one a byte and a reduction; of numbers it is quickest.
    row = np.dtype(f"u{width}" if width in (1, 2, 4, 8) else (np.void, width))
    equal: NDArray[np.bool_] = (
        np.ascontiguousarray(left).view(row) == np.ascontiguousarray(right).view(row)
    )[:, 0]
    return equal


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of inner nodes of one level, in key order.

    Attributes
    ----------
    keys : ndarray, shape (n,), int64 or text
        The last key of each child.
    hashes : ndarray, shape (n,), uint64
    children : ndarray, shape (n, 32), uint8
    counts : ndarray, shape (n,), int64
        The number of keys below each child.
    """

    keys: NDArray[Any]
    hashes: NDArray[np.uint64]
    children: NDArray[np.uint8]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.counts)

    def select(self, chosen: NDArray[np.bool_] | slice) -> Entries:
        """Return the entries of a slice, or where `chosen`, shape (n,), holds."""
        return Entries(
            self.keys[chosen], self.hashes[chosen], self.children[chosen], self.counts[chosen]
        )


def join_entries(pieces: Sequence[Entries], *, is_text: bool) -> Entries:
    """Return entries behind each other."""
    if len(pieces) == 1:
        return pieces[0]
    return Entries(
        join_keys([piece.keys for piece in pieces], is_text=is_text),
        np.concatenate([np.empty(0, np.uint64), *(piece.hashes for piece in pieces)]),
        join_values([piece.children for piece in pieces], DIGEST_NBYTES),
        np.concatenate([np.empty(0, np.int64), *(piece.counts for piece in pieces)]),
    )


def node_entries(node: Node) -> Entries:
    """Return the entries of an inner node."""
    return Entries(node.keys, node.hashes, node.children, node.counts)
