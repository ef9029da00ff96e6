"""Transforms of samples and of batches, and the randomness they get.

A transform with a parameter named ``rng`` is given a numpy Generator that depends on seed, epoch
and key alone: so an augmentation is the same for every number of threads, workers and ranks and
after resuming, and differs by epoch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Union, overload

import numpy as np
import torch

from tensorvcs.errors import InvalidInputError
from tensorvcs.torch.arguments import check_functions
from tensorvcs.torch.collate import AsList, Pad, Ragged, Stack, as_tensor, joined
from tensorvcs.torch.notes import telling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.torch.collate import Collate

Function = Callable[..., Any]
Transform = Union[Function, Mapping[str, Function]]


@dataclass(frozen=True, slots=True)
class Randomness:
    """Where the generators of a batch begin: shape (n,), uint64; None where nobody asks."""

    words: NDArray[np.uint64] | None

    def of(self, number: int) -> np.random.Generator:
        """Return a fresh generator for one sample of the batch."""
        assert self.words is not None
        return np.random.Generator(np.random.PCG64(int(self.words[number])))

    def __len__(self) -> int:
        return 0 if self.words is None else len(self.words)


class Generators(Sequence[np.random.Generator]):
    """A fresh generator for each sample of a batch, made when it is asked for."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness

    def __len__(self) -> int:
        return len(self._randomness)

    @overload
    def __getitem__(self, number: int) -> np.random.Generator: ...
    @overload
    def __getitem__(self, number: slice) -> list[np.random.Generator]: ...
    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice):
            return [self[at] for at in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        return self._randomness.of(number)


@dataclass(frozen=True, slots=True)
class Transforms:
    """What is done with what was read.

    Attributes
    ----------
    sample : callable or mapping of column to callable, or None
        Of one sample, or of one value.
    batch : callable or mapping of column to callable, or None
        Of a whole batch, or of a column of it. A parameter named ``rngs`` is given a sequence of
        generators, one for each sample.
    collate : callable or mapping of column to callable, or None
        Of the list of samples, or of the values of a column.
    """

    sample: Transform | None = None
    batch: Transform | None = None
    collate: Collate | Mapping[str, Collate] | None = None

    def check(self, columns: Sequence[str]) -> None:
        """Raise InvalidInputError for a column that is not read, and for what cannot be called."""
        for kind, given in self._kinds():
            check_functions(kind, given)
            for made in given.values() if isinstance(given, Mapping) else (given,):
                if isinstance(made, type) and made in (Pad, Ragged, Stack, AsList):
                    raise InvalidInputError(
                        f"{kind} is {made.__name__}() or the like, not the class {made.__name__}"
                    )
            unknown = set(given) - set(columns) if isinstance(given, Mapping) else ()
            if unknown:
                raise InvalidInputError(
                    f"a transform is given for {sorted(unknown)}, which is not read; "
                    f"columns are {list(columns)}"
                )

    @property
    def are_none(self) -> bool:
        """Whether batches are what was read."""
        return self.sample is None and self.batch is None and self.collate is None

    @property
    def needs_rng(self) -> bool:
        """Whether any of the functions takes randomness."""
        return any(_takes(function, "rng") for function in _functions(self.sample)) or any(
            _takes(function, "rngs") for function in _functions(self.batch)
        )

    def names(self) -> dict[str, Any]:
        """Return the names of the functions, for a record of the run."""
        return {
            kind: {name: spelled(function) for name, function in given.items()}
            if isinstance(given, Mapping)
            else spelled(given)
            for kind, given in self._kinds()
            if given is not None
        }

    def _kinds(self) -> list[tuple[str, Any]]:
        return [
            ("transform", self.sample),
            ("batch_transform", self.batch),
            ("collate", self.collate),
        ]

    def apply(
        self,
        columns: dict[str, Any],
        count: int,
        layout: Callable[[dict[str, Any]], Any],
        random: Randomness,
        name_of: Callable[[int], str],
    ) -> Any:
        """Return the batch that a user gets.

        Parameters
        ----------
        columns : dict
            By name a tensor ``(n, *shape)`` or a list of length n.
        count : int
            The samples.
        layout : callable
            Make columns, or the values of one sample, a dict, a tuple or one value.
        random : Randomness
        name_of : callable
            Name a sample of the batch by its number, for errors.
        """
        if self.are_none:
            return layout(columns)
        with torch.no_grad():
            samples = self.sample if callable(self.sample) else None
            if samples is not None or callable(self.collate):
                made = [
                    {name: column[at] for name, column in columns.items()} for at in range(count)
                ]
                batch = self._from_samples([layout(values) for values in made], random, name_of)
            else:
                batch = layout(self._by_column(columns, random, name_of))
            if callable(self.batch):
                with telling(partial(_first, "", name_of)):
                    batch = as_tensor(_call(self.batch, batch, rngs=Generators(random)))
        return batch

    def _by_column(
        self, columns: dict[str, Any], random: Randomness, name_of: Callable[[int], str]
    ) -> dict[str, Any]:
        made = dict(columns)
        for name, function in _by_name(self.sample).items():
            values = _each(function, columns[name], random, name_of, f"column {name!r}, ")
            made[name] = values if name in _by_name(self.collate) else joined(values)
        for name, collate in _by_name(self.collate).items():
            with telling(partial(_first, f"column {name!r}, ", name_of)):
                made[name] = collate(list(made[name]))
        for name, function in _by_name(self.batch).items():
            with telling(partial(_first, f"column {name!r}, ", name_of)):
                made[name] = as_tensor(_call(function, made[name], rngs=Generators(random)))
        return made

    def _from_samples(
        self, samples: list[Any], random: Randomness, name_of: Callable[[int], str]
    ) -> Any:
        if callable(self.sample):
            samples = _each(self.sample, samples, random, name_of, "")
        if callable(self.collate):
            with telling(partial(_first, "", name_of)):
                return self.collate(samples)
        if not samples:
            return samples
        with telling(partial(_first, "", name_of)):
            return torch.utils.data.default_collate(samples)


def _each(
    function: Function,
    values: Sequence[Any],
    random: Randomness,
    name_of: Callable[[int], str],
    where: str,
) -> list[Any]:
    made = []
    takes_rng = _takes(function, "rng")
    for number, value in enumerate(values):
        with telling(partial(_sample, where, name_of, number)):
            made.append(function(value, rng=random.of(number)) if takes_rng else function(value))
    return made


def _sample(where: str, name_of: Callable[[int], str], number: int) -> str:
    return f"{where}sample {name_of(number)}"


def _first(where: str, name_of: Callable[[int], str]) -> str:
    return f"{where}the batch of sample {name_of(0)}"


def _functions(given: Transform | None) -> list[Function]:
    if given is None:
        return []
    return list(given.values()) if isinstance(given, Mapping) else [given]


def _by_name(given: Any) -> Mapping[str, Function]:
    return given if isinstance(given, Mapping) else {}


def _call(function: Function, value: Any, *, rngs: Generators) -> Any:
    return function(value, rngs=rngs) if _takes(function, "rngs") else function(value)


def _takes(function: Function, name: str) -> bool:
    called = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        return name in inspect.signature(called).parameters
    except (TypeError, ValueError):  # built-in functions do not tell
        return False


def spelled(function: object) -> str:
    """Return the name of a function or a module, without its place in memory."""
    if isinstance(function, torch.nn.Module):
        return repr(function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
