"""Two processes take turns on one repository, step by step, beside plain dicts."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tensorvcs as tv
from tensorvcs.errors import (
    BranchExistsError,
    BranchInUseError,
    BranchNotFoundError,
    MergeConflictError,
    NothingToCommitError,
    StagingLockedError,
    UncommittedChangesError,
    WorkInProgressError,
)
from tests import model
from tests.concurrency.stepped_worker import Worker
from tests.numbered_values import KINDS
from tests.property.repository_machine import (
    BRANCHES,
    EDITS,
    MEMORY,
    STRATEGIES,
    edit_both,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

WHO = st.integers(0, 1)


@dataclass
class Open:
    """An editor or a transaction that a worker has open: where it started, and what it holds."""

    branch: str
    base: str | None
    content: model.Content


class TwoProcesses(RuleBasedStateMachine):
    """Each rule is one step of one worker; what it leaves is seen by both."""

    def __init__(self, workers: list[Worker]) -> None:
        super().__init__()
        self.workers = workers
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.head = "main"
        self.branches: dict[str, str] = {}
        self.commits: dict[str, tuple[model.Content, tuple[str, ...]]] = {}
        self.staged: Open | None = None
        self.editors: dict[int, Open] = {}
        self.transactions: dict[int, Open] = {}
        self.readers: dict[int, str] = {}
        self.turn = 0

    @initialize(kind=st.sampled_from(KINDS))
    def begin(self, kind: str) -> None:
        steps = [("add", "x", "label"), ("add", "y", kind), ("update", "x", {0: 1, "a": 1})]
        with tv.init(self.folder, "Ada", "ada@example.org") as repo:
            with repo.edit() as co:
                content, _ = edit_both(co, steps, {}, {})
                first = co.commit("first", author="Ada <ada@example.org>")
            repo.create_branch("side")
        self.commits[first.id] = (content, ())
        self.branches = {"main": first.id, "side": first.id}
        for number, worker in enumerate(self.workers):
            worker.call("open", self.folder, number)

    def teardown(self) -> None:
        if self.branches:
            assert self.workers[0].call("verify")
            for commit in self.reached:
                self.workers[1].call("read", commit, self.content(commit))
        for worker in self.workers:
            worker.call("close")
        shutil.rmtree(self.folder)

    # What the model knows

    def content(self, commit: str | None) -> model.Content:
        return {} if commit is None else self.commits[commit][0]

    @property
    def reached(self) -> set[str]:
        bases = [self.staged.base] if self.staged else []
        return self.history(*self.branches.values(), *(base for base in bases if base))

    def history(self, *commits: str) -> set[str]:
        found: set[str] = set()
        queue = list(commits)
        while queue:
            commit = queue.pop()
            if commit not in found:
                found.add(commit)
                queue += self.commits[commit][1]
        return found

    def working(self) -> Open:
        base = self.branches[self.head]
        return self.staged or Open(self.head, base, self.content(base))

    def stage(self, branch: str, base: str | None, content: model.Content) -> None:
        self.staged = None if content == self.content(base) else Open(branch, base, content)

    def locked(self, error: StagingLockedError) -> None:
        assert self.editors, "nobody edits"
        assert "by process" in str(error)

    def merged(self, opened: Open) -> model.Merged:
        """What has been done since it was opened, on the branch as it is now."""
        head = self.content(self.branches[opened.branch])
        return model.merge_contents(self.content(opened.base), head, opened.content, "fail")

    def record(self, made: tuple[str, tuple[str, ...]], content: model.Content) -> str:
        commit, parents = made
        self.commits[commit] = (content, parents)
        return commit

    # The working staging area

    @rule(who=WHO)
    def edit(self, who: int) -> None:
        try:
            found = self.workers[who].call("edit")
        except StagingLockedError as error:
            self.locked(error)
            return
        assert not self.editors
        working = self.working()
        assert found == (working.content, working.base)
        self.editors[who] = Open(self.head, working.base, working.content)

    @precondition(lambda self: self.editors)
    @rule(steps=EDITS)
    def change(self, steps: list[Any]) -> None:
        ((who, editor),) = self.editors.items()
        base = self.content(editor.base)
        editor.content, _ = self.workers[who].call("change", steps, editor.content, base)
        self.stage(editor.branch, editor.base, editor.content)

    @precondition(lambda self: self.editors)
    @rule(leave=st.booleans())
    def commit(self, leave: bool) -> None:
        ((who, editor),) = self.editors.items()
        merged = self.merged(editor)
        try:
            made = self.workers[who].call("commit")
        except MergeConflictError as error:
            assert merged.conflicts
            assert {(c.column, c.key) for c in error.conflicts} == merged.conflicts
        except NothingToCommitError:
            assert not merged.conflicts
            assert merged.content == self.content(self.branches[editor.branch])
        else:
            assert not merged.conflicts
            assert made[1] == (self.branches[editor.branch],)
            commit = self.record(made, merged.content)
            self.branches[editor.branch] = commit
            self.staged = None
            self.editors[who] = Open(editor.branch, commit, merged.content)
        if leave:
            self.leave()

    @precondition(lambda self: self.editors)
    @rule()
    def leave(self) -> None:
        ((who, _),) = self.editors.items()
        self.workers[who].call("leave")
        self.editors.clear()

    # Transactions

    @rule(who=WHO, branch=BRANCHES)
    def begin_transaction(self, who: int, branch: str) -> None:
        if who in self.transactions:
            return
        try:
            self.workers[who].call("begin", branch)
        except BranchNotFoundError:
            assert branch not in self.branches
            return
        base = self.branches[branch]
        self.transactions[who] = Open(branch, base, self.content(base))

    @precondition(lambda self: self.transactions)
    @rule(who=WHO, steps=EDITS)
    def change_privately(self, who: int, steps: list[Any]) -> None:
        who = who if who in self.transactions else 1 - who
        private = self.transactions[who]
        base = self.content(private.base)
        step = "change_privately"
        private.content, _ = self.workers[who].call(step, steps, private.content, base)

    @precondition(lambda self: self.transactions)
    @rule(who=WHO)
    def end_transaction(self, who: int) -> None:
        who = who if who in self.transactions else 1 - who
        private = self.transactions.pop(who)
        is_gone = private.branch not in self.branches
        merged = model.Merged() if is_gone else self.merged(private)
        try:
            made = self.workers[who].call("end")
        except BranchNotFoundError:
            assert is_gone
            return
        except MergeConflictError as error:
            assert {(c.column, c.key) for c in error.conflicts} == merged.conflicts
            assert merged.conflicts
            return
        assert not is_gone
        assert not merged.conflicts
        head = self.branches[private.branch]
        if made is None:
            assert merged.content == self.content(head)
            return
        assert made[1] == (head,)
        self.branches[private.branch] = self.record(made, merged.content)

    # Branches

    @rule(who=WHO, source=BRANCHES, into=BRANCHES, strategy=STRATEGIES)
    def merge(self, who: int, source: str, into: str, strategy: str) -> None:
        if source not in self.branches or into not in self.branches:
            return
        ours, theirs = self.branches[into], self.branches[source]
        names = list(self.commits)
        parents = [tuple(names.index(p) for p in self.commits[c][1]) for c in names]
        bases = model.merge_bases(parents, names.index(ours), names.index(theirs))
        if len(bases) != 1:
            return
        (base,) = (names[at] for at in bases)
        merged = model.merge_contents(
            self.content(base), self.content(ours), self.content(theirs), strategy
        )
        try:
            made = self.workers[who].call("merge", source, into, strategy)
        except StagingLockedError as error:
            assert into == self.head
            self.locked(error)
            return
        except UncommittedChangesError:
            assert into == self.head
            assert self.staged
            return
        except MergeConflictError:
            assert strategy == "fail"
            assert merged.conflicts
            return
        assert into != self.head or not (self.editors or self.staged)
        if base in (ours, theirs):
            assert made[0] == (theirs if base == ours else ours)
        else:
            assert made[1] == (ours, theirs)
            self.record(made, merged.content)
        self.branches[into] = made[0]

    @rule(who=WHO, name=BRANCHES)
    def switch(self, who: int, name: str) -> None:
        try:
            self.workers[who].call("call", "switch", name)
        except StagingLockedError as error:
            self.locked(error)
        except BranchNotFoundError:
            assert name not in self.branches
        except UncommittedChangesError:
            assert self.staged
        else:
            assert not self.editors
            assert name == self.head or not self.staged
            self.head = name

    @rule(who=WHO, name=BRANCHES, at=BRANCHES)
    def create_branch(self, who: int, name: str, at: str) -> None:
        if at not in self.branches:
            return
        try:
            self.workers[who].call("call", "create_branch", name, at)
        except BranchExistsError:
            assert name in self.branches
        else:
            assert name not in self.branches
            self.branches[name] = self.branches[at]

    @rule(who=WHO, name=BRANCHES)
    def delete_branch(self, who: int, name: str) -> None:
        try:
            self.workers[who].call("delete_branch", name)
        except BranchNotFoundError:
            assert name not in self.branches
        except BranchInUseError:
            assert name == self.head
        else:
            del self.branches[name]

    @rule(who=WHO, data=st.data())
    def reset(self, who: int, data: st.DataObject) -> None:
        reached = self.reached
        commit = data.draw(
            st.sampled_from([commit for commit in self.commits if commit in reached])
        )
        try:
            self.workers[who].call("call", "reset", commit)
        except StagingLockedError as error:
            self.locked(error)
        else:
            assert not self.editors
            self.branches[self.head] = commit
            self.staged = None

    # Readers and upkeep

    @rule(who=WHO, branch=BRANCHES)
    def hold(self, who: int, branch: str) -> None:
        if branch in self.branches and who not in self.readers:
            self.workers[who].call("hold", branch)
            self.readers[who] = self.branches[branch]

    @precondition(lambda self: self.readers)
    @rule(who=WHO)
    def read_held(self, who: int) -> None:
        who = who if who in self.readers else 1 - who
        self.workers[who].call("read_held", self.content(self.readers.pop(who)))

    @rule(who=WHO)
    def repack(self, who: int) -> None:
        self.workers[who].call("call", "repack")

    @rule(who=WHO)
    def collect_garbage(self, who: int) -> None:
        try:
            self.workers[who].call("collect")
        except WorkInProgressError:
            assert self.editors or self.transactions
        else:
            assert not self.editors
            assert not self.transactions

    @rule(who=WHO, key=st.sampled_from(["lost", "a"]))
    def kill(self, who: int, key: str) -> None:
        """What was flushed stays, the lock is free, and a transaction never was."""
        if who in self.editors:
            self.workers[who].call("change_unflushed", key)
        self.workers[who].kill()
        self.workers[who] = Worker()
        self.workers[who].call("open", self.folder, who)
        for held in (self.editors, self.transactions, self.readers):
            held.pop(who, None)

    @invariant()
    def looks_the_same_to_both(self) -> None:
        if not self.branches:
            return
        expected = (self.head, self.branches, self.staged is not None)
        for worker in self.workers:
            assert worker.call("names") == expected
        if not self.editors:
            self.turn = 1 - self.turn
            working = self.working()
            found = self.workers[self.turn].call("working")
            assert found == (working.content, working.base)


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    made = [Worker(), Worker()]
    yield made
    for worker in made:
        worker.kill()


def take_turns(workers: list[Worker], options: settings) -> None:
    machine: Any = partial(TwoProcesses, workers)
    run_state_machine_as_test(machine, settings=options)


def test_two_processes_take_turns(workers: list[Worker]) -> None:
    take_turns(workers, settings(max_examples=25, stateful_step_count=20))


@pytest.mark.slow
def test_two_processes_take_thousands_of_turns(workers: list[Worker]) -> None:
    nightly = settings.get_profile("nightly")
    take_turns(workers, settings(nightly, stateful_step_count=60, print_blob=True))
