"""What a format is: the protocol that other packages implement, and the values it exchanges.

A package adds a format by an entry point in its ``pyproject.toml``::

    [project.entry-points."tensorvcs.formats"]
    csv = "my_package.csv_format:FORMAT"

where ``FORMAT`` is an object with the attributes of `Format`. Formats know nothing of
repositories: they turn a path into batches of arrays and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from tensorvcs.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Key
    from tensorvcs.objects.schema import Schema

KeyFrom = Literal["path", "stem", "name", "number"]
ImageMode = Literal["L", "LA", "RGB", "RGBA", "I;16"]
Progress = Callable[[int, "int | None"], None]
"""Called with the count of samples done and the total, None while that is unknown."""

DEFAULT_MAX_PIXELS = 178_956_970
"""Larger images are refused: a small file can claim any size. Pillow's own limit."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a person may ask of an import; a format refuses what it cannot honour.

    Attributes
    ----------
    column : str, optional
        The column to fill; each format has a default.
    label_column : str, optional
        Make a column of class numbers, from the folder of each file.
    key_from : {"path", "stem", "name", "number"}
        A sample's key: the path below the source, the path without its extension, the file name,
        or the position from 0.
    resize : (height, width), optional
    mode : {"L", "LA", "RGB", "RGBA", "I;16"}, optional
        The pixel mode all images are converted to.
    max_pixels : int
        Images of more pixels are skipped.
    workers : int, optional
        Processes that decode; one for each core when omitted.
    extra : mapping of str to str
        Options of formats that other packages add.
    """

    column: str | None = None
    label_column: str | None = None
    key_from: KeyFrom = "path"
    resize: tuple[int, int] | None = None
    mode: ImageMode | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    workers: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_choice("key_from", self.key_from, get_args(KeyFrom))
        if self.mode is not None:
            _check_choice("mode", self.mode, get_args(ImageMode))
        if self.resize is not None and not (
            len(self.resize) == 2
            and all(type(extent) is int and 0 < extent <= 2**16 for extent in self.resize)
        ):
            raise InvalidInputError(
                f"resize is (height, width) in pixels from 1 to 65536, not {self.resize}"
            )
        if self.workers is not None and self.workers < 1:
            raise InvalidInputError(f"workers is at least 1, not {self.workers}")
        if self.max_pixels < 1:
            raise InvalidInputError(f"max_pixels is at least 1, not {self.max_pixels}")


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidInputError(f"{name} is one of {', '.join(choices)}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, or an array in one, that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a source will give.

    Attributes
    ----------
    columns : mapping of str to Schema
        In the order they are created.
    sample_count : int, optional
        How many samples will come at most, counted as `Batch.sample_count` counts; None when
        unknown.
    class_names : tuple of str, optional
        The classes in sorted order when the source has labels.
    """

    columns: Mapping[str, Schema]
    sample_count: int | None = None
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ColumnBatch:
    """Some samples of one column.

    Attributes
    ----------
    keys : sequence of int or str, length n
    values : ndarray, shape (n, *shape), or list of length n
        Stacked when the shape is fixed; a list of arrays when it varies, or of texts or bytes.
    """

    keys: Sequence[Key]
    values: NDArray[Any] | list[NDArray[Any]] | list[str] | list[bytes]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples of one or more planned columns.

    Attributes
    ----------
    columns : mapping of str to ColumnBatch
    labels : ColumnBatch, optional
        Class names, texts of `Plan.class_names`, of the samples of the batch.
    """

    columns: Mapping[str, ColumnBatch]
    labels: ColumnBatch | None = None

    @property
    def sample_count(self) -> int:
        """The samples of all columns together."""
        return sum(len(batch.keys) for batch in self.columns.values())


class Source(Protocol):
    """One opened file or folder. `plan` is called once, then `batches` once, then `close`."""

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What could not be read, so far; complete when `batches` has ended."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know although the data was read."""
        ...

    @property
    def ignored_count(self) -> int:
        """How many files were passed over because they are of another sort."""
        ...

    def plan(self, progress: Progress | None = None) -> Plan:
        """Look at the whole source, its payload aside where that is possible.

        Raises
        ------
        InvalidInputError
            There is nothing to import, or the samples do not fit one column.
        UnreadableFileError
            The source as a whole cannot be read.
        """
        ...

    def batches(self) -> Iterator[Batch]:
        """Give all samples that can be read, a few megabytes at a time."""
        ...

    def close(self) -> None:
        """Release files and processes; harmless when called twice."""
        ...


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a person may ask of an export.

    Attributes
    ----------
    overwrite : bool
        Replace files that are there already.
    folders : mapping of key to str, optional
        The folder of each sample, where a format writes one file a sample.
    extra : mapping of str to str
        Options of formats that other packages add.
    """

    overwrite: bool = False
    folders: Mapping[Key, str] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """One column to write.

    Attributes
    ----------
    name : str
    schema : Schema
    keys : sequence of int or str, length n
        In key order.
    batches : callable
        Returns an iterator over all samples in that order, a few megabytes at a time.
    """

    name: str
    schema: Schema
    keys: Sequence[Key]
    batches: Callable[[], Iterator[ColumnBatch]]


class Format(Protocol):
    """A way to keep samples in files."""

    @property
    def name(self) -> str:
        """What a person types behind ``--format``; the name of the entry point."""
        ...

    @property
    def aliases(self) -> Sequence[str]:
        """Other names for it, such as a file extension without the dot."""
        ...

    def detect(self, source: Path) -> bool:
        """Tell whether a path looks like this format; reads as little as it can."""
        ...

    def open(self, source: Path, options: ImportOptions) -> Source:
        """Open a path to import from.

        Raises
        ------
        InvalidInputError
            An option is not for this format.
        """
        ...

    def accepts(self, columns: Sequence[ExportColumn], destination: Path) -> bool:
        """Tell whether ``--format auto`` should write these columns to that path like this."""
        ...

    def write(
        self,
        columns: Sequence[ExportColumn],
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        """Write all columns and return the count of files.

        `progress` is called with the count of samples written since the last call. Files appear
        under their names only when they are whole.

        Raises
        ------
        InvalidInputError
            The columns do not fit the format; nothing has been written.
        DestinationExistsError
            A file is there already and `overwrite` is off; nothing has been written.
        """
        ...
