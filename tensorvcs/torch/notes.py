"""Tell with an error what was read when it happened, and let it leave a worker process."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from torch.utils.data import get_worker_info

from tensorvcs.errors import WorkerError
from tensorvcs.torch.worker_process import is_sendable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class telling:  # noqa: N801
    """Add a note to an error that leaves the block; it goes on as it is.

    Only StopIteration becomes a RuntimeError, as it does in a generator.

    Parameters
    ----------
    where : callable
        Give the note; called when there is an error.
    """

    __slots__ = ("_where",)

    def __init__(self, where: Callable[[], str]) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, Exception):
            return
        if isinstance(error, StopIteration):
            # It would end the iteration as if there were no more batches; see PEP 479.
            stopped = RuntimeError("StopIteration was raised by a transform")
            stopped.add_note(f"in {self._where()}")
            raise stopped from error
        error.add_note(f"in {self._where()}")


class leaving:  # noqa: N801
    """Let an error that leaves the block leave the worker process of a torch DataLoader, too.

    A DataLoader sends the class of an error to the loop. One that cannot be pickled, such as a
    class made in a function, would never arrive, and the loop wait for ever: a WorkerError with
    its type and text, its notes and its traceback takes its place.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, Exception) or get_worker_info() is None:
            return
        if not is_sendable(type(error)):
            said = traceback.format_exception_only(error)[0].strip()
            raise WorkerError(f"a worker process raised {said}") from error
