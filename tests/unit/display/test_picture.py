from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from tensorvcs.display.html import column_html, table_html, value_html
from tensorvcs.display.picture import (
    difference_picture,
    is_picture,
    picture_of,
    png_bytes,
    value_range,
)

PICTURE = np.arange(6 * 7 * 3, dtype=np.uint8).reshape(6, 7, 3)


def decoded(png: bytes) -> Any:
    """Read a PNG as it was written: one IDAT, no filter; checks every checksum."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        (nbytes,) = struct.unpack_from(">I", png, at)
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + nbytes]
        (checksum,) = struct.unpack_from(">I", png, at + 8 + nbytes)
        assert checksum == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + nbytes
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, rest) == (8, [0, 0, 0])
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[colour]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8)
    lines = lines.reshape(height, 1 + width * channels)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, channels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_holds_the_picture(channels: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 8, channels), np.uint8)
    png = png_bytes(picture)
    assert np.array_equal(decoded(png), picture)
    image_module = pytest.importorskip("PIL.Image")
    with image_module.open(io.BytesIO(png)) as image:
        assert np.array_equal(np.asarray(image).reshape(picture.shape), picture)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PICTURE, PICTURE),
        (PICTURE.transpose(2, 0, 1), PICTURE),
        (PICTURE[..., 0], PICTURE[..., :1]),
        (PICTURE[..., 0] > 50, (PICTURE[..., :1] > 50) * np.uint8(255)),
        (
            np.linspace(0, 1, 16).reshape(4, 4),
            np.linspace(0, 255, 16).astype(np.uint8).reshape(4, 4, 1),
        ),
        (np.full((4, 4), 7.0), np.zeros((4, 4, 1), np.uint8)),
        (np.full((4, 4), np.nan), np.zeros((4, 4, 1), np.uint8)),
    ],
)
def test_what_looks_like_a_picture_is_one(value: Any, expected: Any) -> None:
    found = picture_of(value, 96)
    assert found is not None
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_odd_numbers_are_shown_within_the_range() -> None:
    value = np.array([[-np.inf, 0, 1, np.inf]] * 4)
    found = picture_of(value, 96)
    assert found is not None
    assert found[0, :, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(10), np.zeros((3, 10)), np.zeros((10, 10, 5)), np.zeros((10, 10, 0)),
        np.zeros((0, 10)), np.zeros((10, 10), "c8"), np.zeros((4, 4, 4, 4)), np.zeros(()),
    ],
)  # fmt: skip
def test_what_does_not_is_none(value: Any) -> None:
    assert picture_of(value, 96) is None


def test_a_large_picture_is_thinned() -> None:
    found = picture_of(np.zeros((1000, 301, 3), np.uint8), 96)
    assert found is not None
    assert found.shape == (91, 28, 3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([1, 2]), "[1 2]"),
        (np.arange(1000), "[ 0 1 2 ... 997 998 999]"),
        ("<b>&", "&lt;b&gt;&amp;"),
        (b"\0\xff", "2 bytes: 00 ff"),
        (bytes(20), "20 bytes: " + " ".join(["00"] * 16) + " …"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_a_value_as_text(value: Any, text: str) -> None:
    assert value_html(value) == text


def test_a_value_as_a_picture() -> None:
    shown = value_html(np.zeros((8, 12, 3), np.uint8))
    assert shown.startswith('<img width="96" height="64"')
    assert 'src="data:image/png;base64,' in shown


def test_tables_escape_what_is_text() -> None:
    table = table_html(["<a>"], [["<img>"]], "<c>")
    assert "&lt;a&gt;" in table
    assert "&lt;c&gt;" in table
    assert "<img>" in table
    column = column_html("<n>", 9, "uint8 (2)", ["<k>"], [np.array([1, 2])])
    assert "&lt;n&gt;: 9 × uint8 (2)" in column
    assert "&lt;k&gt;" in column
    assert "…" in column


def test_pictures_may_share_a_scale() -> None:
    value = np.full((4, 4), 5.0)
    found = picture_of(value, 96, (0.0, 10.0))
    assert found is not None
    assert found[0, 0, 0] == 127
    assert value_range(value, np.array([[-1.0, np.nan, np.inf]]), "text", None) == (-1, 5)
    assert value_range(np.array([np.nan]), np.array([1j]), np.zeros(0)) is None
    assert is_picture(value)
    assert not is_picture(value[0])
    assert not is_picture("text")


def test_the_largest_numbers_do_not_overflow() -> None:
    value = np.array([[-1.7e308, 0, 0, 1.7e308]] * 4)
    found = picture_of(value, 96)
    assert found is not None
    assert found[0, :, 0].tolist() == [0, 127, 127, 255]


def test_a_picture_of_what_changed() -> None:
    distances = np.zeros((4, 5, 3))
    distances[0, 0, 1], distances[1, 1, 2], distances[2, 2] = 10, 0.001, np.inf
    found = difference_picture(distances, 96)
    assert found is not None
    assert found.shape == (4, 5, 1)
    assert [found[at, at, 0] for at in range(4)] == [255, 64, 255, 0]
    assert difference_picture(distances[0, 0], 96) is None
    same = difference_picture(np.zeros((4, 4)), 96)
    assert same is not None
    assert not same.any()


def test_one_changed_pixel_of_a_large_picture_is_seen() -> None:
    distances = np.zeros((1000, 301))
    distances[995, 299] = 1
    found = difference_picture(distances, 96)
    assert found is not None
    assert found.shape == (91, 28, 1)
    assert np.flatnonzero(found).tolist() == [90 * 28 + 27]


def test_the_channels_of_what_changed_may_come_first() -> None:
    distances = np.zeros((3, 5, 6))
    distances[2, 4, 5] = 1
    found = difference_picture(distances, 96)
    assert found is not None
    assert found[4, 5, 0] == 255
