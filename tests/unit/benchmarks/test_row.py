"""Rows and tables of the benchmarks."""

from __future__ import annotations

import pytest

from benchmarks.row import HEADINGS, Bar, Row, Unit, markdown_table, spell, text_table

AT_LEAST = Bar("at least", 0.9)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2_345_678.0, "samples/s", "2.35 M/s"),
        (56_700.0, "samples/s", "56.7 k/s"),
        (622.4, "samples/s", "622 /s"),
        (1.5, "s", "1.50 s"),
        (0.0123, "s", "12.3 ms"),
        (0.000512, "s", "512 µs"),
        (187e6, "bytes", "187 MB"),
        (44.04, "bytes", "44.0 B"),
        (0.953, "x", "0.95 ×"),
        (0.003, "x", "0.003 ×"),
        (None, "s", "absent"),
    ],
)
def test_figures_are_spelled_with_their_unit(value: float | None, unit: Unit, text: str) -> None:
    assert spell(value, unit) == text


def test_a_bar_on_the_ratio_is_held_against_ours_by_the_baseline() -> None:
    assert Row("read", "samples/s", 95.0, "memmap", 100.0, AT_LEAST).is_met is True
    assert Row("read", "samples/s", 85.0, "memmap", 100.0, AT_LEAST).is_met is False


def test_a_bar_on_the_figure_needs_no_baseline() -> None:
    bar = Bar("at most", 0.010, "figure")
    assert Row("commit", "s", 0.010, bar=bar).is_met is True
    assert Row("commit", "s", 0.011, bar=bar).is_met is False


@pytest.mark.parametrize(
    "row",
    [
        Row("read", "samples/s", None, "memmap", 100.0, AT_LEAST),
        Row("read", "samples/s", 95.0, "Hangar", None, AT_LEAST),
    ],
)
def test_a_figure_that_is_absent_neither_meets_nor_misses(row: Row) -> None:
    assert row.is_met is None
    assert row.cells()[-1] == "absent"


def test_a_row_without_a_bar_says_nothing_about_it() -> None:
    assert Row("read", "samples/s", 95.0, "h5py", 1.0).cells()[-2:] == ("", "")


def test_the_markdown_table_has_a_cell_under_each_heading() -> None:
    rows = [
        Row("read", "samples/s", 95.0, "memmap", 100.0, AT_LEAST, "warm"),
        Row("commit", "s", 0.002),
    ]
    lines = markdown_table(rows).splitlines()
    assert {line.count("|") for line in lines} == {len(HEADINGS) + 1}
    assert lines[2] == "| read (warm) | 95.0 /s | memmap | 100 /s | 0.95 × | ≥ 0.90 × | yes |"


def test_the_text_table_is_aligned() -> None:
    lines = text_table([Row("a long name of some work", "s", 0.002), Row("b", "s", 1.0)])
    starts = {
        line.find(text) for line, text in zip(lines.splitlines(), ("T", "2", "1"), strict=True)
    }
    assert len(starts) == 1
