"""A lease for an upload that comes in several requests, between which nobody is connected."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

LINGER_SECONDS = 60.0
"""How long after its last request an upload is taken to go on."""


class UploadLease:
    """Keeps what was put, or told to be here, from being dropped before the next request.

    Parameters
    ----------
    lease : callable
        ``with lease():`` keeps everything, as that of `Stores`.
    linger_seconds : float

    Notes
    -----
    What an upload that pauses for longer relies on may be dropped; the move of its ref finds that,
    and the next try sends it.
    """

    def __init__(
        self,
        lease: Callable[[], AbstractContextManager[object]],
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._take = lease
        self._linger_seconds = linger_seconds
        self._lock = threading.Lock()
        self._held: AbstractContextManager[object] | None = None
        self._until = 0.0

    def prolong(self) -> None:
        """Hold the lease from now on, for a while."""
        with self._lock:
            self._until = time.monotonic() + self._linger_seconds
            if self._held is None:
                held = self._take()
                held.__enter__()
                self._held = held
                self._wait(self._linger_seconds)

    def _wait(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._look)
        timer.daemon = True
        timer.start()

    def _look(self) -> None:
        """Give the lease back, unless it was prolonged meanwhile."""
        with self._lock:
            left = self._until - time.monotonic()
            if left > 0:
                self._wait(left)
            else:
                self._give_back()

    def end(self) -> None:
        """Give the lease back now."""
        with self._lock:
            self._give_back()

    def _give_back(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.__exit__(None, None, None)
