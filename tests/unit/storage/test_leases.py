"""Leases keep work and reading apart from dropping, in one process and between several."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import StorageError, WorkInProgressError
from tensorvcs.storage import leases as leases_module
from tensorvcs.storage.leases import Leases
from tensorvcs.storage.lmdb_environment import LmdbEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
ONE, TWO = bytes([1] * 32), bytes([2] * 32)


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path / "leases", LmdbEnvironment(tmp_path / "lmdb"))


def is_free(leases: Leases) -> bool:
    try:
        with leases.exclusive(0):
            return True
    except WorkInProgressError:
        return False


def in_child(act: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if act() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_work_keeps_dropping_out_until_it_ends(leases: Leases) -> None:
    assert is_free(leases)
    first, second = leases.work(), leases.work()
    assert not is_free(leases)
    first.release()
    first.release()
    assert not is_free(leases)
    with second:
        pass
    assert is_free(leases)


def test_a_lease_that_nobody_refers_to_is_given_back(leases: Leases) -> None:
    kept = [leases.work()]
    kept.append(kept)  # type: ignore[arg-type]
    del kept
    gc.collect()
    assert is_free(leases)


def test_the_error_names_who_works(leases: Leases) -> None:
    with leases.work(), pytest.raises(WorkInProgressError) as caught:
        leases.exclusive(0).__enter__()
    assert f"by process {os.getpid()}" in str(caught.value)
    assert "try again" in str(caught.value.hint)


def test_dropping_waits_for_work_and_new_work_for_dropping(leases: Leases) -> None:
    lease, order = leases.work(), []
    has_begun, may_end = threading.Event(), threading.Event()

    def drop() -> None:
        with leases.exclusive(60):
            order.append("drop")
            has_begun.set()
            may_end.wait(60)
            order.append("dropped")

    def work() -> None:
        with leases.work():
            order.append("work")

    dropping = threading.Thread(target=drop)
    dropping.start()
    order.append("end")
    lease.release()
    assert has_begun.wait(60)
    working = threading.Thread(target=work)
    working.start()
    may_end.set()
    dropping.join(60)
    working.join(60)
    assert order == ["end", "drop", "dropped", "work"]


def test_new_work_does_not_wait_for_long_work(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "GATE_SECONDS", 0.0)
    begun, ended = os.pipe(), os.pipe()
    long_work = os.fork()
    if long_work == 0:
        with leases.work():
            os.write(begun[1], b".")
            os.read(ended[0], 1)
        os._exit(0)
    os.read(begun[0], 1)
    outcome: list[str] = []

    def drop() -> None:
        with leases.exclusive(60):
            outcome.append("dropped")

    dropping = threading.Thread(target=drop)
    dropping.start()

    def work() -> bool:
        with leases.work():
            return True

    # The collection waits, now behind its gate and then before it; all of these get in.
    for _ in range(20):
        assert in_child(work)
        assert not outcome
    os.write(ended[1], b".")
    assert os.waitstatus_to_exitcode(os.waitpid(long_work, 0)[1]) == 0
    dropping.join(60)
    assert outcome == ["dropped"]
    for descriptor in (*begun, *ended):
        os.close(descriptor)


def test_inside_a_transaction_nothing_is_locked(leases: Leases, tmp_path: Path) -> None:
    with LmdbEnvironment(tmp_path / "lmdb").write():
        lease = leases.work()
        assert is_free(leases)
    lease.release()


def test_pins_are_told_and_end_with_the_last(leases: Leases, tmp_path: Path) -> None:
    assert leases.pinned() == []
    first, again, other = leases.pin(ONE), leases.pin(ONE), leases.pin(TWO)
    assert sorted(leases.pinned()) == [ONE, TWO]
    assert is_free(leases)
    del first, other
    assert leases.pinned() == [ONE]
    del again
    assert leases.pinned() == []
    assert not list((tmp_path / "leases").glob("reading-*"))


def test_what_the_dead_left_is_no_pin(leases: Leases, tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir()
    left = tmp_path / "leases" / f"reading-{ONE.hex()}"
    left.touch()
    (tmp_path / "leases" / "reading-nothing").touch()
    assert leases.pinned() == []
    assert not left.exists()


def test_where_nothing_can_be_written_nothing_is_pinned(
    leases: Leases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "leases").mkdir()
    monkeypatch.setattr(os, "open", refuse)
    assert leases.pin(ONE) is None
    with pytest.raises(StorageError, match="cannot lock"):
        leases.work()
    with pytest.raises(StorageError, match="cannot lock"):
        leases.exclusive(0).__enter__()


def test_a_killed_process_holds_nothing(leases: Leases) -> None:
    def die_at_work() -> bool:
        leases.work().__enter__()
        leases.pin(ONE).__enter__()  # type: ignore[union-attr]
        os._exit(0)

    assert in_child(die_at_work)
    assert is_free(leases)
    assert leases.pinned() == []


def test_a_forked_child_does_not_work_for_its_parent(leases: Leases) -> None:
    lease = leases.work()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        lease.release()
        os.read(reader, 1)
        os._exit(0)
    try:
        assert not is_free(leases)
        lease.release()
        assert is_free(leases)
    finally:
        os.close(writer)
        os.waitpid(child, 0)


def test_a_forked_child_goes_on_reading(leases: Leases) -> None:
    pin = leases.pin(ONE)
    reader, writer = os.pipe()
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        del pin
        os.write(told, b".")
        os.read(reader, 1)
        os._exit(0)
    try:
        os.read(ready, 1)
        assert leases.pinned() == [ONE]
        del pin
        assert leases.pinned() == [ONE]
    finally:
        os.close(writer)
        os.waitpid(child, 0)
    assert leases.pinned() == []


def test_only_one_collection(leases: Leases) -> None:
    with leases.collection():
        assert in_child(lambda: not is_free_to_collect(leases))
    assert is_free_to_collect(leases)


def is_free_to_collect(leases: Leases) -> bool:
    try:
        with leases.collection():
            return True
    except WorkInProgressError:
        return False


def test_a_pickle_is_the_folder(leases: Leases) -> None:
    with pickle.loads(pickle.dumps(leases)).work():
        assert not is_free(leases)
