"""Worker processes: what goes wrong in them is told in the loop, and they leave nothing behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from tensorvcs.errors import InvalidInputError, TimedOutError, WorkerError  # noqa: E402
from tensorvcs.torch import TensorLoader  # noqa: E402
from tensorvcs.torch.steps import Steps  # noqa: E402
from tensorvcs.torch.workers import Workers  # noqa: E402

if TYPE_CHECKING:
    import tensorvcs as tv

COUNT = 203
SIZE = 20

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class OddError(Exception):
    """An error that is pickled, and cannot be made again from what that gives."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first}, {second}")


class Unreadable:
    """A value that is pickled, and cannot be read."""

    def __reduce__(self) -> Any:
        return int, ("none",)


def treacherous(label: Any) -> Any:
    """Fail in another way in each batch but the first."""
    number = int(label)
    if number == 37:

        class LocalError(Exception):
            pass

        raise LocalError("of a class that is nowhere else")
    if number == 47:
        raise OddError("one", "two")
    if number == 67:
        return threading.Lock()
    if number == 87:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 107:
        os._exit(3)
    if number == 127:
        signal.pause()
    if number == 147:
        return Unreadable()
    return label


def workers_of(
    checkout: tv.Checkout, context: Any, count: int, transform: Any, timeout: float = 60
) -> Workers:
    loader = TensorLoader(
        checkout, ["labels"], batch_size=SIZE, shuffle=False, transform={"labels": transform}
    )
    return Workers(loader._maker, count, context, 1, timeout)


def batches_of(workers: Workers, *steps: int) -> list[list[int]]:
    shares = Steps(COUNT, SIZE)
    requests = iter([(0, [shares.share(step)]) for step in steps])
    return [made.batches[0][0].tolist() for made in workers.run(requests)]


@pytest.mark.parametrize("context", ["fork", "forkserver", "spawn"])
def test_what_cannot_be_sent_is_told_with_its_sample(checkout: tv.Checkout, context: str) -> None:
    workers = workers_of(checkout, context, 1, treacherous)
    assert batches_of(workers, 0) == [list(range(SIZE))]
    (worker,) = workers._workers
    pid = worker.process.pid
    for step, name, said in (
        (1, "k037", "LocalError: of a class that is nowhere else"),
        (2, "k047", "OddError: one, two"),
    ):
        with pytest.raises(WorkerError, match=said) as found:
            batches_of(workers, 0, step)
        where, trace = found.value.__notes__
        assert where == f"in column 'labels', sample '{name}'"
        assert trace.startswith(f"raised in worker process {pid}:")
        assert "in treacherous" in trace
    with pytest.raises(WorkerError, match=r"sample 'k067' cannot be sent.*lock") as found:
        batches_of(workers, 3)
    assert "workers=0" in (found.value.hint or "")
    # None of that ends the process; being killed does, and the next run has another.
    assert batches_of(workers, 0) == [list(range(SIZE))]
    assert workers._workers == [worker]
    with pytest.raises(WorkerError, match=f"process {pid} was killed by SIGKILL") as found:
        batches_of(workers, 4)
    assert "memory" in (found.value.hint or "")
    assert batches_of(workers, 0) == [list(range(SIZE))]
    workers.close()
    assert not [p for p in multiprocessing.active_children() if p.name.startswith("tensorvcs")]


def test_the_end_of_any_worker_is_noticed_at_once(checkout: tv.Checkout) -> None:
    """The loop waits for a worker that hangs; another is killed."""
    workers = workers_of(checkout, "fork", 2, treacherous)
    with pytest.raises(WorkerError, match="SIGKILL"):
        batches_of(workers, 6, 4)
    with pytest.raises(WorkerError, match="ended with exit code 3"):
        batches_of(workers, 6, 5)
    assert workers._workers == []


def test_what_cannot_be_read_here_is_told(checkout: tv.Checkout) -> None:
    workers = workers_of(checkout, "fork", 1, treacherous)
    with pytest.raises(WorkerError, match="cannot be read: ValueError"):
        batches_of(workers, 7)
    assert workers._workers == []


def test_a_worker_that_hangs_is_ended_after_the_time(checkout: tv.Checkout) -> None:
    workers = workers_of(checkout, "fork", 1, treacherous, timeout=0.2)
    with pytest.raises(TimedOutError, match=r"0\.2 seconds"):
        batches_of(workers, 6)
    assert workers._workers == []


def test_results_of_a_run_that_was_dropped_are_not_mixed_in(checkout: tv.Checkout) -> None:
    workers = workers_of(checkout, "fork", 2, treacherous)
    shares = Steps(COUNT, SIZE)
    dropped = workers.run((0, [shares.share(step)]) for step in (0, 1, 9, 2, 3))
    next(dropped)
    assert batches_of(workers, 8, 0) == [list(range(160, 180)), list(range(20))]
    workers.close()


def test_what_cannot_be_pickled_for_processes(checkout: tv.Checkout) -> None:
    workers = workers_of(checkout, "spawn", 1, lambda label: label)
    with pytest.raises(InvalidInputError, match="cannot be pickled") as found:
        batches_of(workers, 0)
    assert "top of a module" in (found.value.hint or "")


def in_parent(workers: Workers, pids: Any) -> None:
    batches_of(workers, 0, 1)
    pids.send([worker.process.pid for worker in workers._workers])
    signal.pause()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open")
def test_workers_end_with_the_process_that_has_them(checkout: tv.Checkout) -> None:
    workers = workers_of(checkout, "fork", 3, abs)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    parent = context.Process(target=in_parent, args=(workers, there))
    parent.start()
    assert here.poll(60)
    ends = [os.pidfd_open(pid) for pid in here.recv()]
    parent.kill()
    parent.join()
    for end in ends:
        assert select.select([end], [], [], 60)[0]
        os.close(end)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open")
def test_workers_end_when_they_are_dropped(checkout: tv.Checkout) -> None:
    workers = workers_of(checkout, "fork", 2, abs)
    shares = Steps(COUNT, SIZE)
    dropped = workers.run((0, [shares.share(step)]) for step in range(9))
    next(dropped)
    ends = [os.pidfd_open(worker.process.pid) for worker in workers._workers]
    del workers, dropped
    gc.collect()
    for end in ends:
        assert select.select([end], [], [], 60)[0]
        os.close(end)


def test_a_forked_child_starts_workers_of_its_own(checkout: tv.Checkout) -> None:
    workers = workers_of(checkout, "fork", 1, abs)
    batches_of(workers, 0)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=in_parent, args=(workers, there))
    child.start()
    assert here.poll(60)
    assert here.recv() != [worker.process.pid for worker in workers._workers]
    child.kill()
    child.join()
    assert batches_of(workers, 1) == [list(range(20, 40))]
    workers.close()
