"""Several processes on one repository: none loses a commit, and a dead one holds no lock."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import tensorvcs as tv
from tensorvcs.errors import StagingLockedError
from tests.memory_repository import contents_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

PROCESSES, COMMITS = 4, 10


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as made:
        with made.edit() as co:
            co.add_ndarray_column("labels", (), "int64")["start"] = 0
            co.add_ndarray_column("images", (70,), "uint8")
            co.commit("first")
        yield made


def _commit_many(path: Path, number: int, results: Any) -> None:
    with tv.open(path) as repo:
        made = []
        for n in range(COMMITS):
            tx = repo.transaction(message=f"{number}/{n}")
            with tx as co:
                co["labels"][f"{number}/{n}"] = n
                co["images"][f"{number}/{n}"] = [number] * 70
            assert tx.commit is not None
            made.append(tx.commit.id)
        results.put(made)


def test_concurrent_transactions_lose_no_commit(repo: tv.Repository) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [
        context.Process(target=_commit_many, args=(repo.path, number, results))
        for number in range(PROCESSES)
    ]
    for child in children:
        child.start()
    told = [made for _ in children for made in results.get(timeout=120)]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    log = list(repo.log())
    assert len(told) == len(set(told)) == PROCESSES * COMMITS
    assert {commit.id for commit in log} >= set(told)
    assert len(log) == PROCESSES * COMMITS + 1
    expected = {f"{number}/{n}": n for number in range(PROCESSES) for n in range(COMMITS)}
    contents = contents_of(repo.checkout().columns)
    assert contents["labels"] == {**expected, "start": 0}
    assert contents["images"] == {key: [int(key[0])] * 70 for key in expected}
    assert repo.verify().is_sound


def test_concurrent_threads_lose_no_commit(repo: tv.Repository) -> None:
    def commit_many(number: int) -> None:
        for n in range(COMMITS):
            with repo.transaction(message=f"{number}/{n}") as tx:
                tx["labels"][f"{number}/{n}"] = n
                tx["images"][f"{number}/{n}"] = [number] * 70
                tx.flush()

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(commit_many, range(PROCESSES)))
    assert len(list(repo.log())) == PROCESSES * COMMITS + 1
    assert len(repo.checkout()["images"]) == PROCESSES * COMMITS
    assert repo.verify().is_sound


def _hold(path: Path, ready: Any, done: Any) -> None:
    with tv.open(path) as repo:
        co = repo.edit()
        co["labels"]["flushed"] = 1
        co.flush()
        co["labels"]["lost"] = 1
        ready.set()
        done.wait(120)
        co.close()


@pytest.mark.parametrize("ending", ["leaves", "killed"])
def test_the_lock_of_another_process(repo: tv.Repository, ending: str) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(repo.path, ready, done))
    child.start()
    assert ready.wait(60)
    with pytest.raises(StagingLockedError, match=f"by process {child.pid} since"):
        repo.edit()
    # Readers and transactions do not wait.
    assert repo.checkout()["labels"]["start"] == 0
    with repo.transaction() as tx:
        tx["labels"]["meanwhile"] = 2
    if ending == "killed":
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
    else:
        done.set()
    child.join(60)
    with repo.edit() as co:
        expected = {"flushed": 1, "start": 0, **({} if ending == "killed" else {"lost": 1})}
        assert contents_of(co.columns)["labels"] == expected
        co.commit("taken over")
    assert contents_of(repo.checkout().columns)["labels"] == {**expected, "meanwhile": 2}


def test_a_forked_child_neither_holds_nor_gives_back_the_lock(repo: tv.Repository) -> None:
    reader, writer = os.pipe()
    co = repo.edit()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        with pytest.raises(StagingLockedError):
            repo.edit()
        co.close()
        repo.edit().close()
    finally:
        os.close(writer)
        os.waitpid(child, 0)


def test_a_child_that_ends_leaves_the_lock_to_its_parent(repo: tv.Repository) -> None:
    with repo.edit() as co:
        co["labels"]["a"] = 1
        child = multiprocessing.get_context("fork").Process(target=int)
        child.start()
        child.join(60)
        with pytest.raises(StagingLockedError):
            repo.edit()
        co.commit("second")
    assert repo.checkout()["labels"]["a"] == 1
