"""Tell with an error what was read when it happened, whatever error it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
