"""The systems that are compared, each run by `peers.program` in the interpreter it needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.trust.environments import how_to_make, python_of
from benchmarks.trust.tally import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_ROOT = Path(__file__).resolve().parents[2]
_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class System:
    """One system that stores rows.

    Attributes
    ----------
    name : str
    module : str
        Of `benchmarks.trust.peers`.
    environment : str
        Of `benchmarks.trust.environments`; empty for this one.
    """

    name: str
    module: str
    environment: str = ""

    @property
    def absence(self) -> str | None:
        """Why the system cannot be run, in a sentence; None when it can."""
        if not self.environment or python_of(self.environment) is not None:
            return None
        return f"not installed: {how_to_make(self.environment)}"

    def start(self, *words: object, **options: Any) -> subprocess.Popen[bytes]:
        """Start its program with a command."""
        python = python_of(self.environment) if self.environment else sys.executable
        return subprocess.Popen(
            [str(python), "-m", "benchmarks.trust.peers.program", self.module, *map(str, words)],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            **options,
        )

    def run(self, *words: object) -> bytes:
        """Run a command to its end and return what it printed."""
        with self.start(*words) as process:
            output, _ = process.communicate()
        if process.returncode:
            raise OSError(
                f"{self.name}: {' '.join(map(str, words))} ended with {process.returncode}"
            )
        return output

    def about(self) -> tuple[str, list[str]]:
        """Return what is measured, and the patterns of the files that hold its tensors."""
        found = json.loads(self.run("about"))
        return found["version"], found["tensors"]


SYSTEMS = (
    System("TensorVCS", "tensorvcs_rows"),
    System("Hangar", "hangar_rows", "hangar"),
    System("Icechunk", "icechunk_rows", "icechunk"),
    System("Icechunk, crc32c", "icechunk_crc32c_rows", "icechunk"),
    System("Deep Lake", "deep_lake_rows", "deeplake"),
    System("Lance", "lance_rows", "lance"),
    System("OCDBT", "tensorstore_plain_rows", "tensorstore"),
    System("OCDBT, crc32c", "tensorstore_rows", "tensorstore"),
    System("Zarr, crc32c", "zarr_rows", "zarr"),
)


@dataclass(slots=True)
class Writing:
    """A process that commits, and what it told.

    Attributes
    ----------
    acks : list
        What was acknowledged: the keys and the version of each commit.
    failure : str
        The error that ended it; empty where it ended otherwise.
    status : int
        As `subprocess.Popen.returncode`; 0 while it runs.
    """

    process: subprocess.Popen[bytes]
    acks: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""
    status: int = 0
    _listener: threading.Thread | None = None

    @classmethod
    def begin(
        cls,
        system: System,
        folder: Path,
        *,
        writer: int = 0,
        first: int = 0,
        count: int = 1,
        retry_seconds: int = _RETRY_SECONDS,
    ) -> Writing:
        """Start a process that has opened the store when this returns, and waits."""
        made = cls(system.start("write", folder, writer, first, count, retry_seconds))
        assert made.process.stdout is not None
        made._take(made.process.stdout.readline())
        made._listener = threading.Thread(target=made._listen)
        made._listener.start()
        return made

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._take(line)

    def go(self) -> None:
        """Let it commit."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

    def kill_after(self, count: int, seconds: float) -> None:
        """End it at once, wherever it is, so long after so many acknowledgements."""
        assert self._listener is not None
        while len(self.acks) < count and self._listener.is_alive():
            time.sleep(0.001)
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)

    def finish(self) -> Writing:
        """Wait for its end and take in what it told."""
        assert self._listener is not None
        self._listener.join()
        with suppress(BrokenPipeError):
            self.process.__exit__(None, None, None)
        self.status = self.process.returncode
        return self

    def _take(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            return  # it was killed in the middle of it
        told = json.loads(line)
        if "failed" in told:
            self.failure = told["failed"]
        elif "version" in told:
            self.acks.append(told)


class Looking:
    """A process that reads stores of one system; a context manager."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._process = system.start("read")

    def __enter__(self) -> Looking:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def look(self, folder: Path, acks: Sequence[dict[str, Any]], *, mends: bool = False) -> Reading:
        """Return what can be read of what was acknowledged.

        With `mends` the system is first asked to mend the store, if it has a way to. A look that
        took too long is repeated once: the machine may have been busy.
        """
        reading = self._ask(folder, acks, mends=mends)
        if reading.foreign == ["SIGALRM"]:
            return self._ask(folder, acks, mends=mends)
        return reading

    def _ask(self, folder: Path, acks: Sequence[dict[str, Any]], *, mends: bool) -> Reading:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = json.dumps({"folder": str(folder), "acks": acks, "mends": mends})
        self._process.stdin.write(request.encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if line:
            return Reading(**json.loads(line))
        status = self._process.wait()
        self._process = self._system.start("read")
        name = signal.Signals(-status).name if status < 0 else f"exit {status}"
        return Reading(foreign=[name], is_opened=True)
