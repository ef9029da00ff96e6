"""Three-way merge: of the columns of three versions, and of a commit into a branch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tensorvcs.errors import (
    InvalidInputError,
    MergeConflictError,
    UnrelatedHistoriesError,
    with_hint,
)
from tensorvcs.history.ancestry import merge_bases, read_commit
from tensorvcs.history.commit import Commit, change_refs, check_message, load_commit, new_commit
from tensorvcs.history.diff import holds_same_values
from tensorvcs.history.refs import BRANCHES, branch_commit, encode_commit_ref
from tensorvcs.history.snapshot import Columns, ColumnState, read_snapshot, write_snapshot
from tensorvcs.objects.keys import Keys
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.tree import cursor
from tensorvcs.tree.edit import edit
from tensorvcs.tree.entries import rows_equal
from tensorvcs.tree.merge import Conflicts, apply_merge, merge
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from tensorvcs.objects.commit import Identity, Timestamp
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes

Strategy = Literal["fail", "ours", "theirs"]

SHOWN_CONFLICTS = 10


@dataclass(frozen=True, slots=True)
class Conflict:
    """One thing that both sides changed in different ways.

    Attributes
    ----------
    column : str
    key : str, int, pair or None
        The sample; a pair for a subsample; None when the column as a whole is in conflict.
    kind : str
        ``modify/modify``, ``modify/delete``, ``delete/modify`` or ``add/add``, ours first;
        ``schema`` when the sides want different schemas; ``criss-cross`` when the common
        ancestors disagree, and one side has the sample and the other has not, or the sides
        differ in a column whose schema or existence the ancestors disagree about.
    base, ours, theirs : bytes or None
        What identifies the value on each side, a digest or an inline value; None where it is
        absent.
    """

    column: str
    key: Any
    kind: str
    base: bytes | None = None
    ours: bytes | None = None
    theirs: bytes | None = None

    def __str__(self) -> str:
        where = self.column if self.key is None else f"{self.column}[{self.key!r}]"
        return f"{where}: {self.kind}"


class ConflictList(Sequence[Conflict]):
    """All conflicts of a merge, by column and in key order; made one by one when asked for."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, bool, Conflicts] | Conflict] = []
        self._ends: list[int] = []

    def add_samples(self, column: str, conflicts: Conflicts, *, nested: bool) -> None:
        """Add the conflicts of one column's samples."""
        if len(conflicts):
            self._parts.append((column, nested, conflicts))
            self._ends.append(len(self) + len(conflicts))

    def add_column(self, conflict: Conflict) -> None:
        """Add a conflict of a column as a whole."""
        self._parts.append(conflict)
        self._ends.append(len(self) + 1)

    def sample_keys(self) -> dict[str, Keys]:
        """Return the samples in conflict by column, as sorted tree keys."""
        return {part[0]: part[2].keys for part in self._parts if not isinstance(part, Conflict)}

    def column_names(self) -> list[str]:
        """Return the columns that are in conflict as a whole."""
        return [part.column for part in self._parts if isinstance(part, Conflict)]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"place {place} is outside {len(self)} conflicts")
        at = place % len(self)
        part_at = int(np.searchsorted(self._ends, at, "right"))
        part = self._parts[part_at]
        if isinstance(part, Conflict):
            return part
        column, nested, conflicts = part
        return _sample_conflict(
            column, conflicts, at - (self._ends[part_at] - len(conflicts)), nested=nested
        )

    def __repr__(self) -> str:
        shown = "; ".join(map(str, self[:3]))
        return f"<{len(self)} conflicts: {shown}{'; …' if len(self) > 3 else ''}>"


