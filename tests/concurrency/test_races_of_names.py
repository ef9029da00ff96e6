"""Branches come and go in one thread while another one stands on them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

import tensorvcs as tv
from tensorvcs.errors import (
    BranchExistsError,
    BranchInUseError,
    BranchNotFoundError,
    UnmergedBranchError,
)
from tensorvcs.storage.lock import StagingLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROUNDS = 60


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[tv.Repository, tv.Repository]]:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as one:
        with one.edit() as co:
            co.add_ndarray_column("labels", (), "int64")["a"] = 1
            co.commit("first")
        with tv.open(tmp_path) as other:
            yield one, other


def beside(first: Callable[[], None], second: Callable[[], None]) -> None:
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result()


def test_the_current_branch_is_never_deleted(pair: tuple[tv.Repository, tv.Repository]) -> None:
    one, other = pair

    def stand() -> None:
        for _ in range(ROUNDS):
            with suppress(BranchNotFoundError):
                one.switch("side")
                assert "side" in one.branches
                one.switch("main")

    def come_and_go() -> None:
        for _ in range(ROUNDS):
            with suppress(BranchExistsError):
                other.create_branch("side")
            with suppress(BranchInUseError):
                other.delete_branch("side")

    beside(stand, come_and_go)
    assert one.head == "main"


def test_two_who_delete_leave_the_commit_reachable(
    pair: tuple[tv.Repository, tv.Repository],
) -> None:
    one, other = pair
    for round_number in range(ROUNDS // 3):
        for name in ("a", "b"):
            one.create_branch(name)
        with one.transaction("a") as tx:
            tx["labels"]["a"] = 2 + round_number
        one.delete_branch("b", force=True)
        one.create_branch("b", "a")
        tip = one.resolve("a").id

        def delete(repo: tv.Repository, name: str) -> None:
            with suppress(UnmergedBranchError):
                repo.delete_branch(name)

        beside(lambda: delete(one, "a"), lambda: delete(other, "b"))
        left = {name: commit.id for name, commit in one.branches.items() if name != "main"}
        assert list(left.values()) == [tip]
        one.delete_branch(next(iter(left)), force=True)


def test_an_editor_is_on_the_branch_that_was_asked_for(
    pair: tuple[tv.Repository, tv.Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one switches as soon as the lock is free."""
    one, other = pair
    one.create_branch("side")
    release = StagingLock.release

    def release_and_be_overtaken(lock: StagingLock) -> None:
        release(lock)
        monkeypatch.setattr(StagingLock, "release", release)
        other.switch("main")

    monkeypatch.setattr(StagingLock, "release", release_and_be_overtaken)
    with one.edit("side") as co:
        assert co.branch == one.head == "side"
    assert one.head == "main"
