"""Hangar's figures as JSON: run by the Python of ``benchmarks/.hangar``, not by ours.

    .hangar/bin/python hangar_figures.py WORK COUNT FOLDER

This file imports nothing of the project, and keeps to what Python 3.8 knows.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hangar import Repository

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH_COUNT = 256


def _create(folder: Path) -> Any:
    repository = Repository(str(folder), exists=False)
    repository.init(user_name="Ada", user_email="ada@example.org", remove_old=True)
    return repository


def _fill(folder: Path, rows: Any, backend: str) -> tuple[Any, str, float]:
    """Write rows by the quickest way Hangar has, a dict to `update`; return the seconds too."""
    repository = _create(folder)
    checkout = repository.checkout(write=True)
    start = time.perf_counter()
    column = checkout.add_ndarray_column("rows", prototype=rows[0], backend=backend)
    column.update(dict(enumerate(rows)))
    commit = checkout.commit("all rows")
    seconds = time.perf_counter() - start
    checkout.close()
    return repository, commit, seconds


def ingest(count: int, folder: Path) -> dict[str, float]:
    """Bulk ingest at 32 px by each backend that fits, best first; random batches likewise."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    ingest_seconds, read_seconds = [], []
    for backend in ("00", "10"):
        place = folder / backend
        place.mkdir()
        repository, _, seconds = _fill(place, rows, backend)
        ingest_seconds.append(seconds)
        checkout = repository.checkout()
        out = np.empty((BATCH_COUNT, 32, 32, 3), np.uint8)
        batches = rng.permutation(count)[: 20 * BATCH_COUNT].reshape(-1, BATCH_COUNT).tolist()
        with checkout["rows"] as column:
            for _ in range(2):
                start = time.perf_counter()
                for batch in batches:
                    for place_in_batch, key in enumerate(batch):
                        out[place_in_batch] = column[key]
                seconds = time.perf_counter() - start
            read_seconds.append(seconds)
        checkout.close()
        shutil.rmtree(str(place))
    return {
        "ingest_samples_per_second": count / min(ingest_seconds),
        "read_samples_per_second": 20 * BATCH_COUNT / min(read_seconds),
    }


def _change(repository: Any, branch: str, keys: list[int], value: Any) -> str:
    checkout = repository.checkout(write=True, branch=branch)
    with checkout["rows"] as column:
        for key in keys:
            column[key] = value + np.float32(key)
    commit: str = checkout.commit(f"change {len(keys)} samples")
    checkout.close()
    return commit


def versions(count: int, folder: Path) -> dict[str, float]:
    """Commit, diff, open and merge over `count` vectors of float32[32]."""
    rows = np.random.default_rng(0).standard_normal((count, 32), dtype=np.float32)
    repository, commit, seconds = _fill(folder, rows, "10")
    figures = {"ingest_samples_per_second": count / seconds}
    commits = [commit]

    def commit_one(at: int) -> None:
        commits.append(_change(repository, "master", [at], rows[0] + 1))

    def diff_two(at: int) -> None:
        checkout = repository.checkout(commit=commits[-1])
        start = time.perf_counter()
        found = checkout.diff.commit(commits[-2 - at])
        diff_seconds.append(time.perf_counter() - start)
        assert len(found.diff.mutated.samples) == at + 1
        checkout.close()

    def open_and_read(at: int) -> None:
        checkout = repository.checkout(commit=commits[-1])
        assert checkout["rows"][at].shape == (32,)
        checkout.close()

    diff_seconds: list[float] = []
    figures["commit_seconds"] = _median(3, commit_one)
    _median(3, diff_two)
    figures["diff_seconds"] = statistics.median(diff_seconds)
    figures["open_seconds"] = _median(3, open_and_read)
    repository.create_branch("side", base_commit=commits[-1])
    keys = np.random.default_rng(1).permutation(count)[:200].tolist()
    _change(repository, "master", keys[:100], rows[0] + 2)
    _change(repository, "side", keys[100:], rows[0] + 3)
    start = time.perf_counter()
    repository.merge("merge", "master", "side")
    figures["merge_seconds"] = time.perf_counter() - start
    return figures


def transfers(count: int, folder: Path) -> dict[str, float]:
    """Push and clone with its data, by Hangar's own server in a process of its own."""
    rows = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    (folder / "ours").mkdir()
    repository, _, _ = _fill(folder / "ours", rows, "00")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [sys.executable, "-c", _SERVER, str(folder / "server"), address]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        repository.remote.add("origin", address)
        _until_answered(address)
        start = time.perf_counter()
        repository.remote.push("origin", "master")
        push_seconds = time.perf_counter() - start
        (folder / "theirs").mkdir()
        copy = Repository(str(folder / "theirs"), exists=False)
        start = time.perf_counter()
        copy.clone("Bob", "bob@example.org", address, remove_old=True)
        copy.remote.fetch_data("origin", branch="master")
        clone_seconds = time.perf_counter() - start
        checkout = copy.checkout()
        assert np.array_equal(checkout["rows"][count - 1], rows[-1])
        checkout.close()
    finally:
        server.terminate()
        server.wait()
    return {
        "push_samples_per_second": count / push_seconds,
        "clone_samples_per_second": count / clone_seconds,
    }


_SERVER = """
import pathlib, sys, time
from hangar.remote.server import serve
place = pathlib.Path(sys.argv[1])
place.mkdir()
server, _, _ = serve(str(place), True, channel_address=sys.argv[2])
server.start()
time.sleep(3600)
"""


def _until_answered(address: str) -> None:
    host, port = address.split(":")
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError("Hangar's server does not answer")


def _median(repeat: int, work: Callable[[int], None]) -> float:
    times = []
    for at in range(repeat):
        start = time.perf_counter()
        work(at)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(work: str, count: str, folder: str) -> None:
    works = {"ingest": ingest, "versions": versions, "transfers": transfers}
    # Hangar tells what it does on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        figures = works[work](int(count), Path(folder))
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
