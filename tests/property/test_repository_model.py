"""A state machine drives a repository on disk by its public names, beside one of plain dicts."""

from __future__ import annotations

import copy
import datetime as dt
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import tensorvcs as tv
from tensorvcs.errors import (
    ColumnExistsError,
    ColumnNotFoundError,
    MergeConflictError,
    NothingToCommitError,
    NothingToUndoError,
    SampleNotFoundError,
    UncommittedChangesError,
)
from tests import model

KINDS = ["label", "image", "text", "nested"]
NAMES = st.sampled_from(["x", "y"])
BRANCHES = st.sampled_from(["main", "side", "third"])
KEYS = st.one_of(st.integers(-1, 2), st.sampled_from(["a", "b"]))
VALUES = st.integers(0, 2)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, KEYS, VALUES),
        st.tuples(st.just("extend"), NAMES, st.dictionaries(KEYS, VALUES, max_size=4)),
        st.tuples(st.just("extend"), NAMES, st.dictionaries(KEYS, VALUES, max_size=4)),
        st.tuples(st.just("delete"), NAMES, KEYS),
        st.tuples(st.just("delete"), NAMES, KEYS),
        st.tuples(st.just("add"), NAMES, st.sampled_from(KINDS)),
        st.tuples(st.just("drop"), NAMES),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("flush")),
        st.tuples(st.just("reset")),
    ),
    min_size=1,
    max_size=5,
)


def value_of(kind: str, number: int) -> Any:
    if kind == "image":
        return np.full((9, 9), number, np.uint8)
    return {"label": number, "text": str(number), "nested": {"s": number}}[kind]


def number_of(kind: str, value: Any) -> int:
    if kind == "nested":
        return int(value["s"])
    return int(value.flat[0]) if isinstance(value, np.ndarray) else int(value)


def kind_of(column: Any) -> str:
    if column.is_nested:
        return "nested"
    return "text" if column.kind == "str" else "image" if column.shape else "label"


def content_of(co: Any) -> model.Content:
    found: model.Content = {}
    for name in co:
        column = co[name]
        kind = kind_of(column)
        found[name] = (kind, {key: number_of(kind, value) for key, value in column.items()})
    return found


@dataclass
class State:
    """What one step back gives again."""

    head: str = "main"
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    staged: model.Content | None = None
    staged_base: str | None = None


