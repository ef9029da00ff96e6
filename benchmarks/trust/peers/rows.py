"""The rows that every system is given, and their reading one by one."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SHAPE = (64, 64)
FIRST_COUNT = 256
"""Rows of the first commit of a writer; each later one adds one row."""
SLOTS = 4096
"""Rows of one writer, where the place of a row must be known beforehand."""
WRITERS = 8


def key_of(writer: int, place: int) -> str:
    """Return the key of a row."""
    return f"{writer}-{place:04}"


def place_of(key: str) -> int:
    """Return where a row lies in an array that has room for the rows of all writers."""
    writer, place = map(int, key.split("-"))
    return writer * SLOTS + place


def runs_of(rows: Mapping[str, np.ndarray]) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows whose places follow each other, stacked, with where they go."""
    keys = sorted(rows, key=place_of)
    first = 0
    for at in range(1, len(keys) + 1):
        if at == len(keys) or place_of(keys[at]) != place_of(keys[at - 1]) + 1:
            low = place_of(keys[first])
            yield slice(low, low + at - first), np.stack([rows[key] for key in keys[first:at]])
            first = at


def row_of(key: str) -> np.ndarray:
    """Return the row of a key: uint8 of `SHAPE`, of which a quarter is noise, none of it 0."""
    drawn = np.random.default_rng(zlib.crc32(key.encode()))
    row = np.full(SHAPE, 1 + drawn.integers(0, 255), np.uint8)
    row[::4] = drawn.integers(1, 256, row[::4].shape, np.uint8)
    return row


def keys_of_commit(writer: int, number: int) -> list[str]:
    """Return what the commit of that number adds."""
    if number == 0:
        return [key_of(writer, place) for place in range(FIRST_COUNT)]
    return [key_of(writer, FIRST_COUNT - 1 + number)]


def read_each(keys: Iterable[str], read: Callable[[str], Any]) -> dict[str, Any]:
    """Read rows one by one; an error takes the place of its row."""
    found: dict[str, Any] = {}
    for key in keys:
        try:
            found[key] = read(key)
        except Exception as error:  # noqa: BLE001 (what a system raises is what is counted)
            found[key] = error
    return found
