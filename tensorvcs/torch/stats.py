"""Where the time of an epoch went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorvcs.torch.making import Made


@dataclass(frozen=True, slots=True)
class LoaderStats:
    """What a loader gave out since it was made, and where the time went.

    Attributes
    ----------
    batch_count, sample_count : int
    nbytes : int
        Of the tensors read, before transforms.
    reading_seconds, transforming_seconds : float
        Of all threads or workers together.
    fetching_seconds : float
        How long they waited for a remote to bring what a partial clone lacks; not part of reading.
    waiting_seconds : float
        How long the training loop waited for the loader: near 0 when the loader is quick enough.
    consuming_seconds : float
        How long the training loop was busy between batches.
    """

    batch_count: int = 0
    sample_count: int = 0
    nbytes: int = 0
    reading_seconds: float = 0.0
    transforming_seconds: float = 0.0
    waiting_seconds: float = 0.0
    consuming_seconds: float = 0.0
    fetching_seconds: float = 0.0


class Tally:
    """Counts that grow; `stats` shows them."""

    def __init__(self) -> None:
        self.batch_count = self.sample_count = self.nbytes = 0
        self.reading_seconds = self.transforming_seconds = 0.0
        self.waiting_seconds = self.consuming_seconds = self.fetching_seconds = 0.0

    def made(self, made: Made) -> None:
        """Count what a thread or a worker made."""
        self.nbytes += made.nbytes
        self.reading_seconds += made.reading_seconds
        self.transforming_seconds += made.transforming_seconds
        self.fetching_seconds += made.fetching_seconds

    def stats(self) -> LoaderStats:
        """Return the counts as they are now."""
        return LoaderStats(**vars(self))
