"""Buckets: clone, push and fetch of a repository in an object store, on the loopback."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import tensorvcs as tv
from benchmarks.measuring import ROOT, best_of, seconds_of
from benchmarks.row import Bar, Row
from benchmarks.setting import new_repository, random_images
from benchmarks.vectors import change_one, vector_repository
from tensorvcs.sync.bucket import Bucket, open_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.setting import Setting
    from tensorvcs.sync.ranges import Range

_TOOLS = ROOT / "tests" / "tools"
_START_SECONDS = 120
_ANSWER = re.compile(r'"(?:GET|PUT|POST|DELETE|HEAD) \S+ HTTP/1\.1" \d+ (\d+)')
_LOG_SECONDS = 0.3
_ROUNDS = 3
_FETCHES = 15
# What the client sends together, so that both do the same.
_FILE_NBYTES = 64 << 20
_READ_NBYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class _Service:
    """A service of buckets.

    Attributes
    ----------
    name : str
    open : callable
        Return the bucket at a URL.
    moved : callable
        Return how many requests there were so far, and the bytes of their answers.
    """

    name: str
    open: Callable[[str], Bucket]
    moved: Callable[[], tuple[int, int]]


@contextmanager
def _service(folder: Path) -> Iterator[_Service | None]:
    """Have remotes ``s3://pets/...`` for a while; None where the client is not installed.

    They are in the S3 gateway of Ceph where that can be started, else in memory.
    """
    try:
        import obstore  # noqa: F401 (only whether it is there)
    except ImportError:
        yield None
        return
    with ExitStack() as rest:
        started = _start_gateway(folder)
        if started is not None:
            rest.callback(_stop_gateway, folder)
        service = _memory() if started is None else _gateway(folder, started)

        def reach(url: str, options: Mapping[str, str]) -> Bucket:
            return service.open(url)

        rest.enter_context(mock.patch("tensorvcs.sync.bucket.open_bucket", reach))
        yield service


def _start_gateway(folder: Path) -> list[str] | None:
    """Return endpoint, key and secret; None where Ceph is not installed or does not start."""
    if any(shutil.which(name) is None for name in ("radosgw", "ceph-osd", "ceph-mon")):
        return None
    words = [str(_TOOLS / "rgw_up.sh"), str(folder), str(_free_port()), str(_free_port())]
    try:
        started = subprocess.run(
            words, capture_output=True, text=True, timeout=_START_SECONDS, check=True
        )
    except subprocess.SubprocessError:
        _stop_gateway(folder)
        return None
    return started.stdout.split()


def _stop_gateway(folder: Path) -> None:
    subprocess.run([str(_TOOLS / "rgw_down.sh"), str(folder)], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _gateway(folder: Path, started: Sequence[str]) -> _Service:
    """Return the gateway, which writes a line on each request."""
    import obstore

    endpoint, key, secret = started
    options = {
        "endpoint": endpoint,
        "region": "us-east-1",
        "allow_http": "true",
        "access_key_id": key,
        "secret_access_key": secret,
    }
    made: Any = open_bucket("s3://pets", options).store
    url = obstore.sign(made, "PUT", "", dt.timedelta(minutes=1))
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT", data=b"")):
        pass
    # The first file takes seconds, in which the gateway makes its pools.
    obstore.put(made, "first", b"1")
    log = folder / "log" / "client.rgw.log"

    def moved() -> tuple[int, int]:
        # Lines come a little after the answers.
        time.sleep(_LOG_SECONDS)
        sizes = _ANSWER.findall(log.read_text(errors="replace"))
        return len(sizes), sum(map(int, sizes))

    return _Service("Ceph's gateway", lambda url: open_bucket(url, options), moved)


class _CountedBucket(Bucket):
    """A bucket in memory that counts what it is asked, and what it answers."""

    def __init__(self, store: Any, name: str, counts: list[int]) -> None:
        super().__init__(store, name)
        self.counts = counts

    def _count(self, nbytes: int = 0) -> None:
        self.counts[0] += 1
        self.counts[1] += nbytes

    def list_files(self, folder: str) -> dict[str, int]:
        self._count()
        return super().list_files(folder)

    def read(self, path: str, ranges: Sequence[Range]) -> list[memoryview]:
        self._count(sum(nbytes for _, nbytes in ranges))
        return super().read(path, ranges)

    def put(self, path: str, content: bytes) -> None:
        self._count()
        super().put(path, content)

    def get(self, path: str, *rest: int) -> Any:
        found = super().get(path, *rest)
        self._count(0 if found is None else len(found[0]))
        return found

    def _put_if(self, path: str, content: bytes, mode: Any) -> Any:
        self._count()
        return super()._put_if(path, content, mode)


def _memory() -> _Service:
    from obstore.store import MemoryStore

    stores: dict[str, MemoryStore] = {}
    counts = [0, 0]
    return _Service(
        "a store in memory",
        lambda url: _CountedBucket(stores.setdefault(url, MemoryStore()), url, counts),
        lambda: (counts[0], counts[1]),
    )


def buckets(setting: Setting) -> Iterator[Row]:
    """Push, clone, clone a part, and fetch, beside the client moving plain files."""
    with _service(setting.folder / "service") as service:
        if service is None:
            yield Row("clone and push of a bucket", "samples/s", None, note="needs obstore")
            return
        yield from _whole(setting, service)
        yield from _part(setting, service)
        yield from _one_sample(setting, service)


def _whole(setting: Setting, service: _Service) -> Iterator[Row]:
    """Push and clone incompressible images, beside files of the same bytes."""
    import obstore

    count, pixels = setting.size(60_000, 2_000), 32
    images = random_images(count, pixels)
    source, copy = setting.folder / "pushed", setting.folder / "copy"
    _make(source, images)
    plain = service.open("s3://pets/plain").store
    content = images.reshape(-1).data
    starts = range(0, len(content), _FILE_NBYTES)
    target = setting.folder / "plain.bin"
    number = 0

    def push() -> None:
        nonlocal number
        with tv.open(source) as repository:
            repository.add_remote(f"r{number}", f"s3://pets/whole-{number}")
            repository.push(f"r{number}")
        number += 1

    def put() -> None:
        for start in starts:
            obstore.put(plain, str(start), bytes(content[start : start + _FILE_NBYTES]))

    def clone() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        tv.clone("s3://pets/whole-0", copy, user_name="Ada", user_email="a@example.org").close()

    def get() -> None:
        with target.open("wb") as file:
            for start in starts:
                nbytes = min(_FILE_NBYTES, len(content) - start)
                for low in range(0, nbytes, _READ_NBYTES):
                    size = min(_READ_NBYTES, nbytes - low)
                    file.write(obstore.get_range(plain, str(start), start=low, length=size))

    rounds = setting.size(_ROUNDS, 1)
    pushed, was_put = best_of(rounds, push, put)
    cloned, was_got = best_of(rounds, clone, get)
    what = f"{count:,} × {pixels}×{pixels}×3"
    note = service.name
    for verb, ours, name, theirs in (
        ("push of", pushed, "obstore putting the same bytes", was_put),
        ("clone of", cloned, "obstore getting the same bytes", was_got),
    ):
        yield Row(
            f"{verb} {what}, a bucket", "samples/s", count / ours, name, count / theirs, note=note
        )
    target.unlink()
    for folder in (source, copy):
        shutil.rmtree(folder)


def _make(path: Path, images: Any) -> None:
    with new_repository(path) as repository, repository.edit() as staging:
        staging.add_ndarray_column("images", images.shape[1:], "uint8").extend(images)
        staging.commit("Images")


def _part(setting: Setting, service: _Service) -> Iterator[Row]:
    """Clone a tenth of the bytes, and count what moves, with trees and directories."""
    for pixels, count, bar in (
        (224, setting.size(2_000, 100), Bar("at most", 1.1)),
        (32, setting.size(60_000, 2_000), None),
    ):
        images = random_images(count, pixels)
        source, copy = setting.folder / "parted", setting.folder / "part"
        _make(source, images)
        url = f"s3://pets/part-{pixels}"
        with tv.open(source) as repository:
            repository.add_remote("origin", url)
            repository.push()
        before = service.moved()
        max_bytes = images.nbytes // 10
        tv.clone(
            url, copy, max_bytes=max_bytes, sample="random",
            user_name="Ada", user_email="a@example.org",
        ).close()  # fmt: skip
        after = service.moved()
        yield Row(
            f"clone of a tenth of {count:,} × {pixels}×{pixels}×3, a bucket: answers",
            "bytes",
            after[1] - before[1],
            "bytes asked for",
            max_bytes,
            bar=bar,
            note=f"{service.name}; {after[0] - before[0]:,} requests",
        )
        for folder in (source, copy):
            shutil.rmtree(folder)


def _one_sample(setting: Setting, service: _Service) -> Iterator[Row]:
    """Push and fetch commits of one changed sample each."""
    count = setting.size(1_000_000, 50_000)
    source, copy = setting.folder / "vectors-pushed", setting.folder / "vectors-copy"
    shutil.copytree(vector_repository(setting, count), source)
    with tv.open(source) as theirs:
        theirs.add_remote("origin", "s3://pets/vectors")
        theirs.push()
        found: dict[str, list[tuple[float, int, int]]] = {"push": [], "fetch": []}
        with tv.clone("s3://pets/vectors", copy) as mine:
            for at in range(setting.size(_FETCHES, 3)):
                change_one(theirs, at * 7919 % count, 90_000 + at)
                for verb, move in (("push", theirs.push), ("fetch", mine.fetch)):
                    before = service.moved()
                    taken = seconds_of(move)
                    after = service.moved()
                    found[verb].append((taken, after[0] - before[0], after[1] - before[1]))
    for verb, runs in found.items():
        seconds, requests, nbytes = (sorted(column) for column in zip(*runs, strict=True))
        middle = len(runs) // 2
        work = f"{verb} of a commit of one changed sample of {count:,}, a bucket"
        note = f"{service.name}; {requests[middle]} requests"
        bar = Bar("at most", 0.1, "figure") if verb == "fetch" else None
        yield Row(work, "s", seconds[middle], bar=bar, note=note)
        if verb == "fetch":
            bar = Bar("at most", 100_000, "figure")
            yield Row(f"{work}: answers", "bytes", nbytes[-1], bar=bar, note=service.name)
    for folder in (source, copy):
        shutil.rmtree(folder)
