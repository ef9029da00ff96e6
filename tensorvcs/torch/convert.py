"""numpy arrays as torch tensors, dtype by dtype, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tensorvcs.errors import SchemaMismatchError
from tensorvcs.objects.dtype import dtype_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

# torch does not know the dtypes of ml_dtypes; these are taken over by their bits.
_BY_BITS: dict[str, tuple[Any, torch.dtype]] = {
    "bfloat16": (np.int16, torch.bfloat16),
    "float8_e4m3fn": (np.uint8, torch.float8_e4m3fn),
    "float8_e4m3fnuz": (np.uint8, torch.float8_e4m3fnuz),
    "float8_e5m2": (np.uint8, torch.float8_e5m2),
    "float8_e5m2fnuz": (np.uint8, torch.float8_e5m2fnuz),
    "float8_e8m0fnu": (np.uint8, torch.float8_e8m0fnu),
}


def to_torch(array: NDArray[Any]) -> torch.Tensor:
    """Return a tensor that shares the memory of a writable array; the dtype stays.

    Raises
    ------
    SchemaMismatchError
        torch has no such dtype.
    """
    # The name of a dtype takes numpy longer than the tensor does.
    by_bits = None if array.dtype.isbuiltin == 1 else _BY_BITS.get(array.dtype.name)
    if by_bits is not None:
        bits, dtype = by_bits
        return torch.from_numpy(array.view(bits)).view(dtype)
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise SchemaMismatchError(
            f"torch has no dtype {dtype_name(array.dtype)}; convert the column first"
        ) from error


def value_to_torch(value: Any) -> Any:
    """Return one value as a model sees it: arrays as tensors, texts and bytes as they are."""
    if isinstance(value, np.ndarray):
        return to_torch(value)
    if hasattr(value, "items"):
        return {key: value_to_torch(part) for key, part in value.items()}
    return value
