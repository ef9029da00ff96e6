"""Values in a few words, and arrays in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHOWN_BYTES = 16


def value_text(value: Any, limit: int = 200) -> str:
    """Return a value as text of at most `limit` letters, in one line but for texts with several.

    An array shows its ends, bytes their number and the first of them.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        text = " ".join(np.array2string(np.asarray(value), threshold=8, edgeitems=3).split())
    elif isinstance(value, bytes):
        rest = " …" if len(value) > _SHOWN_BYTES else ""
        text = f"{len(value)} bytes: {value[:_SHOWN_BYTES].hex(' ')}{rest}"
    else:
        text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


@dataclass(frozen=True, slots=True)
class ArraySummary:
    """The finite numbers of an array, and how many are not.

    Attributes
    ----------
    minimum, maximum, mean, deviation : float or None
        Of the finite elements, in float64; None when there is none. `deviation` is the standard
        deviation.
    nan_count, infinite_count : int
    """

    minimum: float | None
    maximum: float | None
    mean: float | None
    deviation: float | None
    nan_count: int
    infinite_count: int

    @classmethod
    def of(cls, value: NDArray[Any]) -> ArraySummary | None:
        """Return the summary of an array; None when it is complex, which has no least number."""
        if value.dtype.kind == "c":
            return None
        numbers = value.astype(np.float64)
        nan_count = int(np.isnan(numbers).sum())
        finite = numbers[np.isfinite(numbers)]
        infinite_count = numbers.size - finite.size - nan_count
        if not finite.size:
            return cls(None, None, None, None, nan_count, infinite_count)
        with np.errstate(over="ignore"):
            return cls(
                float(finite.min()),
                float(finite.max()),
                float(finite.mean()),
                float(finite.std()),
                nan_count,
                infinite_count,
            )

    def __str__(self) -> str:
        parts = []
        if self.minimum is not None:
            parts = [
                f"min {self.minimum:.4g}",
                f"max {self.maximum:.4g}",
                f"mean {self.mean:.4g}",
                f"std {self.deviation:.4g}",
            ]
        if self.nan_count:
            parts.append(f"{self.nan_count:,} NaN")
        if self.infinite_count:
            parts.append(f"{self.infinite_count:,} infinite")
        return ", ".join(parts) or "no elements"
