"""How samples look, in a file and on a terminal with colours."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import numpy as np
import pytest

from cli.output import Output
from cli.samples import change_lines, value_lines
from tensorvcs import SampleChange

PICTURE = np.repeat(np.arange(0, 250, 10, dtype=np.uint8)[None], 25, axis=0)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def coloured() -> Output:
    """An output that writes colours; 80 letters wide, since it is no terminal later."""
    with redirect_stdout(Terminal()):
        return Output(has_colour=True)


def test_a_terminal_has_its_own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    with redirect_stdout(Terminal()):
        assert Output().width == 33
    with redirect_stdout(io.StringIO()):
        assert Output().width == 80


def test_pictures_have_the_colours_of_the_terminal(coloured: Output) -> None:
    lines = list(value_lines(coloured, PICTURE))
    assert lines[2].startswith("\x1b[38;2;0;0;0;48;2;0;0;0m▀\x1b[38;2;10;10;10;48;2;10;10;10m▀")
    assert all(line.endswith("▀\x1b[0m") for line in lines[2:])
    assert len(lines) == 2 + 13
    plain = list(value_lines(Output(), PICTURE))
    assert "\x1b" not in "".join(plain)
    assert len(plain) == len(lines)


def test_a_terminal_without_unicode_has_shades(
    coloured: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert "\x1b" not in "".join(value_lines(coloured, PICTURE))


def test_three_pictures_of_a_change_fit_the_line(coloured: Output) -> None:
    wide = np.tile(PICTURE, (1, 8))
    head, *lines = change_lines(coloured, SampleChange("a", wide, wide[:, ::-1]))
    assert head.startswith("  \x1b[33m~ a\x1b[0m  l2 ")
    assert {line.count("▀") for line in lines} == {3 * 24}
    assert len(lines) <= 16


def test_both_pictures_have_one_scale() -> None:
    low, high = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    low[0], high[0] = 3, 10
    _, first, *_ = change_lines(Output(), SampleChange("a", low, high))
    before, after = first[4:28], first[30:54]
    assert set(before) == {":"}
    assert set(after) == {"@"}


@pytest.mark.parametrize(
    ("before", "after"), [(PICTURE, PICTURE[0]), (PICTURE[0], PICTURE), (PICTURE[:2], PICTURE)]
)
def test_a_picture_and_something_else_are_text(before: object, after: object) -> None:
    lines = list(change_lines(Output(), SampleChange("a", before, after)))
    assert len(lines) == 3
    assert lines[1].startswith("    - [")
    assert lines[2].startswith("    + [")


def test_texts_that_differ_late_are_shown_from_there() -> None:
    start = "word " * 40
    (line,) = change_lines(Output(), SampleChange(1, start, start + "end"))
    assert line == (
        "  ~ 1  …word word word word  → …word word word word end"
        "  (200 characters → 203 characters, 1.48 % changed)"
    )
