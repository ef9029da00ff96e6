"""Merge of a commit into a branch: by fast-forward, or a commit with both as its parents."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.display.counting import count_text
from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import (
    BranchNotFoundError,
    MergeConflictError,
    UnrelatedHistoriesError,
    with_hint,
)
from tensorvcs.history.ancestry import merge_bases, read_commit
from tensorvcs.history.commit import Commit, change_refs, check_message, load_commit, new_commit
from tensorvcs.history.difference.diff import Diff, diff_columns
from tensorvcs.history.drafts import DraftObjects, DraftTensors
from tensorvcs.history.merging.column_merge import MergedColumns
from tensorvcs.history.merging.column_merge import merge_columns as merge_columns  # noqa: PLC0414
from tensorvcs.history.merging.conflicts import Conflict as Conflict  # noqa: PLC0414
from tensorvcs.history.merging.conflicts import ConflictList
from tensorvcs.history.merging.policies import NO_POLICIES, Policies
from tensorvcs.history.merging.policies import Strategy as Strategy  # noqa: PLC0414
from tensorvcs.history.merging.recency import CommitRecency
from tensorvcs.history.refs import BRANCHES, branch_commit, encode_commit_ref
from tensorvcs.history.snapshot import Columns, read_snapshot, write_snapshot
from tensorvcs.objects.keys import Keys
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorvcs.objects.commit import Identity, Timestamp
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes

SHOWN_CONFLICTS = 10

LARGE_NBYTES = 1 << 20
"""Payload that is sealed before the transaction of the refs, since it makes a pack."""

PATIENCE = 3
"""How often a branch may move under a merge before the merge keeps other writers out."""


def undisturbed(stores: Stores, attempt: int) -> AbstractContextManager[object]:
    """Return the transaction for an attempt, from 0, that must not be overtaken any more.

    The earlier ones have none, so that others go on writing.
    """
    return stores.transaction() if attempt >= PATIENCE else nullcontext()


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
            stores.tensors,
            inner.columns,
            columns,
            other,
            NO_POLICIES,
            disputed=inner.disputed,
            disputed_columns=inner.disputed_columns,
        )
        columns = dict(merged.columns)
        for name, keys in merged.conflicts.sample_keys().items():
            known = disputed.get(name)
            disputed[name] = keys if known is None else _union(known, keys)
        for choice in merged.choices.values():
            for name in {**choice.ours, **choice.theirs}:
                disputed_columns.add(name)
                columns.pop(name, None)
                disputed.pop(name, None)
    return _Base(columns, disputed, disputed_columns)


def _union(a: Keys, b: Keys) -> Keys:
    return Keys(
        np.unique(np.concatenate([a.ints, b.ints])), np.unique(np.concatenate([a.texts, b.texts]))
    )


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What merging one commit into another would give.

    Attributes
    ----------
    ours, theirs : Commit
    is_fast_forward : bool
        Whether no merge commit is needed; also when there is nothing to merge.
    base : dict of str to ColumnState
        The columns of the merge base.
    merged : MergedColumns
        The columns with ours where a conflict is open, the conflicts, and what was decided.
    """

    ours: Commit
    theirs: Commit
    is_fast_forward: bool
    base: Columns
    merged: MergedColumns

    @property
    def is_up_to_date(self) -> bool:
        """Whether ours has all of theirs already."""
        return self.is_fast_forward and not self.ours.object.generation < (
            self.theirs.object.generation
        )


