"""A state machine over the operation log: what undo, restore and looking back promise each other.

The oracle keeps all refs as they were after each operation, and a stack of those to undo.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import tensorvcs as tv
from tensorvcs.errors import (
    BranchExistsError,
    BranchNotFoundError,
    MergeConflictError,
    NothingToCommitError,
    NothingToStashError,
    NothingToUndoError,
    OperationNotFoundError,
    StashNotFoundError,
    TagExistsError,
    UncommittedChangesError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = st.sampled_from(["main", "dev"])
KEYS = st.sampled_from(["a", "b", "c"])
LABELS = st.integers(0, 2)
REFUSALS = (
    BranchExistsError,
    BranchNotFoundError,
    MergeConflictError,
    NothingToCommitError,
    NothingToStashError,
    StashNotFoundError,
    TagExistsError,
    UncommittedChangesError,
)


class OperationLogMachine(RuleBasedStateMachine):
    """Every rule makes one operation or is refused; the invariant compares refs and log."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.seconds = 1_700_000_000
        self.after: dict[int, dict[str, bytes]] = {}
        self.to_undo: list[dict[str, bytes]] = []

    def next_second(self) -> dt.datetime:
        self.seconds += 1
        return dt.datetime.fromtimestamp(self.seconds, dt.UTC)

    def refs(self) -> dict[str, bytes]:
        return dict(self.repo._stores.refs.items())

    @initialize()
    def begin(self) -> None:
        self.repo = tv.init(self.folder / "repo", user_name="Ada", user_email="ada@example.org")
        self.repo.record_as(clock=self.next_second)
        self.after[0] = self.refs()
        self.stage("a", 0)
        self.commit()

    def teardown(self) -> None:
        if hasattr(self, "repo"):
            assert self.repo.verify().is_sound
            self.repo.close()
        shutil.rmtree(self.folder)

    def take(self, step: Callable[[], Any]) -> bool:
        """Take a step of one operation, or of none; tell whether it was one."""
        before, number = self.refs(), max(self.after)
        try:
            step()
        except REFUSALS:
            assert self.refs() == before
        newest = sum(operation.number for operation in self.repo.operations(1))
        if newest == number:
            assert self.refs() == before
            return False
        assert newest == number + 1
        self.after[newest] = self.refs()
        self.to_undo.append(before)
        return True

    @rule(key=KEYS, label=LABELS)
    def stage(self, key: str, label: int) -> None:
        def step() -> None:
            with self.repo.edit() as co:
                if "labels" not in co:
                    co.add_ndarray_column("labels", (), "int64")
                co["labels"][key] = label

        self.take(step)

    @rule()
    def commit(self) -> None:
        def step() -> None:
            with self.repo.edit() as co:
                co.commit("m")

        self.take(step)

    @rule(label=LABELS)
    def amend(self, label: int) -> None:
        def step() -> None:
            with self.repo.edit() as co:
                co.commit(f"amended {label}", amend=True)

        self.take(step)

    @rule(name=NAMES, key=KEYS, label=LABELS)
    def transact(self, name: str, key: str, label: int) -> None:
        def step() -> None:
            with self.repo.transaction(name) as tx:
                if "labels" in tx:
                    tx["labels"][key] = label

        self.take(step)

    @rule(name=NAMES)
    def branch(self, name: str) -> None:
        if self.repo.branches:
            self.take(lambda: self.repo.create_branch(name))

    @rule(name=NAMES)
    def delete_branch(self, name: str) -> None:
        if name != self.repo.head:
            self.take(lambda: self.repo.delete_branch(name, force=True))

    @rule(name=NAMES)
    def switch(self, name: str) -> None:
        self.take(lambda: self.repo.switch(name))

    @rule(number=st.integers(0, 2))
    def tag(self, number: int) -> None:
        if self.repo.head in self.repo.branches:
            self.take(lambda: self.repo.create_tag(f"v{number}"))

    @rule(keys=st.none() | KEYS)
    def reset(self, keys: str | None) -> None:
        self.take(lambda: self.repo.reset(keys=keys))

    @rule(keys=st.none() | KEYS)
    def stash(self, keys: str | None) -> None:
        self.take(lambda: self.repo.stash(keys=keys))

    @rule(place=st.integers(0, 1), how=st.sampled_from(["pop", "apply", "drop"]))
    def unstash(self, place: int, how: str) -> None:
        self.take(lambda: getattr(self.repo, f"{how}_stash")(place))

    @rule(count=st.integers(1, 3))
    def undo(self, count: int) -> None:
        if len(self.to_undo) < count:
            with pytest.raises(NothingToUndoError):
                self.repo.undo(count)
            return
        goal = self.to_undo[-count]
        self.repo.undo(count)
        assert self.refs() == goal
        del self.to_undo[-count:]
        self.after[max(self.after) + 1] = goal

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, max(self.after)))
        self.take(lambda: self.repo.restore_operation(number))
        assert self.refs() == self.after[number]

    @rule(count=st.integers(1, 3))
    def undo_and_do_again(self, count: int) -> None:
        newest, before = max(self.after), self.refs()
        for _ in range(min(count, len(self.to_undo))):
            self.undo(1)
        self.take(lambda: self.repo.restore_operation(newest))
        assert self.refs() == before

    @invariant()
    def log_and_refs_agree(self) -> None:
        if not hasattr(self, "repo"):
            return
        newest = max(self.after)
        assert [o.number for o in self.repo.operations()] == [*range(newest, 0, -1)]
        assert self.refs() == self.after[newest]
        for number in {1, newest // 2, newest - 1, newest} - {0}:
            with self.repo.at_operation(number) as past:
                assert dict(past._stores.refs.items()) == self.after[number]
        with pytest.raises(OperationNotFoundError):
            self.repo.at_operation(newest + 1)


TestOperationLog = OperationLogMachine.TestCase
TestOperationLog.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
