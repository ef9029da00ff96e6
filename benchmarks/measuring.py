"""Clocks and counters: interleaved timings, bytes written, bytes on disk."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs.storage.lmdb_objects import LmdbObjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best_of(repeat: int, *works: Callable[[], object]) -> list[float]:
    """Return the shortest time of each work, of `repeat` rounds in which each has one turn.

    Taking turns lets a disturbance of the machine fall on all of them.
    """
    rounds = [[seconds_of(work) for work in works] for _ in range(repeat)]
    return [min(times) for times in zip(*rounds, strict=True)]


def median_of(repeat: int, work: Callable[[int], object]) -> float:
    """Return the median time of `repeat` calls; each gets its number."""
    return statistics.median(seconds_of(lambda at=at: work(at)) for at in range(repeat))  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Written:
    """What this process wrote so far.

    Attributes
    ----------
    called_nbytes : int
        Bytes handed to the kernel by write calls: exact, since LMDB writes by calls here.
    dirtied_nbytes : int
        Bytes of the page cache that the kernel holds the process accountable for, in whole
        folios: one page of 4 kB that changes may count as 64 kB.
    """

    called_nbytes: int
    dirtied_nbytes: int

    def __sub__(self, other: Written) -> Written:
        return Written(
            self.called_nbytes - other.called_nbytes, self.dirtied_nbytes - other.dirtied_nbytes
        )


def written_so_far() -> Written | None:
    """Return what this process wrote so far; None where Linux is not."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return None
    counts = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    return Written(counts["wchar"], counts["write_bytes"])


def allocated_nbytes(paths: Sequence[Path]) -> int:
    """Return the bytes that files, and files under folders, take on the disk."""
    total = 0
    for path in paths:
        files = path.rglob("*") if path.is_dir() else [path]
        total += sum(file.stat().st_blocks * 512 for file in files if file.is_file())
    return total


@dataclass
class ObjectBytes:
    """Bytes of new objects, and their count."""

    nbytes: int = 0
    count: int = 0
    sizes: list[int] = field(default_factory=list)


@contextmanager
def counted_objects() -> Iterator[ObjectBytes]:
    """Count what is put into object stores on disk while the context is open."""
    counted = ObjectBytes()
    put = LmdbObjects.put

    def counting_put(store: LmdbObjects, objects: Sequence[bytes]) -> list[bytes]:
        from tensorvcs.objects.digest import digest_of

        by_digest = {digest_of(one): len(one) for one in objects}
        for digest in store.missing(list(by_digest)):
            counted.nbytes += by_digest[digest]
            counted.count += 1
            counted.sizes.append(by_digest[digest])
        return put(store, objects)

    LmdbObjects.put = counting_put  # type: ignore[method-assign, assignment]
    try:
        yield counted
    finally:
        LmdbObjects.put = put  # type: ignore[method-assign]


@dataclass
class ObjectReads:
    """How many objects were read."""

    count: int = 0


@contextmanager
def counted_reads() -> Iterator[ObjectReads]:
    """Count what is read from object stores on disk while the context is open."""
    counted = ObjectReads()
    get = LmdbObjects.get

    def counting_get(store: LmdbObjects, digests: Sequence[bytes]) -> list[bytes]:
        counted.count += len(digests)
        return get(store, digests)

    LmdbObjects.get = counting_get  # type: ignore[method-assign, assignment]
    try:
        yield counted
    finally:
        LmdbObjects.get = get  # type: ignore[method-assign]


def is_in_memory(folder: Path) -> bool:
    """Tell whether a folder lies in a file system without a disk."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return False
    below = [(len(at), kind) for at, kind in mounts if folder.resolve().is_relative_to(at)]
    return bool(below) and max(below)[1] in ("tmpfs", "ramfs")


@contextmanager
def disk_folder(wanted: Path | None) -> Iterator[Path]:
    """Make a temporary folder on a real disk, removed afterwards.

    `wanted` is the folder to make it in; by default the usual place for temporary files, or the
    project's ``build`` when that place is in memory.
    """
    parent = Path(tempfile.gettempdir()) if wanted is None else wanted
    if wanted is None and is_in_memory(parent):
        parent = ROOT / "build"
    parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="tensorvcs-benchmark-", dir=parent))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def processor_name() -> str:
    """Return what the machine calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def core_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
