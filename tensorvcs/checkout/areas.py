"""Where an editor keeps its changes: the working staging area, or a private one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.errors import (
    BranchNotFoundError,
    IdentityMissingError,
    InvalidInputError,
    MergeConflictError,
    MergeInProgressError,
    NothingToCommitError,
    ObjectDamagedError,
    ObjectNotFoundError,
    OpenConflictsError,
    SchemaMismatchError,
    with_hint,
)
from tensorvcs.history.amend import amend_commit
from tensorvcs.history.commit import Commit, change_refs, load_commit, new_commit
from tensorvcs.history.merging.column_merge import decided_note, merge_columns
from tensorvcs.history.merging.merge_progress import KeptMerge, read_merge
from tensorvcs.history.merging.recency import TheirsIsNewer
from tensorvcs.history.refs import BRANCHES, MERGE, STAGING, branch_commit, encode_commit_ref
from tensorvcs.history.snapshot import encode_snapshot, read_snapshot, write_snapshot
from tensorvcs.objects.digest import CommitDigest, SnapshotDigest
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorvcs.errors import TensorVCSError
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.commit import Identity, Timestamp
    from tensorvcs.signing.signer import Signer
    from tensorvcs.storage.interfaces import RefStore, Stores
    from tensorvcs.tree.nodes import Nodes


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes and when, and the upkeep after a commit: what an area needs from outside."""

    user: Callable[[], Identity | None]
    now: Callable[[], Timestamp]
    after_commit: Callable[[], None]

    def author(self, author: Identity | None) -> Identity:
        """Return the author of a commit; raise IdentityMissingError when there is none."""
        who = author or self.user()
        if who is None:
            raise with_hint(
                IdentityMissingError("a commit needs an author, and no user is configured"),
                "tvcs config user.name 'Your Name' && tvcs config user.email you@example.org",
            )
        return who

    @property
    def user_name(self) -> str:
        """Who the operation log names."""
        who = self.user()
        return "" if who is None else str(who)


