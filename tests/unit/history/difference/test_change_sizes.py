"""How large changes are, one and many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorvcs.history.difference.change_sizes import (
    ChangeHistogram,
    ChangeSizes,
    measure_values,
    size_of,
)
from tensorvcs.history.difference.changed_keys import ChangedKeys
from tensorvcs.history.difference.distances import MEASURES
from tensorvcs.objects.keys import EMPTY_TEXTS, Keys

NAN, INF = float("nan"), float("inf")


def sizes_of(l2: list[float], fractions: list[float] | None = None) -> ChangeSizes:
    """Return sizes of keys 0 to n with these figures."""
    figures = np.full((len(l2), len(MEASURES)), NAN)
    figures[:, 2] = l2
    figures[:, 3] = fractions or [1.0] * len(l2)
    keys = Keys(np.arange(len(l2)), EMPTY_TEXTS)
    return ChangeSizes(ChangedKeys(keys, nested=False), figures)


def test_the_size_of_one_change() -> None:
    size = size_of(np.array([1, 2, 3, 4], np.uint8), np.array([1, 2, 0, 8], np.uint8))
    assert (size.max_absolute, size.mean_absolute, size.l2) == (4, 7 / 4, 5)
    assert (size.changed_fraction, size.psnr) == (0.5, None)
    assert str(size) == "l2 5, max 4, mean 1.75, 50 % changed"
    picture = np.zeros((4, 4), np.uint8)
    assert str(size_of(picture, picture + np.uint8(255))).endswith(", psnr 0 dB")


@pytest.mark.parametrize(
    ("before", "after", "fraction"),
    [
        ("abcd", "abxd", 0.25),
        (b"ab", b"cd", 1.0),
        (np.zeros((2, 3)), np.zeros((3, 2)), 1.0),
        (np.zeros((2, 0)), np.zeros((3, 0)), 1.0),
    ],
)
def test_texts_and_other_shapes_have_no_distance(before: Any, after: Any, fraction: float) -> None:
    size = size_of(before, after)
    assert (size.max_absolute, size.mean_absolute, size.l2, size.psnr) == (None,) * 4
    assert size.changed_fraction == fraction
    assert str(size) == f"{100 * fraction:.3g} % changed"


def test_arrays_of_any_memory_order_and_no_axes() -> None:
    square = np.arange(6.0).reshape(2, 3)
    assert size_of(np.asfortranarray(square), square + 1).max_absolute == 1
    assert size_of(np.array(1), np.array(-2)).l2 == 3
    assert size_of(np.array(1, np.uint8), np.array(3, np.uint8)).psnr is None


def test_values_of_many_shapes_are_measured_pair_by_pair() -> None:
    before = [np.zeros(2), np.zeros(3), np.zeros(2), np.zeros(2)]
    after = [np.ones(2), np.ones(3) * 2, np.ones(4), np.ones(2) * 3]
    found = measure_values(before, after)
    assert found[:, 0].tolist()[:2] == [1, 2]
    assert np.isnan(found[2, :3]).all()
    assert found[3, 0] == 3
    # A column whose fixed shape was changed has two stacks.
    other = measure_values(np.zeros((2, 3)), np.zeros((2, 4)))
    assert other[:, 3].tolist() == [1, 1]
    assert np.isnan(other[:, 2]).all()


def test_the_largest_comes_first() -> None:
    sizes = sizes_of([1, NAN, 5, INF, 5, 0], [1, 1, 0.5, 0.25, 0.75, 1])
    assert sizes.largest_first().tolist() == [1, 3, 4, 2, 0, 5]
    texts = sizes_of([NAN] * 4, [0.5, 1, 0.5, 0.1])
    assert texts.largest_first().tolist() == [1, 0, 2, 3]


def test_a_part_and_one_of_the_sizes() -> None:
    sizes = sizes_of([3, 2, NAN])
    assert len(sizes) == 3
    assert sizes[1].l2 == 2
    assert sizes[2].l2 is None
    first = sizes.first(2)
    assert (len(first), list(first.keys)) == (2, [0, 1])
    assert first.l2.tolist() == [3, 2]
    with pytest.raises(IndexError):
        sizes[3]


def test_a_histogram_has_a_bin_for_each_decade() -> None:
    found = sizes_of([0, 1, 9.99, 10, 1000, 5000, INF, NAN]).histogram()
    assert found == ChangeHistogram("l2", (1, 10, 100, 1000, 10000), (3, 1, 0, 2), 2)
    assert str(found) == "l2 1 █▃·▆ 10000, 2 infinite or of another shape"
    assert found._repr_html_() == f"<code>{found}</code>"
    assert sizes_of([0.01]).histogram().edges == (0.01, 0.1)


@pytest.mark.parametrize("power", range(-20, 21))
def test_the_edge_of_a_decade_is_in_it(power: int) -> None:
    edge = float(f"1e{power}")
    found = sizes_of([edge, np.nextafter(edge, 0), 9.99 * edge]).histogram()
    assert found.edges[-2:] == (edge, float(f"1e{power + 1}"))
    assert found.counts == (1, 2)


def test_a_histogram_of_many_decades_is_cut_below() -> None:
    found = sizes_of([1e-300, 1e-5, 1.5, 1e10]).histogram()
    assert len(found.counts) == 16
    assert found.edges[0] == 1e-5
    assert found.counts[0] == 2
    assert sum(found.counts) == 4


@pytest.mark.parametrize("sizes", [sizes_of([1e308, 5e-324]), sizes_of([1.7e308])])
def test_a_histogram_of_the_ends_of_float64(sizes: ChangeSizes) -> None:
    assert sum(sizes.histogram().counts) == len(sizes)


def test_a_histogram_without_distances() -> None:
    tenths = sizes_of([NAN] * 4, [0.05, 0.1, 0.95, 1]).histogram()
    assert tenths.measure == "changed_fraction"
    assert tenths.counts == (1, 1, 0, 0, 0, 0, 0, 0, 0, 2)
    assert sizes_of([0, 0, INF]).histogram() == ChangeHistogram("l2", (0, 1), (2,), 1)
    assert sizes_of([INF]).histogram().counts == (0,)
    assert sum(sizes_of([]).histogram().counts) == 0


def test_sizes_show_the_largest() -> None:
    sizes = sizes_of([float(at) for at in range(20)])
    assert repr(sizes) == "<ChangeSizes of 20 samples: l2 1 ██ 100>"
    page = sizes._repr_html_()
    assert page.index(">19<") < page.index(">18<")
    assert ">11<" not in page
    assert "…" in page
    assert "…" not in sizes_of([1.0])._repr_html_()
