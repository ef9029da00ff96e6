"""The refs as they were right after an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.errors import OperationNotFoundError, ReadOnlyError, with_hint
from tensorvcs.history.operations import Operation, changes_to, iter_operations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from tensorvcs.storage.interfaces import RefChange, RefStore


def find_operation(refs: RefStore, number: int) -> Operation:
    """Return an operation by its number.

    Raises
    ------
    OperationNotFoundError
        The log has none of that number.

    Notes
    -----
    Reads the records since then.
    """
    return _records_since(refs, number)[-1]


def _records_since(refs: RefStore, number: int) -> list[Operation]:
    """Return an operation and all after it, newest first."""
    since: list[Operation] = []
    if isinstance(number, int) and not isinstance(number, bool) and number > 0:
        for operation in iter_operations(refs):
            if operation.number >= number:
                since.append(operation)
            if operation.number <= number:
                break
        if since and since[-1].number == number:
            return since
    newest = next((found for found, _ in refs.operations(1)), None)
    there = "the operation log is empty" if newest is None else f"the newest is {newest}"
    raise with_hint(
        OperationNotFoundError(f"no operation {number!r}; {there}"), "'tvcs op log' lists them"
    )


def refs_after(refs: RefStore, number: int) -> dict[str, bytes]:
    """Return all refs by name as they were right after an operation, sorted by name.

    Raises
    ------
    OperationNotFoundError

    Notes
    -----
    Goes back from what is there now: reads all refs, and the records since then.
    """
    # The records after the refs: what somebody moves between the two looks is then taken back.
    values = dict(refs.items())
    for operation in _records_since(refs, number)[:-1]:
        for change in operation.changes:
            if change.before is None:
                values.pop(change.name, None)
            else:
                values[change.name] = change.before
    return dict(sorted(values.items()))


def plan_restore(refs: RefStore, number: int) -> tuple[Operation, list[RefChange]]:
    """Return an operation, and the changes that make all refs as they were right after it.

    Raises
    ------
    OperationNotFoundError
    """
    operation, after = find_operation(refs, number), refs_after(refs, number)
    names = sorted({*refs.items(), *after})
    return operation, changes_to(refs, {name: after.get(name) for name in names})


class PastRefs:
    """RefStore: the refs and the log right after an operation, read-only and picklable."""

    def __init__(self, refs: RefStore, number: int) -> None:
        self._refs = refs
        self._values = refs_after(refs, number)
        self.number = number

    def get(self, name: str) -> bytes | None:
        """Return the value that a ref had, or None."""
        return self._values.get(name)

    def items(self, prefix: str = "") -> Mapping[str, bytes]:
        """Return all refs of then whose name starts with `prefix`, sorted by name."""
        return {name: v for name, v in self._values.items() if name.startswith(prefix)}

    def operations(self, limit: int | None = None) -> list[tuple[int, bytes]]:
        """Return (number, record) of the newest operations of then, newest first."""
        newest = next(number for number, _ in self._refs.operations(1))
        found = self._refs.operations(None if limit is None else limit + newest - self.number)
        past = [(number, record) for number, record in found if number <= self.number]
        return past[:limit]

    def swap(self, changes: Sequence[RefChange], operation: bytes | None = None) -> None:
        """Raise ReadOnlyError."""
        raise self.refusal()

    def transaction(self) -> AbstractContextManager[object]:
        """Raise ReadOnlyError: the write transaction of stores that have these refs."""
        raise self.refusal()

    def refusal(self) -> ReadOnlyError:
        """Return the error of who wants to write."""
        return with_hint(
            ReadOnlyError(f"the repository is shown as it was after operation {self.number}"),
            f"go back to it first: tvcs op restore {self.number}",
        )
