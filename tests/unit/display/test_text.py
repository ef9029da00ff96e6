"""Values in a few words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorvcs.display.text import ArraySummary, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array(3), "3"),
        (np.float32(0.5), "0.5"),
        (np.arange(4).reshape(2, 2), "[[0 1] [2 3]]"),
        (np.arange(100), "[ 0 1 2 ... 97 98 99]"),
        ("two\nlines", "two\nlines"),
        (b"", "0 bytes: "),
        (bytes(17), "17 bytes: " + " ".join(["00"] * 16) + " …"),
    ],
)
def test_a_value_in_a_line(value: Any, text: str) -> None:
    assert value_text(value) == text


def test_a_value_is_cut() -> None:
    assert value_text("abcdef", 4) == "abc…"
    assert value_text("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([1, 2, 3], np.uint8), "min 1, max 3, mean 2, std 0.8165"),
        (np.array([True, False]), "min 0, max 1, mean 0.5, std 0.5"),
        (np.array([1, np.nan, np.inf, 3]), "min 1, max 3, mean 2, std 1, 1 NaN, 1 infinite"),
        (np.array([np.nan]), "1 NaN"),
        (np.zeros((0, 3)), "no elements"),
    ],
)
def test_an_array_in_numbers(value: Any, text: str) -> None:
    assert str(ArraySummary.of(value)) == text


def test_numbers_of_other_dtypes() -> None:
    assert ArraySummary.of(np.array([1j])) is None
    ml_dtypes = pytest.importorskip("ml_dtypes")
    found = ArraySummary.of(np.array([1, -2], ml_dtypes.bfloat16))
    assert found is not None
    assert (found.minimum, found.maximum) == (-2, 1)
    huge = ArraySummary.of(np.array([1e308, -1e308, 1.5e308]))
    assert huge is not None
    assert huge.maximum == 1.5e308
