"""Where an editor keeps its changes: the working staging area, or a private one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.errors import (
    BranchNotFoundError,
    ConflictError,
    IdentityMissingError,
    MergeConflictError,
    NothingToCommitError,
    ObjectDamagedError,
    StateError,
    with_hint,
)
from tensorvcs.history.commit import change_refs, load_commit, new_commit
from tensorvcs.history.merge import merge_columns
from tensorvcs.history.refs import BRANCHES, STAGING, branch_commit, encode_commit_ref
from tensorvcs.history.snapshot import encode_snapshot, read_snapshot, write_snapshot
from tensorvcs.objects.digest import CommitDigest, SnapshotDigest
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorvcs.history.commit import Commit
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.commit import Identity, Timestamp
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
        except (ValueError, KeyError, TypeError) as error:
            raise ObjectDamagedError(f"the staging ref cannot be read: {error}") from error


def read_staging(refs: RefStore) -> StagingRecord | None:
    """Return what is staged in the working staging area, or None when it is clean."""
    value = refs.get(STAGING)
    return None if value is None else StagingRecord.decode(value)


class WorkingArea:
    """The persistent staging area of a repository; its lock is held until `close`."""

    def __init__(
        self,
        stores: Stores,
        nodes: Nodes,
        branch: str,
        writer: Writer,
        release: Callable[[], None],
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._branch = branch
        self._writer = writer
        self._release = release
        self._base = branch_commit(stores.objects, stores.refs, branch)
        record = read_staging(stores.refs)
        if record is not None:
            self._base = record.base
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
        if after == before:
            return
        change_refs(
            self._stores,
            [RefChange(STAGING, before, after)],
            command="stage",
            description=f"changes over branch {self._branch}",
            user=self._writer.user_name,
            now=self._writer.now(),
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
    ) -> tuple[Commit, Columns] | BranchNotFoundError | StateError | ConflictError:
        # Staged first, even what was never flushed, so that undoing the commit gives it back.
        self.save(columns)
        staged = self._stores.refs.get(STAGING)
        extra = [] if staged is None else [RefChange(STAGING, staged, None)]
        made = commit_columns(
            self._stores,
            self._nodes,
            branch=self._branch,
            base=self._base,
            columns=columns,
            message=message,
            author=self._writer.author(author),
            writer=self._writer,
            metadata=metadata,
            extra_changes=extra,
        )
        if isinstance(made, tuple):
            self._base = made[0].digest
            self._first_flush = None
        return made

    def check_identity(self, author: Identity | None) -> None:
        self._writer.author(author)

    def after_commit(self) -> None:
        self._writer.after_commit()

    def close(self) -> None:
        self._release()


class PrivateArea:
    """The staging area of one transaction: nobody else sees it, and a crash forgets it."""

    def __init__(self, stores: Stores, nodes: Nodes, branch: str, writer: Writer) -> None:
        self._stores = stores
        self._nodes = nodes
        self._branch = branch
        self._writer = writer
        self.base = branch_commit(stores.objects, stores.refs, branch)

    def save(self, columns: Columns) -> None:
        write_snapshot(self._stores.objects, columns)

    def commit(
        self,
        columns: Columns,
        message: str,
        author: Identity | None,
        metadata: Mapping[str, str] | None,
    ) -> tuple[Commit, Columns] | BranchNotFoundError | StateError | ConflictError:
        made = commit_columns(
            self._stores,
            self._nodes,
            branch=self._branch,
            base=self.base,
            columns=columns,
            message=message,
            author=self._writer.author(author),
            writer=self._writer,
            metadata=metadata,
            extra_changes=[],
        )
        if isinstance(made, tuple):
            self.base = made[0].digest
        return made

    def check_identity(self, author: Identity | None) -> None:
        self._writer.author(author)

    def after_commit(self) -> None:
        self._writer.after_commit()

    def close(self) -> None:
        pass


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
) -> tuple[Commit, Columns] | BranchNotFoundError | StateError | ConflictError:
    """Commit columns that were made over `base` to a branch, inside a transaction.

    When the branch is not at `base` any more, what changed since `base` is merged onto it by
    sample; the commit then has the branch as its one parent.
    """
    head = branch_commit(stores.objects, stores.refs, branch)
    if head is None and base is not None:
        return with_hint(
            BranchNotFoundError(f"branch {branch!r} was deleted or renamed in the meantime"),
            f"make it anew: tvcs branch {branch} {base.hex()[:12]}",
        )
    if head != base:
        ours = columns_of(stores, head)
        merged = merge_columns(nodes, columns_of(stores, base), ours, columns)
        if merged.conflicts:
            return MergeConflictError(
                f"branch {branch!r} has moved, and {len(merged.conflicts)} changes conflict "
                "with those staged",
                merged.conflicts,
            )
        columns = merged.columns
    snapshot = write_snapshot(stores.objects, columns)
    head_snapshot = None if head is None else load_commit(stores.objects, head).object.snapshot
    if snapshot == head_snapshot or (head is None and not columns):
        return with_hint(
            NothingToCommitError(f"nothing differs from branch {branch!r}"),
            "change a sample first; 'tvcs status' shows what is staged",
        )
    commit = new_commit(
        stores.objects,
        snapshot,
        () if head is None else (head,),
        author=author,
        now=writer.now(),
        message=message,
        metadata=metadata,
    )
    before = None if head is None else encode_commit_ref(head)
    name = BRANCHES + branch
    change_refs(
        stores,
        [RefChange(name, before, encode_commit_ref(commit.digest)), *extra_changes],
        command="commit",
        description=f"{commit.short_id} to {branch}: {commit.summary[:60]}",
        user=writer.user_name,
        now=writer.now(),
    )
    return commit, columns
