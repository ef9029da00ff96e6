"""Long histories: blame, the life of a sample, diff, merge and log over a thousand commits."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

import tensorvcs as tv
from benchmarks.measuring import counted_reads
from benchmarks.row import Bar, Row
from benchmarks.setting import SEED, new_repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.setting import Setting

_COLUMN = "labels"
_CHANGED_COUNT = 100
_LOG_COUNT = 20
# Every so many commits one is made on a branch of its own, beside one on main, and merged.
_MERGE_EVERY = 25
_AUTHORS = [
    tv.Identity(name, f"{name.lower()}@example.org")
    for name in ("Ada", "Bob", "Cleo", "Dan", "Eve", "Fay", "Gus", "Hal", "Ivy", "Joe")
]


@dataclass(frozen=True, slots=True)
class _History:
    """A repository with a long history.

    Attributes
    ----------
    sample_count, commit_count : int
    often : int
        The key of a sample that several commits changed.
    """

    path: Path
    sample_count: int
    commit_count: int
    often: int


def _build(setting: Setting) -> _History:
    """Make a column of labels that ten authors correct, a hundred labels a commit."""
    sample_count = setting.size(1_000_000, 20_000)
    commit_count = setting.size(1_000, 60)
    rng = np.random.default_rng(SEED)
    often = int(rng.integers(sample_count))
    path = setting.folder / "history"
    with new_repository(path) as repository:
        with repository.transaction(message="Import") as staged:
            labels = staged.add_ndarray_column(_COLUMN, (), "int64")
            labels.extend(np.zeros(sample_count, np.int64), keys=range(sample_count))
        made = 1

        def correct(branch: str | None = None) -> None:
            nonlocal made
            keys = rng.choice(sample_count, _CHANGED_COUNT, replace=False).tolist()
            if made % (commit_count // 8) == 0:
                keys[0] = often
            author = _AUTHORS[made % len(_AUTHORS)]
            with repository.transaction(branch, f"Correct {made}", author=author) as staged:
                staged[_COLUMN].update(dict.fromkeys(keys, made))
            made += 1

        while made < commit_count:
            if made % _MERGE_EVERY == 0:
                side = f"side-{made}"
                repository.create_branch(side)
                correct(side)
                correct()
                repository.merge(side, strategy="ours")
                made += 1
            else:
                correct()
    return _History(path, sample_count, made, often)


def _measure(
    history: _History, repeat: int, work: Callable[[tv.Repository], object]
) -> tuple[float, int]:
    """Return the median time of some work, each time in a repository just opened, and its reads."""
    times = []
    for _ in range(repeat):
        with tv.open(history.path) as repository, counted_reads() as reads:
            start = time.perf_counter()
            work(repository)
            times.append(time.perf_counter() - start)
    return statistics.median(times), reads.count


def histories(setting: Setting) -> Iterator[Row]:
    """Questions to a history of a thousand commits over a million samples."""
    start = time.perf_counter()
    history = _build(setting)
    build_seconds = time.perf_counter() - start
    of = f"{history.sample_count:,} samples, {history.commit_count:,} commits"
    yield Row(f"make a history of {of}, {_CHANGED_COUNT} changed in each", "s", build_seconds)
    yield from _blames(setting, history, of)
    yield from _lives(setting, history, of)
    yield from _others(setting, history, of)


def _note(read_count: int) -> str:
    return f"{read_count:,} objects read"


def _blames(setting: Setting, history: _History, of: str) -> Iterator[Row]:
    def blame(repository: tv.Repository) -> None:
        counts = [share.count for share in repository.blame(_COLUMN).by_author()]
        assert sum(counts) == history.sample_count

    seconds, read_count = _measure(history, setting.size(3, 1), blame)
    yield Row(
        f"blame of a column, by author: {of}",
        "s",
        seconds,
        "a scan of every commit",
        _scan_seconds(setting, history),
        note=_note(read_count),
    )
    keys = np.random.default_rng(SEED + 1).choice(history.sample_count, 10, replace=False)
    seconds, read_count = _measure(
        history,
        setting.repeat,
        lambda repository: list(repository.blame(_COLUMN, keys=keys).values()),
    )
    yield Row(f"blame of ten samples: {of}", "s", seconds, note=_note(read_count))


def _scan_seconds(setting: Setting, history: _History) -> float:
    """Return what reading all labels of each commit and comparing them takes, from some of them."""
    count = setting.size(20, 5)
    with tv.open(history.path) as repository:
        commits = list(repository.log(limit=count + 1))
        start = time.perf_counter()
        after = repository.checkout(commits[0])[_COLUMN].to_numpy()
        for commit in commits[1:]:
            before = repository.checkout(commit)[_COLUMN].to_numpy()
            np.flatnonzero(before != after)
            after = before
        return (time.perf_counter() - start) / (count + 1) * history.commit_count


def _lives(setting: Setting, history: _History, of: str) -> Iterator[Row]:
    def live(repository: tv.Repository) -> None:
        changes = list(repository.history(_COLUMN, history.often))
        assert changes[-1].sign == "+"
        assert len(changes) > 2

    def look_up(repository: tv.Repository) -> None:
        for commit in repository.log():
            repository.checkout(commit)[_COLUMN, history.often]

    seconds, read_count = _measure(history, setting.repeat, live)
    baseline, _ = _measure(history, 1, look_up)
    yield Row(
        f"history of one sample: {of}",
        "s",
        seconds,
        "a look-up in every commit",
        baseline,
        note=_note(read_count),
    )


def _others(setting: Setting, history: _History, of: str) -> Iterator[Row]:
    with tv.open(history.path) as repository:
        first = list(repository.log())[-1]
        keys = np.random.default_rng(SEED + 2).choice(history.sample_count, 200, replace=False)
        for name, part in (("left", keys[:100]), ("right", keys[100:])):
            repository.create_branch(name)
            with repository.transaction(name, f"Correct {name}") as staged:
                staged[_COLUMN].update(dict.fromkeys(part.tolist(), -1))

    def compare(repository: tv.Repository) -> None:
        assert len(repository.diff(first).columns[_COLUMN].modified) > _CHANGED_COUNT

    def scan(repository: tv.Repository) -> None:
        sides = [repository.checkout(commit)[_COLUMN].to_numpy() for commit in (first, "HEAD")]
        assert len(np.flatnonzero(sides[0] != sides[1])) > _CHANGED_COUNT

    seconds, read_count = _measure(history, setting.repeat, compare)
    baseline, _ = _measure(history, setting.repeat, scan)
    yield Row(
        f"diff of the first and the last commit: {of}",
        "s",
        seconds,
        "a scan of both",
        baseline,
        note=_note(read_count),
    )

    def merge(repository: tv.Repository) -> None:
        repository.create_branch("merged", "left")
        assert not repository.merge("right", into="merged").is_fast_forward
        repository.delete_branch("merged", force=True)

    seconds, read_count = _measure(history, setting.repeat, merge)
    yield Row(
        f"merge of two branches with 100 changed samples each: {of}",
        "s",
        seconds,
        bar=Bar("at most", 0.050, "figure"),
        note=_note(read_count),
    )
    seconds, read_count = _measure(
        history, setting.repeat, lambda repository: list(islice(repository.log(), _LOG_COUNT))
    )
    yield Row(f"log of the last {_LOG_COUNT}: {of}", "s", seconds, note=_note(read_count))
