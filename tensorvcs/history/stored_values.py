"""Between a value and what a tree stores of it: its bytes inline, or a digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.digest import digests_to_array
from tensorvcs.objects.tensor import array_bytes, canonical_array, digest_rows, digest_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import TensorStore

BLOCK_NBYTES = 16 << 20
"""Rows that are hashed and written at a time."""


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


def load_stack(schema: Schema, tensors: TensorStore, stored: NDArray[np.uint8]) -> NDArray[Any]:
    """Return the values of a fixed-shape schema as one array, shape (n, *shape); as `load_values`.

    Inline values are a view of `stored` where that is possible.
    """
    if schema.is_inline:
        return inline_rows(schema, stored)
    rows = np.empty((len(stored), *schema.fixed_shape), schema.numpy_dtype)
    for place, value in enumerate(tensors.read(schema, stored)):
        rows[place] = value
    return rows


def store_values(
    schema: Schema, tensors: TensorStore, values: NDArray[Any] | Sequence[Any]
) -> NDArray[np.uint8]:
    """Hand values to the tensor store, unsealed; return what a tree stores of each.

    Parameters
    ----------
    values : ndarray, shape (n, *shape), or sequence of canonical values
        Stacked for a fixed-shape schema; converted block by block.

    Returns
    -------
    ndarray, shape (n, value_nbytes), uint8

    Raises
    ------
    SchemaMismatchError
        The stack has another dtype.
    StorageError
        The disk refused.
    """
    if not schema.is_fixed_shape:
        digests = digests_to_array([digest_value(value) for value in values])
        tensors.write(schema, digests, values)
        return digests
    stored = np.empty((len(values), schema.value_nbytes), np.uint8)
    step = max(1, BLOCK_NBYTES // max(1, schema.row_nbytes))
    for first in range(0, len(values), step):
        rows = canonical_array(values[first : first + step], schema.dtype)
        part = stored[first : first + step]
        if schema.is_inline:
            part[:] = array_bytes(rows).reshape(part.shape)
        else:
            part[:] = digest_rows(schema, rows)
            tensors.write(schema, part, rows)
    return stored
