"""Values without their trees: what a partial clone takes by budget, and later by reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.sync.transfer import Transferred

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.sync.transfer import Progress

_SEAL_NBYTES = 256 << 20


def fetch_values(
    source: TensorStore,
    destination: TensorStore,
    digests: Iterable[NDArray[np.uint8]],
    *,
    max_bytes: int | None = None,
    progress: Progress | None = None,
) -> Transferred:
    """Copy values that are not here yet, in the order given, up to a number of bytes.

    Parameters
    ----------
    digests : iterable of ndarray, shape (n, 32), uint8
    max_bytes : int, optional
        Bytes of values, as they travel, at which to stop: the first value that would go beyond is
        left out, and all behind it. Values that are here already count, so that a second run
        with the same bound takes the same values.

    Raises
    ------
    ObjectNotFoundError
        The source lacks a value.
    """
    moved = Transferred()
    left = max_bytes
    for block in digests:
        part = block
        if left is not None:
            # A value that comes twice counts twice; an order has few of those.
            ends = np.cumsum(source.sizes(block))
            part = block[: int(np.searchsorted(ends, left, "right"))]
            left -= int(ends[len(part) - 1]) if len(part) else 0
        absent = part[~destination.contains(part)]
        if len(absent):
            for values in source.stored(absent):
                destination.take(values)
                moved.value_count += len(values)
                moved.value_nbytes += len(values.data)
                if progress is not None:
                    progress(moved)
        if destination.unsealed_nbytes >= _SEAL_NBYTES:
            destination.seal()
        if len(part) < len(block):
            break
    destination.seal()
    return moved
