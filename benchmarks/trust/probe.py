"""Read a whole repository in a process of its own, and compare it with the truth.

``python -m benchmarks.trust.probe`` answers on standard output for each path that it is given on
standard input. It forks for each, so that a crash ends that look alone and nothing of an earlier
look is in memory.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorvcs as tv
from benchmarks.trust.tally import Reading
from benchmarks.trust.tiny import REVISIONS, TRUTH_FILE, digest_of, spell
from tensorvcs.errors import TensorVCSError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

# A process that takes longer than this is stuck.
_SECONDS = 60


def look(path: Path) -> Reading:
    """Read everything of the repository at `path`, in this process."""
    reading = Reading()
    truth = json.loads((path / TRUTH_FILE).read_text())

    def attempt(what: str, work: Callable[[], object]) -> Any:
        try:
            return work()
        except TensorVCSError as error:
            kind = type(error).__name__
            reading.errors[kind] = reading.errors.get(kind, 0) + 1
            if not str(error):
                reading.foreign.append(f"{what}: {kind} without a word")
        except Exception as error:  # noqa: BLE001 (any other error is what we look for)
            reading.foreign.append(f"{what}: {type(error).__name__}: {error}"[:300])
        return None

    repo = attempt("open", lambda: tv.open(path))
    if repo is None:
        return reading
    reading.is_opened = True
    for revision in REVISIONS:
        checkout = attempt(revision, partial(repo.checkout, revision))
        if checkout is not None:
            _compare(reading, checkout, revision, truth[revision], attempt)
    attempt("branches", lambda: repr(repo.branches))
    attempt("log", lambda: [repr(commit) for commit in repo.log("main")])
    attempt("operations", lambda: [repr(operation) for operation in repo.operations()])
    attempt("stashes", lambda: [repr(stash) for stash in repo.stashes])
    attempt("staged", lambda: repo.staged().stat())
    attempt("settings", lambda: [repo.config, repo.remotes, repo.user])
    attempt("stats", repo.stats)
    report = attempt("verify", repo.verify)
    if report is not None:
        reading.is_sound = report.is_sound
        attempt("report", lambda: str(report))
    return reading


def _compare(
    reading: Reading,
    checkout: tv.Checkout,
    revision: str,
    truth: Mapping[str, Mapping[str, str]],
    attempt: Callable[[str, Callable[[], object]], Any],
) -> None:
    columns = attempt(f"{revision} columns", lambda: dict(checkout.columns))
    if columns is None:
        return
    for name, expected in truth.items():
        place = f"{revision} {name}"
        if name not in columns:
            reading.missing += len(expected)
            reading.note(f"{place} is gone")
            continue
        column = columns[name]
        keys = attempt(f"{place} keys", partial(list, column))
        if keys is None:
            continue
        gone = set(expected) - {spell(key) for key in keys}
        if gone:
            reading.missing += len(gone)
            reading.note(f"{place} lacks {sorted(gone)[:3]}")
        values = [(key, attempt(place, partial(column.__getitem__, key))) for key in keys]
        if name != "scans":
            # Batches take another way: the location table.
            batch = attempt(f"{place} batch", partial(column.__getitem__, keys))
            if batch is not None:
                values += zip(keys, batch, strict=True)
            batch = attempt(f"{place} slice", partial(column.__getitem__, slice(0, len(column))))
            if batch is not None:
                values += zip(keys, batch, strict=True)
        for key, value in values:
            if value is None:
                continue
            found = attempt(place, partial(digest_of, value))
            if found is None:
                continue
            if found == expected.get(spell(key)):
                reading.right += 1
            else:
                reading.wrong += 1
                reading.note(f"{place} {spell(key)} is another value")


def recover_and_look(path: Path) -> Reading:
    """Recover the repository at `path`, and read everything of it."""
    try:
        tv.recover(path)
    except TensorVCSError as error:
        reading = look(path)
        kind = type(error).__name__
        reading.errors[kind] = reading.errors.get(kind, 0) + 1
        return reading
    return look(path)


def look_apart(path: Path, look: Callable[[Path], Reading] = look) -> Reading:
    """Look in a forked child; a signal that ends it is a crash."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        faulthandler.disable()
        signal.alarm(_SECONDS)
        with os.fdopen(sink, "w") as answer:
            json.dump(asdict(look(path)), answer)
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return Reading(foreign=[name], is_opened=True)
    if not text or os.WEXITSTATUS(status):
        return Reading(foreign=[f"the process ended with {os.WEXITSTATUS(status)}"])
    return Reading(**json.loads(text))


class Probe:
    """A process that looks at repositories; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.trust.probe"],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def look(self, path: Path, *, recovers: bool = False) -> Reading:
        """Return what can be read of the repository at `path`, recovered first if asked for."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(path), recovers]), file=self._process.stdin, flush=True)
        return Reading(**json.loads(self._process.stdout.readline()))


def main() -> int:
    """Answer for each path on standard input."""
    for line in sys.stdin:
        path, recovers = json.loads(line)
        reading = look_apart(Path(path), recover_and_look if recovers else look)
        print(json.dumps(asdict(reading)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
