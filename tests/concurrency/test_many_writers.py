"""Eight processes commit to one branch, alone and beside readers, repack and gc."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.checkout import areas
from tensorvcs.errors import MergeConflictError, WorkInProgressError
from tensorvcs.history.merging.column_merge import merge_columns
from tensorvcs.storage.lmdb_environment import LmdbEnvironment
from tests.concurrency.processes import CONTEXT, in_processes
from tests.memory_repository import contents_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WRITERS, COMMITS = 8, 6
SIDE = 70
"""Rows of so many bytes are not kept inline."""


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path / "repo", user_name="Ada", user_email="ada@example.org") as made:
        with made.edit() as co:
            co.add_ndarray_column("labels", (), "int64")["start"] = 0
            co.add_ndarray_column("images", (SIDE,), "uint8")["start"] = [0] * SIDE
            co.commit("first")
        yield made


class Counted:
    """How often this process began a write transaction, and merged because it came second."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        write = LmdbEnvironment.write

        def counted_write(environment: LmdbEnvironment) -> Any:
            self.counts["transactions"] += not environment.is_writing
            return write(environment)

        def counted_merge(*arguments: Any, **named: Any) -> Any:
            self.counts["merges"] += 1
            return merge_columns(*arguments, **named)

        LmdbEnvironment.write = counted_write  # type: ignore[method-assign,assignment]
        vars(areas)["merge_columns"] = counted_merge

    def take(self) -> Counter[str]:
        counts, self.counts = self.counts, Counter()
        return counts


def _commit_disjoint(path: Path, number: int, wait: Callable[[], object]) -> Any:
    counted, made = Counted(), []
    with tv.open(path) as repo:
        wait()
        for n in range(COMMITS):
            tx = repo.transaction(message=f"{number}/{n}")
            with tx as co:
                assert co.base is not None
                base = co.base.id
                co["labels"][f"{number}/{n}"] = n
                co["images"][f"{number}/{n}"] = [number] * SIDE
                counted.take()
            assert tx.commit is not None
            made.append((tx.commit.id, base, counted.take()))
    return made


def test_disjoint_changes_are_all_there_and_cost_one_transaction_each(repo: tv.Repository) -> None:
    told = in_processes(_commit_disjoint, [(repo.path, number) for number in range(WRITERS)])
    log = {commit.id: commit for commit in repo.log()}
    acknowledged = {commit for made in told for commit, _, _ in made}
    assert len(log) == len(acknowledged) + 1 == WRITERS * COMMITS + 1
    assert acknowledged < set(log)
    contents = contents_of(repo.checkout().columns)
    keys = {(number, n): f"{number}/{n}" for number in range(WRITERS) for n in range(COMMITS)}
    assert contents["labels"] == {"start": 0, **{key: n for (_, n), key in keys.items()}}
    rows = {key: [number] * SIDE for (number, _), key in keys.items()}
    assert contents["images"] == {"start": [0] * SIDE, **rows}
    for commit, base, counts in (entry for made in told for entry in made):
        # Nobody tries twice: who came second merges inside its one transaction.
        was_first = log[commit].parents == (base,)
        assert counts == Counter(transactions=1, merges=int(not was_first)), (commit, was_first)
    assert repo.verify().is_sound


OVERLAPS = {0: ("a", 10), 1: ("a", 11), 2: ("a", 12), 3: ("a", 13), 4: ("b", 7), 5: ("b", 7)}
"""The sample that writers change beside their own, and the value: 4 and 5 agree."""


def _commit_overlapping(path: Path, number: int, wait: Callable[[], object]) -> Any:
    with tv.open(path) as repo:
        tx = repo.transaction(message=str(number))
        try:
            with tx as co:
                co["labels"][f"own/{number}"] = number
                if number in OVERLAPS:
                    co["labels"][OVERLAPS[number][0]] = OVERLAPS[number][1]
                wait()
        except MergeConflictError as error:
            return [(c.column, c.key, c.base, c.ours, c.theirs) for c in error.conflicts]
        assert tx.commit is not None
        return tx.commit.id


