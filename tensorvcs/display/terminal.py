"""Pictures and bars in letters: two pixels in a half block with colours, or grey shades without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_BARS = "▁▂▃▄▅▆▇█"
_NO_BAR = "·"
_SHADES = " .:-=+*#%@"
_UPPER_HALF = "▀"
_RESET = "\x1b[0m"
_GAP = "  "
# Smaller pictures are drawn larger, up to this many pixels a side.
_SMALL_PIXELS = 24
# The brightness of red, green and blue for the eye: ITU-R BT.601.
_LUMA = np.array([0.299, 0.587, 0.114])


def sparkline(counts: Sequence[int]) -> str:
    """Return a bar of one letter for each count; what is not zero has a bar, however small.

    >>> sparkline([1, 0, 50, 100])
    '▁·▄█'
    """
    peak = max(counts, default=0)
    return "".join(
        _BARS[(count * len(_BARS) - 1) // peak] if count else _NO_BAR for count in counts
    )


def picture_lines(
    pictures: Sequence[NDArray[np.uint8]], width: int, height: int, *, has_colour: bool
) -> list[str]:
    """Return pictures side by side as lines for a terminal.

    Parameters
    ----------
    pictures : sequence of ndarray, shape (height, width, channel), uint8
        With 1 to 4 channels: grey, grey and alpha, RGB, RGBA; what is transparent is black.
    width, height : int
        The letters of a line, and the lines, that all of them together may take.
    has_colour : bool
        Whether the terminal shows colours of 24 bits; otherwise letters of ten shades are used.

    Returns
    -------
    list of str
        With colours each line ends with a reset of them.
    """
    if not pictures:
        return []
    room = max(1, (width - len(_GAP) * (len(pictures) - 1)) // len(pictures))
    scaled = [_scaled(_to_rgb(picture), room, 2 * max(1, height)) for picture in pictures]
    blocks = [_half_blocks(pixels) if has_colour else _shades(pixels) for pixels in scaled]
    tallest = max(map(len, blocks))
    for lines, pixels in zip(blocks, scaled, strict=True):
        lines += [" " * pixels.shape[1]] * (tallest - len(lines))
    rows = [_GAP.join(row) for row in zip(*blocks, strict=True)]
    return rows if has_colour else [row.rstrip() for row in rows]


def _to_rgb(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return RGB as floats, shape (height, width, 3), with what is transparent on black."""
    channels = picture.shape[2]
    colour = picture[..., :3] if channels >= 3 else np.repeat(picture[..., :1], 3, axis=2)
    if channels in (2, 4):
        return colour * (picture[..., -1:] / 255.0)
    return colour.astype(np.float64)


def _scaled_shape(picture: NDArray[Any], width: int, height: int) -> tuple[int, int]:
    """Return the pixels a picture is drawn with, its proportions kept: rows and columns."""
    tall, wide = picture.shape[:2]
    factor = min(width // wide, height // tall, _SMALL_PIXELS // max(tall, wide))
    if factor >= 1:
        return tall * factor, wide * factor
    scale = min(1.0, width / wide, height / tall)
    return max(1, round(tall * scale)), max(1, round(wide * scale))


def _scaled(picture: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Return a picture in the size it is drawn with: averages of pixels, or pixels repeated."""
    for axis, extent in enumerate(_scaled_shape(picture, width, height)):
        length = picture.shape[axis]
        if extent > length:
            picture = np.repeat(picture, extent // length, axis=axis)
        elif extent < length:
            starts = np.arange(extent) * length // extent
            sums = np.add.reduceat(picture, starts, axis=axis)
            counts = np.diff(np.append(starts, length))
            picture = sums / np.expand_dims(counts, tuple({0, 1, 2} - {axis}))
    return picture


def _in_pairs(pixels: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the upper and the lower row of each line; below the last of an odd number is black."""
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    return pixels[::2], pixels[1::2]


def _half_blocks(pixels: NDArray[np.float64]) -> list[str]:
    """Return two rows of pixels a line: the upper one in the foreground, the lower one behind."""
    uppers, lowers = (half.round().astype(np.uint8).tolist() for half in _in_pairs(pixels))
    lines = []
    for upper, lower in zip(uppers, lowers, strict=True):
        parts: list[str] = []
        last = None
        for colours in zip(upper, lower, strict=True):
            if colours != last:
                (r, g, b), (br, bg, bb) = colours
                parts.append(f"\x1b[38;2;{r};{g};{b};48;2;{br};{bg};{bb}m")
                last = colours
            parts.append(_UPPER_HALF)
        lines.append("".join(parts) + _RESET)
    return lines


def _shades(pixels: NDArray[np.float64]) -> list[str]:
    """Return a letter for two pixels, one above the other: the brighter, the more ink."""
    upper, lower = _in_pairs(pixels)
    # Rounded, since the weights of the eye do not sum to one in binary.
    pairs = ((upper + lower) @ _LUMA / 2).round(3)
    levels = (pairs * len(_SHADES) / 256).astype(np.intp).clip(0, len(_SHADES) - 1)
    return ["".join(_SHADES[level] for level in row) for row in levels.tolist()]
