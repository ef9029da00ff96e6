"""Parquet files, and folders of them: a column a column, a row a sample.

Options, on the command line by ``-o NAME=VALUE``: ``key``, the column of keys; ``key`` by itself,
or the number of the row where there is none.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import InvalidInputError, UnreadableFileError, with_hint
from tensorvcs.formats.array_tables import block_count, damage_named
from tensorvcs.formats.arrow_tables import ArrowTableSource
from tensorvcs.formats.arrow_values import (
    arrow_array,
    arrow_type,
    require_pyarrow,
    why_no_arrow,
)
from tensorvcs.formats.destinations import check_free, whole_file
from tensorvcs.formats.folders import find_files
from tensorvcs.formats.table_keys import INT_KEY, KEY, STR_KEY
from tensorvcs.formats.table_rows import TableRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from tensorvcs.formats.interfaces import ExportColumn, ExportOptions, ImportOptions
    from tensorvcs.objects.keys import Key

EXTENSIONS = frozenset({".parquet", ".pq"})
_SIGNATURE = b"PAR1"
_ROWS_AT_ONCE = 8192


class ParquetFormat:
    """A table of typed columns."""

    name = "parquet"
    aliases = ("pq",)

    def detect(self, source: Path) -> bool:
        if source.is_dir():
            return bool(find_files(source, EXTENSIONS).names)
        if source.suffix.lower() in EXTENSIONS:
            return True
        with source.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE

    def open(self, source: Path, options: ImportOptions) -> ArrowTableSource:
        require_pyarrow("reading Parquet files")
        import pyarrow.parquet as pq

        found = find_files(source, EXTENSIONS)
        if not found.paths:
            raise UnreadableFileError("there is no Parquet file in it", path=str(source))
        with ExitStack() as stack:
            files = []
            for path in found.paths:
                with damage_named(path):
                    # As a file, so that no path is taken for a URL.
                    file = pq.ParquetFile(stack.enter_context(open(path, "rb")))  # noqa: PTH123
                files.append(file)
            schema = files[0].schema_arrow
            for path, file in zip(found.paths, files, strict=True):
                if not file.schema_arrow.equals(schema):
                    raise UnreadableFileError(
                        f"its columns are not those of {found.paths[0]}", path=path
                    )

            def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
                for file in files:
                    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                        # In the order asked for, and without what a name with a dot brought along.
                        yield batch.select(columns)

            row_count = sum(file.metadata.num_rows for file in files)
            close = stack.pop_all().close
        made = ArrowTableSource(schema, read, options, str(source), row_count, close)
        made.skipped.extend(found.skipped)
        made.ignored_count = found.ignored_count
        return made

    def accepts(self, columns: Sequence[ExportColumn], destination: Path) -> bool:
        return destination.suffix.lower() in EXTENSIONS and all(
            why_no_arrow(column.schema) is None for column in columns
        )

    def write(
        self,
        columns: Sequence[ExportColumn],
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        if options.extra:
            raise InvalidInputError(f"unknown option {', '.join(sorted(options.extra))}")
        pa = require_pyarrow("writing Parquet files")
        import pyarrow.parquet as pq

        for column in columns:
            reason = why_no_arrow(column.schema)
            if reason is not None:
                raise with_hint(
                    InvalidInputError(f"column {column.name!r} cannot be in Parquet: {reason}"),
                    "choose other columns",
                )
        rows = TableRows(columns)
        check_free([destination], overwrite=options.overwrite)
        key_types = _key_types(rows.keys)
        types = [(column.name, arrow_type(column.schema)) for column in columns]
        schema = pa.schema([*key_types.items(), *types])
        sizes = [c.schema.row_nbytes if c.schema.is_fixed_shape else 1 << 10 for c in columns]
        with (
            whole_file(destination) as file,
            pq.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            for keys, block in rows.blocks(block_count(sum(sizes) + 64)):
                arrays = _key_arrays(key_types, keys)
                for column in columns:
                    is_there, values = block[column.name]
                    array = arrow_array(column.schema, values)
                    progress(len(array))
                    if is_there is not None:
                        places = is_there.cumsum() - 1
                        array = array.take(pa.array(places, mask=~is_there))
                    arrays.append(array)
                writer.write_batch(pa.record_batch(arrays, schema=schema))
        return 1


def _key_types(keys: Sequence[Key]) -> dict[str, Any]:
    import pyarrow as pa

    kinds = {type(key) for key in keys}
    if len(kinds) > 1:
        return {INT_KEY: pa.int64(), STR_KEY: pa.string()}
    return {KEY: pa.string() if str in kinds else pa.int64()}


def _key_arrays(types: dict[str, Any], keys: Sequence[Key]) -> list[Any]:
    import pyarrow as pa

    if KEY in types:
        return [pa.array(keys, types[KEY])]
    return [
        pa.array([key if isinstance(key, kind) else None for key in keys], types[name])
        for name, kind in ((INT_KEY, int), (STR_KEY, str))
    ]


FORMAT = ParquetFormat()
