"""Memory that comes back when, and only when, nothing refers to it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tensorvcs.torch.buffers import Buffers, FreshMemory  # noqa: E402
from tensorvcs.torch.convert import to_torch  # noqa: E402

SHAPE = (256, 8, 8, 3)


def address(array: Any) -> int:
    return int(array.ctypes.data)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bfloat16", "complex64"])
def test_memory_is_filled_again_once_it_is_dropped(dtype: str) -> None:
    pytest.importorskip("ml_dtypes")
    buffers = Buffers()
    array = buffers.array(SHAPE, np.dtype(dtype))
    assert (array.shape, array.dtype) == (SHAPE, np.dtype(dtype))
    assert array.flags.c_contiguous
    assert array.flags.writeable
    first = address(array)
    tensor = to_torch(array)
    del array
    assert buffers.lent_count == 1
    del tensor
    assert buffers.lent_count == 0
    assert address(buffers.array(SHAPE, np.dtype(dtype))) == first


@pytest.mark.parametrize(
    "keep",
    [
        lambda tensor: tensor,
        lambda tensor: tensor[3:5],
        lambda tensor: tensor[0].numpy(),
        lambda tensor: tensor.permute(0, 3, 1, 2)[1],
        lambda tensor: tensor.view(torch.int8).numpy()[1:].view(np.uint8)[0],
        lambda tensor: memoryview(tensor.numpy().reshape(-1)),
        lambda tensor: tensor.untyped_storage(),
        lambda tensor: tensor.detach().requires_grad_(False),
    ],
)
def test_whatever_keeps_a_part_keeps_the_memory(keep: Any) -> None:
    buffers = Buffers()
    kept = keep(to_torch(buffers.array(SHAPE, np.dtype(np.uint8))))
    assert buffers.lent_count == 1
    del kept
    assert buffers.lent_count == 0


def test_two_at_a_time_are_two() -> None:
    buffers = Buffers()
    one, two = (buffers.array(SHAPE, np.dtype(np.uint8)) for _ in range(2))
    one[:], two[:] = 1, 2
    assert one.max() == 1
    small = buffers.array((3,), np.dtype(np.int64))
    assert small.shape == (3,)
    assert buffers.array((0, 8), np.dtype(np.int64)).shape == (0, 8)


def test_buffers_outlive_their_pool_and_pickle_as_empty_ones() -> None:
    buffers = Buffers()
    array = buffers.array(SHAPE, np.dtype(np.uint8))
    assert pickle.loads(pickle.dumps(buffers)).lent_count == 0
    del buffers
    array[:] = 7
    del array


def test_fresh_memory() -> None:
    assert FreshMemory().array((2, 3), np.dtype(np.int16)).shape == (2, 3)
