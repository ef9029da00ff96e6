"""One value from a file or from typed text, for a column of a known schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, StorageError, UnreadableFileError, with_hint
from tensorvcs.formats.images import EXTENSIONS, FORMAT
from tensorvcs.formats.interfaces import ImportOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tensorvcs import Schema
    from tensorvcs.formats.interfaces import ImageMode

_KINDS_OF_FILES = "an array is read from a .npy file or an image, a text from a UTF-8 file"
_MODES: dict[int, ImageMode] = {2: "LA", 3: "RGB", 4: "RGBA"}


def value_of_text(text: str, schema: Schema) -> Any:
    """Return the value that a typed text means: JSON for arrays, such as ``3`` or ``[0.5, 1]``.

    Raises
    ------
    InvalidInputError
        It is no JSON, and the column has arrays.
    """
    if schema.kind == "str":
        return text
    if schema.kind == "bytes":
        return text.encode()
    try:
        return json.loads(text)
    except ValueError as error:
        raise with_hint(
            InvalidInputError(f"{text[:80]!r} is no value of {schema.spelling}"),
            "write numbers like 3, true or [[0.5, 1], [2, 3]], or give a file with --value",
        ) from error


def value_of_file(path: Path, schema: Schema) -> Any:
    """Return the value in a file: ``.npy``, an image, or for texts and bytes the content.

    Raises
    ------
    StorageError
        The file cannot be read.
    UnreadableFileError
        It has no value of that kind.
    """
    try:
        if schema.kind == "bytes":
            return path.read_bytes()
        if schema.kind == "str":
            return path.read_text(encoding="utf-8")
        if path.suffix.lower() in EXTENSIONS:
            return _image(path, schema)
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise with_hint(
            StorageError(f"cannot read {path}: {error.strerror or error}"),
            "name a file, or type the value behind --value-text",
        ) from error
    except (ValueError, EOFError) as error:
        raise with_hint(
            UnreadableFileError(f"it has no value of {schema.spelling}: {error}", str(path)),
            _KINDS_OF_FILES,
        ) from error
    if isinstance(array, np.ndarray):
        return array
    array.close()
    raise with_hint(UnreadableFileError("it has several arrays", str(path)), _KINDS_OF_FILES)


def _image(path: Path, schema: Schema) -> Any:
    """Read an image in the mode that the column has."""
    assert schema.shape is not None
    channels = schema.shape[-1] if len(schema.shape) == 3 else None
    mode: ImageMode | None = _MODES.get(channels or 0)
    if len(schema.shape) == 2 and schema.dtype == "uint8":
        mode = "L"
    source = FORMAT.open(path, ImportOptions(mode=mode, workers=1))
    try:
        source.plan()
        for batch in source.batches():
            for column in batch.columns.values():
                return column.values[0]
        reasons = "; ".join(skipped.reason for skipped in source.skipped)
        raise UnreadableFileError(reasons or "it has no image", str(path))
    finally:
        source.close()
