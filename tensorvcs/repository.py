"""Repository: create, open, and everything that starts from one.

This module alone opens real storage; all below it works on the three store protocols.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tensorvcs.checkout.areas import (
    PrivateArea,
    StagingRecord,
    WorkingArea,
    Writer,
    columns_of,
    read_staging,
    staging_base,
)
from tensorvcs.checkout.bisecting import Bisect, BisectRules
from tensorvcs.checkout.detached import DetachedArea
from tensorvcs.checkout.editor import EditableCheckout
from tensorvcs.checkout.merge_in_progress import MergeInProgress, keep_merge
from tensorvcs.checkout.picking import PickMode, pick_commits
from tensorvcs.checkout.reader import Checkout
from tensorvcs.checkout.ref_moves import RefMove, describe_changes
from tensorvcs.checkout.stash import (
    Stash,
    StashRecord,
    apply_stash,
    drop_stash,
    find_stash,
    iter_records,
    list_stashes,
    push_stash,
    reset_part,
)
from tensorvcs.checkout.transaction import Transaction
from tensorvcs.checkout.trials import Trials
from tensorvcs.connections import connected, open_bundle, promisor_of, rescue_of, resolve_url
from tensorvcs.display.counting import count_text
from tensorvcs.display.html import table_html, value_html
from tensorvcs.display.progress import count_progress, transfer_progress
from tensorvcs.errors import (
    BareRepositoryError,
    BranchExistsError,
    BranchInUseError,
    BranchNotFoundError,
    ClosedError,
    CorruptionError,
    DigestMismatchError,
    InvalidInputError,
    MergeInProgressError,
    ObjectDamagedError,
    ObjectNotFoundError,
    RemoteExistsError,
    RemoteNotFoundError,
    TagExistsError,
    TagNotFoundError,
    UncommittedChangesError,
    UnmergedBranchError,
    with_hint,
)
from tensorvcs.history.ancestry import is_ancestor, merge_bases, read_commit, walk
from tensorvcs.history.blaming.blamed import blame_column
from tensorvcs.history.blaming.sample_history import sample_history
from tensorvcs.history.commit import (
    Commit,
    change_refs,
    check_message,
    check_targets,
    load_commit,
)
from tensorvcs.history.difference.diff import Diff, diff_columns
from tensorvcs.history.log import filter_log
from tensorvcs.history.merging.merge import (
    MergePlan,
    MergePreview,
    MergeResult,
    merge_commits,
    preview_merge,
)
from tensorvcs.history.merging.merge_progress import merge_reach, read_merge
from tensorvcs.history.merging.policies import Policies
from tensorvcs.history.operations import Operation, changes_to, list_operations, plan_undo
from tensorvcs.history.past_refs import PastRefs, find_operation, plan_restore
from tensorvcs.history.picking.picking import PickRequest
from tensorvcs.history.picking.selection import Selection
from tensorvcs.history.placing import plan_branches
from tensorvcs.history.refs import (
    BRANCHES,
    HEAD,
    MERGE,
    REMOTE_BRANCHES,
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
    ref_digest,
)
from tensorvcs.history.revisions import resolve, split_range
from tensorvcs.history.runs import Run, delete_run, find_run, list_runs, record_run
from tensorvcs.history.signatures import SignatureCheck, check_signature
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.maintenance.gc import GcReport, Release, collect
from tensorvcs.maintenance.release import releasing
from tensorvcs.maintenance.repack import RepackReport, reading_order
from tensorvcs.maintenance.repair import Means, Repair, repair_repository
from tensorvcs.maintenance.statistics import Statistics, gather_statistics
from tensorvcs.maintenance.verify import (
    Problem,
    VerifyReport,
    check_log,
    ref_commits,
    verify_repository,
)
from tensorvcs.objects.commit import Identity, TagObject, Timestamp, check_metadata, is_unicode
from tensorvcs.objects.moments import seconds_of
from tensorvcs.signing.allowed_signers import AllowedSigners
from tensorvcs.signing.ed25519 import is_signed_by
from tensorvcs.signing.signer import check_signer
from tensorvcs.storage.durable import new_file
from tensorvcs.storage.folder import (
    Folder,
    changing_settings,
    create_folder,
    find_folder,
    is_vacant,
    open_folder,
    read_settings,
)
from tensorvcs.storage.format_file import format_problems, mend_format
from tensorvcs.storage.garbage_site import GarbageSite
from tensorvcs.storage.hdf5_tensors import Hdf5Tensors
from tensorvcs.storage.interfaces import ObjectStore, RefChange, RefStore, Stores, TensorStore
from tensorvcs.storage.leases import Leases
from tensorvcs.storage.lmdb_environment import LmdbEnvironment, open_existing
from tensorvcs.storage.lmdb_objects import LmdbObjects
from tensorvcs.storage.lmdb_refs import LmdbRefs
from tensorvcs.storage.lmdb_space import give_back_space
from tensorvcs.storage.lock import StagingLock
from tensorvcs.sync.bundle import (
    Bundle,
    check_bundle,
    check_receiver,
    describe_bundle,
    part_of_clone,
    plan_bundle,
    write_bundle,
)
from tensorvcs.sync.fetch import FetchResult, fetch
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.push import PushResult, delete_remote_ref, push_branch, push_tag
from tensorvcs.sync.remotes import (
    DEFAULT_REMOTE,
    Remote,
    check_remote_name,
    check_url,
    kept_value,
    read_remotes,
    remote_branch,
    remote_settings,
    shown_settings,
    shown_url,
)
from tensorvcs.sync.rescue import Rescue
from tensorvcs.sync.service_options import kept_options
from tensorvcs.sync.values import fetch_values
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from tensorvcs.checkout.bisecting import Within
    from tensorvcs.checkout.trials import VersionTest
    from tensorvcs.connections import Connection
    from tensorvcs.display.progress import Counted, Shown
    from tensorvcs.history.bisecting.bisect import BisectStep
    from tensorvcs.history.bisecting.bisect_result import BisectResult
    from tensorvcs.history.blaming.blamed import Blame
    from tensorvcs.history.blaming.sample_history import SampleHistory
    from tensorvcs.history.merging.conflicts import Conflict
    from tensorvcs.history.merging.merge import Strategy
    from tensorvcs.history.picking.picking import PickVerb
    from tensorvcs.objects.digest import CommitDigest, SnapshotDigest
    from tensorvcs.objects.key_patterns import KeyPattern
    from tensorvcs.signing.signer import Signer
    from tensorvcs.sync.transfer import Progress, Transferred

DEFAULT_BRANCH = "main"

_log = logging.getLogger(__name__)


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
    settings = _user_settings(user_name, user_email)
    return Repository(create_folder(Path(path), bare=bare, settings=settings, fill=_set_head))


def _user_settings(name: str | None, email: str | None) -> dict[str, str]:
    if name is None and email is None:
        return {}
    who = Identity(name or "", email or "")
    return {"user.name": who.name, "user.email": who.email}


def _set_head(folder: Folder) -> None:
    """Put into a new repository that its current branch is the default one."""
    environment = LmdbEnvironment(folder.lmdb_folder)
    try:
        refs = LmdbRefs(environment)
        if refs.get(HEAD) is None:
            refs.swap([RefChange(HEAD, None, encode_symbolic_ref(BRANCHES + DEFAULT_BRANCH))])
    finally:
        environment.close()


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


def clone(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    branch: str | None = None,
    columns: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    max_bytes: int | None = None,
    sample: str = "first",
    seed: int = 0,
    depth: int | None = None,
    lazy: bool = True,
    options: Mapping[str, str] | None = None,
    bare: bool = False,
    user_name: str | None = None,
    user_email: str | None = None,
    progress: Shown[Progress] = None,
) -> Repository:
    """Copy a repository, whole or in part, and open the copy.

    Parameters
    ----------
    source : path or str
        Where it is: a path or a URL. It becomes the remote ``origin``.
    path : path
        The folder of the copy; made when it is missing. A clone that was interrupted goes on.
    branch : str, optional
        The branch to be on, and the only one to fetch; all, and that of the source, when omitted.
    columns : sequence of str, optional
        Only the trees and values of these columns.
    keys : sequence of str, optional
        Only the values of samples whose key fits one of these patterns.
    max_bytes : int, optional
        Of the values of the newest version, at most so many bytes.
    sample : {"first", "random", "stratified:COLUMN"}
        Which samples come first under `max_bytes`.
    seed : int
        Of ``random`` and ``stratified``; the same seed takes the same samples everywhere.
    depth : int, optional
        Only the trees and values of so many of the newest commits of each branch, from its tip
        along all parents. All commits come, so that the log is whole; the trees and values of
        older ones are fetched when they are read, or by `Repository.fetch` with a larger depth.
    lazy : bool
        Whether what was left out is fetched from the source when it is read; otherwise reading
        it raises ObjectNotFoundError.
    options : mapping of str to str, optional
        Of the service behind a bucket, such as ``endpoint`` and ``region``; they are kept in the
        settings. Secrets are refused: leave them where the service looks for them, or name a
        file that holds one, as ``file:PATH``.
    bare : bool
        Without a staging area.

    Raises
    ------
    RepositoryNotFoundError, RemoteError
        There is no repository at `source`, or it does not answer.
    RepositoryExistsError, InvalidInputError
        `path` is another repository, or not empty.
    BranchNotFoundError, ColumnNotFoundError

    Notes
    -----
    The whole history comes, with the trees of the columns that are wanted: keys, diffs, blame
    and merges are those of a full clone. With a depth the trees of older versions are absent,
    and what looks into them (a diff that counts, blame, a merge with an older base) fetches the
    few nodes that it reads, or raises ObjectNotFoundError where nothing is fetched.
    """
    chosen = Filter(
        None if columns is None else tuple(columns),
        None if keys is None else tuple(keys),
        max_bytes,
        sample,
        seed,
        depth,
    )
    url = resolve_url(check_url(os.fspath(source)))
    options = kept_options(options or {})
    with connected(url, options=options) as connection:
        head = branch or current_branch(connection.stores.refs)
        if branch is not None and connection.stores.refs.get(BRANCHES + branch) is None:
            there = ", ".join(
                name.removeprefix(BRANCHES) for name in connection.stores.refs.items(BRANCHES)
            )
            raise with_hint(
                BranchNotFoundError(f"the repository at {shown_url(url)} has no branch {branch!r}"),
                f"branches there are: {there or 'none'}",
            )
        if columns is not None:
            objects = connection.stores.objects
            commit = branch_commit(objects, connection.stores.refs, head)
            if commit is not None:
                chosen.check_columns(read_snapshot(objects, read_commit(objects, commit).snapshot))
        if connection.bundle is not None:
            chosen = part_of_clone(connection.bundle, url, chosen)
    repository = _interrupted_clone(Path(path), url)
    if repository is None:
        _check_empty(Path(path), bare=bare)
        is_promisor = lazy and not chosen.is_everything
        origin = Remote(DEFAULT_REMOTE, url, chosen, is_promisor, dict(options or {}))
        settings = {**_user_settings(user_name, user_email), **origin.to_settings()}
        # With its remote from the start, by which a clone that was interrupted is known.
        repository = Repository(
            create_folder(Path(path), bare=bare, settings=settings, fill=_set_head)
        )
    try:
        repository._finish_clone(head, None if branch is None else [branch], progress)
    except BaseException:
        repository.close()
        raise
    return repository


def verify_bundle(path: str | os.PathLike[str], *, progress: Shown[Progress] = None) -> Bundle:
    """Read all of a bundle, hash what is in it, and tell what it holds.

    Parameters
    ----------
    path : path
    progress : callable or True, optional
        Called with what was read so far, a `Transferred`. True draws a bar.

    Raises
    ------
    RepositoryNotFoundError, UnsupportedFormatError
        There is no file at `path`, or it is no bundle.
    ObjectDamagedError, DigestMismatchError
        It is not what was written; it may have been cut off.
    """
    bundle = open_bundle(Path(path), is_checked=True)
    with transfer_progress(progress, "Reading") as report:
        check_bundle(bundle, report)
    return describe_bundle(bundle)


def _interrupted_clone(path: Path, url: str) -> Repository | None:
    """Return the repository of a clone of `url` that did not come to its end, or None."""
    folder = find_folder(path.expanduser().absolute())
    if folder is None or folder.path != path.expanduser().absolute():
        return None
    remote = read_remotes(read_settings(folder)).get(DEFAULT_REMOTE)
    if remote is None or remote.url != url:
        return None
    repository = Repository(folder)
    if not repository.branches:
        return repository
    repository.close()
    return None


def _check_empty(path: Path, *, bare: bool) -> None:
    place = path.expanduser().absolute()
    if place.is_dir() and not is_vacant(place, bare=bare) and find_folder(place) is None:
        raise InvalidInputError(f"{path} is not empty; a clone needs a new or an empty folder")


class Repository:
    """A repository of tensor columns under version control. Opened by `init` and `open`."""

    def __init__(self, folder: Folder, at_operation: int | None = None) -> None:
        self._folder = folder
        environment = open_existing(folder.lmdb_folder)
        self._environment = environment
        self._tensors = Hdf5Tensors(folder.root, environment)
        self._objects = LmdbObjects(environment)
        refs = LmdbRefs(environment)
        self._refs = refs
        self._leases = Leases(folder.leases_folder, environment)
        self._stores = self._stores_of(self._objects, self._tensors, refs, environment.write)
        self._past: PastRefs | None = None
        if at_operation is not None:
            self._past = PastRefs(refs, at_operation)
            self._stores = self._stores_of(
                self._objects, self._tensors, self._past, self._past.transaction
            )
        self._nodes = Nodes(self._stores.objects)
        self._clock: Callable[[], dt.datetime] = _local_now
        self._recorded_as: Identity | None = None
        self._is_closed = False
        self._use_promisor()

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

    def __reduce__(self) -> tuple[Any, tuple[str, int | None]]:
        return _reopen, (str(self.path), None if self._past is None else self._past.number)

    def __repr__(self) -> str:
        if self._is_closed:
            return f"<Repository {self.path} (closed)>"
        when = "" if self._past is None else f" as it was after operation {self._past.number}"
        branches = count_text(len(self.branches), "branch", "branches")
        return f"<Repository {self.path} on {self.head!r}{when}: {branches}>"

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

    def _stores_of(
        self,
        objects: ObjectStore,
        tensors: TensorStore,
        refs: RefStore,
        transaction: Callable[[], AbstractContextManager[object]],
    ) -> Stores:
        return Stores(objects, tensors, refs, transaction, self._leases.work, self._leases.pin)

    def _check_open(self) -> Stores:
        if self._is_closed:
            raise ClosedError(f"the repository {self.path} was closed; open it again")
        return self._stores

    # Settings

    @property
    def config(self) -> dict[str, str]:
        """The options kept with the repository, by dotted name; a copy."""
        return read_settings(self._folder)

    @property
    def shown_config(self) -> dict[str, str]:
        """The same without tokens and other secrets."""
        return shown_settings(self.config)

    def set_config(self, name: str, value: str | None) -> None:
        """Set an option of the repository, or remove it with None.

        Raises
        ------
        InvalidInputError
            The name has no dot, the value is no text, `user.name` or `user.email` is not legal, or
            it is a secret of the service behind a bucket.
        """
        if not isinstance(name, str) or not all(name.partition(".")) or not name.isprintable():
            raise InvalidInputError(f"option name {name!r} is not of the form 'section.name'")
        if value is not None and not (isinstance(value, str) and is_unicode(value)):
            raise InvalidInputError(f"the value of option {name!r} is no text: {value!r}")
        self._check_present()
        with changing_settings(self._folder) as settings:
            if value is None:
                settings.pop(name, None)
            else:
                if name in ("user.name", "user.email"):
                    probe = {"user.name": "x", "user.email": "x", name: value}
                    Identity(probe["user.name"], probe["user.email"])
                settings[name] = kept_value(name, value)
        self._use_promisor()

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
        digest = resolve(stores.objects, stores.refs, revision, self._clock)
        return load_commit(stores.objects, digest)

    def _resolve_any(self, revision: str | Commit) -> Commit:
        return revision if isinstance(revision, Commit) else self.resolve(revision)

    def _move(
        self,
        changes: Sequence[RefChange],
        command: str,
        description: str,
        undoes: Sequence[int] = (),
    ) -> None:
        user, now = self._writer.user_name, self._now()
        with self._stores.transaction():
            check_targets(self._objects, changes)
            change_refs(
                self._stores,
                changes,
                command=command,
                description=description,
                user=user,
                now=now,
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
        with self._stores.transaction():
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
        # In one transaction, so that nobody switches to it, or deletes another one with the same
        # commits, after the look.
        with stores.transaction():
            self._delete_branch(stores, name, force=force)

    def _delete_branch(self, stores: Stores, name: str, *, force: bool) -> None:
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
        # In one transaction, so that nobody switches to it without the lock being held.
        with self._check_open().transaction():
            is_edited = self.head == old and not self.is_bare
            with self._staging_lock() if is_edited else nullcontext():
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
        self._check_open()
        self._check_not_bare()
        with self._changing_refs():
            if create:
                self._switch_to_new(name)
            else:
                self._switch(name)

    def _switch(self, name: str) -> None:
        """Make a branch the current one, for who holds the staging lock."""
        if name == self.head:
            return
        refs = self._stores.refs
        if refs.get(BRANCHES + name) is None:
            check_ref_name(name, "branch")
            raise with_hint(
                BranchNotFoundError(f"no branch {name!r}"),
                f"make it with 'tvcs switch -c {name}'",
            )
        self._check_clean("switch branches")
        change = RefChange(HEAD, refs.get(HEAD), encode_symbolic_ref(BRANCHES + name))
        self._move([change], "switch", f"from {self.head} to {name}")

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep what no branch or tag reaches yet until the block ends: `gc` drops nothing.

        For work of several steps, such as commits of `edit_detached` with `place_branches` behind
        them. A `gc` beside it raises WorkInProgressError when the block does not end in time.

        Raises
        ------
        StorageError
            The folder cannot be written, or its file system has no locks.
        """
        self._check_open()
        with self._leases.work():
            yield

    def place_branches(
        self, targets: Mapping[str, str | Commit], *, description: str, head: str | None = None
    ) -> None:
        """Make branches, or move them forward, in one operation that `undo` takes back.

        Parameters
        ----------
        targets : mapping of str to revision or Commit
        description : str
            For the operation log.
        head : str, optional
            The branch to be on when the current one has no commits yet and is not among them.

        Raises
        ------
        RefNameError, RevisionNotFoundError
        BranchExistsError
            A branch is there, and its commit is no ancestor of its target; nothing was changed.
        UncommittedChangesError
            The current branch would move and the staging area has changes.
        StagingLockedError
        """
        stores = self._check_open()
        commits = {name: self._resolve_any(target).digest for name, target in targets.items()}
        touches_staging = not self.is_bare and (head is not None or self.head in commits)
        with self._staging_lock() if touches_staging else nullcontext(), stores.transaction():
            changes = plan_branches(stores, commits)
            current = BRANCHES + self.head
            if head is not None and stores.refs.get(current) is None and self.head not in commits:
                symbolic = encode_symbolic_ref(BRANCHES + head)
                changes.append(RefChange(HEAD, stores.refs.get(HEAD), symbolic))
            if not self.is_bare and any(change.name in (current, HEAD) for change in changes):
                self._check_clean(f"move branch {self.head!r}")
            if changes:
                self._move(changes, "branch", description)

    def _switch_to_new(self, name: str) -> None:
        """Make a branch at HEAD and switch to it; what is staged comes along."""
        check_ref_name(name, "branch")
        self._check_no_merge("switch branches")
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
        with self._stores.transaction():
            if refs.get(TAGS + name) is not None:
                raise TagExistsError(f"tag {name!r} exists already, at {self.tags[name].short_id}")
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
        stores = self._check_open()
        with stores.transaction():
            value = stores.refs.get(TAGS + name)
            if value is None:
                raise TagNotFoundError(f"no tag {name!r}")
            self._move([RefChange(TAGS + name, value, None)], "tag", f"delete {name}")

    # Runs

    @property
    def runs(self) -> Mapping[str, Run]:
        """The runs that were recorded, by name: what models were trained on."""
        return {run.name: run for run in list_runs(self._check_open())}

    def record_run(
        self,
        name: str,
        provenance: Mapping[str, Any],
        *,
        metrics: Mapping[str, float] | None = None,
        overwrite: bool = False,
    ) -> Run:
        """Keep what a model was trained on under a name.

        Parameters
        ----------
        name : str
            As legal as that of a branch.
        provenance : mapping
            What `TensorLoader.provenance` returned, or any JSON values that name a commit under
            ``commit``.
        metrics : mapping of str to float, optional
        overwrite : bool
            Replace the run of that name; `undo` brings it back.

        Returns
        -------
        Run

        Raises
        ------
        RefNameError, RunExistsError
        InvalidInputError
            The provenance is no JSON, has more than a megabyte, or names no commit that is here.

        Notes
        -----
        The commits that a run names are kept by `gc` as those of a branch are.
        """
        stores = self._check_open()
        with stores.transaction():
            return record_run(
                stores,
                name,
                provenance,
                metrics or {},
                overwrite=overwrite,
                user=self._writer.user_name,
                now=self._now(),
            )

    def delete_run(self, name: str) -> Run:
        """Forget a run; raise RunNotFoundError when there is none. `undo` brings it back."""
        stores = self._check_open()
        with stores.transaction():
            return delete_run(stores, name, user=self._writer.user_name, now=self._now())

    def find_run(self, name: str) -> Run:
        """Return a run by its name; raise RunNotFoundError when there is none."""
        return find_run(self._check_open(), name)

    # History

    def log(
        self,
        revision: str | Commit = "HEAD",
        *,
        column: str | None = None,
        key: Any = None,
        author: str | None = None,
        grep: str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        metadata: Mapping[str, str] | None = None,
        merges: bool | None = None,
        first_parent: bool = False,
        limit: int | None = None,
    ) -> Iterator[Commit]:
        """Iterate over the commits that a revision reaches, newest first.

        Parameters
        ----------
        revision : str or Commit
            A range ``A..B`` is what B reaches and A does not; a side left out is HEAD.
        column : str, optional
            Only commits that changed the column, under whatever name it had then.
        key : str or int, optional
            Only commits that changed this sample, in `column` or in any column; a pair for a
            subsample.
        author : str, optional
            Only commits whose author's name or mail contains this text, in any case.
        grep : str, optional
            Only commits whose message contains this text, in any case.
        since, until : datetime, optional
            Only commits made at that time or later, or earlier; without a time zone it is local
            time.
        metadata : mapping of str to str, optional
            Only commits that have all these pairs.
        merges : bool, optional
            Only merges, or with False only commits that are none.
        first_parent : bool
            Whether to follow only the first parent of a merge.
        limit : int, optional

        Notes
        -----
        Lazy: a commit is read when its turn comes; of a range, all commits are read first. With
        `column` or `key` a commit costs a look-up in the trees of its parents.
        """
        sides = split_range(revision) if isinstance(revision, str) else None
        without = [] if sides is None else [self.resolve(sides[0]).digest]
        start = self._resolve_any(revision if sides is None else sides[1])
        stores = self._check_open()
        walked = walk(stores.objects, [start.digest], without=without, first_parent=first_parent)
        commits = (Commit(digest, found) for digest, found in walked)
        return filter_log(
            commits,
            stores.objects,
            self._nodes,
            column=column,
            key=key,
            author=author,
            grep=grep,
            since=since,
            until=until,
            metadata=metadata,
            merges=merges,
            limit=limit,
        )

    def blame(
        self, column: str, revision: str | Commit = "HEAD", keys: Iterable[Any] | None = None
    ) -> Blame:
        """Tell for each sample of a column which commit last changed it.

        Parameters
        ----------
        column : str
            Its name at `revision`; where it had another name before, it is followed.
        revision : str or Commit
        keys : iterable, optional
            Only these samples; of a nested column pairs, or the key of a sample for all it has.

        Returns
        -------
        Blame
            A mapping from key to commit, with `by_author()`, `by_commit()` and `changed_by()`.

        Raises
        ------
        RevisionNotFoundError, ColumnNotFoundError, SampleNotFoundError, InvalidKeyError

        Notes
        -----
        Reads the leaves of the column once, and of each commit back to the last one that counts its
        snapshot and the nodes that differ from its parents. With `keys` no leaf that has none of
        them.
        """
        objects = self._check_open().objects
        return blame_column(objects, self._nodes, self._resolve_any(revision), column, keys)

    def history(self, column: str, key: Any, revision: str | Commit = "HEAD") -> SampleHistory:
        """Iterate over the changes of one sample, newest first; a deleted one has a history too.

        Parameters
        ----------
        column : str
            Its name at `revision`; where it had another name before, it is followed.
        key : str, int or tuple
            Of a nested column a pair (sample, subsample), or a sample with all its subsamples.
        revision : str or Commit

        Returns
        -------
        SampleHistory
            An iterator of changes, each with `commit`, `before`, `after` and `size`.

        Raises
        ------
        RevisionNotFoundError, InvalidKeyError
        ColumnNotFoundError, SampleNotFoundError
            No commit that `revision` reaches ever had it.

        Notes
        -----
        Lazy. A merge counts when the sample differs from every parent; where one parent has the
        same value, the walk goes on there alone.
        """
        stores = self._check_open()
        commit = self._resolve_any(revision)
        return sample_history(stores.objects, self._nodes, stores.tensors, commit, column, key)

    def bisect(
        self,
        good: str | Commit | Sequence[str | Commit],
        bad: str | Commit,
        test: VersionTest,
        *,
        within: Within = False,
        lower_is_better: bool = False,
        share: float = 0.5,
        tolerance: float = 0.0,
        separator: str = "/",
        source_key: str = "source",
        whole_samples: bool = True,
        max_tests: int | None = 1000,
        progress: Shown[Counted] = None,
        on_step: Callable[[BisectStep], None] | None = None,
    ) -> BisectResult:
        """Find the commit that made a test worse, and with `within` what in it did.

        Parameters
        ----------
        good : str, Commit or sequence of them
            Ancestors of `bad`.
        bad : str or Commit
        test : callable
            Called with a `Checkout`. Returns True for a good version and False for a bad one, or a
            score, or `tensorvcs.SKIP` when it can say nothing. Must depend on nothing but the
            columns: versions of equal content are tested once.
        within : bool or {"commit", "range"}
            Search inside of the first bad commit, in what changed since its first parent; or in
            all that changed from the first good commit to `bad`. Parts of the changes are applied
            to the earlier version and tested, by column, source, keys and sample.
        lower_is_better : bool
            Of scores, such as a loss.
        share : float
            A group of changes harms when its effect is at least this part of what it were if the
            drop were spread evenly over all changed samples.
        tolerance : float
            Differences of scores that are noise. Samples whose effect is smaller are not told
            apart, which saves tests: for the score of a trained model name one.
        separator : str
            What stands between the groups in a text key, as in ``cats/1``.
        source_key : str
            The metadata of a commit that names where its samples are from; its author when it has
            none.
        whole_samples : bool
            Whether a sample that was added, or deleted, in several columns at once is tried as
            one, so that each version has pictures and labels of the same samples.
        max_tests : int, optional
            How often `test` may run; what was not found by then is in the result.
        progress : callable or True, optional
            Called after each test with the number of tests so far, and about how many it will be
            or None. True draws a bar.
        on_step : callable, optional
            Called with each step, when it is done.

        Returns
        -------
        BisectResult
            `commit`, `before`, `after`, `suspects`, `tested`, `culprits`.

        Raises
        ------
        RevisionNotFoundError
        UnrelatedHistoriesError
            The commits have no ancestor in common.
        InvalidInputError
            A good commit is no ancestor of the bad one; the test says that the ends are the wrong
            way round, or returns something else.

        Notes
        -----
        About ``log2(n)`` tests for n commits. Inside of a commit ``2 k + 4 k log2(n / k)`` tests
        at most, about, for n changed samples of which k harm by themselves; what a part costs
        beside its test follows the changes. Parts are stored as commits that no branch names, and
        the next collection of garbage drops them.
        """
        stores = self._check_open()
        goods = [good] if isinstance(good, (str, Commit)) else list(good)
        rules = BisectRules(
            within,
            lower_is_better,
            share,
            tolerance,
            separator,
            source_key,
            whole_samples,
            max_tests,
        )
        trials = Trials(stores, self._nodes, test, max_tests=max_tests)
        # The parts that are tried are on no branch.
        with stores.lease(), count_progress(progress, "Testing") as report:
            search = Bisect(stores, self._nodes, trials, rules, progress=report, on_step=on_step)
            return search.run([self._resolve_any(one) for one in goods], self._resolve_any(bad))

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
        metadata: Mapping[str, str] | None = None,
        fast_forward: bool = True,
        keep_conflicts: bool = False,
    ) -> MergeResult:
        """Merge a revision into a branch.

        Parameters
        ----------
        revision : str or Commit
        into : str, optional
            A branch; the current one when omitted.
        message : str, optional
        strategy : str, function, or mapping of str to one of these
            What a conflict does: ``fail`` raises, unless the column's schema keeps a policy;
            ``ours``, ``theirs`` and ``newest`` take the value of a side; ``union``, ``mean``,
            ``max`` and ``majority`` make one of both (see `tensorvcs.history.merging.combining`). A
            function is called as ``f(base, ours, theirs, key)`` with None where a side has no
            value, and returns the value, `tensorvcs.DELETED`, or `tensorvcs.UNDECIDED`. A mapping
            has one of these by column, and under ``"*"`` for all others.
            `MergeResult.conflicts` lists what was decided, and the error what was not.
        author : Identity or str, optional
            ``Name <mail>``; the user of the repository when omitted.
        metadata : mapping of str to str, optional
            Kept with the merge commit; a fast-forward makes none.
        fast_forward : bool
            Whether to move the branch without a merge commit where that is possible.
        keep_conflicts : bool
            Whether to keep conflicts that no strategy decides: the merge so far is staged, the
            branch stays, and `merge_in_progress` decides them and finishes.

        Raises
        ------
        MergeConflictError
            Both sides changed the same samples; nothing was changed.
        MergeInProgressError
            Another merge waits in the staging area.
        UnrelatedHistoriesError
            No common ancestor.
        UncommittedChangesError
            The branch is the current one and the staging area has changes.
        InvalidInputError, ColumnNotFoundError, SchemaMismatchError
            There is no such strategy or column, the strategy has no meaning for the column, or
            the value that it made does not fit; nothing was changed.
        """
        self._check_open()
        stores = self._writer_stores()
        theirs = self._resolve_any(revision)
        branch = self.head if into is None else into
        if stores.refs.get(BRANCHES + branch) is None:
            raise BranchNotFoundError(f"no branch {branch!r} to merge into, or it has no commits")
        name = revision if isinstance(revision, str) else theirs.short_id
        text = message or f"Merge {name} into {branch}"
        who = self._writer.author(Identity.of(author))
        pairs = check_metadata(metadata)
        if keep_conflicts:
            self._check_not_bare()
            self._check_keeps_conflicts_of(branch)

        def keep(plan: MergePlan) -> None:
            # Without a given author, who finishes the merge is its author.
            given = Identity.of(author)
            keep_merge(stores, self._nodes, plan, text, given, self._writer, pairs)

        def run() -> MergeResult:
            return merge_commits(
                stores,
                self._nodes,
                branch,
                theirs,
                strategy=strategy,
                author=who,
                now=self._now(),
                message=text,
                metadata=pairs,
                allow_fast_forward=fast_forward,
                keep=keep if keep_conflicts else None,
            )

        if branch != self.head or self.is_bare:
            with stores.lease():
                result = run()
        else:
            with self._staging_lock(), stores.lease():
                if keep_conflicts:
                    # Again, now that nobody can switch.
                    self._check_keeps_conflicts_of(branch)
                self._check_clean("merge")
                result = run()
        self._upkeep()
        return result

    def _check_keeps_conflicts_of(self, branch: str) -> None:
        if branch != self.head:
            raise with_hint(
                InvalidInputError(
                    f"conflicts are kept in the staging area, which is of branch {self.head!r}"
                ),
                f"switch first: tvcs switch {branch}",
            )

    def preview_merge(
        self,
        revision: str | Commit,
        into: str | None = None,
        *,
        strategy: Strategy = "fail",
        fast_forward: bool = True,
    ) -> MergePreview:
        """Return what `merge` would do: the changes, the conflicts, and what would be decided.

        Raises
        ------
        BranchNotFoundError, UnrelatedHistoriesError
        InvalidInputError, ColumnNotFoundError, SchemaMismatchError
            As `merge`.

        Notes
        -----
        Nothing is written, and no lock is taken.
        """
        stores = self._check_open()
        return preview_merge(
            stores,
            self._nodes,
            self.head if into is None else into,
            self._resolve_any(revision),
            strategy=strategy,
            allow_fast_forward=fast_forward,
        )

    @property
    def merge_in_progress(self) -> MergeInProgress | None:
        """The merge, cherry-pick or revert that waits in the staging area, or None.

        It was begun with ``keep_conflicts=True``. It lists its conflicts and decides them, and
        finishes with a commit or is given up.
        """
        refs = self._check_open().refs
        if refs.get(MERGE) is None:
            return None
        return MergeInProgress(
            self._writer_stores(), self._nodes, self._writer, self._staging_lock, self.edit
        )

    @property
    def conflicts(self) -> Sequence[Conflict]:
        """The open conflicts of the merge in progress; none when there is no merge."""
        merge = self.merge_in_progress
        return () if merge is None else merge.conflicts

    def cherry_pick(
        self,
        revision: str | Commit,
        *,
        columns: str | Iterable[str] | None = None,
        keys: KeyPattern | Iterable[KeyPattern] | None = None,
        author: str | None = None,
        mainline: int | None = None,
        strategy: Strategy = "fail",
        message: str | None = None,
        metadata: Mapping[str, str] | None = None,
        keep_conflicts: bool = False,
        each: bool = False,
        stage_only: bool = False,
    ) -> Commit:
        """Make the change of a commit, or of a range of commits, on the current branch.

        Parameters
        ----------
        revision : str or Commit
            A commit, or a range ``A..B``: what B reaches and A does not, without merges.
        columns : str or iterable of str, optional
            Only these columns.
        keys : str, int or iterable of them, optional
            Only samples with these keys, globs such as ``cat/*``, or ranges such as ``0:100``; in
            a nested column the keys of samples.
        author : str, optional
            Only commits whose author's name or mail contains this text, in any case.
        mainline : int, optional
            For a merge commit: the parent, from 1, that the change is seen from.
        strategy : str, function, or mapping of str to one of these
            What decides conflicts, as of `merge`; theirs is what is picked.
        message : str, optional
            The one of the commit when omitted; a list of commits for a range.
        metadata : mapping of str to str, optional
            Kept with the new commit, beside that of the original.
        keep_conflicts : bool
            Whether to keep the conflicts that are left, as `merge` does.
        each : bool
            Whether each commit of a range becomes a commit; otherwise they become one.
        stage_only : bool
            Whether to stage the change without a commit.

        Returns
        -------
        Commit
            What the branch points at now: the new commit, with the author, the time and the
            metadata of the original and ``cherry-picked-from``. When conflicts were kept or with
            `stage_only` the branch has not moved.

        Raises
        ------
        MergeConflictError
            Conflicts are left; nothing was changed.
        EmptyPickError
            No commit fits, nothing that is selected was changed, or all of it is here already.
        MainlineError
            A merge commit without `mainline`, or there is no such parent.
        UncommittedChangesError, MergeInProgressError, StagingLockedError
        RevisionNotFoundError, ColumnNotFoundError, InvalidInputError, SchemaMismatchError

        Notes
        -----
        Cost follows the changes that are picked.
        """
        mode = PickMode(keep_conflicts, each, stage_only)
        selection = Selection.of(columns, keys)
        request = self._pick_request(
            "cherry-pick", revision, selection, author, mainline, message, metadata
        )
        return self._pick(request, strategy, mode)

    def revert(
        self,
        revision: str | Commit,
        *,
        columns: str | Iterable[str] | None = None,
        keys: KeyPattern | Iterable[KeyPattern] | None = None,
        author: str | None = None,
        mainline: int | None = None,
        strategy: Strategy = "fail",
        message: str | None = None,
        metadata: Mapping[str, str] | None = None,
        keep_conflicts: bool = False,
        each: bool = False,
        stage_only: bool = False,
    ) -> Commit:
        """Take back the change of a commit, or of a range of commits, on the current branch.

        The newest commit of a range is taken back first. Theirs is what was before a commit.

        Parameters
        ----------
        revision, columns, keys, author, mainline, strategy, message, metadata
            As of `cherry_pick`: ``revert("v1..HEAD", author="uni-3", columns="labels")`` takes
            back all that one contributor did to one column since v1.
        keep_conflicts, each, stage_only : bool
            As of `cherry_pick`.

        Returns
        -------
        Commit
            What the branch points at now: the new commit, with ``reverts`` in its metadata. When
            conflicts were kept or with `stage_only` the branch has not moved.

        Raises
        ------
        As `cherry_pick`.
        """
        mode = PickMode(keep_conflicts, each, stage_only)
        selection = Selection.of(columns, keys)
        request = self._pick_request(
            "revert", revision, selection, author, mainline, message, metadata
        )
        return self._pick(request, strategy, mode)

    def _pick_request(
        self,
        verb: PickVerb,
        revision: str | Commit,
        selection: Selection,
        author: str | None,
        mainline: int | None,
        message: str | None,
        metadata: Mapping[str, str] | None,
    ) -> PickRequest:
        sides = split_range(revision) if isinstance(revision, str) else None
        end = self._resolve_any(revision if sides is None else sides[1])
        return PickRequest(
            verb,
            revision if isinstance(revision, str) else end.short_id,
            end,
            None if sides is None else self.resolve(sides[0]).digest,
            selection,
            author,
            mainline,
            None if message is None else check_message(message),
            check_metadata(metadata),
        )

    def _pick(self, request: PickRequest, strategy: Strategy, mode: PickMode) -> Commit:
        self._writer.author(None)
        policies = Policies.of(strategy)
        if mode.keeps_conflicts or mode.is_staged_only:
            self._check_not_bare()
        with nullcontext() if self.is_bare else self._staging_lock(), self._leases.work():
            if not self.is_bare:
                self._check_clean(request.verb)
            stores, branch = self._writer_stores(), self.head
            made = pick_commits(stores, self._nodes, branch, request, policies, mode, self._writer)
        self._upkeep()
        return made

    def reset(
        self,
        revision: str | Commit = "HEAD",
        *,
        columns: str | Iterable[str] | None = None,
        keys: KeyPattern | Iterable[KeyPattern] | None = None,
    ) -> Commit | None:
        """Move the current branch to a revision and drop what is staged; `undo` takes it back.

        A merge that waits in the staging area is dropped with it.

        Parameters
        ----------
        revision : str or Commit
            HEAD, which may have no commit yet, only drops what is staged.
        columns, keys : optional
            Drop only the staged changes of these columns, or of keys that fit these patterns, as
            `stash` takes them; the branch stays.

        Returns
        -------
        Commit or None
            What the branch points at now; None before the first commit.

        Raises
        ------
        RevisionNotFoundError, ColumnNotFoundError
        InvalidInputError
            Columns or keys are given with another revision than HEAD, or are not legal.
        StagingLockedError, BareRepositoryError
        """
        self._check_open()
        self._check_not_bare()
        selection = Selection.of(columns, keys)
        if not selection.is_everything and revision != "HEAD":
            raise InvalidInputError("columns and keys are reset to HEAD, not to another revision")
        # Resolved inside the transaction, so that no commit made meanwhile is left behind.
        with self._changing_refs() as stores:
            branch, refs = self.head, stores.refs
            before = refs.get(BRANCHES + branch)
            commit = None
            if before is not None or revision != "HEAD":
                commit = self._resolve_any(revision)
            if not selection.is_everything:
                user, now = self._writer.user_name, self._now()
                reset_part(stores, self._nodes, branch, selection, user=user, now=now)
                return commit
            after = None if commit is None else encode_commit_ref(commit.digest)
            wanted = {BRANCHES + branch: after, STAGING: None, MERGE: None}
            changes = changes_to(refs, wanted)
            if changes:
                there = "no commit" if commit is None else commit.short_id
                self._move(changes, "reset", f"{branch} to {there}")
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
        with self._changing_refs() as stores:
            undone, changes = plan_undo(stores.refs, n)
            numbers = [operation.number for operation in undone]
            newest, oldest = undone[0], undone[-1]
            what = f"{newest.command}: {newest.description}"
            if len({o.continues or o.number for o in undone}) > 1:
                what = f"{n} operations back to before {oldest.command}: {oldest.description}"
            self._move(changes, "undo", what, undoes=numbers)
        return undone

    def operation(self, n: int) -> Operation:
        """Return one recorded operation; raise OperationNotFoundError when there is none."""
        return find_operation(self._check_open().refs, n)

    def moves_of(self, operation: Operation) -> list[RefMove]:
        """Return what an operation did to each ref, with the commits before and after."""
        return describe_changes(self._check_open().objects, operation.changes)

    def restore_operation(self, n: int) -> Operation:
        """Make all refs and the staging area as they were right after an operation.

        With the number of an operation that was undone it is done again. `undo` takes this back.

        Returns
        -------
        Operation
            The one with that number.

        Raises
        ------
        OperationNotFoundError
        StagingLockedError
        """
        with self._changing_refs() as stores:
            operation, changes = plan_restore(stores.refs, n)
            if changes:
                what = f"{operation.number}, {operation.command}: {operation.description}"
                self._move(changes, "restore", what)
        return operation

    def at_operation(self, n: int) -> Repository:
        """Open the repository, read-only, as it was right after an operation.

        Branches, tags, stashes, what was staged and the operation log are those of then; settings
        are those of now. What would write raises ReadOnlyError.

        Raises
        ------
        OperationNotFoundError
        """
        operation = self.operation(n)
        past = Repository(self._folder, operation.number)
        past.record_as(self._recorded_as, self._clock)
        return past

    @contextmanager
    def _changing_refs(self) -> Iterator[Stores]:
        """Hold the staging lock and the write transaction, so that no commit comes between."""
        stores = self._check_open()
        with nullcontext() if self.is_bare else self._staging_lock(), stores.transaction():
            yield stores

    # The stash

    @property
    def stashes(self) -> list[Stash]:
        """The changes that were put aside, newest first."""
        return list_stashes(self._check_open(), self._nodes)

    def stash(
        self,
        message: str | None = None,
        columns: str | Iterable[str] | None = None,
        keys: KeyPattern | Iterable[KeyPattern] | None = None,
    ) -> Stash:
        """Put staged changes aside, so that the staging area is clean.

        Parameters
        ----------
        message : str, optional
        columns : str or iterable of str, optional
            Only changes of these columns; all others stay staged.
        keys : str, int or iterable of them, optional
            Only changes of samples whose key fits one of these patterns, such as ``cat/*`` for
            texts or ``0:100`` for numbers.

        Raises
        ------
        NothingToStashError, ColumnNotFoundError, InvalidInputError, MergeInProgressError
        StagingLockedError, BareRepositoryError
        """
        self._check_not_bare()
        selection = Selection.of(columns, keys)
        text = None if message is None else check_message(message)
        with self._changing_refs() as stores:
            return push_stash(
                stores,
                self._nodes,
                self.head,
                message=text,
                selection=selection,
                user=self._writer.user_name,
                now=self._now(),
            )

    def find_stash(self, n: int | Stash = 0) -> Stash:
        """Return a stash by its place, 0 for the newest; raise StashNotFoundError without it."""
        return find_stash(self._check_open(), self._nodes, n)

    def apply_stash(self, n: int | Stash = 0) -> Stash:
        """Make the changes of a stash here, merged by sample with what is staged; it is kept.

        Parameters
        ----------
        n : int or Stash
            Its place among `stashes`, 0 for the newest.

        Raises
        ------
        MergeConflictError
            The same samples were changed here in another way; nothing was changed.
        StashNotFoundError, MergeInProgressError, StagingLockedError, BareRepositoryError
        """
        return self._apply_stash(n, drop=False)

    def pop_stash(self, n: int | Stash = 0) -> Stash:
        """Make the changes of a stash here, and drop it in the same step.

        Raises
        ------
        MergeConflictError and others
            As those of `apply_stash`; then the stash is kept.
        """
        return self._apply_stash(n, drop=True)

    def _apply_stash(self, n: int | Stash, *, drop: bool) -> Stash:
        self._check_not_bare()
        with self._changing_refs():
            stores = self._writer_stores()
            stash = find_stash(stores, self._nodes, n)
            user, now = self._writer.user_name, self._now()
            apply_stash(stores, self._nodes, self.head, stash, drop=drop, user=user, now=now)
            return stash

    def drop_stash(self, n: int | Stash = 0) -> Stash:
        """Forget a stash; raise StashNotFoundError when there is none. `undo` brings it back."""
        with self._changing_refs() as stores:
            stash = find_stash(stores, self._nodes, n)
            drop_stash(stores, stash, user=self._writer.user_name, now=self._now())
            return stash

    # Checkouts

    def checkout(self, revision: str | Commit = "HEAD") -> Checkout:
        """Return the columns of a commit, read-only."""
        return Checkout(self._check_open(), self._resolve_any(revision), self._nodes)

    def edit(self, branch: str | None = None, *, reason: str | None = None) -> EditableCheckout:
        """Open the working staging area to change columns.

        Parameters
        ----------
        branch : str, optional
            Switch to this branch first.
        reason : str, optional
            What the operation log says of the changes, such as ``clean: drop blurred``.

        Raises
        ------
        StagingLockedError
            Another process edits it.
        BareRepositoryError, BranchNotFoundError, UncommittedChangesError
        """
        stores = self._check_open()
        self._check_not_bare()
        lock = self._staging_lock()
        try:
            if branch is not None and branch != self.head:
                with stores.transaction():
                    self._switch(branch)
            stores = self._writer_stores()
            name = self.head
            lease = self._leases.work()
            area = WorkingArea(
                stores, self._nodes, name, self._writer, _both(lock.release, lease.release), reason
            )
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
            stores,
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
        sign: Signer | None = None,
    ) -> Transaction:
        """Open a private staging area that commits when it is left.

        Parameters
        ----------
        branch : str, optional
            The current one when omitted.
        message : str
        author : Identity or str, optional
        metadata : mapping of str to str, optional
        sign : Signer, optional
            Signs the commit.

        Notes
        -----
        Any number of transactions may be open in any number of processes; one that commits
        later is merged onto the earlier one by sample, and a true conflict raises
        MergeConflictError.
        """
        stores = self._check_open()
        self._check_present()
        name = self.head if branch is None else branch
        if name != self.head and stores.refs.get(BRANCHES + name) is None:
            raise BranchNotFoundError(f"no branch {name!r}")
        check_message(message)
        check_metadata(metadata)
        check_signer(sign)
        who = self._writer.author(Identity.of(author))
        stores, lease = self._writer_stores(), self._leases.work()
        area = PrivateArea(stores, self._nodes, name, self._writer, lease.release)
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
        return Transaction(editor, message, who, metadata, sign)

    def edit_detached(
        self,
        parents: Sequence[str | Commit] = (),
        *,
        time: dt.datetime,
        base: str | Commit | None = None,
    ) -> EditableCheckout:
        """Open a private staging area for a commit that was made elsewhere: for conversions.

        Its commit has these parents and this time and moves no branch; `place_branches` makes it
        reachable. What is given alone decides the commit id, the author aside, so that the same
        conversion made again has the same commits.

        Parameters
        ----------
        parents : sequence of revision or Commit
        time : aware datetime
            When the change was made, and recorded.
        base : revision or Commit, optional
            The commit whose columns the edits start from; the first parent when omitted.

        Raises
        ------
        RevisionNotFoundError
        InvalidInputError
            The time has no time zone.
        """
        above = [self._resolve_any(parent) for parent in parents]
        start = self._resolve_any(base) if base is not None else next(iter(above), None)
        parents_above = [parent.digest for parent in above]
        stores, lease = self._writer_stores(), self._leases.work()
        area = DetachedArea(stores, parents_above, Timestamp.of(time), self._writer, lease.release)
        columns = columns_of(stores, None if start is None else start.digest)
        return EditableCheckout(
            stores,
            self._nodes,
            branch="(detached)",
            base=start,
            base_columns=columns,
            columns=columns,
            area=area,
        )

    def _writer_stores(self) -> Stores:
        """Return stores whose tensor store has a writer of its own."""
        return self._stores_of(
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
        digest = staging_base(stores, self.head)
        return None if digest is None else load_commit(stores.objects, digest)

    @property
    def is_dirty(self) -> bool:
        """Whether the working staging area has flushed changes."""
        return self._staging_record() is not None

    def _staging_record(self) -> StagingRecord | None:
        return read_staging(self._check_open().refs)

    def _check_present(self) -> None:
        """Raise ReadOnlyError when the repository is shown as it was."""
        if self._past is not None:
            raise self._past.refusal()

    def _staging_lock(self) -> StagingLock:
        self._check_present()
        return StagingLock(self._folder.lock_file)

    def _check_not_bare(self) -> None:
        if self.is_bare:
            raise BareRepositoryError(f"the repository {self.path} is bare: it has no staging area")

    def _check_clean(self, wish: str) -> None:
        self._check_no_merge(wish)
        if self.is_dirty:
            raise with_hint(
                UncommittedChangesError(f"cannot {wish}: the staging area has changes"),
                "commit them, or drop them with 'tvcs reset'",
            )

    def _check_no_merge(self, wish: str) -> None:
        kept = read_merge(self._stores.objects, self._stores.refs)
        if kept is not None:
            raise with_hint(
                MergeInProgressError(f"cannot {wish}: a {kept.intent.verb} is in progress"),
                "finish it with 'tvcs merge --continue', or give it up: tvcs merge --abort",
            )

    @property
    def _writer(self) -> Writer:
        return Writer(lambda: self.user, self._now, self._upkeep)

    # Between machines

    @property
    def remotes(self) -> Mapping[str, Remote]:
        """The remotes by name."""
        return read_remotes(self.config)

    def add_remote(
        self,
        name: str,
        url: str | os.PathLike[str],
        *,
        part: Filter | None = None,
        lazy: bool = True,
        options: Mapping[str, str] | None = None,
    ) -> Remote:
        """Give another repository a short name.

        Parameters
        ----------
        name : str
        url : str or path
            A path is made absolute.
        part : Filter, optional
            What is fetched from it; everything when omitted.
        lazy : bool
            Whether what a filter leaves out is fetched from this remote when it is read.
        options : mapping of str to str, optional
            Of the service behind a bucket, such as ``endpoint`` and ``region``; not its secrets,
            as in `clone`.

        Raises
        ------
        RefNameError, InvalidInputError, RemoteExistsError

        Notes
        -----
        Nothing is asked of the remote; `check_remote` does that.
        """
        check_remote_name(name)
        chosen = Filter() if part is None else part
        place = resolve_url(check_url(os.fspath(url) if isinstance(url, os.PathLike) else url))
        is_promisor = lazy and not chosen.is_everything
        remote = Remote(name, place, chosen, is_promisor, kept_options(options or {}))
        with changing_settings(self._folder) as settings:
            present = read_remotes(settings).get(name)
            if present is not None:
                raise RemoteExistsError(f"remote {name!r} exists already, at {present.shown_url}")
            settings.update(remote.to_settings())
        self._use_promisor()
        return remote

    def check_remote(self, name: str) -> None:
        """Find out whether a remote answers, and whether a push to it could succeed.

        Raises
        ------
        RemoteError
            It does not answer, or it is a bucket of a service that does not obey conditions, so
            that of two pushes at a time one would be lost.
        RemoteNotFoundError, RepositoryNotFoundError

        Notes
        -----
        In a bucket it takes six small requests, which write a file of a few bytes and delete it.
        A push makes sure of the same before its first bytes.
        """
        with self._connected(self._remote(name)) as connection:
            connection.check_pushable()

    def remove_remote(self, name: str) -> None:
        """Forget a remote and its remote branches; raise RemoteNotFoundError when unknown."""
        self._remote(name)
        stores = self._check_open()
        with changing_settings(self._folder) as settings:
            for key in remote_settings(settings, name):
                del settings[key]
        with stores.transaction():
            seen = stores.refs.items(f"{REMOTE_BRANCHES}{name}/")
            changes = [RefChange(full, value, None) for full, value in seen.items()]
            if changes:
                self._move(changes, "remote", f"remove {name}")
        self._use_promisor()

    def _remote(self, name: str) -> Remote:
        remotes = self.remotes
        if name not in remotes:
            known = ", ".join(remotes) or "none"
            raise with_hint(
                RemoteNotFoundError(f"no remote {name!r}; there are: {known}"),
                f"add it with 'tvcs remote add {name} URL'",
            )
        return remotes[name]

    @property
    def _bucket_cache(self) -> Path:
        """Where directories of bundles in buckets are kept."""
        return self._folder.root / "cache" / "bundles"

    def _connected(self, remote: Remote) -> AbstractContextManager[Connection]:
        return connected(remote.url, options=remote.options, cache=self._bucket_cache)

    def _use_promisor(self) -> None:
        """Have what is absent fetched when it is read, and what is damaged mended."""
        try:
            known = list(self.remotes.values())
        except ObjectDamagedError as error:
            # What is here can be read without settings; `config` and `verify` raise this error.
            _log.warning("no remotes are known: %s", error)
            known = []
        rescue = rescue_of(known, self._bucket_cache)
        self._tensors.rescue = rescue.take_values if rescue else None
        self._objects.rescue = rescue.find_object if rescue else None
        remotes = [remote for remote in known if not remote.filter.is_everything]
        remotes.sort(key=lambda remote: not remote.is_promisor)
        promisor = promisor_of(remotes[0], self._bucket_cache) if remotes else None
        self._objects.supply = promisor.supply_objects if promisor else None
        self._tensors.supply = promisor.supply_values if promisor else None

    @property
    def is_partial(self) -> bool:
        """Whether this is a partial clone, in which values may be absent."""
        return any(not remote.filter.is_everything for remote in self.remotes.values())

    def fetch(
        self,
        remote: str = DEFAULT_REMOTE,
        *,
        branches: Sequence[str] | None = None,
        prune: bool = False,
        depth: int | Literal["all"] | None = None,
        progress: Shown[Progress] = None,
    ) -> FetchResult:
        """Copy what a remote has, and move the remote branches, such as ``origin/main``.

        Parameters
        ----------
        remote : str
        branches : sequence of str, optional
            Only these; all when omitted.
        prune : bool
            Whether to forget remote branches that the remote has no more.
        depth : int or "all", optional
            Of a partial clone: the trees and values of so many of the newest commits of each
            branch, from now on; see `clone`. What is lacking of them comes now. Where everything
            is fetched anyway it changes nothing.
        progress : callable or True, optional
            Called with what was moved so far, a `Transferred`. True draws a bar.

        Raises
        ------
        RemoteNotFoundError, RemoteError, RepositoryNotFoundError, BranchNotFoundError
        InvalidInputError
            A depth with some branches only, or one below 1.
        ObjectNotFoundError
            All is asked for, and the remote has lost a version that is here in part.

        Notes
        -----
        Stopped at any moment it leaves the repository correct, and goes on when called again.
        Values that a filter takes by a budget are not fetched here; see `fetch_data`.
        """
        known = self._remote(remote)
        part = known.filter
        if depth is not None:
            part = self._deepened(known, depth, branches)
        local = self._receiving_stores()
        with (
            self._connected(known) as connection,
            local.lease(),
            transfer_progress(progress, "Fetching") as report,
        ):
            if connection.bundle is not None:
                check_receiver(connection.bundle, known.url, local.objects, part)
            result = fetch(
                connection.stores,
                local,
                remote,
                user=self._writer.user_name,
                now=self._now(),
                branches=branches,
                prune=prune,
                payload=None if part.is_everything else part,
                deepen=depth is not None and not known.filter.is_everything,
                progress=report,
            )
        if part != known.filter:
            # Last, so that what was cut off is known to lack something.
            is_promisor = known.is_promisor and not part.is_everything
            changed = replace(known, filter=part, is_promisor=is_promisor)
            with changing_settings(self._folder) as settings:
                for name in ("filter", "promisor"):
                    settings.pop(f"remote.{remote}.{name}", None)
                settings.update(changed.to_settings())
            self._use_promisor()
        self._upkeep()
        return result

    def _deepened(
        self, known: Remote, depth: int | Literal["all"], branches: Sequence[str] | None
    ) -> Filter:
        """Return the filter of a remote with another depth."""
        if branches is not None:
            raise InvalidInputError("a depth is that of all branches; name none of them")
        if known.filter.is_everything:
            return known.filter
        return replace(known.filter, depth=None if depth == "all" else depth)

    def pull(
        self,
        remote: str = DEFAULT_REMOTE,
        branch: str | None = None,
        *,
        strategy: Strategy = "fail",
        progress: Shown[Progress] = None,
    ) -> MergeResult:
        """Fetch a branch of a remote and merge it into the current branch.

        Parameters
        ----------
        remote : str
        branch : str, optional
            Of the remote; the one called like the current branch when omitted.
        strategy : optional
            As for `merge`.

        Raises
        ------
        MergeConflictError
            Both sides changed the same samples; what was fetched stays.
        UncommittedChangesError, UnrelatedHistoriesError
        RemoteNotFoundError, RemoteError, RepositoryNotFoundError, BranchNotFoundError
        """
        self._check_not_bare()
        current = self.head
        name = current if branch is None else branch
        self.fetch(remote, branches=[name], progress=progress)
        stores = self._check_open()
        seen = f"{remote}/{name}"
        if stores.refs.get(BRANCHES + current) is None:
            commit = self.resolve(seen)
            with self._staging_lock():
                self._check_clean("pull")
                change = RefChange(BRANCHES + current, None, encode_commit_ref(commit.digest))
                self._move([change], "pull", f"{seen} to {current}")
            return MergeResult(commit, is_fast_forward=True, conflicts=())
        return self.merge(seen, strategy=strategy)

    def push(
        self,
        remote: str = DEFAULT_REMOTE,
        branch: str | None = None,
        force: bool = False,
        *,
        to: str | None = None,
        progress: Shown[Progress] = None,
    ) -> PushResult:
        """Copy a branch to a remote, and move it there.

        Parameters
        ----------
        remote : str
        branch : str, optional
            The current one when omitted.
        force : bool
            Whether the remote may lose commits that the branch here has not.
        to : str, optional
            What the branch is called there; the same when omitted.

        Raises
        ------
        NonFastForwardError
            The remote has commits that the branch here has not; pull first.
        RefChangedError
            Somebody else moved the branch during the push.
        RemoteNotFoundError, RemoteError, RepositoryNotFoundError, BranchNotFoundError
        """
        known = self._remote(remote)
        local = self._check_open()
        with (
            self._connected(known) as connection,
            connection.stores.lease(),
            transfer_progress(progress, "Pushing") as report,
        ):
            result = push_branch(
                local,
                connection.stores,
                remote,
                self.head if branch is None else branch,
                user=self._writer.user_name,
                now=self._now(),
                to=to,
                force=force,
                progress=report,
            )
            connection.upkeep()
        return result

    def push_tag(
        self,
        remote: str,
        tag: str,
        *,
        force: bool = False,
        progress: Shown[Progress] = None,
    ) -> PushResult:
        """Copy a tag to a remote; raise TagExistsError when it has another one of that name."""
        known = self._remote(remote)
        local = self._check_open()
        with (
            self._connected(known) as connection,
            connection.stores.lease(),
            transfer_progress(progress, "Pushing") as report,
        ):
            result = push_tag(
                local,
                connection.stores,
                remote,
                tag,
                user=self._writer.user_name,
                now=self._now(),
                force=force,
                progress=report,
            )
            connection.upkeep()
        return result

    def delete_remote_branch(self, remote: str, branch: str) -> PushResult:
        """Delete a branch of a remote; raise BranchNotFoundError when it has none."""
        known = self._remote(remote)
        with self._connected(known) as connection:
            return delete_remote_ref(
                self._check_open(),
                connection.stores,
                remote,
                branch,
                user=self._writer.user_name,
                now=self._now(),
            )

    def create_bundle(
        self,
        path: str | os.PathLike[str],
        revisions: Sequence[str] = (),
        *,
        since: Sequence[str | Commit] = (),
        part: Filter | None = None,
        progress: Shown[Progress] = None,
    ) -> Bundle:
        """Write branches and tags, with all that they need, into one file.

        The file can be cloned, fetched and pulled from like any remote; nothing is pushed to it.

        Parameters
        ----------
        path : path
            Of the file; one that is there is replaced once the new one is whole.
        revisions : sequence of str
            Branches and tags, or ``HEAD``; all when empty.
        since : sequence of str or Commit
            Commits that the receiver has. They and their histories are left out, and the values
            and nodes that the rest shares with them.
        part : Filter, optional
            What is taken of each version; everything when omitted.
        progress : callable or True, optional
            Called with what was written so far, a `Transferred`. True draws a bar.

        Raises
        ------
        InvalidInputError
            A name is neither a branch nor a tag, or the receiver would have everything already.
        RevisionNotFoundError
        ObjectNotFoundError, RemoteError
            This is a partial clone, and what it lacks cannot be fetched.
        StorageError

        Notes
        -----
        One pass over what is written; memory is about 60 bytes a value.
        """
        stores = self._check_open()
        left_out = [self._resolve_any(revision).digest for revision in since]
        plan = plan_bundle(stores, revisions, since=left_out, part=part)
        place = Path(path).expanduser().absolute()
        with new_file(place) as write, transfer_progress(progress, "Writing") as report:
            write_bundle(stores, plan, write, progress=report)
        return describe_bundle(open_bundle(place))

    def missing_for(self, bundle: Bundle) -> list[str]:
        """Return the ids of those prerequisites of a bundle that are not here."""
        needed = [bytes.fromhex(commit) for commit in bundle.prerequisites]
        return [digest.hex() for digest in self._check_open().objects.missing(needed)]

    def fetch_data(
        self,
        revision: str | Commit = "HEAD",
        *,
        columns: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
        max_bytes: int | None = None,
        sample: str = "first",
        seed: int = 0,
        remote: str | None = None,
        progress: Shown[Progress] = None,
    ) -> Transferred:
        """Bring values of a version into a partial clone before they are read.

        Parameters
        ----------
        revision : str or Commit
        columns : sequence of str, optional
            All when omitted.
        keys : sequence of str, optional
            Patterns of sample keys.
        max_bytes : int, optional
            Of values, those that are here already included.
        sample : {"first", "random", "stratified:COLUMN"}
            Which samples come first.
        seed : int
        remote : str, optional
            The promisor when omitted, or ``origin``.

        Returns
        -------
        Transferred
            What came; nothing when all was here.

        Raises
        ------
        ColumnNotFoundError, InvalidInputError, RevisionNotFoundError
        RemoteNotFoundError, RemoteError, RepositoryNotFoundError
        """
        chosen = Filter(
            None if columns is None else tuple(columns),
            None if keys is None else tuple(keys),
            max_bytes,
            sample,
            seed,
        )
        partial = [name for name, r in self.remotes.items() if not r.filter.is_everything]
        known = self._remote(remote or next(iter(partial), DEFAULT_REMOTE))
        states = self._columns_of(self._resolve_any(revision))
        with self._connected(known) as connection:
            source = connection.stores

            def supply(store: ObjectStore, digests: Sequence[bytes]) -> None:
                store.put(source.objects.get(digests))

            with self._leases.work(), transfer_progress(progress, "Fetching") as report:
                moved = fetch_values(
                    source.tensors,
                    self._receiving_stores().tensors,
                    chosen.values_in_order(Nodes(LmdbObjects(self._environment, supply)), states),
                    max_bytes=max_bytes,
                    progress=report,
                )
        self._upkeep()
        return moved

    def _finish_clone(
        self, head: str, branches: Sequence[str] | None, progress: Shown[Progress]
    ) -> None:
        """Fetch everything, then the values of a budget, and make the branch, in this order."""
        self.fetch(branches=branches, progress=progress)
        stores, remote = self._check_open(), self._remote(DEFAULT_REMOTE)
        value = stores.refs.get(remote_branch(DEFAULT_REMOTE, head))
        if value is not None and remote.filter.max_bytes is not None:
            chosen = remote.filter
            self.fetch_data(
                f"{DEFAULT_REMOTE}/{head}",
                columns=chosen.columns,
                keys=chosen.keys,
                max_bytes=chosen.max_bytes,
                sample=chosen.sample,
                seed=chosen.seed,
                progress=progress,
            )
        before, after = stores.refs.get(HEAD), encode_symbolic_ref(BRANCHES + head)
        changes = [] if before == after else [RefChange(HEAD, before, after)]
        if value is not None:
            changes.append(RefChange(BRANCHES + head, None, value))
        if changes:
            self._move(changes, "clone", f"{head} of {remote.shown_url}")

    def _receiving_stores(self) -> Stores:
        """Return stores that take what comes, and in which absent things are absent."""
        stores = self._check_open()
        return self._stores_of(
            LmdbObjects(self._environment),
            Hdf5Tensors(self._folder.root, self._environment),
            stores.refs,
            stores.transaction,
        )

    # Upkeep

    def _upkeep(self) -> None:
        """Gather loose values into packs when they have become many."""
        self._tensors.repack_loose()

    def repack(self, *, progress: Shown[Counted] = None) -> RepackReport:
        """Gather values into few packs, in the order in which they are read.

        The order is that of the keys in the newest version of each branch, the current branch
        first. What is in order already is left as it is; values of older versions come last.

        Parameters
        ----------
        progress : callable or True, optional
            Called with the number of packs written, and None. True draws a bar.

        Raises
        ------
        StorageError
            The disk is full or refused; everything is as it was.

        Notes
        -----
        Others go on reading and writing. What is written anew is on the disk twice for a while;
        memory is a few tens of MiB for each kind of values. Garbage is moved along: see `gc`.
        """
        self._check_open()
        self._check_present()
        stores = self._receiving_stores()
        before = self._tensors.stats().pack_count
        with count_progress(progress, "Repacking") as report:
            moved_count, moved_nbytes = self._tensors.repack_in_order(
                lambda: reading_order(stores), progress=report
            )
        give_back_space(self._environment)
        return RepackReport(moved_count, moved_nbytes, before, self._tensors.stats().pack_count)

    def gc(
        self,
        grace: dt.timedelta | float | str = "2w",
        dry_run: bool = False,
        keep_bytes: int | None = None,
        *,
        progress: Shown[Counted] = None,
    ) -> GcReport:
        """Drop what no ref reaches any more, and what was left by writers that died.

        Kept is what branches, tags, remote branches, stashes, the staging area and a merge that
        waits reach; what an operation of the period of grace names, so that it can be undone; what
        any process on this machine is reading; and what was not yet garbage for so long.

        Parameters
        ----------
        grace : timedelta, number of seconds, or str
            Such as ``"2w"``, ``"3d"`` or ``"12h"``. Records of the operation log that are older are
            forgotten, the newest one aside. With 0 garbage goes at once.
        dry_run : bool
            Count, and change nothing.
        keep_bytes : int, optional
            In a partial clone: of values that the remote has, keep so many bytes here, those of the
            newest versions of the branches first, in key order. The others are dropped, and
            fetched again when they are read. What was made here and not pushed stays.
        progress : callable or True, optional
            Called with the number of packs that were looked at, and None. True draws a bar.

        Returns
        -------
        GcReport

        Raises
        ------
        WorkInProgressError
            Something is being written, and did not end within ten seconds; nothing was dropped.
        InvalidInputError
            `grace` is no length of time; or `keep_bytes` is given and this is no partial clone that
            fetches what is absent.
        ObjectNotFoundError, CorruptionError
            What refs reach cannot be read, so that nobody knows what is garbage.
        RemoteError
            With `keep_bytes`: the remote does not answer.

        Notes
        -----
        Others go on reading and writing; they wait for a short transaction at the end, and for
        each pack that is written anew. Reads all objects and no values, but for the packs that are
        more than a fifth garbage. Memory is about 50 bytes an object and 8 bytes a value.
        """
        self._check_open()
        self._check_present()
        grace_seconds = seconds_of(grace)
        if keep_bytes is not None and (type(keep_bytes) is not int or keep_bytes < 0):
            raise InvalidInputError(f"cannot keep {keep_bytes!r} bytes; expected 0 or more")
        stores = self._receiving_stores()
        tensors = stores.tensors
        assert isinstance(tensors, Hdf5Tensors)
        site = GarbageSite(
            self._environment,
            LmdbObjects(self._environment),
            tensors,
            self._refs,
            self._leases,
            ages_file=self._folder.orphan_ages_file,
            settings_file=self._folder.settings_file,
        )

        def run(release: Release | None) -> GcReport:
            with self._leases.collection(), count_progress(progress, "Collecting") as report:
                collected = collect(
                    stores,
                    site,
                    now=self._now().microseconds,
                    grace_seconds=grace_seconds,
                    allow_absent=self.is_partial,
                    dry_run=dry_run,
                    release=release,
                    progress=report,
                )
                if not dry_run:
                    collected.freed_nbytes += give_back_space(self._environment)
                return collected

        if keep_bytes is None:
            return run(None)
        promisor = next((r for r in self.remotes.values() if r.is_promisor), None)
        if promisor is None or not self.is_partial:
            raise with_hint(
                InvalidInputError(
                    f"cannot keep only {keep_bytes:,} bytes: no remote would give the others back"
                ),
                "only a partial clone fetches what is absent; see 'tvcs clone --help'",
            )
        with self._connected(promisor) as connection:
            return run(releasing(stores, connection.stores, keep_bytes))

    def verify(
        self,
        revision: str | Commit | None = None,
        *,
        repair: bool = False,
        repair_from: str | None = None,
        progress: Shown[Counted] = None,
    ) -> VerifyReport:
        """Check every digest, link and checksum; nothing is changed but by a repair.

        Parameters
        ----------
        revision : str or Commit, optional
            Only what this revision reaches; everything when omitted.
        repair : bool
            Mend first what needs no other repository: the format file from its copy, or the copy
            from it. Otherwise they are only reported.
        repair_from : str, optional
            A remote by its name, a URL or a path: what is damaged or lost here and there is
            whole there is brought back first, after a `repair`. Refs are never changed.
        progress : callable or True, optional
            Called with the number of commits checked so far, and None. True draws a bar.

        Returns
        -------
        VerifyReport
            `is_sound`, counts, the problems found, the samples that they touch, and what was
            mended.

        Raises
        ------
        InvalidInputError
            Both a revision and a repair are asked for.
        RepositoryNotFoundError, RemoteError
            The place to repair from cannot be reached; nothing was changed.
        StorageError
            The disk refused; what was mended by then is.

        Notes
        -----
        Reads every pack once and hashes every value, in a few MiB beside 32 bytes for each commit
        and tree node. A repair reads the packs that are damaged three times, and writes them anew.
        """
        # Without a promisor: what is absent is not fetched to be checked.
        tensors = Hdf5Tensors(self._folder.root, self._environment, is_apart=True)
        stores = replace(self._receiving_stores(), tensors=tensors)
        nodes = Nodes(stores.objects)
        if revision is not None:
            if repair or repair_from is not None:
                raise InvalidInputError("a repair is of the whole repository, not of a revision")
            commit = self._resolve_any(revision)
            with count_progress(progress, "Verifying") as count:
                return verify_repository(
                    stores,
                    nodes,
                    {commit.short_id: commit.digest},
                    {},
                    check_some=tensors.verify_values,
                    allow_absent=self.is_partial,
                    progress=count,
                )
        if repair_from is not None:
            with count_progress(progress, "Repairing") as count:
                return self._repair(stores, nodes, repair_from, count)
        mended = self._mend_files() if repair else None
        starts, snapshots, problems, may_be_partial = self._verification_starts(stores)
        with count_progress(progress, "Verifying") as count:
            report = verify_repository(
                stores,
                nodes,
                starts,
                snapshots,
                check_values=self._tensors.verify,
                allow_absent=may_be_partial,
                problems=problems,
                progress=count,
            )
        report.value_count = self._tensors.stats().value_count
        if mended is not None:
            report.repair = Repair("", files=mended)
        return report

    def _mend_files(self) -> list[str]:
        """Write the files anew that have a copy; return their names."""
        self._check_present()
        try:
            return mend_format(self._folder.root)
        except CorruptionError:
            # Neither is left to mend the other from, which is reported with the rest.
            return []

    def _verify_links(self) -> VerifyReport:
        """Check all that refs reach, without a look into the packs but for their directories."""
        stores = self._receiving_stores()
        starts, snapshots, problems, may_be_partial = self._verification_starts(stores)
        return verify_repository(
            stores,
            Nodes(stores.objects),
            starts,
            snapshots,
            allow_absent=may_be_partial,
            problems=problems,
        )

    def _verification_starts(
        self, stores: Stores
    ) -> tuple[dict[str, CommitDigest], dict[str, SnapshotDigest], list[Problem], bool]:
        """Return all that is to be kept, what of it cannot be, and whether this may be partial."""
        starts, problems = ref_commits(stores)
        problems += format_problems(self._folder.root)
        snapshots: dict[str, SnapshotDigest] = {}
        try:
            self.remotes  # noqa: B018 (read to see whether they can be)
            current_branch(stores.refs)
        except CorruptionError as error:
            problems.append(("settings or HEAD", error))
        problems += check_log(stores.refs)
        try:
            record = self._staging_record()
        except CorruptionError as error:
            problems.append(("staging area", error))
        else:
            if record is not None:
                snapshots["staging area"] = record.snapshot
        try:
            merge_starts, merge_snapshots = merge_reach(stores.objects, stores.refs)
        except (CorruptionError, ObjectNotFoundError) as error:
            problems.append(("merge in progress", error))
        else:
            starts |= merge_starts
            snapshots |= merge_snapshots
        for name, stash in iter_records(stores.refs):
            if isinstance(stash, StashRecord):
                snapshots[name] = stash.snapshot
                starts |= {} if stash.base is None else {f"base of {name}": stash.base}
            else:
                problems.append((name, stash))
        try:
            may_be_partial = self.is_partial
        except CorruptionError:
            may_be_partial = True
        return starts, snapshots, problems, may_be_partial

    def _repair(
        self,
        stores: Stores,
        nodes: Nodes,
        place: str,
        progress: Counted | None,
    ) -> VerifyReport:
        """Mend what is damaged, with what the repository at a place has."""
        self._check_present()
        tensors, objects = self._tensors, LmdbObjects(self._environment)
        known = self.remotes.get(place) or Remote("repair", resolve_url(check_url(place)))
        with self._connected(known) as connection, self._leases.work():
            mended_files = self._mend_files()
            rescue = Rescue([(known.name, lambda: connection.stores)])

            def mend_packs(repair: Repair) -> tuple[list[bytes], list[bytes]]:
                mended = tensors.mend(rescue.take_values)
                repair.packs += mended.packs
                repair.value_count += mended.value_count
                return mended.unopened, mended.lost

            means = Means(
                find_object=rescue.find_object,
                replace_object=lambda digest, content: objects.replace([(digest, content)]),
                mend_packs=mend_packs,
                take_values=lambda digests: tensors.take_missing(rescue.take_values, digests),
                has_values=rescue.has_values,
                forget_packs=tensors.forget_packs,
            )
            mended_tag_count = self._mend_tags(stores, means)
            starts, snapshots, problems, may_be_partial = self._verification_starts(stores)
            report = repair_repository(
                stores,
                nodes,
                starts,
                snapshots,
                means=means,
                source=known.shown_url,
                check_values=tensors.verify,
                allow_absent=may_be_partial,
                problems=problems,
                progress=progress,
            )
            if report.repair is not None:
                report.repair.object_count += mended_tag_count
                report.repair.files += mended_files
        report.value_count = tensors.stats().value_count
        return report

    def _mend_tags(self, stores: Stores, means: Means) -> int:
        """Bring back the tag objects that refs name, through which the commits are found."""
        count = 0
        for value in stores.refs.items(TAGS).values():
            digest = ref_digest(value) if value.startswith(b"tag ") else b""
            try:
                if digest:
                    stores.objects.get([digest])
            except (DigestMismatchError, ObjectNotFoundError):
                content = means.find_object(digest)
                if content is not None:
                    means.replace_object(digest, content)
                    count += 1
        return count

    def verify_commit(
        self,
        revision: str | Commit = "HEAD",
        allowed_signers: AllowedSigners | str | os.PathLike[str] | None = None,
    ) -> SignatureCheck:
        """Check who signed a commit; nothing is changed.

        Parameters
        ----------
        revision : str or Commit
        allowed_signers : AllowedSigners or path, optional
            Which keys stand for which mail addresses, in the format of ssh-keygen; when omitted,
            the file that the option ``signing.allowed-signers`` names, from the folder of the
            repository. Without either no signer is known.

        Returns
        -------
        SignatureCheck
            `status` is good, bad, unknown or unsigned, and `reason` says why.

        Raises
        ------
        RevisionNotFoundError
        NotFoundError, InvalidInputError, StorageError
            The allowed signers are missing, or cannot be read.
        MissingDependencyError
            The commit is signed, and the package ``cryptography`` is not installed.
        """
        commit = self._resolve_any(revision)
        configured = self.config.get("signing.allowed-signers")
        if allowed_signers is None and configured:
            allowed_signers = self.path / Path(configured).expanduser()
        if allowed_signers is not None and not isinstance(allowed_signers, AllowedSigners):
            allowed_signers = AllowedSigners.read(allowed_signers)
        return check_signature(commit, allowed_signers, is_signed_by)

    def stats(self) -> Statistics:
        """Return counts and sizes: commits, columns, samples, packs, bytes on disk."""
        return gather_statistics(
            self._receiving_stores(),
            self._tensors.stats(),
            self._environment.file_nbytes,
            lmdb_free_nbytes=self._environment.free_nbytes,
            is_partial=self.is_partial,
        )


def _reopen(path: str, at_operation: int | None) -> Repository:
    return Repository(open_folder(Path(path)), at_operation)


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def act() -> None:
        try:
            first()
        finally:
            second()

    return act


def _local_now() -> dt.datetime:
    return dt.datetime.now().astimezone()
