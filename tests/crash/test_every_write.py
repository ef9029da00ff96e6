"""Each write of each operation in turn is the first that finds the disk full."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
import pytest

from tensorvcs.storage.durable import refusal
from tests.crash.frame import Recording, record, run, run_to_refusal
from tests.crash.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

DISK_NBYTES = 64 << 20
FILE_COUNT = 300
# Left to the slow sweep: each writes as another operation does.
WRITE_ALIKE = {"init-bare", "transaction", "repack-packs", "fetch-bundle", "after-a-crash"}
QUICK = [name for name in OPERATIONS if name not in WRITE_ALIKE]
# Behind these steps comes a write, a sync or a rename, which the system may refuse.
REFUSED_BEHIND = {
    "file written", "file synced", "file renamed", "folder written", "transaction complete",
}  # fmt: skip


def nothing() -> None:
    """There is room already."""


def ignore(_: str) -> None:
    """Let every step pass."""


# On a disk of its own


class SmallDisk:
    """A disk in memory, which can be filled up to some bytes, or some files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def free(self, *, files: bool) -> int:
        """Return how many pages, or files, there is room for."""
        found = os.statvfs(self.folder)
        return found.f_favail if files else found.f_bavail

    def leave(self, count: int, *, files: bool) -> None:
        """Leave room for so many pages, or files."""
        self.make_room()
        self._ballast.mkdir()
        page_nbytes = os.statvfs(self.folder).f_frsize
        if files:
            for number in range(self.free(files=True) - count):
                (self._ballast / str(number)).touch()
        elif self.free(files=False) > count:
            with (self._ballast / "pages").open("wb") as file:
                nbytes = (self.free(files=False) - count) * page_nbytes
                os.posix_fallocate(file.fileno(), 0, nbytes)

    def make_room(self) -> None:
        shutil.rmtree(self._ballast, ignore_errors=True)


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    # Not among the folders that pytest removes: it cannot, when a run is killed here.
    place = Path(tempfile.mkdtemp())
    mount = shutil.which("mount")
    if sys.platform != "linux" or mount is None:
        place.rmdir()
        pytest.skip("a disk of a size of its own needs Linux")
    options = f"size={DISK_NBYTES},nr_inodes={FILE_COUNT}"
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        place.rmdir()
        pytest.skip(f"cannot mount a small disk: {made.stderr.strip()}")
    yield SmallDisk(place)
    # At once, since this process keeps the packs mapped that it has read.
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()


@pytest.fixture
def recorded(disk: SmallDisk, tmp_path: Path) -> Iterator[Callable[[str], Recording]]:
    yield lambda name: record(name, disk.folder / "here", tmp_path / "template")
    shutil.rmtree(disk.folder / "here")


def room_taken(disk: SmallDisk, recording: Recording, *, files: bool) -> list[int]:
    """Return the most that an operation has taken up to each of its durable steps, ascending."""
    recording.restore()
    before = disk.free(files=files)
    taken = [0]

    def look(_: str) -> None:
        taken.append(max(taken[-1], before - disk.free(files=files)))

    for _ in run(recording.operation, recording.place, look):
        look("")
    return sorted(set(taken))


def sweep(
    disk: SmallDisk, recording: Recording, counts: Iterable[int], *, files: bool = False
) -> int:
    """Run an operation with room for so many pages or files each time; count the refusals."""
    refused = 0
    for count in counts:
        recording.restore()
        disk.leave(count, files=files)
        where = f"room for {count} {'files' if files else 'pages'}"
        refused += run_to_refusal(recording, make_room=disk.make_room, hook=ignore, where=where)
    return refused


def first_failures(taken: list[int]) -> list[int]:
    """Return so little room that each step in turn is the first that has none."""
    return sorted({0} | {most - 1 for most in taken if most})


@pytest.mark.parametrize("name", QUICK)
def test_no_room_at_any_step_changes_nothing(
    disk: SmallDisk, recorded: Callable[[str], Recording], name: str
) -> None:
    recording = recorded(name)
    taken = room_taken(disk, recording, files=False)
    refused = sweep(disk, recording, first_failures(taken))
    assert refused or taken[-1] <= 1, f"nothing was refused: {taken}"


@pytest.mark.parametrize("name", ["init", "edit", "gc", "repack-packs", "push", "clone"])
def test_no_room_for_another_file_changes_nothing(
    disk: SmallDisk, recorded: Callable[[str], Recording], name: str
) -> None:
    recording = recorded(name)
    (*_, most) = room_taken(disk, recording, files=True)
    assert sweep(disk, recording, range(most + 1), files=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_room_at_any_page_changes_nothing(
    disk: SmallDisk, recorded: Callable[[str], Recording], name: str
) -> None:
    recording = recorded(name)
    for files in (False, True):
        (*_, most) = room_taken(disk, recording, files=files)
        sweep(disk, recording, range(most + 2), files=files)


# On any disk


def no_room_at(at: int, place: Path) -> Callable[[str], None]:
    """Return a hook that refuses what follows the step number `at`, as a full disk does."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    count = 0

    def refuse(name: str) -> None:
        nonlocal count
        count += 1
        if count != at + 1:
            return
        if name == "transaction complete":
            raise lmdb.DiskError(f"mdb_txn_commit: {full.strerror}")
        raise refusal(f"cannot sync {place}", full) from full

    return refuse


@pytest.mark.parametrize("name", QUICK)
def test_a_refusal_of_the_disk_behind_any_step(tmp_path: Path, name: str) -> None:
    recording = record(name, tmp_path / "here", tmp_path / "template")
    seen: set[tuple[int, str]] = set()
    for at, (piece, step) in enumerate(recording.steps):
        if step in REFUSED_BEHIND and (piece, step) not in seen:
            seen.add((piece, step))
            recording.restore()
            hook = no_room_at(at, recording.place)
            where = f"refused behind step {at}, {step!r}"
            assert run_to_refusal(recording, make_room=nothing, hook=hook, where=where), where
    assert seen
