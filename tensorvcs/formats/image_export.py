"""Columns of pixels to PNG files, bit for bit."""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import InvalidInputError, MissingDependencyError, with_hint
from tensorvcs.formats.destinations import (
    PathsTaken,
    check_folders,
    check_free,
    path_of_key,
    write_whole_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.formats.interfaces import ExportColumn, ExportOptions
    from tensorvcs.objects.keys import Key
    from tensorvcs.objects.schema import Schema

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def is_image_schema(schema: Schema) -> bool:
    """Tell whether all values can be PNG files."""
    return _why_no_images(schema) is None


def _why_no_images(schema: Schema) -> str | None:
    if schema.nested:
        return "a nested column has many values a sample"
    if schema.kind != "ndarray" or schema.shape is None:
        return f"the values are {schema.kind}"
    if schema.dtype not in {"uint8", "uint16"}:
        return f"the dtype is {schema.dtype}, and PNG holds uint8 and uint16"
    if len(schema.shape) == 2:
        return None
    most = 4 if schema.dtype == "uint8" else 1
    channels = schema.shape[2] if len(schema.shape) == 3 else None
    if channels is None or not 1 <= channels <= most:
        return (
            f"the shape is {schema.shape}, and a PNG of {schema.dtype} is (height, width) or "
            f"(height, width, {'1 to 4 channels' if most == 4 else '1 channel'})"
        )
    return None


def write_images(
    columns: Sequence[ExportColumn],
    destination: Path,
    options: ExportOptions,
    progress: Callable[[int], None],
    image_extensions: Collection[str],
) -> int:
    """Write one column as PNG files below a folder, or one sample as one file; return their count.

    Raises
    ------
    InvalidInputError
        There is not exactly one column, or its values are no images.
    DestinationExistsError
        A file is there already and `overwrite` is off.
    """
    if len(columns) != 1:
        raise with_hint(
            InvalidInputError(
                f"images are exported one column at a time, not {len(columns)}: "
                f"{', '.join(column.name for column in columns)}"
            ),
            f"choose one: columns=[{columns[0].name!r}] (--column {columns[0].name})"
            if columns
            else "choose a column",
        )
    column = columns[0]
    reason = _why_no_images(column.schema)
    if reason is not None:
        raise with_hint(
            InvalidInputError(f"column {column.name!r} cannot become images: {reason}"),
            "export it with format='npy'",
        )
    if importlib.util.find_spec("PIL") is None:
        raise MissingDependencyError("pillow", "images", "writing image files")
    if options.extra:
        raise InvalidInputError(f"images know no option {', '.join(sorted(options.extra))}")
    if destination.suffix.lower() == ".png" and not destination.is_dir():
        if len(column.keys) != 1:
            raise with_hint(
                InvalidInputError(f"{destination} holds one image, not {len(column.keys)}"),
                "export to a folder, or choose one sample: keys=[KEY] (--key KEY)",
            )
        destination, paths = destination.parent, [destination.name]
    else:
        paths = png_paths(column.keys, options.folders, image_extensions)
    check_folders(destination, paths)
    check_free((destination / path for path in paths), overwrite=options.overwrite)

    def contents() -> Iterator[tuple[Path, bytes]]:
        place = 0
        for batch in column.batches():
            for key, image in zip(batch.keys, batch.values, strict=True):
                assert not isinstance(image, str)
                yield destination / paths[place], encode_png(image, column.name, key)
                place += 1

    return write_whole_files(contents(), progress)


def png_paths(
    keys: Sequence[Key], folders: Mapping[Key, str] | None, image_extensions: Collection[str]
) -> list[str]:
    """Return the path of each key below the destination; no two share one.

    A known image extension becomes ``.png``; where two keys meet by that, as ``a.jpg`` and
    ``a.png`` do, the one that was no PNG keeps its extension: ``a.jpg.png``.
    """
    full = [
        path_of_key(key if folders is None else f"{folders[key]}/{str(key).rpartition('/')[2]}")
        for key in keys
    ]
    stems = [_without_extension(path, image_extensions) for path in full]
    taken = PathsTaken(full)
    paths = [""] * len(full)
    # Who has the name by right comes first.
    by_right = sorted(range(len(full)), key=lambda place: not full[place].endswith(".png"))
    for place in by_right:
        wanted = stems[place] + ".png"
        if not taken.is_free(wanted):
            wanted = full[place] + ".png"
        paths[place] = taken.take(wanted)
    return paths


def _without_extension(path: str, image_extensions: Collection[str]) -> str:
    stem, dot, extension = path.rpartition(".")
    is_known = dot + extension.lower() in image_extensions
    return stem if is_known and stem and not stem.endswith("/") else path


def encode_png(image: NDArray[Any], column: str, key: Key) -> bytes:
    """Return a PNG of the pixels, lossless.

    Parameters
    ----------
    image : ndarray, shape (height, width) or (height, width, channel), uint8 or uint16
    """
    from PIL import Image

    if not image.size:
        raise InvalidInputError(
            f"column {column!r}, key {key!r}: a PNG cannot have the shape {image.shape}"
        )
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    height, width = image.shape[:2]
    if image.dtype.itemsize == 2:
        mode, content = "I;16", image.astype("<u2", copy=False).tobytes()
    else:
        mode, content = _MODES[1 if image.ndim == 2 else image.shape[2]], image.tobytes()
    picture = io.BytesIO()
    Image.frombytes(mode, (width, height), content).save(picture, "PNG")
    return picture.getvalue()
