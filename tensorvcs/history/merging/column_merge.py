"""Three-way merge of the columns of three versions, sample by sample; it knows no commits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.display.counting import count_text
from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.history.merging.column_lines import Line, group_by_claim, pair_columns
from tensorvcs.history.merging.conflict_values import ConflictValues
from tensorvcs.history.merging.conflicts import Conflict, ConflictList
from tensorvcs.history.merging.deciding import decide
from tensorvcs.history.merging.policies import (
    FUNCTIONS,
    KEPT_POLICIES,
    SIDES,
    Policies,
    Policy,
    policy_name,
)
from tensorvcs.history.snapshot import Columns, ColumnState, holds_same_values
from tensorvcs.tree import cursor
from tensorvcs.tree.edit import edit
from tensorvcs.tree.entries import rows_equal
from tensorvcs.tree.merge import Conflicts, apply_merge, merge
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tensorvcs.history.merging.recency import Recency
    from tensorvcs.objects.keys import Keys
    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.tree.nodes import Nodes


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """What each side makes of a column that is in conflict as a whole.

    The merge has the columns of `ours`; to take theirs, the names in `ours` go and those in
    `theirs` come.
    """

    ours: Columns
    theirs: Columns


@dataclass(frozen=True, slots=True)
class MergedColumns:
    """The outcome of a merge of columns.

    Attributes
    ----------
    columns : dict of str to ColumnState
        With ours where there is a conflict that is open.
    conflicts : ConflictList
        Those that are open.
    decided : ConflictList
        Those that a policy decided; each says by which.
    choices : mapping of str to ColumnChoice
        For each open conflict of a column as a whole, by `Conflict.column`.
    """

    columns: Columns = field(default_factory=dict)
    conflicts: ConflictList = field(default_factory=ConflictList)
    decided: ConflictList = field(default_factory=ConflictList)
    choices: dict[str, ColumnChoice] = field(default_factory=dict)


def decided_note(count: int) -> str:
    """Return what the operation log says of conflicts that policies decided, if there were any."""
    return f"; {count_text(count, 'conflict')} decided by policies" if count else ""


def merge_columns(
    nodes: Nodes,
    tensors: TensorStore,
    base: Columns,
    ours: Columns,
    theirs: Columns,
    policies: Policies = KEPT_POLICIES,
    *,
    recency: Recency | None = None,
    disputed: Mapping[str, Keys] | None = None,
    disputed_columns: Collection[str] = (),
) -> MergedColumns:
    """Merge the columns of two versions that come from one base, sample by sample.

    A sample, or a column, that one side changed is changed; a column that one side renamed has
    the new name, and the changes of both. What both sides changed, and not to the same, is a
    conflict, which a policy decides or which takes ours and is listed.

    Parameters
    ----------
    policies : Policies
        Those kept in the schemas when omitted.
    recency : Recency, optional
        Which side is newer, for the policy ``newest``; without it that policy decides nothing.
    disputed : mapping of str to Keys, optional
        Samples by column that the base has no one value for; any difference between the sides
        is a conflict there.
    disputed_columns : collection of str
        Columns that the base has no one state for; any difference is a conflict of the column.

    Raises
    ------
    ColumnNotFoundError
        A policy is for a column that no version has.
    InvalidInputError
        A policy has no meaning for the values of its column.
    SchemaMismatchError
        A value that a policy made does not fit its column.
    ObjectNotFoundError, CorruptionError
        A node, or a value that a policy needs, is absent or damaged.

    Notes
    -----
    Cost follows the changes of both sides. New nodes go to the object store, and values that a
    policy made to `tensors`, which the caller seals.
    """
    policies.check_columns({*base, *ours, *theirs})
    work = _Work(nodes, tensors, (base, ours, theirs), policies, recency, MergedColumns())
    lines = pair_columns(nodes, base, ours, theirs)
    for line in lines:
        work.check_named(line)
    for group in group_by_claim(lines):
        if len(group) > 1:
            work.merge_clash(group)
        elif {*disputed_columns} & {*group[0].names} and work.differs(group[0]):
            work.settle(group, "criss-cross", work.choice(group))
        else:
            open_keys = (disputed or {}).get(group[0].base or "")
            work.merge_line(group[0], open_keys)
    return work.merged


@dataclass(frozen=True, slots=True)
class _Work:
    """One merge on its way: what comes in, and what was merged so far."""

    nodes: Nodes
    tensors: TensorStore
    sides: tuple[Columns, Columns, Columns]
    policies: Policies
    recency: Recency | None
    merged: MergedColumns

    def states(
        self, line: Line
    ) -> tuple[ColumnState | None, ColumnState | None, ColumnState | None]:
        base, ours, theirs = self.sides
        return (
            None if line.base is None else base[line.base],
            None if line.ours is None else ours[line.ours],
            None if line.theirs is None else theirs[line.theirs],
        )

    def differs(self, line: Line) -> bool:
        """Tell whether the sides have a column differently, or under different names."""
        _, ours, theirs = self.states(line)
        return ours != theirs or line.ours != line.theirs

    def choice(self, lines: list[Line]) -> ColumnChoice:
        """Return the columns as each side has them."""
        _, ours, theirs = self.sides
        return ColumnChoice(
            {line.ours: ours[line.ours] for line in lines if line.ours is not None},
            {line.theirs: theirs[line.theirs] for line in lines if line.theirs is not None},
        )

    def check_named(self, line: Line) -> None:
        """Raise InvalidInputError when the policy named for a column has no meaning for it."""
        policy = self.policies.named(line.names)
        for state in self.states(line):
            if policy is not None and state is not None:
                _check_meaning(policy, state.schema, line.names[0])

    # Columns as a whole

    def merge_clash(self, lines: list[Line]) -> None:
        """Merge columns that want one name: the sides have different columns under it."""
        claims = [name for line in lines for name in line.claims]
        shared = min(name for name in claims if claims.count(name) > 1)
        self.settle(lines, "rename", self.choice(lines), shared)

    def settle(
        self, lines: list[Line], kind: str, choice: ColumnChoice, name: str | None = None
    ) -> str:
        """Decide a conflict of columns as a whole, or leave it open; return the side taken."""
        policy = self._column_policy(lines, choice)
        side = policy if policy in ("ours", "theirs") else "ours"
        if policy == "newest" and self.recency is not None:
            known = [lines[0].names[0]]
            newer = self.recency.of_columns(
                [name for line in lines if (name := line.ours or line.base)] or known,
                [name for line in lines if (name := line.theirs or line.base)] or known,
            )
            side = "theirs" if newer > 0 else "ours"
            is_decided = newer != 0
        else:
            is_decided = policy in ("ours", "theirs")
        taken = choice.theirs if side == "theirs" else choice.ours
        self.merged.columns.update(taken)
        shown = name or next(iter({**taken, **choice.ours, **choice.theirs}))
        if is_decided:
            decided_by = policy_name(policy)
            self.merged.decided.add_column(Conflict(shown, None, kind, decided_by=decided_by))
        else:
            self.merged.conflicts.add_column(Conflict(shown, None, kind))
            self.merged.choices[shown] = choice
        return side

    def _column_policy(self, lines: list[Line], choice: ColumnChoice) -> Policy:
        kept = {s.schema.merge for side in (choice.ours, choice.theirs) for s in side.values()}
        names = [name for line in lines for name in line.names]
        return self.policies.choose(names, kept.pop() if len(kept) == 1 else "")

    # Columns whose samples can be merged

    def merge_line(self, line: Line, disputed: Keys | None) -> None:
        """Merge one column that has its names to itself."""
        base, ours, theirs = self.states(line)
        if ours is None or theirs is None:
            self._merge_one_sided(line, disputed)
            return
        if not line.is_name_disputed and (ours == theirs or (theirs == base and not disputed)):
            self.merged.columns[line.names[0]] = ours
            return
        if not line.is_name_disputed and ours == base and not disputed:
            self.merged.columns[line.names[0]] = theirs
            return
        is_alike = _may_share_values(ours.schema, theirs.schema)
        if not is_alike or (base is not None and not holds_same_values(base.schema, ours.schema)):
            self.settle([line], "schema", self.choice([line]))
            return
        self._merge_samples(line, disputed)

    def _merge_one_sided(self, line: Line, disputed: Keys | None) -> None:
        """Merge a column that one side at most has: new, deleted, or deleted and changed."""
        base, ours, theirs = self.states(line)
        left = ours or theirs
        if left is None:
            return
        is_renamed = line.base is not None and line.base not in (line.ours, line.theirs)
        if base is None:
            self.merged.columns[line.names[0]] = left
        elif is_renamed or left != base or disputed:
            changed = "rename" if is_renamed else "modify"
            kind = f"delete/{changed}" if ours is None else f"{changed}/delete"
            self.settle([line], kind, self.choice([line]))

    def _merge_samples(self, line: Line, disputed: Keys | None) -> None:
        base, ours, theirs = self.states(line)
        assert ours is not None
        assert theirs is not None
        assert line.ours is not None
        assert line.theirs is not None
        schemas = _merge_wishes(None if base is None else base.schema, ours.schema, theirs.schema)
        base_tree = Tree.empty(ours.tree.value_nbytes) if base is None else base.tree
        if disputed:
            base_tree = _without_base(self.nodes, base_tree, ours.tree, theirs.tree, disputed)
        found = merge(self.nodes, base_tree, ours.tree, theirs.tree)
        if disputed:
            _hide_base(found.conflicts, disputed)
        if not len(found.conflicts):
            self._put(line, schemas, apply_merge(self.nodes, found), None)
            return
        values = ConflictValues(
            schemas[0],
            schemas[0] if base is None else base.schema,
            found.conflicts,
            self.tensors,
        )
        kept = schemas[0].merge if schemas[0] == schemas[1] else ""
        policy = self.policies.choose(line.names, kept)
        _check_meaning(policy, schemas[0], line.names[0])
        sides = (line.ours, line.theirs)
        decisions = decide(policy, line.names[0], sides, values, self.tensors, self.recency)
        tree = apply_merge(self.nodes, found, decisions)
        name = self._put(line, schemas, tree, values)
        is_open = ~decisions.is_decided
        self.merged.conflicts.add_samples(name, values.select(is_open))
        self.merged.decided.add_samples(name, values.select(~is_open), policy_name(policy))

    def _put(
        self,
        line: Line,
        schemas: tuple[Schema, Schema],
        tree: Tree,
        values: ConflictValues | None,
    ) -> str:
        """Take a merged column, and its name."""
        assert line.ours is not None
        assert line.theirs is not None
        if schemas[0] == schemas[1] and not line.is_name_disputed:
            self.merged.columns[line.names[0]] = ColumnState(schemas[0], tree)
            return line.names[0]
        names = line.claims if line.is_name_disputed else (line.names[0], line.names[0])
        choice = ColumnChoice(
            {names[0]: ColumnState(schemas[0], tree)}, {names[1]: ColumnState(schemas[1], tree)}
        )
        kind = "rename" if line.is_name_disputed else "schema"
        return names[self.settle([line], kind, choice) == "theirs"]


def _check_meaning(policy: Policy, schema: Schema, column: str) -> None:
    if isinstance(policy, str) and policy in FUNCTIONS and not schema.can_merge_by(policy):
        raise with_hint(
            InvalidInputError(f"column {column!r}: {schema.merge_problem(policy)}"),
            f"say what holds for this column: {{{column!r}: 'newest', '*': {policy!r}}}, or "
            f"--strategy {column}=newest; {', '.join(SIDES)} are for any column",
        )


def _may_share_values(ours: Schema, theirs: Schema) -> bool:
    """Tell whether every value of one schema is one of the other.

    They differ in codec and merge policy at most.
    """
    return holds_same_values(ours, theirs) and (ours.shape, ours.variable_shape) == (
        theirs.shape,
        theirs.variable_shape,
    )


def _merge_wishes(base: Schema | None, ours: Schema, theirs: Schema) -> tuple[Schema, Schema]:
    """Merge what two schemas wish for, codec and merge policy.

    Returns the schema that ours wants and the one that theirs wants: the same one, unless both
    changed one of these and not to the same.
    """
    wanted: list[dict[str, str]] = [{}, {}]
    for name in ("codec", "merge"):
        was = None if base is None else getattr(base, name)
        mine, yours = getattr(ours, name), getattr(theirs, name)
        wanted[0][name] = yours if mine == was else mine
        wanted[1][name] = mine if yours == was else yours
    return replace(ours, **wanted[0]), replace(ours, **wanted[1])  # type: ignore[arg-type]


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
    puts = keys.select(is_one)
    return edit(
        nodes, base, puts, other[:split][is_one[:split]], other[split:][is_one[split:]],
        keys.select(is_both),
    )  # fmt: skip


def _hide_base(conflicts: Conflicts, disputed: Keys) -> None:
    """Say of disputed samples that the base has no value for them."""
    split = len(conflicts.keys.ints)
    conflicts.in_base[:split] &= ~np.isin(conflicts.keys.ints, disputed.ints)
    conflicts.in_base[split:] &= ~np.isin(conflicts.keys.texts, disputed.texts)
