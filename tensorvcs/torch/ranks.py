"""Which rank this process is among those that train together."""

from __future__ import annotations

from typing import Literal

import torch.distributed

from tensorvcs.errors import InvalidInputError
from tensorvcs.torch.arguments import as_count


def find_rank(
    rank: int | Literal["auto"] = "auto", world_size: int | Literal["auto"] = "auto"
) -> tuple[int, int]:
    """Return rank and world size: as given, else of the default process group, else 0 of 1.

    Raises
    ------
    InvalidInputError
        One of the two is given without the other, or is no whole number.
    """
    if (rank == "auto") != (world_size == "auto"):
        raise InvalidInputError("rank and world_size are given together, or neither")
    if rank != "auto" and world_size != "auto":
        return as_count("rank", rank, 0), as_count("world_size", world_size, 1)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
