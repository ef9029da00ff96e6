"""A merge that waits for decisions: what its commit will say, and its conflicts, kept as objects.

The ref `merge` names one record. The conflicts of a column's samples are four small trees beside
it, with the samples in conflict alone: their values in base, ours and theirs, and, without values,
the keys that are still open. Columns in conflict as a whole are kept by the names that are at
stake. So a merge of any size survives its process, and deciding one sample rewrites one path of
one tree. What is merged so far is in the staging area, with ours wherever a conflict is open.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.history.merging.conflict_values import ConflictValues
from tensorvcs.history.merging.conflicts import Conflict, ConflictList
from tensorvcs.history.refs import MERGE
from tensorvcs.history.snapshot import Columns, ColumnState, read_snapshot, write_snapshot
from tensorvcs.objects.commit import Identity, Timestamp
from tensorvcs.objects.digest import DIGEST_NBYTES, CommitDigest, SnapshotDigest
from tensorvcs.objects.encoding import decode_object, encode_object
from tensorvcs.objects.schema import Schema
from tensorvcs.tree import cursor
from tensorvcs.tree.edit import edit
from tensorvcs.tree.merge import Conflicts
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tensorvcs.history.merging.column_merge import MergedColumns
    from tensorvcs.objects.keys import Keys
    from tensorvcs.storage.interfaces import ObjectStore, RefStore, TensorStore
    from tensorvcs.tree.nodes import Nodes

Verb = Literal["merge", "cherry-pick", "revert"]

# The keys that are open: a tree of values without bytes.
_OPEN_SCHEMA = Schema("ndarray", "uint8", (0,))
_KIND = "merge"


@dataclass(frozen=True, slots=True)
class Intent:
    """What the commit at the end of a merge, cherry-pick or revert will say.

    Attributes
    ----------
    verb : {"merge", "cherry-pick", "revert"}
    head : CommitDigest
        The branch when it began.
    theirs : CommitDigest
        The commit that is merged, picked or reverted; of a range its end.
    is_merge : bool
        Whether `theirs` becomes the second parent.
    message : str
    author : Identity or None
        The user of the repository when None.
    author_time : Timestamp or None
        When the change was made; the time of the commit when None.
    metadata : mapping of str to str
    """

    verb: Verb
    head: CommitDigest
    theirs: CommitDigest
    message: str
    author: Identity | None = None
    author_time: Timestamp | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_merge(self) -> bool:
        """Whether the commit gets `theirs` as its second parent."""
        return self.verb == "merge"

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "verb": self.verb,
            "head": self.head.hex(),
            "theirs": self.theirs.hex(),
            "message": self.message,
            "author": None if self.author is None else [self.author.name, self.author.email],
            "author_time": None
            if self.author_time is None
            else [self.author_time.microseconds, self.author_time.offset_minutes],
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Intent:
        """Read what `to_fields` wrote; raise ValueError, KeyError or TypeError when it is none."""
        if fields["verb"] not in get_args(Verb):
            raise ValueError(f"{fields['verb']!r} is no verb")
        author, time = fields["author"], fields["author_time"]
        return cls(
            fields["verb"],
            CommitDigest(_digest(fields["head"])),
            CommitDigest(_digest(fields["theirs"])),
            fields["message"],
            None if author is None else Identity(*author),
            None if time is None else Timestamp(*time),
            dict(fields["metadata"]),
        )


@dataclass(frozen=True, slots=True)
class OpenSamples:
    """Samples of one column in conflict.

    Attributes
    ----------
    column : str
    schema, base_schema : Schema
        Of the values of ours and theirs, and of those of the base.
    base, ours, theirs : Tree
        The values of the samples in conflict alone, where a side has one.
    open : Tree
        The keys that nobody has decided yet, with values of no bytes.
    """

    column: str
    schema: Schema
    base_schema: Schema
    base: Tree
    ours: Tree
    theirs: Tree
    open: Tree

    @property
    def open_count(self) -> int:
        """The number of samples that are not decided."""
        return self.open.count


@dataclass(frozen=True, slots=True)
class OpenColumn:
    """A column in conflict as a whole.

    Attributes
    ----------
    column : str
    kind : str
        As `Conflict.kind` says it.
    names : tuple of str
        The names at stake: those the column has in any version. A side is taken by giving each of
        them what that side has under it, or nothing.
    ours, theirs : Columns
        What each side has under these names.
    is_open : bool
    """

    column: str
    kind: str
    names: tuple[str, ...]
    ours: Columns
    theirs: Columns
    is_open: bool = True

    @property
    def open_count(self) -> int:
        """1 while it is not decided."""
        return int(self.is_open)


Part = OpenSamples | OpenColumn


@dataclass(frozen=True, slots=True)
class KeptMerge:
    """A merge, cherry-pick or revert that waits: its intent and all its conflicts."""

    intent: Intent
    parts: tuple[Part, ...]

    @property
    def open_count(self) -> int:
        """The number of conflicts that are not decided."""
        return sum(part.open_count for part in self.parts)

    def replace_part(self, place: int, part: Part) -> KeptMerge:
        """Return the merge with one part in another state."""
        return replace(self, parts=(*self.parts[:place], part, *self.parts[place + 1 :]))

    def snapshots(self) -> dict[str, Columns]:
        """Return what the merge keeps of each side, and the open keys, as snapshots to store."""
        found: dict[str, Columns] = {"base": {}, "ours": {}, "theirs": {}, "open": {}}
        for place, part in enumerate(self.parts):
            if isinstance(part, OpenSamples):
                name = f"{place}:{part.column}"
                found["base"][name] = ColumnState(part.base_schema, part.base)
                found["ours"][name] = ColumnState(part.schema, part.ours)
                found["theirs"][name] = ColumnState(part.schema, part.theirs)
                found["open"][name] = ColumnState(_OPEN_SCHEMA, part.open)
            else:
                for side, columns in (("ours", part.ours), ("theirs", part.theirs)):
                    for name, state in columns.items():
                        found[side][f"{place}:{name}"] = state
        return found


def store_merge(objects: ObjectStore, kept: KeptMerge) -> bytes:
    """Store a merge that waits; return the value of the ref `merge`.

    Notes
    -----
    Five objects of a few lines for each column in conflict; the trees are there already.
    """
    content = encode_object(
        _KIND,
        1,
        {
            "intent": kept.intent.to_fields(),
            "parts": [_part_fields(part) for part in kept.parts],
            "snapshots": {
                side: write_snapshot(objects, columns).hex()
                for side, columns in kept.snapshots().items()
            },
        },
    )
    return b"merge " + objects.put([content])[0].hex().encode()


def _part_fields(part: Part) -> dict[str, Any]:
    if isinstance(part, OpenSamples):
        return {"column": part.column, "kind": None, "names": [part.column], "is_open": True}
    return {
        "column": part.column,
        "kind": part.kind,
        "names": list(part.names),
        "is_open": part.is_open,
    }


def read_merge(objects: ObjectStore, refs: RefStore) -> KeptMerge | None:
    """Return the merge that waits in the staging area, or None.

    Raises
    ------
    ObjectDamagedError, ObjectNotFoundError
        The ref or what it names cannot be read.
    """
    value = refs.get(MERGE)
    return None if value is None else decode_merge(objects, value)


def decode_merge(objects: ObjectStore, value: bytes) -> KeptMerge:
    """Return the merge that a value of the ref `merge` names; five objects are read."""
    fields = _record(objects, value)
    try:
        snapshots = {
            side: read_snapshot(objects, SnapshotDigest(_digest(fields["snapshots"][side])))
            for side in ("base", "ours", "theirs", "open")
        }
        parts = tuple(
            _read_part(place, part, snapshots) for place, part in enumerate(fields["parts"])
        )
        return KeptMerge(Intent.from_fields(fields["intent"]), parts)
    except (KeyError, TypeError, ValueError) as error:
        raise ObjectDamagedError(f"the merge in progress cannot be read: {error}") from error


def merge_reach(
    objects: ObjectStore, refs: RefStore
) -> tuple[dict[str, CommitDigest], dict[str, SnapshotDigest]]:
    """Return the commits and the snapshots that a merge that waits needs, each by what it is.

    Raises
    ------
    ObjectDamagedError, ObjectNotFoundError
        The ref or what it names cannot be read.
    """
    value = refs.get(MERGE)
    if value is None:
        return {}, {}
    fields = _record(objects, value)
    intent = decode_merge(objects, value).intent
    commits = {"merge in progress": intent.head, "merge in progress, theirs": intent.theirs}
    return commits, {
        f"merge in progress, {side}": SnapshotDigest(_digest(text))
        for side, text in fields["snapshots"].items()
    }


def _record(objects: ObjectStore, value: bytes) -> dict[str, Any]:
    kind, _, text = value.partition(b" ")
    try:
        digest = _digest(text.decode())
    except ValueError:
        digest = b""
    if kind != b"merge" or not digest:
        raise ObjectDamagedError(f"the ref merge has a value that is none: {value[:80]!r}")
    return decode_object(objects.get([digest])[0], _KIND, 1)


def _digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != DIGEST_NBYTES:
        raise ValueError(f"{text[:80]!r} is not a digest")
    return digest


def _read_part(place: int, fields: Mapping[str, Any], snapshots: Mapping[str, Columns]) -> Part:
    names = [f"{place}:{name}" for name in fields["names"]]
    if fields["kind"] is None:
        states = {side: snapshots[side][names[0]] for side in snapshots}
        return OpenSamples(
            fields["column"],
            states["ours"].schema,
            states["base"].schema,
            *(states[side].tree for side in ("base", "ours", "theirs", "open")),
        )
    ours, theirs = (
        {
            name: snapshots[side][stored]
            for name, stored in zip(fields["names"], names, strict=True)
            if stored in snapshots[side]
        }
        for side in ("ours", "theirs")
    )
    return OpenColumn(
        fields["column"],
        fields["kind"],
        tuple(fields["names"]),
        ours,
        theirs,
        is_open=fields["is_open"],
    )


# The conflicts of one column, as trees and back.


def kept_parts(nodes: Nodes, merged: MergedColumns) -> tuple[Part, ...]:
    """Return the open conflicts of a merge of columns; new nodes go to the object store."""
    samples = [
        keep_samples(nodes, column, values) for column, values in merged.conflicts.samples().items()
    ]
    columns = [
        OpenColumn(
            conflict.column,
            conflict.kind,
            tuple(dict.fromkeys([*choice.ours, *choice.theirs])),
            choice.ours,
            choice.theirs,
        )
        for conflict in merged.conflicts.column_conflicts()
        for choice in [merged.choices[conflict.column]]
    ]
    return (*samples, *columns)


def keep_samples(nodes: Nodes, column: str, values: ConflictValues) -> OpenSamples:
    """Return samples in conflict as trees, all of them open; new nodes go to the object store."""
    conflicts = values.conflicts
    keys = conflicts.keys
    sides = [
        _tree_of(nodes, keys, has, values)
        for has, values in (
            (conflicts.in_base, conflicts.base),
            (conflicts.in_ours, conflicts.ours),
            (conflicts.in_theirs, conflicts.theirs),
            (np.ones(len(keys), np.bool_), np.empty((len(keys), 0), np.uint8)),
        )
    ]
    return OpenSamples(column, values.schema, values.base_schema, *sides)


def open_conflicts(nodes: Nodes, part: OpenSamples) -> Conflicts:
    """Return the samples of a column that are not decided, with their values on each side."""
    keys = cursor.keys_at(nodes, part.open, 0, part.open.count)
    base, in_base = cursor.get(nodes, part.base, keys)
    ours, in_ours = cursor.get(nodes, part.ours, keys)
    theirs, in_theirs = cursor.get(nodes, part.theirs, keys)
    return Conflicts(keys, in_base, base, in_ours, ours, in_theirs, theirs)


def listed_conflicts(nodes: Nodes, tensors: TensorStore, kept: KeptMerge) -> ConflictList:
    """Return the conflicts that are open, by column and in key order."""
    found = ConflictList()
    for part in kept.parts:
        if isinstance(part, OpenSamples):
            samples = open_conflicts(nodes, part)
            values = ConflictValues(part.schema, part.base_schema, samples, tensors)
            found.add_samples(part.column, values)
        elif part.is_open:
            found.add_column(Conflict(part.column, None, part.kind))
    return found


def _tree_of(nodes: Nodes, keys: Keys, has: NDArray[np.bool_], values: NDArray[np.uint8]) -> Tree:
    return put_rows(nodes, Tree.empty(values.shape[1]), keys, has, values)


def put_rows(
    nodes: Nodes, tree: Tree, keys: Keys, has: NDArray[np.bool_], values: NDArray[np.uint8]
) -> Tree:
    """Return a tree with a value under each key that has one, and without the other keys."""
    split = len(keys.ints)
    return edit(
        nodes,
        tree,
        keys.select(has),
        values[:split][has[:split]],
        values[split:][has[split:]],
        keys.select(~has),
    )
