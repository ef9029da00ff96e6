"""Which samples of its columns a data set has, as the record of a run tells it.

A split follows from its shares and seed, and is told by them. Other choices are told by their
positions: a bit for each sample of the columns, or the steps from one to the next where they have
an order of their own, deflated. What would be too long for a record is told by its digest alone.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAX_NBYTES = 1 << 19
"""How long the positions in one record may be: half of what a record of a run may have."""

# Where fewer than one in so many are chosen, their steps are shorter than a bit for each.
_SPARSE = 64


@dataclass(frozen=True, slots=True)
class SplitPart:
    """A part of `TensorDataset.split`.

    Attributes
    ----------
    shares : tuple of (str, float)
        In order.
    seed : int
    identical : tuple of str
    part : str
    """

    shares: tuple[tuple[str, float], ...]
    seed: int
    identical: tuple[str, ...]
    part: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; the shares are a list, for JSON may put a mapping in order."""
        return {
            "shares": [list(share) for share in self.shares],
            "seed": self.seed,
            "identical": list(self.identical),
            "part": self.part,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SplitPart:
        """Read what `to_dict` gave."""
        shares = tuple((str(name), float(share)) for name, share in values["shares"])
        identical = tuple(map(str, values["identical"]))
        return cls(shares, int(values["seed"]), identical, str(values["part"]))


Splits = tuple[SplitPart, ...]
"""Splits of splits, from all samples on."""


def spell_splits(splits: Splits, count: int) -> dict[str, Any]:
    """Return plain values for the `count` samples that splits gave."""
    return {"count": count, "splits": [split.to_dict() for split in splits]}


def spell_positions(
    positions: NDArray[np.int64], total: int, max_nbytes: int = MAX_NBYTES
) -> dict[str, Any]:
    """Return plain values for some positions of `total`, in their order.

    Parameters
    ----------
    positions : ndarray, shape (n,), int64
    total : int
    max_nbytes : int
        Where the positions take more, ``count`` is all that is told.

    Returns
    -------
    dict
        ``count``; and ``mask``, a bit for each of the total, or ``steps``, from each position to
        the next as little-endian int64: deflated, in base64.
    """
    found: dict[str, Any] = {"count": len(positions)}
    steps = np.diff(positions, prepend=np.int64(0)).astype("<i8")
    if len(positions) * _SPARSE >= total and bool((steps[1:] > 0).all()):
        mask = np.zeros(total, np.bool_)
        mask[positions] = True
        kind, content = "mask", np.packbits(mask).tobytes()
    else:
        kind, content = "steps", steps.tobytes()
    text = base64.b64encode(zlib.compress(content)).decode()
    return {**found, kind: text} if len(text) <= max_nbytes else found


def read_positions(chosen: Mapping[str, Any], total: int) -> NDArray[np.int64] | None:
    """Return the positions that `spell_positions` spelled; None where it left them out.

    Raises
    ------
    InvalidInputError
        They are damaged, or outside of `total`.
    """
    try:
        if "mask" in chosen:
            bits = np.frombuffer(_inflated(chosen["mask"]), np.uint8)
            if len(bits) != -(-total // 8):
                raise ValueError(f"a mask of {len(bits)} bytes for {total} samples")
            found = np.flatnonzero(np.unpackbits(bits, count=total)).astype(np.int64)
        elif "steps" in chosen:
            found = np.cumsum(np.frombuffer(_inflated(chosen["steps"]), "<i8"))
        else:
            return None
    except (ValueError, TypeError, zlib.error) as error:
        raise InvalidInputError(f"the chosen samples cannot be read: {error}") from error
    if len(found) and not (found.min() >= 0 and found.max() < total):
        raise InvalidInputError(f"a chosen sample is outside of the {total} there are")
    return found


def _inflated(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text, validate=True))
