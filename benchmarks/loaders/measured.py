"""What a process of a peer tells: plain values that cross between environments as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ingested:
    """What writing the data took.

    Attributes
    ----------
    seconds : float
        From arrays in memory to files that are synced.
    disk_nbytes : int
        Allocated blocks of all files.
    version : str
        Of the library, or libraries, that wrote.
    """

    seconds: float
    disk_nbytes: int
    version: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What reading whole epochs took.

    Attributes
    ----------
    samples_per_second : float
        Of the best epoch.
    epoch_count : int
        How many were timed, after one that was checked.
    first_batch_seconds : float
        From opening to the first batch of the first epoch.
    mixing : float
        How far apart in the data the samples of a batch are: 1 for a full shuffle, 0 in order.
    peak_nbytes : int
        The peaks (VmHWM) of the process and its workers, added up.
    unmapped_nbytes : int
        The most that all of them had resident at one time without mapped files.
    """

    samples_per_second: float
    epoch_count: int
    first_batch_seconds: float
    mixing: float
    peak_nbytes: int
    unmapped_nbytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no figure, in a sentence."""

    reason: str


def to_json(measured: Ingested | Loaded | Failed) -> dict[str, Any]:
    """Return the fields, and under ``kind`` which of the three it is."""
    return {"kind": type(measured).__name__, **asdict(measured)}


def from_json(found: dict[str, Any]) -> Ingested | Loaded | Failed:
    """Return what `to_json` was given."""
    kinds: dict[str, Any] = {one.__name__: one for one in (Ingested, Loaded, Failed)}
    fields = dict(found)
    measured: Ingested | Loaded | Failed = kinds[fields.pop("kind")](**fields)
    return measured
