"""Versions: commit, diff, open and merge, from a thousand to ten million samples."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

import tensorvcs as tv
from benchmarks.measuring import Written, counted_objects, median_of, written_so_far
from benchmarks.peers import ABSENT, hangar_figures
from benchmarks.row import Bar, Row
from benchmarks.setting import SEED, new_repository
from benchmarks.vectors import WIDTH, change_one, changed_vector, vector_repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.setting import Setting

_SMALLEST = 1_000
_HANGAR_COUNT = 100_000
_BAR_COUNT = 1_000_000


def _counts(setting: Setting) -> tuple[int, ...]:
    counts = (_SMALLEST, 100_000, 1_000_000, 10_000_000)
    return counts[: setting.size(4, 2)]


def _keys(count: int, wanted: int, seed: int) -> list[int]:
    keys: list[int] = np.random.default_rng(seed).choice(count, wanted, replace=False).tolist()
    return keys


def _hangar_row(setting: Setting, work: str, ours: float, figure: str) -> Row:
    """Return ours at a hundred thousand samples beside Hangar's."""
    count = setting.size(_HANGAR_COUNT, 5_000)
    seconds = hangar_figures(setting, "versions", count).get(figure)
    note = ABSENT if seconds is None else "" if count == _HANGAR_COUNT else f"Hangar's at {count:,}"
    return Row(work, "s", ours, "Hangar", seconds, note=note)


@dataclass
class _Committed:
    """What the commits at one size took."""

    seconds: float
    object_nbytes: float
    wrote: Written | None


def _commit_in_turns(setting: Setting) -> dict[int, _Committed]:
    """Commit to repositories of every size by turns, so that all share the moods of the disk."""
    counts, repeat = _counts(setting), setting.size(60, 10)
    keys = {count: _keys(count, repeat + 23, SEED) for count in counts}
    times: dict[int, list[float]] = {count: [] for count in counts}
    found: dict[int, _Committed] = {}
    with ExitStack() as opened:
        repositories = {
            count: opened.enter_context(tv.open(vector_repository(setting, count)))
            for count in counts
        }
        for at in range(repeat + 3):
            for count, repository in repositories.items():
                start = time.perf_counter()
                change_one(repository, keys[count][at], at)
                times[count].append(time.perf_counter() - start)
        for count, repository in repositories.items():
            before = written_so_far()
            for at in range(repeat + 3, repeat + 13):
                change_one(repository, keys[count][at], at)
            after = written_so_far()
            with counted_objects() as objects:
                for at in range(repeat + 13, repeat + 23):
                    change_one(repository, keys[count][at], at)
            # The first three rounds warm up.
            found[count] = _Committed(
                statistics.median(times[count][3:]),
                objects.nbytes / 10,
                None if before is None or after is None else after - before,
            )
    return found


def commits(setting: Setting) -> Iterator[Row]:
    """A commit of one changed sample, opening of the staging area included."""
    found = _commit_in_turns(setting)
    smallest = found[_SMALLEST].seconds
    for count, committed in found.items():
        work = f"commit of one changed sample of {count:,}, opening of staging included"
        if count == _SMALLEST:
            yield Row(work, "s", smallest)
            continue
        flat = Bar("at most", 3 if count > _BAR_COUNT else 2)
        seconds = committed.seconds
        yield Row(work, "s", seconds, f"at {_SMALLEST:,} samples", smallest, flat)
        if count == _HANGAR_COUNT:
            yield _hangar_row(setting, work, seconds, "commit_seconds")
        is_held = count == _BAR_COUNT
        if is_held:
            yield Row(work, "s", seconds, bar=Bar("at most", 0.010, "figure"))
        work = f"of a commit of one changed sample of {count:,}"
        bar = Bar("at most", 60e3, "figure") if is_held else None
        yield Row(f"new objects {work}", "bytes", committed.object_nbytes, bar=bar)
        wrote = committed.wrote
        if wrote is not None:
            note = f"page cache dirtied, in whole folios: {wrote.dirtied_nbytes / 10e3:,.0f} kB"
            called = wrote.called_nbytes / 10
            yield Row(f"write calls {work}", "bytes", called, bar=bar, note=note)


def diffs(setting: Setting) -> Iterator[Row]:
    """The diff of two neighbouring commits that differ in one sample, counted."""
    for count in _counts(setting):
        with tv.open(vector_repository(setting, count)) as repository:
            made = [repository.resolve("HEAD")]
            for at, key in enumerate(_keys(count, 12, SEED + 7)):
                made.append(change_one(repository, key, 50_000 + at))

        # Opened anew: what the writer had in memory is gone.
        with tv.open(vector_repository(setting, count)) as repository:

            def count_changes(at: int, *, repository: tv.Repository = repository) -> None:
                found = repository.diff(made[at], made[at + 1])  # noqa: B023
                assert len(found.columns["vectors"].modified) == 1

            seconds = median_of(len(made) - 1, count_changes)
        work = f"diff of two commits, one of {count:,} samples changed"
        yield Row(work, "s", seconds, bar=Bar("at most", 0.002, "figure"))
        if count == _HANGAR_COUNT:
            yield _hangar_row(setting, work, seconds, "diff_seconds")


