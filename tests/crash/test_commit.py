"""A process killed at any durable step of an edit, commit, merge or switch loses nothing told."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.storage.durable import set_step_hook
from tests.memory_repository import contents_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

ROWS = np.random.default_rng(0).integers(0, 256, (1500, 30, 30), np.uint8)


def start(path: Path) -> None:
    """A repository with a commit on two branches, and a change staged."""
    with tv.init(path, user_name="Ada", user_email="ada@example.org") as repo:
        with repo.edit() as co:
            co.add_ndarray_column("images", (30, 30), "uint8").extend(ROWS[:20])
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(20))
            co.commit("first")
        repo.create_branch("side")
        with repo.transaction("side", "of the side") as tx:
            tx["images"]["side"] = ROWS[20]
            tx["labels"]["side"] = 20
        with repo.transaction("main", "of main") as tx:
            tx["labels"]["main"] = 21


def edit_and_commit(repo: tv.Repository, tell: Callable[[str], None]) -> None:
    with repo.edit() as co:
        co["images"].extend(ROWS)  # a pack
        co["labels"]["a"] = 1
        co.flush()
        tell("flushed")
        co["images"]["small"] = ROWS[3]  # a loose value
        co["labels"]["a"] = 2
        tell("commit " + co.commit("second").id)
        co["labels"]["a"] = 3
        tell("commit " + co.commit("third").id)
        co["labels"]["a"] = 4
    tell("left")


def transact(repo: tv.Repository, tell: Callable[[str], None]) -> None:
    for n in range(2):
        tx = repo.transaction(message=f"tx {n}")
        with tx as co:
            co["images"][f"tx {n}"] = ROWS[n]
            co["images"].extend(ROWS[n * 700 : (n + 1) * 700] + 1)
            co["labels"]["a"] = n
        assert tx.commit is not None
        tell("commit " + tx.commit.id)


def merge(repo: tv.Repository, tell: Callable[[str], None]) -> None:
    tell("commit " + repo.merge("side").commit.id)


def switch(repo: tv.Repository, tell: Callable[[str], None]) -> None:
    repo.switch("side")
    tell("head side")
    repo.switch("new", create=True)
    tell("head new")
    repo.undo()
    tell("head side")


def repack(repo: tv.Repository, tell: Callable[[str], None]) -> None:
    repo.repack()
    tell("repacked")


ACTS = [edit_and_commit, transact, merge, switch, repack]


def count_steps(path: Path, act: Any) -> int:
    steps: list[str] = []
    with tv.open(path) as repo:
        set_step_hook(steps.append)
        try:
            act(repo, lambda _: None)
        finally:
            set_step_hook(None)
    return len(steps)


def run_and_die(path: Path, act: Any, at: int) -> list[str]:
    """Run an act in a child that is killed at its durable step `at`; return what it told."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        left = at

        def die(_: str) -> None:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        try:
            repo = tv.open(path)
            set_step_hook(die)
            act(repo, lambda text: os.write(writer, text.encode() + b"\n"))
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as told:
        lines = told.read().splitlines()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the child ended by itself: {status}"
    return lines


def check_commit(co: Any) -> None:
    """Every value of a commit can be read, and is one of those written."""
    known = {row.tobytes() for row in (*ROWS, *(ROWS + 1))}
    assert all(value.tobytes() in known for value in co["images"].values())
    assert len(co["images"]) >= 20
    assert co["labels"][:20].tolist() == list(range(20))


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_a_killed_process_leaves_a_sound_repository(tmp_path: Path, act: Any) -> None:
    start(tmp_path / "whole")
    count = count_steps(tmp_path / "whole", act)
    assert count
    for at in range(count):
        path = tmp_path / f"killed-{at}"
        start(path)
        told = run_and_die(path, act, at)
        with tv.open(path) as repo:
            report = repo.verify()
            assert report.is_sound, f"step {at}: {report}"
            reached = {commit.id for commit in repo.log()}
            for line in told:
                if line.startswith("commit "):
                    assert line[7:] in reached, f"step {at}: an acknowledged commit is gone"
            for commit in repo.log():
                check_commit(repo.checkout(commit))
            heads = [line[5:] for line in told if line.startswith("head ")]
            after = {"side": "new", "new": "side"}
            if act is switch:
                last = heads[-1] if heads else "main"
                following = "side" if not heads else after[last] if len(heads) < 3 else last
                assert repo.head in (last, following)
            if act is edit_and_commit:
                check_staging(repo, told, f"step {at}")
            else:
                assert not repo.is_dirty
            # Work goes on without an unlock.
            with repo.edit() as co:
                co["labels"]["on"] = at
                co["images"]["on"] = ROWS[at]
                co.commit("goes on")
            assert repo.checkout()["labels"]["on"] == at
            assert repo.verify().is_sound


def check_staging(repo: tv.Repository, told: list[str], where: str) -> None:
    """What is staged is the last flush that was told of, or the one after it."""
    with repo.edit() as co:
        found = contents_of(co.columns)["labels"].get("a")
        assert found in {0: (None, 1), 1: (1, 2), 2: (2, 3), 3: (3, 4), 4: (4,)}[len(told)], where
        co.reset()
