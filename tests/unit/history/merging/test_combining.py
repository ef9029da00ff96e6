from __future__ import annotations

import math
import shutil
import subprocess
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.history.merging import combining
from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name
from tests.strategies import SHAPES, arrays

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INTS = [name for name in DTYPE_NAMES if "int" in name]
FLOATS = [name for name in DTYPE_NAMES if "float" in name]


@st.composite
def stacks(draw: st.DrawFn, names: list[str], count: int = 2) -> list[NDArray[Any]]:
    """Arrays of one dtype and shape with any bits, which often agree."""
    name = draw(st.sampled_from(names))
    shape = (draw(st.integers(1, 3)), *draw(SHAPES))
    first = draw(arrays(name, shape))
    others = [draw(arrays(name, shape)) for _ in range(count - 1)]
    for other in others:
        keep = draw(st.lists(st.booleans(), min_size=first.size, max_size=first.size))
        chosen = np.array(keep, bool).reshape(shape)
        other[chosen] = first[chosen]
    return [first, *others]


def bits(array: NDArray[Any]) -> list[bytes]:
    """The bits of each element."""
    width = array.dtype.itemsize
    content = np.ascontiguousarray(array).tobytes()
    return [content[at : at + width] for at in range(0, len(content), width)]


def wide_of(side: NDArray[Any]) -> NDArray[Any]:
    """An array whose elements Python can compare, without an axis."""
    return side.reshape(-1).astype(side.dtype if side.dtype.kind in "biu" else np.float64)


@given(stacks(list(DTYPE_NAMES)))
def test_elements_are_the_same_when_their_bits_are(pair: list[NDArray[Any]]) -> None:
    left, right = pair
    same = combining.same_bits(left, right)
    assert same.shape == left.shape
    assert same.reshape(-1).tolist() == [
        a == b for a, b in zip(bits(left), bits(right), strict=True)
    ]


@given(stacks(INTS))
def test_the_mean_of_ints_is_exact_and_halves_go_to_the_even(pair: list[NDArray[Any]]) -> None:
    ours, theirs = pair
    mean = combining.mean(ours, theirs)
    assert (mean.dtype, mean.shape) == (ours.dtype, ours.shape)
    expected = [
        round(Fraction(a + b, 2))
        for a, b in zip(ours.reshape(-1).tolist(), theirs.reshape(-1).tolist(), strict=True)
    ]
    assert mean.reshape(-1).tolist() == expected


@given(stacks([name for name in FLOATS if name != "float64"]))
def test_the_mean_of_small_floats_is_the_nearest(pair: list[NDArray[Any]]) -> None:
    ours, theirs = pair
    mean = combining.mean(ours, theirs)
    with np.errstate(all="ignore"):
        wide = (ours.astype(np.float64) + theirs.astype(np.float64)) / 2
        expected = wide.astype(ours.dtype)
    both = zip(bits(ours), bits(theirs), bits(mean), bits(expected), strict=True)
    is_nan = [math.isnan(part) for part in expected.reshape(-1).tolist()]
    for (a, b, got, nearest), nan in zip(both, is_nan, strict=True):
        assert got == (a if a == b else got if nan else nearest)
    assert [math.isnan(part) for part in mean.reshape(-1).tolist()] == is_nan


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_the_mean_of_floats_lies_between_them(a: float, b: float) -> None:
    (mean,) = combining.mean(np.array([a]), np.array([b])).tolist()
    if np.isinf(a) and np.isinf(b) and a != b:
        assert np.isnan(mean)
        return
    assert min(a, b) <= mean <= max(a, b)
    if not np.isinf([a, b]).any():
        exact = (Fraction(a) + Fraction(b)) / 2
        assert abs(Fraction(mean) - exact) <= max(abs(exact) / 2**52, Fraction(5e-324))


def test_the_mean_of_large_numbers_does_not_overflow() -> None:
    large = np.array([1.7e308, 1.7e308])
    assert combining.mean(large, np.array([1.5e308, 1.7e308])).tolist() == [
        1.7e308 / 2 + 1.5e308 / 2,
        1.7e308,
    ]
    top = np.array([2**64 - 1, 2**64 - 1], np.uint64)
    assert combining.mean(top, np.array([2**64 - 2, 0], np.uint64)).tolist() == [
        2**64 - 2,
        2**63,
    ]
    low = np.array([-(2**63)], np.int64)
    assert combining.mean(low, np.array([2**63 - 1], np.int64)).tolist() == [0]


def test_the_mean_of_complex_numbers_is_that_of_their_parts() -> None:
    for name in ("complex64", "complex128"):
        ours, theirs = (np.array([[x]], name) for x in (1 + 2j, 4 - 2j))
        mean = combining.mean(ours, theirs)
        assert (mean.dtype, mean.tolist()) == (ours.dtype, [[2.5 + 0j]])


@given(stacks([name for name in DTYPE_NAMES if not name.startswith("complex")]))
def test_the_largest_is_one_of_both_and_no_smaller(pair: list[NDArray[Any]]) -> None:
    ours, theirs = pair
    largest = combining.largest(ours, theirs)
    other = combining.largest(theirs, ours)
    assert (largest.dtype, largest.shape) == (ours.dtype, ours.shape)
    with np.errstate(invalid="ignore"):
        wide = [wide_of(side) for side in (ours, theirs, largest)]
    rows = zip(
        *(side.tolist() for side in wide), *map(bits, (ours, theirs, largest, other)), strict=True
    )
    for a, b, got, a_bits, b_bits, got_bits, other_bits in rows:
        assert got_bits in (a_bits, b_bits)
        if math.isnan(a) or math.isnan(b):
            assert math.isnan(got)
            continue
        assert got == max(a, b)
        assert got_bits == other_bits


