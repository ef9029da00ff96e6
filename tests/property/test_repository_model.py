"""A repository, and two that exchange commits, do what plain dicts do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tensorvcs as tv
from tensorvcs.errors import BranchNotFoundError, MergeConflictError, NonFastForwardError
from tests.numbered_values import content_of
from tests.property.repository_machine import BRANCHES, EDITS, RepositoryMachine, edit_both


class ExchangingMachine(RepositoryMachine):
    """A second repository, bare, where others commit too; and clones of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.far_branches: dict[str, str] = {}
        self.clone_count = 0

    @initialize()
    def begin_exchange(self) -> None:
        self.far = tv.init(
            self.folder / "far", bare=True, user_name="Bob", user_email="bob@example.org"
        )
        self.far.record_as(clock=self.next_second)

    def begin_with_remote(self) -> None:
        if "far" not in self.repo.remotes:
            self.repo.add_remote("far", str(self.folder / "far"))

    def teardown(self) -> None:
        if hasattr(self, "far"):
            report = self.far.verify()
            assert report.is_sound, str(report)
            for commit in self.far_branches.values():
                assert content_of(self.far.checkout(commit)) == self.content(commit)
            self.far.close()
        super().teardown()

    @rule(branch=BRANCHES, force=st.booleans())
    def push(self, branch: str, force: bool) -> None:
        self.begin_with_remote()
        branch = branch if branch in self.state.branches else self.state.head
        commit, there = self.state.branches.get(branch), self.far_branches.get(branch)
        try:
            self.repo.push("far", branch, force)
        except BranchNotFoundError:
            assert commit is None
            return
        except NonFastForwardError:
            assert commit is not None
            assert there is not None
            assert not force
            assert there not in self.history(commit)
            return
        assert commit is not None
        assert force or there is None or there in self.history(commit)
        self.far_branches[branch] = commit
        self.did(self.seen({f"far/{branch}": commit}))

    @rule(prune=st.booleans())
    def fetch(self, prune: bool) -> None:
        self.begin_with_remote()
        self.repo.fetch("far", prune=prune)
        found = {f"far/{name}": commit for name, commit in self.far_branches.items()}
        self.here |= self.history(*found.values())
        state = replace(self.state, remote_branches=found) if prune else self.seen(found)
        self.did(state)

    def seen(self, found: dict[str, str]) -> Any:
        return replace(self.state, remote_branches={**self.state.remote_branches, **found})

    @precondition(lambda self: self.far_branches)
    @rule(data=st.data(), steps=EDITS)
    def commit_far(self, data: st.DataObject, steps: list[Any]) -> None:
        branch = data.draw(st.sampled_from(sorted(self.far_branches)))
        start = self.content(self.far_branches[branch])
        tx = self.far.transaction(branch, "far")
        with tx as co:
            content, _ = edit_both(co, steps, start, start)
        if tx.commit is None:
            assert content == start
            return
        self.commits[tx.commit.id] = (content, tx.commit.parents)
        self.far_branches[branch] = tx.commit.id

    @precondition(lambda self: len(self.far_branches) > 1)
    @rule(data=st.data(), strategy=st.sampled_from(["fail", "theirs"]))
    def merge_far(self, data: st.DataObject, strategy: Any) -> None:
        names = st.sampled_from(sorted(self.far_branches))
        into, source = data.draw(names), data.draw(names)
        ours, theirs = self.far_branches[into], self.far_branches[source]
        bases = self.merge_bases(ours, theirs)
        if len(bases) != 1:
            return
        expected = self.merged(bases, ours, theirs, strategy)
        try:
            result = self.far.merge(source, into, strategy=strategy)
        except MergeConflictError:
            assert expected.conflicts
            return
        if result.commit.id not in self.commits:
            self.commits[result.commit.id] = (expected.content, result.commit.parents)
        assert content_of(self.far.checkout(result.commit)) == self.content(result.commit.id)
        self.far_branches[into] = result.commit.id

    @rule(grace=st.sampled_from([0, 15]), delete=st.none() | BRANCHES)
    def collect_far(self, grace: int, delete: str | None) -> None:
        if delete in self.far_branches and delete != self.far.head:
            self.far.delete_branch(delete, force=True)
            del self.far_branches[delete]
        self.far.gc(grace)
        self.far.repack()

    @precondition(lambda self: self.state.branches)
    @rule()
    def clone(self) -> None:
        self.clone_count += 1
        path = self.folder / f"clone-{self.clone_count}"
        with tv.clone(self.folder / "repo", path, user_name="C", user_email="c@d") as copy:
            for name, commit in self.state.branches.items():
                assert copy.resolve(f"origin/{name}").id == commit
                assert content_of(copy.checkout(commit)) == self.content(commit)
            report = copy.verify()
            assert report.is_sound, str(report)

    @invariant()
    def far_looks_the_same(self) -> None:
        if hasattr(self, "far"):
            assert {n: c.id for n, c in self.far.branches.items()} == self.far_branches
            for name, commit in self.state.remote_branches.items():
                assert self.repo.resolve(name).id == commit


def test_repositories_do_what_dicts_do() -> None:
    run_state_machine_as_test(
        ExchangingMachine, settings=settings(max_examples=50, stateful_step_count=25)
    )


@pytest.mark.slow
def test_repositories_do_what_dicts_do_for_thousands_of_steps() -> None:
    nightly = settings.get_profile("nightly")
    run_state_machine_as_test(
        ExchangingMachine, settings=settings(nightly, stateful_step_count=60, print_blob=True)
    )
