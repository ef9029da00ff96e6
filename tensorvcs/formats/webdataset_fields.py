"""The files of a WebDataset sample: which column each belongs to, and how it is read."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.lib import format as npy_format

from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.formats.array_tables import DAMAGE
from tensorvcs.formats.decoder_pool import image_dtype, image_shape
from tensorvcs.formats.image_decoding import (
    CHANNEL_COUNTS,
    NotDecodableError,
    bomb_error,
    reason_of,
)
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.schema import Schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.formats.image_decoding import Decoder
    from tensorvcs.formats.tar_samples import Member

Codec = Literal["image", "class", "array", "text", "bytes"]

_CODECS: dict[str, tuple[str, Codec]] = {
    **dict.fromkeys(
        ["jpg", "jpeg", "png", "webp", "ppm", "pgm", "pbm", "pnm", "bmp", "gif", "tif", "tiff"],
        ("images", "image"),
    ),
    "cls": ("labels", "class"),
    "npy": ("arrays", "array"),
    "txt": ("texts", "text"),
    "text": ("texts", "text"),
    "json": ("json", "text"),
    "bin": ("blobs", "bytes"),
}
PICKLES = frozenset({"pyd", "pkl", "pickle", "pth", "pt"})
NATURAL = {"png": "images", "cls": "labels", "npy": "arrays", "txt": "texts", "bin": "blobs"}
"""The column of a field that has no more to its name, by the field an export writes."""


class UnreadableFieldError(Exception):
    """A file of a sample that cannot be read; the text says why."""


def column_of(name: str) -> tuple[str, Codec] | None:
    """Return the column and the codec of a field; None for a pickle.

    >>> column_of("jpg"), column_of("mask.png"), column_of("xyz")
    (('images', 'image'), ('mask', 'image'), ('xyz', 'bytes'))
    """
    stem, _, suffix = name.rpartition(".")
    if suffix in PICKLES:
        return None
    if suffix not in _CODECS:
        return name, "bytes"
    natural, codec = _CODECS[suffix]
    return stem or natural, codec


@dataclass(slots=True)
class ColumnLook:
    """What the files of one column turned out to be, in a first pass."""

    codec: Codec
    first: str
    modes: dict[str, str] = field(default_factory=dict)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    dtypes: dict[str, str] = field(default_factory=dict)
    shapes: dict[int, tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def look(self, member: Member, decoder: Decoder | None) -> None:
        """Take one more file.

        Raises
        ------
        UnreadableFieldError
        """
        if self.codec == "image":
            assert decoder is not None
            mode, (width, height), _, _ = _decode(decoder, member, headers_only=True)
            self.modes.setdefault(mode, member.where)
            self.sizes.add((height, width))
            return
        value = plain_value(self.codec, member)
        if self.codec == "array":
            shape = value.shape
            self.dtypes.setdefault(dtype_name(value.dtype), member.where)
            where, low, high = self.shapes.get(len(shape), (member.where, shape, shape))
            self.shapes[len(shape)] = (
                where,
                tuple(map(min, low, shape)),
                tuple(map(max, high, shape)),
            )

    @property
    def mode(self) -> str:
        """The pixel mode that holds all pictures."""
        if len(self.modes) > 1 and "I;16" in self.modes:
            other = next(mode for mode in self.modes if mode != "I;16")
            raise with_hint(
                InvalidInputError(
                    f"{self.modes['I;16']} has 16 bits of grey, and {self.modes[other]} is {other} "
                    "of 8 bits; one column holds one mode"
                ),
                "choose the mode that all are converted to: mode='I;16', or mode='L' or 'RGB'",
            )
        if len(self.modes) == 1:
            return next(iter(self.modes))
        colour = "RGB" if any(mode.startswith("RGB") for mode in self.modes) else "L"
        return colour + ("A" if any(mode.endswith("A") for mode in self.modes) else "")

    @property
    def schema(self) -> Schema | None:
        """The schema of the column; None when no file of it could be read.

        Raises
        ------
        InvalidInputError
            Its files do not fit one column.
        """
        if self.codec in {"text", "bytes"}:
            return Schema("str" if self.codec == "text" else "bytes")
        if self.codec == "class":
            return Schema("ndarray", "int64", ())
        if self.codec == "image":
            if not self.modes:
                return None
            height = max(height for height, _ in self.sizes)
            width = max(width for _, width in self.sizes)
            mode = self.mode
            name = dtype_name(image_dtype(mode))
            shape = image_shape(mode, height, width)
            return Schema("ndarray", name, shape, variable_shape=len(self.sizes) > 1)
        if not self.dtypes:
            return None
        for what, found in (("dtype", self.dtypes), ("number of axes", self.shapes)):
            if len(found) > 1:
                raise InvalidInputError(
                    f"one column holds arrays of one {what}: {self._example(what, 0)}, and "
                    f"{self._example(what, 1)}"
                )
        _, low, high = next(iter(self.shapes.values()))
        return Schema("ndarray", next(iter(self.dtypes)), high, variable_shape=low != high)

    def _example(self, what: str, place: int) -> str:
        if what == "dtype":
            dtype, where = list(self.dtypes.items())[place]
            return f"{where} is {dtype}"
        ndim, (where, _, _) = list(self.shapes.items())[place]
        return f"{where} has {ndim}"


def value_of(codec: Codec, member: Member, decoder: Decoder | None) -> Any:
    """Return the value of a file: an ndarray, a text or bytes; raise UnreadableFieldError."""
    if codec != "image":
        return plain_value(codec, member)
    assert decoder is not None
    mode, (width, height), pixels, _ = _decode(decoder, member, headers_only=False)
    assert mode in CHANNEL_COUNTS
    return np.frombuffer(pixels, image_dtype(mode)).reshape(image_shape(mode, height, width))


def _decode(
    decoder: Decoder, member: Member, *, headers_only: bool
) -> tuple[str, tuple[int, int], bytes, list[str]]:
    try:
        return decoder.read(io.BytesIO(member.content), headers_only=headers_only)
    except NotDecodableError as error:
        raise UnreadableFieldError(str(error)) from error
    except (*DAMAGE, bomb_error()) as error:
        raise UnreadableFieldError(reason_of(error, member.where)) from error


def plain_value(codec: Codec, member: Member) -> Any:
    """Return the value of a file that is no picture; raise UnreadableFieldError."""
    if codec == "bytes":
        return member.content
    if codec == "array":
        return _array(member)
    try:
        text = member.content.decode()
    except UnicodeDecodeError as error:
        raise UnreadableFieldError("it is no UTF-8") from error
    if codec == "text":
        return text
    digits = text.strip()
    if not digits.removeprefix("-").isdecimal() or len(digits) > 19:
        raise UnreadableFieldError(f"{digits[:20]!r} is no class number")
    number = int(digits)
    if not -(2**63) <= number < 2**63:
        raise UnreadableFieldError(f"{digits[:20]!r} does not fit 64 bits")
    return np.array(number, np.int64)


def _array(member: Member) -> NDArray[Any]:
    try:
        array: NDArray[Any] = npy_format.read_array(io.BytesIO(member.content), allow_pickle=False)
        dtype_name(array.dtype)
    except DAMAGE as error:
        text = str(error).split("\n")[0][:200] or type(error).__name__
        raise UnreadableFieldError(f"it is no array: {text}") from error
    return array
