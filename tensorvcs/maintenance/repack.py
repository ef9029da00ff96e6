"""The order in which values are read: by branch, column and key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.refs import BRANCHES, current_branch, decode_ref
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.maintenance.release import values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import Stores


@dataclass(frozen=True, slots=True)
class RepackReport:
    """What a repack did.

    Attributes
    ----------
    moved_count, moved_nbytes : int
        Values that were written to new packs, and their bytes before compression.
    pack_count_before, pack_count : int
    """

    moved_count: int
    moved_nbytes: int
    pack_count_before: int
    pack_count: int


def reading_order(stores: Stores) -> Iterator[NDArray[np.uint8]]:
    """Yield the values of the newest version of each branch in the order in which they are read.

    The current branch comes first; a column comes whole, in key order. Values that several
    versions share come several times.

    Yields
    ------
    ndarray, shape (n, 32), uint8
        Of a few leaves.
    """
    objects, refs = stores.objects, stores.refs
    current = BRANCHES + current_branch(refs)
    branches = refs.items(BRANCHES)
    for name in sorted(branches, key=lambda name: (name != current, name)):
        commit = decode_ref(objects, name, branches[name])
        columns = read_snapshot(objects, read_commit(objects, commit).snapshot)
        for column, state in columns.items():
            yield from values_of(objects, {column: state})
