"""From what a tree stores of a value, inline bytes or a digest, to the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import TensorStore


def inline_rows(schema: Schema, stored: NDArray[np.uint8]) -> NDArray[Any]:
    """View inline tree values of shape (n, nbytes) as values, shape (n, *shape)."""
    rows: NDArray[Any] = np.ndarray(
        (len(stored), *schema.fixed_shape),
        schema.numpy_dtype,
        np.ascontiguousarray(stored).data if stored.size else b"",
    )
    return rows


def load_values(schema: Schema, tensors: TensorStore, stored: NDArray[np.uint8]) -> list[Any]:
    """Return the values, in order: fresh arrays, texts or bytes.

    Raises
    ------
    ObjectNotFoundError, SlabChecksumError, PackDamagedError
        A value is absent or damaged.
    """
    if schema.is_inline:
        rows = inline_rows(schema, stored)
        return [np.array(row) for row in rows]
    return tensors.read(schema, stored)
