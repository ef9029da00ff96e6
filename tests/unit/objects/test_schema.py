from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tensorvcs.errors import InvalidColumnError, ObjectDamagedError
from tensorvcs.objects.schema import Schema, check_column_name

LEGAL = [
    Schema("ndarray", "uint8", (32, 32, 3)),
    Schema("ndarray", "float64", ()),
    Schema("ndarray", "bfloat16", (0, 3), codec="raw"),
    Schema("ndarray", "int8", (None, 4), variable_shape=True),
    Schema("ndarray", "bool", (2,), nested=True, codec="blosc"),
    Schema("str"),
    Schema("bytes", nested=True),
    Schema("ndarray", "float32", (2,), merge="mean"),
    Schema("str", merge="union"),
]


@pytest.mark.parametrize("schema", LEGAL)
def test_fields_come_back(schema: Schema) -> None:
    assert Schema.from_fields(schema.to_fields()) == schema
    assert len({Schema.from_fields(s.to_fields()) for s in LEGAL}) == len(LEGAL)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "image"},
        {"kind": "ndarray"},
        {"kind": "ndarray", "dtype": "uint8"},
        {"kind": "ndarray", "dtype": "object", "shape": ()},
        {"kind": "ndarray", "shape": ()},
        {"kind": "ndarray", "dtype": "uint8", "shape": (-1,)},
        {"kind": "ndarray", "dtype": "uint8", "shape": (2**48,)},
        {"kind": "ndarray", "dtype": "uint8", "shape": (1.0,)},
        {"kind": "ndarray", "dtype": "uint8", "shape": (True,)},
        {"kind": "ndarray", "dtype": "uint8", "shape": ("1",)},
        {"kind": "ndarray", "dtype": "uint8", "shape": (None,)},
        {"kind": "ndarray", "dtype": "uint8", "shape": (1,) * 33},
        {"kind": "ndarray", "dtype": "uint8", "shape": (1,), "codec": "zip"},
        {"kind": "ndarray", "dtype": "uint8", "shape": (1,), "variable_shape": 1},
        {"kind": "ndarray", "dtype": "uint8", "shape": (1,), "nested": "no"},
        {"kind": "str", "merge": "fail"},
        {"kind": "str", "merge": "mean"},
        {"kind": "bytes", "merge": "union"},
        {"kind": "ndarray", "dtype": "complex64", "shape": (), "merge": "max"},
        {"kind": "str", "dtype": "uint8"},
        {"kind": "bytes", "shape": ()},
        {"kind": "str", "variable_shape": True},
    ],
)
def test_a_schema_that_means_nothing_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidColumnError):
        Schema(**arguments)
    fields = {**Schema("str").to_fields(), **arguments}
    with pytest.raises(ObjectDamagedError):
        Schema.from_fields(fields)


@pytest.mark.parametrize("name", list(Schema("str").to_fields()))
def test_fields_are_all_there_and_no_others(name: str) -> None:
    fields = Schema("str").to_fields()
    del fields[name]
    with pytest.raises(ObjectDamagedError):
        Schema.from_fields({**fields, "more": 1})
    if name != "shape":
        return
    with pytest.raises(ObjectDamagedError):
        Schema.from_fields(fields)


def test_a_column_without_a_merge_policy_is_spelled_as_ever() -> None:
    """So that the digests of what was written before policies stay."""
    fields = {
        "kind": "str", "dtype": "", "shape": None, "variable_shape": False, "nested": False,
        "codec": "auto",
    }  # fmt: skip
    assert Schema("str").to_fields() == fields
    assert Schema("str", merge="ours").to_fields() == {**fields, "merge": "ours"}
    with pytest.raises(ObjectDamagedError, match="an empty merge policy is left out"):
        Schema.from_fields({**fields, "merge": ""})


NUMBERS = Schema("ndarray", "uint8", (3,))
MASKS = Schema("ndarray", "bool", (3,))
WAVES = Schema("ndarray", "complex128", ())
BOXES = Schema("ndarray", "float32", (None, 4), variable_shape=True)
SCALARS = Schema("ndarray", "float32", (), variable_shape=True)


@pytest.mark.parametrize(
    ("policy", "fits", "not_for"),
    [
        ("mean", [NUMBERS, WAVES, BOXES], [MASKS, Schema("str"), Schema("bytes")]),
        ("max", [NUMBERS, MASKS, BOXES], [WAVES, Schema("str"), Schema("bytes")]),
        ("majority", [NUMBERS, MASKS, WAVES, BOXES], [Schema("str"), Schema("bytes")]),
        ("union", [MASKS, BOXES, Schema("str")], [NUMBERS, WAVES, SCALARS, Schema("bytes")]),
        ("newest", [NUMBERS, Schema("bytes")], []),
    ],
)
def test_a_function_has_a_meaning_for_some_values(
    policy: Any, fits: list[Schema], not_for: list[Schema]
) -> None:
    for schema in fits:
        assert replace(schema, merge=policy).merge == policy
    for schema in not_for:
        assert not schema.can_merge_by(policy)
        with pytest.raises(InvalidColumnError, match=f"'{policy}' is for .*, not for values of"):
            replace(schema, merge=policy)


@pytest.mark.parametrize(
    ("schema", "is_inline", "value_nbytes"),
    [
        (Schema("ndarray", "uint8", (64,)), True, 64),
        (Schema("ndarray", "uint8", (65,)), False, 32),
        (Schema("ndarray", "int64", ()), True, 8),
        (Schema("ndarray", "complex128", (4,)), True, 64),
        (Schema("ndarray", "complex128", (5,)), False, 32),
        (Schema("ndarray", "uint8", (0, 10**6)), True, 0),
        (Schema("ndarray", "uint8", (3,), variable_shape=True), False, 32),
        (Schema("str"), False, 32),
    ],
)
def test_small_values_of_one_size_are_inline(
    schema: Schema, is_inline: bool, value_nbytes: int
) -> None:
    assert schema.is_inline == is_inline
    assert schema.value_nbytes == value_nbytes


def test_the_spelling_says_what_a_column_holds() -> None:
    assert [schema.spelling for schema in LEGAL] == [
        "uint8 (32, 32, 3)",
        "float64 ()",
        "bfloat16 (0, 3)",
        "int8 ≤(*, 4)",
        "nested bool (2)",
        "str",
        "nested bytes",
        "float32 (2)",
        "str",
    ]


def test_the_dtype_is_that_of_numpy() -> None:
    assert Schema("ndarray", "uint16", (2, 3)).numpy_dtype == np.uint16
    assert Schema("ndarray", "uint16", (2, 3)).row_nbytes == 12


@pytest.mark.parametrize(
    "name", ["images", "x y", "é\U0001f600", "a.b-c", "0", "a" * 255, "é" * 127]
)
def test_legal_column_names(name: str) -> None:
    assert check_column_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-x", ".hidden", "..", "a/b", "a\\b", "a\nb", "a\0b", "\x7f", "a" * 256, "é" * 128,
     "\ud800", 1, None, b"a"],
)  # fmt: skip
def test_illegal_column_names(name: Any) -> None:
    with pytest.raises(InvalidColumnError):
        check_column_name(name)
