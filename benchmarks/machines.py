"""Between machines: clone, push and fetch over HTTP, on the loopback of one machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorvcs as tv
from benchmarks.measuring import ROOT, best_of, seconds_of
from benchmarks.row import Bar, Row
from benchmarks.setting import new_repository, random_images
from benchmarks.vectors import change_one, vector_repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.setting import Setting

_PIXELS = 32
_ROUNDS = 5
_FETCHES = 15
_HANGAR = "Hangar on such a machine: 22 s"
_HANGAR_FETCH = "Hangar on such a machine: 7 s"


@dataclass
class _Server:
    """A server of repositories in a process of its own."""

    url: str
    log: Path

    def moved_nbytes(self) -> int:
        """Return the bytes of all requests and answers so far."""
        records = [json.loads(line) for line in self.log.read_text().splitlines()]
        return sum(r.get("received_nbytes", 0) + r.get("sent_nbytes", 0) for r in records)


@contextmanager
def _server(root: Path) -> Iterator[_Server]:
    log = root.parent / f"{root.name}.log"
    words = [sys.executable, "-m", "cli", "serve", str(root), "--port", "0", "--insecure-anonymous"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            assert process.stdout is not None
            yield _Server(process.stdout.readline().split(" at ")[1].strip(), log)
        finally:
            process.terminate()
            process.communicate()


@contextmanager
def _file_server(folder: Path) -> Iterator[str]:
    """Serve files by ``python -m http.server``; yields the URL."""
    words = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().split(" port ")[1].split()[0]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


def clones(setting: Setting) -> Iterator[Row]:
    """Clone and push of incompressible images, beside curl fetching one file of the same bytes."""
    count = setting.size(60_000, 2_000)
    images = random_images(count, _PIXELS)
    root, copy = setting.folder / "served", setting.folder / "copy"
    with new_repository(root / "images") as repository, repository.edit() as staging:
        staging.add_ndarray_column("images", images.shape[1:], "uint8").extend(images)
        staging.commit("Images")
    (setting.folder / "files").mkdir()
    (setting.folder / "files" / "images.bin").write_bytes(images.tobytes())

    def clone(source: str | Path) -> None:
        shutil.rmtree(copy, ignore_errors=True)
        tv.clone(source, copy, user_name="Ada", user_email="ada@example.org").close()

    with _server(root) as server, _file_server(setting.folder / "files") as files:
        target = str(setting.folder / "got.bin")

        def curl() -> None:
            words = ["curl", "--silent", "--fail", "--output", target, f"{files}/images.bin"]
            subprocess.run(words, check=True)

        rounds = setting.size(_ROUNDS, 2)
        has_curl = shutil.which("curl") is not None
        works = [lambda: clone(f"{server.url}/images"), lambda: clone(root / "images")]
        times = best_of(rounds, *works, *([curl] if has_curl else []))
        rate = count / times[0]
        work = f"clone of {count:,} × {_PIXELS}×{_PIXELS}×3 over HTTP"
        yield Row(
            work,
            "samples/s",
            rate,
            "curl of one file of the same bytes",
            count / times[2] if has_curl else None,
            bar=Bar("at least", 0.5),
            note=_HANGAR_FETCH,
        )
        yield Row(work, "samples/s", rate, "clone of a path", count / times[1])
        yield from _push(setting, server, root, copy, count)
    for folder in (root, copy, setting.folder / "files"):
        shutil.rmtree(folder)


def _push(setting: Setting, server: _Server, root: Path, copy: Path, count: int) -> Iterator[Row]:
    """Push all images to an empty repository."""
    seconds = []
    with tv.open(copy) as repository:
        for at in range(setting.size(3, 1)):
            tv.init(root / f"empty-{at}", bare=True).close()
            repository.add_remote(f"empty-{at}", f"{server.url}/empty-{at}")
            seconds.append(seconds_of(lambda at=at: repository.push(f"empty-{at}")))  # type: ignore[misc]
    work = f"push of {count:,} × {_PIXELS}×{_PIXELS}×3 over HTTP"
    yield Row(work, "samples/s", count / min(seconds), note=_HANGAR)


def fetches(setting: Setting) -> Iterator[Row]:
    """Fetch of commits of one changed sample each, over HTTP."""
    count = setting.size(1_000_000, 50_000)
    root, copy = setting.folder / "vectors-served", setting.folder / "vectors-copy"
    root.mkdir()
    source = root / "vectors"
    shutil.copytree(vector_repository(setting, count), source)
    seconds, moved = [], []
    with (
        _server(root) as server,
        tv.clone(f"{server.url}/vectors", copy) as mine,
        tv.open(source) as theirs,
    ):
        for at in range(setting.size(_FETCHES, 3)):
            change_one(theirs, at * 7919 % count, 90_000 + at)
            before = server.moved_nbytes()
            seconds.append(seconds_of(mine.fetch))
            moved.append(server.moved_nbytes() - before)
    work = f"fetch of a commit of one changed sample of {count:,} over HTTP"
    yield Row(work, "s", sorted(seconds)[len(seconds) // 2], bar=Bar("at most", 0.1, "figure"))
    yield Row(
        f"{work}: requests and answers",
        "bytes",
        max(moved),
        bar=Bar("at most", 100_000, "figure"),
    )
    for folder in (root, copy):
        shutil.rmtree(folder)
