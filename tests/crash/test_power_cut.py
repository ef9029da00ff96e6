"""The power goes at a durable step, or behind what was told: what was acknowledged is on the disk.

The repository is on an image of a file system that is shut down without writing what it has in
memory, as if the machine had stopped. What was not synced is gone then.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import traceback
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.crash.frame import check_left, record, run_to_death
from tests.crash.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

IMAGE_NBYTES = 320 << 20


def call(*words: str) -> None:
    found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    if found.returncode:
        raise OSError(f"{' '.join(words)}: {found.stderr.strip()}")


class Disk:
    """A file system in a file, to be mounted at a folder."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.image = image
        self.folder = folder

    def mount(self) -> None:
        call("mount", "-o", "loop", str(self.image), str(self.folder))

    def unmount(self) -> None:
        call("umount", str(self.folder))

    def sync(self) -> None:
        call("sync", "-f", str(self.folder))

    def cut(self) -> None:
        """Stop the file system; nothing that it has in memory is written any more."""
        call("xfs_io", "-x", "-c", "shutdown", str(self.folder))


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """Return a disk that can be mounted and is not."""
    made = Disk(tmp_path / "image", tmp_path / "disk")
    made.folder.mkdir()
    if os.geteuid():
        pytest.skip("only root may mount a file system")
    for program in ("mount", "xfs_io", f"mkfs.{request.param}"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
    with made.image.open("wb") as file:
        file.truncate(IMAGE_NBYTES)
    try:
        call(f"mkfs.{request.param}", "-q", str(made.image))
        made.mount()
        made.unmount()
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    return made


def in_child(act: Callable[[], object]) -> None:
    """Run a function in a child, so that no file of the disk stays open here."""
    reader, writer = os.pipe()
    number = os.fork()
    if number == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            if status:
                os.write(writer, traceback.format_exc().encode()[-60_000:])
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        text = told.read().decode(errors="replace")
    _, status = os.waitpid(number, 0)
    assert status == 0, text or status


def cut_off(disk: Disk, name: str, *, is_quick: bool) -> None:
    # Recorded in the folder below the mount, whose path is the same.
    recording = record(name, disk.folder / "here", disk.image.with_name("template"))
    shutil.rmtree(disk.folder / "here")
    names = [name for _, name in recording.steps]
    steps = sorted(map(names.index, set(names))) if is_quick else range(len(names))
    ends = [(at, None) for at in steps] + [(None, n) for n in range(1, len(recording.states))]
    for at, behind in ends:
        disk.mount()
        try:
            recording.restore()
            disk.sync()
            told = run_to_death(
                recording.operation, recording.place, at=at, behind=behind, end=disk.cut
            )
            disk.unmount()
            disk.mount()
            where = "cut off" if at is None else f"cut off at step {at}, {recording.steps[at][1]!r}"
            in_child(partial(check_left, recording, told, where))
        finally:
            disk.unmount()


def test_a_power_cut_takes_nothing_that_was_told(disk: Disk) -> None:
    cut_off(disk, "edit", is_quick=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_power_cut_at_any_step_of_any_operation(disk: Disk, name: str) -> None:
    cut_off(disk, name, is_quick=False)
