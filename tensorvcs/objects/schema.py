"""Schema: what all values of one column have in common, and the legal names of columns."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Literal, get_args

from tensorvcs.errors import InvalidColumnError, ObjectDamagedError
from tensorvcs.objects.digest import DIGEST_NBYTES
from tensorvcs.objects.dtype import dtype_from_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

Kind = Literal["ndarray", "str", "bytes"]
CodecChoice = Literal["auto", "raw", "blosc"]
MergePolicy = Literal["", "ours", "theirs", "newest", "union", "mean", "max", "majority"]

INLINE_NBYTES = 64
"""Values of one fixed size up to this many bytes live in the tree leaves."""

MAX_NDIM = 32
MAX_COLUMN_NAME_NBYTES = 255


@dataclass(frozen=True)
class Schema:
    """The schema of a column.

    Attributes
    ----------
    kind : {"ndarray", "str", "bytes"}
    dtype : str
        Canonical dtype name; empty for text and bytes.
    shape : tuple of (int or None), or None
        The shape of every value; with `variable_shape` the maximum along each axis, None where
        it is unbounded. None for text and bytes.
    variable_shape : bool
    nested : bool
        Whether a sample is a mapping from subsample key to value.
    codec : {"auto", "raw", "blosc"}
        How packs store the values; a wish that changes no digest of a value.
    merge : {"", "ours", "theirs", "newest", "union", "mean", "max", "majority"}
        What decides a sample that both sides of a merge changed; empty leaves it a conflict. See
        `tensorvcs.history.merging.policies`.
    """

    kind: Kind
    dtype: str = ""
    shape: tuple[int | None, ...] | None = None
    variable_shape: bool = False
    nested: bool = False
    codec: CodecChoice = "auto"
    merge: MergePolicy = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InvalidColumnError(f"kind {self.kind!r} is not one of {get_args(Kind)}")
        if self.codec not in get_args(CodecChoice):
            raise InvalidColumnError(
                f"codec {self.codec!r} is not one of {', '.join(get_args(CodecChoice))}"
            )
        if self.merge not in get_args(MergePolicy):
            raise InvalidColumnError(
                f"merge policy {self.merge!r} is not one of {', '.join(get_args(MergePolicy)[1:])}"
            )
        for what in ("variable_shape", "nested"):
            if type(getattr(self, what)) is not bool:
                raise InvalidColumnError(f"{what} is a bool, not {getattr(self, what)!r}")
        if self.kind == "ndarray":
            self._check_array()
        elif self.dtype or self.shape is not None or self.variable_shape:
            raise InvalidColumnError(f"a {self.kind} column has no dtype and no shape")
        if self.merge and not self.can_merge_by(self.merge):
            raise InvalidColumnError(self.merge_problem(self.merge))

    def _check_array(self) -> None:
        if self.shape is None:
            raise InvalidColumnError("an ndarray column needs a shape")
        if len(self.shape) > MAX_NDIM:
            raise InvalidColumnError(
                f"{len(self.shape)} dimensions are too many; {MAX_NDIM} are allowed"
            )
        for extent in self.shape:
            if extent is None and self.variable_shape:
                continue
            if type(extent) is not int or not 0 <= extent < 2**48:
                raise InvalidColumnError(
                    f"shape {self.shape} has the extent {extent!r}; expected an int from 0 to 2**48"
                    + ("" if self.variable_shape else ", or variable_shape=True for None")
                )
        dtype_from_name(self.dtype)

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The numpy dtype of the values; only for ndarray columns."""
        return dtype_from_name(self.dtype)

    @property
    def is_fixed_shape(self) -> bool:
        """Whether all values have one shape, so that many stack into one array."""
        return self.kind == "ndarray" and not self.variable_shape

    @cached_property
    def fixed_shape(self) -> tuple[int, ...]:
        """The one shape of all values; only for fixed-shape columns."""
        assert self.is_fixed_shape and self.shape is not None
        return tuple(extent for extent in self.shape if extent is not None)

    @cached_property
    def row_nbytes(self) -> int:
        """The bytes of one value; only for fixed-shape columns."""
        return prod(self.fixed_shape) * self.numpy_dtype.itemsize

    @cached_property
    def is_inline(self) -> bool:
        """Whether the values live in the tree leaves instead of the packs."""
        return self.is_fixed_shape and self.row_nbytes <= INLINE_NBYTES

    @property
    def value_nbytes(self) -> int:
        """The width of a tree value: the value itself when inline, otherwise its digest."""
        return self.row_nbytes if self.is_inline else DIGEST_NBYTES

    def can_merge_by(self, policy: str) -> bool:
        """Tell whether a named merge policy has a meaning for the values of this column."""
        is_array = self.kind == "ndarray"
        is_bool, is_complex = self.dtype == "bool", self.dtype.startswith("complex")
        if policy == "mean":
            return is_array and not is_bool
        if policy == "max":
            return is_array and not is_complex
        if policy == "union":
            return self.kind == "str" or is_bool or (self.variable_shape and bool(self.shape))
        return is_array if policy == "majority" else True

    def merge_problem(self, policy: str) -> str:
        """Say why a named merge policy has no meaning for the values of this column."""
        what = {
            "mean": "arrays of numbers",
            "max": "arrays of numbers that have an order, and bool arrays",
            "union": "bool arrays, arrays of variable shape and texts",
            "majority": "arrays",
        }[policy]
        return f"merge policy {policy!r} is for {what}, not for values of {self.spelling}"

    @property
    def spelling(self) -> str:
        """The schema in a few words, such as ``uint8 (32, 32, 3)`` or ``nested str``."""
        words = ["nested"] if self.nested else []
        if self.kind == "ndarray":
            assert self.shape is not None
            extents = ["*" if extent is None else str(extent) for extent in self.shape]
            limit = "≤" if self.variable_shape else ""
            words += [self.dtype, f"{limit}({', '.join(extents)})"]
        else:
            words.append(self.kind)
        return " ".join(words)

    def to_fields(self) -> dict[str, Any]:
        """Return the fields as JSON values, all of the format; `merge` only when it is set."""
        fields = {
            "kind": self.kind,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
            "variable_shape": self.variable_shape,
            "nested": self.nested,
            "codec": self.codec,
        }
        return fields | {"merge": self.merge} if self.merge else fields

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Schema:
        """Read what `to_fields` wrote.

        Raises
        ------
        ObjectDamagedError
            A field is missing, unknown or not legal.
        """
        try:
            known = dict(fields)
            shape = known.pop("shape")
            if known.get("merge") == "":
                raise InvalidColumnError("an empty merge policy is left out")
            return cls(shape=None if shape is None else tuple(shape), **known)
        except (KeyError, TypeError, InvalidColumnError) as error:
            raise ObjectDamagedError(f"a column schema cannot be read: {error}") from error


def check_column_name(name: object) -> str:
    """Return `name` when it may name a column, else raise InvalidColumnError.

    A name has 1 to 255 bytes of UTF-8, no control characters, no ``/`` or backslash, and does
    not start with ``-`` or ``.``, so that it is a file name and a command-line argument as well.
    """
    if not isinstance(name, str):
        raise InvalidColumnError(f"a column name is a str, not {type(name).__name__}")
    if not name:
        raise InvalidColumnError("a column name cannot be empty")
    try:
        nbytes = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidColumnError(f"column name {name!r} has unpaired surrogates") from error
    if nbytes > MAX_COLUMN_NAME_NBYTES:
        raise InvalidColumnError(
            f"a column name of {nbytes} bytes is too long; {MAX_COLUMN_NAME_NBYTES} are allowed"
        )
    if name[0] in "-." or any(c in "/\\" or unicodedata.category(c) == "Cc" for c in name):
        raise InvalidColumnError(
            f"column name {name!r} is not legal: it starts with '-' or '.', or has a slash, "
            "a backslash or a control character"
        )
    return name
