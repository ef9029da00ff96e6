"""The commits of Hangar, written anew one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import (
    ColumnExistsError,
    InvalidColumnError,
    InvalidInputError,
    UnreadableFileError,
)
from tensorvcs.formats.hangar.names import (
    legal_column,
    legal_identity,
    legal_message,
    moment_of,
    schema_of,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.formats.hangar.reader_client import HangarCommit, ReaderClient
    from tensorvcs.formats.interfaces import Progress
    from tensorvcs.history.commit import Commit
    from tensorvcs.objects.keys import Key
    from tensorvcs.repository import Repository

COMMIT_KEY = "hangar-commit"
"""The metadata of an imported commit that holds Hangar's name of it."""

MISSING_KEY = "hangar-missing"
"""The metadata of an imported commit that counts the samples it was left without."""

_SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True)
class MissingSample:
    """A sample that was left out, since Hangar has no data for it.

    Attributes
    ----------
    commit : str
        Hangar's name of the commit.
    column : str
    key : str, int or a pair of them
        A pair of sample and subsample in a nested column.
    reason : str
    """

    commit: str
    column: str
    key: Key | tuple[Key, Key]
    reason: str


def _candidates(repo: Repository) -> dict[str, list[Commit]]:
    """Return the commits that say they are one of Hangar, by Hangar's name."""
    found: dict[str, list[Commit]] = {}
    seen: set[str] = set()
    waiting = [commit.id for commit in [*repo.branches.values(), *repo.tags.values()]]
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        commit = repo.resolve(digest)
        waiting.extend(commit.parents)
        if COMMIT_KEY in commit.metadata:
            found.setdefault(commit.metadata[COMMIT_KEY], []).append(commit)
    return found


def _is_import_of(commit: Commit, original: HangarCommit, known: Mapping[str, Commit]) -> bool:
    """Tell whether a commit is what an import wrote, and not one that has its metadata.

    A commit that was amended or picked keeps the metadata, but was recorded later or by another,
    or has other parents.
    """
    made = commit.object
    return (
        list(made.parents) == [known[parent].digest for parent in original.parents]
        and (made.author, made.author_time) == (made.committer, made.commit_time)
        and made.author == legal_identity(original.user, original.email)
        and made.author_time.moment == moment_of(original.seconds)
        and made.message == legal_message(original.message)
    )


