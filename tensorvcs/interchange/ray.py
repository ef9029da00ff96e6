"""Columns as a Ray dataset, and Ray datasets into columns by many workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, MissingDependencyError, with_hint
from tensorvcs.formats.arrow_values import arrow_values, schema_of_arrow
from tensorvcs.formats.table_keys import KEY
from tensorvcs.interchange.arrow import arrow_rows
from tensorvcs.interchange.places import BranchPlace, chunk_count, create_columns, flat_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.objects.schema import Schema
    from tensorvcs.repository import Repository

_COMMITS = "commit"


@dataclass(frozen=True, slots=True)
class ReadRange:
    """What one task reads: a range of positions of some columns, as one Arrow table."""

    checkout: Checkout
    columns: tuple[str, ...]
    start: int
    stop: int

    def __call__(self) -> list[pa.Table]:
        import pyarrow as pa

        batch = arrow_rows(self.checkout, self.columns, self.start, self.stop)
        return [pa.Table.from_batches([batch])]


def to_ray(
    checkout: Checkout,
    columns: str | Sequence[str],
    *,
    block_samples: int | None = None,
) -> Any:
    """Return columns as a Ray dataset, which its workers read.

    Parameters
    ----------
    checkout : Checkout
        A read-only one, of a repository at the same path on all machines.
    columns : str or sequence of str
        With the same keys, not nested, of types that Arrow has.
    block_samples : int, optional
        Samples of a block; about 64 MiB of them when omitted.

    Returns
    -------
    ray.data.Dataset
        A row a sample, in key order; the key in `key`. Arrays of one shape are tensors.

    Raises
    ------
    ColumnNotFoundError, InvalidInputError
    MissingDependencyError
        Ray, or pyarrow, is not installed.

    Notes
    -----
    A task holds the path of the repository and the id of the commit. Workers read through the
    memory map and copy to the object store of Ray once.
    """
    ray = _require_ray("a Ray dataset")
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    names = (columns,) if isinstance(columns, str) else tuple(columns)
    found = [flat_column(checkout, name) for name in names]
    schema = arrow_rows(checkout, names, 0, 0).schema
    if not all(found[0].has_same_keys(other) for other in found[1:]):
        raise with_hint(
            InvalidInputError(f"columns {', '.join(names)} do not have the same samples"),
            "to_arrow takes columns of different keys",
        )
    if block_samples is not None and block_samples < 1:
        raise InvalidInputError(f"block_samples is at least 1, not {block_samples}")
    step = block_samples or chunk_count(found)
    count = len(found[0])
    sizes = [c.schema.row_nbytes if c.schema.is_fixed_shape else 256 for c in found]

    class TensorVCSDatasource(Datasource):  # type: ignore[misc]
        """Made here, for its base is there only where Ray is."""

        def get_name(self) -> str:
            return "TensorVCS"

        def estimate_inmemory_data_size(self) -> int:
            return count * sum(sizes)

        def get_read_tasks(
            self, parallelism: int, per_task_row_limit: int | None = None, *_: Any, **__: Any
        ) -> list[Any]:
            tasks = []
            for start in range(0, count, step):
                stop = min(start + step, count)
                metadata = BlockMetadata(
                    num_rows=stop - start,
                    size_bytes=(stop - start) * sum(sizes),
                    input_files=None,
                    exec_stats=None,
                )
                read = ReadRange(checkout, names, start, stop)
                tasks.append(ReadTask(read, metadata, schema, per_task_row_limit))
            return tasks

    return ray.data.read_datasource(TensorVCSDatasource())


def from_ray(
    dataset: Any,
    repository: Repository,
    *,
    branch: str,
    message: str,
    key: str = KEY,
    columns: Sequence[str] | None = None,
    batch_samples: int = 1024,
    workers: int | None = None,
) -> list[str]:
    """Commit a Ray dataset, each batch by the worker that has it.

    Parameters
    ----------
    dataset : ray.data.Dataset
    repository : Repository
        At the same path on all machines.
    branch : str
        It is there; each batch becomes a commit on it.
    message : str
        Of each commit.
    key : str
        The column of keys, ints or texts. Ray keeps no order unless told to, so rows need one.
    columns : sequence of str, optional
        All others when omitted. Columns that are not there are created first.
    batch_samples : int
        Samples of a commit.
    workers : int, optional
        Tasks that write at once; as many as Ray starts when omitted.

    Returns
    -------
    list of str
        The ids of the commits; batches that were there already, value for value, make none.

    Raises
    ------
    InvalidInputError, SchemaMismatchError
        The dataset lacks a column, or does not fit what is there.
    MissingDependencyError
        Ray, or pyarrow, is not installed.

    Notes
    -----
    Workers write through `Repository.transaction`, and need no lock on each other. Errors of
    workers come as Ray wraps them.
    """
    ray = _require_ray("writing a Ray dataset")
    schema = dataset.schema()
    if schema is None:
        raise InvalidInputError("the dataset has no samples")
    types = dict(zip(schema.names, schema.types, strict=True))
    names = [name for name in types if name != key] if columns is None else list(columns)
    for name in (key, *names):
        if name not in types:
            raise InvalidInputError(
                f"the dataset has no column {name!r}; it has {', '.join(types)}"
            )
    first = dataset.select_columns([key, *names]).limit(1).take_batch(1, batch_format="pyarrow")
    schemas = {name: _schema_of(first.column(name)) for name in names}
    create_columns(repository, branch, schemas, message)
    write = WriteBatch(
        BranchPlace(repository.path, branch, message, repository.user), key, tuple(schemas.items())
    )
    strategy = None if workers is None else ray.data.TaskPoolStrategy(size=workers)
    written = dataset.select_columns([key, *names]).map_batches(
        write, batch_size=batch_samples, batch_format="pyarrow", compute=strategy
    )
    return [row[_COMMITS] for row in written.take_all() if row[_COMMITS]]


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """What one task writes: a batch of rows."""

    place: BranchPlace
    key: str
    schemas: tuple[tuple[str, Schema], ...]

    def __call__(self, batch: pa.Table) -> dict[str, Any]:
        keys = batch.column(self.key).to_pylist()
        columns: dict[str, Any] = {}
        own_keys: dict[str, Any] = {}
        for name, schema in self.schemas:
            values = _one_array(batch.column(name))
            there = values.is_valid().to_pylist() if values.null_count else None
            columns[name] = _values(schema, values.drop_null() if there else values)
            own_keys[name] = (
                keys if there is None else [k for k, t in zip(keys, there, strict=True) if t]
            )
        return {_COMMITS: [self.place.write(columns, own_keys) or ""]}


def _one_array(column: Any) -> Any:
    """Return a column of a table as one array."""
    if hasattr(column, "combine_chunks"):
        column = column.combine_chunks()
    return column.chunk(0) if hasattr(column, "chunk") and column.num_chunks == 1 else column


def _schema_of(column: Any) -> Schema:
    array = _one_array(column)
    if _is_ray_tensor(array):
        from tensorvcs.interchange.samples import schema_of_value

        return schema_of_value(np.asarray(array.to_numpy_ndarray()[0]))
    return schema_of_arrow(array.type)


def _values(schema: Schema, array: Any) -> Any:
    if _is_ray_tensor(array):
        return np.asarray(array.to_numpy_ndarray(), schema.numpy_dtype)
    return arrow_values(schema, array)


def _is_ray_tensor(array: Any) -> bool:
    """Tell whether it is one of Ray's own arrays of tensors."""
    return str(getattr(array.type, "extension_name", "")).startswith("ray.data")


def _require_ray(purpose: str) -> Any:
    try:
        import ray.data
    except ImportError as error:
        raise MissingDependencyError("ray", "ray", purpose) from error
    return ray
