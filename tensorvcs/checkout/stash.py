"""The stash: staged changes that were put aside, each a snapshot over a commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorvcs.checkout.areas import StagingRecord, columns_of, read_staging, staging_base
from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import (
    CorruptionError,
    MergeInProgressError,
    NothingToStashError,
    ObjectDamagedError,
    StashNotFoundError,
    UnsupportedFormatError,
    with_hint,
)
from tensorvcs.history.commit import Commit, change_refs, load_commit
from tensorvcs.history.difference.diff import Diff, diff_columns
from tensorvcs.history.merging.column_merge import decided_note, merge_columns
from tensorvcs.history.merging.merge import conflict_error
from tensorvcs.history.picking.selection import Selection, take_back
from tensorvcs.history.refs import MERGE, STAGING, STASHES
from tensorvcs.history.snapshot import Columns, read_snapshot, write_snapshot
from tensorvcs.objects.commit import Timestamp
from tensorvcs.objects.digest import CommitDigest, SnapshotDigest, digest_of
from tensorvcs.objects.encoding import decode_object, encode_object
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from tensorvcs.errors import TensorVCSError
    from tensorvcs.storage.interfaces import RefStore, Stores
    from tensorvcs.tree.nodes import Nodes

SHORT_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class StashRecord:
    """The value of a stash ref."""

    base: CommitDigest | None
    snapshot: SnapshotDigest
    branch: str
    message: str
    user: str
    timestamp: Timestamp

    def encode(self) -> bytes:
        """Return the value of the ref."""
        fields = {
            "base": None if self.base is None else self.base.hex(),
            "snapshot": self.snapshot.hex(),
            "branch": self.branch,
            "message": self.message,
            "user": self.user,
            "time": self.timestamp.microseconds,
            "offset": self.timestamp.offset_minutes,
        }
        return encode_object("stash", 1, fields)

    @classmethod
    def decode(cls, value: bytes) -> StashRecord:
        """Read the value of the ref; raise ObjectDamagedError when it is none."""
        fields = decode_object(value, "stash", 1)
        try:
            base = fields["base"]
            for name in ("branch", "message", "user"):
                if not isinstance(fields[name], str):
                    raise TypeError(f"its {name} is no text")
            return cls(
                None if base is None else CommitDigest(bytes.fromhex(base)),
                SnapshotDigest(bytes.fromhex(fields["snapshot"])),
                fields["branch"],
                fields["message"],
                fields["user"],
                Timestamp(fields["time"], fields["offset"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ObjectDamagedError(f"a stash cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Stash:
    """Staged changes that were put aside.

    Attributes
    ----------
    place : int
        0 for the newest when the stashes were listed; what commands call it by.
    ref : str
        The name of its ref, which stays while others come and go.
    record : StashRecord
    base : Commit or None
        The commit that the changes were made over; None before the first commit.
    """

    place: int
    ref: str
    record: StashRecord
    base: Commit | None
    _stores: Stores = field(repr=False, compare=False)
    _nodes: Nodes = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that no other stash here has."""
        return digest_of(self.ref.encode() + b"\n" + self.record.encode()).hex()[:SHORT_ID_DIGITS]

    @property
    def message(self) -> str:
        """What was said about it."""
        return self.record.message

    @property
    def branch(self) -> str:
        """The branch that was current."""
        return self.record.branch

    @property
    def time(self) -> dt.datetime:
        """When it was put aside, in the time zone of who did."""
        return self.record.timestamp.moment

    def columns_before(self) -> Columns:
        """Return the columns that the changes were made over."""
        return columns_of(self._stores, None if self.base is None else self.base.digest)

    def columns_after(self) -> Columns:
        """Return the columns with the changes."""
        return read_snapshot(self._stores.objects, self.record.snapshot)

    def diff(self) -> Diff:
        """Return the changes that were put aside."""
        return diff_columns(
            self._nodes, self.columns_before(), self.columns_after(), self._stores.tensors
        )

    def __repr__(self) -> str:
        return f"<Stash {self.place} of branch {self.branch!r}: {self.message!r}>"

    def _repr_html_(self) -> str:
        rows = [
            [value_html(name), f"+{s.added:,}", f"-{s.deleted:,}", f"~{s.modified:,}"]
            for name, s in self.diff().stat().columns.items()
        ]
        return table_html(["column", "added", "deleted", "modified"], rows, repr(self)[1:-1])