def test_zero_is_larger_than_minus_zero() -> None:
    for name in FLOATS:
        if "fnuz" in name or "e8m0" in name:
            continue  # they have no -0.0
        pair = [np.array([x], dtype_from_name(name)) for x in (-0.0, 0.0)]
        assert (
            bits(combining.largest(*pair)) == bits(combining.largest(*pair[::-1])) == bits(pair[1])
        )


@given(stacks(list(DTYPE_NAMES), count=3))
def test_the_majority_is_what_two_of_three_have(three: list[NDArray[Any]]) -> None:
    base, ours, theirs = three
    rows, is_settled = combining.majority(base, ours, theirs)
    assert (rows.dtype, rows.shape, is_settled.shape) == (base.dtype, base.shape, (len(base),))
    for at in range(len(base)):
        votes = list(zip(*(bits(side[at]) for side in three), strict=True))
        assert is_settled[at] == all(len(set(vote)) < 3 for vote in votes)
        for got, vote in zip(bits(rows[at]), votes, strict=True):
            if len(set(vote)) < 3:
                assert vote.count(got) >= 2


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=5),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=5),
)
def test_the_union_of_rows_has_each_row_of_both(ours: list[Any], theirs: list[Any]) -> None:
    sides = [np.array(rows, np.float32).reshape(-1, 2) for rows in (ours, theirs)]
    union = combining.union_rows(*sides)
    assert union is not None
    assert union.dtype == np.float32
    expected = [*ours, *(row for row in theirs if row not in ours)]
    assert list(map(tuple, union.tolist())) == expected


def test_rows_of_different_shapes_have_no_union() -> None:
    assert combining.union_rows(np.zeros((1, 2)), np.zeros((1, 3))) is None
    assert combining.union_rows(np.zeros(()), np.zeros(())) is None
    empty = combining.union_rows(np.zeros((0, 3)), np.zeros((2, 3)))
    assert empty is not None
    assert empty.shape == (2, 3)
    flat = combining.union_rows(np.zeros((1, 0)), np.zeros((2, 0)))
    assert flat is not None
    assert flat.shape == (1, 0)


TEXTS = [
    # base, ours, theirs, union
    ("", "", "", ""),
    ("a\n", "a\n", "b\n", "b\n"),
    ("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n", "a\nc\nd\n"),
    ("a\nb\nc\n", "a\nx\nc\n", "a\ny\nc\n", "a\nx\ny\nc\n"),
    ("a\nb\n", "a\n", "a\nx\n", "a\nx\n"),
    ("", "x\ny\n", "x\nz\n", "x\ny\nz\n"),
    ("", "y\nx\n", "z\nx\n", "y\nz\nx\n"),
    ("", "x", "y", "x\ny"),
    ("", "x\n", "y", "x\ny"),
    ("a", "a\nb", "a\nc", "a\nb\nc"),
    ("a\n", "b\n", "b\n", "b\n"),
    ("one two", "one two three", "two", "one two three\ntwo"),
    ("1\n2\n3\n4\n5\n", "0\n1\n2\n3\n4\n5\n", "1\n2\n3\n4\n5\n6\n", "0\n1\n2\n3\n4\n5\n6\n"),
    ("a\r\nb\r\n", "a\r\nc\r\n", "a\r\nd\r\n", "a\r\nc\r\nd\r\n"),
]


@pytest.mark.parametrize(("base", "ours", "theirs", "union"), TEXTS)
def test_the_union_of_lines(base: str, ours: str, theirs: str, union: str) -> None:
    assert combining.union_lines(base, ours, theirs) == union


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize(("base", "ours", "theirs", "union"), TEXTS)
def test_the_union_of_lines_is_that_of_git(
    tmp_path: Path, base: str, ours: str, theirs: str, union: str
) -> None:
    files = [tmp_path / name for name in ("ours", "base", "theirs")]
    for file, text in zip(files, (ours, base, theirs), strict=True):
        file.write_bytes(text.encode())
    done = subprocess.run(
        ["git", "merge-file", "-p", "--union", *map(str, files)], capture_output=True, check=True
    )
    assert done.stdout.decode() == union


LINES = st.lists(st.sampled_from("abc"), max_size=6).map(
    lambda lines: "".join(f"{c}\n" for c in lines)
)


@given(LINES, LINES, LINES)
def test_the_union_of_lines_is_a_merge(base: str, ours: str, theirs: str) -> None:
    union = combining.union_lines(base, ours, theirs)
    assert combining.union_lines(base, ours, base) == ours
    assert combining.union_lines(base, base, theirs) == theirs
    assert combining.union_lines(base, ours, ours) == ours
    # A line that is not in the base and came on a side is in the union.
    added = [line for line in {*ours.split(), *theirs.split()} if line not in base.split()]
    assert {*added} <= {*union.split()} <= {*base.split(), *ours.split(), *theirs.split()}
