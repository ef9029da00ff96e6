"""Several processes commit to one branch at once; in half of the rows one of them is killed.

Each writer adds samples of its own and changes one that all share, by ``repo.transaction``. What
was acknowledged is noted in a file by the writer itself. Afterwards every acknowledged commit must
be in the history, with its samples; the shared sample must be what the newest commit that changed
it says. A commit that is refused with a conflict is not acknowledged, and nothing of it may show.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import tensorvcs as tv
from benchmarks.trust.probe import look_apart
from benchmarks.trust.tally import Reading, Tally
from tensorvcs.errors import MergeConflictError, TensorVCSError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.trust.experiments import Trial

COMMITS = 6
SIDE = 12
_COUNTS = {"two": 2, "eight": 8}
_KILL_WITHIN_SECONDS = 0.15

# Each process is forked from one that has imported the library and done nothing.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["benchmarks.trust.writers"])


def parallel_writers(trial: Trial) -> Iterator[Tally]:
    """Have two and eight processes commit to one branch; then kill one of them on the way."""
    for is_killed in (False, True):
        for name, count in _COUNTS.items():
            tally = Tally(f"{name} writers" + (", one killed" if is_killed else ""))
            drawn = trial.random(tally.experiment)
            for run in range(max(4, trial.run_count // 4)):
                path = trial.folder / "writers"
                shutil.rmtree(path, ignore_errors=True)
                write_at_once(path, count, drawn, is_killed=is_killed)
                tally.add(f"run {run}", look_apart(path, partial(look, count=count)))
            yield tally


def write_at_once(path: Path, count: int, drawn: random.Random, *, is_killed: bool) -> None:
    """Make a repository at `path` and have processes commit to it until all have ended."""
    with tv.init(path, "Ada Lovelace", "ada@example.org") as repo, repo.edit() as co:
        co.add_ndarray_column("labels", (), "int64")["shared"] = -1
        co.add_ndarray_column("images", (SIDE, SIDE), "uint8")
        co.add_str_column("texts")
        co.commit("first")
    barrier = _CONTEXT.Barrier(count + 1)
    writers = [
        _CONTEXT.Process(target=_write, args=(path, number, drawn.random(), barrier))
        for number in range(count)
    ]
    for writer in writers:
        writer.start()
    barrier.wait(60)
    if is_killed:
        time.sleep(drawn.uniform(0, _KILL_WITHIN_SECONDS))
        drawn.choice(writers).kill()
    for writer in writers:
        writer.join()


def _write(path: Path, number: int, chance: float, barrier: Any) -> None:
    with tv.open(path) as repo, (path / f"told-{number}").open("a", buffering=1) as told:
        barrier.wait(60)
        for n in range(COMMITS):
            name, shared = f"{number}/{n}", (n + chance) % 1 < 0.5
            transaction = repo.transaction(message=f"{name} {int(shared)}")
            with suppress(MergeConflictError):
                with transaction as co:
                    co["images"][name] = image_of(number, n)
                    co["texts"][name] = text_of(number, n)
                    co["labels"][name] = n
                    if shared:
                        co["labels"]["shared"] = 100 * number + n
                assert transaction.commit is not None
                told.write(json.dumps([transaction.commit.id, number, n]) + "\n")


def image_of(number: int, n: int) -> np.ndarray[Any, Any]:
    """Return what a writer stores with its n-th commit."""
    return np.random.default_rng([number, n]).integers(0, 256, (SIDE, SIDE), np.uint8)


def text_of(number: int, n: int) -> str:
    """Return the text that goes with it, too long to be kept in the tree."""
    return f"commit {n} of writer {number} " * 8


def look(path: Path, count: int) -> Reading:
    """Compare what is there with what the writers were told."""
    reading = Reading()
    told = []
    for number in range(count):
        with suppress(FileNotFoundError):
            lines = (path / f"told-{number}").read_text().splitlines(keepends=True)
            told += [json.loads(line) for line in lines if line.endswith("\n")]
    try:
        with tv.open(path) as repo:
            reading.is_opened = True
            _compare(reading, repo, told)
            reading.is_sound = repo.verify().is_sound
    except TensorVCSError as error:
        reading.errors[type(error).__name__] = 1
        reading.note(str(error))
    except Exception as error:  # noqa: BLE001 (any other error is what we look for)
        reading.foreign.append(f"{type(error).__name__}: {error}"[:300])
    return reading


def _compare(reading: Reading, repo: tv.Repository, told: list[tuple[str, int, int]]) -> None:
    log = list(repo.log("main"))
    ids = {commit.id for commit in log}
    committed = [commit.message.split() for commit in log if "/" in commit.message]
    expected = {name: [int(part) for part in name.split("/")] for name, _ in committed}
    newest = next((name for name, shared in committed if shared == "1"), None)
    shared = -1
    if newest is not None:
        number, n = expected[newest]
        shared = 100 * number + n
    for commit, number, n in told:
        if commit not in ids:
            reading.missing += 1
            reading.note(f"commit {commit[:12]} of writer {number} is gone")
        else:
            with repo.checkout(commit) as co:
                _compare_samples(reading, co, {f"{number}/{n}": [number, n]})
    with repo.checkout("main") as co:
        _compare_samples(reading, co, expected)
        found = int(co["labels"]["shared"])
        reading.right += found == shared
        reading.wrong += found != shared
        for column in ("images", "texts", "labels"):
            extra = set(co[column]) - set(expected) - {"shared"}
            if extra:
                reading.wrong += len(extra)
                reading.note(f"{column} has {sorted(extra)[:3]} of commits that were refused")


def _compare_samples(reading: Reading, co: tv.Checkout, expected: dict[str, list[int]]) -> None:
    for name, (number, n) in expected.items():
        values: dict[str, Any] = {
            "images": image_of(number, n),
            "texts": text_of(number, n),
            "labels": n,
        }
        for column, value in values.items():
            if name not in co[column]:
                reading.missing += 1
                reading.note(f"{column} lacks {name}")
            elif np.array_equal(co[column][name], value):
                reading.right += 1
            else:
                reading.wrong += 1
                reading.note(f"{column} {name} is another value")