def list_stashes(stores: Stores, nodes: Nodes) -> list[Stash]:
    """Return the stashes, newest first."""
    values = stores.refs.items(STASHES)
    names = sorted(values, key=_number_of, reverse=True)
    return [_stash(stores, nodes, at, name, values[name]) for at, name in enumerate(names)]


def _stash(stores: Stores, nodes: Nodes, place: int, name: str, value: bytes) -> Stash:
    record = StashRecord.decode(value)
    base = None if record.base is None else load_commit(stores.objects, record.base)
    return Stash(place, name, record, base, stores, nodes)


def _number_of(name: str) -> int:
    digits = name[len(STASHES) :]
    if not (digits.isascii() and digits.isdigit()):
        raise ObjectDamagedError(f"ref {name[:80]!r} is no stash")
    return int(digits)


def iter_records(refs: RefStore) -> Iterator[tuple[str, StashRecord | TensorVCSError]]:
    """Yield the ref of each stash with its record, or with what is wrong with it."""
    for name, value in refs.items(STASHES).items():
        try:
            yield name, StashRecord.decode(value)
        except (CorruptionError, UnsupportedFormatError) as error:
            yield name, error


def find_stash(stores: Stores, nodes: Nodes, which: int | Stash) -> Stash:
    """Return a stash by its place, 0 for the newest, or the same stash as it is now.

    Raises
    ------
    StashNotFoundError
        There is none at that place, or it was dropped.
    """
    stashes = list_stashes(stores, nodes)
    if isinstance(which, Stash):
        found = [stash for stash in stashes if (stash.ref, stash.id) == (which.ref, which.id)]
    else:
        is_place = isinstance(which, int) and not isinstance(which, bool)
        found = [stash for stash in stashes if is_place and stash.place == which]
    if found:
        return found[0]
    called = f"stash {which.id}" if isinstance(which, Stash) else f"stash {which!r}"
    there = f"the newest is 0, the oldest {len(stashes) - 1}" if stashes else "nothing is stashed"
    raise with_hint(StashNotFoundError(f"no {called}; {there}"), "'tvcs stash list' lists them")


def push_stash(
    stores: Stores,
    nodes: Nodes,
    branch: str,
    *,
    message: str | None,
    selection: Selection,
    user: str,
    now: Timestamp,
) -> Stash:
    """Put staged changes aside; those that are not selected stay staged.

    Runs inside a transaction, by who holds the staging lock.

    Raises
    ------
    NothingToStashError
        Nothing is staged, or nothing that is selected.
    ColumnNotFoundError
        A selected column is in neither version.
    MergeInProgressError
    """
    refs = stores.refs
    check_no_merge(refs, "stash")
    staged = read_staging(refs)
    if staged is None:
        raise NothingToStashError("nothing is staged, so that there is nothing to put aside")
    before, after = columns_of(stores, staged.base), read_snapshot(stores.objects, staged.snapshot)
    chosen, rest = take_back(nodes, before, after, selection)
    if chosen == before:
        raise with_hint(
            NothingToStashError("nothing that is staged is in the columns and keys asked for"),
            "'tvcs diff' lists what is staged",
        )
    base = None if staged.base is None else load_commit(stores.objects, staged.base)
    if message is None:
        over = "no commit yet" if base is None else f"{base.short_id} {base.summary}"
        message = f"Work on {branch}: {over}"
    snapshot = write_snapshot(stores.objects, chosen)
    record = StashRecord(staged.base, snapshot, branch, message, user, now)
    name = f"{STASHES}{1 + max(map(_number_of, refs.items(STASHES)), default=0)}"
    value = record.encode()
    change_refs(
        stores,
        [RefChange(name, None, value), _stage(stores, before, staged.base, rest)],
        command="stash",
        description=f"push {message.partition(chr(10))[0][:60]}",
        user=user,
        now=now,
    )
    return _stash(stores, nodes, 0, name, value)


