"""Cherry-pick and revert on a branch: computed in memory, then recorded in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.checkout.areas import StagingRecord
from tensorvcs.display.counting import count_text
from tensorvcs.errors import (
    BranchNotFoundError,
    EmptyPickError,
    InvalidInputError,
    MergeConflictError,
    with_hint,
)
from tensorvcs.history.commit import Commit, change_refs, load_commit, new_commit
from tensorvcs.history.drafts import DraftObjects
from tensorvcs.history.merging.column_merge import MergedColumns, decided_note, merge_columns
from tensorvcs.history.merging.merge import LARGE_NBYTES, conflict_error, undisturbed
from tensorvcs.history.merging.merge_progress import KeptMerge, OpenSamples, store_merge
from tensorvcs.history.merging.recency import CommitRecency, TheirsIsNewer
from tensorvcs.history.picking.pick_conflicts import join_conflicts, take_ours_where_open
from tensorvcs.history.picking.picking import (
    make_changes,
    pick_intent,
    requested_changes,
    requested_commits,
)
from tensorvcs.history.refs import BRANCHES, MERGE, STAGING, branch_commit, encode_commit_ref
from tensorvcs.history.snapshot import Columns, read_snapshot, write_snapshot
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorvcs.checkout.areas import Writer
    from tensorvcs.history.merging.merge_progress import Part
    from tensorvcs.history.merging.policies import Policies
    from tensorvcs.history.merging.recency import Recency
    from tensorvcs.history.picking.picking import PickRequest
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes


@dataclass(frozen=True, slots=True)
class PickMode:
    """What becomes of the outcome of a cherry-pick or revert.

    Attributes
    ----------
    keeps_conflicts : bool
        Whether to keep a merge in progress where there are conflicts, and raise otherwise.
    is_each : bool
        Whether every commit of a range becomes a commit of its own.
    is_staged_only : bool
        Whether to stage the outcome, for the user to commit.
    """

    keeps_conflicts: bool = False
    is_each: bool = False
    is_staged_only: bool = False

    def __post_init__(self) -> None:
        if self.is_each and (self.keeps_conflicts or self.is_staged_only):
            other = "keep_conflicts" if self.keeps_conflicts else "stage_only"
            raise with_hint(
                InvalidInputError(f"each and {other} exclude each other"),
                "take the commits as one, or one by one",
            )


@dataclass(frozen=True, slots=True)
class _Step:
    """One commit to be: its columns, and the commits that it takes, oldest first."""

    columns: Columns
    taken: Sequence[Commit]


def pick_commits(
    stores: Stores,
    nodes: Nodes,
    branch: str,
    request: PickRequest,
    policies: Policies,
    mode: PickMode,
    writer: Writer,
) -> Commit:
    """Make the changes of commits on a branch, or take them back, and record that.

    Parameters
    ----------
    stores : Stores
        With a tensor store of their own: what a policy makes is sealed or discarded.

    Returns
    -------
    Commit
        What the branch points at then; the commit it had when the outcome waits in staging.

    Raises
    ------
    BranchNotFoundError
        The branch has no commit.
    MergeConflictError
        Conflicts are left that no policy decided; nothing was changed.
    EmptyPickError
        Nothing is left to change.
    MainlineError, ColumnNotFoundError, InvalidInputError, SchemaMismatchError

    Notes
    -----
    Computed before the transaction, and again when the branch moved meanwhile; when that happened
    three times, inside it. Of the nodes made on the way those of the outcome alone are stored.
    """
    commits = requested_commits(nodes, request)
    attempt = 0
    while True:
        with undisturbed(stores, attempt):
            head = _head(stores, branch)
            drafts = DraftObjects(stores.objects)
            try:
                steps, parts, decided = _compute(
                    stores, nodes.over(drafts), head, commits, request, policies, mode
                )
                if stores.tensors.unsealed_nbytes >= LARGE_NBYTES:
                    stores.tensors.seal()
                with stores.transaction():
                    if _head(stores, branch).digest == head.digest:
                        stores.tensors.seal()
                        for step in steps:
                            drafts.save_columns(step.columns)
                        if parts or mode.is_staged_only:
                            kept = KeptMerge(
                                pick_intent(request, head.digest, steps[-1].taken), parts
                            )
                            for columns in kept.snapshots().values():
                                drafts.save_columns(columns)
                            return _stage(stores, branch, head, steps[-1], kept, decided, writer)
                        return _commit(stores, branch, head, steps, request, decided, writer)
            except BaseException:
                stores.tensors.discard()
                raise
        attempt += 1


def _head(stores: Stores, branch: str) -> Commit:
    digest = branch_commit(stores.objects, stores.refs, branch)
    if digest is None:
        raise with_hint(
            BranchNotFoundError(f"branch {branch!r} has no commits yet"),
            "record the first one: tvcs commit -m MESSAGE",
        )
    return load_commit(stores.objects, digest)


def _compute(
    stores: Stores,
    nodes: Nodes,
    head: Commit,
    commits: Sequence[Commit],
    request: PickRequest,
    policies: Policies,
    mode: PickMode,
) -> tuple[list[_Step], tuple[Part, ...], int]:
    """Return the commits to make, the conflicts that are left, and how many were decided."""

    def merge(base: Columns, ours: Columns, theirs: Columns, commit: Commit) -> MergedColumns:
        recency: Recency = TheirsIsNewer()
        if request.verb == "cherry-pick":
            recency = CommitRecency(stores.objects, nodes, head.digest, commit.digest)
        return merge_columns(nodes, stores.tensors, base, ours, theirs, policies, recency=recency)

    changes = requested_changes(nodes, request, commits)
    before = columns = read_snapshot(nodes.objects, head.object.snapshot)
    steps: list[_Step] = []
    parts: list[Part] = []
    errors: list[MergeConflictError] = []
    decided = 0
    for change, merged in make_changes(nodes, before, changes, merge):
        if merged.conflicts:
            what = f"the {request.verb} of {change.commit.short_id}"
            errors.append(conflict_error(merged.conflicts, what))
            if not mode.keeps_conflicts or (merged.choices and len(changes) > 1):
                raise errors[-1]
            parts = join_conflicts(nodes, parts, merged)
        if merged.columns != columns:
            steps.append(_Step(merged.columns, [change.commit]))
        columns = merged.columns
        decided += len(merged.decided)
    if any(isinstance(part, OpenSamples) and part.column not in columns for part in parts):
        # A later change renamed or dropped the column, so that there is nowhere to decide it.
        raise errors[0]
    if not mode.is_each:
        taken = [change.commit for change in changes]
        columns, parts = take_ours_where_open(nodes, columns, parts)
        steps = [_Step(columns, taken[::-1] if request.verb == "revert" else taken)]
    if not parts and (not steps if mode.is_each else columns == before):
        raise _nothing_left(request)
    return steps, tuple(parts), decided


def _nothing_left(request: PickRequest) -> EmptyPickError:
    problem = f"all that {request.spoken} changes is here already"
    if request.verb == "revert":
        problem = f"nothing that {request.spoken} changed is left to take back"
    if not request.selection.is_everything:
        problem += f" (of {request.selection})"
    return with_hint(EmptyPickError(problem), "'tvcs diff REV HEAD' shows what differs")


def _stage(
    stores: Stores,
    branch: str,
    head: Commit,
    step: _Step,
    kept: KeptMerge,
    decided: int,
    writer: Writer,
) -> Commit:
    """Stage the outcome, with its conflicts when there are some."""
    refs, objects = stores.refs, stores.objects
    snapshot = write_snapshot(objects, step.columns)
    staged = None
    if snapshot != head.object.snapshot:
        staged = StagingRecord(head.digest, snapshot).encode()
    changes = [RefChange(STAGING, refs.get(STAGING), staged)]
    how = "staged"
    if kept.parts:
        changes.append(RefChange(MERGE, refs.get(MERGE), store_merge(objects, kept)))
        how = f"{count_text(kept.open_count, 'conflict')} kept"
    change_refs(
        stores,
        [change for change in changes if change.before != change.after],
        command=kept.intent.verb,
        description=f"{kept.intent.theirs.hex()[:12]} onto {branch}, {how}" + decided_note(decided),
        user=writer.user_name,
        now=writer.now(),
    )
    return head


def _commit(
    stores: Stores,
    branch: str,
    head: Commit,
    steps: Sequence[_Step],
    request: PickRequest,
    decided: int,
    writer: Writer,
) -> Commit:
    """Make the commits and move the branch to the last of them."""
    made = head
    now = writer.now()
    for step in steps:
        intent = pick_intent(request, made.digest, step.taken)
        made = new_commit(
            stores.objects,
            write_snapshot(stores.objects, step.columns),
            (made.digest,),
            author=writer.author(intent.author),
            author_time=intent.author_time,
            committer=writer.user(),
            now=now,
            message=intent.message,
            metadata=intent.metadata,
        )
    change_refs(
        stores,
        [
            RefChange(
                BRANCHES + branch, encode_commit_ref(head.digest), encode_commit_ref(made.digest)
            )
        ],
        command=request.verb,
        description=f"{request.spoken} onto {branch} as {made.short_id}" + decided_note(decided),
        user=writer.user_name,
        now=now,
    )
    return made
