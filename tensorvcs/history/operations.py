"""The operation log: every change of a ref or of staging, and how one is taken back."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.errors import NothingToUndoError, ObjectDamagedError
from tensorvcs.objects.commit import Timestamp
from tensorvcs.objects.encoding import decode_object, encode_object
from tensorvcs.storage.interfaces import RefChange

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping

    from tensorvcs.storage.interfaces import RefStore

_FIRST_LOOK = 64


@dataclass(frozen=True, slots=True)
class Operation:
    """One recorded operation.

    Attributes
    ----------
    number : int
        Counts from 1, in the order of the operations.
    command : str
        The verb, such as ``commit``.
    description : str
        What it did, in a few words.
    user : str
    timestamp : Timestamp
    changes : tuple of RefChange
        The refs before and after.
    undoes : tuple of int
        The numbers of the operations that this one took back.
    continues : int or None
        The number of the operation that this one belongs to; both are undone together.
    """

    number: int
    command: str
    description: str
    user: str
    timestamp: Timestamp
    changes: tuple[RefChange, ...]
    undoes: tuple[int, ...] = ()
    continues: int | None = None

    @property
    def time(self) -> dt.datetime:
        """When it happened, in the time zone of who did it."""
        return self.timestamp.moment

    def __repr__(self) -> str:
        return f"<Operation {self.number}: {self.command} {self.description}>"

    def _repr_html_(self) -> str:
        return (
            f"<code>{self.number}</code> <b>{html.escape(self.command)}</b> "
            f"{html.escape(self.description)}<br>"
            f"<small>{html.escape(self.user)}, {self.time:%Y-%m-%d %H:%M:%S}</small>"
        )

    def encode(self) -> bytes:
        """Return the record for the log; the number is the place in the log."""
        return encode_object(
            "operation",
            1,
            {
                "command": self.command,
                "description": self.description,
                "user": self.user,
                "time": self.timestamp.microseconds,
                "offset": self.timestamp.offset_minutes,
                "changes": [
                    [change.name, _to_text(change.before), _to_text(change.after)]
                    for change in self.changes
                ],
                "undoes": list(self.undoes),
                "continues": self.continues,
            },
        )


def _to_text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _to_bytes(text: object) -> bytes | None:
    return None if text is None else _text(text).encode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r:.40} is no number")
    return value


def decode_operation(number: int, record: bytes) -> Operation:
    """Read a record of the log."""
    fields = decode_object(record, "operation", 1)
    try:
        return Operation(
            number=number,
            command=_text(fields["command"]),
            description=_text(fields["description"]),
            user=_text(fields["user"]),
            timestamp=Timestamp(fields["time"], fields["offset"]),
            changes=tuple(
                RefChange(_text(name), _to_bytes(before), _to_bytes(after))
                for name, before, after in fields["changes"]
            ),
            undoes=tuple(_number(undone) for undone in fields["undoes"]),
            continues=None if fields["continues"] is None else _number(fields["continues"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ObjectDamagedError(f"operation {number} cannot be read: {error}") from error


def list_operations(refs: RefStore, limit: int | None = None) -> list[Operation]:
    """Return the newest operations, newest first."""
    return [decode_operation(number, record) for number, record in refs.operations(limit)]


def iter_operations(refs: RefStore) -> Iterator[Operation]:
    """Iterate over the operations, newest first.

    Notes
    -----
    Lazy: reads a few records first, and twice as many each time that more are wanted.
    """
    limit, oldest = _FIRST_LOOK, None
    while True:
        records = refs.operations(limit)
        for number, record in records:
            # Numbers and not counts: others may have added operations since the last look.
            if oldest is None or number < oldest:
                oldest = number
                yield decode_operation(number, record)
        if len(records) < limit:
            return
        limit *= 2


def plan_undo(refs: RefStore, count: int) -> tuple[list[Operation], list[RefChange]]:
    """Find the newest `count` operations that still stand, and the changes that undo them.

    An undo is passed over together with what it took back, so that undoing twice goes back two
    steps. Operations that continue another one count as one with it.

    Raises
    ------
    NothingToUndoError
        Fewer than `count` operations stand.
    """
    standing, groups = _standing(iter_operations(refs), count)
    if groups < count:
        raise NothingToUndoError(
            f"the operation log has {groups} operations to undo; {count} were asked for"
        )
    wanted: dict[str, bytes | None] = {}
    for operation in standing:
        for change in operation.changes:
            wanted[change.name] = change.before
    return standing, changes_to(refs, wanted)


def changes_to(refs: RefStore, wanted: Mapping[str, bytes | None]) -> list[RefChange]:
    """Return the changes that give refs the values wanted, without those that have them."""
    changes = [RefChange(name, refs.get(name), value) for name, value in wanted.items()]
    return [change for change in changes if change.before != change.after]


def _standing(operations: Iterable[Operation], count: int) -> tuple[list[Operation], int]:
    """Return the newest operations that stand, in at most `count` groups, and the groups."""
    undone: set[int] = set()
    standing: list[Operation] = []
    group: int | None = None
    groups = 0
    for operation in operations:
        if operation.undoes:
            undone.update(operation.undoes)
            continue
        if operation.number in undone or not operation.changes:
            continue
        first = operation.number if operation.continues is None else operation.continues
        if first != group:
            if groups == count:
                break
            group, groups = first, groups + 1
        standing.append(operation)
    return standing, groups