def test_overlapping_changes_conflict_where_they_do(repo: tv.Repository) -> None:
    told = in_processes(_commit_overlapping, [(repo.path, number) for number in range(WRITERS)])
    won = [number for number, made in enumerate(told) if isinstance(made, str)]
    (first,) = set(won) & {0, 1, 2, 3}
    assert {4, 5, 6, 7} <= set(won)
    for loser in {0, 1, 2, 3} - {first}:
        assert told[loser] == [("labels", "a", None, OVERLAPS[first][1], OVERLAPS[loser][1])]
    expected = {f"own/{number}": number for number in won}
    labels = contents_of(repo.checkout().columns)["labels"]
    assert labels == {"start": 0, "a": OVERLAPS[first][1], "b": 7, **expected}
    assert {commit.id for commit in repo.log()} > {told[number] for number in won}
    assert repo.verify().is_sound


# Beside readers and upkeep

BUSY_WRITERS = 2


def _commit_while_busy(path: Path, number: int, running: Any, wait: Callable[[], object]) -> Any:
    made = []
    with tv.open(path) as repo:
        wait()
        try:
            for n in range(COMMITS):
                tx = repo.transaction(message=f"{number}/{n}")
                with tx as co:
                    keys = [1000 * number + 10 * n + at for at in range(10)]
                    co["labels"].update({key: key for key in keys})
                    co["images"].extend(_rows(keys), keys)
                    del co["images"][keys[0]]  # so that there is something to collect
                assert tx.commit is not None
                made.append(tx.commit.id)
        finally:
            with running.get_lock():
                running.value -= 1
    return made


def _rows(keys: Any) -> Any:
    numbers = np.array(keys, np.int64) * 7 % 251
    return np.repeat(numbers.astype(np.uint8)[:, None], SIDE, axis=1)


def _read_while_busy(path: Path, is_dataset: bool, running: Any, wait: Callable[[], object]) -> Any:
    if is_dataset:
        from tensorvcs.torch import TensorDataset
    counts = []
    with tv.open(path) as repo:
        wait()
        is_last = False
        while not is_last:
            is_last = not running.value
            with repo.checkout("main") as co:
                images = co["images"]
                keys = list(images.keys())[:-1]  # "start" comes last
                if is_dataset:
                    dataset = TensorDataset(co, "images", keys=keys)
                    rows = [np.asarray(dataset[at]) for at in range(len(keys))]
                    found = np.array(rows).reshape(-1, SIDE)
                else:
                    found = images[keys] if keys else np.zeros((0, SIDE), np.uint8)
                np.testing.assert_array_equal(found, _rows(keys))
                counts.append(len(keys))
    return counts


def _keep_up_while_busy(path: Path, what: str, running: Any, wait: Callable[[], object]) -> Any:
    count = 0
    with tv.open(path) as repo:
        wait()
        is_last = False
        while not is_last:
            is_last = not running.value
            if what == "repack":
                repo.repack()
                count += 1
            else:
                with suppress(WorkInProgressError):
                    repo.gc(grace=0)
                    count += 1
    return count


def _one_of_many(path: Path, part: str, number: int, running: Any, wait: Any) -> Any:
    if part == "write":
        return _commit_while_busy(path, number, running, wait)
    if part == "read":
        return _read_while_busy(path, bool(number), running, wait)
    return _keep_up_while_busy(path, part, running, wait)


def test_readers_repack_and_gc_run_beside_writers(repo: tv.Repository) -> None:
    pytest.importorskip("torch")
    running = CONTEXT.Value("i", BUSY_WRITERS)
    writers = [("write", number) for number in range(1, BUSY_WRITERS + 1)]
    parts = [*writers, ("read", 0), ("read", 1), ("repack", 0), ("gc", 0)]
    told = in_processes(_one_of_many, [(repo.path, *part, running) for part in parts])
    acknowledged = {commit for made in told[:BUSY_WRITERS] for commit in made}
    log = {commit.id for commit in repo.log()}
    assert len(acknowledged) == BUSY_WRITERS * COMMITS
    assert acknowledged < log
    total = BUSY_WRITERS * COMMITS * 9
    for counts in told[BUSY_WRITERS : BUSY_WRITERS + 2]:
        assert counts == sorted(counts)
        assert counts[-1] == total
    assert told[-2] > 0
    assert told[-1] > 0
    images = repo.checkout()["images"]
    assert len(images) == total + 1
    assert repo.verify().is_sound
    for commit in acknowledged:
        repo.checkout(commit)["images"].to_numpy()
