"""The named functions that make one value of the values of both sides of a merge.

The functions over arrays take stacks, shape (n, *shape), and treat every element by itself. An
element that both sides agree about is kept bit for bit.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


def same_bits(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which elements of two arrays of one dtype and shape have the same bits.

    So NaN is equal to itself, and -0.0 differs from 0.0.
    """
    width = left.dtype.itemsize
    lanes = max(1, width // 8)
    unsigned = np.dtype(f"u{width // lanes}")
    views = [
        np.ascontiguousarray(side).reshape(-1).view(unsigned).reshape(*side.shape, lanes)
        for side in (left, right)
    ]
    same: NDArray[np.bool_] = (views[0] == views[1]).all(axis=-1)
    return same


def mean(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    """Return the mean of both, element by element.

    Parameters
    ----------
    ours, theirs : ndarray of one dtype and shape
        Any number, real or complex.

    Returns
    -------
    ndarray of that dtype
        Whole numbers are rounded to the nearest, halves to the even one; no sum overflows. Floats
        are computed in float64 and rounded to their dtype. NaN with a number is NaN, and so is
        inf with -inf.
    """
    if ours.dtype.kind in "iu":
        return _mean_of_ints(ours, theirs)
    if ours.dtype.kind == "c":
        part = np.dtype(f"f{ours.dtype.itemsize // 2}")
        parts = [np.ascontiguousarray(side).reshape(-1).view(part) for side in (ours, theirs)]
        middle = mean(*parts).view(ours.dtype).reshape(ours.shape)
        return np.where(same_bits(ours, theirs), ours, middle)
    with np.errstate(all="ignore"):
        a, b = ours.astype(np.float64), theirs.astype(np.float64)
        total = a + b
        # Two large numbers have a mean although their sum is none.
        is_over = np.isinf(total) & np.isfinite(a) & np.isfinite(b)
        middle = np.where(is_over, a / 2 + b / 2, total / 2).astype(ours.dtype)
    return np.where(same_bits(ours, theirs), ours, middle)


def _mean_of_ints(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    one = ours.dtype.type(1)
    # What both have, and half of what one has: the mean rounded down, without a carry.
    low = (ours & theirs) + ((ours ^ theirs) >> one)
    is_half = (ours ^ theirs) & one
    rounded: NDArray[Any] = low + (is_half & low & one)
    return rounded


def largest(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    """Return the larger of both, element by element.

    Parameters
    ----------
    ours, theirs : ndarray of one dtype and shape
        Any dtype but a complex one; of bools True is the larger.

    Returns
    -------
    ndarray of that dtype
        NaN wins over a number, and 0.0 over -0.0.
    """
    if ours.dtype.kind in "biu":
        return np.where(theirs > ours, theirs, ours)
    with np.errstate(invalid="ignore"):
        # The small dtypes of ml_dtypes compare as what they are exactly.
        a, b = (s if s.dtype.kind == "f" else s.astype(np.float32) for s in (ours, theirs))
        is_theirs = (b > a) | (np.isnan(b) & ~np.isnan(a))
        is_theirs |= (a == b) & np.signbit(a) & ~np.signbit(b)
    return np.where(is_theirs, theirs, ours)


def majority(
    base: NDArray[Any], ours: NDArray[Any], theirs: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Let the three versions vote on every element.

    Parameters
    ----------
    base, ours, theirs : ndarray, shape (n, *shape), of one dtype
        Elements are equal when their bits are.

    Returns
    -------
    rows : ndarray, shape (n, *shape)
        What two of the three have: what both sides made of an element, or what one side left
        as it was, which outvotes the change of the other.
    is_settled : ndarray, shape (n,), bool
        Whether no element of the sample has three different values.
    """
    are_agreed = same_bits(ours, theirs)
    is_settled = are_agreed | same_bits(ours, base) | same_bits(theirs, base)
    settled: NDArray[np.bool_] = np.all(is_settled.reshape(len(ours), -1), axis=1)
    return np.where(are_agreed, ours, base), settled


def union_rows(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any] | None:
    """Return the rows of ours, then those rows of theirs that ours has not.

    Parameters
    ----------
    ours, theirs : ndarray, shapes (n, *rest) and (m, *rest)
        Of one dtype; rows are equal when their bits are.

    Returns
    -------
    ndarray, shape (n to n + m, *rest), or None
        None when the rows of the sides have different shapes.
    """
    if ours.ndim == 0 or ours.shape[1:] != theirs.shape[1:]:
        return None
    known = set(_row_bytes(ours))
    is_new = np.array([row not in known for row in _row_bytes(theirs)], np.bool_)
    return np.concatenate([ours, theirs[is_new]])


def _row_bytes(rows: NDArray[Any]) -> list[bytes]:
    content = rows.tobytes()
    width = len(content) // len(rows) if len(rows) else 0
    return [content[at * width : (at + 1) * width] for at in range(len(rows))]


def union_lines(base: str, ours: str, theirs: str) -> str:
    """Merge two texts line by line; where both changed the same lines, keep both, ours first.

    A line that one side changed or deleted is changed or deleted. Lines that both sides have at
    the start or end of such a place come once.

    References
    ----------
    ``git merge-file --union``, the attribute ``merge=union`` of git.
    """
    lines = [_split_lines(text) for text in (base, ours, theirs)]
    merged: list[str] = []
    for old, mine, yours in _regions(*lines):
        if mine in (old, yours):
            merged += yours
        elif yours == old:
            merged += mine
        else:
            merged += _both(mine, yours)
    ended = [line if line.endswith("\n") else line + "\n" for line in merged[:-1]]
    return "".join(ended + merged[-1:])


def _split_lines(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _regions(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """Yield pieces of the three texts, which cover them, cut where all three have a line."""
    in_ours, in_theirs = _matches(base, ours), _matches(base, theirs)
    at = [0, 0, 0]
    for place, line in enumerate(base):
        if place not in in_ours or place not in in_theirs:
            continue
        here = [place, in_ours[place], in_theirs[place]]
        piece = [list(s[a:b]) for s, a, b in zip((base, ours, theirs), at, here, strict=True)]
        if any(piece):
            yield piece[0], piece[1], piece[2]
        yield [line], [line], [line]
        at = [one + 1 for one in here]
    yield list(base[at[0] :]), list(ours[at[1] :]), list(theirs[at[2] :])


def _matches(base: Sequence[str], side: Sequence[str]) -> dict[int, int]:
    """Return which lines of the base a side still has, and where."""
    matcher = SequenceMatcher(None, base, side, autojunk=False)
    return {
        first + step: place + step
        for first, place, size in matcher.get_matching_blocks()
        for step in range(size)
    }


def _both(mine: list[str], yours: list[str]) -> list[str]:
    limit = min(len(mine), len(yours))
    start = next((at for at in range(limit) if mine[at] != yours[at]), limit)
    limit -= start
    end = next((at for at in range(limit) if mine[-1 - at] != yours[-1 - at]), limit)
    stop = len(yours) - end
    return mine[: len(mine) - end] + yours[start:stop] + yours[stop:]
