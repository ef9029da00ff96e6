"""Import: any source into the columns of an editable checkout."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tensorvcs.display.progress import count_progress
from tensorvcs.errors import (
    InvalidInputError,
    SchemaMismatchError,
    UnreadableFileError,
    with_hint,
)
from tensorvcs.formats.interfaces import DEFAULT_MAX_PIXELS, ImportOptions
from tensorvcs.formats.registry import detect_format, find_format
from tensorvcs.objects.schema import Schema, check_column_name

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import DTypeLike

    from tensorvcs.display.progress import Shown
    from tensorvcs.formats.interfaces import (
        ImageMode,
        KeyFrom,
        Plan,
        Progress,
        Skipped,
        Source,
    )

_LABEL_SCHEMA = Schema("ndarray", "int64", ())
_NAMES_SCHEMA = Schema("str")


class Target(Protocol):
    """What is imported into: an editable checkout or a transaction."""

    @property
    def columns(self) -> Mapping[str, Any]: ...

    def add_ndarray_column(
        self,
        name: str,
        shape: Sequence[int | None] | None = None,
        dtype: DTypeLike | None = None,
        *,
        variable_shape: bool = False,
    ) -> object: ...

    def add_str_column(self, name: str) -> object: ...

    def add_bytes_column(self, name: str) -> object: ...


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    format : str
    sample_counts : mapping of str to int
        Samples staged, by column.
    created : tuple of str
        The columns that were not there before.
    class_names : tuple of str
        The class of each number in the label column; empty without labels.
    skipped : tuple of Skipped
        What could not be read.
    notes : tuple of str
        What a person should know although the data was read.
    ignored_count : int
        Files of other sorts that were passed over.
    """

    format: str
    sample_counts: Mapping[str, int]
    created: tuple[str, ...]
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    ignored_count: int

    @property
    def sample_count(self) -> int:
        """The samples of all columns together, labels aside."""
        return sum(self.sample_counts.values())


def label_names_column(label_column: str) -> str:
    """Return the column that names the classes of a label column."""
    return f"{label_column}_names"


def import_into(
    target: Target,
    source: str | os.PathLike[str],
    *,
    format: str = "auto",  # noqa: A002 (the word of the command line)
    column: str | None = None,
    label_column: str | None = None,
    resize: tuple[int, int] | None = None,
    key_from: KeyFrom = "path",
    mode: ImageMode | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    strict: bool = False,
    workers: int | None = None,
    progress: Shown[Progress] = None,
    extra: Mapping[str, str] | None = None,
) -> ImportReport:
    """Stage all samples of a file or folder.

    Parameters
    ----------
    target : editable checkout or transaction
    source : path
        A folder of images, an image, a ``.npy`` or ``.npz`` file, a folder of ``.npy`` files, an
        HDF5 file, a CSV file, a Parquet file or a folder of them, a WebDataset tar or a folder of
        them, or what another package's format reads.
    format : str
        The name of the format; ``auto`` looks at the source.
    column : str, optional
        The column to fill, ``images`` for images; for a file of several arrays, the one to take.
    label_column : str, optional
        Also stage the class of each image, which is the name of its folder, as a number in a column
        of int64, and the names of the numbers in a column of texts ``LABEL_COLUMN_names``. Classes
        are numbered in sorted order; those that are there already keep their numbers.
    resize : (height, width), optional
        Scale every image, with antialiasing.
    key_from : {"path", "stem", "name", "number"}
        The key of a sample: the path below the source, the same without its extension, the file
        name, or the position.
    mode : {"L", "LA", "RGB", "RGBA", "I;16"}, optional
        Convert every image; when omitted, to the smallest mode that holds them all.
    max_pixels : int
        Images of more pixels are skipped.
    strict : bool
        Raise instead of skipping what cannot be read.
    workers : int, optional
        Processes that decode images; one for each core when omitted.
    progress : callable or True, optional
        Called with samples done and the total.
    extra : mapping of str to str, optional
        Options of one format; the module of the format lists them.

    Returns
    -------
    ImportReport

    Raises
    ------
    UnreadableFileError
        The source as a whole cannot be read; or, with `strict`, some of it.
    InvalidInputError
        There is nothing to import, an option is not for this format, or samples do not fit one
        column.
    SchemaMismatchError
        A column is there already and has another schema. Nothing was staged.
    FormatNotFoundError, MissingDependencyError, StorageError

    Notes
    -----
    A key that is there already is updated. Memory is about 250 MB at most plus a few megabytes for
    each decoder process. What was staged when an error comes later stays staged and uncommitted.
    """
    path = Path(source)
    options = ImportOptions(
        column, label_column, key_from, resize, mode, max_pixels, workers, dict(extra or {})
    )
    for name in (column, label_column):
        if name is not None:
            check_column_name(name)
    if not path.exists():
        raise UnreadableFileError("there is no such file or folder", path=str(path))
    found = detect_format(path) if format == "auto" else find_format(format)
    with (
        closing(found.open(path, options)) as opened,
        count_progress(progress, "Importing") as report,
    ):
        plan = opened.plan(report)
        if strict:
            _refuse_skipped(opened)
        return _stage(target, opened, plan, label_column, found.name, is_strict=strict)


def import_source(target: Target, source: Source, format_name: str) -> ImportReport:
    """Stage all samples of an opened source; as `import_into` does, and closes it as well."""
    with closing(source):
        return _stage(target, source, source.plan(), None, format_name, is_strict=False)


