"""Pictures and bars in letters."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tensorvcs.display.terminal import picture_lines, sparkline

RED, GREEN = (255, 0, 0), (0, 255, 0)


def grey(*rows: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.array(rows, np.uint8)[..., None]


@pytest.mark.parametrize(
    ("counts", "bars"),
    [
        ([], ""),
        ([0, 0], "··"),
        ([7], "█"),
        ([1, 1], "██"),
        ([0, 1, 1_000_000], "·▁█"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "▁▂▃▄▅▆▇█"),
    ],
)
def test_bars(counts: list[int], bars: str) -> None:
    assert sparkline(counts) == bars


def test_two_pixels_are_one_letter_with_two_colours() -> None:
    picture = np.array([[RED, RED, GREEN], [GREEN, GREEN, GREEN]] * 12, np.uint8)
    lines = picture_lines([picture[:, :, :]], 3, 12, has_colour=True)
    assert len(lines) == 12
    # One code for two equal letters, and a reset at the end.
    assert lines[0] == ("\x1b[38;2;255;0;0;48;2;0;255;0m▀▀\x1b[38;2;0;255;0;48;2;0;255;0m▀\x1b[0m")


def test_a_last_odd_row_stands_on_black() -> None:
    lines = picture_lines([np.full((25, 1, 1), 9, np.uint8)], 1, 20, has_colour=True)
    assert len(lines) == 13
    assert lines[-1] == "\x1b[38;2;9;9;9;48;2;0;0;0m▀\x1b[0m"


def test_shades_without_colours() -> None:
    ramp = np.repeat(grey([0, 28, 56, 84, 112, 140, 168, 196, 224, 255]), 20, axis=0)
    lines = picture_lines([ramp], 10, 10, has_colour=False)
    assert lines == [" .:-=+*#%@"] * 10
    assert picture_lines([ramp[:, :1]], 10, 10, has_colour=False) == [""] * 10
    assert "\x1b" not in "".join(lines)


def test_the_eye_sees_green_brighter() -> None:
    colours = np.array([[(0, 0, 255), RED, GREEN, (255, 255, 255)]] * 24, np.uint8)
    assert picture_lines([colours], 4, 12, has_colour=False)[0] == ".:+@"


def test_what_is_transparent_is_black() -> None:
    clear = np.full((24, 2, 4), 255, np.uint8)
    clear[:, 0, 3] = 0
    assert picture_lines([clear], 2, 12, has_colour=False)[0] == " @"
    assert picture_lines([clear[..., 2:]], 2, 12, has_colour=False)[0] == " @"


@pytest.mark.parametrize(
    ("shape", "width", "height", "expected"),
    [
        # Averaged down to the width, or to the height, with its proportions.
        ((100, 200), 40, 50, (10, 40)),
        ((200, 100), 80, 10, (10, 10)),
        ((1000, 3), 80, 10, (10, 1)),
        # As it is where it fits, and larger where it is small.
        ((30, 30), 80, 50, (15, 30)),
        ((4, 6), 80, 50, (8, 24)),
        ((4, 6), 13, 50, (4, 12)),
        ((5, 5), 1, 1, (1, 1)),
        ((5, 5), 0, 0, (1, 1)),
    ],
)
def test_pictures_fit(
    shape: tuple[int, int], width: int, height: int, expected: tuple[int, int]
) -> None:
    picture = np.full((*shape, 1), 255, np.uint8)
    lines = picture_lines([picture], width, height, has_colour=True)
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert (len(plain), len(plain[0])) == expected


def test_a_small_picture_is_averaged() -> None:
    picture = np.zeros((64, 64, 1), np.uint8)
    picture[::2, ::2] = 200
    assert picture_lines([picture], 8, 99, has_colour=True)[0].startswith(
        "\x1b[38;2;50;50;50;48;2;50;50;50m"
    )


def test_pictures_stand_side_by_side() -> None:
    tall, low = np.full((48, 24, 1), 255, np.uint8), np.full((24, 24, 1), 128, np.uint8)
    lines = picture_lines([low, tall, low], 80, 99, has_colour=False)
    assert len(lines) == 24
    assert lines[0] == "+" * 24 + "  " + "@" * 24 + "  " + "+" * 24
    # What is lower is filled up; without colours nothing follows the last letter.
    assert lines[-1] == " " * 24 + "  " + "@" * 24
    assert picture_lines([], 80, 10, has_colour=True) == []
