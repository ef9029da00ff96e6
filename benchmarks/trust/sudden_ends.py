"""Sudden ends: a process is killed, the power goes, the disk is full; at any moment of any work.

The work is `work`: commits, imports, merges, repacks and collections of garbage, each told of once
it is done. Whoever looks afterwards must find all that was told, a sound repository, and must be
able to go on without any unlock.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.trust import work
from benchmarks.trust.compared import leave_free, small_disk
from benchmarks.trust.probe import look_apart
from benchmarks.trust.tally import Reading, Tally
from tensorvcs.errors import TensorVCSError
from tests.crash.frame import check_left, first_visits, record, run_to_death
from tests.crash.operations import OPERATIONS
from tests.crash.test_power_cut import IMAGE_NBYTES, Disk, call

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from benchmarks.trust.experiments import Trial
    from tests.crash.frame import Recording

_ROOT = Path(__file__).resolve().parents[2]
_MEMORY = Path("/dev/shm")
_ACTS = 12
_SECONDS = 0.2
"""The work is ended after up to so many acts, and within so long of the last of them."""


class Working:
    """A process at work, and what it told so far."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.acks: list[dict[str, Any]] = []
        self.refusal = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.trust.work", str(folder), str(seed)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):
                told = json.loads(line)
                if "commit" in told:
                    self.acks.append(told)
                else:
                    self.refusal = told["refused"]

    def wait(self, drawn: random.Random) -> float:
        """Wait for some acts and then for some time; return how long that is."""
        count, moment = drawn.randrange(_ACTS), drawn.uniform(0, _SECONDS)
        while len(self.acks) < count and self._listener.is_alive():
            time.sleep(0.001)
        time.sleep(moment)
        return moment

    def end(self, *, is_killed: bool = True) -> int:
        """Kill it, or wait for its end; return its status."""
        if is_killed:
            self._process.kill()
        status = self._process.wait()
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


def kills_at_random(trial: Trial) -> Iterator[Tally]:
    """Kill the work at a random moment."""
    tally = Tally("SIGKILL, random moment")
    drawn = trial.random(tally.experiment)
    template = trial.folder / "worked-on"
    work.prepare(template)
    for run in range(max(4, trial.run_count // 4)):
        place = trial.folder / "killed"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place)
        working = Working(place, run)
        moment = working.wait(drawn)
        working.end()
        reading = look_apart(place, partial(work.look, acks=working.acks))
        tally.add(f"run {run}, {moment:.3f} s, {len(working.acks)} acts", reading)
    yield tally


def kills_at_steps(trial: Trial) -> Iterator[Tally]:
    """Kill each operation that writes at durable steps by name."""
    tally = Tally("SIGKILL, named steps")
    # What a kill leaves is in the memory of the system, so that no disk is needed to see it.
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        recordings = []
        for name in OPERATIONS:
            place = Path(folder) / name
            place.mkdir()
            recordings.append(record(name, place / "here", place / "template"))
        places = [
            (recording, at) for recording in recordings for at in first_visits(recording.steps)
        ]
        drawn = trial.random(tally.experiment)
        for recording, at in drawn.sample(places, min(len(places), trial.run_count)):
            recording.restore()
            told = run_to_death(recording.operation, recording.place, at=at)
            tally.add(*_left(recording, told, at))
    yield tally


def _left(recording: Recording, told: int, at: int) -> tuple[str, Reading]:
    where = f"{recording.operation.act.__name__}, step {at} {recording.steps[at][1]!r}"
    return where, look_apart(recording.place, lambda _: _check(recording, told, where))


def _check(recording: Recording, told: int, where: str) -> Reading:
    reading = Reading(is_opened=True)
    try:
        check_left(recording, told, where)
        reading.right = 1
        reading.is_sound = True
    except (AssertionError, TensorVCSError) as error:
        reading.missing = 1
        reading.note(f"{type(error).__name__}: {error}"[:300])
    return reading


def power_cuts(trial: Trial) -> Iterator[Tally]:
    """Shut the file system down at a random moment of the work, so that nothing more is written."""
    for kind in ("ext4", "xfs"):
        tally = Tally(f"power cut, {kind}")
        disk = Disk(trial.folder / "image", trial.folder / "disk")
        absence = _why_no_disk(disk, kind)
        if absence:
            print(f"{tally.experiment} is left out: {absence}", file=sys.stderr)
            continue
        drawn = trial.random(tally.experiment)
        template = trial.folder / f"before the cut of {kind}"
        work.prepare(template)
        for run in range(max(4, trial.run_count // 10)):
            tally.add(*_cut(disk, template, run, drawn))
        yield tally


def _cut(disk: Disk, template: Path, run: int, drawn: random.Random) -> tuple[str, Reading]:
    place = disk.folder / "repo"
    disk.mount()
    try:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place)
        disk.sync()
        working = Working(place, run)
        moment = working.wait(drawn)
        # What is told later may be in memory only.
        acks = list(working.acks)
        disk.cut()
        working.end()
        disk.unmount()
        disk.mount()
        reading = look_apart(place, partial(work.look, acks=acks))
    finally:
        disk.unmount()
    return f"run {run}, {moment:.3f} s, {len(acks)} acts", reading


def _why_no_disk(disk: Disk, kind: str) -> str:
    """Make a disk that can be mounted; return why there is none, if so."""
    if os.geteuid():
        return "only root may mount a file system"
    for program in ("mount", "xfs_io", f"mkfs.{kind}"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    disk.folder.mkdir(exist_ok=True)
    disk.image.unlink(missing_ok=True)
    with disk.image.open("wb") as file:
        file.truncate(IMAGE_NBYTES)
    try:
        call(f"mkfs.{kind}", "-q", str(disk.image))
        disk.mount()
        disk.unmount()
    except OSError as error:
        return f"no file system can be mounted here: {error}"
    return ""


def full_disks(trial: Trial) -> Iterator[Tally]:
    """Let the work fill a small disk; then make room."""
    tally = Tally("disk full")
    drawn = trial.random(tally.experiment)
    for run in range(max(4, trial.run_count // 10)):
        with small_disk(trial.folder / "small") as (disk, absence):
            if absence:
                print(f"{tally.experiment} is left out: {absence}", file=sys.stderr)
                return
            place = disk / "repo"
            work.prepare(place)
            free_nbytes = drawn.randrange(256 << 10, 8 << 20)
            ballast = leave_free(disk, free_nbytes)
            working = Working(place, run)
            status = working.end(is_killed=False)
            ballast.unlink()
            reading = look_apart(place, partial(work.look, acks=working.acks))
            if status:
                reading.foreign.append(f"the work ended with {status}")
            where = f"run {run}, {free_nbytes} bytes, {len(working.acks)} acts, {working.refusal}"
            tally.add(where, reading)
    yield tally


SUDDEN_ENDS: dict[str, Callable[[Trial], Iterator[Tally]]] = {
    "sigkill-at-random": kills_at_random,
    "sigkill-at-steps": kills_at_steps,
    "power-cut": power_cuts,
    "disk-full": full_disks,
}
"""Experiments by name, for `experiments.EXPERIMENTS`."""
