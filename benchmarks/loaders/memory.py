"""Memory that a process and its children took at most, as Linux counts it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")


@dataclass
class TreeMemory:
    """What this process and its children took at most, as far as `look` saw them.

    Attributes
    ----------
    peaks : dict
        By process the most that was resident (VmHWM): mapped files and shared pages count in each
        process that touched them.
    unmapped_nbytes : int
        The most that was resident at one time without mapped files, in all of them. It is what
        the machine cannot take back.
    """

    peaks: dict[int, int] = field(default_factory=dict)
    unmapped_nbytes: int = 0

    def look(self) -> None:
        """Look at all processes of the tree; does nothing where Linux is not."""
        unmapped = 0
        for process in tree(os.getpid()):
            try:
                status = (_PROC / str(process) / "status").read_text()
            except OSError:  # it ended
                continue
            numbers = dict(
                line.split(":", 1) for line in status.splitlines() if line.endswith(" kB")
            )
            if "VmHWM" in numbers:
                self.peaks[process] = _nbytes(numbers["VmHWM"])
                unmapped += _nbytes(numbers["RssAnon"]) + _nbytes(numbers["RssShmem"])
        self.unmapped_nbytes = max(self.unmapped_nbytes, unmapped)

    @property
    def peak_nbytes(self) -> int:
        """The sum of the peaks of all processes."""
        return sum(self.peaks.values())


def tree(process: int) -> list[int]:
    """Return a process and those that it started, and those that these started."""
    found = [process]
    for parent in found:
        try:
            threads = list((_PROC / str(parent) / "task").iterdir())
        except OSError:
            continue
        for thread in threads:
            try:
                children = (thread / "children").read_text().split()
            except OSError:
                continue
            found += map(int, children)
    return found


def _nbytes(kilobytes: str) -> int:
    return int(kilobytes.split(maxsplit=1)[0]) * 1024
