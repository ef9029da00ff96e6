"""A process killed at any durable step of any operation loses nothing that it had told."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tensorvcs.storage.durable import STEPS
from tests.crash.frame import Recording, check_left, first_visits, record, run_to_death
from tests.crash.operations import OPERATIONS, STEPS_OF_REPAIRS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def recorded() -> Iterator[Callable[[str], Recording]]:
    # What a kill leaves is in the memory of the system, so that no disk is needed to see it; the
    # tests of a power cut are on one.
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:

        @cache
        def recording(name: str) -> Recording:
            place = Path(folder) / name
            place.mkdir()
            return record(name, place / "here", place / "template")

        yield recording


def kill_at(recording: Recording, places: Iterable[int]) -> None:
    assert len(recording.states) > 1, "the operation tells nothing"
    for at in places:
        recording.restore()
        told = run_to_death(recording.operation, recording.place, at=at)
        check_left(recording, told, f"killed at step {at}, {recording.steps[at][1]!r}")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_killed_process_leaves_what_it_told(
    recorded: Callable[[str], Recording], name: str
) -> None:
    recording = recorded(name)
    kill_at(recording, first_visits(recording.steps))


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_process_killed_at_any_visit(recorded: Callable[[str], Recording], name: str) -> None:
    recording = recorded(name)
    kill_at(recording, range(len(recording.steps)))


def test_every_durable_step_is_passed_by_an_operation(
    recorded: Callable[[str], Recording],
) -> None:
    passed = {step for name in OPERATIONS for _, step in recorded(name).steps}
    unpassed = set(STEPS) - passed - STEPS_OF_REPAIRS
    assert not unpassed, "no operation in tests/crash/operations.py passes these steps"
