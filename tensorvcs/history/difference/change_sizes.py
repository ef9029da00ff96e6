"""How large changes are: of one sample, and of many as columns of numbers."""

from __future__ import annotations

import html
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.display.html import table_html, value_html
from tensorvcs.display.terminal import sparkline
from tensorvcs.history.difference.distances import MEASURES, changed_text_fraction, measure_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.difference.changed_keys import ChangedKeys

_SHOWN_SIZES = 8
_MOST_DECADES = 16
# What is read of two values that cannot be compared element by element: all of it changed.
_OTHER_SHAPE = (np.nan, np.nan, np.nan, 1.0, np.nan)


@dataclass(frozen=True, slots=True)
class ChangeSize:
    """How large the change of one sample is.

    Attributes
    ----------
    max_absolute, mean_absolute : float or None
        The largest and the mean distance of two elements: the absolute difference, of complex
        numbers its modulus; True and False are 1 apart. Infinite when a number became NaN or
        infinite, or the reverse; two NaN are not apart.
    l2 : float or None
        The root of the sum of the squares of the distances.
    changed_fraction : float, above 0 up to 1
        The fraction of the elements whose bits differ; of texts and bytes what is not in both.
    psnr : float or None
        The peak signal-to-noise ratio in decibels, of uint8 pictures: two or three axes.

    All but `changed_fraction` are None for texts and bytes, and where the shapes differ.
    """

    max_absolute: float | None
    mean_absolute: float | None
    l2: float | None
    changed_fraction: float
    psnr: float | None

    def __str__(self) -> str:
        percent = 100 * self.changed_fraction
        parts = [f"{percent:.3g} % changed"]
        if self.l2 is not None:
            parts = [
                f"l2 {self.l2:.4g}",
                f"max {self.max_absolute:.4g}",
                f"mean {self.mean_absolute:.4g}",
                *parts,
            ]
        if self.psnr is not None:
            parts.append(f"psnr {self.psnr:.3g} dB")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class ChangeHistogram:
    """How many changes there are of each size.

    Attributes
    ----------
    measure : {"l2", "changed_fraction"}
        Decades of l2 where there are numbers; otherwise tenths of the changed fraction.
    edges : tuple of float, length n + 1
        A bin has the sizes from its edge up to the next one; the first bin of decades also has all
        smaller ones, and the last tenth has 1.
    counts : tuple of int, length n
    beyond : int
        Changes without such a number: of other shape, or infinite.
    """

    measure: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    beyond: int

    def __str__(self) -> str:
        drawn = f"{self.measure} {self.edges[0]:g} {sparkline(self.counts)} {self.edges[-1]:g}"
        rest = f", {self.beyond:,} infinite or of another shape" if self.beyond else ""
        return drawn + rest

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(str(self))}</code>"