def _stage(
    target: Target,
    source: Source,
    plan: Plan,
    label_column: str | None,
    format_name: str,
    *,
    is_strict: bool,
) -> ImportReport:
    wanted = dict(plan.columns)
    numbers: dict[str, int] = {}
    if label_column is not None:
        if plan.class_names is None:
            raise InvalidInputError(
                f"the format {format_name!r} has no labels for {label_column!r}"
            )
        names_column = label_names_column(label_column)
        for name, schema in ((label_column, _LABEL_SCHEMA), (names_column, _NAMES_SCHEMA)):
            if name in wanted:
                raise InvalidInputError(f"column {name!r} cannot hold both samples and labels")
            wanted[name] = schema
    created = _check_schemas(target, wanted)
    if label_column is not None:
        assert plan.class_names is not None
        numbers = _class_numbers(target, label_column, plan.class_names)
    for name in created:
        schema = wanted[name]
        if schema.kind == "str":
            target.add_str_column(name)
        elif schema.kind == "bytes":
            target.add_bytes_column(name)
        else:
            target.add_ndarray_column(
                name, schema.shape, schema.numpy_dtype, variable_shape=schema.variable_shape
            )
    if numbers and label_column is not None:
        names = {number: name for name, number in numbers.items()}
        target.columns[label_names_column(label_column)].extend(
            list(names.values()), keys=list(names)
        )
    counts = dict.fromkeys(plan.columns, 0)
    for batch in source.batches():
        for name, part in batch.columns.items():
            target.columns[name].extend(part.values, keys=part.keys)
            counts[name] += len(part.keys)
        if batch.labels is not None and label_column is not None:
            labels = np.array([numbers[str(name)] for name in batch.labels.values], np.int64)
            target.columns[label_column].extend(labels, keys=batch.labels.keys)
    if is_strict:
        _refuse_skipped(source)
    return ImportReport(
        format_name,
        counts,
        tuple(created),
        tuple(name for name, _ in sorted(numbers.items(), key=lambda item: item[1])),
        tuple(source.skipped),
        tuple(source.notes),
        source.ignored_count,
    )


def _refuse_skipped(source: Source) -> None:
    if source.skipped:
        first = source.skipped[0]
        others = f", and {len(source.skipped) - 1} more like it" if len(source.skipped) > 1 else ""
        raise with_hint(
            UnreadableFileError(f"{first.reason}{others}", path=first.path),
            "without strict=True (--strict) such files are skipped and listed",
        )


def _check_schemas(target: Target, wanted: Mapping[str, Schema]) -> list[str]:
    """Return the columns to create; raise SchemaMismatchError when one that is there differs."""
    created = []
    for name, schema in wanted.items():
        check_column_name(name)
        if name not in target.columns:
            created.append(name)
            continue
        present: Schema = target.columns[name].schema
        if not fits_into(schema, present):
            error = SchemaMismatchError(
                "the import does not fit the column that is there",
                column=name,
                found=schema.spelling,
                expected=present.spelling,
            )
            raise with_hint(error, _hint_for(schema, present, name))
    return created


def fits_into(schema: Schema, present: Schema) -> bool:
    """Tell whether all values of a schema may go into a column."""
    if present.nested or (schema.kind, schema.dtype) != (present.kind, present.dtype):
        return False
    if schema.kind != "ndarray":
        return True
    assert schema.shape is not None and present.shape is not None
    if len(schema.shape) != len(present.shape) or (
        schema.variable_shape and not present.variable_shape
    ):
        return False
    return all(
        limit is None
        or (extent is not None and (extent <= limit if present.variable_shape else extent == limit))
        for extent, limit in zip(schema.shape, present.shape, strict=True)
    )


_MODE_OF_CHANNELS = {2: "LA", 3: "RGB", 4: "RGBA"}


def _hint_for(schema: Schema, present: Schema, name: str) -> str:
    """Say how an import of images could fit, where it could."""
    both_pictures = schema.dtype == present.dtype == "uint8" and not present.nested
    if both_pictures and present.shape is not None and len(present.shape) in {2, 3}:
        channels = present.shape[2] if len(present.shape) == 3 else None
        mode = "L" if len(present.shape) == 2 else _MODE_OF_CHANNELS.get(channels or 0)
        assert schema.shape is not None
        if mode is not None and schema.shape[2:] != present.shape[2:]:
            return f"mode={mode!r} (--mode {mode}) converts images to what {name!r} holds"
        if present.is_fixed_shape:
            height, width = present.shape[:2]
            return f"resize=({height}, {width}) (--resize {height}x{width}) scales images to fit"
    return "import into another column"


def _class_numbers(target: Target, label_column: str, class_names: Sequence[str]) -> dict[str, int]:
    """Return the number of each class: those that are there keep theirs, new ones go on."""
    names_column = label_names_column(label_column)
    present: dict[str, int] = {}
    if names_column in target.columns:
        present = {str(name): int(number) for number, name in target.columns[names_column].items()}
    elif label_column in target.columns and len(target.columns[label_column]):
        raise with_hint(
            InvalidInputError(
                f"column {label_column!r} has labels, and no column {names_column!r} says which "
                "class each number is"
            ),
            "import into another label column",
        )
    following = max(present.values(), default=-1) + 1
    numbers = dict(present)
    for name in class_names:
        if name not in numbers:
            numbers[name] = following
            following += 1
    return numbers
