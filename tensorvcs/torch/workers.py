"""Batches made in worker processes, for transforms that hold the interpreter.

Each process has a line for requests and one for results of its own, so that a process that is
killed holds no lock for which others wait, and its end is seen at once. Tensors are handed over in
shared memory, by what torch adds to pickle. A batch costs a message each way, so reading alone is
quicker in threads.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections import deque
from multiprocessing import get_context
from multiprocessing.connection import wait
from time import monotonic
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import InvalidInputError, StateError, TimedOutError, WorkerError, with_hint
from tensorvcs.torch.making import Made
from tensorvcs.torch.worker_process import Failure, attempt, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from tensorvcs.torch.making import BatchMaker
    from tensorvcs.torch.worker_process import Request

_ENDING_SECONDS = 1.0
_HINTS = {
    signal.SIGKILL: "the machine may be out of memory: use fewer workers, or smaller batches",
    signal.SIGBUS: "shared memory may be full: enlarge /dev/shm, or use fewer workers",
}


class Worker:
    """One process, and the lines to it.

    Attributes
    ----------
    process : Process
    requests, results : Connection
    pending : deque
        For each request that is not answered, the run that it is of.
    """

    def __init__(
        self, process: Any, requests: Connection[Any, Any], results: Connection[Any, Any]
    ) -> None:
        self.process = process
        self.requests = requests
        self.results = results
        self.pending: deque[object] = deque()

    def load(self) -> int:
        """Return how many requests are not answered."""
        return len(self.pending)


class Workers:
    """Worker processes that live as long as this, from one epoch to the next.

    Parameters
    ----------
    maker : BatchMaker
        Picklable, with what it holds, unless `context` is fork.
    count : int
    context : {"forkserver", "spawn", "fork"}
    depth : int
        Requests that are on their way to each process.
    timeout : float or None
        Seconds to wait for a batch.

    Notes
    -----
    The processes end when the ends of their lines here are closed: with `close`, when this is
    dropped, and when the process that has it ends in whatever way.
    """

    def __init__(
        self, maker: BatchMaker, count: int, context: str, depth: int, timeout: float | None
    ) -> None:
        self._maker = maker
        self._count = count
        self._context: Any = get_context(context)
        self._is_forked = context == "fork"
        self._depth = max(1, depth)
        self._timeout = timeout
        self._workers: list[Worker] = []
        self._process = os.getpid()
        self._current: object = None

    def run(self, requests: Iterator[Request]) -> Iterator[Made]:
        """Yield the batches of requests, in their order.

        Raises
        ------
        StateError
            Another run has begun: the processes work for that one.
        WorkerError
            A process ended, or what it made cannot be sent. What a transform raises comes as it
            is, where it can be pickled, and otherwise as a WorkerError with its type and text.
        TimedOutError
            A batch did not come in time.
        InvalidInputError
            What the processes are to do cannot be pickled.

        Notes
        -----
        After a WorkerError of a process that ended and a TimedOutError all processes are ended,
        and the next run starts others.
        """
        self._start()
        self._current = requests
        turns: deque[Worker] = deque()

        def ask() -> None:
            request = next(requests, None)
            if request is not None:
                worker = min(self._workers, key=Worker.load)
                self._send(worker, request)
                worker.pending.append(requests)
                turns.append(worker)

        for _ in range(self._depth * self._count):
            ask()
        while turns:
            made = self._take(turns.popleft(), requests)
            ask()
            yield made
            del made
            if self._current is not requests:
                raise with_hint(
                    StateError("this iteration ended when the loader began another"),
                    "worker processes serve one at a time; use threads, or a second loader",
                )

    def _start(self) -> None:
        if self._process != os.getpid():
            # A forked child: the processes are those of its parent.
            self._workers, self._process = [], os.getpid()
        if self._workers and not all(worker.process.is_alive() for worker in self._workers):
            self._end(0.0)
        while len(self._workers) < self._count:
            try:
                self._workers.append(self._started(len(self._workers)))
            except (AttributeError, TypeError, pickle.PicklingError) as error:
                self._end(0.0)
                raise with_hint(
                    InvalidInputError(f"what is for worker processes cannot be pickled: {error}"),
                    "define transforms at the top of a module, or use context='fork'",
                ) from error

    def _started(self, number: int) -> Worker:
        their_requests, requests = self._context.Pipe(duplex=False)
        results, their_results = self._context.Pipe(duplex=False)
        open_here = [end for worker in self._workers for end in (worker.requests, worker.results)]
        process = self._context.Process(
            target=serve,
            args=(
                self._maker,
                number,
                their_requests,
                their_results,
                [*open_here, requests, results] if self._is_forked else [],
            ),
            name=f"tensorvcs-loader-{number}",
            daemon=True,
        )
        process.start()
        # Closed before the next one starts, which must not inherit them.
        their_requests.close()
        their_results.close()
        return Worker(process, requests, results)

    def _send(self, worker: Worker, request: Request) -> None:
        try:
            worker.requests.send(request)
        except BrokenPipeError as error:
            raise self._died(worker) from error

    def _take(self, worker: Worker, run: object) -> Made:
        """Return the next result of a run; those of runs before it are dropped."""
        deadline = None if self._timeout is None else monotonic() + self._timeout
        watched = {each.process.sentinel: each for each in self._workers}
        while True:
            left = None if deadline is None else max(0.0, deadline - monotonic())
            ready = wait([worker.results, *watched], left)
            if worker.results in ready:
                result = self._receive(worker)
                if worker.pending.popleft() is not run:
                    continue
                if isinstance(result, Made):
                    return result
                raise result.to_error()
            if ready:
                raise self._died(watched[ready[0]])
            self._end(0.0)
            raise with_hint(
                TimedOutError(f"no batch came within {self._timeout} seconds"),
                "a transform or a remote may hang; timeout= gives them longer",
            )

    def _receive(self, worker: Worker) -> Made | Failure:
        try:
            content = worker.results.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._died(worker) from error
        found, unread = attempt(pickle.loads, content)
        if isinstance(found, (Made, Failure)):
            return found
        # Tensors are asked for from the process that made them, which may be gone.
        worker.process.join(_ENDING_SECONDS)
        if not worker.process.is_alive():
            raise self._died(worker) from unread
        self._end(0.0)
        raise WorkerError(f"what a worker process made cannot be read: {unread!r}") from unread

    def _died(self, worker: Worker) -> WorkerError:
        """Return the error for a process that ended; the others are ended too."""
        worker.process.join(_ENDING_SECONDS)
        code, pid = worker.process.exitcode, worker.process.pid
        self._end(0.0)
        if code is None or code >= 0:
            return WorkerError(f"worker process {pid} ended with exit code {code}")
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        error = WorkerError(f"worker process {pid} was killed by {name}")
        hint = _HINTS.get(signal.Signals(-code)) if name.startswith("SIG") else None
        return error if hint is None else with_hint(error, hint)

    def close(self) -> None:
        """End the processes; one that is busy for a second more is killed."""
        self._end(_ENDING_SECONDS)

    def _end(self, seconds: float) -> None:
        workers, self._workers = self._workers, []
        if self._process != os.getpid():
            return
        for worker in workers:
            worker.requests.close()
            worker.results.close()
        deadline = monotonic() + seconds
        for worker in workers:
            worker.process.join(max(0.0, deadline - monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
