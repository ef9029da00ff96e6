"""Blame: for each sample the commit that last changed it.

Commits are visited by falling generation, so that a commit is reached after all that may hand
samples to it. A sample goes to the first parent in which it is equal; a commit keeps those that
differ from every parent. Samples are in slots: a commit hands its slot to a parent as a whole,
after the few that changed were taken out of it, and slots that meet at one commit are joined, so
that a step costs what changed and not what there is.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.history.ancestry import read_commits
from tensorvcs.history.difference.renames import find_renames
from tensorvcs.history.snapshot import holds_same_values, read_snapshot
from tensorvcs.objects.keys import Keys
from tensorvcs.tree import cursor
from tensorvcs.tree.diff import diff, differing
from tensorvcs.tree.entries import find_keys
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns, ColumnState
    from tensorvcs.objects.commit import CommitObject
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.tree.nodes import Nodes

# Up to so many keys are looked up in each version; beyond, versions are compared as a whole.
_FEW_KEYS = 4096


def last_changed(
    objects: ObjectStore, nodes: Nodes, start: CommitDigest, column: str, keys: Keys
) -> list[CommitDigest]:
    """Return for each tree key the commit, of those `start` reaches, that last changed it.

    Parameters
    ----------
    start : CommitDigest
    column : str
        Its name at `start`; where it had another name before, it is followed.
    keys : Keys
        In any order, repeats allowed.

    Returns
    -------
    list of CommitDigest, length n
        In the order of `keys`, ints then texts. Of a key that is absent: the commit that deleted
        it. Of one that never was: a commit without parents, the first that is reached.

    Raises
    ------
    ObjectNotFoundError, CorruptionError
        A commit or a node is absent or damaged.

    Notes
    -----
    Each commit back to the last one wanted costs a read of its snapshot, and of the nodes in
    which it differs from its parents.
    """
    ints, int_places = np.unique(keys.ints, return_inverse=True)
    texts, text_places = np.unique(keys.texts, return_inverse=True)
    found = attribute(objects, nodes, start, column, Keys(ints, texts), are_all=False)
    owners = found.owners
    in_order = [*owners[int_places].tolist(), *owners[len(ints) + text_places].tolist()]
    return [found.commits[owner] for owner in in_order]


@dataclass(frozen=True, slots=True)
class Attribution:
    """Which commit last changed each of some samples.

    Attributes
    ----------
    commits : list of CommitDigest
        Without repeats; in the order in which they were reached, children first.
    owners : ndarray, shape (n,), int32
        For each key, ints then texts, the place of its commit in `commits`.
    """

    commits: list[CommitDigest]
    owners: NDArray[np.int32]


def attribute(
    objects: ObjectStore,
    nodes: Nodes,
    start: CommitDigest,
    column: str,
    keys: Keys,
    *,
    are_all: bool,
) -> Attribution:
    """Return which commit last changed each key, as `last_changed` does.

    Parameters
    ----------
    keys : Keys
        Each sort in order, without repeats.
    are_all : bool
        Whether these are all keys that the column has at `start`.

    Notes
    -----
    Takes O(n) once and the changes of the history; 4 bytes a key, and the keys that one commit
    changed.
    """
    return _Walk(objects, nodes, keys, are_all).run(start, column)


class _Slots:
    """Samples in slots, which can be joined: a union-find over slots, one array over samples."""

    def __init__(self, sample_count: int) -> None:
        self._slot_of: NDArray[np.int32] = np.zeros(sample_count, np.int32)
        self._above: NDArray[np.int32] = np.zeros(16, np.int32)
        self.counts = [sample_count]

    def add(self) -> int:
        """Return a new slot without samples."""
        slot = len(self.counts)
        if slot == len(self._above):
            self._above = np.concatenate([self._above, np.zeros(slot, np.int32)])
        self._above[slot] = slot
        self.counts.append(0)
        return slot

    def join(self, one: int, other: int) -> int:
        """Put the samples of two slots into one of them, and return that."""
        if self.counts[one] < self.counts[other]:
            one, other = other, one
        self._above[other] = one
        self.counts[one] += self.counts[other]
        self.counts[other] = 0
        return one

    def of(self, places: NDArray[np.intp] | slice) -> NDArray[np.int32]:
        """Return the slots of samples."""
        slots = self._slot_of[places]
        while True:
            above = self._above[slots]
            if np.array_equal(above, slots):
                break
            slots = above
        self._slot_of[places] = slots
        return slots

    def members(self, slot: int) -> NDArray[np.intp]:
        """Return the samples of a slot, in order; looks at all samples."""
        return np.flatnonzero(self.of(slice(None)) == slot)

    def move(self, places: NDArray[np.intp], source: int, destination: int) -> None:
        """Move samples from one slot to another."""
        self._slot_of[places] = destination
        self.counts[source] -= len(places)
        self.counts[destination] += len(places)


@dataclass(frozen=True, slots=True)
class _Version:
    """A commit and its columns, and the slots that wait for its turn.

    Attributes
    ----------
    slots : dict of str to int
        By the name that the column has in this commit.
    """

    digest: CommitDigest
    commit: CommitObject
    columns: Columns
    slots: dict[str, int] = field(default_factory=dict)


@dataclass
class _Walk:
    """One walk down a history."""

    objects: ObjectStore
    nodes: Nodes
    keys: Keys
    are_all: bool

    def __post_init__(self) -> None:
        self.slots = _Slots(len(self.keys))
        self.waiting: dict[CommitDigest, _Version] = {}
        self.queue: list[tuple[int, CommitDigest]] = []
        self.found: list[CommitDigest] = []
        self.owner_of: dict[int, int] = {}

    def run(self, start: CommitDigest, column: str) -> Attribution:
        """Walk until no sample is left without a commit."""
        (version,) = self._read([start])
        self._hand_over(0, version, column)
        while self.queue:
            version = self.waiting.pop(heapq.heappop(self.queue)[1])
            kept = [self._visit(version, name, slot) for name, slot in version.slots.items()]
            if any(slot is not None for slot in kept):
                self.owner_of |= {slot: len(self.found) for slot in kept if slot is not None}
                self.found.append(version.digest)
        of_slot = np.zeros(len(self.slots.counts), np.int32)
        for slot, owner in self.owner_of.items():
            of_slot[slot] = owner
        return Attribution(self.found, of_slot[self.slots.of(slice(None))])

    def _visit(self, version: _Version, name: str, slot: int) -> int | None:
        """Hand samples to the parents in which they are equal; return the slot of the others."""
        state = version.columns.get(name)
        rest: NDArray[np.intp] | None = None  # the whole slot
        for parent in self._read(version.commit.parents, version):
            old_name = self._name_in(parent, version, name)
            old = parent.columns.get(old_name)
            if rest is None:
                rest = self._changed(slot, old, state)
                if rest is not None and len(rest) < self.slots.counts[slot]:
                    kept = self.slots.add()
                    self.slots.move(rest, slot, kept)
                    self._hand_over(slot, parent, old_name)
                    slot = kept
            else:
                differs = self._differ(rest, old, state)
                passed = self.slots.add()
                self.slots.move(rest[~differs], slot, passed)
                self._hand_over(passed, parent, old_name)
                rest = rest[differs]
            if not self.slots.counts[slot]:
                return None
        return slot

    def _read(
        self, digests: Sequence[CommitDigest], child: _Version | None = None
    ) -> list[_Version]:
        """Return versions; what waits for its turn, or has the content of the child, is at hand."""
        absent = [digest for digest in dict.fromkeys(digests) if digest not in self.waiting]
        made = {}
        for digest, commit in zip(absent, read_commits(self.objects, absent), strict=True):
            if child is not None and commit.snapshot == child.commit.snapshot:
                columns = child.columns
            else:
                columns = read_snapshot(self.objects, commit.snapshot)
            made[digest] = _Version(digest, commit, columns)
        return [made.get(digest) or self.waiting[digest] for digest in dict.fromkeys(digests)]

    def _name_in(self, parent: _Version, version: _Version, name: str) -> str:
        """Return what the column is called in a parent."""
        if name in parent.columns or name not in version.columns:
            return name
        renames = find_renames(self.nodes, parent.columns, version.columns)
        return next((old for old, new in renames.items() if new == name), name)

    def _hand_over(self, slot: int, version: _Version, name: str) -> None:
        """Let the samples of a slot wait for the turn of a commit."""
        if not self.slots.counts[slot]:
            return
        if version.digest not in self.waiting:
            heapq.heappush(self.queue, (-version.commit.generation, version.digest))
            self.waiting[version.digest] = version
        waiting = version.slots.get(name)
        version.slots[name] = slot if waiting is None else self.slots.join(slot, waiting)

    def _changed(
        self, slot: int, old: ColumnState | None, new: ColumnState | None
    ) -> NDArray[np.intp] | None:
        """Return the samples of a slot that differ between two versions, None when all do."""
        if old == new:
            return np.empty(0, np.intp)
        if self.are_all and (old is None or not _are_comparable(old, new)):
            return None
        if (self.are_all or len(self.keys) > _FEW_KEYS) and _are_comparable(old, new):
            places = self._places_changed(*_trees(old, new))
            in_slot: NDArray[np.intp] = places[self.slots.of(places) == slot]
            return in_slot
        members = self.slots.members(slot)
        return members[self._differ(members, old, new)]

    def _places_changed(self, old: Tree, new: Tree) -> NDArray[np.intp]:
        """Return the places of the keys that differ, by comparing the trees as a whole."""
        places = [np.empty(0, np.intp)]
        for block in diff(self.nodes, old, new):
            for keys in (block.added, block.modified, block.deleted):
                at, is_tracked = find_keys(self.keys.ints, keys.ints)
                places.append(at[is_tracked])
                at, is_tracked = find_keys(self.keys.texts, keys.texts)
                places.append(len(self.keys.ints) + at[is_tracked])
        return np.sort(np.concatenate(places))

    def _differ(
        self, places: NDArray[np.intp], old: ColumnState | None, new: ColumnState | None
    ) -> NDArray[np.bool_]:
        """Tell which of some samples differ between two versions, shape (len(places),)."""
        split = int(np.searchsorted(places, len(self.keys.ints)))
        keys = Keys(
            self.keys.ints[places[:split]], self.keys.texts[places[split:] - len(self.keys.ints)]
        )
        if _are_comparable(old, new):
            return differing(self.nodes, *_trees(old, new), keys)
        # Values of another kind differ wherever there are any.
        is_there = np.zeros(len(places), np.bool_)
        for state in (old, new):
            assert state is not None
            is_there |= cursor.positions(self.nodes, state.tree, keys)[1]
        return is_there


def _are_comparable(old: ColumnState | None, new: ColumnState | None) -> bool:
    return old is None or new is None or holds_same_values(old.schema, new.schema)


def _trees(old: ColumnState | None, new: ColumnState | None) -> tuple[Tree, Tree]:
    """Return the trees of two versions; that of a column that is not there is empty."""
    width = next((state.tree.value_nbytes for state in (old, new) if state is not None), 0)
    empty = Tree.empty(width)
    return (empty if old is None else old.tree), (empty if new is None else new.tree)
