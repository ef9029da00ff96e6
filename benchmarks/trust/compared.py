"""Compared: the same harm to TensorVCS and to its peers, with the same small store in each.

``python -m benchmarks.trust.compared`` runs what is installed and prints two tables. A store has
256 rows of 64 × 64 bytes in its first version and one more in each later one; see `peers` for how
each system holds them.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import disk_folder
from benchmarks.trust import harm
from benchmarks.trust.outcome import Outcome, long_table, wide_table
from benchmarks.trust.systems import SYSTEMS, Looking, System, Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_VERSIONS = 9
"""Versions of the store whose files are harmed."""
_ENDLESS = 4000
_RESTART_SECONDS = 2
"""How long a commit after a crash is tried; a lock that is left then needs a person."""
_KILL_COMMITS = 8
_KILL_SECONDS = 0.3
"""A process is killed so long, at most, after one of its first commits."""
_DISK_NBYTES = 192 << 20


@dataclass(frozen=True, slots=True)
class Bench:
    """What an experiment is given.

    Attributes
    ----------
    folder : Path
        Empty, to work in.
    system : System
    looking : Looking
    run_count : int
        Processes that are killed. Four times as many bits are flipped, which is cheap; races and
        full disks take a fifth of it, since each is many commits.
    seed : int
    """

    folder: Path
    system: System
    looking: Looking
    run_count: int
    seed: int

    def random(self, name: str) -> random.Random:
        """Return random numbers that are the same for the same seed."""
        return random.Random(f"{self.seed} {name} {self.system.name}")

    def outcome(self, experiment: str) -> Outcome:
        """Return an outcome of no runs yet."""
        return Outcome(experiment, self.system.name)

    def empty(self) -> Path:
        """Return a store without rows, to be copied."""
        template = self.folder / "empty"
        if not template.exists():
            self.system.run("create", template)
        return template

    def copy(self, template: Path) -> Path:
        """Return a fresh copy of a store in place of the last one.

        Each has a path of its own, so that no cache of a process that looked before serves it.
        """
        shutil.rmtree(self.folder / "copies", ignore_errors=True)
        (self.folder / "copies").mkdir()
        place = Path(tempfile.mkdtemp(dir=self.folder / "copies")) / "store"
        return Path(shutil.copytree(template, place))

    def restarts(self, store: Path) -> Writing:
        """Commit once more as another process would after a crash."""
        writing = Writing.begin(self.system, store, writer=7, retry_seconds=_RESTART_SECONDS)
        writing.go()
        return writing.finish()


def bit_flips(bench: Bench) -> Iterator[Outcome]:
    """Flip one bit in a file that holds tensors; then in one of any other kind."""
    template = bench.copy(bench.empty()).rename(bench.folder / "filled")
    writing = Writing.begin(bench.system, template, count=_VERSIONS)
    writing.go()
    writing.finish()
    assert len(writing.acks) == _VERSIONS, writing.failure
    _, patterns = bench.system.about()
    tensors = {path for pattern in patterns for path in template.glob(pattern)}
    by_kind: dict[str, dict[str, list[Path]]] = {"tensors": {}, "the rest": {}}
    for path in sorted(template.rglob("*")):
        if path.is_file() and path.stat().st_size:
            part = "tensors" if path in tensors else "the rest"
            kind = f"{path.relative_to(template).parts[0]} {path.suffix}"
            by_kind[part].setdefault(kind, []).append(path)
    for part, kinds in by_kind.items():
        outcome = bench.outcome(f"bit flip in {part}")
        drawn = bench.random(outcome.experiment)
        for run in range(4 * bench.run_count if kinds else 0):
            files = list(kinds.values())[run % len(kinds)]
            path = drawn.choice(files)
            place, bit = drawn.randrange(path.stat().st_size), drawn.randrange(8)
            store = bench.copy(template)
            name = path.relative_to(template)
            harm.flip_bit(store / name, place, bit)
            reading = bench.looking.look(store, writing.acks)
            mended = None
            if not reading.right:
                mended = bench.looking.look(store, writing.acks, mends=True)
            run_name = f"{name}, byte {place}, bit {bit}"
            outcome.add(run_name, reading, may_err=True, mended=mended)
        yield outcome


def kills(bench: Bench) -> Iterator[Outcome]:
    """Kill a process that commits, at a random moment; then read, and commit once more."""
    outcome = bench.outcome("SIGKILL while committing")
    drawn = bench.random(outcome.experiment)
    for _ in range(bench.run_count):
        store = bench.copy(bench.empty())
        writing = Writing.begin(bench.system, store, count=_ENDLESS)
        count, moment = drawn.randrange(_KILL_COMMITS), drawn.uniform(0, _KILL_SECONDS)
        writing.go()
        writing.kill_after(count, moment)
        writing.finish()
        outcome.acked += len(writing.acks)
        reading = bench.looking.look(store, writing.acks)
        after = bench.restarts(store)
        if after.failure:
            reading.note(f"commit afterwards: {after.failure}")
        outcome.add(
            f"{moment:.3f} s after commit {count}, {len(writing.acks)} acknowledged",
            reading,
            is_stuck=not after.acks,
            crashed=f"commit afterwards: status {after.status}" if after.status < 0 else "",
        )
    yield outcome


def two_writers(bench: Bench) -> Iterator[Outcome]:
    """Two processes commit rows of their own at once."""
    yield _race(bench, 2, 20)


def eight_writers(bench: Bench) -> Iterator[Outcome]:
    """Eight processes commit rows of their own at once."""
    yield _race(bench, 8, 8)


def _race(bench: Bench, writers: int, count: int) -> Outcome:
    outcome = bench.outcome(f"{'two' if writers == 2 else 'eight'} writers")
    for run in range(max(1, bench.run_count // 5)):
        store = bench.copy(bench.empty())
        racing = [
            Writing.begin(bench.system, store, writer=number, count=count)
            for number in range(writers)
        ]
        for writing in racing:
            writing.go()
        for writing in racing:
            writing.finish()
        acks = [ack for writing in racing for ack in writing.acks]
        outcome.acked += len(acks)
        outcome.refused += writers * count - len(acks)
        reading = bench.looking.look(store, acks)
        for writing in racing:
            if writing.failure:
                reading.note(f"refused: {writing.failure}")
        crashed = [str(writing.status) for writing in racing if writing.status < 0]
        outcome.add(f"run {run}", reading, crashed=", ".join(crashed))
    return outcome


def full_disk(bench: Bench) -> Iterator[Outcome]:
    """Fill a small disk by commits; then make room, read, and commit once more."""
    outcome = bench.outcome("disk full")
    drawn = bench.random(outcome.experiment)
    for run in range(max(2, bench.run_count // 5)):
        with small_disk(bench.folder / "disk") as (disk, absence):
            if absence:
                outcome.absence = absence
                break
            store = disk / f"store-{run}"
            shutil.copytree(bench.empty(), store)
            free_nbytes = drawn.randrange(3 << 19, 4 << 20)
            ballast = leave_free(disk, free_nbytes)
            writing = Writing.begin(bench.system, store, count=_ENDLESS, retry_seconds=2)
            writing.go()
            writing.finish()
            outcome.acked += len(writing.acks)
            ballast.unlink()
            reading = bench.looking.look(store, writing.acks)
            after = bench.restarts(store)
            if after.failure:
                reading.note(f"commit afterwards: {after.failure}")
            outcome.add(
                f"run {run}, {free_nbytes} bytes, {len(writing.acks)} commits, {writing.failure}",
                reading,
                is_stuck=not after.acks,
                crashed=f"status {writing.status}" if writing.status < 0 else "",
            )
    yield outcome


def leave_free(disk: Path, nbytes: int) -> Path:
    """Fill a disk but for some bytes; return the file to remove for room."""
    found = os.statvfs(disk)
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - nbytes)
    return ballast


@contextmanager
def small_disk(place: Path) -> Iterator[tuple[Path, str]]:
    """Mount a small disk; yield where, and why it cannot be had, if so."""
    place.mkdir(exist_ok=True)
    mount = shutil.which("mount")
    if sys.platform != "linux" or mount is None:
        yield place, "a disk of a size of its own needs Linux"
        return
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={_DISK_NBYTES}", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        yield place, f"cannot mount a small disk: {made.stderr.strip()}"
        return
    try:
        yield place, ""
    finally:
        # At once, since the process that looks may have files open.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


EXPERIMENTS: Mapping[str, Callable[[Bench], Iterator[Outcome]]] = {
    "bit-flips": bit_flips,
    "sigkill": kills,
    "two-writers": two_writers,
    "eight-writers": eight_writers,
    "disk-full": full_disk,
}
"""Experiments by name; each yields its outcomes for one system."""


def run(
    folder: Path,
    systems: Sequence[System],
    experiments: Sequence[str],
    *,
    run_count: int,
    seed: int = 0,
) -> Iterator[Outcome]:
    """Run experiments with systems, one system after the other."""
    for system in systems:
        if system.absence:
            yield Outcome(experiments[0], system.name, absence=system.absence)
            continue
        place = folder / system.module
        place.mkdir()
        with Looking(system) as looking:
            for name in experiments:
                yield from EXPERIMENTS[name](Bench(place, system, looking, run_count, seed))
        shutil.rmtree(place)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, and print the tables; return 1 when TensorVCS has a fault."""
    options = _parser().parse_args(arguments)
    run_count = options.runs if options.runs is not None else 4 if options.quick else 50
    systems = [found for found in SYSTEMS if matches(found.name, options.systems)]
    experiments = [name for name in EXPERIMENTS if matches(name, options.only)]
    if not systems or not experiments:
        print("Error: nothing matches", file=sys.stderr)
        print(f"Hint: systems {[found.name for found in SYSTEMS]}", file=sys.stderr)
        print(f"Hint: experiments {list(EXPERIMENTS)}", file=sys.stderr)
        return 2
    outcomes: list[Outcome] = []
    start = time.perf_counter()
    with disk_folder(options.folder) as folder:
        found = run(folder, systems, experiments, run_count=run_count, seed=options.seed)
        for outcome in found:
            outcomes.append(outcome)
            if options.json is not None:
                told = [outcome.to_json() for outcome in outcomes]
                options.json.write_text(json.dumps(told, indent=1) + "\n")
            words = [*outcome.cells(), f"{outcome.acked} acked", f"{outcome.refused} refused"]
            print("  ".join(words), outcome.absence, file=sys.stderr, flush=True)
            for example in outcome.examples:
                print(f"    {example}", file=sys.stderr, flush=True)
    print(f"seed {options.seed}, {time.perf_counter() - start:.0f} s in all\n")
    print(long_table(outcomes), wide_table(outcomes), sep="\n\n")
    for system in systems:
        absence = system.absence
        print(f"\n- {system.name}: {absence or system.about()[0]}", end="")
    print()
    ours = [outcome for outcome in outcomes if outcome.system == SYSTEMS[0].name]
    return int(any(outcome.faults for outcome in ours))


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a name was asked for; all are when none was."""
    return not patterns or any(
        fnmatch.fnmatch(name.lower(), pattern.lower()) for pattern in patterns
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.trust.compared", description=__doc__)
    counts: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument("--runs", **counts, help="processes to kill; 50; other runs in proportion")
    parser.add_argument("--quick", action="store_true", help="4 runs")
    parser.add_argument("--seed", **counts, default=0, help="the same seed draws the same places")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="experiments")
    parser.add_argument("--systems", nargs="+", metavar="NAME", default=[], help="systems")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to work, on a real disk")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
