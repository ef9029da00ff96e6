"""How far two values are apart: element by element, and in a few figures for each value.

The distance of two elements is exact for bool and integers of every width, and in float64 for
all others; of complex numbers it is the modulus. An element counts as changed when its bits differ.
Two NaN are at distance 0, whatever their bits; a NaN and a number, or an infinity and anything
else, are infinitely far apart.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEASURES = ("max_absolute", "mean_absolute", "l2", "changed_fraction", "psnr")
"""The figures of a change, in the order of the columns of the arrays below."""

# Elements worked on at a time: they stay in the cache, and the squares of that many distances of
# uint8 add up to less than 2**32.
_PIECE_ELEMENTS = 1 << 16
# Texts are matched letter by letter, at a cost that may grow with the cube, up to this length.
_MATCHED_LENGTH = 100
_TINY_SQUARE = 1e-280


def element_distances(
    before: NDArray[Any], after: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the distance of each pair of elements, and which elements changed.

    Parameters
    ----------
    before, after : ndarray
        Of one shape, at least one axis, and one dtype; C-contiguous along the last axis.

    Returns
    -------
    distances : ndarray, the shape of `before`, an unsigned integer dtype or float64
    changed : ndarray, the shape of `before`, bool
    """
    dtype = before.dtype
    if dtype.kind == "b":
        before, after = before.view(np.uint8), after.view(np.uint8)
    if dtype.kind in "bui":
        unsigned = f"u{dtype.itemsize}"
        # Modulo 2**bits, the larger less the smaller never wraps, signed or not.
        exact = np.maximum(before, after).view(unsigned) - np.minimum(before, after).view(unsigned)
        return exact, exact != 0
    changed = _bits_differ(before, after)
    wide = np.complex128 if dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        left, right = before.astype(wide), after.astype(wide)
        apart = np.abs(left - right)
    undefined = np.isnan(apart)
    if undefined.any():
        is_same = ~changed | (np.isnan(left) & np.isnan(right))
        apart[undefined] = np.where(is_same[undefined], 0.0, np.inf)
    return apart, changed


def _bits_differ(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    itemsize = before.dtype.itemsize
    if itemsize <= 8:
        narrow: NDArray[np.bool_] = before.view(f"u{itemsize}") != after.view(f"u{itemsize}")
        return narrow
    words = before.view(np.uint64) != after.view(np.uint64)
    wide: NDArray[np.bool_] = words.reshape(*before.shape, itemsize // 8).any(axis=-1)
    return wide


def measure_rows(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float64]:
    """Return the figures of many changes of one shape.

    Parameters
    ----------
    before, after : ndarray, shape (n, *shape)
        Stacked values of one dtype, C-contiguous.

    Returns
    -------
    ndarray, shape (n, 5), float64
        The columns are `MEASURES`. The psnr, in decibels over a peak of 255, is that of uint8
        pictures: values of two or three axes; NaN for all others.

    Notes
    -----
    Memory is that of 65,536 elements, whatever the size of the arrays.
    """
    count, element_count = len(before), int(np.prod(before.shape[1:], dtype=np.int64))
    figures = np.zeros((count, len(MEASURES)))
    figures[:, 4] = np.nan
    if not count or not element_count:
        return figures
    left, right = before.reshape(count, element_count), after.reshape(count, element_count)
    totals = np.zeros((4, count))
    step = max(1, _PIECE_ELEMENTS // element_count)
    for low in range(0, count, step):
        rows = slice(low, low + step)
        for start in range(0, element_count, _PIECE_ELEMENTS):
            part = slice(start, start + _PIECE_ELEMENTS)
            largest, *sums = _totals(left[rows, part], right[rows, part])
            np.maximum(totals[0, rows], largest, out=totals[0, rows])
            with np.errstate(over="ignore"):
                totals[1:, rows] += sums
    figures[:, 0] = totals[0]
    figures[:, 1] = totals[1] / element_count
    figures[:, 2] = np.sqrt(totals[2])
    figures[:, 3] = totals[3] / element_count
    _rescale(figures, totals, left, right)
    if before.dtype == np.uint8 and before.ndim in (3, 4):
        with np.errstate(divide="ignore"):
            figures[:, 4] = 10 * np.log10(255.0**2 * element_count / totals[2])
    return figures


def _totals(
    before: NDArray[Any], after: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the largest distance, the sums of distances and squares, and the changed elements."""
    apart, changed = element_distances(before, after)
    changed_count = np.count_nonzero(changed, axis=1)
    if apart.dtype == np.uint8:
        squares = np.multiply(apart, apart, dtype=np.uint16)
        sums = apart.sum(axis=1, dtype=np.uint32), squares.sum(axis=1, dtype=np.uint32)
        return apart.max(axis=1), *sums, changed_count
    wide = apart.astype(np.float64, copy=False)
    with np.errstate(over="ignore", under="ignore"):
        squared = np.einsum("ij,ij->i", wide, wide)
        return wide.max(axis=1), wide.sum(axis=1), squared, changed_count


def _rescale(
    figures: NDArray[np.float64],
    totals: NDArray[np.float64],
    left: NDArray[Any],
    right: NDArray[Any],
) -> None:
    """Repair the rows whose sums are beyond float64, although their distances are not."""
    largest, sums, squares = totals[:3]
    is_lost = np.isinf(squares) | np.isinf(sums) | (squares < _TINY_SQUARE)
    for row in np.flatnonzero(is_lost & np.isfinite(largest) & (largest > 0)).tolist():
        total, squared = 0.0, 0.0
        for start in range(0, left.shape[1], _PIECE_ELEMENTS):
            part = slice(start, start + _PIECE_ELEMENTS)
            apart = element_distances(left[row, part], right[row, part])[0] / largest[row]
            total, squared = total + float(apart.sum()), squared + float(apart @ apart)
        with np.errstate(over="ignore"):
            figures[row, 1] = largest[row] * (total / left.shape[1])
            figures[row, 2] = largest[row] * np.sqrt(squared)


def changed_text_fraction(before: str | bytes, after: str | bytes) -> float:
    """Return how much of a text changed, above 0 for texts that differ, at most 1.

    What both texts start with and end with is kept; of what is between, if it is short, also what a
    comparison finds in both in the same order. The fraction is what is not kept of the longer text.

    Notes
    -----
    The middle is compared up to 100 letters (bytes) a side; a longer one counts as changed.
    """
    longer = max(len(before), len(after))
    if not longer:
        return 0.0
    start = _common_length(before, after)
    rest = min(len(before), len(after)) - start
    end = _common_length(before, after, rest)
    middles = before[start : len(before) - end], after[start : len(after) - end]
    kept = start + end
    if all(0 < len(middle) <= _MATCHED_LENGTH for middle in middles):
        matched = SequenceMatcher(None, *middles, autojunk=False).get_matching_blocks()
        kept += sum(block.size for block in matched)
    return (longer - kept) / longer


def _common_length(before: Any, after: Any, tail: int | None = None) -> int:
    """Return the length of the start that two texts share; with `tail` of the end, up to that."""
    low, high = 0, min(len(before), len(after)) if tail is None else tail
    while low < high:
        # What is known to be equal is not compared again: all steps together read a text once.
        middle = (low + high + 1) // 2
        if tail is None:
            is_equal = before[low:middle] == after[low:middle]
        else:
            is_equal = _piece_of_end(before, low, middle) == _piece_of_end(after, low, middle)
        low, high = (middle, high) if is_equal else (low, middle - 1)
    return low


def _piece_of_end(text: Any, low: int, high: int) -> Any:
    return text[len(text) - high : len(text) - low]
