"""Decode image files to pixels: what a decoder process runs.

This file is run by path, as a script, in processes of its own. A file that crashes a codec, claims
gigabytes or changes Pillow's settings then does no harm to the program that imports; and a new
process needs nothing but Pillow, so that it starts in a few hundredths of a second. For that it
imports neither numpy nor the rest of the library.

Messages, both ways, are a length (unsigned 32 bit, little-endian), that many bytes of JSON, and for
answers the pixels of the blocks, back to back:

- first a setting: ``{"sys_path": [...], "mode": ..., "resize": ..., "max_pixels": ...}``;
- then requests: ``{"paths": [...], "headers_only": false}``;
- each has one answer: ``{"done": 3, "blocks": [{"mode": "RGB", "height": 32, "width": 32,
  "places": [0, 2]}], "failed": [[1, "reason"]], "notes": [[0, "note"]]}``. `done` is how many of
  the paths were looked at; it is less than all when the pixels became many.
"""

from __future__ import annotations

import io
import json
import signal
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

ANSWER_NBYTES = 4 << 20
"""An answer is cut after the image with which its pixels pass this size."""

SMALL_NBYTES = 16_384

CHANNEL_COUNTS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}
# Formats that are decoded by plain code or well-kept libraries; EPS, for one, would start
# Ghostscript.
PILLOW_FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "TGA", "JPEG2000", "AVIF", "DIB", "ICO",
)  # fmt: skip
EXIF_ORIENTATION = 0x0112
# What Pillow's parsers raise on damaged files, found by feeding them damaged files.
DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip


class NotDecodableError(Exception):
    """An image that is whole and yet refused; the text says why."""


def natural_mode(image: PillowImage) -> str:
    """Return which of our modes holds what the image holds."""
    mode = image.mode
    has_alpha = "transparency" in image.info or mode in {"RGBA", "RGBa", "PA", "LA", "La"}
    if mode in {"1", "L", "LA", "La"}:
        return "LA" if has_alpha else "L"
    if mode == "I" or mode.startswith("I;16"):
        return "I;16"
    if mode == "F":
        raise NotDecodableError("it has floating-point pixels; convert it to .npy")
    return "RGBA" if has_alpha else "RGB"


def is_animated(image: PillowImage) -> bool:
    """Tell whether there is more than one frame, where that is not a photograph's preview."""
    return image.format in {"GIF", "PNG", "WEBP", "TIFF", "AVIF"} and bool(
        getattr(image, "is_animated", False)
    )


def is_sixteen_bit_colour(image: PillowImage) -> bool:
    """Tell whether Pillow gives 8 of 16 bits a channel."""
    tiles: list[Any] = getattr(image, "tile", None) or []
    return image.mode in {"RGB", "RGBA", "LA"} and ";16" in repr(tiles[:1])


def upright(image: PillowImage) -> PillowImage:
    """Turn an image as its EXIF orientation says."""
    from PIL import ImageOps

    if image.format == "JPEG" and "exif" not in image.info:
        return image
    return ImageOps.exif_transpose(image)


def upright_size(image: PillowImage) -> tuple[int, int]:
    """Return (width, height) of the turned image, without decoding it."""
    width, height = image.size
    if image.format == "JPEG" and "exif" not in image.info:
        return width, height
    turned = image.getexif().get(EXIF_ORIENTATION, 1) in {5, 6, 7, 8}
    return (height, width) if turned else (width, height)


def converted(image: PillowImage, mode: str) -> PillowImage:
    """Convert to one of our modes."""
    from PIL import Image

    if image.mode == "I":
        low, high = image.getextrema()
        if not (isinstance(low, int) and isinstance(high, int) and 0 <= low <= high <= 65535):
            raise NotDecodableError(f"its pixels go from {low} to {high}, beyond 16 bits")
        image = image.convert("I;16")
    elif image.mode.startswith("I;16") and image.mode != "I;16":
        image = image.convert("I").convert("I;16")
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode == "I;16":
        # The high byte: Pillow would clip.
        image = Image.frombytes("L", image.size, image.tobytes()[1::2])
    if mode == "I;16":
        grey = image.convert("L").tobytes()
        wide = bytearray(2 * len(grey))
        wide[0::2] = wide[1::2] = grey
        return Image.frombytes("I;16", image.size, bytes(wide))
    if image.mode in {"La", "RGBa"}:
        image = image.convert(image.mode.upper())
    if image.mode == "PA":
        image = image.convert("RGBA")
    if mode == "LA" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