def apply_stash(
    stores: Stores,
    nodes: Nodes,
    branch: str,
    stash: Stash,
    *,
    drop: bool,
    user: str,
    now: Timestamp,
) -> None:
    """Make the changes of a stash in the working staging area, merged by sample.

    Runs inside a transaction, by who holds the staging lock.

    Raises
    ------
    MergeConflictError
        Samples that the stash changed were changed here too, in another way. Nothing was changed.
    MergeInProgressError
    """
    refs = stores.refs
    check_no_merge(refs, "apply a stash")
    staged = read_staging(refs)
    base = staging_base(stores, branch)
    here = columns_of(stores, base)
    ours = here if staged is None else read_snapshot(stores.objects, staged.snapshot)
    before, after = stash.columns_before(), stash.columns_after()
    # No recency: what came here since may be newer than the stash or not, so that the policy
    # 'newest' decides nothing.
    merged = merge_columns(nodes, stores.tensors, before, ours, after)
    if merged.conflicts:
        raise with_hint(
            conflict_error(merged.conflicts, f"applying stash {stash.place}"),
            "the stash is kept"
            if stash.base is None
            else "the stash is kept; it fits on a branch at the commit it was made over: "
            f"tvcs switch -c NEW {stash.base.short_id}",
        )
    # What a policy kept in a schema made of both sides.
    stores.tensors.seal()
    changes = [_stage(stores, here, base, merged.columns)]
    if drop:
        changes.append(RefChange(stash.ref, stash.record.encode(), None))
    changes = [change for change in changes if change.before != change.after]
    if changes:
        change_refs(
            stores,
            changes,
            command="stash",
            description=f"{'pop' if drop else 'apply'} {stash.message.partition(chr(10))[0][:60]}"
            + decided_note(len(merged.decided)),
            user=user,
            now=now,
        )


def drop_stash(stores: Stores, stash: Stash, *, user: str, now: Timestamp) -> None:
    """Forget a stash; `undo` brings it back."""
    change_refs(
        stores,
        [RefChange(stash.ref, stash.record.encode(), None)],
        command="stash",
        description=f"drop {stash.message.partition(chr(10))[0][:60]}",
        user=user,
        now=now,
    )


def reset_part(
    stores: Stores, nodes: Nodes, branch: str, selection: Selection, *, user: str, now: Timestamp
) -> bool:
    """Take back the staged changes that are selected; tell whether there were any.

    Runs inside a transaction, by who holds the staging lock.

    Raises
    ------
    ColumnNotFoundError
        A selected column is in neither version.
    """
    staged = read_staging(stores.refs)
    base = staging_base(stores, branch)
    before = columns_of(stores, base)
    after = before if staged is None else read_snapshot(stores.objects, staged.snapshot)
    _, rest = take_back(nodes, before, after, selection)
    if rest == after:
        return False
    change_refs(
        stores,
        [_stage(stores, before, base, rest)],
        command="reset",
        description=f"staged changes of {selection}",
        user=user,
        now=now,
    )
    return True


def check_no_merge(refs: RefStore, wish: str) -> None:
    """Raise MergeInProgressError while a merge waits in the staging area."""
    if refs.get(MERGE) is not None:
        raise with_hint(
            MergeInProgressError(f"cannot {wish}: a merge waits in the staging area"),
            "finish it with 'tvcs merge --continue', or give it up: tvcs merge --abort",
        )


def _stage(
    stores: Stores, before: Columns, base: CommitDigest | None, columns: Columns
) -> RefChange:
    """Return the change that stages columns over a commit, or that stages nothing."""
    record = None
    if columns != before:
        record = StagingRecord(base, write_snapshot(stores.objects, columns)).encode()
    return RefChange(STAGING, stores.refs.get(STAGING), record)
