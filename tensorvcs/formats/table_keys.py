"""The keys of a table: a column `key`, or two columns where ints and texts are mixed.

A table of rows keeps the key of a sample in the column `key`. Where some keys are ints and others
are texts, it has two: `int_key` and `str_key`, of which each row has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import DuplicateKeyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from tensorvcs.formats.interfaces import KeyFrom
    from tensorvcs.objects.keys import Key

KEY, INT_KEY, STR_KEY = "key", "int_key", "str_key"


def key_columns(names: Collection[str], key_from: KeyFrom, wanted: str | None) -> tuple[str, ...]:
    """Return the columns of a table that hold its keys: one, two, or none for row numbers.

    Parameters
    ----------
    names : collection of str
        The columns of the table.
    key_from : {"path", "stem", "name", "number"}
        ``number`` asks for row numbers.
    wanted : str, optional
        The column that a person named.
    """
    if key_from == "number":
        return ()
    if wanted is not None:
        return (wanted,)
    if KEY in names:
        return (KEY,)
    return (INT_KEY, STR_KEY) if INT_KEY in names and STR_KEY in names else ()


def refuse_duplicates(batches: Callable[[], Iterable[Sequence[Key]]], where: str) -> int:
    """Check that no key comes twice; return how many there are.

    Parameters
    ----------
    batches : callable
        Returns the keys in order, some at a time; called again when two have one hash.
    where : str
        For the message.

    Raises
    ------
    DuplicateKeyError

    Notes
    -----
    Memory is eight bytes a key, and the keys of one batch.
    """
    hashes = [np.array([hash(key) for key in keys], np.int64) for keys in batches()]
    every = np.concatenate(hashes) if hashes else np.empty(0, np.int64)
    every.sort()
    suspects = set(every[1:][every[1:] == every[:-1]].tolist())
    if suspects:
        first: dict[Key, int] = {}
        row = 0
        for keys in batches():
            for key in keys:
                row += 1
                if hash(key) not in suspects:
                    continue
                if key in first:
                    raise DuplicateKeyError(
                        f"{where}: rows {first[key]} and {row} have one key, {key!r}"
                    )
                first[key] = row
    return len(every)
