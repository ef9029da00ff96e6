"""Since when garbage is garbage: a file that a collection leaves for the next one.

Objects and values have no time of their own. So a collection notes of what no ref reaches when it
was first seen so, and drops it only when that is long enough ago. Losing the file costs time only.

The file is a header, the first 8 bytes of each digest as big-endian numbers in ascending order,
the times beside them in microseconds since 1970 as little-endian numbers, and the xxh3-64 of all
before it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from tensorvcs.errors import StorageError
from tensorvcs.objects.sorted_digests import digest_prefixes
from tensorvcs.storage.durable import new_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_HEAD = struct.Struct("<8sQ")
_MAGIC = b"tvcsage1"
_CHECK = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class OrphanAges:
    """When what no ref reaches was first seen so.

    Attributes
    ----------
    prefixes : ndarray, shape (n,), uint64
        The first 8 bytes of each digest, as a number, in ascending order, each once.
    first_seen : ndarray, shape (n,), int64
        Microseconds since 1970.
    """

    prefixes: NDArray[np.uint64]
    first_seen: NDArray[np.int64]

    @classmethod
    def nothing(cls) -> OrphanAges:
        """Return the ages of no orphans."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int64))

    def of(self, digests: NDArray[np.uint8], now: int) -> NDArray[np.int64]:
        """Return when digests, shape (n, 32), were first seen: `now` for those that are new."""
        wanted = digest_prefixes(digests)
        times = np.full(len(wanted), now, np.int64)
        if len(self.prefixes):
            at = np.minimum(np.searchsorted(self.prefixes, wanted), len(self.prefixes) - 1)
            is_known = self.prefixes[at] == wanted
            # A clock that was set back must not make garbage wait for ever.
            times[is_known] = np.minimum(self.first_seen[at[is_known]], now)
        return times

    def after(self, digests: NDArray[np.uint8], now: int) -> OrphanAges:
        """Return the ages of some digests; all others are forgotten."""
        found, places = np.unique(digest_prefixes(digests), return_index=True)
        return OrphanAges(found, self.of(digests, now)[places])


def read_orphan_ages(file: Path) -> OrphanAges:
    """Return what the last collection noted; nothing when the file is missing or damaged."""
    try:
        content = file.read_bytes()
    except OSError:
        return OrphanAges.nothing()
    end = len(content) - _CHECK.size
    if end < _HEAD.size:
        return OrphanAges.nothing()
    magic, count = _HEAD.unpack_from(content)
    if (
        magic != _MAGIC
        or end != _HEAD.size + 16 * count
        or _CHECK.unpack_from(content, end)[0] != xxhash.xxh3_64_intdigest(content[:end])
    ):
        return OrphanAges.nothing()
    prefixes = np.frombuffer(content, ">u8", count, _HEAD.size).astype(np.uint64)
    first_seen = np.frombuffer(content, "<i8", count, _HEAD.size + 8 * count).astype(np.int64)
    return OrphanAges(prefixes, first_seen)


def write_orphan_ages(file: Path, ages: OrphanAges) -> None:
    """Replace what the last collection noted, in one step; raises StorageError."""
    if not len(ages.prefixes):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {file}: {error}") from error
        return
    hasher = xxhash.xxh3_64()
    with new_file(file) as write:
        for part in (
            _HEAD.pack(_MAGIC, len(ages.prefixes)),
            ages.prefixes.astype(">u8").tobytes(),
            ages.first_seen.astype("<i8").tobytes(),
        ):
            hasher.update(part)
            write(part)
        write(_CHECK.pack(hasher.intdigest()))
