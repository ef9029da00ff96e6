"""Arrays as pictures: which arrays are one, made small, and written as PNG."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}


def picture_of(value: NDArray[Any], limit_pixels: int) -> NDArray[np.uint8] | None:
    """Return an array as a picture of at most `limit_pixels` a side, or None when it is none.

    Parameters
    ----------
    value : ndarray, shape (height, width), (height, width, channel) or (channel, height, width)
        With 1 to 4 channels; bool, an integer or a real dtype. uint8 is shown as it is, bool as
        black and white, other dtypes are stretched from their least to their largest value.
    limit_pixels : int
        Larger pictures are thinned by taking every n-th pixel.

    Returns
    -------
    ndarray, shape (height, width, channel), uint8, or None
    """
    if value.ndim == 2:
        picture = value[..., None]
    elif value.ndim == 3 and value.shape[2] in _COLOUR_TYPE:
        picture = value
    elif value.ndim == 3 and value.shape[0] in (1, 3, 4):
        picture = np.moveaxis(value, 0, 2)
    else:
        return None
    if min(picture.shape[:2]) < 4 or value.dtype.kind not in "buif":
        return None
    step = -(-max(picture.shape[:2]) // limit_pixels)
    picture = picture[::step, ::step]
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    if picture.dtype == np.bool_:
        return picture.astype(np.uint8) * np.uint8(255)
    real = picture.astype(np.float64)
    finite = real[np.isfinite(real)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    spread = (high - low) or 1.0
    with np.errstate(all="ignore"):
        scaled = np.nan_to_num((real - low) / spread, nan=0.0, posinf=1.0, neginf=0.0)
    result: NDArray[np.uint8] = (scaled.clip(0, 1) * 255).astype(np.uint8)
    return result


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
