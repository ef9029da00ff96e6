"""Delta debugging: the smallest part of some changes that still causes what all of them cause."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def ddmin(items: Sequence[T], causes: Callable[[list[T]], bool]) -> list[T]:
    """Return a smallest part of `items` that causes an effect.

    Parameters
    ----------
    items : sequence
        All of them together cause the effect, none of them does not; neither is asked.
    causes : callable
        Called with a part of the items, in their order; tells whether it causes the effect.

    Returns
    -------
    list
        In the order of `items`, and 1-minimal: without any single one of its items the effect is
        gone. There may be other such parts, larger or smaller.

    Notes
    -----
    For n items and a result of k about ``2 k log2(n)`` calls when one part causes the effect by
    itself, and up to ``n**2 + 3 n`` when nothing can be left out. No part is asked twice in a row.

    References
    ----------
    A. Zeller and R. Hildebrandt, Simplifying and isolating failure-inducing input, IEEE
    Transactions on Software Engineering 28 (2002), section 3.

    Examples
    --------
    >>> ddmin(range(100), lambda part: 17 in part and 64 in part)
    [17, 64]
    """
    left = list(items)
    cuts = 2
    while len(left) > 1:
        parts = _cut(left, cuts)
        smaller = next((part for part in parts if causes(part)), None)
        if smaller is not None:
            left, cuts = smaller, 2
            continue
        # With two parts the rest of one is the other, which was asked already.
        rest = None if cuts == 2 else next((r for r in _rests(parts) if causes(r)), None)
        if rest is not None:
            left, cuts = rest, max(cuts - 1, 2)
        elif cuts < len(left):
            cuts = min(2 * cuts, len(left))
        else:
            break
    return left


def _cut(items: list[T], count: int) -> list[list[T]]:
    """Return items in `count` parts of about equal size, none of them empty."""
    ends = [len(items) * at // count for at in range(count + 1)]
    return [items[start:stop] for start, stop in pairwise(ends)]


def _rests(parts: list[list[T]]) -> list[list[T]]:
    """Return for each part all items but those in it."""
    return [
        [item for other, part in enumerate(parts) if other != at for item in part]
        for at in range(len(parts))
    ]
