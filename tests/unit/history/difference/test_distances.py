"""Distances and figures of changes, against numbers of Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.history.difference import distances
from tensorvcs.history.difference.distances import (
    changed_text_fraction,
    element_distances,
    measure_rows,
)
from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name
from tests.strategies import arrays

PAIRS = st.sampled_from(DTYPE_NAMES).flatmap(
    lambda name: st.lists(st.integers(1, 4), max_size=3).flatmap(
        lambda shape: st.tuples(
            arrays(dtype=name, shape=(3, *shape)), arrays(dtype=name, shape=(3, *shape))
        )
    )
)


def plain_number(element: Any) -> Any:
    """Return an element as a number of Python, which is exact for ints."""
    if element.dtype.kind in "bui":
        return int(element)
    return complex(element) if element.dtype.kind == "c" else float(element)


def plain_distance(before: Any, after: Any) -> Any:
    old, new = plain_number(before), plain_number(after)
    if isinstance(old, int):
        return abs(old - new)
    is_nan = [any(math.isnan(p) for p in (x.real, x.imag)) for x in (old, new)]
    if all(is_nan) or before.tobytes() == after.tobytes():
        return 0.0
    if any(is_nan):
        return math.inf
    apart = complex(old.real - new.real, old.imag - new.imag)
    if math.isnan(apart.real) or math.isnan(apart.imag):
        return math.inf
    return math.hypot(apart.real, apart.imag)


@given(PAIRS)
def test_figures_are_those_of_numbers_of_python(pair: tuple[Any, Any]) -> None:
    before, after = pair
    found = measure_rows(before, after)
    assert found.shape == (3, 5)
    for row, old, new in zip(found, before, after, strict=True):
        olds, news = old.reshape(-1), new.reshape(-1)
        apart = [plain_distance(olds[at], news[at]) for at in range(len(olds))]
        changed = [olds[at].tobytes() != news[at].tobytes() for at in range(len(olds))]
        largest = max(apart)
        norm = math.inf
        if largest < math.inf:
            norm = float(largest) and float(largest) * math.sqrt(
                sum((float(d) / float(largest)) ** 2 for d in apart)
            )
        assert math.isclose(row[0], float(largest), rel_tol=1e-12)
        if largest < 1e300:
            assert math.isclose(row[1], sum(map(float, apart)) / len(apart), rel_tol=1e-12)
        assert math.isclose(row[2], norm, rel_tol=1e-12)
        assert row[3] == sum(changed) / len(changed)
        assert math.isnan(row[4]) == (before.dtype != np.uint8 or before.ndim not in (3, 4))


@given(PAIRS)
def test_distances_are_the_same_both_ways(pair: tuple[Any, Any]) -> None:
    before, after = pair
    for there, back in zip(
        element_distances(before, after), element_distances(after, before), strict=True
    ):
        assert np.array_equal(there, back)
    assert not measure_rows(before, before)[:, :4].any()


@pytest.mark.parametrize(
    ("dtype", "before", "after", "apart"),
    [
        ("uint8", 0, 255, 255),
        ("uint8", 255, 0, 255),
        ("int8", -128, 127, 255),
        ("int64", -(2**63), 2**63 - 1, 2**64 - 1),
        ("int64", 2**62, 2**62 + 1, 1),
        ("uint64", 2**64 - 1, 0, 2**64 - 1),
        ("bool", True, False, 1),
        ("float16", -65504, 65504, 131008),
        ("bfloat16", -256, 256, 512),
        ("float64", -0.0, 0.0, 0),
        ("complex64", 3, 4j, 5),
        ("float32", np.nan, 1, np.inf),
        ("float32", np.inf, -np.inf, np.inf),
        ("float32", np.inf, 3, np.inf),
        ("complex128", complex(np.nan, 1), 1, np.inf),
    ],
)
def test_nothing_wraps_and_nan_is_far(dtype: str, before: Any, after: Any, apart: float) -> None:
    made = dtype_from_name(dtype)
    old, new = np.array([[before]]).astype(made), np.array([[after]]).astype(made)
    if dtype == "uint64":
        old, new = np.array([[before]], made), np.array([[after]], made)
    largest, mean, l2, fraction, _ = measure_rows(old, new)[0]
    assert (largest, mean, l2, fraction) == (apart, apart, apart, 1)


def test_nan_with_other_bits_is_changed_and_not_apart() -> None:
    before = np.array([0x7FC00000, 0x7FC00000], np.uint32).view(np.float32)[None]
    after = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)[None]
    assert measure_rows(before, after)[0, :4].tolist() == [0, 0, 0, 0.5]


@pytest.mark.parametrize("scale", [1e-200, 1e200, 5e307])
def test_squares_beyond_float64_are_no_loss(scale: float) -> None:
    before = np.zeros((2, 4))
    after = np.array([[0.75, 1, 0, 0], [0, 0, 0, 0]]) * scale
    found = measure_rows(before, after)
    assert np.allclose(found[0, :3] / scale, [1, 7 / 16, 1.25], rtol=1e-12)
    assert not found[1, :4].any()


def test_a_mean_beyond_float64_in_its_sum_is_no_loss() -> None:
    found = measure_rows(np.zeros((1, 4)), np.full((1, 4), 1e308))
    assert found[0, 1] == pytest.approx(1e308)
    # The norm itself is beyond float64 where even the scaled one is.
    assert measure_rows(np.zeros((1, 400)), np.full((1, 400), 1e308))[0, 2] == np.inf


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int16"])
def test_large_values_are_measured_piece_by_piece(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    before, after = rng.integers(0, 100, (2, 7, 5, 4, 3)).astype(dtype)
    whole = measure_rows(before, after)
    for piece in (1, 7, 60, 200):
        monkeypatch.setattr(distances, "_PIECE_ELEMENTS", piece)
        assert np.allclose(measure_rows(before, after), whole, rtol=1e-12, equal_nan=True)


def test_lost_squares_are_repaired_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = np.zeros((1, 5)), np.array([[3e200, 0, 0, 0, 4e200]])
    monkeypatch.setattr(distances, "_PIECE_ELEMENTS", 2)
    assert measure_rows(before, after)[0, :3] == pytest.approx([4e200, 1.4e200, 5e200])


def test_full_pieces_of_the_farthest_bytes_do_not_wrap() -> None:
    shape = (1, 1 << 16, 1)
    found = measure_rows(np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8))
    assert found[0].tolist() == [255, 255, 255 * 256, 1, 0]


def test_the_psnr_is_that_of_pictures() -> None:
    before = np.zeros((1, 10, 10), np.uint8)
    after = before.copy()
    after[0, 0, 0] = 10
    assert measure_rows(before, after)[0, 4] == pytest.approx(10 * np.log10(255**2 / 1))
    flat = measure_rows(before.reshape(1, 100), after.reshape(1, 100))
    assert np.isnan(flat[0, 4])


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (2, 4, 0)])
def test_nothing_is_not_apart(shape: tuple[int, ...]) -> None:
    found = measure_rows(np.zeros(shape), np.zeros(shape))
    assert found.shape == (shape[0], 5)
    assert not found[:, :4].any()


@pytest.mark.parametrize(
    ("before", "after", "fraction"),
    [
        ("", "", 0),
        ("", "abc", 1),
        ("abc", "", 1),
        ("abc", "abd", 1 / 3),
        ("a cat sat", "a dog sat", 3 / 9),
        ("aaa", "aa", 1 / 3),
        ("xaybz", "xbyaz", 2 / 5),
        (b"\0\1\2\3", b"\0\1\3\3", 1 / 4),
        ("a" * 1000 + "b" + "c" * 1000, "a" * 1000 + "c" * 1000, 1 / 2001),
        # Too long a middle is not compared.
        ("x" + "ab" * 200 + "x", "y" + "ab" * 200 + "y", 1),
    ],
)
def test_the_changed_part_of_a_text(before: Any, after: Any, fraction: float) -> None:
    assert changed_text_fraction(before, after) == pytest.approx(fraction)


@given(st.text("ab", max_size=8), st.text("ab", max_size=8))
def test_the_changed_part_is_a_fraction(before: str, after: str) -> None:
    found = changed_text_fraction(before, after)
    assert (found == 0) == (before == after)
    assert 0 <= found <= 1
    assert changed_text_fraction(before + "c", "c" + after) > 0 or before + "c" == "c" + after
