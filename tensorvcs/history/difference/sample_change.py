"""One changed sample: its value on both sides, how far they are apart, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.display.html import THUMBNAIL_PIXELS, picture_html, table_html, value_html
from tensorvcs.display.picture import difference_picture, is_picture, value_range
from tensorvcs.display.text import value_text
from tensorvcs.history.difference.change_sizes import ChangeSize, size_of
from tensorvcs.history.difference.distances import element_distances

if TYPE_CHECKING:
    from numpy.typing import NDArray

HTML_HEADER = ("", "key", "before", "after", "what changed", "size")
_SHOWN_LETTERS = 40


@dataclass(frozen=True, slots=True, repr=False)
class SampleChange:
    """One sample before and after; None where it is not there."""

    key: Any
    before: Any
    after: Any

    @property
    def sign(self) -> str:
        """``+`` for an added sample, ``-`` for a deleted and ``~`` for a modified one."""
        return "+" if self.before is None else "-" if self.after is None else "~"

    @property
    def size(self) -> ChangeSize | None:
        """How large the change is, measured when asked for; None for added and deleted samples."""
        return size_of(self.before, self.after) if self.sign == "~" else None

    def distances(self) -> NDArray[np.float64] | None:
        """Return how far each element moved, in the shape of the values.

        None for texts and bytes, for values of different shapes, and for added and deleted
        samples.
        """
        before, after = self.before, self.after
        if not isinstance(before, np.ndarray) or not isinstance(after, np.ndarray):
            return None
        if before.shape != after.shape:
            return None
        apart, _ = element_distances(before.reshape(-1), after.reshape(-1))
        return apart.astype(np.float64, copy=False).reshape(before.shape)

    def __repr__(self) -> str:
        sides = " → ".join(
            value_text(side, _SHOWN_LETTERS)
            for side in (self.before, self.after)
            if side is not None
        )
        size = f" ({self.size})" if self.sign == "~" else ""
        return f"<SampleChange {self.sign} {self.key!r}: {sides}{size}>"

    def _repr_html_(self) -> str:
        return table_html(HTML_HEADER, [html_row(self)])


def html_row(change: SampleChange) -> list[str]:
    """Return a change as the cells of a table: pictures before, after, and of the difference."""
    stretch = value_range(change.before, change.after)
    sides = ["" if v is None else value_html(v, stretch) for v in (change.before, change.after)]
    distances = change.distances() if is_picture(change.before) else None
    mask = None if distances is None else difference_picture(distances, THUMBNAIL_PIXELS)
    size = change.size
    return [
        change.sign,
        value_html(str(change.key)),
        *sides,
        "" if mask is None else picture_html(mask),
        "" if size is None else value_html(str(size)),
    ]