@dataclass(frozen=True, slots=True)
class StagingRecord:
    """The value of the staging ref: what is staged, and the commit it started from."""

    base: CommitDigest | None
    snapshot: SnapshotDigest

    def encode(self) -> bytes:
        """Return the value of the ref."""
        base = None if self.base is None else self.base.hex()
        return json.dumps({"base": base, "snapshot": self.snapshot.hex()}).encode()

    @classmethod
    def decode(cls, value: bytes) -> StagingRecord:
        """Read the value of the ref; raise ObjectDamagedError when it is none."""
        try:
            fields = json.loads(value)
            base = fields["base"]
            return cls(
                None if base is None else CommitDigest(bytes.fromhex(base)),
                SnapshotDigest(bytes.fromhex(fields["snapshot"])),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ObjectDamagedError(f"the staging ref cannot be read: {error}") from error


def read_staging(refs: RefStore) -> StagingRecord | None:
    """Return what is staged in the working staging area, or None when it is clean."""
    value = refs.get(STAGING)
    return None if value is None else StagingRecord.decode(value)


def split_reason(reason: str | None, branch: str) -> tuple[str, str]:
    """Return the verb and the words of an entry in the operation log.

    Raises
    ------
    InvalidInputError
        The reason is no text, or has none in it.
    """
    if reason is None:
        return "edit", f"branch {branch}"
    if not isinstance(reason, str) or not reason.strip():
        raise InvalidInputError(f"a reason is a text such as 'clean: drop blurred', not {reason!r}")
    # The name of a file may have bytes that are no text.
    text = reason.strip().encode(errors="backslashreplace").decode()
    command, colon, description = text.partition(": ")
    return (command, description) if colon else ("edit", command)


class WorkingArea:
    """The persistent staging area of a repository; its lock is held until `close`."""

    def __init__(
        self,
        stores: Stores,
        nodes: Nodes,
        branch: str,
        writer: Writer,
        release: Callable[[], None],
        reason: str | None = None,
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._branch = branch
        self.writer = writer
        self._release = release
        self._reason = split_reason(reason, branch)
        self._base = staging_base(stores, branch)
        self._gives_up_merge = False
        self._first_flush: int | None = None

    @property
    def base(self) -> CommitDigest | None:
        """The commit that the staged changes are made over."""
        return self._base

    def save(self, columns: Columns) -> None:
        refs, objects = self._stores.refs, self._stores.objects
        before = refs.get(STAGING)
        snapshot = write_snapshot(objects, columns)
        is_clean = encode_snapshot(columns) == encode_snapshot(columns_of(self._stores, self._base))
        after = None if is_clean else StagingRecord(self._base, snapshot).encode()
        changes = [RefChange(STAGING, before, after)]
        if self._gives_up_merge:
            changes.append(RefChange(MERGE, refs.get(MERGE), None))
            self._gives_up_merge = False
        changes = [change for change in changes if change.before != change.after]
        if not changes:
            return
        command, description = self._reason
        change_refs(
            self._stores,
            changes,
            command=command,
            description=description,
            user=self.writer.user_name,
            now=self.writer.now(),
            continues=self._first_flush,
        )
        if self._first_flush is None:
            self._first_flush = refs.operations(1)[0][0]

    def commit(
        self,
        columns: Columns,
        message: str,
        author: Identity | None,
        metadata: Mapping[str, str] | None,
        signer: Signer | None = None,
    ) -> tuple[Commit, Columns] | TensorVCSError:
        # Staged first, even what was never flushed, so that undoing the commit gives it back.
        self.save(columns)
        refs = self._stores.refs
        kept = read_merge(self._stores.objects, refs)
        if kept is not None and kept.open_count:
            return open_conflicts(kept)
        intent = None if kept is None else kept.intent
        changes = [RefChange(name, refs.get(name), None) for name in (STAGING, MERGE)]
        made = commit_columns(
            self._stores,
            self._nodes,
            branch=self._branch,
            base=self._base,
            columns=columns,
            message=message,
            author=self.writer.author(author or (intent.author if intent else None)),
            writer=self.writer,
            metadata={**(intent.metadata if intent else {}), **(metadata or {})},
            signer=signer,
            extra_changes=[change for change in changes if change.before is not None],
            author_time=intent.author_time if intent and author is None else None,
            merged=[intent.theirs] if intent and intent.is_merge else [],
        )
        if isinstance(made, NothingToCommitError) and kept is not None:
            made.hint = "nothing is left of it; give it up: tvcs merge --abort"
        if isinstance(made, tuple):
            self._base = made[0].digest
            self._first_flush = None
        return made

    def amend(
        self,
        columns: Columns,
        message: str | None,
        author: Identity | None,
        metadata: Mapping[str, str],
        signer: Signer | None = None,
    ) -> tuple[Commit, Columns] | TensorVCSError:
        # Staged first, as for a commit, so that undoing it gives the changes back.
        self.save(columns)
        if self._stores.refs.get(MERGE) is not None:
            return with_hint(
                MergeInProgressError("cannot amend a commit: a merge waits in the staging area"),
                "finish it with 'tvcs merge --continue', or give it up: tvcs merge --abort",
            )
        staged = self._stores.refs.get(STAGING)
        made = amend_commit(
            self._stores,
            self._branch,
            self._base,
            columns,
            message=message,
            author=author,
            committer=self.writer.author(None),
            now=self.writer.now(),
            metadata=metadata,
            extra_changes=[] if staged is None else [RefChange(STAGING, staged, None)],
            signer=signer,
        )
        if not isinstance(made, Commit):
            return made
        self._base = made.digest
        self._first_flush = None
        return made, columns

    def give_up_merge(self) -> None:
        self._gives_up_merge = self._stores.refs.get(MERGE) is not None

    def close(self) -> None:
        self._release()


class PrivateArea:
    """The staging area of one transaction: nobody else sees it, and a crash forgets it.

    What it keeps is named by no ref; `release` is called when nothing of it is needed any more.
    """

    def __init__(
        self,
        stores: Stores,
        nodes: Nodes,
        branch: str,
        writer: Writer,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._release = release
        self._stores = stores
        self._nodes = nodes
        self._branch = branch
        self.writer = writer
        self.base = branch_commit(stores.objects, stores.refs, branch)

    def save(self, columns: Columns) -> None:
        write_snapshot(self._stores.objects, columns)

    def commit(
        self,
        columns: Columns,
        message: str,
        author: Identity | None,
        metadata: Mapping[str, str] | None,
        signer: Signer | None = None,
    ) -> tuple[Commit, Columns] | TensorVCSError:
        made = commit_columns(
            self._stores,
            self._nodes,
            branch=self._branch,
            base=self.base,
            columns=columns,
            message=message,
            author=self.writer.author(author),
            writer=self.writer,
            metadata=metadata,
            signer=signer,
            extra_changes=[],
        )
        if isinstance(made, tuple):
            self.base = made[0].digest
        return made

    def amend(
        self,
        columns: Columns,
        message: str | None,
        author: Identity | None,
        metadata: Mapping[str, str],
        signer: Signer | None = None,
    ) -> tuple[Commit, Columns] | TensorVCSError:
        made = amend_commit(
            self._stores,
            self._branch,
            self.base,
            columns,
            message=message,
            author=author,
            committer=self.writer.author(None),
            now=self.writer.now(),
            metadata=metadata,
            extra_changes=[],
            signer=signer,
        )
        if not isinstance(made, Commit):
            return made
        self.base = made.digest
        return made, columns

    def give_up_merge(self) -> None:
        pass

    def close(self) -> None:
        self._release()


def staging_base(stores: Stores, branch: str) -> CommitDigest | None:
    """Return the commit that what is staged on a branch is made over, None before the first.

    A merge that waits is over the commit that it began with, also while nothing is staged.
    """
    record = read_staging(stores.refs)
    if record is not None:
        return record.base
    kept = read_merge(stores.objects, stores.refs)
    if kept is not None:
        return kept.intent.head
    return branch_commit(stores.objects, stores.refs, branch)


def open_conflicts(kept: KeptMerge) -> OpenConflictsError:
    """Return the error for a commit while a merge has open conflicts."""
    count, verb = kept.open_count, kept.intent.verb
    return with_hint(
        OpenConflictsError(
            f"the {verb} of {kept.intent.theirs.hex()[:12]} has {count} open "
            f"{'conflict' if count == 1 else 'conflicts'}"
        ),
        "'tvcs conflicts' lists them; decide them with 'tvcs resolve'",
    )


def columns_of(stores: Stores, commit: CommitDigest | None) -> Columns:
    """Return the columns of a commit; none before the first commit."""
    if commit is None:
        return {}
    return read_snapshot(stores.objects, load_commit(stores.objects, commit).object.snapshot)


def commit_columns(
    stores: Stores,
    nodes: Nodes,
    *,
    branch: str,
    base: CommitDigest | None,
    columns: Columns,
    message: str,
    author: Identity,
    writer: Writer,
    metadata: Mapping[str, str] | None,
    extra_changes: list[RefChange],
    signer: Signer | None = None,
    author_time: Timestamp | None = None,
    merged: Sequence[CommitDigest] = (),
) -> tuple[Commit, Columns] | TensorVCSError:
    """Commit columns that were made over `base` to a branch, inside a transaction.

    When the branch is not at `base` any more, what changed since `base` is merged onto it by
    sample, with the merge policies kept in the schemas; the commit then has the branch as its one
    parent. A commit that records a merge has the merged commits as further parents, and may leave
    everything as it is on the branch.
    """
    head = branch_commit(stores.objects, stores.refs, branch)
    if head is None and base is not None:
        return with_hint(
            BranchNotFoundError(f"branch {branch!r} was deleted or renamed in the meantime"),
            f"make it anew: tvcs branch {branch} {base.hex()[:12]}",
        )
    note = ""
    if head != base:
        ours = columns_of(stores, head)
        try:
            onto_head = merge_columns(
                nodes,
                stores.tensors,
                columns_of(stores, base),
                ours,
                columns,
                recency=TheirsIsNewer(),
            )
        except (SchemaMismatchError, ObjectNotFoundError) as error:
            # A policy kept in a schema has no value; what is staged must not be lost for that.
            stores.tensors.discard()
            return error
        if onto_head.conflicts:
            stores.tensors.discard()
            return MergeConflictError(
                f"branch {branch!r} has moved, and {len(onto_head.conflicts)} changes conflict "
                "with those staged",
                onto_head.conflicts,
            )
        stores.tensors.seal()
        columns, note = onto_head.columns, decided_note(len(onto_head.decided))
    snapshot = write_snapshot(stores.objects, columns)
    head_snapshot = None if head is None else load_commit(stores.objects, head).object.snapshot
    if not merged and (snapshot == head_snapshot or (head is None and not columns)):
        return with_hint(
            NothingToCommitError(f"nothing differs from branch {branch!r}"),
            "change a sample first; 'tvcs status' shows what is staged",
        )
    commit = new_commit(
        stores.objects,
        snapshot,
        (*(() if head is None else (head,)), *merged),
        author=author,
        author_time=author_time,
        now=writer.now(),
        message=message,
        committer=writer.user(),
        metadata=metadata,
        signer=signer,
    )
    before = None if head is None else encode_commit_ref(head)
    name = BRANCHES + branch
    change_refs(
        stores,
        [RefChange(name, before, encode_commit_ref(commit.digest)), *extra_changes],
        command="commit",
        description=f"{commit.short_id} to {branch}: {commit.summary[:60]}{note}",
        user=writer.user_name,
        now=writer.now(),
    )
    return commit, columns
