"""Hangar's records of commits, and what two commits do not share.

Runs in the process that reads Hangar: imports nothing of this package but its neighbours, and
keeps to what Python 3.8 knows.

The records of a commit are one byte string, sorted: ``key value`` joined by ``$``. A key is
``f:COLUMN:SAMPLE``, ``n:COLUMN:SAMPLE:SUBSAMPLE`` or, for the schema of a column,
``s:COLUMN:LAYOUT``; an int key is spelled with a ``#``. The value is a digest. Names have letters,
digits, ``_``, ``-`` and ``.`` alone.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SEPARATOR = b"$"
_SCHEMA = b"s:"
_BLOCK_NBYTES = 8 << 20
_COMPARED_NBYTES = 64 << 10
# Sorts after the space that ends a key, and before all that a longer key may go on with.
_AFTER_KEY = b"!"
_TRUTHS = {"#False": 0, "#True": 1}


def blocks_of(records: bytes, at: int = 0, stop: int | None = None) -> Iterator[list[bytes]]:
    """Yield the records in blocks of some megabytes; `at` and `stop` are where records start."""
    stop = len(records) if stop is None else stop
    while at < stop:
        end = records.find(SEPARATOR, at + _BLOCK_NBYTES, stop)
        end = stop if end < 0 else end
        yield records[at:end].split(SEPARATOR)
        at = end + 1


def records_digest(records: bytes) -> str:
    """Return Hangar's digest of the records of a commit; raise ValueError when they have no order.

    Order is what `changes` lives on, and nothing that a digest would tell.
    """
    joined = blake2b(digest_size=20)
    last = b""
    for block in blocks_of(records):
        if block[0] <= last or block != sorted(block):
            raise ValueError("the records of a commit are not sorted")
        last = block[-1]
        digests = [blake2b(record, digest_size=20).hexdigest() for record in block]
        joined.update("".join(digests).encode())
    return joined.hexdigest()


def schemas_of(records: bytes) -> dict[str, tuple[str, str]]:
    """Return the layout and the digest of the schema of each column."""
    found = {}
    end = len(records)
    while end > 0:
        start = records.rfind(SEPARATOR, 0, end) + 1
        record = records[start:end]
        if not record.startswith(_SCHEMA):
            break  # schemas come last
        key, _, digest = record.decode().partition(" ")
        _, column, layout = key.split(":")
        found[column] = (layout, digest)
        end = start - 1
    return found


def _shared_ends(before: bytes, after: bytes) -> tuple[int, int]:
    """Return how many bytes two commits share at their start and at their end, whole records.

    Most commits change little, and comparing bytes is a hundred times quicker than splitting.
    """
    step, least = _COMPARED_NBYTES, min(len(before), len(after))
    start = 0
    while start + step <= least and before[start : start + step] == after[start : start + step]:
        start += step
    start = before.rfind(SEPARATOR, 0, start) + 1
    size, tails = 0, (len(before), len(after))
    while start + size + step <= least and (
        before[tails[0] - size - step : tails[0] - size]
        == after[tails[1] - size - step : tails[1] - size]
    ):
        size += step
    first = before.find(SEPARATOR, tails[0] - size)
    return start, 0 if first < 0 else tails[0] - first


def changes(
    before: bytes, after: bytes, renewed: set[bytes]
) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Yield the records that only one of two commits has, in blocks.

    Parameters
    ----------
    before, after : bytes
        The records of two commits.
    renewed : set of bytes
        Columns with nothing in common, such as one that was made anew: all their records count.

    Yields
    ------
    gone, come : list of bytes
        A key that is in both has another digest. Schemas are left out.

    Notes
    -----
    The cost is that of splitting what lies between the first and the last change, and of
    comparing the bytes of the rest; memory is a few blocks.
    """
    start, end = _shared_ends(before, after) if not renewed else (0, 0)
    old_blocks = blocks_of(before, start, len(before) - end)
    new_blocks = blocks_of(after, start, len(after) - end)
    old: list[bytes] = []
    new: list[bytes] = []
    while True:
        old = old or next(old_blocks, [])
        new = new or next(new_blocks, [])
        if not old and not new:
            return
        # Up to the first end of a block, so that both sides of a key are in one step.
        ends = [block[-1].partition(b" ")[0] for block in (old, new) if block]
        bound = min(ends) + _AFTER_KEY
        old_stop, new_stop = bisect_left(old, bound), bisect_left(new, bound)
        before_part, after_part = set(old[:old_stop]), set(new[:new_stop])
        shared = before_part & after_part
        if renewed:
            shared = {record for record in shared if record.split(b":", 2)[1] not in renewed}
        gone = [record for record in old[:old_stop] if record not in shared]
        come = [record for record in new[:new_stop] if record not in shared]
        old, new = old[old_stop:], new[new_stop:]
        yield _samples_in(gone), _samples_in(come)


def _samples_in(records: list[bytes]) -> list[bytes]:
    return [record for record in records if not record.startswith(_SCHEMA)]


def only_gone(gone: list[bytes], come: list[bytes]) -> list[bytes]:
    """Return the records of keys that are gone, those with another digest left out."""
    kept = {record.partition(b" ")[0] for record in come}
    return [record for record in gone if record.partition(b" ")[0] not in kept]


def key_of(record: bytes) -> tuple[str, int | str | list[int | str], bytes]:
    """Return the column, the key and the digest of a record; a nested key as its two parts."""
    name, _, digest = record.partition(b" ")
    kind, column, *parts = name.decode().split(":")
    keys = [_plain_key(part) for part in parts]
    if len(keys) != (2 if kind == "n" else 1):
        raise ValueError(f"the record {record!r} has {len(keys)} keys")
    return column, keys[0] if kind == "f" else keys, digest


def _plain_key(text: str) -> int | str:
    if not text.startswith("#"):
        return text
    # Hangar took `column[True]` for an int key and cannot read it back; True is 1 in Python.
    return _TRUTHS[text] if text in _TRUTHS else int(text[1:])
