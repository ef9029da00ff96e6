from __future__ import annotations

import pytest

from tensorvcs.errors import NothingToUndoError, ObjectDamagedError
from tensorvcs.history.operations import (
    Operation,
    changes_to,
    decode_operation,
    iter_operations,
    list_operations,
    plan_undo,
)
from tensorvcs.objects.commit import Timestamp
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.storage.memory import MemoryRefs

TIME = Timestamp(5, 60)


def change(
    refs: MemoryRefs,
    name: str,
    value: bytes | None,
    *,
    command: str = "set",
    continues: int | None = None,
) -> int:
    """Change a ref, record it, and return the number of the operation."""
    changes = (RefChange(name, refs.get(name), value),)
    operation = Operation(0, command, f"{name} to {value!r}", "Ada", TIME, changes, (), continues)
    refs.swap(changes, operation.encode())
    return refs.operations(1)[0][0]


def undo(refs: MemoryRefs, count: int = 1) -> list[int]:
    undone, changes = plan_undo(refs, count)
    numbers = tuple(operation.number for operation in undone)
    refs.swap(
        changes, Operation(0, "undo", "", "Ada", TIME, tuple(changes), numbers, None).encode()
    )
    return list(numbers)


def test_a_record_comes_back() -> None:
    operation = Operation(
        7, "commit", "é", "Ada <a>", TIME,
        (RefChange("a", None, b"x"), RefChange("b", b"y", None)), (3, 4), 2,
    )  # fmt: skip
    found = decode_operation(7, operation.encode())
    assert found == operation
    assert found.time.isoformat() == "1970-01-01T01:00:00.000005+01:00"
    assert repr(found) == "<Operation 7: commit é>"
    assert found._repr_html_() == (
        "<code>7</code> <b>commit</b> é<br><small>Ada &lt;a&gt;, 1970-01-01 01:00:00</small>"
    )


@pytest.mark.parametrize("record", [b"", b"operation 1\n{}", b"commit 1\n{}"])
def test_a_record_that_is_none_is_damaged(record: bytes) -> None:
    with pytest.raises(ObjectDamagedError):
        decode_operation(1, record)


def test_operations_come_newest_first() -> None:
    refs = MemoryRefs()
    for value in (b"1", b"2", b"3"):
        change(refs, "a", value)
    assert [operation.number for operation in list_operations(refs)] == [3, 2, 1]
    assert [operation.number for operation in list_operations(refs, 2)] == [3, 2]


class CountingRefs(MemoryRefs):
    """Counts the records that are read."""

    read_count = 0

    def operations(self, limit: int | None = None) -> list[tuple[int, bytes]]:
        found = super().operations(limit)
        self.read_count += len(found)
        return found


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 127, 128, 129, 300])
def test_operations_are_read_little_by_little(count: int) -> None:
    refs = CountingRefs()
    for value in range(count):
        change(refs, "a", b"%d" % value)
    refs.read_count = 0
    assert [operation.number for operation in iter_operations(refs)] == [*range(count, 0, -1)]
    refs.read_count = 0
    for operation, _ in zip(iter_operations(refs), range(5), strict=False):
        assert operation.number > count - 5
    assert refs.read_count <= 64


def test_operations_that_others_add_meanwhile_do_not_shift_the_rest() -> None:
    refs = MemoryRefs()
    for value in range(200):
        change(refs, "a", b"%d" % value)
    numbers = []
    for operation in iter_operations(refs):
        numbers.append(operation.number)
        if len(numbers) % 50 == 0:
            change(refs, "b", b"%d" % len(numbers))
    assert numbers == [*range(200, 0, -1)]


def test_undoing_reads_no_more_than_it_needs() -> None:
    refs = CountingRefs()
    for value in range(1000):
        change(refs, "a", b"%d" % value)
    refs.read_count = 0
    plan_undo(refs, 2)
    assert refs.read_count <= 64


def test_changes_to_values_that_are_there_are_none() -> None:
    refs = MemoryRefs()
    change(refs, "a", b"1")
    change(refs, "b", b"1")
    wanted = {"a": b"1", "b": None, "c": b"2", "d": None}
    assert changes_to(refs, wanted) == [RefChange("b", b"1", None), RefChange("c", None, b"2")]


def test_undoing_twice_goes_back_two_steps() -> None:
    refs = MemoryRefs()
    for value in (b"1", b"2", b"3"):
        change(refs, "a", value)
    assert undo(refs) == [3]
    assert refs.get("a") == b"2"
    assert undo(refs) == [2]
    assert refs.get("a") == b"1"
    assert undo(refs) == [1]
    assert refs.get("a") is None
    with pytest.raises(NothingToUndoError, match="0 operations to undo; 1 were asked for"):
        undo(refs)


def test_undoing_two_is_one_step() -> None:
    refs = MemoryRefs()
    change(refs, "a", b"1")
    change(refs, "b", b"1")
    change(refs, "a", None)
    assert undo(refs, 2) == [3, 2]
    assert dict(refs.items()) == {"a": b"1"}
    with pytest.raises(NothingToUndoError, match="1 operations to undo; 2 were asked for"):
        undo(refs, 2)
    assert dict(refs.items()) == {"a": b"1"}


def test_new_work_after_an_undo_is_undone_first() -> None:
    refs = MemoryRefs()
    change(refs, "a", b"1")
    change(refs, "a", b"2")
    undo(refs)
    change(refs, "a", b"3")
    assert undo(refs) == [4]
    assert refs.get("a") == b"1"
    assert undo(refs) == [1]
    assert refs.get("a") is None


def test_flushes_of_one_sitting_are_one_step() -> None:
    refs = MemoryRefs()
    change(refs, "b", b"1")
    first = change(refs, "a", b"1")
    for value in (b"2", b"3"):
        change(refs, "a", value, continues=first)
    assert undo(refs) == [4, 3, 2]
    assert dict(refs.items()) == {"b": b"1"}


def test_a_sitting_longer_than_the_first_look_is_still_one_step() -> None:
    refs = MemoryRefs()
    first = change(refs, "a", b"0")
    for value in range(1, 200):
        change(refs, "a", b"%d" % value, continues=first)
    assert len(undo(refs)) == 200
    assert refs.get("a") is None


def test_work_of_others_between_two_flushes_is_a_step_of_its_own() -> None:
    refs = MemoryRefs()
    first = change(refs, "a", b"1")
    change(refs, "b", b"1")
    change(refs, "a", b"2", continues=first)
    assert undo(refs) == [3]
    assert dict(refs.items()) == {"a": b"1", "b": b"1"}
    assert undo(refs) == [2]
    assert undo(refs) == [1]
    assert dict(refs.items()) == {}


def test_changes_that_cancel_out_need_no_swap() -> None:
    refs = MemoryRefs()
    change(refs, "a", b"1")
    change(refs, "a", b"2")
    change(refs, "a", b"1")
    undone, changes = plan_undo(refs, 2)
    assert len(undone) == 2
    assert changes == []
