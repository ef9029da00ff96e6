"""Folders of images, one file a sample; one column of pixels, and a label for each folder.

Images become arrays (height, width) or (height, width, channel), uint8, or uint16 for grey images
of 16 bits. A column has one mode: where modes are mixed, all images are converted to the smallest
of L, LA, RGB and RGBA that holds them all. Images of one size make a column of fixed shape, others
one of variable shape. EXIF orientations are applied, palettes and CMYK become RGB, and of an
animation the first frame is taken.
"""

from __future__ import annotations

import importlib.util
import os
from collections import Counter, deque
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, MissingDependencyError, with_hint
from tensorvcs.formats.decoder_pool import (
    DecoderPool,
    image_dtype,
    image_shape,
    usable_core_count,
)
from tensorvcs.formats.folders import find_files, folder_of, keys_of
from tensorvcs.formats.image_decoding import CHANNEL_COUNTS
from tensorvcs.formats.image_export import is_image_schema, write_images
from tensorvcs.formats.interfaces import Batch, ColumnBatch, Plan, Skipped
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.formats.decoder_pool import Answer, Block
    from tensorvcs.formats.folders import Found
    from tensorvcs.formats.interfaces import ExportColumn, ExportOptions, ImportOptions, Progress
    from tensorvcs.objects.keys import Key

EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".jp2", ".j2k", ".avif", ".mpo",
})  # fmt: skip

DEFAULT_COLUMN = "images"
KEPT_NBYTES = 192 << 20
"""Pixels up to this many bytes are kept from the planning pass, so that most data sets of small
images are decoded once; of what comes after, planning reads the headers alone."""

_BATCH_NBYTES = 8 << 20
_FILES_A_PROCESS = 64


