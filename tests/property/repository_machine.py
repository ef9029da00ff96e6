"""A state machine that drives a repository on disk by its public names, beside plain dicts."""

from __future__ import annotations

import copy
import datetime as dt
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import tensorvcs as tv
from tensorvcs.errors import (
    BranchExistsError,
    ColumnExistsError,
    ColumnNotFoundError,
    EmptyPickError,
    MergeConflictError,
    MergeInProgressError,
    NothingToCommitError,
    NothingToStashError,
    NothingToUndoError,
    RefChangedError,
    SampleNotFoundError,
    StashNotFoundError,
    UncommittedChangesError,
    UnmergedBranchError,
)
from tests import model
from tests.numbered_values import (
    KINDS,
    add_column,
    check_every_read,
    content_of,
    is_nested,
    sub_numbers,
    subsamples_of,
    value_of,
)

NAMES = st.sampled_from(["x", "y"])
BRANCHES = st.sampled_from(["main", "side", "third"])
STRATEGIES = st.sampled_from(["fail", "ours", "theirs"])
KEYS = st.one_of(st.integers(-1, 2), st.sampled_from(["a", "b"]))
SUBKEYS = st.sampled_from(["s", 1])
VALUES = st.integers(0, 2)
NUMBERS = st.dictionaries(KEYS, VALUES, max_size=4)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, KEYS, VALUES),
        st.tuples(st.just("update"), NAMES, NUMBERS),
        st.tuples(st.just("update"), NAMES, NUMBERS),
        st.tuples(st.just("append"), NAMES, st.lists(VALUES, max_size=3)),
        st.tuples(st.just("put one"), NAMES, KEYS, SUBKEYS, VALUES),
        st.tuples(st.just("delete"), NAMES, KEYS),
        st.tuples(st.just("delete"), NAMES, KEYS),
        st.tuples(st.just("delete one"), NAMES, KEYS, SUBKEYS),
        st.tuples(st.just("add"), NAMES, st.sampled_from(KINDS)),
        st.tuples(st.just("drop"), NAMES),
        st.tuples(st.just("clear"), NAMES),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("flush")),
        st.tuples(st.just("reset")),
        st.tuples(st.just("reset one"), NAMES),
    ),
    min_size=1,
    max_size=5,
)
MEMORY = Path("/dev/shm")
"""Nothing is cut off here, so that nobody needs to wait for a disk."""
GRACES = st.sampled_from([0, 15, 1_000_000])
"""In seconds of the machine's clock, which counts its calls."""


def edit_both(
    co: Any, steps: list[Any], start: model.Content, base: model.Content
) -> tuple[model.Content, model.Content]:
    """Do steps to an editor and to a content; return the contents at the end, and flushed."""
    content, flushed = copy.deepcopy(start), copy.deepcopy(start)
    for step, *rest in steps:
        name = rest[0] if rest else ""
        match step:
            case "add":
                try:
                    add_column(co, name, rest[1])
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
            case "reset one":
                try:
                    co.reset(name)
                except ColumnNotFoundError:
                    assert name not in content
                    assert name not in base
                    continue
                content.pop(name, None)
                if name in base:
                    content[name] = copy.deepcopy(base[name])
                flushed = copy.deepcopy(content)
            case _ if name not in content:
                assert name not in co
            case _ if is_nested(content[name][0]):
                _edit_nested(co[name], *content[name], step, rest[1:])
            case _:
                _edit_plain(co[name], *content[name], step, rest[1:])
    return content, flushed


def _edit_plain(column: Any, kind: str, numbers: dict[Any, int], step: str, rest: Any) -> None:
    match step:
        case "put" | "put one":
            column[rest[0]] = value_of(kind, rest[-1])
            numbers[rest[0]] = rest[-1]
        case "update":
            column.update({key: value_of(kind, n) for key, n in rest[0].items()})
            numbers.update(rest[0])
        case "append":
            used = list(column.extend([value_of(kind, n) for n in rest[0]]))
            assert used == list(range(used[0], used[0] + len(used))) if used else not rest[0]
            assert not used or used[0] > max((k for k in numbers if isinstance(k, int)), default=-1)
            numbers.update(zip(used, rest[0], strict=True))
        case "delete" | "delete one":
            try:
                del column[rest[0]]
            except SampleNotFoundError:
                assert rest[0] not in numbers
            else:
                del numbers[rest[0]]
        case "clear":
            column.clear()
            numbers.clear()


