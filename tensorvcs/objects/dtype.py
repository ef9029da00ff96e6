"""The dtypes a column may have, by name; a name never depends on byte order or on a library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidColumnError, MissingDependencyError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

_NUMPY_NAMES = (
    "bool",
    "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
    "complex64", "complex128",
)  # fmt: skip
# `dtype.str` of these is ambiguous ("<f1", "<V2"), so the table of names is the only truth.
_ML_DTYPES_NAMES = (
    "bfloat16",
    "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip

_BY_NAME: dict[str, np.dtype[Any]] = {
    name: np.dtype(name).newbyteorder("<") for name in _NUMPY_NAMES
}
_NAME_BY_DTYPE: dict[np.dtype[Any], str] = {dtype: name for name, dtype in _BY_NAME.items()}

DTYPE_NAMES = _NUMPY_NAMES + _ML_DTYPES_NAMES


def dtype_from_name(name: str) -> np.dtype[Any]:
    """Return the little-endian dtype of a canonical name.

    Raises
    ------
    InvalidColumnError
        The name is no supported dtype.
    MissingDependencyError
        It is one of `ml_dtypes`, which is not installed.
    """
    dtype = _BY_NAME.get(name)
    if dtype is not None:
        return dtype
    if name not in _ML_DTYPES_NAMES:
        raise InvalidColumnError(
            f"dtype {name!r} is not supported; supported are {', '.join(DTYPE_NAMES)}"
        )
    try:
        import ml_dtypes
    except ImportError as error:
        raise MissingDependencyError("ml_dtypes", "ml-dtypes", f"dtype {name}") from error
    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    _BY_NAME[name] = found
    return found


def dtype_name(dtype: DTypeLike) -> str:
    """Return the canonical name of a dtype; byte order does not matter.

    Raises
    ------
    InvalidColumnError
        The dtype is not supported (object, text, datetime, structured, longdouble).
    """
    if isinstance(dtype, str) and dtype in _ML_DTYPES_NAMES:
        return dtype
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise InvalidColumnError(f"{dtype!r} is not a dtype: {error}") from error
    name = _NAME_BY_DTYPE.get(found.newbyteorder("<"))
    if name is None and found.name in _ML_DTYPES_NAMES and found.type.__module__ == "ml_dtypes":
        name = found.name
    if name is None:
        raise InvalidColumnError(
            f"dtype {found} is not supported; supported are {', '.join(DTYPE_NAMES)}"
        )
    return name
