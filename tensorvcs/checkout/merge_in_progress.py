"""MergeInProgress: a merge, cherry-pick or revert that waits until its conflicts are decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from tensorvcs.checkout.areas import StagingRecord, columns_of, read_staging
from tensorvcs.checkout.editor import SMALL_NBYTES
from tensorvcs.display.counting import count_text
from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    NoMergeInProgressError,
    with_hint,
)
from tensorvcs.history.commit import Commit, change_refs, load_commit
from tensorvcs.history.merging.conflict_choice import matching_conflicts, named_conflicts
from tensorvcs.history.merging.conflict_decision import Decision, decide_chosen, store_decision
from tensorvcs.history.merging.merge_progress import (
    Intent,
    KeptMerge,
    OpenColumn,
    OpenSamples,
    kept_parts,
    listed_conflicts,
    read_merge,
    store_merge,
)
from tensorvcs.history.refs import MERGE, STAGING
from tensorvcs.history.snapshot import read_snapshot, write_snapshot
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tensorvcs.checkout.areas import Writer
    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.history.merging.conflict_choice import Chosen, Pair
    from tensorvcs.history.merging.conflict_decision import StoredValues
    from tensorvcs.history.merging.conflicts import ConflictList
    from tensorvcs.history.merging.merge import MergePlan
    from tensorvcs.objects.commit import Identity
    from tensorvcs.objects.key_patterns import KeyPattern
    from tensorvcs.objects.schema import Schema
    from tensorvcs.signing.signer import Signer
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes


class MergeInProgress:
    """What waits in the staging area: ask for its conflicts, decide them, then finish.

    What is merged so far is staged, with ours wherever a conflict is open; it may be looked at and
    edited as anything staged. The state is read anew at each call, so that two objects, or two
    processes, agree.
    """

    def __init__(
        self,
        stores: Stores,
        nodes: Nodes,
        writer: Writer,
        lock: Callable[[], AbstractContextManager[object]],
        edit: Callable[[], EditableCheckout],
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._writer = writer
        self._lock = lock
        self._edit = edit

    def _kept(self) -> KeptMerge:
        kept = read_merge(self._stores.objects, self._stores.refs)
        if kept is None:
            raise no_merge()
        return kept

    @property
    def _intent(self) -> Intent:
        return self._kept().intent

    # What it is

    @property
    def verb(self) -> str:
        """What began it: ``merge``, ``cherry-pick`` or ``revert``."""
        return self._intent.verb

    @property
    def head(self) -> Commit:
        """The commit that the branch had when it began."""
        return load_commit(self._stores.objects, self._intent.head)

    @property
    def theirs(self) -> Commit:
        """The commit that is merged, picked or reverted."""
        return load_commit(self._stores.objects, self._intent.theirs)

    @property
    def message(self) -> str:
        """The message that the commit gets unless `finish` is given another."""
        return self._intent.message

    @property
    def open_count(self) -> int:
        """How many conflicts nobody has decided yet; reads no tree."""
        return self._kept().open_count

    @property
    def conflicts(self) -> ConflictList:
        """The conflicts that are open, by column and in key order.

        Each has `column`, `key`, `kind`, and the values `base`, `ours` and `theirs`, read when
        they are asked for.
        """
        return listed_conflicts(self._nodes, self._stores.tensors, self._kept())

    def schema(self, column: str) -> Schema:
        """Return the schema of the values of a column in conflict by sample.

        Raises
        ------
        ColumnNotFoundError
            The column has no conflicts, or is in conflict as a whole.
        """
        problem = f"no sample of column {column!r} is in conflict"
        for part in self._kept().parts:
            if part.column == column:
                if isinstance(part, OpenSamples):
                    return part.schema
                problem = f"column {column!r} is in conflict as a whole ({part.kind})"
        raise with_hint(
            ColumnNotFoundError(problem), "'tvcs conflicts' lists the conflicts that are open"
        )

    def sides(self, column: str) -> tuple[dict[str, Schema], dict[str, Schema]]:
        """Return what ours and theirs have of a column in conflict as a whole, by name.

        Raises
        ------
        ColumnNotFoundError
            The column is not in conflict as a whole.
        """
        for part in self._kept().parts:
            if part.column == column and isinstance(part, OpenColumn):
                ours, theirs = (
                    {name: state.schema for name, state in side.items()}
                    for side in (part.ours, part.theirs)
                )
                return ours, theirs
        raise with_hint(
            ColumnNotFoundError(f"column {column!r} is not in conflict as a whole"),
            "'tvcs conflicts' lists those that are open",
        )

    def __repr__(self) -> str:
        try:
            kept = self._kept()
        except NoMergeInProgressError:
            return "<MergeInProgress: over>"
        return (
            f"<MergeInProgress: {kept.intent.verb} of {kept.intent.theirs.hex()[:12]}, "
            f"{count_text(kept.open_count, 'conflict')} open>"
        )

    def _repr_html_(self) -> str:
        try:
            return self.conflicts._repr_html_()
        except NoMergeInProgressError:
            return "<p>no merge in progress</p>"

    # Deciding

    def resolve(
        self, column: str, key: Any = None, side: Decision | None = None, *, value: object = None
    ) -> int:
        """Decide conflicts; one that was decided before is decided anew.

        Parameters
        ----------
        column : str
        key : str, int, pair, or list of them, optional
            The sample; of a nested column a pair, or the key of a sample with all its conflicts.
            None for a column that is in conflict as a whole.
        side : {"ours", "theirs", "delete"}, optional
            What to keep.
        value : array, str or bytes, optional
            What to keep instead of either side.

        Returns
        -------
        int
            How many conflicts are open now.

        Raises
        ------
        NoMergeInProgressError, StagingLockedError
        ColumnNotFoundError, SampleNotFoundError
            The column, or the sample, is not in conflict.
        SchemaMismatchError
            The value does not fit the column.
        InvalidInputError
            Neither a side nor a value is given, or both.

        Notes
        -----
        One entry in the operation log; O(samples × log n).
        """
        return self._resolve(
            lambda kept: named_conflicts(self._nodes, kept, column, key), side, value
        )

    def resolve_all(
        self,
        side: Decision | None = None,
        *,
        value: object = None,
        column: str | None = None,
        keys: KeyPattern | Iterable[KeyPattern | Pair] | None = None,
        again: bool = False,
    ) -> int:
        """Decide all conflicts that are open, or those of a column or of some samples.

        Parameters
        ----------
        side, value
            As of `resolve`.
        column : str, optional
        keys : str, int, or iterable of them, optional
            Patterns: a key, a glob such as ``cat/*``, a range of int keys such as ``0:100``; in
            an iterable a pair names a subsample. Each must fit a conflict.
        again : bool
            Whether to decide anew what was decided before.

        Returns
        -------
        int
            How many conflicts are open now.

        Raises
        ------
        As `resolve`.
        """
        listed: list[KeyPattern | Pair] | None = None
        if keys is not None:
            listed = [keys] if isinstance(keys, (str, int)) else list(keys)
        return self._resolve(
            lambda kept: matching_conflicts(self._nodes, kept, column, listed, again=again),
            side,
            value,
        )

    def _resolve(
        self, choose: Callable[[KeptMerge], Chosen], side: Decision | None, value: object
    ) -> int:
        if side is not None and side not in get_args(Decision):
            raise InvalidInputError(
                f"cannot keep {side!r} of a conflict; expected {', '.join(get_args(Decision))}"
            )
        if (side is None) == (value is None):
            raise InvalidInputError("a decision is either a side (ours, theirs, delete) or a value")
        stores = self._stores
        with self._lock(), stores.lease():
            kept = self._kept()
            chosen = choose(kept)
            decision: Decision | StoredValues
            try:
                if side is None:
                    decision = store_decision(stores.tensors, kept, chosen, value)
                else:
                    decision = side
                if stores.tensors.unsealed_nbytes >= SMALL_NBYTES:
                    stores.tensors.seal()
                with stores.transaction():
                    stores.tensors.seal()
                    return self._record(kept, chosen, decision)
            except BaseException:
                stores.tensors.discard()
                raise

    def _record(self, kept: KeptMerge, chosen: Chosen, decision: Decision | StoredValues) -> int:
        """Move staging and the merge to what was decided; runs inside a transaction."""
        refs, objects = self._stores.refs, self._stores.objects
        staged = read_staging(refs)
        base = kept.intent.head if staged is None else staged.base
        before = columns_of(self._stores, base)
        columns = before if staged is None else read_snapshot(objects, staged.snapshot)
        decided, columns = decide_chosen(self._nodes, kept, columns, chosen, decision)
        record = StagingRecord(base, write_snapshot(objects, columns))
        changes = [
            RefChange(STAGING, refs.get(STAGING), None if columns == before else record.encode()),
            RefChange(MERGE, refs.get(MERGE), store_merge(objects, decided)),
        ]
        self._move(
            [change for change in changes if change.before != change.after],
            "resolve",
            _description(kept, chosen, decision),
        )
        return decided.open_count

    # Its end

    def finish(
        self,
        message: str | None = None,
        author: Identity | str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        sign: Signer | None = None,
    ) -> Commit:
        """Record the merge as a commit and return it.

        Parameters
        ----------
        message : str, optional
            The one that was given when it began, if omitted.
        author : Identity or str, optional
            The one it began with; the user of the repository when there was none.
        metadata, sign : optional
            As of `EditableCheckout.commit`.

        Raises
        ------
        NoMergeInProgressError, StagingLockedError
        OpenConflictsError
            Conflicts are open.
        MergeConflictError
            The branch has moved since, and changed the same samples. Staging stays.
        """
        with self._edit() as staging:
            # Read under the lock: somebody may have ended this merge, and staged something else.
            intent = self._intent
            text = intent.message if message is None else message
            return staging.commit(text, author, metadata=metadata, sign=sign)

    def abort(self) -> None:
        """Give the merge up and drop what is staged; `undo` brings it back.

        Raises
        ------
        NoMergeInProgressError, StagingLockedError
        """
        refs = self._stores.refs
        with self._lock(), self._stores.transaction():
            intent = self._intent
            changes = [RefChange(name, refs.get(name), None) for name in (STAGING, MERGE)]
            self._move(
                [change for change in changes if change.before is not None],
                intent.verb,
                f"give up {intent.theirs.hex()[:12]}",
            )

    def _move(self, changes: Sequence[RefChange], command: str, description: str) -> None:
        change_refs(
            self._stores,
            changes,
            command=command,
            description=description,
            user=self._writer.user_name,
            now=self._writer.now(),
        )


def keep_merge(
    stores: Stores,
    nodes: Nodes,
    plan: MergePlan,
    message: str,
    author: Identity | None,
    writer: Writer,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Stage a merge with its open conflicts, inside the transaction of the merge.

    What is merged so far is staged over ours, which must be the head of the current branch.
    """
    refs, objects = stores.refs, stores.objects
    intent = Intent(
        "merge", plan.ours.digest, plan.theirs.digest, message, author, metadata=metadata or {}
    )
    kept = KeptMerge(intent, kept_parts(nodes, plan.merged))
    snapshot = write_snapshot(objects, plan.merged.columns)
    staged = None
    if snapshot != plan.ours.object.snapshot:
        staged = StagingRecord(plan.ours.digest, snapshot).encode()
    changes = [
        RefChange(STAGING, refs.get(STAGING), staged),
        RefChange(MERGE, refs.get(MERGE), store_merge(objects, kept)),
    ]
    count = kept.open_count
    change_refs(
        stores,
        [change for change in changes if change.before != change.after],
        command="merge",
        description=f"{plan.theirs.short_id}, {count_text(count, 'conflict')} kept",
        user=writer.user_name,
        now=writer.now(),
    )


def no_merge() -> NoMergeInProgressError:
    """Return the error for a call that needs a merge in progress."""
    return with_hint(
        NoMergeInProgressError("no merge, cherry-pick or revert is in progress"),
        "begin one that keeps its conflicts: tvcs merge REV --keep-conflicts",
    )


def _description(kept: KeptMerge, chosen: Chosen, decision: Decision | StoredValues) -> str:
    count = sum(1 if keys is None else len(keys) for _, keys in chosen)
    names = ", ".join(dict.fromkeys(kept.parts[place].column for place, _ in chosen))
    by = decision if isinstance(decision, str) else "a value"
    return f"{count_text(count, 'conflict')} in {names or 'no column'} by {by}"
