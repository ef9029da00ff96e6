"""Export: columns of a checkout to files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tensorvcs.display.progress import count_progress
from tensorvcs.errors import ColumnNotFoundError, InvalidInputError, StorageError, with_hint
from tensorvcs.formats.array_tables import block_count
from tensorvcs.formats.importing import label_names_column
from tensorvcs.formats.interfaces import ColumnBatch, ExportColumn, ExportOptions
from tensorvcs.formats.registry import accepted, detect_export_format, find_format

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from tensorvcs.display.progress import Shown
    from tensorvcs.formats.interfaces import Progress
    from tensorvcs.objects.keys import Key
    from tensorvcs.objects.schema import Schema


class ReadableColumn(Protocol):
    """A column to read from; values come in key order."""

    @property
    def schema(self) -> Schema: ...

    def __len__(self) -> int: ...

    def keys(self) -> Collection[Key]: ...

    def __getitem__(self, selection: Any) -> Any: ...


class Readable(Protocol):
    """What is exported from: a checkout."""

    @property
    def columns(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did.

    Attributes
    ----------
    format : str
    sample_counts : mapping of str to int
        Samples written, by column.
    file_count : int
    """

    format: str
    sample_counts: Mapping[str, int]
    file_count: int


def export_from(
    checkout: Readable,
    destination: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    keys: Iterable[Key] | None = None,
    format: str = "auto",  # noqa: A002 (the word of the command line)
    label_folders: str | None = None,
    overwrite: bool = False,
    progress: Shown[Progress] = None,
    extra: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write columns to files.

    Parameters
    ----------
    checkout : checkout
    destination : path
        A ``.npy``, ``.npz``, ``.h5``, ``.csv``, ``.parquet`` or ``.tar`` file, or a folder for
        images or single ``.npy`` files.
    columns : sequence of str, optional
        All columns when omitted; or, where the destination holds one alone, the only one that fits.
    keys : iterable of int or str, optional
        These samples, which every column must have; all when omitted.
    format : str
        The name of the format; ``auto`` looks at the destination and the columns.
    label_folders : str, optional
        A label column: each image goes into the folder of its class, under the last part of its
        key.
    overwrite : bool
        Replace files that are there already.
    progress : callable or True, optional
        Called with samples done and the total.
    extra : mapping of str to str, optional
        Options of formats that other packages add.

    Returns
    -------
    ExportReport

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError
    InvalidInputError
        The columns do not fit the format; nothing was written.
    DestinationExistsError
        A file is there already; nothing was written.
    FormatNotFoundError, MissingDependencyError, StorageError

    Notes
    -----
    A key with ``..``, a drive letter or the like becomes a file name in percent codes, so nothing
    is ever written outside the destination. Each file appears when it is whole. Memory is a few
    megabytes, and the keys.
    """
    path = Path(destination)
    names = list(checkout.columns) if columns is None else list(columns)
    for name in [*names, *([label_folders] if label_folders is not None else [])]:
        if name not in checkout.columns:
            raise with_hint(
                ColumnNotFoundError(f"there is no column {name!r}"),
                f"columns are {', '.join(sorted(checkout.columns)) or 'none'}",
            )
    chosen = None if keys is None else list(dict.fromkeys(keys))
    exported = [_export_column(name, checkout.columns[name], chosen) for name in names]
    if not exported:
        raise InvalidInputError("there is no column to export")
    folders = None
    if label_folders is not None:
        if columns is None:
            aside = {label_folders, label_names_column(label_folders)}
            exported = [column for column in exported if column.name not in aside]
        folders = _folders_of(checkout, label_folders, exported)
    if format == "auto":
        found, exported = detect_export_format(exported, path, is_subset_allowed=columns is None)
    else:
        found = find_format(format)
        if columns is None:
            exported = accepted(found, exported, path) or exported
    options = ExportOptions(overwrite, folders, dict(extra or {}))
    total = sum(len(column.keys) for column in exported)
    done = 0

    try:
        with count_progress(progress, "Exporting") as report:

            def count_in(count: int) -> None:
                nonlocal done
                done += count
                if report is not None:
                    report(done, total)

            file_count = found.write(exported, path, options, count_in)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    counts = {column.name: len(column.keys) for column in exported}
    return ExportReport(found.name, counts, file_count)


def _export_column(name: str, column: ReadableColumn, chosen: list[Key] | None) -> ExportColumn:
    schema = column.schema
    keys = list(column.keys()) if chosen is None else chosen
    row_nbytes = schema.row_nbytes if schema.is_fixed_shape else 1 << 17
    step = block_count(row_nbytes)

    def batches() -> Iterator[ColumnBatch]:
        for start in range(0, len(keys), step):
            part = keys[start : start + step]
            values = column[start : start + len(part)] if chosen is None else column[part]
            yield ColumnBatch(part, values)

    return ExportColumn(name, schema, keys, batches)


def _folders_of(
    checkout: Readable, label_column: str, exported: Sequence[ExportColumn]
) -> dict[Key, str]:
    """Return the class name of each exported key."""
    names: Callable[[Any], str] = str
    names_column = label_names_column(label_column)
    if names_column in checkout.columns:
        present = {key: str(name) for key, name in checkout.columns[names_column].items()}

        def names(label: Any) -> str:
            return present.get(int(label), str(int(label)))

    keys = list(dict.fromkeys(key for column in exported for key in column.keys))
    return {
        key: names(label)
        for key, label in zip(keys, checkout.columns[label_column][keys], strict=True)
    }