def _edit_nested(column: Any, kind: str, numbers: dict[Any, int], step: str, rest: Any) -> None:
    def drop(key: Any) -> None:
        for pair in [pair for pair in numbers if pair[0] == key]:
            del numbers[pair]

    match step:
        case "put":
            column[rest[0]] = subsamples_of(kind, rest[1])
            drop(rest[0])
            numbers.update({(rest[0], sub): n for sub, n in sub_numbers(rest[1]).items()})
        case "update":
            column.update({key: subsamples_of(kind, n) for key, n in rest[0].items()})
            for key, number in rest[0].items():
                numbers.update({(key, sub): n for sub, n in sub_numbers(number).items()})
        case "put one":
            column[rest[0]][rest[1]] = value_of(kind, rest[2])
            numbers[rest[0], rest[1]] = rest[2]
        case "delete":
            try:
                del column[rest[0]]
            except SampleNotFoundError:
                assert all(key != rest[0] for key, _ in numbers)
            else:
                drop(rest[0])
        case "delete one":
            try:
                del column[rest[0]][rest[1]]
            except SampleNotFoundError:
                assert (rest[0], rest[1]) not in numbers
            else:
                del numbers[rest[0], rest[1]]


@dataclass(frozen=True)
class Stashed:
    """A stash: its base and its content."""

    base: str | None
    content: model.Content


@dataclass(frozen=True)
class State:
    """What one step back gives again: refs, and what is staged."""

    head: str = "main"
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    remote_branches: dict[str, str] = field(default_factory=dict)
    staged: model.Content | None = None
    staged_base: str | None = None
    stashes: tuple[Stashed, ...] = ()
    """The newest first."""
    merging: tuple[str, str] | None = None
    """A merge that waits: the commits that were ours and theirs when it began."""
    is_decided: bool = False
    """Whether it has no open conflicts any more."""

    @property
    def is_clean(self) -> bool:
        return self.staged is None and self.merging is None

    @property
    def named(self) -> set[str]:
        """The commits that refs name."""
        bases = [self.staged_base, *(stash.base for stash in self.stashes), *(self.merging or ())]
        maps = (self.branches, self.tags, self.remote_branches)
        return {*(c for m in maps for c in m.values()), *(b for b in bases if b is not None)}


