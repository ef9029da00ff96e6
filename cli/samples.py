"""How samples look in a terminal: pictures, arrays, texts, and what changed in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.display.counting import count_text
from tensorvcs.display.picture import difference_picture, picture_of, value_range
from tensorvcs.display.terminal import picture_lines
from tensorvcs.display.text import ArraySummary, value_text
from tensorvcs.objects.dtype import dtype_name

from .text import key_text, printable, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tensorvcs import SampleChange

    from .output import Output

_COLOURS = {"+": "green", "-": "red", "~": "yellow"}
_CHANGE_LINES = 16
_VIEW_LINES = 32
# Beyond this a picture is thinned before it is averaged down to the terminal.
_MOST_PIXELS = 2048
# Of a text that did not change before a difference.
_CONTEXT_LETTERS = 20
_SHOWN_BYTES = 256
_SHOWN_ELEMENTS = 200


def kind_text(value: Any) -> str:
    """Return what a value is: its dtype and shape, or its length."""
    if isinstance(value, str):
        return count_text(len(value), "character")
    if isinstance(value, bytes):
        return size_text(len(value))
    return f"{dtype_name(value.dtype)} {value.shape}"


def value_lines(out: Output, value: Any) -> Iterator[str]:
    """Yield one value: what it is, its numbers, and the value or a picture of it."""
    yield kind_text(value)
    if isinstance(value, str):
        yield from map(printable, value.splitlines())
        return
    if isinstance(value, bytes):
        shown = value[:_SHOWN_BYTES]
        yield from (shown[at : at + 16].hex(" ") for at in range(0, len(shown), 16))
        if len(shown) < len(value):
            yield f"… and {size_text(len(value) - len(shown))} more"
        return
    summary = ArraySummary.of(value) if value.size != 1 else None
    if summary is not None:
        yield str(summary)
    picture = picture_of(value, _MOST_PIXELS)
    if picture is not None:
        yield from picture_lines([picture], out.width, _VIEW_LINES, has_colour=out.draws_in_colour)
    else:
        text = np.array2string(value, threshold=_SHOWN_ELEMENTS, max_line_width=out.width)
        yield from text.splitlines()


def change_lines(out: Output, change: SampleChange) -> Iterator[str]:
    """Yield one changed sample: its key and size, then both values and where they differ."""
    sides = [side for side in (change.before, change.after) if side is not None]
    head = out.style(f"{change.sign} {key_text(change.key)}", _COLOURS[change.sign])
    about = _about(change, sides)
    pictures = _pictures(change, sides)
    if pictures:
        yield f"  {head}  {about}"
        drawn = picture_lines(
            pictures, out.width - 4, _CHANGE_LINES, has_colour=out.draws_in_colour
        )
        yield from (f"    {line}".rstrip() for line in drawn)
        return
    texts = [printable(value_text(side, 2 * out.width)) for side in _from_difference(sides)]
    if sum(map(len, texts)) + 12 <= out.width:
        yield f"  {head}  {' → '.join(texts)}" + (f"  ({about})" if about else "")
        return
    yield f"  {head}" + (f"  {about}" if about else "")
    signs = [sign for sign in "-+" if change.sign in (sign, "~")]
    for sign, text in zip(signs, texts, strict=True):
        yield "    " + out.style(f"{sign} {text}", _COLOURS[sign])


def _from_difference(sides: list[Any]) -> list[Any]:
    """Return long texts from shortly before where they differ, other values as they are."""
    if len(sides) < 2 or not all(isinstance(side, str) for side in sides):
        return sides
    pairs = enumerate(zip(*sides, strict=False))
    alike = next((at for at, (old, new) in pairs if old != new), min(map(len, sides)))
    start = alike - _CONTEXT_LETTERS
    return [f"…{side[start:]}" for side in sides] if start > _CONTEXT_LETTERS else sides


def _about(change: SampleChange, sides: list[Any]) -> str:
    """Return what is worth saying of a change beside its values."""
    kinds = list(dict.fromkeys(map(kind_text, sides)))
    if change.size is None:
        return kinds[0]
    if len(kinds) > 1:
        return f"{' → '.join(kinds)}, {change.size}"
    if isinstance(change.after, np.ndarray) and change.after.size == 1:
        return ""
    return str(change.size)


def _pictures(change: SampleChange, sides: list[Any]) -> list[NDArray[np.uint8]]:
    """Return both sides and the difference as pictures, or nothing when they are none."""
    if not all(isinstance(side, np.ndarray) for side in sides):
        return []
    stretch = value_range(*sides)
    found = [picture_of(side, _MOST_PIXELS, stretch) for side in sides]
    distances = change.distances()
    if distances is not None:
        found.append(difference_picture(distances, _MOST_PIXELS))
    pictures = [picture for picture in found if picture is not None]
    return pictures if len(pictures) == len(found) else []
