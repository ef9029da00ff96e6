"""Steps of an epoch: which positions make a batch, and which of them are whose.

A step takes the next ``batch_size * world_size`` positions of the order that all ranks share; each
rank has its part of them. So the order does not depend on how many ranks there are, and a run may
go on with another number of ranks or another batch size from the position where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tensorvcs.errors import InvalidInputError, with_hint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Last = Literal["short", "drop", "wrap", "pad"]


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank reads in one step: positions from `low` up to `high`, not included.

    Attributes
    ----------
    low, high : int
        Positions past the end of the epoch stand for those from its beginning.
    valid_count : int
        How many of them are there for the first time in the epoch, from `low` on.
    seen : int
        How many positions of the epoch all ranks together have read after this step.
    """

    low: int
    high: int
    valid_count: int
    seen: int

    def __len__(self) -> int:
        return self.high - self.low

    def positions(self, total: int) -> NDArray[np.int64]:
        """Return the positions in an epoch of `total`, shape (n,)."""
        found = np.arange(self.low, self.high)
        return found if self.high <= total else found % total


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of what is left of an epoch, for one rank.

    Parameters
    ----------
    total : int
        Positions of the epoch.
    batch_size : int
        Samples of a rank in a step.
    rank, world_size : int
    last : {"short", "drop", "wrap", "pad"}
        What becomes of the positions that do not fill a step: one more step that the ranks share
        as evenly as it goes, and where it is not one sample each, they go to the step before; no
        step at all; a whole step that begins the epoch again; the same, and marked.
    start : int
        The first position.

    Notes
    -----
    Every rank has the same number of steps, and a sample in each.
    """

    total: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    last: Last = "short"
    start: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InvalidInputError(f"batch_size is at least 1, not {self.batch_size}")
        if self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise InvalidInputError(
                f"rank {self.rank} is not one of {self.world_size}: ranks count from 0"
            )
        if self.last not in get_args(Last):
            raise InvalidInputError(
                f"last is one of {', '.join(get_args(Last))}, not {self.last!r}"
            )
        if not 0 <= self.start <= self.total:
            raise InvalidInputError(f"position {self.start} is outside an epoch of {self.total}")
        if self.last == "short" and 0 < self.total < self.world_size:
            raise with_hint(
                InvalidInputError(
                    f"{self.total} samples cannot be shared by {self.world_size} ranks"
                ),
                "with last='wrap' samples come more than once, with last='drop' not at all",
            )

    @property
    def width(self) -> int:
        """The positions of a whole step, of all ranks."""
        return self.batch_size * self.world_size

    def __len__(self) -> int:
        whole, left = divmod(self.total - self.start, self.width)
        if not left or self.last == "drop":
            return whole
        # Too few for one each: the step before takes them, or, on resuming, some rank repeats one.
        return whole + (self.last != "short" or left >= self.world_size or not whole)

    def share(self, step: int) -> Share:
        """Return what this rank reads in a step, counted from 0."""
        return self.shares((step,))[0]

    def shares(self, chosen: Iterable[int]) -> list[Share]:
        """Return what this rank reads in some steps, counted from 0."""
        final, width, size = len(self) - 1, self.width, self.batch_size
        made = []
        for step in chosen:
            low = self.start + step * width
            count = self.total - low
            if step == final and self.last == "short" and count != width:
                made.append(self._even(low, max(count, self.world_size)))
                continue
            first = low + self.rank * size
            valid = min(max(self.total - first, 0), size)
            made.append(Share(first, first + size, valid, min(low + width, self.total)))
        return made

    def _even(self, low: int, count: int) -> Share:
        first = low + self.rank * count // self.world_size
        high = low + (self.rank + 1) * count // self.world_size
        valid = min(max(self.total - first, 0), high - first)
        return Share(first, high, valid, self.total)
