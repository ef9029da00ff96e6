"""Every error the library raises, in one tree.

Grouped by what the caller does next::

    TensorVCSError
    ├── InvalidInputError (ValueError)   fix the argument
    │   ├── SchemaMismatchError          the value does not fit its column
    │   ├── InvalidKeyError              not a legal sample key
    │   ├── DuplicateKeyError            one key twice in one call
    │   ├── InvalidColumnError           not a legal column name or schema
    │   ├── RefNameError                 not a legal branch or tag name
    │   ├── RevisionSyntaxError          not a revision
    │   ├── MainlineError                a merge commit has several parents, or not that one
    │   ├── UnreadableFileError          a file that no format can read
    │   └── OtherDataError               the state of a loader is of other samples
    ├── NotFoundError (KeyError)         look elsewhere
    │   ├── RepositoryNotFoundError
    │   ├── RevisionNotFoundError
    │   │   └── AmbiguousRevisionError
    │   ├── BranchNotFoundError
    │   ├── TagNotFoundError
    │   ├── ColumnNotFoundError
    │   ├── SampleNotFoundError
    │   ├── FormatNotFoundError
    │   ├── OperationNotFoundError
    │   ├── StashNotFoundError
    │   ├── RunNotFoundError
    │   ├── RemoteNotFoundError
    │   └── ObjectNotFoundError
    │       └── PromisorAwayError        the remote that has it does not answer: retry later
    ├── AlreadyExistsError               choose another name
    │   ├── RepositoryExistsError
    │   ├── ColumnExistsError
    │   ├── BranchExistsError
    │   ├── TagExistsError
    │   ├── RunExistsError
    │   ├── RemoteExistsError
    │   └── DestinationExistsError
    ├── StateError                       change state first
    │   ├── NothingToCommitError
    │   │   └── EmptyPickError
    │   ├── MergeInProgressError
    │   ├── NoMergeInProgressError
    │   ├── OpenConflictsError
    │   ├── NothingToUndoError
    │   ├── NothingToStashError
    │   ├── UncommittedChangesError
    │   ├── ReadOnlyError
    │   ├── BareRepositoryError
    │   ├── ClosedError
    │   ├── BranchInUseError
    │   ├── UnmergedBranchError
    │   ├── UnrelatedHistoriesError
    │   ├── IdentityMissingError
    │   └── UntrustedCommitError
    ├── ConflictError                    reconcile, then retry
    │   ├── MergeConflictError
    │   ├── NonFastForwardError
    │   └── RefChangedError
    ├── LockedError                      wait
    │   ├── StagingLockedError
    │   └── WorkInProgressError
    ├── CorruptionError                  stop, run verify
    │   ├── DigestMismatchError
    │   ├── SlabChecksumError
    │   ├── PackDamagedError
    │   └── ObjectDamagedError
    ├── StorageError (OSError)           the disk said no: check permissions, retry
    │   └── DiskFullError                free space, then try again: nothing was changed
    ├── UnsupportedFormatError           upgrade or migrate
    ├── MissingDependencyError           install the extra
    ├── RemoteError                      retry later
    │   ├── ConnectionLostError          nobody answers, or the line was cut
    │   └── AccessDeniedError            the remote wants a token, or another one
    ├── TimedOutError (TimeoutError)     wait longer, or find what hangs
    └── WorkerError                      mend what a worker process runs, or its memory
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


E = TypeVar("E", bound="TensorVCSError")


def _rebuild(cls: type[TensorVCSError], values: dict[str, Any], hint: str | None) -> TensorVCSError:
    error = cls(**values)
    error.hint = hint
    return error


class TensorVCSError(Exception):
    """Root of the tree: fields that say what happened, and a hint for the next step."""

    _hint: str | None = None

    @property
    def hint(self) -> str | None:
        """What to do next; a traceback shows it as a note."""
        return self._hint

    @hint.setter
    def hint(self, hint: str | None) -> None:
        if self._hint is not None:
            self.__notes__.remove(f"Hint: {self._hint}")
        self._hint = hint
        if hint is not None:
            self.add_note(f"Hint: {hint}")

    def describe(self) -> str:
        """Return the sentence that says what happened to which object, with the numbers."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.describe()

    def __reduce__(
        self,
    ) -> tuple[
        Callable[[type[TensorVCSError], dict[str, Any], str | None], TensorVCSError],
        tuple[type[TensorVCSError], dict[str, Any], str | None],
    ]:
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        return _rebuild, (type(self), {n: getattr(self, n) for n in names}, self.hint)


