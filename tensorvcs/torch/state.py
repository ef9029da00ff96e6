"""The state of a loader: plain values, from which it goes on at the next sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STATE_VERSION = 1
_HASHED_COUNT = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is: the epoch, and how many of its positions all ranks together were given."""

    epoch: int
    seen: int


@dataclass(frozen=True, slots=True)
class Span:
    """Positions of one epoch that were given out: from `low` up to `high`."""

    epoch: int
    low: int
    high: int

    def pieces(self) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
        """Yield the positions in parts."""
        for low in range(self.low, self.high, _HASHED_COUNT):
            yield np.arange(low, min(low + _HASHED_COUNT, self.high))


@dataclass(frozen=True, slots=True)
class LoaderState:
    """What `TensorLoader.state_dict` holds.

    Attributes
    ----------
    place : Place
    seed : int
    order : dict
        As the order spells itself.
    data : dict
        As the samples spell themselves.
    history : tuple of Span
        What was given out since the first state, in order.
    earlier : tuple of dict
        What was given out of other samples before, as `to_earlier` spells it.
    """

    place: Place
    seed: int
    order: Mapping[str, Any]
    data: Mapping[str, Any]
    history: tuple[Span, ...]
    earlier: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, which JSON can hold."""
        return {
            "version": STATE_VERSION,
            "epoch": self.place.epoch,
            "seen": self.place.seen,
            "seed": self.seed,
            "order": dict(self.order),
            "data": dict(self.data),
            "history": _spell(self.history),
            **({"earlier": [dict(part) for part in self.earlier]} if self.earlier else {}),
        }

    def to_earlier(self) -> dict[str, Any]:
        """Return what was given out, for the state of a run that goes on with other samples."""
        return {
            **self.data,
            "seed": self.seed,
            "order": dict(self.order),
            "history": _spell(self.history),
            "samples_seen": sum(span.high - span.low for span in self.history),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LoaderState:
        """Read what `to_dict` gave.

        Raises
        ------
        InvalidInputError
            It is no such state, or of a version that is not known here.
        """
        if not hasattr(values, "get") or values.get("version") != STATE_VERSION:
            raise InvalidInputError(f"not the state of a TensorLoader, version {STATE_VERSION}")
        try:
            return cls(
                Place(int(values["epoch"]), int(values["seen"])),
                int(values["seed"]),
                dict(values["order"]),
                dict(values["data"]),
                tuple(Span(*map(int, span)) for span in values["history"]),
                tuple(dict(part) for part in values.get("earlier", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"the state of a loader is incomplete: {error!r}") from error


def _spell(spans: tuple[Span, ...]) -> list[list[int]]:
    return [[span.epoch, span.low, span.high] for span in spans]


class History:
    """Grows by what is given out; neighbouring spans become one."""

    def __init__(self, spans: tuple[Span, ...] = ()) -> None:
        self._spans = list(spans)

    def add(self, epoch: int, low: int, high: int) -> None:
        """Note that the positions from `low` to `high` of an epoch were given out."""
        last = self._spans[-1] if self._spans else None
        if last is not None and (last.epoch, last.high) == (epoch, low):
            self._spans[-1] = Span(epoch, last.low, high)
        elif high > low:
            self._spans.append(Span(epoch, low, high))

    @property
    def spans(self) -> tuple[Span, ...]:
        """What was given out, in order."""
        return tuple(self._spans)
