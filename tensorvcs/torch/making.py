"""Make batches: the places of some positions, one gather a column, transforms."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import accumulate
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from tensorvcs.torch.order import key_of, mixed
from tensorvcs.torch.transforms import Randomness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Key
    from tensorvcs.torch.buffers import Memory
    from tensorvcs.torch.order import Order
    from tensorvcs.torch.steps import Share, Steps
    from tensorvcs.torch.transforms import Transforms

VALID = "_valid"
"""The column that tells which samples of a padded batch are there for the first time."""

# What is gathered by one call: enough that the call, whose code a gather drives out of the cache,
# costs little beside it.
_READ_NBYTES = 12 << 20
_READ_STEPS = 64
# What a plan holds: enough that its order costs little, and that a remote is asked seldom.
_PLAN_COUNT = 1 << 14
_PLAN_NBYTES = 64 << 20


class Samples(Protocol):
    """What batches are made of: a data set, or a mix of several."""

    columns: tuple[str, ...]

    def __len__(self) -> int: ...

    def gather(self, places: NDArray[Any], memory: Memory) -> dict[str, Any]:
        """Read samples: by column a tensor ``(n, *shape)``, or a list."""
        ...

    def fetch(self, places: NDArray[Any]) -> int:
        """Bring what some samples lack in a partial clone."""
        ...

    @property
    def layout_name(self) -> str:
        """How samples and batches come: ``dict``, ``tuple`` or ``value``."""
        ...

    def layout(self, values: dict[str, Any]) -> Any:
        """Return columns, or the values of one sample, as the data set gives them."""
        ...

    def keys_at(self, places: Sequence[int] | NDArray[Any]) -> list[Key]:
        """Return the keys of some samples."""
        ...

    def key_hashes(self) -> NDArray[np.uint64]:
        """Return a word for each sample that depends on its key alone."""
        ...

    def sample_nbytes(self) -> int:
        """Return about how many bytes a sample has."""
        ...

    def values_of(self, column: str) -> NDArray[Any]:
        """Return a column of scalars or texts for all samples, in their order."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return plain values that tell these samples from others."""
        ...

    def record(self) -> dict[str, Any]:
        """Return `identity`, and which samples these are of those that the columns have."""
        ...

    def difference(self, then: Mapping[str, Any]) -> str:
        """Tell what changed since another `identity`."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """Batches of consecutive steps, and what they cost.

    Attributes
    ----------
    batches : list
    nbytes : int
        Of the tensors that were read.
    reading_seconds, transforming_seconds : float
        Of the thread or process that made them.
    fetching_seconds : float
        For what a remote had to bring, of these and of others of their plan.
    """

    batches: list[Any]
    nbytes: int
    reading_seconds: float
    transforming_seconds: float
    fetching_seconds: float = 0.0


class Plan:
    """The places of some consecutive steps, found out once, by the thread that comes first."""

    def __init__(self, maker: BatchMaker, epoch: int, shares: Sequence[Share]) -> None:
        self.epoch = epoch
        self.shares = shares
        self._maker = maker
        self._lock = threading.Lock()
        self._places: NDArray[np.int64] | None = None
        self._fetching_seconds = 0.0

    def places(self) -> NDArray[np.int64]:
        """Return the places, shape (n,), once what they lack was fetched."""
        with self._lock:
            if self._places is None:
                places = self._maker.places(self.epoch, self.shares)
                begun = perf_counter()
                self._maker.samples.fetch(places)
                self._fetching_seconds = perf_counter() - begun
                self._places = places
            return self._places

    def make(self, first: int, stop: int) -> Made:
        """Return the batches of the steps from `first` up to `stop` of the plan."""
        low = sum(map(len, self.shares[:first]))
        high = low + sum(map(len, self.shares[first:stop]))
        places = self.places()[low:high]
        with self._lock:
            fetching, self._fetching_seconds = self._fetching_seconds, 0.0
        return self._maker.make(self.epoch, self.shares[first:stop], places, fetching)


class BatchMaker:
    """Makes the batches of any steps, in any thread, or in another process once pickled.

    Parameters
    ----------
    samples : Samples
    order : Order
    seed : int
    transforms : Transforms
    memory : Memory
    marks_padding : bool
        Add the column ``_valid``, shape (n,), bool.
    repeats : bool
        Whether a place may come twice in an epoch: then randomness depends on the position too.
    """

    def __init__(
        self,
        samples: Samples,
        order: Order,
        seed: int,
        transforms: Transforms,
        memory: Memory,
        *,
        marks_padding: bool = False,
        repeats: bool = False,
    ) -> None:
        self.samples = samples
        self.order = order
        self.seed = seed
        self.transforms = transforms
        self.memory = memory
        self._marks_padding = marks_padding
        self._repeats = repeats
        self._is_plain = transforms.are_none and not marks_padding
        self._hashes = samples.key_hashes() if transforms.needs_rng else None

    def places(self, epoch: int, shares: Sequence[Share]) -> NDArray[np.int64]:
        """Return the places of some steps, behind each other."""
        positions = [share.positions(self.order.count) for share in shares]
        joined = np.concatenate(positions) if positions else np.zeros(0, np.int64)
        return self.order.places(joined, key_of(self.seed, epoch))

    def plans(
        self, epoch: int, steps: Steps, chosen: range | None = None
    ) -> Iterator[tuple[Plan, int]]:
        """Yield all or the chosen steps in groups, and how many of each to read at a time."""
        chosen = range(len(steps)) if chosen is None else chosen
        step_nbytes = self.samples.sample_nbytes() * steps.batch_size
        at_a_time = min(_READ_STEPS, _READ_NBYTES // step_nbytes) if step_nbytes else 1
        if self.transforms.sample is not None or self.transforms.collate is not None:
            at_a_time = 1
        planned = min(_PLAN_COUNT // steps.batch_size, _PLAN_NBYTES // max(1, step_nbytes))
        at_a_time = max(1, at_a_time)
        planned = max(1, planned // at_a_time) * at_a_time
        for first in range(0, len(chosen), planned):
            shares = steps.shares(chosen[first : first + planned])
            yield Plan(self, epoch, shares), at_a_time

    def make(
        self,
        epoch: int,
        shares: Sequence[Share],
        places: NDArray[np.int64] | None = None,
        fetching_seconds: float = 0.0,
    ) -> Made:
        """Return the batches of some steps; `places` are theirs, when they are fetched already."""
        if places is None:
            places = self.places(epoch, shares)
            begun = perf_counter()
            self.samples.fetch(places)
            fetching_seconds = perf_counter() - begun
        started = perf_counter()
        columns = self.samples.gather(places, self.memory)
        read = perf_counter()
        nbytes = sum(c.nbytes for c in columns.values() if isinstance(c, torch.Tensor))
        sizes = [len(share) for share in shares]
        parts = [columns] if len(shares) == 1 else _split(columns, sizes)
        if self._is_plain:
            batches = [self.samples.layout(part) for part in parts]
        else:
            batches, low = [], 0
            for share, part in zip(shares, parts, strict=True):
                high = low + len(share)
                batches.append(self._finish(epoch, share, places[low:high], part))
                low = high
        return Made(batches, nbytes, read - started, perf_counter() - read, fetching_seconds)

    def _finish(
        self, epoch: int, share: Share, places: NDArray[np.int64], columns: dict[str, Any]
    ) -> Any:
        layout = self.samples.layout
        if self._marks_padding:
            columns = {**columns, VALID: torch.arange(len(share)) < share.valid_count}
        return self.transforms.apply(
            columns,
            len(share),
            layout,
            self._randomness(epoch, share, places),
            lambda number: repr(self.samples.keys_at(places[number : number + 1])[0]),
        )

    def _randomness(self, epoch: int, share: Share, places: NDArray[np.int64]) -> Randomness:
        if self._hashes is None:
            return Randomness(None)
        words = mixed(self._hashes[places] ^ np.uint64(key_of(self.seed, epoch, 1)))
        if self._repeats:
            positions = share.positions(self.order.count).astype(np.uint64)
            words = mixed(words + positions)
        return Randomness(words)


def _split(columns: dict[str, Any], sizes: list[int]) -> list[dict[str, Any]]:
    """Cut columns, tensors or lists, into consecutive parts."""
    cuts = []
    for column in columns.values():
        if isinstance(column, torch.Tensor):
            cuts.append(torch.split(column, sizes))
        else:
            ends = list(accumulate(sizes))
            cuts.append(tuple(column[e - n : e] for e, n in zip(ends, sizes, strict=True)))
    return [dict(zip(columns, part, strict=True)) for part in zip(*cuts, strict=True)]
