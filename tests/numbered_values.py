"""Columns of every kind whose values each stand for a small number, to compare with plain dicts.

A content is a dict from the name of a column to its kind and its numbers, as in `tests.model`; of a
nested column the keys are pairs of sample and subsample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import SampleNotFoundError
from tests import model

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ["label", "image", "variable", "text", "bytes", "nested", "nested text"]
LONG = 90
"""A text of so many characters is kept apart from the tree."""


def add_column(co: Any, name: str, kind: str) -> None:
    match kind:
        case "text" | "nested text":
            co.add_str_column(name, nested=kind != "text")
        case "bytes":
            co.add_bytes_column(name)
        case "variable":
            co.add_ndarray_column(name, (None, 3), "f4", variable_shape=True)
        case "image":
            co.add_ndarray_column(name, (9, 9), "u1")
        case _:
            co.add_ndarray_column(name, (), "i8", nested=kind == "nested")


def is_nested(kind: str) -> bool:
    return kind.startswith("nested")


def kind_of(column: Any) -> str:
    nested = "nested" if column.is_nested else ""
    if column.kind == "str":
        return f"{nested} text".strip()
    if column.kind == "bytes":
        return "bytes"
    return nested or ("label" if not column.shape else "image" if column.shape[0] else "variable")


def value_of(kind: str, number: int) -> Any:
    match kind:
        case "text" | "nested text":
            return str(number) * (LONG if number % 2 else 1)
        case "bytes":
            return bytes([number]) * (LONG if number % 2 else 0) + bytes([number])
        case "variable":
            return np.full((number, 3), number, np.float32)
        case "image":
            return np.full((9, 9), number, np.uint8)
        case _:
            return number


def number_of(kind: str, value: Any) -> int:
    """Return the number, after a look at the whole value."""
    match kind:
        case "text" | "nested text":
            number = int(value[0])
        case "bytes":
            number = value[0]
        case "variable":
            number = len(value)
        case _:
            number = int(np.asarray(value).flat[0])
    np.testing.assert_array_equal(np.asarray(value), np.asarray(value_of(kind, number)))
    return number


def subsamples_of(kind: str, number: int) -> dict[Any, Any]:
    """Return what a whole sample of a nested column is set to."""
    return {sub: value_of(kind, n) for sub, n in sub_numbers(number).items()}


def sub_numbers(number: int) -> dict[Any, int]:
    return {"s": number, 1: number + 1} if number else {"s": 0}


def content_of(co: Any) -> model.Content:
    """Read a checkout or an editor by its items."""
    found: model.Content = {}
    for name in co:
        column = co[name]
        kind = kind_of(column)
        numbers: dict[Any, int] = {}
        for key, value in column.items():
            if is_nested(kind):
                numbers |= {(key, sub): number_of(kind, v) for sub, v in value.items()}
            else:
                numbers[key] = number_of(kind, value)
        found[name] = (kind, numbers)
    return found


def check_every_read(co: Any, content: model.Content) -> None:
    """Compare with a content by key, by keys, by slice and by position, and what is absent."""
    assert list(co) == sorted(content)
    for name, (kind, numbers) in content.items():
        column = co[name]
        assert kind_of(column) == kind
        check = _check_nested if is_nested(kind) else _check_plain
        check(column, kind, numbers)
        assert "absent" not in column
        assert -99 not in column


def _check_plain(column: Any, kind: str, numbers: Mapping[Any, int]) -> None:
    keys = model.in_key_order(numbers)
    expected = [numbers[key] for key in keys]

    def seen(values: Any) -> list[int]:
        return [number_of(kind, value) for value in values]

    assert len(column) == len(keys)
    assert list(column.keys()) == list(column) == keys
    assert all(key in column for key in keys)
    assert seen(column[key] for key in keys) == expected
    assert seen(column.values()) == expected
    assert seen(column[keys[::-1]]) == expected[::-1]
    for cut in (slice(None), slice(1, -1), slice(None, None, -2)):
        assert seen(column[cut]) == expected[cut]
    positions = [*range(len(keys)), *range(len(keys))][::-1]
    assert seen(column.read(positions)) == (expected * 2)[::-1]
    assert list(column.positions(keys)) == list(range(len(keys)))
    if kind in ("label", "image"):
        out = np.empty((len(keys), *column.shape), column.dtype)
        assert column.read(range(len(keys)), out=out) is out
        assert seen(out) == expected
    with pytest.raises(SampleNotFoundError):
        column["absent"]


def _check_nested(column: Any, kind: str, numbers: Mapping[Any, int]) -> None:
    samples: dict[Any, dict[Any, int]] = {}
    for key, sub in model.in_key_order(numbers):
        samples.setdefault(key, {})[sub] = numbers[key, sub]
    assert len(column) == len(samples)
    assert list(column.keys()) == list(samples)
    assert column.subsample_count == len(numbers)
    for key, subs in samples.items():
        assert key in column
        found = column[key]
        assert {sub: number_of(kind, found[sub]) for sub in found} == subs
        assert list(found) == list(subs)
        assert [number_of(kind, value) for value in found.read()] == list(subs.values())
        assert "absent" not in found
        with pytest.raises(SampleNotFoundError):
            found["absent"]
