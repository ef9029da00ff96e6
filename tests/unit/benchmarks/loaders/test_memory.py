"""Memory is counted over a process and those that it started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.loaders.memory import TreeMemory, tree

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells the memory of processes"
)

WAITING = "import sys; kept = bytearray(b'x' * (64 << 20)); print('ready', flush=True); input()"


def test_the_memory_of_a_child_counts_while_it_is_there_and_after() -> None:
    memory = TreeMemory()
    memory.look()
    alone, unmapped_alone = memory.peak_nbytes, memory.unmapped_nbytes
    assert alone >= unmapped_alone > 0
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert set(tree(os.getpid())) >= {os.getpid(), child.pid}
        memory.look()
        child.communicate("\n")
    assert memory.peaks[child.pid] > 64 << 20
    assert memory.peak_nbytes > alone + (64 << 20) - (8 << 20)
    assert memory.unmapped_nbytes > unmapped_alone + (56 << 20)
    assert child.pid not in tree(os.getpid())
