"""Which samples of which branches damage touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import CorruptionError, ObjectNotFoundError, UnsupportedFormatError
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.objects.sorted_digests import DigestSet, sort_digests
from tensorvcs.tree.entries import keys_of
from tensorvcs.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.objects.digest import SnapshotDigest
    from tensorvcs.objects.keys import Key
    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.tree.tree import Root

MAX_KEYS = 20
"""Keys listed of one column of one version; the others are counted."""

MAX_TOUCHED = 200
"""Columns of versions listed."""


@dataclass(slots=True)
class TouchedSamples:
    """Samples of one column of one version that cannot be read.

    Attributes
    ----------
    version : str
        A branch, tag or remote branch by its full name, the staging area, a stash; or a commit,
        where no tip has the damage.
    column : str
    sample_count : int
        Of a nested column, subsamples.
    keys : list
        The first of them, at most `MAX_KEYS`; pairs in a nested column. Keys in a node that is
        itself damaged are not known.
    """

    version: str
    column: str
    sample_count: int
    keys: list[Key | tuple[Key, Key]]

    def __str__(self) -> str:
        noun = "sample" if self.sample_count == 1 else "samples"
        text = f"{self.version}, column {self.column!r}: {self.sample_count:,} {noun}"
        if not self.keys:
            return f"{text}, whose keys are not known"
        shown = ", ".join(map(repr, self.keys))
        more = self.sample_count - len(self.keys)
        return f"{text}: {shown}" + (f" and {more:,} more" if more else "")


def find_touched(
    objects: ObjectStore,
    tips: Sequence[tuple[str, SnapshotDigest]],
    older: Sequence[tuple[str, SnapshotDigest]],
    damaged: DigestSet,
    *,
    allow_absent: bool,
) -> list[TouchedSamples]:
    """Name the samples whose values, or the nodes that hold them, are damaged.

    Parameters
    ----------
    tips, older : sequence of (str, SnapshotDigest)
        Versions by name. Of the older ones those are listed that have damage which no tip has.
    damaged : DigestSet
        Of values.
    allow_absent : bool
        Whether a node that is not here is none that is damaged.

    Notes
    -----
    Reads each node once; of versions that share parts which are whole, these count once.
    """
    search = _Search(objects, damaged, allow_absent=allow_absent)
    found: list[TouchedSamples] = []
    for name, snapshot in tips:
        found += search.version(name, snapshot)
    for name, snapshot in older:
        if len(found) >= MAX_TOUCHED or search.is_complete:
            break
        found += search.version(name, snapshot, only_new=True)
    return found[:MAX_TOUCHED]


class _Search:
    def __init__(self, objects: ObjectStore, damaged: DigestSet, *, allow_absent: bool) -> None:
        self._objects = objects
        self._damaged = damaged
        self._allow_absent = allow_absent
        self._whole: set[bytes] = set()
        self._bad_nodes: set[bytes] = set()
        self._placed = DigestSet()
        self._has_new = False

    @property
    def is_complete(self) -> bool:
        """Whether every damaged value was met; of damaged nodes nobody knows how many there are."""
        return 0 < len(self._damaged) == len(self._placed)

    def version(
        self, name: str, snapshot: SnapshotDigest, *, only_new: bool = False
    ) -> list[TouchedSamples]:
        """Return what is touched of a version; with `only_new` where something was not met yet."""
        try:
            columns = read_snapshot(self._objects, snapshot)
        except (CorruptionError, ObjectNotFoundError, UnsupportedFormatError):
            return []  # its own damage is a problem of the report
        found = []
        for column, state in columns.items():
            samples = TouchedSamples(name, column, 0, [])
            self._has_new = False
            for root in (state.tree.ints, state.tree.texts):
                if root is not None:
                    self._root(state, root, samples)
            if samples.sample_count and (self._has_new or not only_new):
                found.append(samples)
        return found

    def _root(self, state: ColumnState, root: Root, samples: TouchedSamples) -> None:
        self._node(state, bytes(root.digest), root.count, samples)

    def _node(self, state: ColumnState, digest: bytes, count: int, samples: TouchedSamples) -> None:
        """Add what is touched below a node that holds `count` samples."""
        if digest in self._whole:
            return
        try:
            node = Node(self._objects.get([digest])[0])
            before = samples.sample_count
            if node.level == 0:
                self._leaf(state, node, samples)
            else:
                for child, below in zip(
                    array_to_digests(node.children), node.counts.tolist(), strict=True
                ):
                    self._node(state, child, below, samples)
        except (CorruptionError, ObjectNotFoundError, UnsupportedFormatError) as error:
            if self._allow_absent and isinstance(error, ObjectNotFoundError):
                self._whole.add(digest)
                return
            samples.sample_count += count
            self._has_new |= digest not in self._bad_nodes
            self._bad_nodes.add(digest)
            return
        if samples.sample_count == before:
            self._whole.add(digest)

    def _leaf(self, state: ColumnState, node: Node, samples: TouchedSamples) -> None:
        if state.schema.is_inline or not len(self._damaged):
            return
        values: NDArray[np.uint8] = node.values
        wanted = sort_digests(values)
        is_damaged = self._damaged.contains(wanted)
        if not is_damaged.any():
            return
        fresh = wanted.digests[is_damaged & ~wanted.is_repeat() & ~self._placed.contains(wanted)]
        self._has_new |= len(fresh) > 0
        self._placed.add(fresh)
        samples.sample_count += int(is_damaged.sum())
        room = MAX_KEYS - len(samples.keys)
        if room > 0:
            chosen = np.zeros(len(values), np.bool_)
            chosen[np.sort(wanted.order[is_damaged])[:room]] = True
            keys = keys_of(node.keys[chosen], is_text=node.is_text)
            samples.keys += keys.to_pairs() if state.schema.nested else keys.to_list()
