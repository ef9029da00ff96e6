"""Memory of batches, filled again once nothing refers to it."""

from __future__ import annotations

import weakref
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Blocks of different sizes come from different columns; short last batches use whole blocks.
_ROUND_NBYTES = 4096
_KEPT_COUNT = 16
_SMALL_NBYTES = 1 << 15


class Memory(Protocol):
    """Where arrays to be filled come from."""

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a C-contiguous, writable array."""
        ...


class Buffers:
    """Arrays whose memory comes back when the last view, or tensor, of it is gone.

    Fresh memory costs a page fault every 4 KiB, which is as much as filling it. So what a training
    loop has dropped is filled again; a batch that is kept, or part of it, keeps its memory.
    Any thread may take and drop arrays.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[NDArray[np.uint8]]] = {}
        self._lent: dict[int, weakref.ref[Any]] = {}

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array to be filled, C-contiguous; its content is left from before."""
        nbytes = prod(shape) * dtype.itemsize
        if nbytes < _SMALL_NBYTES:
            return np.empty(shape, dtype)
        size = -(-nbytes // _ROUND_NBYTES) * _ROUND_NBYTES
        free = self._free.setdefault(size, [])
        try:
            block = free.pop()
        except IndexError:
            block = np.empty(size, np.uint8)
        # Its owner is a memoryview, not an array, so that every view made of it refers to it
        # rather than to the block: its end is the end of them all.
        whole = np.frombuffer(block.data, np.uint8)
        number = id(whole)

        def give_back(_: object) -> None:
            del self._lent[number]
            if len(free) < _KEPT_COUNT:
                free.append(block)

        self._lent[number] = weakref.ref(whole, give_back)
        return whole[:nbytes].view(dtype).reshape(shape)

    @property
    def lent_count(self) -> int:
        """How many arrays somebody still refers to."""
        return len(self._lent)

    def __reduce__(self) -> tuple[type[Buffers], tuple[()]]:
        return Buffers, ()


class FreshMemory:
    """Arrays that are never filled again."""

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array to be filled."""
        return np.empty(shape, dtype)


FRESH_MEMORY = FreshMemory()


class PinnedMemory:
    """Arrays in page-locked memory, which a GPU copies from by itself; torch keeps the pool."""

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array to be filled."""
        nbytes = prod(shape) * dtype.itemsize
        pinned = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
        return pinned.numpy().view(dtype).reshape(shape)