@dataclass(eq=False)
class InvalidInputError(TensorVCSError, ValueError):
    """An argument is not acceptable; `problem` says which and why."""

    problem: str

    def describe(self) -> str:
        return self.problem

    __str__ = TensorVCSError.__str__


@dataclass(eq=False)
class SchemaMismatchError(InvalidInputError):
    """A value does not fit the schema of its column."""

    problem: str
    column: str | None = None
    key: object = None
    found: str | None = None
    expected: str | None = None

    def describe(self) -> str:
        where = []
        if self.column is not None:
            where.append(f"column {self.column!r}")
        if self.key is not None:
            where.append(f"key {_shorten(self.key)}")
        text = (", ".join(where) + ": " if where else "") + self.problem
        if self.found is not None or self.expected is not None:
            text += f" (found {self.found}, expected {self.expected})"
        return text


@dataclass(eq=False)
class InvalidKeyError(InvalidInputError):
    """A sample key that is not a legal `str` or `int`."""


@dataclass(eq=False)
class DuplicateKeyError(InvalidInputError):
    """One key comes twice in one call."""


@dataclass(eq=False)
class InvalidColumnError(InvalidInputError):
    """A column name or a schema that is not legal."""


@dataclass(eq=False)
class RefNameError(InvalidInputError):
    """A branch, tag or remote name that is not legal."""


@dataclass(eq=False)
class RevisionSyntaxError(InvalidInputError):
    """Text that cannot be a revision."""


@dataclass(eq=False)
class MainlineError(InvalidInputError):
    """Of a merge commit the parent whose side is kept is not named, or there is none such."""


