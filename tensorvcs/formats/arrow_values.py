"""Values of a column as Arrow arrays, and Arrow arrays as values of a column.

=============================  ==================================================================
column                         Arrow
=============================  ==================================================================
numbers and bools, shape ()    the primitive type
arrays of one shape            ``arrow.fixed_shape_tensor``, an extension over fixed-size lists
arrays of shape (≤ n,)         lists
arrays of other shapes         structs of ``data``, a list, and ``shape``, a fixed-size list
texts, bytes                   string, binary
=============================  ==================================================================

Arrow has no complex numbers, and nothing for bfloat16 and float8.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidColumnError, InvalidInputError, MissingDependencyError
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

_DATA, _SHAPE = "data", "shape"
_NO_ARROW = ("complex", "bfloat", "float8")


def require_pyarrow(purpose: str) -> Any:
    """Return the package pyarrow.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "arrow", purpose) from error
    return pyarrow


def why_no_arrow(schema: Schema) -> str | None:
    """Say why a column cannot become Arrow arrays; None when it can."""
    if schema.nested:
        return "its samples are nested"
    if schema.kind == "ndarray" and schema.dtype.startswith(_NO_ARROW):
        return f"Arrow has no type for {schema.dtype}"
    return None


def arrow_type(schema: Schema) -> pa.DataType:
    """Return the Arrow type of the values of a column.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    import pyarrow as pa

    reason = why_no_arrow(schema)
    if reason is not None:
        raise InvalidInputError(f"a column of {schema.spelling} cannot be Arrow: {reason}")
    if schema.kind != "ndarray":
        return pa.string() if schema.kind == "str" else pa.binary()
    assert schema.shape is not None
    value_type = pa.from_numpy_dtype(schema.numpy_dtype)
    if schema.is_fixed_shape:
        if not schema.shape:
            return value_type
        return pa.fixed_shape_tensor(value_type, schema.fixed_shape)
    if len(schema.shape) == 1:
        return pa.list_(value_type)
    return pa.struct(
        [(_DATA, pa.list_(value_type)), (_SHAPE, pa.list_(pa.int64(), len(schema.shape)))]
    )


def arrow_array(schema: Schema, values: NDArray[Any] | Sequence[Any]) -> pa.Array:
    """Return values as an Arrow array.

    Parameters
    ----------
    schema : Schema
    values : ndarray, shape (n, *shape), or sequence of values
        Stacked for a column of one fixed shape.

    Notes
    -----
    Stacked numbers are not copied: the Arrow array shares their memory. Bools are, for Arrow packs
    them into bits.
    """
    import pyarrow as pa

    kind = arrow_type(schema)
    if schema.kind != "ndarray":
        return pa.array(list(values), kind)
    if schema.is_fixed_shape:
        stacked = np.ascontiguousarray(values)
        flat = pa.array(stacked.reshape(-1))
        if not schema.shape:
            return flat
        storage = pa.FixedSizeListArray.from_buffers(
            kind.storage_type, len(stacked), [None], children=[flat]
        )
        return pa.ExtensionArray.from_storage(kind, storage)
    arrays = [np.asarray(value) for value in values]
    data = _lists([array.reshape(-1) for array in arrays], schema.numpy_dtype)
    if pa.types.is_list(kind):
        return data
    assert schema.shape is not None
    shapes = np.array([array.shape for array in arrays], np.int64).reshape(-1)
    shape_lists = pa.FixedSizeListArray.from_arrays(pa.array(shapes), len(schema.shape))
    return pa.StructArray.from_arrays([data, shape_lists], [_DATA, _SHAPE])


def _lists(parts: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> pa.Array:
    import pyarrow as pa

    ends = np.cumsum([0, *map(len, parts)])
    if ends[-1] > np.iinfo(np.int32).max:
        raise InvalidInputError(f"{ends[-1]:,} numbers are too many for one Arrow array of lists")
    flat = np.concatenate(parts) if parts else np.empty(0, dtype)
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), pa.array(flat))


def schema_of_arrow(kind: pa.DataType) -> Schema:
    """Return the schema of a column that holds what an Arrow type does.

    Raises
    ------
    InvalidColumnError
        There is none; the text says what the type is.
    """
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Schema("str")
    if (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    ):
        return Schema("bytes")
    if isinstance(kind, pa.FixedShapeTensorType):
        return Schema("ndarray", _number_name(kind.value_type), tuple(kind.shape))
    extents: list[int] = []
    inner = kind
    while types.is_fixed_size_list(inner):
        extents.append(inner.list_size)
        inner = inner.value_type
    if extents or _is_number(inner):
        return Schema("ndarray", _number_name(inner), tuple(extents))
    if types.is_list(kind) or types.is_large_list(kind):
        return Schema("ndarray", _number_name(kind.value_type), (None,), variable_shape=True)
    if types.is_struct(kind) and [field.name for field in kind] == [_DATA, _SHAPE]:
        data, shape = kind.field(0).type, kind.field(1).type
        if types.is_list(data) and types.is_fixed_size_list(shape):
            name = _number_name(data.value_type)
            return Schema("ndarray", name, (None,) * shape.list_size, variable_shape=True)
    raise InvalidColumnError(f"no column holds Arrow values of {kind}")


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _number_name(kind: pa.DataType) -> str:
    if not _is_number(kind):
        raise InvalidColumnError(f"no column holds Arrow values of {kind}")
    return dtype_name(kind.to_pandas_dtype())


def arrow_values(schema: Schema, array: pa.Array) -> NDArray[Any] | list[Any]:
    """Return the values of an Arrow array without nulls, as a column of `schema` takes them.

    Returns
    -------
    ndarray, shape (n, *shape), or list
        Stacked for a fixed shape, and then it may share the memory of `array`.

    Raises
    ------
    InvalidInputError
        There is a null inside a value.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if schema.kind != "ndarray":
        texts: list[Any] = array.to_pylist()
        return texts
    if schema.is_fixed_shape:
        count, shape = len(array), schema.fixed_shape
        permutation = getattr(array.type, "permutation", None)
        if isinstance(array, pa.ExtensionArray):
            if permutation is not None and list(permutation) != sorted(permutation):
                raise InvalidInputError(f"tensors of {array.type} are stored with axes swapped")
            array = array.storage
        for _ in shape:
            # `flatten` honours the offset of a slice; fixed-size lists of a tensor are one deep.
            if not pa.types.is_fixed_size_list(array.type):
                break
            array = array.flatten()
        return _numbers(array, schema).reshape(count, *shape)
    if pa.types.is_struct(array.type):
        shapes = array.field(_SHAPE)
        ndim = len(schema.shape or ())
        shape_rows = np.asarray(shapes.flatten()).reshape(len(array), ndim).tolist()
        lists = _split(array.field(_DATA), schema)
        for row, extents in zip(lists, shape_rows, strict=True):
            if prod(extents) != len(row):
                raise InvalidInputError(f"{len(row)} numbers have no shape {tuple(extents)}")
        return [row.reshape(extents) for row, extents in zip(lists, shape_rows, strict=True)]
    return _split(array, schema)


def _split(lists: pa.Array, schema: Schema) -> list[NDArray[Any]]:
    flat = _numbers(lists.flatten(), schema)
    ends = np.cumsum(np.asarray(lists.value_lengths()))
    return np.split(flat, ends[:-1]) if len(lists) else []


def _numbers(array: pa.Array, schema: Schema) -> NDArray[Any]:
    if array.null_count:
        raise InvalidInputError(f"{array.null_count} nulls are inside of values")
    flat: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return flat.astype(schema.numpy_dtype, copy=False)
