"""Values that are kept together: those of one pack, or all loose ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ValueBlock:
    """Names and sizes of some values.

    Attributes
    ----------
    pack_id : bytes or None
        None for the loose values.
    digests : ndarray, shape (n, 32), uint8
    sizes : ndarray, shape (n,), int64
        The bytes of each value, of a frame as it is stored.
    file_nbytes : int
        Of the pack file; 0 for loose values.
    """

    pack_id: bytes | None
    digests: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    file_nbytes: int
