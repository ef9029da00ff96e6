"""One changed sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorvcs.history.difference.sample_change import SampleChange

PICTURE = np.arange(36, dtype=np.uint8).reshape(6, 6)


def test_signs_and_sizes() -> None:
    assert SampleChange("a", None, "x").sign == "+"
    assert SampleChange("a", "x", None).sign == "-"
    assert SampleChange("a", None, "x").size is None
    assert SampleChange("a", "x", None).size is None
    changed = SampleChange("a", PICTURE, PICTURE + np.uint8(2))
    assert changed.sign == "~"
    assert changed.size is not None
    assert changed.size.max_absolute == 2


def test_distances_have_the_shape_of_the_values() -> None:
    found = SampleChange("a", PICTURE, PICTURE[::-1]).distances()
    assert found is not None
    assert found.dtype == np.float64
    assert np.array_equal(found, np.abs(PICTURE.astype(int) - PICTURE[::-1]))
    scalar = SampleChange("a", np.array(3), np.array(-4)).distances()
    assert scalar is not None
    assert scalar.shape == ()
    assert scalar == 7


@pytest.mark.parametrize(
    ("before", "after"),
    [("x", "y"), (None, PICTURE), (PICTURE, None), (PICTURE, PICTURE[:5])],
)
def test_nothing_is_apart_where_elements_have_no_pair(before: Any, after: Any) -> None:
    assert SampleChange("a", before, after).distances() is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (SampleChange("a", None, "x" * 50), "<SampleChange + 'a': " + "x" * 39 + "…>"),
        (SampleChange(("s", 1), b"a", None), "<SampleChange - ('s', 1): 1 bytes: 61>"),
        (SampleChange(1, "ab", "ac"), "<SampleChange ~ 1: ab → ac (50 % changed)>"),
        (
            SampleChange(1, np.array(1), np.array(4)),
            "<SampleChange ~ 1: 1 → 4 (l2 3, max 3, mean 3, 100 % changed)>",
        ),
    ],
)
def test_a_change_in_a_line(change: SampleChange, text: str) -> None:
    assert repr(change) == text


def test_a_change_as_a_row_of_pictures() -> None:
    page = SampleChange("<a>", PICTURE, PICTURE + np.uint8(1))._repr_html_()
    assert page.count("data:image/png") == 3
    assert "&lt;a&gt;" in page
    assert "psnr" in page
    added = SampleChange("a", None, PICTURE)._repr_html_()
    assert added.count("data:image/png") == 1
    other_shape = SampleChange("a", PICTURE, PICTURE[:5])._repr_html_()
    assert other_shape.count("data:image/png") == 2
    texts = SampleChange("a", "<b>", "<c>")._repr_html_()
    assert "&lt;b&gt;" in texts
    assert "data:image" not in texts


def test_both_sides_have_one_scale() -> None:
    low = np.zeros((4, 4), np.float32)
    high = low.copy()
    low[0, 0], high[0, 0] = 1, 100
    white = SampleChange("a", high, high)._repr_html_().split("base64,")[1][:200]
    sides = SampleChange("a", low, high)._repr_html_().split("base64,")
    assert sides[2][:200] == white
    assert sides[1][:200] != white
