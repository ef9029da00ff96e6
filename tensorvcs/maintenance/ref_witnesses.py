"""Decide what refs were, from what is left of them and of the operation log.

Nothing about a ref proves itself. So its witnesses are asked in the order of trust: the database,
where its tree is whole; the newest operation that names the ref; older operations; and what stands
on pages of any age, of which only commits count that can be read as a whole. Each decision says
which witness it follows, and what is not as it was.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from tensorvcs.errors import (
    CorruptionError,
    InvalidInputError,
    ObjectNotFoundError,
    UnsupportedFormatError,
)
from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.operations import Operation, decode_operation
from tensorvcs.history.refs import (
    BRANCHES,
    HEAD,
    MERGE,
    REMOTE_BRANCHES,
    RUNS,
    STAGING,
    STASHES,
    TAGS,
    check_ref_name,
    decode_ref,
    encode_commit_ref,
    encode_symbolic_ref,
    ref_digest,
)
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.maintenance.verify import verify_repository
from tensorvcs.objects.digest import DIGEST_NBYTES, CommitDigest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes

Witness = Literal["database", "operation log", "older operation", "page", "commit", "nothing"]

RECOVERED = "recovered/"
"""Before the name of a branch whose commit is lost, or the id of a commit that no ref names, in the
name of the branch for what is left."""

_MAX_TIPS = 20
_MAX_TRIED = 32
_MAX_GAP = 10_000
_HEX = re.compile(rb"(?<![0-9a-f])[0-9a-f]{%d}(?![0-9a-f])" % (2 * DIGEST_NBYTES))
_TO_BRANCH = b"ref " + BRANCHES.encode()
_UNREADABLE = (CorruptionError, ObjectNotFoundError, UnsupportedFormatError)


class NamesRead(Protocol):
    """Refs and operations as one version of the database has them; None where it is damaged."""

    @property
    def refs(self) -> Mapping[str, bytes] | None:
        """The values of all refs by name."""
        ...

    @property
    def operations(self) -> Mapping[int, bytes] | None:
        """The records of the operation log by number."""
        ...

    @property
    def is_newest(self) -> bool:
        """Whether no transaction can have come after this version."""
        ...


@dataclass(frozen=True, slots=True)
class RefDecision:
    """What a ref is now.

    Attributes
    ----------
    name : str
    value : bytes or None
        None when it is left out.
    witness : str
        What it was taken from: the ``database``; the ``operation log``; an ``older operation``,
        behind which some are lost; a ``page`` of unknown age; a ``commit`` that no ref names;
        ``nothing``.
    problem : str
        What is not as it was; empty when it is.
    """

    name: str
    value: bytes | None
    witness: Witness
    problem: str = ""

    def __str__(self) -> str:
        shown = "left out" if self.value is None else _shown(self.value)
        problem = f": {self.problem}" if self.problem else ""
        return f"{self.name} {shown} ({self.witness}){problem}"


@dataclass(frozen=True, slots=True)
class DecidedNames:
    """All refs, and what is left of the operation log.

    Attributes
    ----------
    refs : dict of str to bytes
    operations : dict of int to bytes
        The newest records without a gap, by number.
    decisions : tuple of RefDecision
        Of every name that was found, sorted by name.
    changes : tuple of (str, bytes or None, bytes or None)
        Name, value by the operation log, and value decided, where they differ.
    next_number : int
        Of the next operation.
    """

    refs: dict[str, bytes]
    operations: dict[int, bytes]
    decisions: tuple[RefDecision, ...]
    changes: tuple[tuple[str, bytes | None, bytes | None], ...]
    next_number: int


def may_be_ref(name: str, value: bytes) -> bool:
    """Tell whether a name and a value may be those of a ref."""
    if name == HEAD:
        return _branch_in(value) is not None
    if name == STAGING:
        try:
            fields = json.loads(value)
        except (ValueError, RecursionError):
            return False
        return isinstance(fields, dict) and {"base", "snapshot"} <= set(fields)
    if name == MERGE:
        return value.startswith(b"merge ") and len(_named_in(value)) == 1
    if name.startswith(STASHES):
        return value.startswith(b"stash ") and name[len(STASHES) :].isdigit()
    if name.startswith(RUNS):
        return value.startswith(b"run ") and _is_legal(name, RUNS)
    for prefix in (BRANCHES, TAGS, REMOTE_BRANCHES):
        if name.startswith(prefix):
            is_tag = value.startswith(b"tag ")
            return (
                bool(ref_digest(value)) and is_tag <= (prefix == TAGS) and _is_legal(name, prefix)
            )
    return False


def _is_legal(name: str, prefix: str) -> bool:
    try:
        check_ref_name(name.removeprefix(prefix))
    except InvalidInputError:
        return False
    return True


def _branch_in(value: bytes) -> str | None:
    """Return the branch that a value of HEAD names."""
    try:
        name = value.removeprefix(_TO_BRANCH).decode()
    except UnicodeDecodeError:
        return None
    return name if value.startswith(_TO_BRANCH) and _is_legal(name, "") else None


def _named_in(value: bytes) -> list[bytes]:
    return [bytes.fromhex(name.decode()) for name in _HEX.findall(value)]


def _shown(value: bytes) -> str:
    digest = ref_digest(value)
    if digest:
        return f"is at {digest.hex()[:12]}"
    return f"is {value[:60].decode(errors='backslashreplace')}" if len(value) <= 60 else "is there"


def find_damaged_names(names: NamesRead) -> str | None:
    """Return what is wrong with refs and operations that could be read; None when all agree."""
    left: dict[str, bytes | None] = {}
    for number, record in sorted((names.operations or {}).items(), reverse=True):
        try:
            operation = decode_operation(number, record)
        except (CorruptionError, UnsupportedFormatError) as error:
            return f"operation {number}: {error}"
        for change in operation.changes:
            left.setdefault(change.name, change.after)
    refs = names.refs or {}
    if HEAD not in refs:
        return "HEAD is gone"
    for name, value in refs.items():
        if not may_be_ref(name, value):
            return f"ref {name} has a value that it cannot have"
    wrong = [name for name, value in left.items() if refs.get(name) != value]
    return f"ref {wrong[0]} is not where the operation log left it" if wrong else None


@dataclass(slots=True)
class _Log:
    """The operations that are left.

    Attributes
    ----------
    run : list of Operation
        The newest without a gap, newest first.
    older : list of Operation
        Those behind a gap, newest first.
    records : dict of int to bytes
        Those of the run, by number.
    extension : list of Operation
        Those of the run that the database does not know, oldest first.
    left : dict of str to bytes or None
        Where the run left each ref that it names.
    """

    run: list[Operation] = field(default_factory=list)
    older: list[Operation] = field(default_factory=list)
    records: dict[int, bytes] = field(default_factory=dict)
    extension: list[Operation] = field(default_factory=list)
    left: dict[str, bytes | None] = field(default_factory=dict)

    def past_values(self, name: str) -> Iterator[tuple[Witness, bytes]]:
        """Yield the values that a ref had, newest first, each from its operation."""
        for witness, operations in (("operation log", self.run), ("older operation", self.older)):
            for operation in operations:
                for change in operation.changes:
                    if change.name == name:
                        for value in (change.after, change.before):
                            if value is not None:
                                yield witness, value  # type: ignore[misc]


def _newest(names: Sequence[NamesRead]) -> NamesRead | None:
    """Return the version of the database with the newest operations that can be read."""
    readable = [version for version in names if version.operations is not None]
    if readable and readable[0].is_newest:
        return readable[0]
    return max(readable, key=lambda version: max(version.operations or {0: b""}), default=None)


def _read_log(
    newest: NamesRead | None, refs: Mapping[str, bytes] | None, found: Mapping[int, Sequence[bytes]]
) -> _Log:
    known = {} if newest is None or newest.operations is None else newest.operations
    last_known = max(known, default=0)
    entries: dict[int, tuple[Operation, bytes]] = {}
    for number in sorted({*known, *found}):
        if newest is not None and newest.is_newest and number > last_known:
            # Of a transaction that was never complete.
            break
        versions = ([known[number]] if number in known else []) + list(found.get(number, ()))
        chosen = _choose_version(number, versions, is_known=number in known)
        if chosen is not None:
            entries[number] = chosen
    log = _Log()
    top = last_known
    if newest is not None:
        while top + 1 in entries and _follows(entries[top + 1][0], refs, log):
            top += 1
            log.extension.append(entries[top][0])
    else:
        top = _plausible_top(sorted(entries))
    number = top
    while number in entries:
        log.run.append(entries[number][0])
        log.records[number] = entries[number][1]
        number -= 1
    log.older = [entries[n][0] for n in sorted(entries, reverse=True) if n < number]
    for operation in log.run:
        for change in operation.changes:
            log.left.setdefault(change.name, change.after)
    return log


def _plausible_top(numbers: Sequence[int]) -> int:
    """Return the last number that is no damaged key: not far above the one before it."""
    for before, number in zip([0, *numbers], numbers, strict=False):
        if number - before > _MAX_GAP and before:
            return before
    return numbers[-1] if numbers else 0


def _choose_version(
    number: int, versions: Iterable[bytes], *, is_known: bool
) -> tuple[Operation, bytes] | None:
    """Return the version of a record to believe: that of the database, or the latest."""
    readable = []
    for record in versions:
        try:
            readable.append((decode_operation(number, record), record))
        except (CorruptionError, UnsupportedFormatError):
            if is_known:
                is_known = False
            continue
        if is_known:
            break
    return max(readable, key=lambda found: found[0].timestamp.microseconds, default=None)


def _follows(operation: Operation, refs: Mapping[str, bytes] | None, log: _Log) -> bool:
    """Tell whether an operation begins where the database, and those behind it, left the refs."""
    if refs is None:
        return True
    state: dict[str, bytes | None] = dict(refs)
    for before in log.extension:
        state |= {change.name: change.after for change in before.changes}
    return all(state.get(change.name) == change.before for change in operation.changes)


class RefJudge:
    """Decides every ref from its witnesses.

    Parameters
    ----------
    stores : Stores
        With the objects and values that were recovered.
    nodes : Nodes
    allow_absent : bool
        Whether trees and values may be absent, as in a partial clone.
    names : sequence of NamesRead
        Versions of the database, the newest first.
    operations : mapping of int to sequence of bytes
        Records of operations that were found on pages, by number.
    refs : mapping of str to sequence of bytes
        Values of refs that were found on pages.
    commits : sequence of bytes
        The digests of all commits that there are.

    Notes
    -----
    Where the database or the log can be read, each ref costs the reading of a commit. Otherwise
    every commit that is tried is checked with all that it reaches.
    """

    def __init__(
        self,
        stores: Stores,
        nodes: Nodes,
        *,
        allow_absent: bool,
        names: Sequence[NamesRead],
        operations: Mapping[int, Sequence[bytes]],
        refs: Mapping[str, Sequence[bytes]],
        commits: Sequence[bytes],
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._allow_absent = allow_absent
        self._pages = refs
        self._commits = commits
        self._complete: dict[bytes, bool] = {}
        newest = _newest(names)
        self._database = newest.refs if newest is not None else None
        if self._database is None:
            self._database = next((v.refs for v in names if v.refs is not None), None)
        self._log = _read_log(newest, self._database, operations)
        if self._database is not None:
            state = dict(self._database)
            for operation in self._log.extension:
                for change in operation.changes:
                    state.pop(change.name, None)
                    if change.after is not None:
                        state[change.name] = change.after
            self._database = state

    def decide(self) -> DecidedNames:
        """Decide all refs."""
        log, database = self._log, self._database
        names = {*(database or ()), *(name for name, value in log.left.items() if value)}
        if database is None:
            names |= {c.name for operation in log.older for c in operation.changes}
            names |= set(self._pages)
        names |= {HEAD}
        # What was deleted stays so.
        deleted = {
            name
            for name in names
            if (database is None or name not in database) and log.left.get(name, b"") is None
        }
        decided = {name: self._decide(name) for name in sorted(names - deleted - {HEAD})}
        decided |= {d.name: d for d in self._last_complete(list(decided.values()))}
        if database is None:
            decided |= {d.name: d for d in self._unnamed(decided.values())}
        decided[HEAD] = self._decide_head(decided)
        refs = {name: d.value for name, d in sorted(decided.items()) if d.value is not None}
        changes = tuple(
            (name, log.left.get(name), refs.get(name))
            for name in sorted({*refs, *log.left})
            if log.left.get(name) != refs.get(name)
            and (name in log.left or database is None or name not in database)
        )
        return DecidedNames(
            refs,
            log.records,
            tuple(decided[name] for name in sorted(decided)),
            changes,
            max(log.records, default=0) + 1,
        )

    def _trusted(self, name: str) -> list[tuple[Witness, bytes]]:
        """Return the values of a ref by the database and by the newest operations."""
        found: list[tuple[Witness, bytes]] = []
        value = None if self._database is None else self._database.get(name)
        if value is not None:
            found.append(("database", value))
        logged = self._log.left.get(name)
        if logged is not None and logged != value:
            found.append(("operation log", logged))
        return found

    def _decide(self, name: str) -> RefDecision:
        if name.startswith((BRANCHES, TAGS, REMOTE_BRANCHES)):
            return self._decide_commit(name)
        trusted = self._trusted(name)
        for witness, value in trusted:
            if may_be_ref(name, value) and (name.startswith(RUNS) or self._has_named(value)):
                return RefDecision(name, value, witness)
        if trusted:
            return RefDecision(name, None, trusted[0][0], "what it names is lost")
        if name in (STAGING, MERGE):
            return RefDecision(name, None, "nothing", "nobody can tell which was the last")
        for value in self._pages.get(name, ()):
            if name.startswith(RUNS) or self._has_named(value):
                return RefDecision(name, value, "page", "it may have been deleted since")
        return RefDecision(name, None, "nothing", "what it names is lost")

    def _has_named(self, value: bytes) -> bool:
        """Tell whether all objects that a value names are there."""
        return not self._stores.objects.missing(_named_in(value))

    def _decide_commit(self, name: str) -> RefDecision:
        trusted = self._trusted(name)
        for witness, value in trusted:
            if self._is_readable(name, value):
                return RefDecision(name, value, witness)
        if trusted:
            # It stays where it was: a repair may bring the commit back, and who reads it is told.
            witness, value = trusted[0]
            return RefDecision(name, value, witness, "that commit is lost")
        past = self._past_of(name)
        if past is not None:
            witness, value = past
            return RefDecision(name, value, witness, "it may have moved, or been deleted, since")
        return RefDecision(name, None, "nothing", "none of its commits is left")

    def _past_of(self, name: str) -> tuple[Witness, bytes] | None:
        """Return the last value of a ref of which all is there, by operations and pages."""
        tried = [*self._log.past_values(name), *self._page_values(name)]
        for witness, value in list(dict.fromkeys(tried))[:_MAX_TRIED]:
            if self._is_readable(name, value) and self._is_complete(name, value):
                return witness, value
        return None

    def _last_complete(self, decided: Iterable[RefDecision]) -> Iterator[RefDecision]:
        """Yield a branch for each one whose commit is lost, at the last commit that is not."""
        for lost in decided:
            if not lost.name.startswith(BRANCHES) or lost.value is None or not lost.problem:
                continue
            past = self._past_of(lost.name)
            if past is not None and not self._is_readable(lost.name, lost.value):
                branch = lost.name.removeprefix(BRANCHES)
                yield RefDecision(
                    BRANCHES + RECOVERED + branch,
                    past[1],
                    past[0],
                    f"where {branch} was before it moved to the commit that is lost",
                )

    def _page_values(self, name: str) -> list[tuple[Witness, bytes]]:
        """Return the values of a ref on pages, that of the longest history first."""
        ranked = []
        for value in self._pages.get(name, ()):
            try:
                commit = read_commit(
                    self._stores.objects, decode_ref(self._stores.objects, name, value)
                )
            except _UNREADABLE:
                continue
            ranked.append((commit.generation, commit.commit_time.microseconds, value))
        return [("page", value) for _, _, value in sorted(ranked, reverse=True)]

    def _is_readable(self, name: str, value: bytes) -> bool:
        """Tell whether the commit of a ref is there, and its list of columns."""
        objects = self._stores.objects
        try:
            read_snapshot(objects, read_commit(objects, decode_ref(objects, name, value)).snapshot)
        except _UNREADABLE:
            return False
        return True

    def _is_complete(self, name: str, value: bytes) -> bool:
        """Tell whether all is there that the commit of a ref reaches."""
        digest = decode_ref(self._stores.objects, name, value)
        if digest not in self._complete:
            report = verify_repository(
                self._stores, self._nodes, {name: digest}, {}, allow_absent=self._allow_absent
            )
            self._complete[digest] = report.is_sound
        return self._complete[digest]

    def _decide_head(self, decided: Mapping[str, RefDecision]) -> RefDecision:
        branches = [
            name.removeprefix(BRANCHES)
            for name, found in decided.items()
            if name.startswith(BRANCHES) and found.value is not None
        ]
        for witness, value in self._trusted(HEAD):
            if _branch_in(value) is not None:
                return RefDecision(HEAD, value, witness)
        for value in self._pages.get(HEAD, ()):
            if _branch_in(value) in branches:
                return RefDecision(HEAD, value, "page", "another branch may have been current")
        branch = "main" if "main" in branches or not branches else branches[0]
        return RefDecision(HEAD, encode_symbolic_ref(BRANCHES + branch), "nothing", "it is lost")

    def _unnamed(self, decided: Iterable[RefDecision]) -> list[RefDecision]:
        """Return branches for the newest commits that nothing names, and that are complete."""
        objects = self._stores.objects
        parents: dict[bytes, tuple[CommitDigest, ...]] = {}
        times: dict[bytes, int] = {}
        for digest in self._commits:
            try:
                commit = read_commit(objects, CommitDigest(digest))
            except _UNREADABLE:
                continue
            parents[digest] = commit.parents
            times[digest] = commit.commit_time.microseconds
        named = [d.value for d in decided if d.value is not None]
        named += [
            value
            for operation in (*self._log.run, *self._log.older)
            for change in operation.changes
            for value in (change.before, change.after)
            if value is not None
        ]
        waiting: list[bytes] = []
        for value in named:
            waiting += _named_in(value)
            try:
                waiting.append(decode_ref(objects, "", value))
            except _UNREADABLE:
                continue
        waiting += [parent for found in parents.values() for parent in found]
        seen: set[bytes] = set()
        while waiting:
            digest = waiting.pop()
            if digest not in seen:
                seen.add(digest)
                waiting += parents.get(digest, ())
        tips = sorted((d for d in parents if d not in seen), key=times.__getitem__, reverse=True)
        found: list[RefDecision] = []
        for digest in tips[:_MAX_TRIED]:
            name = f"{BRANCHES}{RECOVERED}{digest.hex()[:12]}"
            value = encode_commit_ref(CommitDigest(digest))
            if len(found) == _MAX_TIPS:
                break
            if self._is_readable(name, value) and self._is_complete(name, value):
                found.append(RefDecision(name, value, "commit", "no ref that is left names it"))
        return found
