"""A chart of a few numbers in a row, as inline SVG."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT, _MARGIN = 420, 120, 14


def chart_svg(points: Sequence[tuple[float, str, str]]) -> str:
    """Return numbers from left to right, joined by a line.

    Parameters
    ----------
    points : sequence of (float, str, str)
        A finite number, the colour of its dot, and what is shown when the mouse is over it.
    """
    values = [value for value, _, _ in points]
    low, high = min(values, default=0.0), max(values, default=0.0)
    spread = (high - low) or 1.0
    step = (_WIDTH - 2 * _MARGIN) / max(len(points) - 1, 1)
    places = [
        (_MARGIN + at * step, _HEIGHT - _MARGIN - (value - low) / spread * (_HEIGHT - 2 * _MARGIN))
        for at, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{html.escape(colour)}">'
        f"<title>{html.escape(title)}</title></circle>"
        for (x, y), (_, colour, title) in zip(places, points, strict=True)
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'xmlns="http://www.w3.org/2000/svg" role="img">'
        f'<polyline points="{line}" fill="none" stroke="#999"/>{dots}</svg>'
    )