def _sample_conflict(column: str, conflicts: Conflicts, at: int, *, nested: bool) -> Conflict:
    split = len(conflicts.keys.ints)
    one = (
        Keys(conflicts.keys.ints[at : at + 1], conflicts.keys.texts[:0])
        if at < split
        else Keys(conflicts.keys.ints[:0], conflicts.keys.texts[at - split : at - split + 1])
    )
    sides = [
        values[at].tobytes() if is_there[at] else None
        for is_there, values in (
            (conflicts.in_base, conflicts.base),
            (conflicts.in_ours, conflicts.ours),
            (conflicts.in_theirs, conflicts.theirs),
        )
    ]
    if sides[0] is None:
        kind = "add/add" if None not in sides[1:] else "criss-cross"
    else:
        kind = "/".join("delete" if side is None else "modify" for side in sides[1:])
    key = (one.to_pairs() if nested else one.to_list())[0]
    return Conflict(column, key, kind, *sides)


@dataclass(frozen=True, slots=True)
class MergedColumns:
    """The outcome of a merge of columns: with strategy ``fail``, ours where there is conflict."""

    columns: Columns
    conflicts: ConflictList


def merge_columns(
    nodes: Nodes,
    base: Columns,
    ours: Columns,
    theirs: Columns,
    strategy: Strategy = "fail",
    *,
    disputed: Mapping[str, Keys] | None = None,
    disputed_columns: Collection[str] = (),
) -> MergedColumns:
    """Merge the columns of two versions that come from one base, sample by sample.

    A sample, or a column, that one side changed is changed. What both sides changed, and not to
    the same, is a conflict, which takes ours or, with strategy ``theirs``, theirs.

    Parameters
    ----------
    disputed : mapping of str to Keys, optional
        Samples by column that the base has no one value for; any difference between the sides
        is a conflict there.
    disputed_columns : collection of str
        Columns that the base has no one state for; any difference is a conflict of the column.

    Notes
    -----
    Cost follows the changes of both sides. New nodes go to the object store.
    """
    merged: Columns = {}
    conflicts = ConflictList()
    for name in sorted({*base, *ours, *theirs}):
        sides = base.get(name), ours.get(name), theirs.get(name)
        if name in disputed_columns and sides[1] != sides[2]:
            conflicts.add_column(Conflict(name, None, "criss-cross"))
            wins = theirs if strategy == "theirs" else ours
            if name in wins:
                merged[name] = wins[name]
            continue
        open_keys = (disputed or {}).get(name)
        state = _merge_column(nodes, name, sides, conflicts, strategy=strategy, disputed=open_keys)
        if state is not None:
            merged[name] = state
    return MergedColumns(merged, conflicts)


def _merge_column(
    nodes: Nodes,
    name: str,
    sides: tuple[ColumnState | None, ColumnState | None, ColumnState | None],
    conflicts: ConflictList,
    *,
    strategy: Strategy,
    disputed: Keys | None,
) -> ColumnState | None:
    base, ours, theirs = sides
    if ours == theirs or (theirs == base and not disputed):
        return ours
    if ours == base and not disputed:
        return theirs
    wins = theirs if strategy == "theirs" else ours
    if ours is None or theirs is None:
        kind = "delete/modify" if ours is None else "modify/delete"
        conflicts.add_column(Conflict(name, None, kind))
        return wins
    is_alike = _may_share_values(ours.schema, theirs.schema)
    if not is_alike or (base is not None and not holds_same_values(base.schema, ours.schema)):
        conflicts.add_column(Conflict(name, None, "schema"))
        return wins
    schema = ours.schema
    if base is not None and ours.schema == base.schema:
        schema = theirs.schema
    elif ours.schema != theirs.schema and (base is None or theirs.schema != base.schema):
        conflicts.add_column(Conflict(name, None, "schema"))
        schema = (theirs if strategy == "theirs" else ours).schema
    base_tree = Tree.empty(ours.tree.value_nbytes) if base is None else base.tree
    if disputed:
        base_tree = _without_base(nodes, base_tree, ours.tree, theirs.tree, disputed)
    found = merge(nodes, base_tree, ours.tree, theirs.tree)
    tree = apply_merge(nodes, found)
    if disputed:
        _hide_base(found.conflicts, disputed)
    conflicts.add_samples(name, found.conflicts, nested=schema.nested)
    if strategy == "theirs" and len(found.conflicts):
        tree = _take_theirs(nodes, tree, found.conflicts)
    return ColumnState(schema, tree)