class ImageSource:
    """The images below one folder, or one image file.

    Parameters
    ----------
    found : Found
    options : ImportOptions
    where : str
        What to call the source in messages.
    kept_nbytes : int
        How many bytes of pixels planning may keep.
    """

    def __init__(
        self, found: Found, options: ImportOptions, where: str, kept_nbytes: int = KEPT_NBYTES
    ) -> None:
        self.ignored_count = found.ignored_count
        self._found = found
        self._options = options
        self._where = where
        self._kept_nbytes = kept_nbytes
        self._column = options.column or DEFAULT_COLUMN
        self._failed: dict[int, str] = {}
        self._notes: dict[tuple[int, str], None] = {}
        self._kept: deque[Answer] = deque()
        self._next_place = 0
        self._mode = ""
        self._schema: Schema | None = None
        self._progress: Progress | None = None
        self._pool: DecoderPool | None = None

    @property
    def skipped(self) -> list[Skipped]:
        failed = sorted(self._failed.items())
        return [
            *self._found.skipped,
            *(Skipped(self._found.names[place], reason) for place, reason in failed),
        ]

    @property
    def notes(self) -> list[str]:
        counts = Counter(note for _, note in self._notes)
        examples = {note: place for place, note in reversed(self._notes)}
        return [
            f"{note}: {count} {'image' if count == 1 else 'images'}, such as "
            f"{self._found.names[examples[note]]}"
            for note, count in sorted(counts.items())
        ]

    def plan(self, progress: Progress | None = None) -> Plan:
        self._progress = progress
        if not self._found.names:
            raise self._nothing()
        self._keys: Sequence[Key] = keys_of(self._found.names, self._options.key_from)
        if self._options.label_column is not None:
            for place, name in enumerate(self._found.names):
                if not folder_of(name):
                    self._failed[place] = "it is in no folder that could be its label"
        wanted = self._options
        if wanted.mode is not None and wanted.resize is not None:
            modes: dict[str, int] = {wanted.mode: 0}
            sizes = {wanted.resize}
        else:
            modes, sizes = self._look_at_all()
        if not modes or len(self._failed) == len(self._found.names):
            raise self._nothing()
        self._mode = wanted.mode or self._common_mode(modes)
        height = max(height for height, _ in sizes)
        width = max(width for _, width in sizes)
        self._schema = Schema(
            "ndarray",
            dtype_name(image_dtype(self._mode)),
            image_shape(self._mode, height, width),
            variable_shape=len(sizes) > 1,
        )
        classes = None
        if wanted.label_column is not None:
            good = (n for p, n in enumerate(self._found.names) if p not in self._failed)
            classes = tuple(sorted({folder_of(name) for name in good}, key=_class_order))
        count = len(self._found.names) - len(self._failed)
        return Plan({self._column: self._schema}, count, classes)

    def _nothing(self) -> InvalidInputError:
        error = InvalidInputError(
            f"{self._where}: no image that can be read; {len(self.skipped)} skipped, "
            f"{self.ignored_count} files of other sorts"
        )
        if self.skipped:
            with_hint(error, f"{self.skipped[0].path}: {self.skipped[0].reason}")
        return error

    def _look_at_all(self) -> tuple[dict[str, int], set[tuple[int, int]]]:
        """Return the modes, each with the place of an example, and the sizes (height, width)."""
        modes: dict[str, int] = {}
        sizes: set[tuple[int, int]] = set()

        def look(answer: Answer) -> None:
            self._take_notes(answer)
            for block in answer.blocks:
                modes.setdefault(block.mode, block.places[0])
                sizes.add((block.height, block.width))

        kept_nbytes = 0
        with closing(self._decoders().answers(self._found.paths, headers_only=False)) as answers:
            for answer in answers:
                look(answer)
                self._kept.append(answer)
                self._next_place = answer.start + answer.done
                self._report()
                kept_nbytes += answer.pixels_nbytes
                if kept_nbytes > self._kept_nbytes:
                    break
        if self._next_place < len(self._found.paths):
            rest = self._decoders().answers(self._found.paths, self._next_place, headers_only=True)
            for answer in rest:
                look(answer)
        return modes, sizes

    def _common_mode(self, modes: dict[str, int]) -> str:
        if len(modes) > 1 and "I;16" in modes:
            other = next(mode for mode in modes if mode != "I;16")
            raise with_hint(
                InvalidInputError(
                    f"{self._where}: {self._found.names[modes['I;16']]} has 16 bits of grey, and "
                    f"{self._found.names[modes[other]]} is {other} of 8 bits; one column holds one "
                    "mode"
                ),
                "choose the mode that all are converted to: mode='I;16', or mode='L' or 'RGB'",
            )
        if len(modes) == 1:
            return next(iter(modes))
        colour = "RGB" if any(mode.startswith("RGB") for mode in modes) else "L"
        common = colour + ("A" if any(mode.endswith("A") for mode in modes) else "")
        for mode, place in modes.items():
            if mode != common:
                self._notes[place, f"modes are mixed; all became {common}"] = None
        return common

    def _decoders(self) -> DecoderPool:
        if self._pool is None:
            if importlib.util.find_spec("PIL") is None:
                raise MissingDependencyError("pillow", "images", "reading image files")
            useful = -(-len(self._found.paths) // _FILES_A_PROCESS)
            self._pool = DecoderPool(
                self._options.workers or min(useful, usable_core_count()),
                {
                    "mode": self._options.mode,
                    "resize": self._options.resize,
                    "max_pixels": self._options.max_pixels,
                },
            )
        return self._pool

    def _take_notes(self, answer: Answer) -> None:
        for place, reason in answer.failed:
            self._failed.setdefault(place, reason)
        self._notes.update(dict.fromkeys(answer.notes))

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._next_place, len(self._found.paths))

    def batches(self) -> Iterator[Batch]:
        assert self._schema is not None, "plan comes first"
        places: list[int] = []
        parts: list[NDArray[Any]] = []
        nbytes = 0
        for block_places, pixels in self._fitting_pixels():
            places += block_places
            parts.append(pixels)
            nbytes += pixels.nbytes
            if nbytes >= _BATCH_NBYTES:
                yield self._batch(places, parts)
                places, parts, nbytes = [], [], 0
        if places:
            yield self._batch(places, parts)

    def _batch(self, places: Sequence[int], parts: Sequence[NDArray[Any]]) -> Batch:
        assert self._schema is not None
        keys = [self._keys[place] for place in places]
        values: NDArray[Any] | list[NDArray[Any]]
        if self._schema.variable_shape:
            values = [image for part in parts for image in part]
        else:
            values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        labels = None
        if self._options.label_column is not None:
            names = [folder_of(self._found.names[place]) for place in places]
            labels = ColumnBatch(keys, names)
        return Batch({self._column: ColumnBatch(keys, values)}, labels)

    def _fitting_pixels(self) -> Iterator[tuple[Sequence[int], NDArray[Any]]]:
        """Give places and pixels in the planned mode, without images that failed."""
        for answer in self._all_answers():
            for block in answer.blocks:
                assert block.pixels is not None
                places, pixels = block.places, block.pixels
                misfit = self._misfit(block)
                if misfit is not None:
                    self._failed.update(dict.fromkeys(places, misfit))
                if any(place in self._failed for place in places):
                    good = [at for at, place in enumerate(places) if place not in self._failed]
                    places, pixels = [places[at] for at in good], pixels[good]
                if places:
                    yield places, widened(pixels, block.mode, self._mode)

    def _all_answers(self) -> Iterator[Answer]:
        while self._kept:
            yield self._kept.popleft()
        if self._next_place >= len(self._found.paths):
            return
        rest = self._decoders().answers(self._found.paths, self._next_place, headers_only=False)
        with closing(rest):
            for answer in rest:
                self._take_notes(answer)
                self._next_place = answer.start + answer.done
                self._report()
                yield answer

    def _misfit(self, block: Block) -> str | None:
        """Say why images do not fit the plan: the files were changed since."""
        assert self._schema is not None and self._schema.shape is not None
        shape = image_shape(self._mode, block.height, block.width)
        fits = all(
            limit is not None
            and (extent <= limit if self._schema.variable_shape else extent == limit)
            for extent, limit in zip(shape, self._schema.shape, strict=True)
        )
        if fits and can_widen(block.mode, self._mode):
            return None
        return "it was changed while it was being imported"

    def close(self) -> None:
        self._kept.clear()
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def _class_order(name: str) -> tuple[int, int, str]:
    """Sort class names as text, but numbers by value and before the rest."""
    if name.isascii() and name.isdigit():
        return 0, int(name), name
    return 1, 0, name


