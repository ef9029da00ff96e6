"""NumPy's own files: ``.npy``, folders of them, and ``.npz``.

In a ``.npy`` or ``.npz`` array the first axis counts the samples; `array_tables` says what their
keys are. A folder of ``.npy`` files holds one sample a file.

Arrays are read in blocks and never mapped: a mapped file that somebody cuts short kills the
process. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import os
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy_format

from tensorvcs.errors import InvalidInputError, UnreadableFileError, with_hint
from tensorvcs.formats.array_tables import (
    BLOCK_NBYTES,
    DAMAGE,
    INT_KEYS,
    STR_KEYS,
    ArrayTableSource,
    column_rows,
    damage_named,
    expected_nbytes,
    key_arrays,
    refuse_image_options,
    stacked_schema,
)
from tensorvcs.formats.destinations import (
    PathsTaken,
    check_folders,
    check_free,
    path_of_key,
    whole_file,
    write_whole_files,
)
from tensorvcs.formats.folders import Found, find_files, keys_of
from tensorvcs.formats.interfaces import Batch, ColumnBatch, Plan, Skipped
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.formats.array_tables import RowArray
    from tensorvcs.formats.interfaces import ExportColumn, ExportOptions, ImportOptions, Progress

_MAX_FORTRAN_NBYTES = 256 << 20
_FILES_A_BATCH = 1024


class NpyArray:
    """One array in ``.npy`` format, read in blocks of rows.

    Parameters
    ----------
    opened : callable
        Opens the file or zip member at its start.
    nbytes : int
        The size of the file.
    is_seekable : bool
        Whether reading at any place is cheap, as a Fortran-order array needs.

    Raises
    ------
    UnreadableFileError, ValueError and others of `DAMAGE`
    """

    def __init__(self, opened: Callable[[], IO[bytes]], nbytes: int, *, is_seekable: bool) -> None:
        self._opened = opened
        self._is_seekable = is_seekable
        with opened() as file:
            version = npy_format.read_magic(file)
            if version == (1, 0):
                header = npy_format.read_array_header_1_0(file)
            elif version == (2, 0):
                header = npy_format.read_array_header_2_0(file)
            else:
                raise ValueError(f"version {version} of the .npy format is not supported")
            self._offset = file.tell()
        self.shape, self._is_fortran, self.dtype = header
        if any(extent < 0 for extent in self.shape):
            raise ValueError(f"the header gives the shape {self.shape}")
        if self.dtype.hasobject:
            raise ValueError("it has Python objects, which are never unpickled")
        expected = expected_nbytes(self.shape, self.dtype)
        if nbytes - self._offset < expected:
            raise ValueError(
                f"it is cut short: {nbytes - self._offset} bytes of data, and shape {self.shape} "
                f"of {self.dtype} needs {expected}"
            )

    @property
    def is_text(self) -> bool:
        return self.dtype.kind == "U"

    def blocks(self, row_count: int) -> Iterator[NDArray[Any]]:
        count = self.shape[0]
        with self._opened() as file:
            if self._is_fortran and len(self.shape) > 1:
                yield from self._fortran_blocks(file, row_count)
                return
            _read_exactly(file, self._offset)
            row_shape = self.shape[1:]
            row_nbytes = expected_nbytes(row_shape, self.dtype)
            for start in range(0, count, row_count):
                rows = min(row_count, count - start)
                content = _read_exactly(file, rows * row_nbytes)
                yield np.ndarray((rows, *row_shape), self.dtype, content)

    def _fortran_blocks(self, file: IO[bytes], row_count: int) -> Iterator[NDArray[Any]]:
        """Gather rows from an array whose first axis runs fastest."""
        count, row_shape = self.shape[0], self.shape[1:]
        runs = expected_nbytes(row_shape, np.dtype("u1"))
        if not self._is_seekable:
            nbytes = expected_nbytes(self.shape, self.dtype)
            if nbytes > _MAX_FORTRAN_NBYTES:
                raise ValueError(
                    f"it is in Fortran order and compressed, and its {nbytes:,} bytes are more "
                    f"than the {_MAX_FORTRAN_NBYTES:,} that are read at once"
                )
            _read_exactly(file, self._offset)
            file = io.BytesIO(_read_exactly(file, nbytes))
        offset = self._offset if self._is_seekable else 0
        for start in range(0, count, row_count):
            rows = min(row_count, count - start)
            block = np.empty((runs, rows), self.dtype)
            for run in range(runs):
                file.seek(offset + (run * count + start) * self.dtype.itemsize)
                content = _read_exactly(file, rows * self.dtype.itemsize)
                block[run] = np.frombuffer(content, self.dtype)
            # The runs are the Fortran order of the other axes.
            yield np.ascontiguousarray(
                block.T.reshape((rows, *row_shape), order="F")
                if len(row_shape) > 1
                else block.T.reshape(rows, *row_shape)
            )


def _read_exactly(file: IO[bytes], nbytes: int) -> bytearray:
    """Read that many bytes or raise EOFError."""
    content = bytearray()
    while len(content) < nbytes:
        part = file.read(min(nbytes - len(content), BLOCK_NBYTES))
        if not part:
            raise EOFError(f"the data ends {nbytes - len(content)} bytes early")
        content += part
    return content


def _npy_file(path: Path) -> NpyArray:
    with damage_named(str(path)):
        return NpyArray(lambda: path.open("rb"), path.stat().st_size, is_seekable=True)


class NpyFolderSource:
    """A folder of ``.npy`` files, one a sample, all of one dtype and number of axes."""

    def __init__(self, found: Found, options: ImportOptions, where: str) -> None:
        self.ignored_count = found.ignored_count
        self.notes: list[str] = []
        self.skipped = list(found.skipped)
        self._found = found
        self._options = options
        self._where = where
        self._progress: Progress | None = None
        self._good: list[int] = []

    def plan(self, progress: Progress | None = None) -> Plan:
        self._progress = progress
        refuse_image_options(self._options, self._where)
        self._keys = keys_of(self._found.names, self._options.key_from)
        shapes: set[tuple[int, ...]] = set()
        dtypes: dict[str, int] = {}
        for place, path in enumerate(self._found.paths):
            try:
                array = _npy_file(Path(path))
                name = dtype_name(array.dtype)
            except InvalidInputError as error:
                problem = error.problem
                self.skipped.append(Skipped(self._found.names[place], problem))
                continue
            dtypes.setdefault(name, place)
            shapes.add(array.shape)
            self._good.append(place)
        if not self._good:
            nothing = InvalidInputError(
                f"{self._where}: no .npy file that can be read; {len(self.skipped)} skipped"
            )
            if self.skipped:
                with_hint(nothing, f"{self.skipped[0].path}: {self.skipped[0].reason}")
            raise nothing
        ndims = {len(shape): shape for shape in shapes}
        if len(dtypes) > 1 or len(ndims) > 1:
            examples = ", ".join(f"{self._found.names[p]} is {d}" for d, p in dtypes.items())
            raise InvalidInputError(
                f"{self._where}: the files of one column have one dtype and one number of axes; "
                f"found {examples}, shapes {', '.join(map(str, ndims.values()))}"
            )
        largest = tuple(max(extents) for extents in zip(*shapes, strict=True))
        schema = Schema("ndarray", next(iter(dtypes)), largest, variable_shape=len(shapes) > 1)
        self._schema = schema
        self._column = self._options.column or "arrays"
        return Plan({self._column: schema}, len(self._good))

    def batches(self) -> Iterator[Batch]:
        keys, values, nbytes = [], [], 0
        for done, place in enumerate(self._good, 1):
            try:
                with damage_named(self._found.names[place]):
                    value = _whole_array(_npy_file(Path(self._found.paths[place])))
                    if not self._fits(value):
                        raise ValueError("it was changed while it was being imported")
            except UnreadableFileError as error:
                self.skipped.append(Skipped(self._found.names[place], error.problem))
                continue
            keys.append(self._keys[place])
            values.append(value)
            nbytes += value.nbytes
            if self._progress is not None:
                self._progress(done, len(self._good))
            if nbytes >= BLOCK_NBYTES or len(keys) == _FILES_A_BATCH:
                yield self._batch(keys, values)
                keys, values, nbytes = [], [], 0
        if keys:
            yield self._batch(keys, values)

    def _fits(self, value: NDArray[Any]) -> bool:
        assert self._schema.shape is not None
        return (
            dtype_name(value.dtype) == self._schema.dtype
            and value.ndim == len(self._schema.shape)
            and all(
                limit is not None
                and (extent <= limit if self._schema.variable_shape else extent == limit)
                for extent, limit in zip(value.shape, self._schema.shape, strict=True)
            )
        )

    def _batch(self, keys: list[Any], values: list[NDArray[Any]]) -> Batch:
        stacked = values if self._schema.variable_shape else np.stack(values)
        return Batch({self._column: ColumnBatch(keys, stacked)})

    def close(self) -> None:
        return


def _whole_array(array: NpyArray) -> NDArray[Any]:
    """Read one array of any shape."""
    if not array.shape:
        # An array without axes: one row of one axis more.
        one = array
        one.shape = (1,)
        return next(one.blocks(1))[0:1].reshape(())
    blocks = list(array.blocks(max(1, array.shape[0])))
    return blocks[0] if blocks else np.empty(array.shape, array.dtype)


class NpyFormat:
    """One ``.npy`` file with a sample a row, or a folder of files with a sample each."""

    name = "npy"
    aliases = ()

    def detect(self, source: Path) -> bool:
        if source.is_file():
            return source.suffix.lower() == ".npy"
        return any(name.lower().endswith(".npy") for _, _, ns in os.walk(source) for name in ns)

    def open(self, source: Path, options: ImportOptions) -> ArrayTableSource | NpyFolderSource:
        if source.is_dir():
            return NpyFolderSource(find_files(source, {".npy"}), options, str(source))
        name = source.name.removesuffix(".npy")
        arrays: dict[str, RowArray] = {name: _npy_file(source)}
        for suffix in (INT_KEYS, STR_KEYS):
            beside = source.with_name(name + suffix + ".npy")
            if beside.is_file():
                arrays[name + suffix] = _npy_file(beside)
        return ArrayTableSource(arrays, options, str(source))

    def accepts(self, columns: Sequence[ExportColumn], destination: Path) -> bool:
        return destination.suffix.lower() == ".npy" or (
            not destination.suffix and len(columns) == 1 and columns[0].schema.kind == "ndarray"
        )

    def write(
        self,
        columns: Sequence[ExportColumn],
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        if len(columns) != 1:
            raise with_hint(
                InvalidInputError(f"a .npy file holds one column, not {len(columns)}"),
                "export to .npz or .h5, or choose one column",
            )
        _refuse_extra(options)
        if destination.suffix.lower() == ".npy":
            return self._write_file(columns[0], destination, options, progress)
        return self._write_folder(columns[0], destination, options, progress)

    def _write_file(
        self,
        column: ExportColumn,
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        members = _members(column, column.name, "npy", progress)
        stem = destination.name[: -len(".npy")]
        paths = [
            destination.with_name(stem + name.removeprefix(column.name) + ".npy")
            for name, _ in members
        ]
        # Keys of an earlier export would be taken for the keys of this one.
        stale = [destination.with_name(stem + suffix + ".npy") for suffix in (INT_KEYS, STR_KEYS)]
        check_free([*paths, *stale], overwrite=options.overwrite)
        with ExitStack() as stack:
            # The last that is entered appears first: the data never stands there without its keys.
            for path, (_, write) in zip(paths, members, strict=True):
                write(stack.enter_context(whole_file(path)))
            for path in stale:
                path.unlink(missing_ok=True)
        return len(paths)

    def _write_folder(
        self,
        column: ExportColumn,
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        schema = column.schema
        if schema.kind != "ndarray" or schema.nested or _is_foreign(schema):
            raise InvalidInputError(
                f"column {column.name!r} of {schema.spelling} cannot become .npy files"
            )
        full = [path_of_key(key) for key in column.keys]
        full = [path if path.endswith(".npy") else path + ".npy" for path in full]
        taken = PathsTaken(full)
        paths = [taken.take(path) for path in full]
        check_folders(destination, paths)
        check_free((destination / path for path in paths), overwrite=options.overwrite)

        def contents() -> Iterator[tuple[Path, bytes]]:
            place = 0
            for batch in column.batches():
                for value in batch.values:
                    buffer = io.BytesIO()
                    npy_format.write_array(buffer, np.asarray(value), allow_pickle=False)
                    yield destination / paths[place], buffer.getvalue()
                    place += 1

        return write_whole_files(contents(), progress)


def _is_foreign(schema: Schema) -> bool:
    return schema.numpy_dtype.type.__module__ != "numpy"


def _refuse_extra(options: ExportOptions) -> None:
    if options.extra:
        raise InvalidInputError(f"unknown option {', '.join(sorted(options.extra))}")


def _members(
    column: ExportColumn, name: str, format_name: str, progress: Callable[[int], None]
) -> list[tuple[str, Callable[[IO[bytes]], None]]]:
    """Return what to write of a column: names, each with a function that writes to a file."""
    keys = [
        (name + suffix, _array_writer(np.array(keys)))
        for suffix, keys in key_arrays(column.keys).items()
    ]
    if column.schema.kind == "str" and not column.schema.nested:
        return [(name, _text_writer(column, progress)), *keys]
    shape, dtype = stacked_schema(column, format_name)

    def write(file: IO[bytes]) -> None:
        header = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy_format.write_array_header_1_0(file, header)
        for _, rows in column_rows(column, progress):
            file.write(np.ascontiguousarray(rows).data.cast("B") if rows.size else b"")

    return [(name, write), *keys]


def _array_writer(array: NDArray[Any]) -> Callable[[IO[bytes]], None]:
    return lambda file: npy_format.write_array(file, array, allow_pickle=False)


def _text_writer(
    column: ExportColumn, progress: Callable[[int], None]
) -> Callable[[IO[bytes]], None]:
    def write(file: IO[bytes]) -> None:
        texts: list[str] = []
        for batch in column.batches():
            texts += [str(text) for text in batch.values]
            progress(len(batch.keys))
        cut = next((place for place, text in enumerate(texts) if text.endswith("\0")), None)
        if cut is not None:
            raise InvalidInputError(
                f"column {column.name!r}, key {column.keys[cut]!r}: a numpy array of texts would "
                "drop the NUL at its end"
            )
        npy_format.write_array(file, np.array(texts, np.str_), allow_pickle=False)

    return write


class NpzFormat:
    """A ``.npz`` archive: an array a column."""

    name = "npz"
    aliases = ()

    def detect(self, source: Path) -> bool:
        return source.is_file() and source.suffix.lower() == ".npz"

    def open(self, source: Path, options: ImportOptions) -> ArrayTableSource:
        arrays: dict[str, RowArray] = {}
        skipped: list[Skipped] = []
        with ExitStack() as stack, damage_named(str(source)):
            archive = stack.enter_context(zipfile.ZipFile(source))
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    continue
                name = member.filename.removesuffix(".npy").replace("/", ".")
                if name in arrays:
                    raise ValueError(f"it has two arrays named {name}")
                try:
                    arrays[name] = NpyArray(
                        lambda member=member: archive.open(member),  # type: ignore[misc]
                        member.file_size,
                        is_seekable=False,
                    )
                except DAMAGE as error:
                    skipped.append(Skipped(f"{source}: {name}", str(error)[:200]))
            close = stack.pop_all().close
        return ArrayTableSource(arrays, options, str(source), skipped=skipped, close=close)

    def accepts(self, columns: Sequence[ExportColumn], destination: Path) -> bool:
        return destination.suffix.lower() == ".npz"

    def write(
        self,
        columns: Sequence[ExportColumn],
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        _refuse_extra(options)
        members = [m for c in columns for m in _members(c, c.name, "npz", progress)]
        check_free([destination], overwrite=options.overwrite)
        with whole_file(destination) as file, zipfile.ZipFile(file, "w") as archive:
            for name, write in members:
                with archive.open(name + ".npy", "w", force_zip64=True) as member:
                    write(member)
        return 1


NPY = NpyFormat()
NPZ = NpzFormat()