def plan_merge(
    stores: Stores,
    nodes: Nodes,
    ours: Commit,
    theirs: Commit,
    policies: Policies,
    *,
    allow_fast_forward: bool = True,
) -> MergePlan:
    """Merge the columns of two commits; no ref moves.

    New nodes go to the store of `nodes`, and values that a policy made to the tensor store,
    unsealed.

    Raises
    ------
    UnrelatedHistoriesError
        The commits have no ancestor in common.
    ColumnNotFoundError, InvalidInputError, SchemaMismatchError
        See `merge_columns`.
    """
    objects = stores.objects
    bases = merge_bases(objects, ours.digest, theirs.digest)
    if not bases:
        raise UnrelatedHistoriesError(
            f"commits {ours.short_id} and {theirs.short_id} have no commit in common"
        )
    our_columns, their_columns = (
        read_snapshot(objects, side.object.snapshot) for side in (ours, theirs)
    )
    if bases == [theirs.digest] or (bases == [ours.digest] and allow_fast_forward):
        policies.check_columns({*our_columns, *their_columns})
        newer = our_columns if bases == [theirs.digest] else their_columns
        older = their_columns if bases == [theirs.digest] else our_columns
        return MergePlan(ours, theirs, True, older, MergedColumns(newer))
    base = _base_of(stores, nodes, bases)
    merged = merge_columns(
        nodes,
        stores.tensors,
        base.columns,
        our_columns,
        their_columns,
        policies,
        recency=CommitRecency(objects, nodes, ours.digest, theirs.digest),
        disputed=base.disputed,
        disputed_columns=base.disputed_columns,
    )
    return MergePlan(ours, theirs, False, base.columns, merged)


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
        What a policy decided; `Conflict.decided_by` says which.
    open_conflicts : sequence of Conflict
        With any of them the branch has not moved: the merge waits in the staging area.
    """

    commit: Commit
    is_fast_forward: bool
    conflicts: Sequence[Conflict]
    open_conflicts: Sequence[Conflict] = ()

    def __repr__(self) -> str:
        if self.open_conflicts:
            open_text = count_text(len(self.open_conflicts), "conflict")
            return f"<MergeResult in progress: {open_text} open>"
        how = (
            "fast-forward"
            if self.is_fast_forward
            else f"{count_text(len(self.conflicts), 'conflict')} decided"
        )
        return f"<MergeResult {self.commit.short_id}: {how}>"

    def _repr_html_(self) -> str:
        lists = (self.open_conflicts, self.conflicts)
        tables = [found._repr_html_() for found in lists if isinstance(found, ConflictList)]
        return f"<p>{value_html(repr(self)[1:-1])}</p>{self.commit._repr_html_()}{''.join(tables)}"


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
    metadata: Mapping[str, str] | None = None,
    allow_fast_forward: bool = True,
    keep: Callable[[MergePlan], None] | None = None,
) -> MergeResult:
    """Merge a commit into a branch that has one.

    Parameters
    ----------
    keep : callable, optional
        Called inside the transaction with a plan that has open conflicts, to keep them; the
        branch stays. They are an error when omitted.

    Raises
    ------
    MergeConflictError
        Conflicts are left that no policy decided; nothing was changed.
    UnrelatedHistoriesError
        The commits have no ancestor in common.
    InvalidInputError, ColumnNotFoundError, SchemaMismatchError
        The strategy is not legal, or does not fit the columns; nothing was changed.

    Notes
    -----
    The merge is made before the transaction, so that neither a large one nor a slow merge
    function keeps other writers waiting, and again when the branch moved meanwhile. When that
    happened three times others wait, so that it comes to an end beside any number of them.
    """
    policies = Policies.of(strategy)
    check_message(message)
    attempt = 0
    while True:
        with undisturbed(stores, attempt):
            ours = _head(stores, branch)
            drafts = DraftObjects(stores.objects)
            try:
                plan = plan_merge(
                    replace(stores, objects=drafts),
                    nodes.over(drafts),
                    ours,
                    theirs,
                    policies,
                    allow_fast_forward=allow_fast_forward,
                )
                if plan.merged.conflicts and keep is None:
                    raise conflict_error(
                        plan.merged.conflicts, f"merging {theirs.short_id} into {branch!r}"
                    )
                if stores.tensors.unsealed_nbytes >= LARGE_NBYTES:
                    stores.tensors.seal()
                with stores.transaction():
                    if _head(stores, branch) == ours:
                        stores.tensors.seal()
                        drafts.save()
                        if plan.merged.conflicts and keep is not None:
                            keep(plan)
                            found = plan.merged
                            return MergeResult(ours, False, found.decided, found.conflicts)
                        return _record(stores, branch, plan, author, now, message, metadata)
            except BaseException:
                stores.tensors.discard()
                raise
        attempt += 1


def _head(stores: Stores, branch: str) -> Commit:
    head = branch_commit(stores.objects, stores.refs, branch)
    if head is None:
        raise BranchNotFoundError(f"no branch {branch!r} to merge into, or it has no commits")
    return load_commit(stores.objects, head)


def conflict_error(conflicts: Sequence[Conflict], what: str) -> MergeConflictError:
    """Return the error that lists conflicts which kept `what` from happening."""
    shown = "".join(f"\n  {conflict}" for conflict in conflicts[:SHOWN_CONFLICTS])
    more = len(conflicts) - SHOWN_CONFLICTS
    return with_hint(
        MergeConflictError(
            f"{what} has {count_text(len(conflicts), 'conflict')}, and changed nothing:{shown}"
            + (f"\n  … and {more} more" if more > 0 else ""),
            conflicts,
        ),
        "decide them with a strategy ('ours', 'theirs', 'newest', or a function for each column), "
        "or keep them to decide one by one: keep_conflicts=True",
    )


def _record(
    stores: Stores,
    branch: str,
    plan: MergePlan,
    author: Identity,
    now: Timestamp,
    message: str,
    metadata: Mapping[str, str] | None,
) -> MergeResult:
    """Move the branch to the outcome of a plan, inside a transaction."""
    if plan.is_up_to_date:
        return MergeResult(plan.ours, is_fast_forward=True, conflicts=())
    made, how = plan.theirs, ", fast-forward"
    if not plan.is_fast_forward:
        how = ""
        made = new_commit(
            stores.objects,
            write_snapshot(stores.objects, plan.merged.columns),
            (plan.ours.digest, plan.theirs.digest),
            author=author,
            now=now,
            message=message,
            metadata=metadata,
        )
    change = RefChange(
        BRANCHES + branch, encode_commit_ref(plan.ours.digest), encode_commit_ref(made.digest)
    )
    change_refs(
        stores,
        [change],
        command="merge",
        description=f"{plan.theirs.short_id} into {branch}{how}",
        user=str(author),
        now=now,
    )
    return MergeResult(made, plan.is_fast_forward, plan.merged.decided)


@dataclass(frozen=True)
class MergePreview:
    """What a merge would do; nothing of it is recorded.

    Attributes
    ----------
    ours, theirs : Commit
    is_fast_forward : bool
        Whether no merge commit would be made; also when there is nothing to merge.
    diff : Diff
        From ours to the merge, with ours where a conflict is open.
    conflicts : sequence of Conflict
        Those that would be open: with any of them the merge raises MergeConflictError.
    decided : sequence of Conflict
        Those that a policy would decide.
    """

    ours: Commit
    theirs: Commit
    is_fast_forward: bool
    diff: Diff
    conflicts: ConflictList = field(default_factory=ConflictList)
    decided: ConflictList = field(default_factory=ConflictList)

    def __repr__(self) -> str:
        how = "fast-forward, " if self.is_fast_forward else ""
        return (
            f"<MergePreview of {self.theirs.short_id} into {self.ours.short_id}: {how}"
            f"{count_text(len(self.conflicts), 'conflict')}, {len(self.decided)} decided, "
            f"{self.diff!r}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            ["fast-forward", str(self.is_fast_forward)],
            ["conflicts", self.conflicts._repr_html_() if self.conflicts else "none"],
            ["decided", self.decided._repr_html_() if self.decided else "none"],
            ["changes", self.diff._repr_html_()],
        ]
        caption = f"merge of {self.theirs.short_id} into {self.ours.short_id}"
        return table_html(["", ""], rows, caption)


def preview_merge(
    stores: Stores,
    nodes: Nodes,
    branch: str,
    theirs: Commit,
    *,
    strategy: Strategy = "fail",
    allow_fast_forward: bool = True,
) -> MergePreview:
    """Merge a commit into a branch in memory, and return what that would do.

    Raises
    ------
    UnrelatedHistoriesError, InvalidInputError, ColumnNotFoundError, SchemaMismatchError
        As `merge_commits`.

    Notes
    -----
    Writes nothing. New nodes, and values that a policy made, are in memory while the preview is.
    """
    drafts = DraftObjects(stores.objects)
    drafted = nodes.over(drafts)
    tensors = DraftTensors(stores.tensors)
    ours = _head(stores, branch)
    plan = plan_merge(
        replace(stores, objects=drafts, tensors=tensors),
        drafted,
        ours,
        theirs,
        Policies.of(strategy),
        allow_fast_forward=allow_fast_forward,
    )
    before = read_snapshot(stores.objects, ours.object.snapshot)
    return MergePreview(
        ours,
        theirs,
        plan.is_fast_forward,
        diff_columns(drafted, before, plan.merged.columns, tensors),
        plan.merged.conflicts,
        plan.merged.decided,
    )