class RepositoryMachine(RuleBasedStateMachine):
    """Every rule does one thing to both; the invariant compares all that can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.state = State()
        # The state before each operation that can be undone, and its number.
        self.past: list[tuple[int, State]] = []
        self.states_after: dict[int, State] = {}
        self.commits: dict[str, tuple[model.Content, tuple[str, ...]]] = {}
        # Those that this repository has; another one may have more.
        self.here: set[str] = set()
        self.newest_operation = 0
        self.has_forgotten = False
        self.seconds = 1_700_000_000
        self.amendments = 0

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
        self.commit([*columns, ("update", "x", {0: 1, "a": 1}), ("update", "y", {0: 1, "a": 1})])
        self.create_branch("side", "main")

    def teardown(self) -> None:
        if hasattr(self, "repo"):
            report = self.repo.verify()
            assert report.is_sound, str(report)
            for commit in self.here:
                assert content_of(self.repo.checkout(commit)) == self.commits[commit][0]
            self.repo.close()
        shutil.rmtree(self.folder)

    # What the model knows

    def content(self, commit: str | None) -> model.Content:
        return {} if commit is None else self.commits[commit][0]

    def history(self, *commits: str) -> set[str]:
        """All that some commits reach."""
        found: set[str] = set()
        queue = list(commits)
        while queue:
            commit = queue.pop()
            if commit not in found:
                found.add(commit)
                queue += self.commits[commit][1]
        return found

    @property
    def head_commit(self) -> str | None:
        return self.state.branches.get(self.state.head)

    @property
    def sources(self) -> dict[str, str]:
        """What can be named in a merge."""
        return {**self.state.branches, **self.state.remote_branches}

    def drawn_commit(self, data: st.DataObject) -> str:
        # In the order in which they were made, so that the machine repeats itself.
        return data.draw(
            st.sampled_from([commit for commit in self.commits if commit in self.here])
        )

    def working(self) -> tuple[str | None, model.Content]:
        """The base and the content that an editor starts with."""
        if self.state.staged is not None:
            return self.state.staged_base, self.state.staged
        if self.state.merging is not None:
            return self.state.merging[0], self.content(self.state.merging[0])
        return self.head_commit, self.content(self.head_commit)

    def did(self, *states: State) -> None:
        """Note the states before each step that an undo takes back, and the one after them."""
        fresh = [o for o in self.repo.operations() if o.number > self.newest_operation][::-1]
        steps = [o.number for o in fresh if o.continues is None and o.changes]
        before = [self.state, *states[:-1]]
        # A step that the library had no need to take is no step of the model.
        expected = [state for state, after in zip(before, states, strict=True) if state != after]
        assert len(steps) >= len(expected), (fresh, before, states)
        if len(steps) != len(expected):  # a sitting that ended as it began shows nothing
            assert len(states) == len(steps), fresh
            expected = before
        self.past += zip(steps, expected, strict=True)
        self.settle(states[-1])

    def settle(self, state: State) -> None:
        """Note where an operation, or several, have led."""
        self.state = state
        newest = self.repo.operations(1)
        self.newest_operation = newest[0].number if newest else 0
        self.states_after[self.newest_operation] = state

    def staged_as(self, content: model.Content, base: str | None) -> State:
        is_clean = content == self.content(base)
        return replace(
            self.state,
            staged=None if is_clean else content,
            staged_base=None if is_clean else base,
        )

    def clean_at(self, commit: str) -> State:
        """The current branch at a commit, and nothing staged."""
        branches = {**self.state.branches, self.state.head: commit}
        gone: dict[str, Any] = {"staged": None, "staged_base": None, "merging": None}
        return replace(self.state, branches=branches, is_decided=False, **gone)

    def record(self, commit: tv.Commit, content: model.Content) -> None:
        self.commits[commit.id] = (content, commit.parents)
        self.here.add(commit.id)

    # Edits

    @precondition(lambda self: self.state.merging is None)
    @rule(steps=EDITS)
    def stage(self, steps: list[Any]) -> None:
        base, start = self.working()
        with self.repo.edit() as co:
            content, _ = edit_both(co, steps, start, self.content(base))
            check_every_read(co, content)
        self.did(self.staged_as(content, base))

    @precondition(lambda self: self.state.merging is None)
    @rule(steps=EDITS)
    def fail_while_editing(self, steps: list[Any]) -> None:
        base, start = self.working()
        co = self.repo.edit()
        # Reading may flush on its way, so what is lost is at most what came after a flush.
        content, flushed = edit_both(co, steps, start, self.content(base))
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

    @precondition(lambda self: self.state.merging is None)
    @rule(steps=EDITS)
    def commit(self, steps: list[Any]) -> None:
        base, start = self.working()
        with self.repo.edit() as co:
            content, _ = edit_both(co, steps, start, self.content(base))
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
            check_every_read(co, merged.content)
        self.record(commit, merged.content)
        self.did(staged, self.clean_at(commit.id))

    @precondition(lambda self: self.state.merging is None)
    @rule(steps=EDITS)
    def amend(self, steps: list[Any]) -> None:
        base, start = self.working()
        self.amendments += 1
        with self.repo.edit() as co:
            content, _ = edit_both(co, steps, start, self.content(base))
            staged = self.staged_as(content, base)
            parents = () if base is None else self.commits[base][1]
            try:
                commit = co.commit(f"amended {self.amendments}", amend=True)
            except RefChangedError:
                assert base != self.head_commit
                self.did(staged)
                return
            except NothingToCommitError:
                # Nothing to amend, or nothing would be left of it.
                below = self.content(parents[0]) if parents else {}
                assert base is None or (content == below and len(parents) < 2)
                self.did(staged)
                return
            assert base is not None
            assert base == self.head_commit
            assert commit.parents == parents
        self.record(commit, content)
        self.did(staged, self.clean_at(commit.id))

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
                theirs, _ = edit_both(b, two, start, start)
                with first as a:
                    ours, _ = edit_both(a, one, start, start)
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

    @precondition(lambda self: self.state.is_clean and self.head_commit is not None)
    @rule(name=BRANCHES, here=EDITS, there=EDITS, strategy=STRATEGIES)
    def part_and_merge(self, name: str, here: list[Any], there: list[Any], strategy: str) -> None:
        """Let a branch and the current one grow apart, so that there is something to merge."""
        if name == self.state.head:
            return
        self.create_branch(name, self.state.head)
        self.transact(name, there)
        self.commit(here)
        if self.state.is_clean:
            self.merge_branch(name, strategy)

    # Names

    @rule(name=BRANCHES, at=BRANCHES)
    def create_branch(self, name: str, at: str) -> None:
        if name in self.state.branches or at not in self.state.branches:
            return
        self.repo.create_branch(name, at)
        branches = {**self.state.branches, name: self.state.branches[at]}
        self.did(replace(self.state, branches=branches))

    @rule(name=BRANCHES, force=st.booleans())
    def delete_branch(self, name: str, force: bool) -> None:
        if name not in self.state.branches or name == self.state.head:
            return
        branches = {n: c for n, c in self.state.branches.items() if n != name}
        others = self.history(*branches.values(), *self.state.tags.values())
        try:
            self.repo.delete_branch(name, force=force)
        except UnmergedBranchError:
            assert not force
            assert self.state.branches[name] not in others
        else:
            assert force or self.state.branches[name] in others
            self.did(replace(self.state, branches=branches))

    @rule(old=BRANCHES, new=BRANCHES)
    def rename_branch(self, old: str, new: str) -> None:
        if old not in self.state.branches:
            return
        try:
            self.repo.rename_branch(old, new)
        except BranchExistsError:
            assert new in self.state.branches
            return
        assert new not in self.state.branches
        branches = {new if n == old else n: c for n, c in self.state.branches.items()}
        head = new if self.state.head == old else self.state.head
        self.did(replace(self.state, branches=branches, head=head))

    @rule(name=BRANCHES)
    def switch(self, name: str) -> None:
        if name not in self.state.branches or name == self.state.head:
            return
        try:
            self.repo.switch(name)
        except UncommittedChangesError:
            assert self.state.staged is not None
        except MergeInProgressError:
            assert self.state.merging is not None
        else:
            assert self.state.is_clean
            self.did(replace(self.state, head=name))

    @rule(number=st.integers(0, 3))
    def tag(self, number: int) -> None:
        name = f"v{number}"
        if self.head_commit is None:
            return
        if name in self.state.tags:
            self.repo.delete_tag(name)
            tags = {n: c for n, c in self.state.tags.items() if n != name}
        else:
            self.repo.create_tag(name, message="x" if number % 2 else None)
            tags = {**self.state.tags, name: self.head_commit}
        self.did(replace(self.state, tags=tags))

    # History

    @precondition(lambda self: self.state.is_clean and len(self.sources) > 1)
    @rule(data=st.data(), strategy=STRATEGIES)
    def merge(self, data: st.DataObject, strategy: Any) -> None:
        self.merge_branch(data.draw(st.sampled_from(sorted(self.sources))), strategy)

    def merge_branch(self, branch: str, strategy: Any) -> None:
        ours, theirs = self.head_commit, self.sources[branch]
        if ours is None:
            return
        bases = self.merge_bases(ours, theirs)
        if not bases:
            return
        try:
            result = self.repo.merge(branch, strategy=strategy)
        except MergeConflictError:
            assert strategy == "fail"
            if len(bases) == 1:
                assert self.merged(bases, ours, theirs, strategy).conflicts
            return
        if bases == {theirs}:
            assert result.commit.id == ours
            return
        if bases != {ours}:
            content = content_of(self.repo.checkout(result.commit))
            if len(bases) == 1:
                expected = self.merged(bases, ours, theirs, strategy)
                assert content == expected.content
                assert bool(result.conflicts) == bool(expected.conflicts)
            self.record(result.commit, content)
            assert result.commit.parents == (ours, theirs)
        self.did(self.clean_at(result.commit.id))

    @precondition(lambda self: self.state.is_clean and len(self.sources) > 1)
    @rule(data=st.data())
    def merge_and_keep_conflicts(self, data: st.DataObject) -> None:
        branch = data.draw(st.sampled_from(sorted(self.sources)))
        ours, theirs = self.head_commit, self.sources[branch]
        if ours is None:
            return
        bases = self.merge_bases(ours, theirs)
        if len(bases) != 1:
            return
        merged = self.merged(bases, ours, theirs, "fail")
        if bases & {ours, theirs} or not merged.conflicts:
            self.merge_branch(branch, "fail")
            return
        result = self.repo.merge(branch, keep_conflicts=True)
        assert {(c.column, c.key) for c in result.open_conflicts} == merged.conflicts
        staged = self.staged_as(merged.content, ours)
        self.did(replace(staged, merging=(ours, theirs), is_decided=False))

    @precondition(lambda self: self.state.merging is not None)
    @rule(how=st.sampled_from(["ours", "theirs", "abort"]), finish=st.booleans())
    def go_on_merging(self, how: Any, finish: bool) -> None:
        waiting, merging = self.repo.merge_in_progress, self.state.merging
        assert waiting is not None
        assert merging is not None
        ours, theirs = merging
        assert (waiting.head.id, waiting.theirs.id) == merging
        assert (waiting.open_count == 0) == self.state.is_decided
        if how == "abort":
            waiting.abort()
            assert self.head_commit is not None
            self.did(self.clean_at(self.head_commit))
            return
        if not self.state.is_decided:
            assert waiting.resolve_all(how) == 0
            merged = self.merged(self.merge_bases(ours, theirs), ours, theirs, how)
            self.did(replace(self.staged_as(merged.content, ours), is_decided=True))
        if not finish:
            return
        # The branch may have moved meanwhile.
        head, (_, content) = self.head_commit, self.working()
        assert head is not None
        onto = model.merge_contents(self.content(ours), self.content(head), content, "fail")
        try:
            made = waiting.finish()
        except MergeConflictError:
            assert onto.conflicts
            return
        assert not onto.conflicts
        assert made.parents == (head, theirs)
        self.record(made, onto.content)
        self.did(self.clean_at(made.id))

    def merge_bases(self, ours: str, theirs: str) -> set[str]:
        names = list(self.commits)
        numbers = {commit: at for at, commit in enumerate(names)}
        parents = [tuple(numbers[p] for p in self.commits[c][1]) for c in names]
        return {names[at] for at in model.merge_bases(parents, numbers[ours], numbers[theirs])}

    def merged(self, bases: set[str], ours: str, theirs: str, strategy: str) -> model.Merged:
        base = self.content(next(iter(bases)))
        return model.merge_contents(base, self.content(ours), self.content(theirs), strategy)

    @precondition(lambda self: self.state.is_clean and self.head_commit is not None)
    @rule(data=st.data(), is_revert=st.booleans(), strategy=STRATEGIES)
    def pick(self, data: st.DataObject, is_revert: bool, strategy: Any) -> None:
        picked = self.drawn_commit(data)
        parents = self.commits[picked][1]
        mainline = data.draw(st.integers(1, len(parents))) if len(parents) > 1 else None
        below = self.content(parents[(mainline or 1) - 1]) if parents else {}
        change = (below, self.content(picked))
        base, theirs = change[::-1] if is_revert else change
        ours = self.content(self.head_commit)
        expected = model.merge_contents(base, ours, theirs, strategy)
        act = self.repo.revert if is_revert else self.repo.cherry_pick
        try:
            made = act(picked, mainline=mainline, strategy=strategy)
        except MergeConflictError:
            assert strategy == "fail"
            assert expected.conflicts
            return
        except EmptyPickError:
            assert base == theirs or expected.content == ours
            return
        assert strategy != "fail" or not expected.conflicts
        self.record(made, content_of(self.repo.checkout(made)))
        assert self.content(made.id) == expected.content
        assert made.parents == (self.head_commit,)
        self.did(self.clean_at(made.id))

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        commit = self.drawn_commit(data)
        self.repo.reset(commit[:20])
        self.did(self.clean_at(commit))

    @rule(count=st.integers(1, 2))
    def undo(self, count: int) -> None:
        if count > len(self.past) and self.has_forgotten:
            return  # the log may still have one, and not all that it names
        try:
            self.repo.undo(count)
        except NothingToUndoError:
            assert len(self.past) < count
            return
        state = self.past[-count][1]
        del self.past[-count:]
        self.settle(state)

    @precondition(lambda self: self.states_after)
    @rule(data=st.data())
    def restore_operation(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.states_after)))
        if number == 0:
            return
        state = self.states_after[number]
        with self.repo.at_operation(number) as past:
            self.check_names(past, state)
        self.repo.restore_operation(number)
        self.did(state)

    # Stashes

    @precondition(lambda self: self.state.merging is None)
    @rule(steps=EDITS)
    def stash(self, steps: list[Any]) -> None:
        if self.state.staged is None:
            self.stage(steps)
        try:
            self.repo.stash()
        except NothingToStashError:
            assert self.state.staged is None
            return
        assert self.state.staged is not None
        stashed = Stashed(self.state.staged_base, self.state.staged)
        stashes = (stashed, *self.state.stashes)
        self.did(replace(self.state, stashes=stashes, staged=None, staged_base=None))

    @precondition(lambda self: self.state.staged is not None and self.state.merging is None)
    @rule(name=NAMES, reset=st.booleans())
    def take_back_one(self, name: str, reset: bool) -> None:
        """Put the staged changes of one column aside, or drop them."""
        base, after = self.working()
        before = self.content(base)
        if model.find_renames(before, after):
            return
        chosen, rest = dict(before), dict(after)
        for one, other in ((chosen, after), (rest, before)):
            one.pop(name, None)
            if name in other:
                one[name] = other[name]
        try:
            self.repo.reset(columns=name) if reset else self.repo.stash(columns=name)
        except ColumnNotFoundError:
            assert name not in before
            assert name not in after
            return
        except NothingToStashError:
            assert not reset
            assert chosen == before
            return
        stashes = self.state.stashes if reset else (Stashed(base, chosen), *self.state.stashes)
        self.did(replace(self.staged_as(rest, base), stashes=stashes))

    @precondition(lambda self: self.state.stashes and self.state.merging is None)
    @rule(place=st.integers(0, 2), how=st.sampled_from(["pop", "pop", "apply", "drop"]))
    def take_stash(self, place: int, how: str) -> None:
        base, ours = self.working()
        kept = self.state.stashes[:place] + self.state.stashes[place + 1 :]
        try:
            {
                "pop": self.repo.pop_stash,
                "apply": self.repo.apply_stash,
                "drop": self.repo.drop_stash,
            }[how](place)
        except StashNotFoundError:
            assert place >= len(self.state.stashes)
            return
        except MergeConflictError:
            assert how != "drop"
            assert self.applied(place, ours).conflicts
            return
        after = self.state
        if how != "drop":
            merged = self.applied(place, ours)
            assert not merged.conflicts
            after = self.staged_as(merged.content, base)
        self.did(after if how == "apply" else replace(after, stashes=kept))

    def applied(self, place: int, ours: model.Content) -> model.Merged:
        stashed = self.state.stashes[place]
        return model.merge_contents(self.content(stashed.base), ours, stashed.content, "fail")

    # Upkeep

    @rule(repack=st.booleans())
    def reopen(self, repack: bool) -> None:
        if repack:
            self.repo.repack()
        self.repo.close()
        self.repo = tv.open(self.folder / "repo")
        self.repo.record_as(clock=self.next_second)

    @rule(grace=GRACES)
    def collect_garbage(self, grace: int) -> None:
        self.repo.gc(grace)
        remembered = {o.number for o in self.repo.operations() if o.changes}
        newest = self.repo.operations(1)
        if newest and newest[0].time <= self.next_second() - dt.timedelta(seconds=grace + 1):
            remembered = set()  # the record stays so that numbers go on, and names nothing for sure
        before = len(self.past)
        self.past = [(number, state) for number, state in self.past if number in remembered]
        self.has_forgotten = self.has_forgotten or len(self.past) < before
        self.states_after = {n: s for n, s in self.states_after.items() if n in remembered}
        states = [self.state, *(s for _, s in self.past), *self.states_after.values()]
        self.here = self.history(*(c for state in states for c in state.named))

    @rule()
    def verify(self) -> None:
        report = self.repo.verify()
        assert report.is_sound, str(report)

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        commit = self.drawn_commit(data)
        with self.repo.checkout(commit) as co:
            check_every_read(co, self.content(commit))
        assert {c.id for c in self.repo.log(commit)} == self.history(commit)

    def check_names(self, repo: tv.Repository, state: State) -> None:
        assert repo.head == state.head
        assert {n: c.id for n, c in repo.branches.items()} == state.branches
        assert {n: c.id for n, c in repo.tags.items()} == state.tags
        assert repo.is_dirty == (state.staged is not None)
        assert (repo.merge_in_progress is not None) == (state.merging is not None)
        bases = [stash.base for stash in repo.stashes]
        assert [base and base.id for base in bases] == [stash.base for stash in state.stashes]

    @invariant()
    def looks_the_same(self) -> None:
        if not hasattr(self, "repo"):
            return
        self.check_names(self.repo, self.state)
        with self.repo.edit() as co:
            assert content_of(co) == self.working()[1]
            assert (None if co.base is None else co.base.id) == self.working()[0]
