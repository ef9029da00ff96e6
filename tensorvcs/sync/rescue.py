"""Rescue: get back from remotes what is damaged here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import (
    CorruptionError,
    InvalidInputError,
    MissingDependencyError,
    NotFoundError,
    RemoteError,
    StateError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import Stores, TensorStore

_log = logging.getLogger(__name__)

# What keeps a remote from helping: then the next one is asked.
_NO_HELP = (
    CorruptionError,
    InvalidInputError,
    MissingDependencyError,
    NotFoundError,
    RemoteError,
    StateError,
    UnsupportedFormatError,
)
_ASK_DIGESTS = 8192


class Rescue:
    """Remotes that are asked, one after the other, for what is damaged or lost here.

    Parameters
    ----------
    sources : sequence of (str, callable)
        The name of each remote, and what opens its stores; called when something is asked for.
        Picklable, so that checkouts are.

    Notes
    -----
    Nothing that a remote gives is trusted: values are hashed by the store that takes them, objects
    by the one that keeps them. A remote that does not answer is passed over, and asked again the
    next time.
    """

    def __init__(self, sources: Sequence[tuple[str, Callable[[], Stores]]]) -> None:
        self._sources = tuple(sources)
        self._open: dict[str, Stores] = {}

    def __reduce__(
        self,
    ) -> tuple[type[Rescue], tuple[tuple[tuple[str, Callable[[], Stores]], ...]]]:
        return Rescue, (self._sources,)

    def _stores(self, name: str, connect: Callable[[], Stores]) -> Stores:
        stores = self._open.get(name)
        if stores is None:
            stores = self._open[name] = connect()
        return stores

    def take_values(self, store: TensorStore, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Have a store take values.

        Parameters
        ----------
        store : TensorStore
        digests : ndarray, shape (n, 32), uint8

        Returns
        -------
        ndarray, shape (n,), bool
            Which of them came.

        Raises
        ------
        StorageError
            The store refused; nothing of what came is kept.
        """
        came = np.zeros(len(digests), np.bool_)
        for name, connect in self._sources:
            left = np.nonzero(~came)[0]
            if not len(left):
                break
            try:
                source = self._stores(name, connect).tensors
                for low in range(0, len(left), _ASK_DIGESTS):
                    part = left[low : low + _ASK_DIGESTS]
                    part = part[source.contains(digests[part])]
                    came[part] = _take(source, store, digests[part])
            except _NO_HELP as error:
                self._open.pop(name, None)
                _log.warning("remote %r cannot help with damaged values: %s", name, error)
        return came

    def find_object(self, digest: bytes) -> bytes | None:
        """Return a node, snapshot, commit or tag, None when no remote has it."""
        for name, connect in self._sources:
            try:
                return self._stores(name, connect).objects.get([digest])[0]
            except _NO_HELP as error:
                self._open.pop(name, None)
                _log.warning("remote %r cannot help with a damaged object: %s", name, error)
        return None

    def has_values(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each digest whether some remote says that it has the value."""
        found = np.zeros(len(digests), np.bool_)
        for name, connect in self._sources:
            left = np.nonzero(~found)[0]
            try:
                for low in range(0, len(left), _ASK_DIGESTS):
                    part = left[low : low + _ASK_DIGESTS]
                    found[part] = self._stores(name, connect).tensors.contains(digests[part])
            except _NO_HELP as error:
                self._open.pop(name, None)
                _log.warning("remote %r does not say what it has: %s", name, error)
        return found


def _take(source: TensorStore, store: TensorStore, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Have a store take values; those that are damaged at the source as well are left out."""
    came = np.zeros(len(digests), np.bool_)
    if not len(digests):
        return came
    try:
        for part in source.stored(digests):
            store.take(part)
        came[:] = True
    except (CorruptionError, NotFoundError):
        # What was taken before the damage was met is there already, and taken but once.
        if len(digests) > 1:
            half = len(digests) // 2
            came[:half] = _take(source, store, digests[:half])
            came[half:] = _take(source, store, digests[half:])
    return came
