"""Tables with thumbnails for Jupyter: plain HTML, no scripts, pictures as data URIs."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.display.picture import picture_of, png_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

THUMBNAIL_PIXELS = 96
_CELL = "padding:2px 8px;text-align:left;vertical-align:top"


def value_html(value: Any) -> str:
    """Return one value: a thumbnail for what looks like a picture, otherwise its text."""
    if isinstance(value, np.ndarray):
        picture = picture_of(value, THUMBNAIL_PIXELS)
        if picture is not None:
            encoded = base64.b64encode(png_bytes(picture)).decode()
            height, width = picture.shape[:2]
            scale = max(1, THUMBNAIL_PIXELS // max(height, width, 1))
            return (
                f'<img width="{width * scale}" height="{height * scale}" '
                f'style="image-rendering:pixelated" alt="{height} × {width} picture" '
                f'src="data:image/png;base64,{encoded}">'
            )
        text = np.array2string(value, threshold=8, edgeitems=3)
    elif isinstance(value, bytes):
        text = f"{len(value)} bytes: {value[:16].hex(' ')}{' …' if len(value) > 16 else ''}"
    else:
        text = str(value)
    return html.escape(text if len(text) <= 200 else text[:199] + "…")


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
    name: str, count: int, spelling: str, keys: Sequence[object], values: Iterable[Any]
) -> str:
    """Return a column: its first samples side by side."""
    cells = [value_html(value) for value in values]
    rest = ["…"] if count > len(keys) else []
    return table_html(
        [*(str(key) for key in keys), *rest],
        [[*cells, *rest]],
        f"{name}: {count} × {spelling}",
    )
