"""Parts of a data set by hash of the key, so that no sample ever moves from one to another."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.torch.order import key_of, mixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.checkout.column import Column


def split_places(
    hashes: NDArray[np.uint64],
    shares: Mapping[str, float],
    seed: int,
    twins: Sequence[NDArray[np.uint64]] = (),
) -> dict[str, NDArray[np.int64]]:
    """Return the places of each part, in ascending order.

    Parameters
    ----------
    hashes : ndarray, shape (n,), uint64
        Of the keys.
    shares : mapping of str to float
        Relative sizes, in order.
    seed : int
    twins : sequence of ndarray, shape (n,), uint64
        Samples with an equal word in one of them stay together.

    Raises
    ------
    InvalidInputError
        Shares that are negative, or all 0.
    """
    numbers = list(shares.values()) if isinstance(shares, Mapping) else None
    if numbers is None or not all(isinstance(share, Real) for share in numbers):
        raise with_hint(
            InvalidInputError(f"shares of a split are numbers by name, not {shares!r}"),
            'such as {"train": 0.9, "test": 0.1}',
        )
    sizes = np.array(numbers, np.float64)
    if not len(sizes) or not np.isfinite(sizes).all() or sizes.min() < 0 or sizes.sum() <= 0:
        raise InvalidInputError(f"shares of a split are not negative and not all 0: {shares}")
    words = mixed(hashes ^ np.uint64(key_of(seed)))
    for lowest in _together(words, twins):
        words = lowest
    bounds = np.cumsum(sizes) / sizes.sum()
    part = np.searchsorted(bounds[:-1], (words >> np.uint64(11)) * 2.0**-53, side="right")
    return {name: np.flatnonzero(part == number) for number, name in enumerate(shares)}


def _together(
    words: NDArray[np.uint64], twins: Sequence[NDArray[np.uint64]]
) -> list[NDArray[np.uint64]]:
    """Return the lowest word of each group, until groups of several columns agree."""
    found = []
    while twins:
        before = words
        for values in twins:
            group = np.unique(values, return_inverse=True)[1]
            lowest = np.full(len(words), np.iinfo(np.uint64).max, np.uint64)
            np.minimum.at(lowest, group, words)
            words = lowest[group]
        found.append(words)
        if len(twins) == 1 or np.array_equal(words, before):
            break
    return found


def value_words(column: Column) -> NDArray[np.uint64]:
    """Return a word for each value of a column in key order, equal where values are identical.

    Notes
    -----
    Scans the leaves of the tree, and reads no payload. Words of different values are equal with a
    chance of one in 2**64; then two samples stay together that need not.
    """
    digests = column._digests_of(None)
    if not column.schema.is_inline:
        return np.ascontiguousarray(digests[:, :8]).view("<u8").reshape(-1).astype(np.uint64)
    rows: Any = column.to_numpy()
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8).reshape(len(rows), -1)
    padded = np.zeros((len(flat), -(-max(1, flat.shape[1]) // 8) * 8), np.uint8)
    padded[:, : flat.shape[1]] = flat
    words = np.zeros(len(flat), np.uint64)
    for part in padded.view("<u8").T:
        words = mixed(words ^ part) + np.uint64(1)
    return words
