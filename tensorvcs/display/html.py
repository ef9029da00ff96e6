"""Tables with thumbnails for Jupyter: plain HTML, no scripts, pictures as data URIs."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.display.picture import picture_of, png_bytes
from tensorvcs.display.text import value_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

THUMBNAIL_PIXELS = 96
_CELL = "padding:2px 8px;text-align:left;vertical-align:top"


def value_html(value: Any, stretch: tuple[float, float] | None = None) -> str:
    """Return one value: a thumbnail for what looks like a picture, otherwise its text.

    `stretch` is that of `picture_of`.
    """
    if isinstance(value, np.ndarray):
        picture = picture_of(value, THUMBNAIL_PIXELS, stretch)
        if picture is not None:
            return picture_html(picture)
    return html.escape(value_text(value))


def picture_html(picture: NDArray[np.uint8]) -> str:
    """Return a picture of shape (height, width, channel) as an image; a small one is enlarged."""
    encoded = base64.b64encode(png_bytes(picture)).decode()
    height, width = picture.shape[:2]
    scale = max(1, THUMBNAIL_PIXELS // max(height, width, 1))
    return (
        f'<img width="{width * scale}" height="{height * scale}" '
        f'style="image-rendering:pixelated" alt="{height} × {width} picture" '
        f'src="data:image/png;base64,{encoded}">'
    )


def table_html(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Return a table; the cells of `rows` are HTML already, header and caption are text."""
    head = "".join(f'<th style="{_CELL}">{html.escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def column_html(
    name: str, count: int | str, spelling: str, keys: Sequence[object], values: Iterable[Any]
) -> str:
    """Return a column: its first samples side by side."""
    cells = [value_html(value) for value in values]
    rest = [] if str(count) == str(len(keys)) else ["…"]
    return table_html(
        [*(str(key) for key in keys), *rest],
        [[*cells, *rest]],
        f"{name}: {count} × {spelling}",
    )
