"""Values that are being fetched: what one thread has asked for, others wait for."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class InFlight:
    """The digests that threads of this process are fetching into one folder."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._digests: set[bytes] = set()
        self._threads: set[int] = set()

    @property
    def is_mine(self) -> bool:
        """Whether this thread is inside `claim` with something to fetch."""
        return threading.get_ident() in self._threads

    @contextmanager
    def claim(self, digests: Sequence[bytes]) -> Iterator[list[bytes]]:
        """Give those digests that no other thread is fetching, for the caller to fetch.

        What was claimed is let go when the block ends, however it ends. When nothing is left to
        be claimed, it first waits until some of it was let go; the caller looks again what of it
        is here now.
        """
        with self._changed:
            mine = [digest for digest in dict.fromkeys(digests) if digest not in self._digests]
            if not mine:
                self._changed.wait_for(lambda: not self._digests.issuperset(digests))
            self._digests.update(mine)
            if mine:
                self._threads.add(threading.get_ident())
        try:
            yield mine
        finally:
            if mine:
                with self._changed:
                    self._threads.discard(threading.get_ident())
                    self._digests.difference_update(mine)
                    self._changed.notify_all()


_OF_FOLDERS: weakref.WeakValueDictionary[Path, InFlight] = weakref.WeakValueDictionary()


def in_flight(folder: Path) -> InFlight:
    """Return what is being fetched into a folder; one for all its stores in this process."""
    return _OF_FOLDERS.setdefault(folder, InFlight())


# A forked child has none of the threads that fetch; its stores ask for a fresh one.
os.register_at_fork(after_in_child=_OF_FOLDERS.clear)
