"""The canonical bytes of a value, and the digest over them.

The digest of a value is ``BLAKE3(header + data)``. The header frames each part with its length
as an unsigned 64-bit little-endian number: kind, dtype name, shape (one such number an axis),
and last the length of the data, which follows. Text and bytes values have an empty dtype and
shape. The data is the C-order little-endian array, the UTF-8 text, or the bytes.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidColumnError, SchemaMismatchError
from tensorvcs.objects.digest import TensorDigest, digest_of, hash_rows
from tensorvcs.objects.dtype import dtype_from_name, dtype_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Kind, Schema


def value_header(kind: Kind, dtype: str, shape: Sequence[int], data_nbytes: int) -> bytes:
    """Return the framed header that is hashed before the data of a value."""
    parts = (kind.encode(), dtype.encode(), struct.pack(f"<{len(shape)}Q", *shape))
    framed = b"".join(struct.pack("<Q", len(part)) + part for part in parts)
    return framed + struct.pack("<Q", data_nbytes)


def array_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """View a C-contiguous array as its bytes, one axis."""
    # By a view, since the dtypes of ml_dtypes have no buffer.
    return array.reshape(-1).view(np.uint8)


def digest_value(value: NDArray[Any] | str | bytes) -> TensorDigest:
    """Return the digest of one canonical value."""
    if isinstance(value, str):
        data = value.encode()
        return TensorDigest(digest_of(value_header("str", "", (), len(data)) + data))
    if isinstance(value, bytes):
        return TensorDigest(digest_of(value_header("bytes", "", (), len(value)) + value))
    header = value_header("ndarray", dtype_name(value.dtype), value.shape, value.nbytes)
    return TensorDigest(hash_rows(header, array_bytes(value).reshape(1, -1)).tobytes())


def digest_rows(schema: Schema, rows: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the digests of stacked values of a fixed-shape schema.

    Parameters
    ----------
    schema : Schema
        Of fixed shape.
    rows : ndarray, shape (n, *shape), dtype of the schema, C-contiguous

    Returns
    -------
    ndarray, shape (n, 32), uint8
    """
    header = value_header("ndarray", schema.dtype, schema.fixed_shape, schema.row_nbytes)
    return hash_rows(header, array_bytes(rows).reshape(len(rows), schema.row_nbytes))


def canonical_array(value: object, dtype: str) -> NDArray[Any]:
    """Convert a value to a C-contiguous little-endian array of `dtype`, when that is exact.

    An array must have the dtype (in any byte order and memory order). Lists, tuples and Python
    scalars are converted when no value changes, so ``[1, 2]`` fits a float32 column and
    ``[0.5]`` does not fit an int64 one.

    Raises
    ------
    SchemaMismatchError
        The dtype differs or the conversion is not exact.
    """
    wanted = dtype_from_name(dtype)
    if isinstance(value, np.ma.MaskedArray):
        raise SchemaMismatchError("a masked array has no one value at its masked elements")
    if isinstance(value, (np.ndarray, np.generic)):
        array: NDArray[Any] = np.asarray(value)
        try:
            found = dtype_name(array.dtype)
        except InvalidColumnError:
            found = str(array.dtype)
        if found != dtype:
            raise SchemaMismatchError("wrong dtype", found=found, expected=dtype)
    else:
        array = _exact_array(value, wanted, dtype)
    if dtype == "bool" and array.size and bool((array.view(np.uint8) > 1).any()):
        array = array.view(np.uint8) != 0
    if array.dtype != wanted:
        array = array.astype(wanted)
    return array if array.flags.c_contiguous else np.ascontiguousarray(array).reshape(array.shape)


def _exact_array(value: object, wanted: np.dtype[Any], dtype: str) -> NDArray[Any]:
    """Convert a Python value when every element survives."""
    if hasattr(value, "__array__"):
        return canonical_array(np.asarray(value), dtype)
    try:
        source = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise SchemaMismatchError(
            f"cannot be converted to an array: {error}",
            found=type(value).__name__,
            expected=dtype,
        ) from error
    try:
        found = dtype_name(source.dtype)
    except InvalidColumnError as error:
        raise SchemaMismatchError(
            "cannot be converted to an array of numbers",
            found=type(value).__name__,
            expected=dtype,
        ) from error
    is_narrower = found == "bool" or (source.dtype.kind == "c" and wanted.kind != "c")
    if source.size and found != dtype and is_narrower:
        raise SchemaMismatchError("wrong dtype", found=found, expected=dtype)
    with np.errstate(all="ignore"):
        converted = source.astype(wanted)
        real = converted if source.dtype.kind == "c" else converted.real
        back = real.astype(source.dtype)
        exact = back == source
        if source.dtype.kind in "iu":
            # The bits of -1 as an unsigned number come back as -1, so the signs are compared too.
            exact &= (source < 0) == (real < 0)
        elif source.dtype.kind != "b":
            exact |= np.isnan(back) & np.isnan(source)
    if not bool(np.all(exact)):
        raise SchemaMismatchError(
            "the conversion would change values", found=str(source.dtype), expected=dtype
        )
    return converted


def check_shape(schema: Schema, shape: tuple[int, ...]) -> None:
    """Raise SchemaMismatchError when `shape` does not fit an ndarray schema."""
    assert schema.shape is not None
    if len(shape) != len(schema.shape):
        raise SchemaMismatchError(
            f"wrong number of dimensions: shape {shape} has {len(shape)}",
            found=str(len(shape)),
            expected=str(len(schema.shape)),
        )
    for extent, limit in zip(shape, schema.shape, strict=True):
        if limit is None or extent == limit or (schema.variable_shape and extent <= limit):
            continue
        raise SchemaMismatchError(
            "wrong shape",
            found=str(shape),
            expected=("at most " if schema.variable_shape else "") + str(schema.shape),
        )


def canonical_value(schema: Schema, value: object) -> NDArray[Any] | str | bytes:
    """Convert one value to what a column of `schema` stores.

    Raises
    ------
    SchemaMismatchError
        The value does not fit; column and key are left to the caller to fill in.
    """
    if schema.kind == "str":
        if not isinstance(value, str):
            raise SchemaMismatchError("wrong type", found=type(value).__name__, expected="str")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise SchemaMismatchError(
                f"the text has an unpaired surrogate at {error.start} and is not valid Unicode"
            ) from error
        return str(value)
    if schema.kind == "bytes":
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise SchemaMismatchError("wrong type", found=type(value).__name__, expected="bytes")
        return bytes(value)
    array = canonical_array(value, schema.dtype)
    check_shape(schema, array.shape)
    return array


def value_data(value: NDArray[Any] | str | bytes) -> bytes | memoryview:
    """Return the data part of a canonical value."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    return array_bytes(value).data


def value_from_data(
    kind: Kind, dtype: str, shape: tuple[int, ...], data: bytes | memoryview
) -> NDArray[Any] | str | bytes:
    """Build a value from its data; an array is a fresh, writable copy."""
    if kind == "str":
        return str(data, "utf-8")
    if kind == "bytes":
        return bytes(data)
    array = np.empty(shape, dtype_from_name(dtype))
    assert array.nbytes == len(data), (array.nbytes, len(data), prod(shape))
    if array.size:
        array_bytes(array)[:] = np.frombuffer(data, np.uint8)
    return array
