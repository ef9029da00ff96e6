"""What names a value: every part of it, framed, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import SchemaMismatchError
from tensorvcs.objects.digest import array_to_digests, digests_to_array, hash_rows
from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name
from tensorvcs.objects.schema import Schema
from tensorvcs.objects.tensor import (
    canonical_array,
    digest_rows,
    digest_value,
    value_data,
    value_from_data,
)
from tests.strategies import DTYPES, SHAPES, arrays

# Digests of format 1; a change of any of them loses every value that is stored.
GOLDEN = [
    (np.zeros((), np.uint8), "6320309a39bf6ec728737b52ce6eccfee351a225b278e300673df6db942f9972"),
    (
        np.arange(6, dtype=np.int64).reshape(2, 3),
        "d0adebd75617398ee95963e03537c58e9c0937c2668ec9e1a1e8e3bf1f068b44",
    ),
    (
        np.array([1.5, -0.0, np.nan], np.float32),
        "efcbb89156dc2cce8fc597968cf5cca8ccab0d41d785fed72b43917645cfc504",
    ),
    (
        np.zeros((0, 3), np.bool_),
        "3d1e617d86d23ff7336b974c24b002db9f08ef64da0d182ffabbaf6f90834cc3",
    ),
    (np.array([1 + 2j]), "8536218120e777a8c6d6efd14c6bb86bca966f011aac8f23c27e725ca22a1f21"),
    ("naïve \U0001f600", "9b8a663d1f9e892b1c67fe28085a96c10e267d0388170ce1521aae4b58d70062"),
    ("", "cbef9367bae71f98a55fbbbe7779bdde027d76a092c408aa0d9ba10ccc0faf30"),
    (b"", "945a215880688ccb326241ab01f8f06a3c9f7dc6a14ab7f14b8e868fa34b1f99"),
    (b"\0\xff", "9cc64ca978128c41ac4813e23c8bcf674e09e7a2f4e3dccb373943c80073fa04"),
]


@pytest.mark.parametrize(("value", "digest"), GOLDEN)
def test_digests_of_the_format_stay(value: Any, digest: str) -> None:
    assert digest_value(value).hex() == digest


def test_the_dtype_alone_changes_the_name() -> None:
    content = bytes(range(16))
    digests = set()
    for name in DTYPE_NAMES:
        kind = dtype_from_name(name)
        data = bytes(byte & 1 for byte in content) if name == "bool" else content
        digests.add(digest_value(np.frombuffer(data, kind).copy()))
    assert len(digests) == len(DTYPE_NAMES)


def test_the_shape_alone_changes_the_name() -> None:
    flat = np.arange(12, dtype=np.uint8)
    shapes: list[tuple[int, ...]] = [(12,), (1, 12), (12, 1), (3, 4), (4, 3), (2, 6), (2, 3, 2)]
    assert len({digest_value(flat.reshape(shape)) for shape in shapes}) == len(shapes)
    empty: list[tuple[int, ...]] = [(0,), (0, 1), (1, 0), (0, 0)]
    assert len({digest_value(np.zeros(shape, np.uint8)) for shape in empty}) == len(empty)


def test_the_kind_alone_changes_the_name() -> None:
    assert (
        len({digest_value("ab"), digest_value(b"ab"), digest_value(np.array([97, 98], "u1"))}) == 3
    )


def test_bits_that_compare_equal_have_different_names() -> None:
    assert digest_value(np.array(0.0)) != digest_value(np.array(-0.0))
    quiet = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert digest_value(quiet[:1]) != digest_value(quiet[1:])


@given(st.data(), DTYPES, SHAPES)
def test_rows_get_the_digests_of_their_values(
    data: st.DataObject, dtype: str, shape: tuple[int, ...]
) -> None:
    rows = data.draw(arrays(dtype, (3, *shape)))
    schema = Schema("ndarray", dtype, shape)
    found = array_to_digests(digest_rows(schema, rows))
    assert found == [digest_value(np.ascontiguousarray(row).reshape(shape)) for row in rows]


@pytest.mark.parametrize("nbytes", [0, 1, 100, 16_383, 16_384, 20_000])
@pytest.mark.parametrize("count", [0, 1, 70])
def test_short_and_long_rows_are_hashed_alike(nbytes: int, count: int) -> None:
    from blake3 import blake3

    rows = np.random.default_rng(1).integers(0, 256, (count, nbytes), np.uint8)
    expected = [blake3(b"header" + row.tobytes()).digest() for row in rows]
    found = hash_rows(b"header", rows)
    assert found.shape == (count, 32)
    assert array_to_digests(found) == expected
    assert digests_to_array(expected).tolist() == found.tolist()


@given(arrays())
def test_a_value_comes_back_from_its_data(array: Any) -> None:
    name = array.dtype.name
    back = value_from_data("ndarray", name, array.shape, bytes(value_data(array)))
    assert isinstance(back, np.ndarray)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


@given(arrays())
def test_byte_order_and_memory_order_do_not_change_the_name(array: Any) -> None:
    name, digest = array.dtype.name, digest_value(array)
    variants = [np.array(array, order="F"), array[..., None].repeat(2, -1)[..., 0]]
    if array.dtype.itemsize > 1 and array.dtype.kind in "iufc":
        variants.append(array.astype(array.dtype.newbyteorder(">")))
    if array.ndim:
        variants.append(array[::-1].copy()[::-1])
    for variant in variants:
        found = canonical_array(variant, name)
        assert found.shape == array.shape
        assert digest_value(found) == digest


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([1, 2], "float32", [1.0, 2.0]),
        ((3, 4), "uint8", [3, 4]),
        (7, "int64", 7),
        (2.0, "int8", 2),
        ([1, 0], "bool", [True, False]),
        ([], "int16", []),
        ([[1], [2]], "uint64", [[1], [2]]),
        ([1, 2], "complex64", [1, 2]),
        ([-1], "complex128", [-1]),
        ([1.5], "bfloat16", [1.5]),
        (memoryview(b"ab"), "uint8", [97, 98]),
    ],
)
def test_what_converts_exactly_is_taken(value: Any, dtype: str, expected: Any) -> None:
    found = canonical_array(value, dtype)
    assert found.dtype == dtype_from_name(dtype)
    assert found.tolist() == expected


@pytest.mark.parametrize("value", [[float("nan"), float("inf")], [-0.0]])
def test_a_list_of_floats_keeps_nan_and_the_sign_of_zero(value: list[float]) -> None:
    assert canonical_array(value, "float32").tobytes() == np.array(value, "f4").tobytes()


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([0.5], "int64"),
        ([0.1], "float32"),
        ([300], "uint8"),
        ([-1], "uint8"),
        # The bits of these come back as they were, and the numbers are others.
        ([-1], "uint64"),
        ([2**63], "int64"),
        ([2**64], "uint64"),
        ([2**53 + 1], "float64"),
        ([float("nan")], "int64"),
        ([float("inf")], "int32"),
        ([1j], "float64"),
        ([True], "uint8"),
        (True, "int64"),
        ([2], "bool"),
        ([0.0], "float8_e8m0fnu"),
        ([1.1], "bfloat16"),
        ([[1], [1, 2]], "int8"),
        (["1"], "int8"),
        ("1", "int8"),
        (b"1", "uint8"),
        (None, "float64"),
        ({}, "float64"),
        (object(), "float64"),
        (np.array([1], object), "int64"),
        (np.array(["a"]), "int64"),
        (np.array([1], "M8[s]"), "int64"),
        (np.array([1], np.longdouble), "float64"),
        (np.array([(1,)], [("a", "i8")]), "int64"),
        (np.array([1], np.int32), "int64"),
        (np.float64(1), "float32"),
        (np.ma.array([1, 2], mask=[False, True], dtype="u1"), "uint8"),
        (np.ma.array([1, 2], dtype="u1"), "uint8"),
    ],
)
def test_what_would_change_is_refused(value: Any, dtype: str) -> None:
    with pytest.raises(SchemaMismatchError):
        canonical_array(value, dtype)


def test_a_true_that_is_not_one_has_the_name_of_true() -> None:
    odd = np.array([2, 0, 255], np.uint8).view(np.bool_)
    found = canonical_array(odd, "bool")
    assert found.tobytes() == b"\1\0\1"
    assert digest_value(found) == digest_value(np.array([True, False, True]))


def test_a_canonical_array_is_not_copied() -> None:
    array = np.zeros((2, 3), np.float32)
    assert canonical_array(array, "float32") is array