class CommitWriter:
    """The commits written so far, and what is to be told of them."""

    def __init__(
        self,
        repo: Repository,
        reader: ReaderClient,
        path: Path,
        order: Sequence[HangarCommit],
        *,
        allow_missing: bool,
    ) -> None:
        self._repo = repo
        self._reader = reader
        self._path = path
        self._allow_missing = allow_missing
        self._renamed: dict[str, str] = {}
        self._respelled: list[str] = []
        self.commits: dict[str, Commit] = {}
        """Of each commit of Hangar that is here, the one that it became."""
        self.sample_count = 0
        self.missing: list[MissingSample] = []
        candidates = _candidates(repo)
        for original in order:
            if all(parent in self.commits for parent in original.parents):
                for commit in candidates.get(original.digest, []):
                    if _is_import_of(commit, original, self.commits):
                        self.commits[original.digest] = commit
        # Whether a sample that Hangar deletes may never have been here.
        self._may_lack = allow_missing or any(
            MISSING_KEY in commit.metadata for commit in self.commits.values()
        )

    @property
    def notes(self) -> list[str]:
        """What is spelled otherwise than in Hangar."""
        found = [f"column {old!r} is {new!r} here" for old, new in self._renamed.items()]
        if self._respelled:
            shown = ", ".join(digest[:14] for digest in self._respelled[:_SHOWN_NAMES])
            more = ", …" if len(self._respelled) > _SHOWN_NAMES else ""
            found.append(
                f"commits with an author or a message that cannot be kept letter by letter: "
                f"{len(self._respelled)}, {shown}{more}"
            )
        return found

    def write(self, original: HangarCommit, progress: Progress | None) -> None:
        """Write one commit, all of whose parents are written."""
        frames = self._reader.changes(original, allow_missing=self._allow_missing)
        header, _ = next(frames)
        base = self.commits[header["base"]] if header["base"] else None
        missing_before = len(self.missing)
        author = legal_identity(original.user, original.email)
        message = legal_message(original.message)
        if (author.name, author.email, message) != (
            original.user, original.email, original.message
        ):  # fmt: skip
            self._respelled.append(original.digest)
        editor = self._repo.edit_detached(
            [self.commits[parent] for parent in original.parents],
            time=self._moment_of(original),
            base=base,
        )
        try:
            self._reshape(editor, header)
            for part, payload in frames:
                self._apply(editor, original, part, payload)
                if progress is not None:
                    progress(self.sample_count, None)
            metadata = {COMMIT_KEY: original.digest}
            if len(self.missing) > missing_before:
                metadata[MISSING_KEY] = str(len(self.missing) - missing_before)
            self.commits[original.digest] = editor.commit(message, author, metadata=metadata)
        except UnreadableFileError:
            raise
        except (InvalidInputError, ColumnExistsError) as error:
            raise UnreadableFileError(
                f"commit {original.digest}: {error}", path=str(self._path)
            ) from error
        finally:
            editor.abandon()

    def _moment_of(self, original: HangarCommit) -> dt.datetime:
        try:
            return moment_of(original.seconds)
        except (ValueError, OverflowError) as error:
            raise UnreadableFileError(
                f"commit {original.digest}: its time {original.seconds!r} is none",
                path=str(self._path),
            ) from error

    def _column(self, theirs: str) -> str:
        name = legal_column(theirs)
        if name != theirs:
            self._renamed[theirs] = name
        return name

    def _reshape(self, editor: EditableCheckout, header: Mapping[str, Any]) -> None:
        """Delete and add columns."""
        for theirs in header["deleted"]:
            del editor[self._column(theirs)]
        for theirs, fields in header["created"].items():
            name = self._column(theirs)
            try:
                schema = schema_of(fields)
            except InvalidColumnError as error:
                raise InvalidColumnError(f"column {theirs!r}: {error}") from error
            if schema.kind == "str":
                editor.add_str_column(name, nested=schema.nested)
            elif schema.kind == "bytes":
                editor.add_bytes_column(name, nested=schema.nested)
            else:
                editor.add_ndarray_column(
                    name,
                    schema.shape,
                    schema.numpy_dtype,
                    variable_shape=schema.variable_shape,
                    nested=schema.nested,
                )

    def _apply(
        self,
        editor: EditableCheckout,
        original: HangarCommit,
        header: Mapping[str, Any],
        payload: bytearray,
    ) -> None:
        """Stage what one frame says."""
        column = editor.columns[self._column(header["column"])]
        is_nested = column.schema.nested
        if header["type"] == "gone":
            _delete(column, header["keys"], is_nested=is_nested, may_lack=self._may_lack)
        elif header["type"] == "missing":
            key = tuple(header["key"]) if is_nested else header["key"]
            self.missing.append(
                MissingSample(original.digest, header["column"], key, header["reason"])
            )
            # Changed to a value that is lost: what was there before is no more.
            _delete(column, [header["key"]], is_nested=is_nested, may_lack=True)
        else:
            values = self._reader.values(header, payload, column.schema)
            self.sample_count += len(values)
            if not is_nested:
                column.extend(values, keys=header["keys"])
                return
            samples: dict[Key, dict[Key, Any]] = {}
            for (sample, subsample), value in zip(header["keys"], values, strict=True):
                samples.setdefault(sample, {})[subsample] = value
            column.update(samples)


def _delete(column: Any, keys: list[Any], *, is_nested: bool, may_lack: bool) -> None:
    if is_nested:
        for sample, subsample in keys:
            if not may_lack or subsample in column[sample]:
                del column[sample][subsample]
    else:
        column.delete_many([key for key in keys if not may_lack or key in column])