class RepositoryMachine(RuleBasedStateMachine):
    """Every rule does one thing to both; the invariant compares all that can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.state = State()
        self.past: list[State] = []
        self.commits: dict[str, tuple[model.Content, tuple[str, ...]]] = {}
        self.operation_count = 0
        self.seconds = 1_700_000_000

    def next_second(self) -> dt.datetime:
        """The machine must repeat itself, so that its ids may not follow the clock on the wall."""
        self.seconds += 1
        return dt.datetime.fromtimestamp(self.seconds, dt.UTC)

    @initialize(is_empty=st.sampled_from([False, False, False, True]), kind=st.sampled_from(KINDS))
    def begin(self, is_empty: bool, kind: str) -> None:
        self.repo = tv.init(self.folder / "repo", user_name="Ada", user_email="ada@example.org")
        self.repo.record_as(clock=self.next_second)
        if is_empty:
            return
        columns: list[Any] = [("add", "x", "label"), ("add", "y", kind)]
        self.commit([*columns, ("extend", "x", {0: 1, "a": 1}), ("extend", "y", {0: 1, "a": 1})])
        self.create_branch("side", "main")

    def teardown(self) -> None:
        if hasattr(self, "repo"):
            report = self.repo.verify()
            assert report.is_sound, str(report)
            for commit in self.commits:
                assert content_of(self.repo.checkout(commit)) == self.commits[commit][0]
            self.repo.close()
        shutil.rmtree(self.folder)

    # What the model knows

    def content(self, commit: str | None) -> model.Content:
        return {} if commit is None else self.commits[commit][0]

    @property
    def head_commit(self) -> str | None:
        return self.state.branches.get(self.state.head)

    def working(self) -> tuple[str | None, model.Content]:
        """The base and the content that an editor starts with."""
        if self.state.staged is not None:
            return self.state.staged_base, self.state.staged
        return self.head_commit, self.content(self.head_commit)

    def did(self, *states: State) -> None:
        """Note the states before each step that an undo takes back, and the one after them."""
        operations = self.repo.operations()
        fresh = operations[: len(operations) - self.operation_count][::-1]
        steps = [o.command for o in fresh if o.continues is None and o.changes]
        before = [self.state, *states[:-1]]
        # A step that the library had no need to take is no step of the model.
        expected = [state for state, after in zip(before, states, strict=True) if state != after]
        assert len(steps) >= len(expected), (steps, before, states)
        if len(steps) == len(expected):
            self.past += expected
        else:  # a sitting that ended as it began has a step that shows nothing
            assert len(states) == len(steps), steps
            self.past += before
        self.state = states[-1]
        self.operation_count = len(operations)

    def staged_as(self, content: model.Content, base: str | None) -> State:
        is_clean = content == self.content(base)
        return replace(
            self.state,
            staged=None if is_clean else content,
            staged_base=None if is_clean else base,
        )

    def record(self, commit: tv.Commit, content: model.Content) -> None:
        self.commits[commit.id] = (content, commit.parents)

    # Edits

    def edit(self, co: Any, steps: list[Any], start: model.Content, base: model.Content) -> Any:
        """Do steps to an editor and to a content; return the contents at the end, and flushed."""
        content, flushed = copy.deepcopy(start), copy.deepcopy(start)
        for step, *rest in steps:
            name = rest[0] if rest else ""
            column: Any = content.get(name)
            match step:
                case "put" | "extend" | "delete" if column is None:
                    assert name not in co
                case "put":
                    co[name][rest[1]] = value_of(column[0], rest[2])
                    column[1][rest[1]] = rest[2]
                case "extend":
                    co[name].update({k: value_of(column[0], n) for k, n in rest[1].items()})
                    column[1].update(rest[1])
                case "delete":
                    try:
                        del co[name][rest[1]]
                    except SampleNotFoundError:
                        assert rest[1] not in column[1]
                    else:
                        del column[1][rest[1]]
                case "add":
                    try:
                        self.add(co, name, rest[1])
                    except ColumnExistsError:
                        assert name in content
                    else:
                        assert name not in content
                        content[name] = (rest[1], {})
                case "drop":
                    try:
                        del co[name]
                    except ColumnNotFoundError:
                        assert name not in content
                    else:
                        del content[name]
                case "rename":
                    try:
                        co.rename_column(name, rest[1])
                    except (ColumnNotFoundError, ColumnExistsError):
                        assert name not in content or rest[1] in content
                    else:
                        content[rest[1]] = content.pop(name)
                case "flush":
                    co.flush()
                    flushed = copy.deepcopy(content)
                case "reset":
                    co.reset()
                    content, flushed = copy.deepcopy(base), copy.deepcopy(base)
        return content, flushed

    def add(self, co: Any, name: str, kind: str) -> None:
        if kind == "text":
            co.add_str_column(name)
        else:
            shape, dtype = ((9, 9), "u1") if kind == "image" else ((), "i8")
            co.add_ndarray_column(name, shape, dtype, nested=kind == "nested")

    @rule(steps=EDITS)
    def stage(self, steps: list[Any]) -> None:
        base, start = self.working()
        with self.repo.edit() as co:
            content, _ = self.edit(co, steps, start, self.content(base))
        self.did(self.staged_as(content, base))

    @rule(steps=EDITS)
    def fail_while_editing(self, steps: list[Any]) -> None:
        base, start = self.working()
        co = self.repo.edit()
        # Reading may flush on its way, so what is lost is at most what came after a flush.
        content, flushed = self.edit(co, steps, start, self.content(base))
        co.abandon()
        after = self.state
        if self.repo.is_dirty:
            with self.repo.edit() as again:
                after = replace(self.state, staged=content_of(again), staged_base=base)
        else:
            after = self.staged_as(self.content(base), base)
        if steps[-1][0] in ("flush", "reset"):
            assert flushed == content
            assert after == self.staged_as(content, base)
        self.did(after)

    @rule(steps=EDITS)
    def commit(self, steps: list[Any]) -> None:
        base, start = self.working()
        with self.repo.edit() as co:
            content, _ = self.edit(co, steps, start, self.content(base))
            staged = self.staged_as(content, base)
            head = self.content(self.head_commit)
            merged = model.merge_contents(self.content(base), head, content, "fail")
            try:
                commit = co.commit("edit")
            except MergeConflictError as error:
                assert merged.conflicts
                assert len(error.conflicts) > 0
                self.did(staged)
                return
            except NothingToCommitError:
                assert not merged.conflicts
                assert merged.content == head
                self.did(staged)
                return
            assert not merged.conflicts
            assert content_of(co) == merged.content
        self.record(commit, merged.content)
        branches = {**self.state.branches, self.state.head: commit.id}
        self.did(staged, replace(self.state, branches=branches, staged=None, staged_base=None))

    @rule(branch=BRANCHES, steps=EDITS)
    def transact(self, branch: str, steps: list[Any]) -> None:
        self.two_transactions(branch, steps, [])

    @rule(branch=BRANCHES, one=EDITS, two=EDITS)
    def two_transactions(self, branch: str, one: list[Any], two: list[Any]) -> None:
        if branch not in self.state.branches:
            return
        start = self.content(self.state.branches[branch])
        first = self.repo.transaction(branch, "one")
        second = self.repo.transaction(branch, "two")
        states = [self.state]
        try:
            with second as b:
                theirs, _ = self.edit(b, two, start, start)
                with first as a:
                    ours, _ = self.edit(a, one, start, start)
                merged = model.merge_contents(start, ours, theirs, "fail")
        except MergeConflictError:
            assert merged.conflicts
        else:
            assert not merged.conflicts
        for transaction, content in [(first, ours), (second, merged.content)]:
            if transaction.commit is not None:
                self.record(transaction.commit, content)
                branches = {**states[-1].branches, branch: transaction.commit.id}
                states.append(replace(states[-1], branches=branches))
        if len(states) > 1:
            self.did(*states[1:])

    # Names

    @rule(name=BRANCHES, at=BRANCHES)
    def create_branch(self, name: str, at: str) -> None:
        if name in self.state.branches or at not in self.state.branches:
            return
        self.repo.create_branch(name, at)
        branches = {**self.state.branches, name: self.state.branches[at]}
        self.did(replace(self.state, branches=branches))

    @rule(name=BRANCHES)
    def delete_branch(self, name: str) -> None:
        if name not in self.state.branches or name == self.state.head:
            return
        self.repo.delete_branch(name, force=True)
        branches = {n: c for n, c in self.state.branches.items() if n != name}
        self.did(replace(self.state, branches=branches))

    @rule(name=BRANCHES)
    def switch(self, name: str) -> None:
        if name not in self.state.branches or name == self.state.head:
            return
        try:
            self.repo.switch(name)
        except UncommittedChangesError:
            assert self.state.staged is not None
        else:
            assert self.state.staged is None
            self.did(replace(self.state, head=name))

    @rule(number=st.integers(0, 9))
    def tag(self, number: int) -> None:
        name = f"v{number}"
        if self.head_commit is None or name in self.state.tags:
            return
        self.repo.create_tag(name, message="x" if number % 2 else None)
        self.did(replace(self.state, tags={**self.state.tags, name: self.head_commit}))

    # History

    @precondition(lambda self: self.state.staged is None and len(self.state.branches) > 1)
    @rule(branch=BRANCHES, strategy=st.sampled_from(["fail", "ours", "theirs"]))
    def merge(self, branch: str, strategy: Any) -> None:
        ours, theirs = self.head_commit, self.state.branches.get(branch)
        if ours is None or theirs is None:
            return
        numbers = {commit: at for at, commit in enumerate(self.commits)}
        parents = [tuple(numbers[p] for p in self.commits[c][1]) for c in self.commits]
        bases = model.merge_bases(parents, numbers[ours], numbers[theirs])
        if not bases:
            return
        try:
            result = self.repo.merge(branch, strategy=strategy)
        except UncommittedChangesError:
            assert self.state.staged is not None
            return
        except MergeConflictError:
            assert strategy == "fail"
            if len(bases) == 1:
                assert self.merged(bases, ours, theirs, strategy).conflicts
            return
        assert self.state.staged is None
        if bases == {numbers[theirs]}:
            assert result.commit.id == ours
            return
        if bases != {numbers[ours]}:
            content = content_of(self.repo.checkout(result.commit))
            if len(bases) == 1:
                expected = self.merged(bases, ours, theirs, strategy)
                assert content == expected.content
                assert bool(result.conflicts) == bool(expected.conflicts)
            self.record(result.commit, content)
            assert result.commit.parents == (ours, theirs)
        branches = {**self.state.branches, self.state.head: result.commit.id}
        self.did(replace(self.state, branches=branches))

    def merged(self, bases: set[int], ours: str, theirs: str, strategy: str) -> model.Merged:
        base = list(self.commits)[next(iter(bases))]
        contents = (self.content(base), self.content(ours), self.content(theirs))
        return model.merge_contents(*contents, strategy)

    @precondition(lambda self: self.commits)
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        commit = list(self.commits)[data.draw(st.integers(0, len(self.commits) - 1))]
        self.repo.reset(commit[:20])
        branches = {**self.state.branches, self.state.head: commit}
        self.did(replace(self.state, branches=branches, staged=None, staged_base=None))

    @rule(count=st.integers(1, 2))
    def undo(self, count: int) -> None:
        try:
            self.repo.undo(count)
        except NothingToUndoError:
            assert len(self.past) < count
            return
        self.state = self.past[-count]
        del self.past[-count:]
        self.operation_count = len(self.repo.operations())

    # Upkeep

    @rule(repack=st.booleans())
    def reopen(self, repack: bool) -> None:
        if repack:
            self.repo.repack()
        self.repo.close()
        self.repo = tv.open(self.folder / "repo")
        self.repo.record_as(clock=self.next_second)

    @invariant()
    def looks_the_same(self) -> None:
        if not hasattr(self, "repo"):
            return
        assert self.repo.head == self.state.head
        assert {n: c.id for n, c in self.repo.branches.items()} == self.state.branches
        assert {n: c.id for n, c in self.repo.tags.items()} == self.state.tags
        assert self.repo.is_dirty == (self.state.staged is not None)
        with self.repo.edit() as co:
            assert content_of(co) == self.working()[1]
            assert (None if co.base is None else co.base.id) == self.working()[0]


TestRepository = RepositoryMachine.TestCase
TestRepository.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