def can_widen(mode: str, wanted: str) -> bool:
    """Tell whether a mode can become another without loss, as mixed columns need."""
    if mode == wanted:
        return True
    if "I;16" in {mode, wanted}:
        return False
    is_grey_or_both_colour = mode.startswith("L") or wanted.startswith("RGB")
    return is_grey_or_both_colour and (not mode.endswith("A") or wanted.endswith("A"))


def widened(pixels: NDArray[Any], mode: str, wanted: str) -> NDArray[Any]:
    """Convert stacked pixels to a mode that holds them: grey is repeated, alpha becomes opaque."""
    if mode == wanted:
        return pixels
    count, height, width = pixels.shape[:3]
    result = np.full((count, height, width, CHANNEL_COUNTS[wanted]), 255, np.uint8)
    colour = pixels[..., None] if pixels.ndim == 3 else pixels
    if mode.endswith("A"):
        result[..., -1] = colour[..., -1]
        colour = colour[..., :-1]
    result[..., : CHANNEL_COUNTS[wanted] - wanted.endswith("A")] = colour
    return result


class ImageFormat:
    """Images, one file a sample."""

    name = "images"
    aliases = ("png", "jpg", "jpeg", "image")

    def detect(self, source: Path) -> bool:
        if source.is_file():
            return source.suffix.lower() in EXTENSIONS
        return any(
            Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")
            for _, _, names in os.walk(source)
            for name in names
        )

    def open(self, source: Path, options: ImportOptions) -> ImageSource:
        if options.extra:
            raise InvalidInputError(f"images know no option {', '.join(sorted(options.extra))}")
        return ImageSource(find_files(source, EXTENSIONS), options, str(source))

    def accepts(self, columns: Sequence[ExportColumn], destination: Path) -> bool:
        is_file = destination.suffix.lower() == ".png"
        return (
            (is_file or not destination.suffix)
            and len(columns) == 1
            and is_image_schema(columns[0].schema)
        )

    def write(
        self,
        columns: Sequence[ExportColumn],
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        return write_images(columns, destination, options, progress, EXTENSIONS)


FORMAT = ImageFormat()
