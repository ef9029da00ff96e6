"""Arrays as pictures: which arrays are one, made small, and written as PNG."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
# The least change in a picture of what changed is as bright as this, so that it is seen.
_LEAST_BRIGHTNESS = 64


def is_picture(value: Any) -> bool:
    """Tell whether `picture_of` makes a picture of a value."""
    return isinstance(value, np.ndarray) and _layout(value) is not None


def _layout(value: NDArray[Any]) -> NDArray[Any] | None:
    """View an array as (height, width, channel), or return None when it is no picture."""
    if value.ndim == 2:
        picture = value[..., None]
    elif value.ndim == 3 and value.shape[2] in _COLOUR_TYPE:
        picture = value
    elif value.ndim == 3 and value.shape[0] in (1, 3, 4):
        picture = np.moveaxis(value, 0, 2)
    else:
        return None
    is_one = min(picture.shape[:2]) >= 4 and value.dtype.kind in "buif"
    return picture if is_one else None


def value_range(*values: Any) -> tuple[float, float] | None:
    """Return the least and the largest finite number of arrays; None when there is none.

    For `picture_of`, so that pictures side by side have one scale.
    """
    ends = []
    for value in values:
        if isinstance(value, np.ndarray) and value.dtype.kind in "buif":
            finite = value[np.isfinite(value)] if value.dtype.kind == "f" else value
            if finite.size:
                ends.append((float(finite.min()), float(finite.max())))
    if not ends:
        return None
    return min(low for low, _ in ends), max(high for _, high in ends)


def picture_of(
    value: NDArray[Any], limit_pixels: int, stretch: tuple[float, float] | None = None
) -> NDArray[np.uint8] | None:
    """Return an array as a picture of at most `limit_pixels` a side, or None when it is none.

    Parameters
    ----------
    value : ndarray, shape (height, width), (height, width, channel) or (channel, height, width)
        With 1 to 4 channels; bool, an integer or a real dtype. uint8 is shown as it is, bool as
        black and white, other dtypes are stretched from their least to their largest value.
    limit_pixels : int
        Larger pictures are thinned by taking every n-th pixel.
    stretch : (low, high), optional
        The values that are black and white, in the place of the least and the largest.

    Returns
    -------
    ndarray, shape (height, width, channel), uint8, or None
    """
    picture = _layout(value)
    if picture is None:
        return None
    step = -(-max(picture.shape[:2]) // limit_pixels)
    picture = picture[::step, ::step]
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    if picture.dtype == np.bool_:
        return picture.astype(np.uint8) * np.uint8(255)
    low, high = stretch or value_range(picture) or (0.0, 0.0)
    # Halves, since the span of the largest float64 numbers is beyond float64.
    spread = (high / 2 - low / 2) or 1.0
    with np.errstate(all="ignore"):
        scaled = (picture.astype(np.float64) / 2 - low / 2) / spread
        scaled = np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0)
    result: NDArray[np.uint8] = (scaled.clip(0, 1) * 255).astype(np.uint8)
    return result


def difference_picture(distances: NDArray[Any], limit_pixels: int) -> NDArray[np.uint8] | None:
    """Return where and how much a picture changed: black where it did not.

    Parameters
    ----------
    distances : ndarray, shape of the picture, float64
        The distance of each element, infinite ones allowed.
    limit_pixels : int
        Of a larger picture, the largest distance of n by n pixels is shown.

    Returns
    -------
    ndarray, shape (height, width, 1), uint8, or None
        White is the largest distance; None when the shape is not that of a picture.
    """
    picture = _layout(distances)
    if picture is None:
        return None
    step = -(-max(picture.shape[:2]) // limit_pixels)
    largest = picture.max(axis=2)
    for axis in (0, 1):
        starts = np.arange(0, largest.shape[axis], step)
        largest = np.maximum.reduceat(largest, starts, axis=axis)
    finite = largest[np.isfinite(largest)]
    peak = float(finite.max(initial=0.0)) or 1.0
    with np.errstate(under="ignore"):
        share = np.minimum(largest / peak, 1.0)
    brightness = _LEAST_BRIGHTNESS + (255 - _LEAST_BRIGHTNESS) * share
    shown = np.where(largest > 0, brightness, 0.0).astype(np.uint8)
    return shown[..., None]


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture of shape (height, width, channel), 1 to 4 channels, as a PNG file.

    References
    ----------
    W3C, Portable Network Graphics (third edition), sections 5 and 11.
    """
    height, width, channels = picture.shape
    lines = np.zeros((height, 1 + width * channels), np.uint8)
    lines[:, 1:] = picture.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 6))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