class Decoder:
    """Decodes files under one setting.

    Parameters
    ----------
    mode : str, optional
        Convert to this mode; otherwise each image keeps its own.
    resize : (height, width), optional
    max_pixels : int
    """

    def __init__(
        self, mode: str | None = None, resize: list[int] | None = None, max_pixels: int = 1 << 62
    ) -> None:
        from PIL import Image

        Image.init()
        self.mode = mode
        self.resize = resize
        self.max_pixels = max_pixels
        # An old Pillow may lack the newest.
        self.formats = [name for name in PILLOW_FORMATS if name in Image.OPEN]

    def read(
        self, source: str | BinaryIO, *, headers_only: bool
    ) -> tuple[str, tuple[int, int], bytes, list[str]]:
        """Return mode, (width, height), pixels in C order (none for headers), and notes."""
        from PIL import Image

        file = opened(source) if isinstance(source, str) and not headers_only else source
        with Image.open(file, formats=self.formats) as image:
            if image.width * image.height > self.max_pixels:
                raise NotDecodableError(
                    f"{image.width} × {image.height} pixels are more than the limit of "
                    f"{self.max_pixels:,}"
                )
            if not image.width or not image.height:
                raise NotDecodableError(f"it is empty: {image.width} × {image.height} pixels")
            if (
                image.format == "JPEG"
                and image.mode in {"RGB", "L"}
                and (self.mode is None or self.mode == image.mode)
                and self.resize is None
                and "exif" not in image.info
            ):
                # The usual case, without a look at what such a file cannot have.
                return image.mode, image.size, b"" if headers_only else image.tobytes(), []
            mode = self.mode or natural_mode(image)
            notes = []
            if is_sixteen_bit_colour(image):
                notes.append("16 bits a channel were read as 8")
            if is_animated(image):
                notes.append("the first frame of an animation was taken")
            if headers_only:
                size = upright_size(image)
                return mode, self._resized(size), b"", notes
            if self.mode is not None:
                natural_mode(image)
            pixels = converted(upright(image), mode)
            if self.resize is not None and pixels.size != self._resized(pixels.size):
                pixels = pixels.resize(self._resized(pixels.size), Image.Resampling.BILINEAR)
            return mode, pixels.size, pixels.tobytes(), notes

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        return size if self.resize is None else (self.resize[1], self.resize[0])

    def answer(self, paths: list[str], *, headers_only: bool) -> tuple[dict[str, Any], list[bytes]]:
        """Decode files until they are all done or their pixels are many.

        Images of one mode and size that follow each other share a block.
        """
        from PIL import Image

        blocks: list[dict[str, Any]] = []
        failed: list[tuple[int, str]] = []
        all_notes: list[tuple[int, str]] = []
        pixels: list[bytes] = []
        nbytes = done = 0
        last: tuple[str, tuple[int, int]] | None = None
        for place, path in enumerate(paths):
            done += 1
            try:
                mode, size, data, notes = self.read(path, headers_only=headers_only)
            except NotDecodableError as error:
                failed.append((place, str(error)))
                continue
            except (*DAMAGE, Image.DecompressionBombError) as error:
                failed.append((place, reason_of(error, path)))
                continue
            if (mode, size) != last:
                last = mode, size
                blocks.append({"mode": mode, "width": size[0], "height": size[1], "places": []})
            blocks[-1]["places"].append(place)
            all_notes += [(place, note) for note in notes]
            if not headers_only:
                pixels.append(data)
                nbytes += len(data)
                if nbytes >= ANSWER_NBYTES:
                    break
        fields = {"done": done, "blocks": blocks, "failed": failed, "notes": all_notes}
        return fields, pixels


def opened(path: str) -> str | BinaryIO:
    """Return a small file's content to parse from memory; from others Pillow reads quicker."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a hot path)
        content = file.read(SMALL_NBYTES)
    return io.BytesIO(content) if 0 < len(content) < SMALL_NBYTES else path


def bomb_error() -> type[Exception]:
    """Return what Pillow raises for pictures of very many pixels."""
    from PIL import Image

    return Image.DecompressionBombError


def reason_of(error: BaseException, path: str) -> str:
    """Say in a few words what is wrong with a file, without its path."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "it is no image that can be read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).replace(path, "the file").split("\n")[0][:200]
    return text or type(error).__name__


def read_message(stream: BinaryIO) -> dict[str, Any] | None:
    """Read one message, or None where the stream ends."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    body = stream.read(struct.unpack("<I", head)[0])
    message: dict[str, Any] = json.loads(body)
    return message


def write_message(stream: BinaryIO, fields: dict[str, Any]) -> None:
    """Write one message."""
    body = json.dumps(fields).encode()
    stream.write(struct.pack("<I", len(body)) + body)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    setting = read_message(requests)
    if setting is None:
        return
    sys.path[:] = setting.pop("sys_path")
    import warnings

    from PIL import Image

    # The limit is ours, and nobody reads warnings here.
    Image.MAX_IMAGE_PIXELS = None
    warnings.simplefilter("ignore")
    decoder = Decoder(**setting)
    while (request := read_message(requests)) is not None:
        fields, pixels = decoder.answer(request["paths"], headers_only=request["headers_only"])
        write_message(answers, fields)
        answers.write(b"".join(pixels))
        answers.flush()


if __name__ == "__main__":
    # Ctrl-C is for the parent, which then closes the stream of requests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer)
