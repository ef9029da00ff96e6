from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import OperationNotFoundError, ReadOnlyError
from tensorvcs.history.operations import Operation
from tensorvcs.history.past_refs import PastRefs, find_operation, plan_restore, refs_after
from tensorvcs.objects.commit import Timestamp
from tensorvcs.storage.interfaces import RefChange
from tensorvcs.storage.memory import MemoryRefs


def record(refs: MemoryRefs, values: dict[str, bytes | None]) -> None:
    changes = tuple(RefChange(name, refs.get(name), value) for name, value in values.items())
    operation = Operation(0, "set", str(values), "Ada", Timestamp(5, 60), changes)
    refs.swap(changes, operation.encode())


STEPS = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, b"1", b"2"]), max_size=2),
    min_size=1,
    max_size=8,
)


@given(STEPS)
def test_the_refs_after_each_operation(steps: list[dict[str, bytes | None]]) -> None:
    refs = MemoryRefs()
    refs.swap([RefChange("z", None, b"from the beginning")])
    states = []
    for values in steps:
        record(refs, values)
        states.append(dict(refs.items()))
    for number, state in enumerate(states, 1):
        assert refs_after(refs, number) == state
        assert list(refs_after(refs, number)) == sorted(state)
        past = PastRefs(refs, number)
        assert past.items() == state
        assert past.items("a") == {n: v for n, v in state.items() if n == "a"}
        assert [past.get(name) for name in "abcz"] == [state.get(name) for name in "abcz"]
        for limit in (None, 0, 1, 2, 100):
            newest = range(number, 0, -1)[:limit]
            assert [found for found, _ in past.operations(limit)] == [*newest]
        operation, changes = plan_restore(refs, number)
        assert operation == find_operation(refs, number)
        assert operation.number == number
        after = {**refs.items(), **{change.name: change.after for change in changes}}
        assert {name: value for name, value in after.items() if value is not None} == state
        assert all(change.before == refs.get(change.name) != change.after for change in changes)


@pytest.mark.parametrize("number", [0, -1, 3, True, 1.0, "1", None])
def test_operations_that_there_are_not(number: Any) -> None:
    refs = MemoryRefs()
    with pytest.raises(OperationNotFoundError, match="the operation log is empty"):
        find_operation(refs, number)
    record(refs, {"a": b"1"})
    record(refs, {"a": b"2"})
    for call in (find_operation, refs_after, plan_restore, PastRefs):
        with pytest.raises(OperationNotFoundError, match="the newest is 2") as caught:
            call(refs, number)
        assert "op log" in (caught.value.hint or "")


class BusyRefs(MemoryRefs):
    """Somebody moves a ref right after all refs were read."""

    def items(self, prefix: str = "") -> dict[str, bytes]:
        found = dict(super().items(prefix))
        record(self, {"a": b"late", "late": b"1"})
        return found


def test_what_moves_between_two_looks_is_not_seen() -> None:
    refs = BusyRefs()
    record(refs, {"a": b"1"})
    record(refs, {"a": b"2", "b": b"2"})
    assert refs_after(refs, 1) == {"a": b"1"}
    assert refs_after(refs, 2) == {"a": b"2", "b": b"2"}


def test_the_past_cannot_be_changed() -> None:
    refs = MemoryRefs()
    record(refs, {"a": b"1"})
    record(refs, {"a": b"2"})
    past = PastRefs(refs, 1)
    for call in (lambda: past.swap([RefChange("a", b"1", b"3")]), past.transaction):
        with pytest.raises(ReadOnlyError, match="as it was after operation 1") as caught:
            call()
        assert caught.value.hint == "go back to it first: tvcs op restore 1"
    assert refs.get("a") == b"2"
    assert past.get("a") == b"1"


def test_the_past_travels_to_another_process() -> None:
    refs = MemoryRefs()
    record(refs, {"a": b"1"})
    record(refs, {"a": b"2"})
    again = pickle.loads(pickle.dumps(PastRefs(refs, 1)))
    assert (again.number, again.items()) == (1, {"a": b"1"})
    assert [number for number, _ in again.operations()] == [1]
