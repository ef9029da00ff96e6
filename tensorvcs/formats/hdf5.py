"""HDF5 files: a column a dataset, groups joined to the name with dots.

The first axis of a dataset counts the samples. Links out of the file, and datasets whose data lies
in other files, are skipped: importing a file reads that file alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from tensorvcs.errors import InvalidInputError
from tensorvcs.formats.array_tables import (
    ArrayTableSource,
    column_rows,
    damage_named,
    key_arrays,
    stacked_schema,
)
from tensorvcs.formats.destinations import check_free, partial_path
from tensorvcs.formats.interfaces import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.formats.array_tables import RowArray
    from tensorvcs.formats.interfaces import ExportColumn, ExportOptions, ImportOptions

EXTENSIONS = frozenset({".h5", ".hdf5", ".hdf", ".he5"})
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class DatasetRows:
    """A dataset as rows."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype
        self.is_text = h5py.check_string_dtype(dataset.dtype) is not None

    def blocks(self, row_count: int) -> Iterator[NDArray[Any]]:
        rows = self._dataset.asstr() if self.is_text else self._dataset
        for start in range(0, self.shape[0], row_count):
            yield rows[start : start + row_count]


def _why_not(dataset: h5py.Dataset) -> str | None:
    if dataset.shape is None:
        return "it is empty: it has no shape"
    if dataset.is_virtual or dataset.external:
        return "its data lies in other files"
    return None


class Hdf5Format:
    """An HDF5 file: a dataset a column."""

    name = "hdf5"
    aliases = ("h5", "hdf")

    def detect(self, source: Path) -> bool:
        if not source.is_file():
            return False
        if source.suffix.lower() in EXTENSIONS:
            return True
        with source.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE

    def open(self, source: Path, options: ImportOptions) -> ArrayTableSource:
        arrays: dict[str, RowArray] = {}
        skipped: list[Skipped] = []

        def visit(path: str, thing: object) -> None:
            if not isinstance(thing, h5py.Dataset):
                return
            name = path.replace("/", ".")
            reason = _why_not(thing)
            if name in arrays:
                reason = f"another dataset has the name {name} when groups are joined with dots"
            if reason is None:
                arrays[name] = DatasetRows(thing)
            else:
                skipped.append(Skipped(f"{source}: {path}", reason))

        with ExitStack() as stack, damage_named(str(source)):
            # A network mount may have no locks, and reading needs none.
            file = stack.enter_context(h5py.File(source, "r", locking=False))
            # Visits neither soft nor external links.
            file.visititems(visit)
            close = stack.pop_all().close
        return ArrayTableSource(arrays, options, str(source), skipped=skipped, close=close)

    def accepts(self, columns: Sequence[ExportColumn], destination: Path) -> bool:
        return destination.suffix.lower() in EXTENSIONS

    def write(
        self,
        columns: Sequence[ExportColumn],
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        if options.extra:
            raise InvalidInputError(f"unknown option {', '.join(sorted(options.extra))}")
        for column in columns:
            if column.schema.kind != "str" or column.schema.nested:
                stacked_schema(column, "HDF5")
        check_free([destination], overwrite=options.overwrite)
        with (
            partial_path(destination) as partial,
            h5py.File(partial, "w", libver=("earliest", "v110")) as file,
        ):
            for column in columns:
                _write_column(file, column, progress)
                for suffix, keys in key_arrays(column.keys).items():
                    dtype = np.int64 if isinstance(keys[0], int) else h5py.string_dtype()
                    file.create_dataset(column.name + suffix, data=np.array(keys, dtype))
        return 1


def _write_column(file: h5py.File, column: ExportColumn, progress: Callable[[int], None]) -> None:
    if column.schema.kind != "str":
        shape, dtype = stacked_schema(column, "HDF5")
        dataset = file.create_dataset(column.name, shape, dtype)
        for at, rows in column_rows(column, progress):
            if rows.size:
                dataset[at : at + len(rows)] = rows
        return
    dataset = file.create_dataset(column.name, (len(column.keys),), h5py.string_dtype())
    at = 0
    for batch in column.batches():
        texts = [str(text) for text in batch.values]
        with_nul = next((place for place, text in enumerate(texts) if "\0" in text), None)
        if with_nul is not None:
            raise InvalidInputError(
                f"column {column.name!r}, key {batch.keys[with_nul]!r}: HDF5 texts cannot hold NUL"
            )
        dataset[at : at + len(texts)] = texts
        at += len(texts)
        progress(len(texts))


FORMAT = Hdf5Format()
