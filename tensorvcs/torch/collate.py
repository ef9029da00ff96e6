"""How values of one column become one batch, where their shapes vary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.torch.arguments import as_count
from tensorvcs.torch.convert import to_torch

Collate = Callable[[Sequence[Any]], Any]


class Padded(NamedTuple):
    """Values of several shapes in one tensor.

    Attributes
    ----------
    values : Tensor, shape (n, *largest)
    mask : Tensor, shape (n, *largest), bool
        True where there is data.
    """

    values: torch.Tensor
    mask: torch.Tensor


class RaggedBatch(NamedTuple):
    """Values that differ in their first extent, behind each other.

    Attributes
    ----------
    values : Tensor, shape (sum of extents, *rest)
    offsets : Tensor, shape (n + 1,), int64
        Value i is ``values[offsets[i] : offsets[i + 1]]``.
    """

    values: torch.Tensor
    offsets: torch.Tensor

    def nested(self) -> torch.Tensor:
        """Return a nested tensor of the jagged layout that shares the memory."""
        return torch.nested.nested_tensor_from_jagged(self.values, self.offsets)


@dataclass(frozen=True, slots=True)
class Pad:
    """Fill up to the largest extent on each axis.

    Parameters
    ----------
    value : float
        What is filled in.
    to : int or tuple of int, optional
        The extents wanted, of the first axis or of all; larger values are refused. The largest of
        the batch when omitted.
    multiple_of : int
        The first extent is rounded up to a multiple of this.
    mask : bool
        Give a `Padded` with a mask; otherwise the values alone.
    """

    value: float = 0
    to: int | tuple[int, ...] | None = None
    multiple_of: int = 1
    mask: bool = True

    def __post_init__(self) -> None:
        as_count("multiple_of", self.multiple_of, 1)
        for extent in self.to if isinstance(self.to, tuple) else (self.to,):
            if extent is not None:
                as_count("to", extent, 0)

    def __call__(self, values: Sequence[Any]) -> Any:
        """Return tensors of one ndim and dtype in one tensor."""
        tensors = _tensors(values, "Pad")
        if not tensors:
            empty = torch.empty(0)
            return Padded(empty, empty.bool()) if self.mask else empty
        extents = self._extents([tuple(tensor.shape) for tensor in tensors])
        out = torch.full((len(tensors), *extents), self.value, dtype=tensors[0].dtype)
        mask = torch.zeros(out.shape if self.mask else (len(tensors),), dtype=torch.bool)
        for place, tensor in enumerate(tensors):
            inside: Any = (place, *(slice(extent) for extent in tensor.shape))
            out[inside] = tensor
            if self.mask:
                mask[inside] = True
        return Padded(out, mask) if self.mask else out

    def _extents(self, shapes: Sequence[tuple[int, ...]]) -> list[int]:
        if len({len(shape) for shape in shapes}) > 1:
            raise InvalidInputError(f"Pad needs values of one number of axes; found {shapes[:8]}")
        largest = [max(extents) for extents in zip(*shapes, strict=True)]
        wanted = self.to if isinstance(self.to, tuple) else (self.to,) if self.to else ()
        for axis, extent in enumerate(wanted):
            if axis >= len(largest) or largest[axis] > extent:
                raise with_hint(
                    InvalidInputError(
                        f"a value of the batch has extents {largest}, Pad has {wanted}"
                    ),
                    "raise `to`, or crop in a transform",
                )
            largest[axis] = extent
        if largest:
            largest[0] = -(-largest[0] // self.multiple_of) * self.multiple_of
        return largest


@dataclass(frozen=True, slots=True)
class Ragged:
    """Put values behind each other that differ in their first extent alone."""

    def __call__(self, values: Sequence[Any]) -> RaggedBatch:
        """Return the values and where each begins."""
        tensors = _tensors(values, "Ragged")
        if any(tensor.ndim == 0 for tensor in tensors):
            raise with_hint(
                InvalidInputError("Ragged needs values with an axis; found a scalar"),
                "leave the collate function of this column out: scalars are stacked",
            )
        lengths = [len(tensor) for tensor in tensors]
        offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        rests = {tuple(tensor.shape[1:]) for tensor in tensors}
        if len(rests) > 1:
            raise with_hint(
                InvalidInputError(
                    f"Ragged needs values that differ in their first extent: {rests}"
                ),
                "use Pad(), or leave the column as a list",
            )
        return RaggedBatch(torch.cat(tensors) if tensors else torch.empty(0), offsets)


@dataclass(frozen=True, slots=True)
class Stack:
    """Stack values of one shape; where shapes differ, that is an error and not a list."""

    def __call__(self, values: Sequence[Any]) -> torch.Tensor:
        """Return a tensor of shape (n, *shape)."""
        tensors = _tensors(values, "Stack")
        shapes = {tuple(tensor.shape) for tensor in tensors}
        if len(shapes) > 1:
            raise with_hint(
                InvalidInputError(f"values of several shapes cannot be stacked: {sorted(shapes)}"),
                "use Pad() or Ragged(), or leave the column as a list",
            )
        return torch.stack(tensors) if tensors else torch.empty(0)


@dataclass(frozen=True, slots=True)
class AsList:
    """Leave the values in a list."""

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """Return the values."""
        return list(values)


def joined(values: Sequence[Any]) -> Any:
    """Return what a transform made of the values of a column: stacked where that is possible."""
    found = [as_tensor(value) for value in values]
    if found and all(isinstance(value, torch.Tensor) for value in found):
        if len({(value.shape, value.dtype) for value in found}) == 1:
            return torch.stack(found)
    elif found and all(type(value) in {int, float, bool} for value in found):
        return torch.tensor(found)
    return found


def as_tensor(value: Any) -> Any:
    """Return an array as a tensor; anything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        is_plain = value.flags.writeable and min(value.strides, default=0) >= 0
        return to_torch(value if is_plain else value.copy())
    return value


def _tensors(values: Sequence[Any], name: str) -> list[torch.Tensor]:
    found = [as_tensor(value) for value in values]
    for value in found:
        if not isinstance(value, torch.Tensor):
            raise InvalidInputError(f"{name} takes arrays, not {type(value).__name__}")
    return found
