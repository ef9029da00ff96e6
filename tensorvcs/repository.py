"""Repository: create, open, and everything that starts from one.

This module alone opens real storage; all below it works on the three store protocols.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorvcs.checkout.areas import (
    PrivateArea,
    StagingRecord,
    WorkingArea,
    Writer,
    columns_of,
    read_staging,
)
from tensorvcs.checkout.editor import EditableCheckout
from tensorvcs.checkout.reader import Checkout
from tensorvcs.checkout.transaction import Transaction
from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import (
    BareRepositoryError,
    BranchExistsError,
    BranchInUseError,
    BranchNotFoundError,
    ClosedError,
    CorruptionError,
    InvalidInputError,
    TagExistsError,
    TagNotFoundError,
    UncommittedChangesError,
    UnmergedBranchError,
    with_hint,
)
from tensorvcs.history.ancestry import is_ancestor, merge_bases, walk
from tensorvcs.history.commit import Commit, change_refs, check_message, load_commit
from tensorvcs.history.diff import Diff, diff_columns
from tensorvcs.history.log import filter_log
from tensorvcs.history.merge import MergeResult, merge_commits
from tensorvcs.history.operations import Operation, list_operations, plan_undo
from tensorvcs.history.refs import (
    BRANCHES,
    HEAD,
    STAGING,
    TAGS,
    branch_commit,
    check_ref_name,
    current_branch,
    decode_ref,
    encode_commit_ref,
    encode_symbolic_ref,
    encode_tag_ref,
    read_annotation,
)
from tensorvcs.history.revisions import resolve
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.maintenance.statistics import Statistics, gather_statistics
from tensorvcs.maintenance.verify import VerifyReport, ref_commits, verify_repository
from tensorvcs.objects.commit import Identity, TagObject, Timestamp, check_metadata, is_unicode
from tensorvcs.storage.folder import (
    Folder,
    create_folder,
    open_folder,
    read_settings,
    write_settings,
)
from tensorvcs.storage.hdf5_tensors import Hdf5Tensors
from tensorvcs.storage.interfaces import RefChange, Stores
from tensorvcs.storage.lmdb_environment import LmdbEnvironment
from tensorvcs.storage.lmdb_objects import LmdbObjects
from tensorvcs.storage.lmdb_refs import LmdbRefs
from tensorvcs.storage.lock import StagingLock
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from tensorvcs.history.merge import Strategy

DEFAULT_BRANCH = "main"


def init(
    path: str | os.PathLike[str] = ".",
    user_name: str | None = None,
    user_email: str | None = None,
    *,
    bare: bool = False,
) -> Repository:
    """Make an empty repository and open it.

    Parameters
    ----------
    path : path
        A folder; made when it is missing. The repository lives in its `.tensorvcs`.
    user_name, user_email : str, optional
        Who commits, kept in the settings of the repository.
    bare : bool
        Without a staging area, for a server; lives in `path` itself, which must be empty.

    Raises
    ------
    RepositoryExistsError
        There is a repository at `path` or above it.
    """
    settings: dict[str, str] = {}
    if user_name is not None or user_email is not None:
        who = Identity(user_name or "", user_email or "")
        settings = {"user.name": who.name, "user.email": who.email}
    folder = create_folder(Path(path), bare=bare)
    if settings:
        write_settings(folder, settings)
    repository = Repository(folder)
    head = encode_symbolic_ref(BRANCHES + DEFAULT_BRANCH)
    repository._stores.refs.swap([RefChange(HEAD, None, head)])
    return repository


def open_repository(path: str | os.PathLike[str] = ".") -> Repository:
    """Open the repository at `path` or in the nearest folder above it.

    Raises
    ------
    RepositoryNotFoundError
        There is none.
    UnsupportedFormatError
        It was made by a newer version.
    """
    return Repository(open_folder(Path(path)))


class Repository:
    """A repository of tensor columns under version control. Opened by `init` and `open`."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        environment = LmdbEnvironment(folder.lmdb_folder)
        self._environment = environment
        self._tensors = Hdf5Tensors(folder.root, environment)
        self._objects = LmdbObjects(environment)
        self._stores = Stores(
            self._objects, self._tensors, LmdbRefs(environment), environment.write
        )
        self._nodes = Nodes(self._stores.objects)
        self._clock: Callable[[], dt.datetime] = _local_now
        self._recorded_as: Identity | None = None
        self._is_closed = False

    # Its life

    def close(self) -> None:
        """Close the files; a checkout that was opened from here cannot read any more.

        Without a call the files stay open while a checkout needs them.
        """
        if not self._is_closed:
            self._is_closed = True
            self._environment.close()

    def __enter__(self) -> Repository:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return open_repository, (str(self.path),)

    def __repr__(self) -> str:
        if self._is_closed:
            return f"<Repository {self.path} (closed)>"
        return f"<Repository {self.path} on {self.head!r}: {len(self.branches)} branches>"

    def _repr_html_(self) -> str:
        rows = [
            [("* " if name == self.head else "") + value_html(name), commit._repr_html_()]
            for name, commit in self.branches.items()
        ]
        return table_html(["branch", "commit"], rows, repr(self)[1:-1])

    @property
    def path(self) -> Path:
        """The folder of the repository."""
        return self._folder.path

    @property
    def is_bare(self) -> bool:
        """Whether there is no working staging area."""
        return self._folder.is_bare

    def _now(self) -> Timestamp:
        return Timestamp.of(self._clock())

    def _check_open(self) -> Stores:
        if self._is_closed:
            raise ClosedError(f"the repository {self.path} was closed; open it again")
        return self._stores

    # Settings

    @property
    def config(self) -> dict[str, str]:
        """The options kept with the repository, by dotted name; a copy."""
        return read_settings(self._folder)

    def set_config(self, name: str, value: str | None) -> None:
        """Set an option of the repository, or remove it with None.

        Raises
        ------
        InvalidInputError
            The name has no dot, the value is no text, or `user.name` or `user.email` is not legal.
        """
        if not isinstance(name, str) or not all(name.partition(".")) or not name.isprintable():
            raise InvalidInputError(f"option name {name!r} is not of the form 'section.name'")
        if value is not None and not (isinstance(value, str) and is_unicode(value)):
            raise InvalidInputError(f"the value of option {name!r} is no text: {value!r}")
        settings = read_settings(self._folder)
        if value is None:
            settings.pop(name, None)
        else:
            if name in ("user.name", "user.email"):
                probe = {"user.name": "x", "user.email": "x", name: value}
                Identity(probe["user.name"], probe["user.email"])
            settings[name] = value
        write_settings(self._folder, settings)

    def record_as(
        self, user: Identity | None = None, clock: Callable[[], dt.datetime] | None = None
    ) -> None:
        """Set who records and what time it is, for this object; the settings stay.

        Parameters
        ----------
        user : Identity, optional
            Comes before the user in the settings.
        clock : callable, optional
            Returns an aware datetime; the system's clock when omitted.
        """
        self._recorded_as = user
        self._clock = clock or _local_now

    @property
    def user(self) -> Identity | None:
        """Who commits when no author is given; None when not configured."""
        if self._recorded_as is not None:
            return self._recorded_as
        settings = read_settings(self._folder)
        name, email = settings.get("user.name"), settings.get("user.email")
        return Identity(name, email) if name and email else None

    # Names

    @property
    def head(self) -> str:
        """The name of the current branch."""
        return current_branch(self._check_open().refs)

    @property
    def branches(self) -> Mapping[str, Commit]:
        """The branches that have commits, by name."""
        return self._commits_under(BRANCHES)

    @property
    def tags(self) -> Mapping[str, Commit]:
        """The tags by name, with the commits they point at."""
        return self._commits_under(TAGS)

    def _commits_under(self, prefix: str) -> Mapping[str, Commit]:
        stores = self._check_open()
        return {
            name[len(prefix) :]: load_commit(
                stores.objects, decode_ref(stores.objects, name, value)
            )
            for name, value in stores.refs.items(prefix).items()
        }

    def tag_message(self, name: str) -> str | None:
        """Return the message of an annotated tag, None for a plain one."""
        stores = self._check_open()
        value = stores.refs.get(TAGS + name)
        if value is None:
            raise TagNotFoundError(f"no tag {name!r}")
        annotation = read_annotation(stores.objects, value)
        return None if annotation is None else annotation.message

    def resolve(self, revision: str) -> Commit:
        """Return the commit that a revision names.

        Raises
        ------
        RevisionNotFoundError, AmbiguousRevisionError, RevisionSyntaxError
        """
        stores = self._check_open()
        return load_commit(stores.objects, resolve(stores.objects, stores.refs, revision))

    def _resolve_any(self, revision: str | Commit) -> Commit:
        return revision if isinstance(revision, Commit) else self.resolve(revision)

    def _move(
        self,
        changes: Sequence[RefChange],
        command: str,
        description: str,
        undoes: Sequence[int] = (),
    ) -> None:
        change_refs(
            self._stores,
            changes,
            command=command,
            description=description,
            user=self._writer.user_name,
            now=self._now(),
            undoes=undoes,
        )

    def create_branch(self, name: str, at: str | Commit = "HEAD") -> Commit:
        """Make a branch at a revision and return its commit; HEAD stays.

        Raises
        ------
        RefNameError, BranchExistsError, RevisionNotFoundError
        """
        check_ref_name(name, "branch")
        commit = self._resolve_any(at)
        if self._stores.refs.get(BRANCHES + name) is not None:
            raise BranchExistsError(f"branch {name!r} exists already")
        change = RefChange(BRANCHES + name, None, encode_commit_ref(commit.digest))
        self._move([change], "branch", f"create {name} at {commit.short_id}")
        return commit

    def delete_branch(self, name: str, *, force: bool = False) -> None:
        """Delete a branch; `undo` brings it back.

        Raises
        ------
        BranchNotFoundError
        BranchInUseError
            It is the current branch.
        UnmergedBranchError
            It has commits that no other branch or tag reaches, and `force` is false.
        """
        stores = self._check_open()
        value = stores.refs.get(BRANCHES + name)
        if value is None:
            raise BranchNotFoundError(f"no branch {name!r}")
        if name == self.head:
            raise with_hint(
                BranchInUseError(f"branch {name!r} is the current one"),
                "switch to another branch first",
            )
        commit = decode_ref(stores.objects, BRANCHES + name, value)
        others = [
            other.digest
            for full, other in [
                *((BRANCHES + n, c) for n, c in self.branches.items()),
                *((TAGS + n, c) for n, c in self.tags.items()),
            ]
            if full != BRANCHES + name
        ]
        if not force and not any(is_ancestor(stores.objects, commit, other) for other in others):
            raise with_hint(
                UnmergedBranchError(f"branch {name!r} has commits that nothing else reaches"),
                f"merge it, or delete it all the same: tvcs branch --delete --force {name}",
            )
        self._move([RefChange(BRANCHES + name, value, None)], "branch", f"delete {name}")

    def rename_branch(self, old: str, new: str) -> None:
        """Give a branch another name; HEAD follows.

        Raises
        ------
        BranchNotFoundError, BranchExistsError, RefNameError
        StagingLockedError
            It is the current branch, and somebody edits it.
        """
        check_ref_name(new, "branch")
        if self.head == old and not self.is_bare:
            with self._staging_lock():
                self._rename_branch(old, new)
        else:
            self._rename_branch(old, new)

    def _rename_branch(self, old: str, new: str) -> None:
        refs = self._check_open().refs
        value = refs.get(BRANCHES + old)
        is_head = self.head == old
        if value is None and not is_head:
            raise BranchNotFoundError(f"no branch {old!r}")
        if refs.get(BRANCHES + new) is not None:
            raise BranchExistsError(f"branch {new!r} exists already")
        changes = []
        if value is not None:
            changes = [
                RefChange(BRANCHES + old, value, None),
                RefChange(BRANCHES + new, None, value),
            ]
        if is_head:
            changes.append(RefChange(HEAD, refs.get(HEAD), encode_symbolic_ref(BRANCHES + new)))
        self._move(changes, "branch", f"rename {old} to {new}")

    def switch(self, name: str, *, create: bool = False) -> None:
        """Make a branch the current one.

        Parameters
        ----------
        name : str
        create : bool
            Make the branch at HEAD first.

        Raises
        ------
        BranchNotFoundError
        UncommittedChangesError
            The staging area has changes; commit or reset them first.
        """
        refs = self._check_open().refs
        self._check_not_bare()
        with self._staging_lock():
            if create:
                self._switch_to_new(name)
                return
            if name == self.head:
                return
            if refs.get(BRANCHES + name) is None:
                check_ref_name(name, "branch")
                raise with_hint(
                    BranchNotFoundError(f"no branch {name!r}"),
                    f"make it with 'tvcs switch -c {name}'",
                )
            self._check_clean("switch branches")
            change = RefChange(HEAD, refs.get(HEAD), encode_symbolic_ref(BRANCHES + name))
            self._move([change], "switch", f"from {self.head} to {name}")

    def _switch_to_new(self, name: str) -> None:
        """Make a branch at HEAD and switch to it; what is staged comes along."""
        check_ref_name(name, "branch")
        refs = self._stores.refs
        if refs.get(BRANCHES + name) is not None:
            raise BranchExistsError(f"branch {name!r} exists already")
        value = refs.get(BRANCHES + self.head)
        changes = [RefChange(HEAD, refs.get(HEAD), encode_symbolic_ref(BRANCHES + name))]
        if value is not None:
            changes.append(RefChange(BRANCHES + name, None, value))
        self._move(changes, "switch", f"from {self.head} to new branch {name}")

    def create_tag(
        self, name: str, at: str | Commit = "HEAD", message: str | None = None
    ) -> Commit:
        """Make a tag at a revision, annotated when a message is given; return its commit.

        Raises
        ------
        RefNameError, TagExistsError, RevisionNotFoundError
        """
        check_ref_name(name, "tag")
        commit = self._resolve_any(at)
        refs, objects = self._stores.refs, self._stores.objects
        if refs.get(TAGS + name) is not None:
            raise TagExistsError(f"tag {name!r} exists already, at {self.tags[name].short_id}")
        with self._stores.transaction():
            value = encode_commit_ref(commit.digest)
            if message is not None:
                tagger = self._writer.author(None)
                tag = TagObject(commit.digest, name, tagger, self._now(), check_message(message))
                objects.put([tag.encode()])
                value = encode_tag_ref(tag.digest)
            self._move([RefChange(TAGS + name, None, value)], "tag", f"create {name}")
        return commit

    def delete_tag(self, name: str) -> None:
        """Delete a tag; raise TagNotFoundError when there is none."""
        value = self._check_open().refs.get(TAGS + name)
        if value is None:
            raise TagNotFoundError(f"no tag {name!r}")
        self._move([RefChange(TAGS + name, value, None)], "tag", f"delete {name}")

    # History

    def log(
        self,
        revision: str | Commit = "HEAD",
        *,
        column: str | None = None,
        key: Any = None,
        author: str | None = None,
        since: dt.datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Commit]:
        """Iterate over the commits that a revision reaches, newest first.

        Parameters
        ----------
        revision : str or Commit
        column : str, optional
            Only commits that changed the column.
        key : str or int, optional
            Only commits that changed this sample, in `column` or in any column; a pair for a
            subsample.
        author : str, optional
            Only commits whose author's name or mail contains this text, in any case.
        since : datetime, optional
            Only commits made at that time or later; without a time zone it is local time.
        limit : int, optional

        Notes
        -----
        Lazy: a commit is read when its turn comes. With `column` or `key` a commit costs a
        look-up in the trees of its parents.
        """
        start = self._resolve_any(revision)
        stores = self._check_open()
        commits = (Commit(d, o) for d, o in walk(stores.objects, [start.digest]))
        return filter_log(
            commits,
            stores.objects,
            self._nodes,
            column=column,
            key=key,
            author=author,
            since=since,
            limit=limit,
        )

    def merge_base(self, a: str | Commit, b: str | Commit) -> Commit | None:
        """Return a best common ancestor of two revisions, None when they have none."""
        bases = merge_bases(
            self._check_open().objects, self._resolve_any(a).digest, self._resolve_any(b).digest
        )
        return load_commit(self._stores.objects, bases[0]) if bases else None

    def diff(
        self,
        a: str | Commit | None,
        b: str | Commit = "HEAD",
        *,
        columns: Sequence[str] | None = None,
    ) -> Diff:
        """Return what changed from revision `a` to revision `b`, by column and sample.

        With None for `a`, everything in `b` is new.

        Notes
        -----
        Lazy and by column: nodes that both sides share are never read.
        """
        before = {} if a is None else self._columns_of(self._resolve_any(a))
        after = self._columns_of(self._resolve_any(b))
        return diff_columns(self._nodes, before, after, self._stores.tensors, names=columns)

    def _columns_of(self, commit: Commit) -> Any:
        return read_snapshot(self._stores.objects, commit.object.snapshot)

    def merge(
        self,
        revision: str | Commit,
        into: str | None = None,
        *,
        message: str | None = None,
        strategy: Strategy = "fail",
        author: Identity | str | None = None,
        fast_forward: bool = True,
    ) -> MergeResult:
        """Merge a revision into a branch.

        Parameters
        ----------
        revision : str or Commit
        into : str, optional
            A branch; the current one when omitted.
        message : str, optional
        strategy : {"fail", "ours", "theirs"}
            What a conflict does: raise, or take the value of one side. Either way
            `MergeResult.conflicts` or the error lists every conflict.
        author : Identity or str, optional
            ``Name <mail>``; the user of the repository when omitted.
        fast_forward : bool
            Whether to move the branch without a merge commit where that is possible.

        Raises
        ------
        MergeConflictError
            Both sides changed the same samples; nothing was changed.
        UnrelatedHistoriesError
            No common ancestor.
        UncommittedChangesError
            The branch is the current one and the staging area has changes.
        """
        stores = self._check_open()
        theirs = self._resolve_any(revision)
        branch = self.head if into is None else into
        if stores.refs.get(BRANCHES + branch) is None:
            raise BranchNotFoundError(f"no branch {branch!r} to merge into, or it has no commits")
        name = revision if isinstance(revision, str) else theirs.short_id

        def run() -> MergeResult:
            with stores.transaction():
                return merge_commits(
                    stores,
                    self._nodes,
                    branch,
                    theirs,
                    strategy=strategy,
                    author=self._writer.author(Identity.of(author)),
                    now=self._now(),
                    message=message or f"Merge {name} into {branch}",
                    allow_fast_forward=fast_forward,
                )

        if branch != self.head or self.is_bare:
            result = run()
        else:
            with self._staging_lock():
                self._check_clean("merge")
                result = run()
        self._upkeep()
        return result

    def reset(self, revision: str | Commit = "HEAD") -> Commit:
        """Move the current branch to a revision and drop what is staged; `undo` takes it back.

        Raises
        ------
        RevisionNotFoundError
            Nothing has that name; before the first commit ``edit().reset()`` drops what is staged.
        StagingLockedError, BareRepositoryError
        """
        stores = self._check_open()
        self._check_not_bare()
        refs = stores.refs
        # Resolved inside the transaction, so that no commit made meanwhile is left behind.
        with self._staging_lock(), stores.transaction():
            branch = self.head
            name = BRANCHES + branch
            commit = self._resolve_any(revision)
            changes = [
                RefChange(name, refs.get(name), encode_commit_ref(commit.digest)),
                RefChange(STAGING, refs.get(STAGING), None),
            ]
            changes = [change for change in changes if change.before != change.after]
            if changes:
                self._move(changes, "reset", f"{branch} to {commit.short_id}")
        return commit

    # The operation log

    def operations(self, limit: int | None = None) -> list[Operation]:
        """Return the recorded operations, newest first."""
        return list_operations(self._check_open().refs, limit)

    def undo(self, n: int = 1) -> list[Operation]:
        """Take back the newest `n` operations, and return them.

        What was undone before is passed over, so that calling twice goes back twice.

        Raises
        ------
        NothingToUndoError
            Fewer operations are left to undo.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InvalidInputError(f"cannot undo {n!r} operations; expected 1 or more")
        stores = self._check_open()

        def run() -> list[Operation]:
            undone, changes = plan_undo(stores.refs, n)
            numbers = [operation.number for operation in undone]
            newest, oldest = undone[0], undone[-1]
            what = f"{newest.command}: {newest.description}"
            if len({o.continues or o.number for o in undone}) > 1:
                what = f"{n} operations back to before {oldest.command}: {oldest.description}"
            self._move(changes, "undo", what, undoes=numbers)
            return undone

        # In one transaction, so that no commit made meanwhile is taken back unseen.
        if self.is_bare:
            with stores.transaction():
                return run()
        with self._staging_lock(), stores.transaction():
            return run()

    # Checkouts

    def checkout(self, revision: str | Commit = "HEAD") -> Checkout:
        """Return the columns of a commit, read-only."""
        return Checkout(self._check_open(), self._resolve_any(revision), self._nodes)

    def edit(self, branch: str | None = None) -> EditableCheckout:
        """Open the working staging area to change columns.

        Parameters
        ----------
        branch : str, optional
            Switch to this branch first.

        Raises
        ------
        StagingLockedError
            Another process edits it.
        BareRepositoryError, BranchNotFoundError, UncommittedChangesError
        """
        stores = self._check_open()
        self._check_not_bare()
        if branch is not None and branch != self.head:
            self.switch(branch)
        lock = self._staging_lock()
        try:
            name = self.head
            area = WorkingArea(stores, self._nodes, name, self._writer, lock.release)
            base_columns = columns_of(stores, area.base)
            record = read_staging(stores.refs)
            columns = base_columns
            if record is not None:
                columns = read_snapshot(stores.objects, record.snapshot)
            base = None if area.base is None else load_commit(stores.objects, area.base)
        except BaseException:
            lock.release()
            raise
        return EditableCheckout(
            self._writer_stores(),
            self._nodes,
            branch=name,
            base=base,
            base_columns=base_columns,
            columns=columns,
            area=area,
        )

    def transaction(
        self,
        branch: str | None = None,
        message: str = "Update",
        *,
        author: Identity | str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Transaction:
        """Open a private staging area that commits when it is left.

        Parameters
        ----------
        branch : str, optional
            The current one when omitted.
        message : str
        author : Identity or str, optional
        metadata : mapping of str to str, optional

        Notes
        -----
        Any number of transactions may be open in any number of processes; one that commits
        later is merged onto the earlier one by sample, and a true conflict raises
        MergeConflictError.
        """
        stores = self._check_open()
        name = self.head if branch is None else branch
        if name != self.head and stores.refs.get(BRANCHES + name) is None:
            raise BranchNotFoundError(f"no branch {name!r}")
        check_message(message)
        check_metadata(metadata)
        who = self._writer.author(Identity.of(author))
        stores = self._writer_stores()
        area = PrivateArea(stores, self._nodes, name, self._writer)
        columns = columns_of(stores, area.base)
        base = None if area.base is None else load_commit(stores.objects, area.base)
        editor = EditableCheckout(
            stores,
            self._nodes,
            branch=name,
            base=base,
            base_columns=columns,
            columns=columns,
            area=area,
        )
        return Transaction(editor, message, who, metadata)

    def _writer_stores(self) -> Stores:
        """Return stores whose tensor store has a writer of its own."""
        return Stores(
            self._objects,
            Hdf5Tensors(self._folder.root, self._environment),
            self._stores.refs,
            self._stores.transaction,
        )

    def staged(
        self, since: str | Commit | None = None, *, columns: Sequence[str] | None = None
    ) -> Diff:
        """Return the changes in the working staging area.

        Parameters
        ----------
        since : str or Commit, optional
            The revision to compare with; the commit that the changes started from when omitted.
        columns : sequence of str, optional
            Only these columns.

        Notes
        -----
        Takes no lock; another process may be editing.
        """
        stores = self._check_open()
        record = self._staging_record()
        base = self.staging_base
        before = base if since is None else self._resolve_any(since)
        after = columns_of(stores, None if base is None else base.digest)
        if record is not None:
            after = read_snapshot(stores.objects, record.snapshot)
        return diff_columns(
            self._nodes,
            columns_of(stores, None if before is None else before.digest),
            after,
            stores.tensors,
            names=columns,
        )

    @property
    def staging_base(self) -> Commit | None:
        """The commit that staged changes are made over; None before the first commit.

        The head of the current branch, unless another writer moved that branch since.
        """
        stores = self._check_open()
        record = self._staging_record()
        head = branch_commit(stores.objects, stores.refs, self.head)
        digest = head if record is None else record.base
        return None if digest is None else load_commit(stores.objects, digest)

    @property
    def is_dirty(self) -> bool:
        """Whether the working staging area has flushed changes."""
        return self._staging_record() is not None

    def _staging_record(self) -> StagingRecord | None:
        return read_staging(self._check_open().refs)

    def _staging_lock(self) -> StagingLock:
        return StagingLock(self._folder.lock_file)

    def _check_not_bare(self) -> None:
        if self.is_bare:
            raise BareRepositoryError(f"the repository {self.path} is bare: it has no staging area")

    def _check_clean(self, wish: str) -> None:
        if self.is_dirty:
            raise with_hint(
                UncommittedChangesError(f"cannot {wish}: the staging area has changes"),
                "commit them, or drop them with 'tvcs reset'",
            )

    @property
    def _writer(self) -> Writer:
        return Writer(lambda: self.user, self._now, self._upkeep)

    # Upkeep

    def _upkeep(self) -> None:
        """Gather loose values into packs when they have become many."""
        self._tensors.repack_loose()

    def repack(self) -> None:
        """Gather loose values and small packs into larger packs."""
        self._check_open()
        self._tensors.repack_loose(force=True)

    def verify(
        self,
        revision: str | Commit | None = None,
        *,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> VerifyReport:
        """Check every digest, link and checksum; nothing is changed.

        Parameters
        ----------
        revision : str or Commit, optional
            Only what this revision reaches; everything when omitted.
        progress : callable, optional
            Called with the number of commits checked so far, and None.

        Returns
        -------
        VerifyReport
            `is_sound`, counts, and the problems found.
        """
        stores = self._check_open()
        if revision is not None:
            commit = self._resolve_any(revision)
            starts = {commit.short_id: commit.digest}
            return verify_repository(
                stores, self._nodes, starts, {}, check_values=None, progress=progress
            )
        starts, problems = ref_commits(stores)
        snapshots = {}
        try:
            record = self._staging_record()
        except CorruptionError as error:
            problems.append(("staging area", error))
        else:
            if record is not None:
                snapshots["staging area"] = record.snapshot
        report = verify_repository(
            stores,
            self._nodes,
            starts,
            snapshots,
            check_values=self._tensors.verify,
            progress=progress,
        )
        report.problems[:0] = problems
        report.value_count = self._tensors.stats().value_count
        return report

    def stats(self) -> Statistics:
        """Return counts and sizes: commits, columns, samples, packs, bytes on disk."""
        self._check_open()
        return gather_statistics(self._stores, self._tensors.stats(), self._environment.file_nbytes)


def _local_now() -> dt.datetime:
    return dt.datetime.now().astimezone()