def opening(setting: Setting) -> Iterator[Row]:
    """Opening a repository and a checkout, and reading one sample."""
    for count in _counts(setting):
        path = vector_repository(setting, count)
        keys = _keys(count, 21, SEED + 8)

        def open_and_read(at: int) -> None:
            with tv.open(path) as repository:  # noqa: B023
                value = repository.checkout()["vectors", keys[at]]  # noqa: B023
            assert value.shape == (WIDTH,)

        open_and_read(20)
        seconds = median_of(20, open_and_read)
        work = f"open the repository and a checkout of {count:,}, read one sample"
        bar = Bar("at most", 0.005, "figure")
        if count != _HANGAR_COUNT:
            yield Row(work, "s", seconds, bar=bar)
            continue
        plain = setting.folder / "vectors.h5"
        with h5py.File(plain, "w") as file:
            file["vectors"] = np.zeros((count, WIDTH), np.float32)

        def open_plain(at: int) -> None:
            with h5py.File(plain) as file:  # noqa: B023
                file["vectors"][keys[at]]  # noqa: B023

        yield Row(work, "s", seconds, "h5py", median_of(20, open_plain), bar)
        yield _hangar_row(setting, work, seconds, "open_seconds")


def merges(setting: Setting) -> Iterator[Row]:
    """A merge of two branches with a hundred changed samples each."""
    for count in (_HANGAR_COUNT, _BAR_COUNT)[: setting.size(2, 1)]:
        times = []
        with tv.open(vector_repository(setting, count)) as repository:
            for at in range(setting.size(7, 3)):
                keys = _keys(count, 200, SEED + 20 + at)
                side = f"side-{at}"
                repository.create_branch(side)
                for branch, part in ((None, keys[:100]), (side, keys[100:])):
                    with repository.transaction(branch, f"Change {len(part)}") as staged:
                        staged["vectors"].update(
                            {key: changed_vector(100_000 + 1000 * at + key % 997) for key in part}
                        )
                start = time.perf_counter()
                merged = repository.merge(side)
                times.append(time.perf_counter() - start)
                assert not merged.is_fast_forward
        work = f"merge of two branches with 100 changed samples each of {count:,}"
        seconds = statistics.median(times)
        yield Row(work, "s", seconds, bar=Bar("at most", 0.050, "figure"))
        if count == _HANGAR_COUNT:
            yield _hangar_row(setting, work, seconds, "merge_seconds")


def commits_in_a_row(setting: Setting) -> Iterator[Row]:
    """Ten thousand one-sample commits: the last hundred beside the first hundred.

    The last hundred take turns with the first hundred of a new repository, so that what the
    machine does beside falls on both. Maintenance runs inside the commits that are timed: what the
    slowest of all commits took above the median, those beyond ten times of it, is spread over
    all and added to the last hundred, and these slowest are left out of both hundreds.
    """
    count, total = setting.size(10_000, 1_000), setting.size(10_000, 400)
    keys = np.random.default_rng(SEED).integers(0, count, total).tolist()
    times, first = [], []
    with (
        _plain_vectors(setting.folder / "commits-in-a-row", count) as old,
        _plain_vectors(setting.folder / "first-commits", count) as new,
    ):
        for at, key in enumerate(keys):
            start = time.perf_counter()
            change_one(old, key, at)
            middle = time.perf_counter()
            times.append(middle - start)
            if at >= total - 100:
                change_one(new, key, at)
                first.append(time.perf_counter() - middle)
    last = times[-100:]
    typical = statistics.median(times)
    upkeep = sum(seconds - typical for seconds in times if seconds > 10 * typical) / total
    note = (
        f"medians {statistics.median(last) * 1e3:.2f} and {statistics.median(first) * 1e3:.2f} ms; "
        f"{upkeep * 1e3:.2f} ms of it is the share of the slowest commits, at most "
        f"{max(times) * 1e3:.0f} ms"
    )
    usual_last, usual_first = (
        [seconds for seconds in hundred if seconds <= 10 * typical] for hundred in (last, first)
    )
    yield Row(
        f"mean of the last 100 of {total:,} commits in a row at {count:,} samples",
        "s",
        statistics.fmean(usual_last) + upkeep,
        "the first 100",
        statistics.fmean(usual_first),
        Bar("at most", 1.2),
        note,
    )


def _plain_vectors(path: Path, count: int) -> tv.Repository:
    repository = new_repository(path)
    with repository.edit() as checkout:
        column = checkout.add_ndarray_column("vectors", shape=(WIDTH,), dtype="float32")
        column.extend(np.random.default_rng(SEED).random((count, WIDTH), dtype=np.float32))
        checkout.commit("vectors")
    return repository