class ChangeSizes:
    """The sizes of many changes, a number for each: arrays in the order of `keys`.

    Attributes
    ----------
    keys : ChangedKeys
        The modified samples that were measured, n of them, in key order.
    max_absolute, mean_absolute, l2, changed_fraction, psnr : ndarray, shape (n,), float64
        As in `ChangeSize`, with NaN in the place of None.
    """

    def __init__(self, keys: ChangedKeys, figures: NDArray[np.float64]) -> None:
        self.keys = keys
        self.max_absolute, self.mean_absolute, self.l2, self.changed_fraction, self.psnr = (
            np.ascontiguousarray(figures.T)
        )

    def __len__(self) -> int:
        return len(self.l2)

    def __getitem__(self, place: int) -> ChangeSize:
        return _as_size([getattr(self, name)[place] for name in MEASURES])

    def __iter__(self) -> Iterator[ChangeSize]:
        return (self[place] for place in range(len(self)))

    def first(self, count: int) -> ChangeSizes:
        """Return the sizes of the first samples in key order."""
        figures = np.stack([getattr(self, name)[:count] for name in MEASURES], axis=1)
        return ChangeSizes(self.keys.first(count), figures)

    def largest_first(self) -> NDArray[np.intp]:
        """Return the places of the changes, largest first, shape (n,).

        By l2, and by the changed fraction where that is equal or there is none. Values of another
        shape, and what is infinite, come first; of equal ones the first key.
        """
        distance = np.where(np.isnan(self.l2), np.inf, self.l2)
        return np.lexsort((-self.changed_fraction, -distance))

    def histogram(self) -> ChangeHistogram:
        """Return how many changes there are of each size, in decades of l2 or tenths of a text."""
        sizes = self.l2[np.isfinite(self.l2)]
        if np.isnan(self.l2).all():
            edges = np.arange(11) / 10
            tenths = np.histogram(self.changed_fraction, edges)[0]
            return _histogram("changed_fraction", edges, tenths, 0)
        beyond = len(self) - len(sizes)
        positive = sizes[sizes > 0]
        if not len(positive):
            return _histogram("l2", np.array([0.0, 1.0]), np.array([len(sizes)]), beyond)
        # The decade of a float, which the rounding of a logarithm would miss at its edge.
        lowest, highest = (Decimal(float(x)).adjusted() for x in (positive.min(), positive.max()))
        decades = range(max(lowest, highest - _MOST_DECADES + 1), highest + 2)
        edges = np.array([float(f"1e{decade}") for decade in decades])
        at = np.searchsorted(edges, sizes, "right") - 1
        bins = np.bincount(at.clip(0, len(edges) - 2), minlength=len(edges) - 1)
        return _histogram("l2", edges, bins, beyond)

    def __repr__(self) -> str:
        return f"<ChangeSizes of {len(self)} samples: {self.histogram()}>"

    def _repr_html_(self) -> str:
        shown = self.largest_first()[:_SHOWN_SIZES]
        rows = [
            [value_html(str(self.keys[at])), *(f"{getattr(self, m)[at]:.4g}" for m in MEASURES)]
            for at in shown.tolist()
        ]
        if len(self) > _SHOWN_SIZES:
            rows.append(["…"] * (1 + len(MEASURES)))
        return table_html(["key", *MEASURES], rows, repr(self)[1:-1])


def size_of(before: Any, after: Any) -> ChangeSize:
    """Return how large the change from one value to another of its column is.

    Parameters
    ----------
    before, after : ndarray, str or bytes
        Both of one kind and dtype.
    """
    return _as_size(measure_values([before], [after])[0].tolist())


def measure_values(
    before: Sequence[Any] | NDArray[Any], after: Sequence[Any] | NDArray[Any]
) -> NDArray[np.float64]:
    """Return the figures of changes between values of any kind, pair by pair.

    Parameters
    ----------
    before, after : sequence of ndarray, str or bytes, length n; or ndarray, shape (n, *shape)

    Returns
    -------
    ndarray, shape (n, 5), float64
        The columns are `MEASURES`.
    """
    if (
        isinstance(before, np.ndarray)
        and isinstance(after, np.ndarray)
        and before.shape == after.shape
    ):
        return measure_rows(before, after)
    figures = np.empty((len(before), len(MEASURES)))
    figures[:] = _OTHER_SHAPE
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        if isinstance(old, (str, bytes)):
            figures[place, 3] = changed_text_fraction(old, new)
        elif old.shape == new.shape:
            alike.setdefault(old.shape, []).append(place)
    for places in alike.values():
        # What has one shape is measured together.
        olds, news = ([side[at] for at in places] for side in (before, after))
        figures[places] = measure_rows(_stacked(olds), _stacked(news))
    return figures


def _stacked(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.asarray(values[0], order="C")[None] if len(values) == 1 else np.stack(values)


def _histogram(
    measure: str, edges: NDArray[Any], counts: NDArray[Any], beyond: int
) -> ChangeHistogram:
    return ChangeHistogram(measure, tuple(edges.tolist()), tuple(counts.tolist()), beyond)


def _as_size(figures: Sequence[float]) -> ChangeSize:
    largest, mean, l2, fraction, psnr = (None if np.isnan(f) else float(f) for f in figures)
    assert fraction is not None
    return ChangeSize(largest, mean, l2, fraction, psnr)
