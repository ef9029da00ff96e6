"""Mix: samples of several data sets, drawn by weight."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.torch.arguments import as_count
from tensorvcs.torch.buffers import FRESH_MEMORY
from tensorvcs.torch.chosen import MAX_NBYTES
from tensorvcs.torch.convert import to_torch
from tensorvcs.torch.order import key_of, permuted, permuted_each, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Key
    from tensorvcs.torch.buffers import Memory
    from tensorvcs.torch.dataset import TensorDataset

# Each round has so many samples of every part as its weight says, in random order.
_ROUND_COUNT = 4096


class Mix:
    """Several data sets, of one or several commits, as one for a `TensorLoader`.

    Parameters
    ----------
    parts : mapping of str to (TensorDataset, float)
        Names, data sets and relative weights. All have the same columns, and in a column values
        of the same schema.
    samples_per_epoch : int, optional
        As many as the parts have together when omitted.

    Raises
    ------
    InvalidInputError
        Parts that differ, are empty, or have weights below 1/4096 of the sum.

    Notes
    -----
    Every 4096 samples have the parts in the proportion of the weights, to 1/4096, in random
    order. The samples of a part come in random order, each once before any comes again; where a
    part goes on from epoch to epoch, it begins a new order. Which sample comes where depends on
    the seed and the epoch alone. A loader of a mix shuffles, and takes no sampler.
    """

    def __init__(
        self,
        parts: Mapping[str, tuple[TensorDataset, float]],
        *,
        samples_per_epoch: int | None = None,
    ) -> None:
        if not parts:
            raise InvalidInputError("a mix needs at least one part")
        if not isinstance(parts, Mapping):
            raise with_hint(
                InvalidInputError(f"parts of a mix have names, not {parts!r:.80}"),
                'such as {"day": (by_day, 3), "night": (by_night, 1)}',
            )
        self.parts = {name: part for name, (part, _) in parts.items()}
        self.weights = {name: float(weight) for name, (_, weight) in parts.items()}
        self._members = list(self.parts.values())
        first = self._members[0]
        self.columns: tuple[str, ...] = first.columns
        for name, part in self.parts.items():
            _check_alike(name, part, first)
        self._quotas = _quotas(self.weights)
        self._sizes = np.array([len(part) for part in self._members], np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        total = int(self._sizes.sum())
        self.samples_per_epoch = (
            total
            if samples_per_epoch is None
            else as_count("samples_per_epoch", samples_per_epoch, 0)
        )

    def __len__(self) -> int:
        return int(self._sizes.sum())

    def order(self) -> MixedOrder:
        """Return the order in which samples of the parts come."""
        return MixedOrder(self._quotas, self._sizes, self.samples_per_epoch)

    @property
    def layout_name(self) -> str:
        """How samples and batches come: ``dict``, ``tuple`` or ``value``."""
        return self._members[0].layout_name

    def layout(self, values: dict[str, Any]) -> Any:
        """Return columns, or the values of one sample, as the parts give them."""
        return self._members[0].layout(values)

    def gather(self, places: NDArray[Any], memory: Memory = FRESH_MEMORY) -> dict[str, Any]:
        """Read samples; places count through the parts, one after the other."""
        columns: dict[str, Any] = {}
        found = [
            (np.flatnonzero(mask), part.gather(places[mask] - start))
            for mask, part, start in self._by_part(places)
        ]
        for name in self.columns:
            schema = self._members[0].checkout.columns[name].schema
            if schema.is_fixed_shape and not schema.nested:
                shape = (len(places), *schema.fixed_shape)
                out = to_torch(memory.array(shape, schema.numpy_dtype))
                for at, values in found:
                    out[torch.from_numpy(at)] = values[name]
                columns[name] = out
            else:
                listed: list[Any] = [None] * len(places)
                for at, values in found:
                    for place, value in zip(at.tolist(), values[name], strict=True):
                        listed[place] = value
                columns[name] = listed
        return columns

    def _by_part(self, places: NDArray[Any]) -> list[tuple[NDArray[Any], TensorDataset, int]]:
        part_of = np.searchsorted(self._starts, places, side="right") - 1
        # Of empty parts the starts are equal; `right` takes the last, which has samples.
        return [
            (part_of == number, self._members[number], int(self._starts[number]))
            for number in np.unique(part_of).tolist()
        ]

    def fetch(self, places: NDArray[Any]) -> int:
        """Bring what some samples lack in partial clones."""
        return sum(part.fetch(places[mask] - start) for mask, part, start in self._by_part(places))

    def keys_at(self, places: Sequence[int] | NDArray[Any]) -> list[Key]:
        """Return the keys of some samples, each in its part."""
        found: list[Key] = []
        for place in np.asarray(places).tolist():
            ((_, part, start),) = self._by_part(np.array([place]))
            found += part.keys_at([place - start])
        return found

    def key_hashes(self) -> NDArray[np.uint64]:
        """Return a word for each sample that depends on its key and the name of its part."""
        return np.concatenate(
            [
                part.key_hashes() ^ np.uint64(key_of(*name.encode()))
                for name, part in self.parts.items()
            ]
        )

    def sample_nbytes(self) -> int:
        """Return the bytes of a sample."""
        return self._members[0].sample_nbytes()

    def values_of(self, column: str) -> NDArray[Any]:
        """Return a column of scalars or texts for all samples."""
        return np.concatenate([part.values_of(column) for part in self._members])

    def identity(self) -> dict[str, Any]:
        """Return plain values that tell these samples from others."""
        parts = {name: part.identity() for name, part in self.parts.items()}
        hasher = blake2b(digest_size=16)
        for name, identity in parts.items():
            hasher.update(f"{name}\0{identity['digest']}\0".encode())
        return {
            "parts": parts,
            "weights": self.weights,
            "columns": list(self.columns),
            "digest": hasher.hexdigest(),
        }

    def record(self, max_nbytes: int = MAX_NBYTES) -> dict[str, Any]:
        """Return `identity` with the `TensorDataset.record` of each part, and their order."""
        share = max_nbytes // len(self.parts)
        return {
            **self.identity(),
            "parts": {name: part.record(share) for name, part in self.parts.items()},
            "part_names": list(self.parts),
        }

    def difference(self, then: Mapping[str, Any]) -> str:
        """Tell what changed since another `identity`, by part."""
        before = then.get("parts")
        if not isinstance(before, dict) or list(before) != list(self.parts):
            return f"it was not a mix of {list(self.parts)}"
        return "; ".join(
            f"part {name!r}: {part.difference(before[name])}"
            for name, part in self.parts.items()
            if part.identity()["digest"] != before[name]["digest"]
        )

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{name} {weight:g} of {len(self.parts[name])}" for name, weight in self.weights.items()
        )
        return f"<Mix of {self.samples_per_epoch} samples an epoch: {parts}>"


def _check_alike(name: str, part: TensorDataset, first: TensorDataset) -> None:
    if not len(part):
        raise InvalidInputError(f"part {name!r} of a mix has no samples")
    if part.transform is not None:
        raise with_hint(
            InvalidInputError(f"part {name!r} of a mix has a transform of its own"),
            "give the transform to the loader",
        )
    if part.columns != first.columns or part.layout_name != first.layout_name:
        raise InvalidInputError(
            f"part {name!r} has the columns {list(part.columns)} as {part.layout_name}, the first "
            f"{list(first.columns)} as {first.layout_name}"
        )
    for column in first.columns:
        mine = part.checkout.columns[column].schema
        other = first.checkout.columns[column].schema
        if mine.spelling != other.spelling:
            raise InvalidInputError(
                f"column {column!r} of part {name!r} is {mine.spelling}, of the first "
                f"{other.spelling}"
            )


def _quotas(weights: Mapping[str, float]) -> NDArray[np.int64]:
    """Return how many samples each part has in a round: whole numbers near the weights."""
    numbers = np.array(list(weights.values()), np.float64)
    if not (np.isfinite(numbers).all() and numbers.min() > 0):
        raise InvalidInputError(f"weights of a mix are finite and above 0: {dict(weights)}")
    exact = numbers / numbers.sum() * _ROUND_COUNT
    quotas: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    largest = np.argsort(-(exact - quotas), kind="stable")[: _ROUND_COUNT - int(quotas.sum())]
    quotas[largest] += 1
    if quotas.min() < 1:
        raise InvalidInputError(f"weights of a mix are at least 1/{_ROUND_COUNT} of their sum")
    return quotas


class MixedOrder:
    """Rounds of 4096 positions, each with a quota of every part.

    Parameters
    ----------
    quotas : ndarray, shape (parts,), int64
        Their sum is 4096.
    sizes : ndarray, shape (parts,), int64
    count : int
        Positions of an epoch.
    """

    def __init__(self, quotas: NDArray[np.int64], sizes: NDArray[np.int64], count: int) -> None:
        self.count = count
        self._quotas = quotas
        self._sizes = sizes
        self._starts = np.cumsum(sizes) - sizes

    def places(self, positions: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return the places, which count through the parts."""
        rounds, slots = np.divmod(positions, _ROUND_COUNT)
        part, draws = (np.empty(len(positions), np.int64) for _ in range(2))
        for number in np.unique(rounds).tolist():
            chosen = rounds == number
            parts, turns = self._round(key_of(key, 0, number))
            part[chosen] = parts[slots[chosen]]
            draws[chosen] = turns[slots[chosen]]
        # Which draw of its part this is, in the epoch.
        draws += rounds * self._quotas[part]
        sizes = self._sizes[part]
        passes, at = np.divmod(draws, sizes)
        keys = words_of(part, key_of(key, 1)) + words_of(passes, key_of(key, 2))
        found: NDArray[np.int64] = self._starts[part] + permuted_each(at, sizes, keys)
        return found

    def _round(self, key: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the part of each slot of a round, and how many of that part come before it."""
        shuffled = permuted(np.arange(_ROUND_COUNT), _ROUND_COUNT, key)
        parts = np.repeat(np.arange(len(self._quotas)), self._quotas)[shuffled]
        by_part = np.argsort(parts, kind="stable")
        turns = np.empty(_ROUND_COUNT, np.int64)
        turns[by_part] = np.arange(_ROUND_COUNT) - np.repeat(
            np.cumsum(self._quotas) - self._quotas, self._quotas
        )
        return parts, turns

    def spelled(self) -> dict[str, Any]:
        """Return the kind, the count, the quotas and the sizes."""
        return {
            "kind": "mixed",
            "count": self.count,
            "quotas": self._quotas.tolist(),
            "sizes": self._sizes.tolist(),
        }
