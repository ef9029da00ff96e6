"""What runs in a worker process of a loader: makes what it is asked for, or tells what failed."""

from __future__ import annotations

import pickle
import random
import signal
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from os import getpid
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from tensorvcs.errors import WorkerError, with_hint
from tensorvcs.torch.buffers import FRESH_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from tensorvcs.torch.making import BatchMaker, Made
    from tensorvcs.torch.steps import Share

T = TypeVar("T")

Request = tuple[int, "Sequence[Share]"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An error on its way to another process, which may not know its class.

    Attributes
    ----------
    said : str
        Type and text of the error.
    notes : tuple of str
        Where it happened.
    trace : str
        The traceback.
    pid : int
        Of the process where it was raised.
    pickled : bytes or None
        The error itself; None where it cannot be pickled and read again.
    """

    said: str
    notes: tuple[str, ...]
    trace: str
    pid: int
    pickled: bytes | None

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Take down an error."""
        # Whether it can be read again is found out here: there nothing but the bytes would be left.
        pickled, _ = attempt(pickle.dumps, error)
        if pickled is not None and not isinstance(attempt(pickle.loads, pickled)[0], Exception):
            pickled = None
        return cls(
            traceback.format_exception_only(error)[0].strip(),
            tuple(getattr(error, "__notes__", ())),
            "".join(traceback.format_exception(error)),
            getpid(),
            pickled,
        )

    def to_error(self) -> Exception:
        """Return the error, or a WorkerError that tells of it; notes say where it was raised."""
        found = None if self.pickled is None else attempt(pickle.loads, self.pickled)[0]
        error: Exception = WorkerError(f"a worker process raised {self.said}")
        if isinstance(found, Exception):
            error = found
        known = getattr(error, "__notes__", [])
        for note in (*self.notes, f"raised in worker process {self.pid}:\n{self.trace}"):
            if note not in known:
                error.add_note(note)
        return error


def serve(
    maker: BatchMaker,
    number: int,
    requests: Connection[Any, Any],
    results: Connection[Any, Any],
    inherited: Sequence[Connection[Any, Any]],
) -> None:
    """Answer requests until nobody is there any more who makes them.

    Parameters
    ----------
    maker : BatchMaker
    number : int
        Of this process among the workers.
    requests, results : Connection
        Pickled `Made` or `Failure`, in the order of the requests.
    inherited : sequence of Connection
        Ends of the parent that a fork has copied: as long as they are open here, other workers do
        not see that the parent is gone.
    """
    for end in inherited:
        end.close()
    # A person's Ctrl-C is for the training loop, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As torch does it: one thread each, and random numbers that differ between workers.
    torch.set_num_threads(1)
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)
    # Shared memory takes a batch over; buffers would never come back.
    maker.memory = FRESH_MEMORY
    waiting: SimpleQueue[Request | None] = SimpleQueue()
    Thread(target=_receive, args=(requests, waiting), daemon=True).start()
    with suppress(BrokenPipeError):
        while (request := waiting.get()) is not None:
            results.send_bytes(_answer(maker, request))


def _receive(requests: Connection[Any, Any], waiting: SimpleQueue[Request | None]) -> None:
    """Take requests off the line as they come, so that whoever sends them never waits."""
    with suppress(EOFError, OSError):
        while True:
            waiting.put(requests.recv())
    waiting.put(None)


def attempt(function: Callable[..., T], *arguments: Any) -> tuple[T, None] | tuple[None, Exception]:
    """Return what a function returned, or what it raised.

    For what users define: transforms, whose errors are raised again in another process, and what
    their classes do when they are pickled.
    """
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001 (raised again in the training loop)
        return None, error


def _answer(maker: BatchMaker, request: Request) -> bytes:
    made, error = attempt(maker.make, *request)
    if made is not None:
        content, error = attempt(ForkingPickler.dumps, made)
        if content is not None:
            return bytes(content)
        assert error is not None
        error = _unsendable(maker, request, made, error)
    assert error is not None
    return bytes(ForkingPickler.dumps(Failure.of(error)))


def _unsendable(maker: BatchMaker, request: Request, made: Made, error: Exception) -> WorkerError:
    """Return an error that names the sample of which a value cannot be pickled."""
    epoch, shares = request
    places = maker.places(epoch, shares)
    where, low = f"the batch of sample {maker.samples.keys_at(places[:1])[0]!r}", 0
    for share, batch in zip(shares, made.batches, strict=True):
        if not is_sendable(batch):
            number = _first_unsendable(batch, len(share))
            at = low + (number or 0)
            (key,) = maker.samples.keys_at(places[at : at + 1])
            where = f"the batch of sample {key!r}" if number is None else f"sample {key!r}"
            break
        low += len(share)
    said = traceback.format_exception_only(error)[0].strip()
    problem = with_hint(
        WorkerError(f"what was made of {where} cannot be sent from a worker process: {said}"),
        "return tensors, arrays or plain values; threads (workers=0) take anything",
    )
    problem.__cause__ = error
    return problem


def _first_unsendable(batch: Any, count: int) -> int | None:
    """Return the first sample of a batch that cannot be pickled, where columns are lists."""
    columns = batch.values() if isinstance(batch, dict) else batch
    for column in columns if isinstance(batch, (dict, tuple)) else [batch]:
        if isinstance(column, list) and len(column) == count:
            for number, value in enumerate(column):
                if not is_sendable(value):
                    return number
    return None


def is_sendable(value: Any) -> bool:
    """Tell whether a value can be pickled for another process."""
    return attempt(ForkingPickler.dumps, value)[1] is None