def _may_share_values(ours: Schema, theirs: Schema) -> bool:
    """Tell whether every value of one schema is one of the other: they differ in codec at most."""
    return holds_same_values(ours, theirs) and (ours.shape, ours.variable_shape) == (
        theirs.shape,
        theirs.variable_shape,
    )


def _take_theirs(nodes: Nodes, tree: Tree, conflicts: Conflicts) -> Tree:
    """Give every sample in conflict the value of theirs."""
    keys, has, split = conflicts.keys, conflicts.in_theirs, len(conflicts.keys.ints)
    int_has, text_has = has[:split], has[split:]
    return edit(
        nodes,
        tree,
        Keys(keys.ints[int_has], keys.texts[text_has]),
        conflicts.theirs[:split][int_has],
        conflicts.theirs[split:][text_has],
        Keys(keys.ints[~int_has], keys.texts[~text_has]),
    )


def _without_base(nodes: Nodes, base: Tree, ours: Tree, theirs: Tree, keys: Keys) -> Tree:
    """Give the base, under each key where the sides differ, what equals neither of them.

    Then the merge sees two changes there, which is a conflict.
    """
    our_values, in_ours = cursor.get(nodes, ours, keys)
    their_values, in_theirs = cursor.get(nodes, theirs, keys)
    is_both = in_ours & in_theirs & ~rows_equal(our_values, their_values)
    is_one = in_ours ^ in_theirs
    other = np.where(in_ours[:, None], our_values, their_values)
    other = other ^ np.uint8(1)
    split = len(keys.ints)
    return edit(
        nodes,
        base,
        Keys(keys.ints[is_one[:split]], keys.texts[is_one[split:]]),
        other[:split][is_one[:split]],
        other[split:][is_one[split:]],
        Keys(keys.ints[is_both[:split]], keys.texts[is_both[split:]]),
    )


def _hide_base(conflicts: Conflicts, disputed: Keys) -> None:
    """Say of disputed samples that the base has no value for them."""
    split = len(conflicts.keys.ints)
    conflicts.in_base[:split] &= ~np.isin(conflicts.keys.ints, disputed.ints)
    conflicts.in_base[split:] &= ~np.isin(conflicts.keys.texts, disputed.texts)


@dataclass(frozen=True, slots=True)
class _Base:
    """The columns of a merge base, and the samples and columns for which the bases disagree."""

    columns: Columns
    disputed: dict[str, Keys]
    disputed_columns: set[str]


def _base_of(stores: Stores, nodes: Nodes, bases: Sequence[CommitDigest]) -> _Base:
    """Return the merge base of a merge: a commit, or several merged into a virtual one.

    References
    ----------
    The recursive strategy of git, with keys in conflict kept apart instead of marked in a text.
    """
    objects = stores.objects
    snapshots = [read_snapshot(objects, read_commit(objects, d).snapshot) for d in bases]
    columns = dict(snapshots[0])
    disputed: dict[str, Keys] = {}
    disputed_columns: set[str] = set()
    for digest, other in zip(bases[1:], snapshots[1:], strict=True):
        inner_bases = merge_bases(objects, bases[0], digest)
        inner = _base_of(stores, nodes, inner_bases) if inner_bases else _Base({}, {}, set())
        merged = merge_columns(
            nodes,
            inner.columns,
            columns,
            other,
            disputed=inner.disputed,
            disputed_columns=inner.disputed_columns,
        )
        columns = dict(merged.columns)
        for name, keys in merged.conflicts.sample_keys().items():
            known = disputed.get(name)
            disputed[name] = keys if known is None else _union(known, keys)
        for name in merged.conflicts.column_names():
            disputed_columns.add(name)
            columns.pop(name, None)
            disputed.pop(name, None)
    return _Base(columns, disputed, disputed_columns)


