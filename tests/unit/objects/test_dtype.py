from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorvcs.errors import InvalidColumnError
from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name, dtype_name


@pytest.mark.parametrize("name", DTYPE_NAMES)
def test_a_name_stands_for_one_little_endian_dtype(name: str) -> None:
    found = dtype_from_name(name)
    assert dtype_name(found) == name
    assert dtype_name(name) == name
    assert found.byteorder in "<=|"
    assert not found.hasobject


def test_the_names_are_those_of_the_format() -> None:
    assert len(set(DTYPE_NAMES)) == 23
    assert {dtype_from_name(name).itemsize for name in DTYPE_NAMES} == {1, 2, 4, 8, 16}


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        (">f4", "float32"),
        ("<i8", "int64"),
        (np.uint8, "uint8"),
        (float, "float64"),
        (int, "int64"),
        (bool, "bool"),
        (np.dtype(">c16"), "complex128"),
    ],
)
def test_what_numpy_takes_is_taken(spelling: Any, name: str) -> None:
    assert dtype_name(spelling) == name


@pytest.mark.parametrize(
    "spelling",
    [object, "U5", "S5", "V8", "M8[s]", "m8", np.longdouble, [("a", "i4")], "nothing", "float8"],
)
def test_what_no_column_can_hold_is_refused(spelling: Any) -> None:
    with pytest.raises(InvalidColumnError):
        dtype_name(spelling)


@pytest.mark.parametrize("name", ["", "object", "<f4", "float", "int", "float96", "U5"])
def test_only_canonical_names_are_read(name: str) -> None:
    with pytest.raises(InvalidColumnError):
        dtype_from_name(name)
