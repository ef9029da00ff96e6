"""What a user says of the order: blocks, weights, balanced classes."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.torch.order import (
    BlockShuffled,
    InOrder,
    Order,
    Shuffled,
    key_of,
    mixed,
    permuted_each,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Weights become whole numbers of this sum, so that no rounding differs between machines.
_WEIGHT_SUM = 2**52
_DEFAULT_BLOCK_NBYTES = 8 << 20


class Sampled(Protocol):
    """What an order is made for: a data set."""

    def __len__(self) -> int: ...

    def values_of(self, column: str) -> NDArray[Any]:
        """Return the values of a column of scalars for all samples, in order of places."""
        ...

    def sample_nbytes(self) -> int:
        """Return about how many bytes a sample has."""
        ...


@dataclass(frozen=True, slots=True)
class Block:
    """Shuffle by blocks of neighbours: for data larger than memory, and for slow disks.

    Blocks of samples that follow each other in key order are permuted, then samples are permuted
    within windows of so many blocks. A window is read whole before the next, so what must be in
    the page cache, or come from a remote at a time, is ``window * nbytes``.

    Parameters
    ----------
    nbytes : int
        The size of a block. Ignored when `rows` is given.
    window : int
        Blocks shuffled together. `tensorvcs.torch.spread` tells how near it is to a full shuffle:
        about ``1 - 1 / window`` of it.
    rows : int, optional
        Samples a block.

    Notes
    -----
    Neighbours in key order are neighbours on the disk when they were imported in that order.
    """

    nbytes: int = _DEFAULT_BLOCK_NBYTES
    window: int = 64
    rows: int | None = None

    def __post_init__(self) -> None:
        for name, number in (("nbytes", self.nbytes), ("window", self.window), ("rows", self.rows)):
            if number is not None and number < 1:
                raise InvalidInputError(f"{name} of a block shuffle is at least 1, not {number}")

    def order_for(self, samples: Sampled) -> Order:
        """Return the order of the samples of a data set."""
        rows = self.rows or max(1, self.nbytes // max(1, samples.sample_nbytes()))
        return BlockShuffled(len(samples), rows, self.window)


@dataclass(frozen=True, eq=False, slots=True)
class Weighted:
    """Draw samples at random, each as often as its weight says; samples may come again.

    Parameters
    ----------
    weights : sequence of float, shape (n,), or str
        One for each sample of the data set in its order, not negative; or the name of a column
        of numbers.
    count : int, optional
        Draws an epoch; as many as there are samples when omitted.
    """

    weights: Sequence[float] | NDArray[Any] | str
    count: int | None = None

    def order_for(self, samples: Sampled) -> Order:
        """Return the order of the samples of a data set."""
        weights = self.weights
        found = samples.values_of(weights) if isinstance(weights, str) else np.asarray(weights)
        if found.shape != (len(samples),) or found.dtype.kind not in "biuf":
            raise InvalidInputError(
                f"{len(samples)} samples need as many weights; found {found.dtype} {found.shape}"
            )
        numbers = found.astype(np.float64)
        largest = float(numbers.max(initial=0))
        if len(numbers) and not (np.isfinite(largest) and numbers.min() >= 0 and largest > 0):
            raise InvalidInputError("weights are finite, not negative and not all 0")
        shares = np.rint(numbers / (largest or 1) * (_WEIGHT_SUM // max(1, len(numbers))))
        count = _checked_count(self.count, samples)
        return WeightedOrder(np.cumsum(shares.astype(np.uint64)), count)


@dataclass(frozen=True, eq=False, slots=True)
class Balanced:
    """Give every class the same number of samples, in every stretch of an epoch.

    Each round has one sample of each class, in random order. The samples of a class come in
    random order, each once before any comes again.

    Parameters
    ----------
    labels : sequence, shape (n,), or str
        The class of each sample of the data set, ints or texts; or the name of a column.
    count : int, optional
        Samples an epoch; as many as there are in the data set when omitted.
    """

    labels: Sequence[Any] | NDArray[Any] | str
    count: int | None = None

    def order_for(self, samples: Sampled) -> Order:
        """Return the order of the samples of a data set."""
        labels = self.labels
        found = samples.values_of(labels) if isinstance(labels, str) else np.asarray(labels)
        if found.shape != (len(samples),):
            raise InvalidInputError(
                f"{len(samples)} samples need as many labels; found shape {found.shape}"
            )
        classes = np.unique(found, return_inverse=True)[1].astype(np.int64)
        return BalancedOrder(classes, _checked_count(self.count, samples))


def _checked_count(count: int | None, samples: Sampled) -> int:
    if count is None:
        return len(samples)
    if count < 0 or (count and not len(samples)):
        raise InvalidInputError(f"cannot draw {count} of {len(samples)} samples")
    return count


Sampler = Weighted | Balanced


def order_for(samples: Sampled, shuffle: bool | Block, sampler: Sampler | None) -> Order:
    """Return the order that a user asked for."""
    if sampler is not None:
        if isinstance(shuffle, Block):
            raise with_hint(
                InvalidInputError("a sampler and a block shuffle exclude each other"),
                "leave out shuffle=: what a sampler draws is in random order",
            )
        if not isinstance(sampler, Weighted | Balanced):
            raise with_hint(
                InvalidInputError(f"a sampler is Weighted or Balanced, not {sampler!r:.80}"),
                "such as Balanced('labels')",
            )
        return sampler.order_for(samples)
    if isinstance(shuffle, Block):
        return shuffle.order_for(samples)
    return Shuffled(len(samples)) if shuffle else InOrder(len(samples))


def spell_sampler(sampler: Sampler | None) -> dict[str, Any]:
    """Return which column a sampler follows, for a record; nothing where it follows none."""
    followed = sampler.weights if isinstance(sampler, Weighted) else None
    followed = sampler.labels if isinstance(sampler, Balanced) else followed
    return {"sampler": {"column": followed}} if isinstance(followed, str) else {}


class WeightedOrder:
    """Draws with replacement.

    Parameters
    ----------
    bounds : ndarray, shape (n,), uint64
        The weights, whole numbers, summed up.
    count : int
    """

    def __init__(self, bounds: NDArray[np.uint64], count: int) -> None:
        self.count = count
        self._bounds = bounds

    def places(self, positions: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return a draw for each position."""
        if not len(positions):
            return positions
        # 53 bits as a float are exact, and so is their product's order on every machine.
        shares = (words_of(positions, key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        drawn = np.floor(shares * float(self._bounds[-1])).astype(np.uint64)
        return np.searchsorted(self._bounds, drawn, side="right").astype(np.int64)

    def spelled(self) -> dict[str, Any]:
        """Return the kind, the count and a digest of the weights."""
        return {"kind": "weighted", "count": self.count, "weights": _digest(self._bounds)}


class BalancedOrder:
    """Rounds of one sample a class.

    Parameters
    ----------
    classes : ndarray, shape (n,), int64
        The class of each sample, counted from 0; each class has a sample.
    count : int
    """

    def __init__(self, classes: NDArray[np.int64], count: int) -> None:
        self.count = count
        self._by_class = np.argsort(classes, kind="stable")
        self._sizes = np.bincount(classes).astype(np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._classes = classes

    def places(self, positions: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return the place at each position."""
        if not len(positions):
            return positions
        class_count = len(self._sizes)
        rounds, slots = np.divmod(positions, class_count)
        chosen = permuted_each(
            slots, np.full(len(slots), class_count), words_of(rounds, key_of(key, 0))
        )
        sizes = self._sizes[chosen]
        passes, turns = np.divmod(rounds, sizes)
        words = words_of(chosen, key_of(key, 1))
        inside = permuted_each(turns, sizes, mixed(words + passes.astype(np.uint64)))
        found: NDArray[np.int64] = self._by_class[self._starts[chosen] + inside]
        return found

    def spelled(self) -> dict[str, Any]:
        """Return the kind, the count and a digest of the classes."""
        return {"kind": "balanced", "count": self.count, "classes": _digest(self._classes)}


def _digest(numbers: NDArray[Any]) -> str:
    return blake2b(
        np.ascontiguousarray(numbers).astype("<u8").tobytes(), digest_size=16
    ).hexdigest()