def _union(a: Keys, b: Keys) -> Keys:
    return Keys(
        np.unique(np.concatenate([a.ints, b.ints])), np.unique(np.concatenate([a.texts, b.texts]))
    )


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The outcome of a merge.

    Attributes
    ----------
    commit : Commit
        What the branch points at now.
    is_fast_forward : bool
        Whether the branch moved without a merge commit; also when there was nothing to merge.
    conflicts : sequence of Conflict
        What the strategy ``ours`` or ``theirs`` decided.
    """

    commit: Commit
    is_fast_forward: bool
    conflicts: Sequence[Conflict]

    def __repr__(self) -> str:
        how = "fast-forward" if self.is_fast_forward else f"{len(self.conflicts)} conflicts decided"
        return f"<MergeResult {self.commit.short_id}: {how}>"


def merge_commits(
    stores: Stores,
    nodes: Nodes,
    branch: str,
    theirs: Commit,
    *,
    strategy: Strategy,
    author: Identity,
    now: Timestamp,
    message: str,
    allow_fast_forward: bool = True,
) -> MergeResult:
    """Merge a commit into a branch that has one; runs inside a transaction.

    Raises
    ------
    MergeConflictError
        There are conflicts and the strategy is ``fail``.
    UnrelatedHistoriesError
        The commits have no ancestor in common.
    """
    if strategy not in get_args(Strategy):
        raise InvalidInputError(
            f"merge strategy {strategy!r} is not one of {', '.join(get_args(Strategy))}"
        )
    check_message(message)
    objects = stores.objects
    head = branch_commit(objects, stores.refs, branch)
    assert head is not None
    ours = load_commit(objects, head)
    bases = merge_bases(objects, head, theirs.digest)
    if not bases:
        raise UnrelatedHistoriesError(
            f"branch {branch!r} and commit {theirs.short_id} have no commit in common"
        )
    if bases == [theirs.digest]:
        return MergeResult(ours, is_fast_forward=True, conflicts=())

    def move(commit: Commit, description: str) -> None:
        change = RefChange(
            BRANCHES + branch, encode_commit_ref(head), encode_commit_ref(commit.digest)
        )
        change_refs(
            stores, [change], command="merge", description=description, user=str(author), now=now
        )

    if bases == [head] and allow_fast_forward:
        move(theirs, f"{theirs.short_id} into {branch}, fast-forward")
        return MergeResult(theirs, is_fast_forward=True, conflicts=())
    base = _base_of(stores, nodes, bases)
    merged = merge_columns(
        nodes,
        base.columns,
        read_snapshot(objects, ours.object.snapshot),
        read_snapshot(objects, theirs.object.snapshot),
        strategy,
        disputed=base.disputed,
        disputed_columns=base.disputed_columns,
    )
    conflicts = merged.conflicts
    if conflicts and strategy == "fail":
        shown = "".join(f"\n  {conflict}" for conflict in conflicts[:SHOWN_CONFLICTS])
        more = len(conflicts) - SHOWN_CONFLICTS
        raise with_hint(
            MergeConflictError(
                f"merging {theirs.short_id} into {branch!r} has {len(conflicts)} conflicts, "
                f"and changed nothing:{shown}" + (f"\n  … and {more} more" if more > 0 else ""),
                conflicts,
            ),
            "change one side, or decide all of them with strategy 'ours' or 'theirs'",
        )
    commit = new_commit(
        objects,
        write_snapshot(objects, merged.columns),
        (head, theirs.digest),
        author=author,
        now=now,
        message=message,
    )
    move(commit, f"{theirs.short_id} into {branch}")
    return MergeResult(commit, is_fast_forward=False, conflicts=conflicts)
