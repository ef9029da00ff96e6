"""Batches made in worker processes, for transforms that hold the interpreter.

The processes are those of a torch DataLoader: it starts and ends them, notices when one dies, and
hands tensors over in shared memory. A batch costs a message each way, so reading alone is quicker
in threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset

from tensorvcs.errors import StateError, with_hint
from tensorvcs.torch.buffers import FRESH_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorvcs.torch.making import BatchMaker, Made
    from tensorvcs.torch.steps import Share

Request = tuple[int, "Sequence[Share]"]


class _MadeBatches(Dataset["Made"]):
    """Makes what it is asked for."""

    def __init__(self, maker: BatchMaker) -> None:
        self._maker = maker

    def __getitem__(self, request: Request) -> Made:
        epoch, shares = request
        # Shared memory takes the batch over; the buffers of this process would never come back.
        self._maker.memory = FRESH_MEMORY
        return self._maker.make(epoch, shares)


class _Requests:
    """What a DataLoader takes for a sampler: the requests of the iteration that begins."""

    def __init__(self) -> None:
        self.pending: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.pending


def _as_it_is(made: Any) -> Any:
    return made


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
    """

    def __init__(
        self, maker: BatchMaker, count: int, context: str, depth: int, timeout: float | None
    ) -> None:
        self._requests = _Requests()
        self._loader: DataLoader[Any] = DataLoader(
            _MadeBatches(maker),
            batch_size=None,
            sampler=self._requests,
            num_workers=count,
            multiprocessing_context=context,
            prefetch_factor=max(1, depth),
            persistent_workers=True,
            collate_fn=_as_it_is,
            timeout=timeout or 0,
            # Seeds of the workers, without a draw from the random state of the user.
            generator=torch.Generator().manual_seed(0),
        )

    def run(self, requests: Iterator[Request]) -> Iterator[Made]:
        """Yield the batches of requests, in their order.

        Raises
        ------
        StateError
            Another run has begun: the processes work for that one.
        """
        self._requests.pending = requests
        results = iter(self._loader)
        while True:
            if self._requests.pending is not requests:
                raise with_hint(
                    StateError("this iteration ended when the loader began another"),
                    "worker processes serve one at a time; use threads, or a second loader",
                )
            try:
                made = next(results)
            except StopIteration:
                return
            yield made
            del made

    def close(self) -> None:
        """End the processes."""
        running: Any = self._loader._iterator
        if running is not None:
            running._shutdown_workers()
            self._loader._iterator = None
