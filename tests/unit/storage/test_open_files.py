"""The limit of open files is raised when it is met, as far as the system allows."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from tensorvcs.storage import open_files
from tensorvcs.storage.open_files import with_room

# Prints how many files could be opened beyond those that are open anyway.
_PROGRAM = """
import os, resource, sys
from tensorvcs.storage.open_files import with_room

soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
opened = 0
try:
    while opened < 100:
        with_room(lambda: os.open("/dev/null", os.O_RDONLY))
        opened += 1
except OSError as error:
    print(opened, error.errno)
else:
    print(opened, 0)
"""


def opened(soft: int, hard: int) -> tuple[int, int]:
    run = [sys.executable, "-c", _PROGRAM, str(soft), str(hard)]
    count, number = subprocess.run(run, capture_output=True, check=True, text=True).stdout.split()
    return int(count), int(number)


def test_a_process_that_may_have_more_files_gets_them() -> None:
    assert opened(soft=40, hard=400) == (100, 0)


def test_a_process_that_may_not_is_told() -> None:
    count, number = opened(soft=40, hard=40)
    assert count < 40
    assert number == errno.EMFILE


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOENT])
def test_other_errors_change_no_limit(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    def raised() -> bool:
        raise AssertionError("the limit is not what was met")

    monkeypatch.setattr(open_files, "_raise_limit", raised)
    with pytest.raises(OSError, match=os.strerror(number)):
        with_room(refuse)
