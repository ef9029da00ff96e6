"""What is known of the leaves of columns, so that the next table is joined from it.

The table of a column that shares its leaves with an earlier one is joined from stretches of that
one, and only the leaves that are new are loaded.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import CorruptionError
from tensorvcs.storage.locations import Locations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

TABLE_CACHE_NBYTES = 256 << 20
"""What the cached tables of one store may take together; the newest is always kept."""


class TableCache:
    """Locations by the digest of the leaf that names the values.

    What it holds is one pair of arrays for each table built, and for each leaf the table it was
    last seen in. The oldest tables go when all take more than `max_nbytes`.
    """

    def __init__(self, max_nbytes: int = TABLE_CACHE_NBYTES) -> None:
        self._max_nbytes = max_nbytes
        self._tables: OrderedDict[int, _Cached] = OrderedDict()
        # The number of a table, shifted by 32, plus the number of the leaf in it: neighbouring
        # leaves have neighbouring places, so that stretches are found with one subtraction.
        self._places: dict[bytes, int] = {}
        self._next = 0

    def clear(self) -> None:
        """Forget everything: values were taken from where they were."""
        self._tables.clear()
        self._places.clear()

    @property
    def nbytes(self) -> int:
        """The bytes of the arrays held."""
        return sum(table.locations.nbytes for table in self._tables.values())

    def locate(
        self,
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
        find: Callable[[NDArray[np.uint8]], Locations],
    ) -> Locations:
        """Return the locations of a column.

        Parameters
        ----------
        leaves : sequence of bytes, length m
        counts : ndarray, shape (m,), int64
        load : callable
            Return the digest arrays, shape (count, 32), of the leaves given.
        find : callable
            Return the locations of digests, shape (n, 32).
        """
        leaf_count = len(leaves)
        places = np.fromiter(map(self._places.get, leaves, repeat(-1)), np.int64, leaf_count)
        starts = np.zeros(leaf_count + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        is_known = places >= 0
        fresh: Locations | None = None
        if not is_known.all():
            unknown = np.nonzero(~is_known)[0]
            loaded = self._load([leaves[i] for i in unknown.tolist()], counts[unknown], load)
            fresh = find(loaded)
        follows = np.where(is_known[1:], np.diff(places) == 1, True)
        edges = np.nonzero(~follows | (is_known[1:] != is_known[:-1]))[0] + 1
        bounds = [0, *edges.tolist(), leaf_count] if leaf_count else [0]
        parts: list[Locations] = []
        taken = 0
        for low, high in pairwise(bounds):
            count = int(starts[high] - starts[low])
            if places[low] == -1:
                assert fresh is not None
                parts.append(
                    Locations(
                        fresh.sources[taken : taken + count], fresh.rows[taken : taken + count]
                    )
                )
                taken += count
            else:
                parts.append(self._stretch(int(places[low]), high - low, count))
        if len(parts) == 1 and fresh is None:
            table = self._tables[int(places[0]) >> 32]
            if len(table.locations) == len(parts[0]):
                return table.locations
        joined = _join(parts)
        self._keep(leaves, starts, joined)
        return joined

    @staticmethod
    def _load(
        leaves: Sequence[bytes],
        counts: NDArray[np.int64],
        load: Callable[[Sequence[bytes]], Iterable[NDArray[np.uint8]]],
    ) -> NDArray[np.uint8]:
        loaded = list(load(leaves))
        for leaf, digests, count in zip(leaves, loaded, counts.tolist(), strict=True):
            if digests.shape != (count, 32):
                raise CorruptionError(
                    f"leaf {leaf.hex()} has {len(digests)} values, expected {count}"
                )
        return np.concatenate(loaded)

    def _stretch(self, place: int, leaf_count: int, count: int) -> Locations:
        table = self._tables[place >> 32]
        self._tables.move_to_end(place >> 32)
        leaf = place & 0xFFFFFFFF
        low, high = int(table.starts[leaf]), int(table.starts[leaf + leaf_count])
        if high - low != count:
            raise CorruptionError(f"a stretch of {leaf_count} leaves has {count} values")
        return Locations(table.locations.sources[low:high], table.locations.rows[low:high])

    def _keep(
        self, leaves: Sequence[bytes], starts: NDArray[np.int64], locations: Locations
    ) -> None:
        number = self._next
        self._next += 1
        self._tables[number] = _Cached(tuple(leaves), starts, locations)
        self._places.update(zip(leaves, range(number << 32, (number << 32) + len(leaves))))  # noqa: B905
        while len(self._tables) > 1 and self.nbytes > self._max_nbytes:
            oldest, table = self._tables.popitem(last=False)
            for leaf in table.leaves:
                if self._places.get(leaf, -1) >> 32 == oldest:
                    del self._places[leaf]


@dataclass(frozen=True, slots=True)
class _Cached:
    leaves: tuple[bytes, ...]
    starts: NDArray[np.int64]
    locations: Locations


def _join(parts: Sequence[Locations]) -> Locations:
    if not parts:
        return Locations(np.zeros(0, np.uint16), np.zeros(0, np.uint32))
    return Locations(
        np.concatenate([part.sources for part in parts]),
        np.concatenate([part.rows for part in parts]),
    )