@dataclass(eq=False)
class UnreadableFileError(InvalidInputError):
    """A file whose content no format can turn into tensors."""

    problem: str
    path: str = ""

    def describe(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


@dataclass(eq=False)
class OtherDataError(InvalidInputError):
    """The state of a loader was made with other samples, or in another order."""


@dataclass(eq=False)
class NotFoundError(TensorVCSError, KeyError):
    """Something named is not there; `what` names it."""

    what: str

    def describe(self) -> str:
        return self.what

    __str__ = TensorVCSError.__str__


@dataclass(eq=False)
class RepositoryNotFoundError(NotFoundError):
    """No repository at a path or above it."""


@dataclass(eq=False)
class RevisionNotFoundError(NotFoundError):
    """A revision names no commit here."""


@dataclass(eq=False)
class AmbiguousRevisionError(RevisionNotFoundError):
    """A commit id prefix fits more than one commit."""


@dataclass(eq=False)
class BranchNotFoundError(NotFoundError):
    """No branch of that name."""


@dataclass(eq=False)
class TagNotFoundError(NotFoundError):
    """No tag of that name."""


@dataclass(eq=False)
class ColumnNotFoundError(NotFoundError):
    """No column of that name."""


@dataclass(eq=False)
class SampleNotFoundError(NotFoundError):
    """No sample, or subsample, of that key."""


@dataclass(eq=False)
class FormatNotFoundError(NotFoundError):
    """No import or export format of that name, or none that fits a file."""


@dataclass(eq=False)
class OperationNotFoundError(NotFoundError):
    """No operation of that number in the log."""


@dataclass(eq=False)
class StashNotFoundError(NotFoundError):
    """No stash of that number."""


@dataclass(eq=False)
class RunNotFoundError(NotFoundError):
    """No run of that name is recorded."""


@dataclass(eq=False)
class RemoteNotFoundError(NotFoundError):
    """No remote of that name."""


@dataclass(eq=False)
class ObjectNotFoundError(NotFoundError):
    """A digest is in no store: a node, commit or tensor is absent."""


@dataclass(eq=False)
class PromisorAwayError(ObjectNotFoundError):
    """What is read is not in this partial clone, and the remote that has it does not answer."""


@dataclass(eq=False)
class AlreadyExistsError(TensorVCSError):
    """The name is taken; `what` names it."""

    what: str

    def describe(self) -> str:
        return self.what


@dataclass(eq=False)
class RepositoryExistsError(AlreadyExistsError):
    """A repository is there already."""


@dataclass(eq=False)
class ColumnExistsError(AlreadyExistsError):
    """A column has that name already."""


@dataclass(eq=False)
class BranchExistsError(AlreadyExistsError):
    """A branch has that name already."""


@dataclass(eq=False)
class TagExistsError(AlreadyExistsError):
    """A tag has that name already."""


@dataclass(eq=False)
class RunExistsError(AlreadyExistsError):
    """A run of that name is recorded."""


@dataclass(eq=False)
class RemoteExistsError(AlreadyExistsError):
    """A remote of that name exists."""


@dataclass(eq=False)
class DestinationExistsError(AlreadyExistsError):
    """An export would write over a file that is there already."""


@dataclass(eq=False)
class StateError(TensorVCSError):
    """The repository is in a state that forbids the call; `problem` says which."""

    problem: str

    def describe(self) -> str:
        return self.problem


@dataclass(eq=False)
class NothingToCommitError(StateError):
    """Staging equals the commit it started from."""


@dataclass(eq=False)
class EmptyPickError(NothingToCommitError):
    """Nothing of what was to be picked or reverted is left to change here."""


@dataclass(eq=False)
class MergeInProgressError(StateError):
    """A merge, cherry-pick or revert waits in the staging area, and the call would lose it."""


@dataclass(eq=False)
class NoMergeInProgressError(StateError):
    """No merge, cherry-pick or revert waits in the staging area."""


@dataclass(eq=False)
class OpenConflictsError(StateError):
    """A merge has conflicts that nobody has decided yet."""


@dataclass(eq=False)
class NothingToUndoError(StateError):
    """The operation log holds nothing that can be undone."""


@dataclass(eq=False)
class NothingToStashError(StateError):
    """Nothing is staged, or nothing of what was asked for."""


@dataclass(eq=False)
class UncommittedChangesError(StateError):
    """The working staging area holds changes that the call would lose."""


@dataclass(eq=False)
class ReadOnlyError(StateError):
    """A write to something that is read-only."""


@dataclass(eq=False)
class BareRepositoryError(StateError):
    """A bare repository has no staging area."""


@dataclass(eq=False)
class ClosedError(StateError):
    """The repository or checkout was closed."""


@dataclass(eq=False)
class BranchInUseError(StateError):
    """The branch is the current one and cannot be deleted."""


@dataclass(eq=False)
class UnmergedBranchError(StateError):
    """Deleting the branch would leave commits that nothing else reaches."""


@dataclass(eq=False)
class UnrelatedHistoriesError(StateError):
    """Two commits have no ancestor in common."""


@dataclass(eq=False)
class IdentityMissingError(StateError):
    """No user name and mail are configured, and a commit needs them."""


@dataclass(eq=False)
class UntrustedCommitError(StateError):
    """A commit has no good signature of an allowed signer."""


@dataclass(eq=False)
class ConflictError(TensorVCSError):
    """Two changes exclude each other; `problem` says which."""

    problem: str

    def describe(self) -> str:
        return self.problem


@dataclass(eq=False)
class MergeConflictError(ConflictError):
    """A merge found conflicts and changed nothing; `conflicts` lists them."""

    problem: str
    conflicts: Sequence[Any] = ()


@dataclass(eq=False)
class NonFastForwardError(ConflictError):
    """The remote has commits that the branch here has not."""


@dataclass(eq=False)
class RefChangedError(ConflictError):
    """A ref moved between reading it and changing it."""


@dataclass(eq=False)
class LockedError(TensorVCSError):
    """Somebody else holds a lock; `problem` says who and since when."""

    problem: str

    def describe(self) -> str:
        return self.problem


@dataclass(eq=False)
class StagingLockedError(LockedError):
    """Another process edits the working staging area."""


@dataclass(eq=False)
class WorkInProgressError(LockedError):
    """Something is being written, so that garbage cannot be told from what is on its way."""


@dataclass(eq=False)
class CorruptionError(TensorVCSError):
    """Stored bytes are not what was stored; `problem` names pack, slab and samples.

    `digests` are those of the values that are lost with them, as far as they are known.
    """

    problem: str
    digests: tuple[bytes, ...] = ()
    hint = "run 'tvcs verify' to see everything that is damaged"

    def describe(self) -> str:
        return self.problem


@dataclass(eq=False)
class DigestMismatchError(CorruptionError):
    """Bytes do not hash to their name."""


@dataclass(eq=False)
class SlabChecksumError(CorruptionError):
    """A slab of a pack does not have the checksum it was sealed with; `digests` are lost."""


@dataclass(eq=False)
class PackDamagedError(CorruptionError):
    """A pack file is missing, truncated or not the file that was sealed."""


@dataclass(eq=False)
class ObjectDamagedError(CorruptionError):
    """A node, commit, ref or record cannot be decoded."""


@dataclass(eq=False)
class StorageError(TensorVCSError, OSError):
    """The file system or LMDB refused a read or a write; `problem` says what and where."""

    problem: str

    def describe(self) -> str:
        return self.problem

    __str__ = TensorVCSError.__str__


@dataclass(eq=False)
class DiskFullError(StorageError):
    """There is no room for a write, on the disk or in a quota; `problem` says where."""


@dataclass(eq=False)
class UnsupportedFormatError(TensorVCSError):
    """The repository, or a record in it, has a format this version does not know."""

    problem: str

    def describe(self) -> str:
        return self.problem


@dataclass(eq=False)
class MissingDependencyError(TensorVCSError):
    """An optional package is not installed."""

    package: str
    extra: str
    purpose: str

    def describe(self) -> str:
        return f"{self.purpose} needs the package {self.package!r}, which is not installed"

    def __post_init__(self) -> None:
        self.hint = f"pip install 'tensorvcs[{self.extra}]'"


@dataclass(eq=False)
class RemoteError(TensorVCSError):
    """A remote failed; `problem` says which and how."""

    problem: str

    def describe(self) -> str:
        return self.problem


@dataclass(eq=False)
class ConnectionLostError(RemoteError):
    """A remote does not answer, or not to the end; another try may succeed."""


@dataclass(eq=False)
class AccessDeniedError(RemoteError):
    """A remote does not know the token, or the token has not the right."""


@dataclass(eq=False)
class TimedOutError(TensorVCSError, TimeoutError):
    """Something did not come within the time that was given for it."""

    problem: str

    def describe(self) -> str:
        return self.problem

    __str__ = TensorVCSError.__str__


@dataclass(eq=False)
class WorkerError(TensorVCSError):
    """A worker process of a loader ended, or raised or made what cannot be sent from it."""

    problem: str

    def describe(self) -> str:
        return self.problem


def _shorten(key: object, limit: int = 80) -> str:
    text = repr(key)
    return text if len(text) <= limit else f"{text[: limit - 1]}… ({len(text)} characters)"


def with_hint(error: E, hint: str) -> E:
    """Return `error` with its hint set: the next command to run."""
    error.hint = hint
    return error
