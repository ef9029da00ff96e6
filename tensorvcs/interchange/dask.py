"""A column as a Dask array, and Dask arrays into columns by many workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import InvalidInputError, MissingDependencyError, with_hint
from tensorvcs.interchange.places import BranchPlace, chunk_count, create_columns, flat_column
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.repository import Repository


class ColumnRows:
    """A column as Dask sees it: a shape, a dtype and slices. Pickles as place and commit."""

    def __init__(self, checkout: Checkout, name: str) -> None:
        schema = flat_column(checkout, name).schema
        self._checkout = checkout
        self._name = name
        self.dtype = schema.numpy_dtype
        self.shape = (len(checkout.columns[name]), *schema.fixed_shape)
        self.ndim = len(self.shape)

    def __getitem__(self, selection: Any) -> NDArray[Any]:
        rows, *inner = selection if isinstance(selection, tuple) else (selection,)
        column = self._checkout.columns[self._name]
        found: NDArray[Any] | None = None
        if rows.step in {None, 1}:
            found = column.view(rows.start or 0, rows.stop)
        if found is None:
            found = column[rows]
        return found[(slice(None), *inner)]

    def __dask_tokenize__(self) -> tuple[str, str, str]:
        return "tensorvcs", self._checkout.base.id, self._name


def to_dask(checkout: Checkout, column: str, *, chunk_samples: int | None = None) -> Any:
    """Return a column as a Dask array that is read when it is computed.

    Parameters
    ----------
    checkout : Checkout
        A read-only one.
    column : str
        Of one fixed shape, not nested.
    chunk_samples : int, optional
        Samples of a chunk; about 64 MiB of them when omitted.

    Returns
    -------
    dask.array.Array, shape (n, *shape), dtype of the column
        Chunked along the samples, which are in key order.

    Raises
    ------
    ColumnNotFoundError, InvalidInputError
    MissingDependencyError
        Dask is not installed.

    Notes
    -----
    The graph holds the path of the repository and the id of the commit, no values, so it goes to
    worker processes whatever the size of the column. Its name follows from the commit and the
    column: Dask takes two arrays of one version for the same. A chunk whose rows lie in a pack as
    they are is a view of the memory map; what Dask's threads compute on it copies nothing.
    """
    array = _require_dask("a Dask array")
    found = flat_column(checkout, column)
    if not found.schema.is_fixed_shape:
        raise with_hint(
            InvalidInputError(
                f"column {column!r} of {found.schema.spelling} has no one shape to be an array of"
            ),
            "to_ray and to_arrow take columns whose shapes vary",
        )
    if chunk_samples is not None and chunk_samples < 1:
        raise InvalidInputError(f"chunk_samples is at least 1, not {chunk_samples}")
    rows = ColumnRows(checkout, column)
    chunks = (chunk_samples or chunk_count([found]), *rows.shape[1:])
    return array.from_array(
        rows, chunks=chunks, asarray=False, lock=False, meta=np.empty((0,) * rows.ndim, rows.dtype)
    )


def from_dask(
    repository: Repository,
    arrays: Mapping[str, Any],
    *,
    branch: str,
    message: str,
    first_key: int = 0,
    **compute: Any,
) -> list[str]:
    """Compute Dask arrays and commit them, each chunk by the worker that computed it.

    Parameters
    ----------
    repository : Repository
    arrays : mapping of str to dask.array.Array, shape (n, *shape)
        By column; all of the same n. Columns that are not there are created first. Arrays are
        chunked anew along the samples, as the first one is, and along no other axis.
    branch : str
        It is there; each chunk becomes a commit on it.
    message : str
        Of each commit.
    first_key : int
        The key of the first sample; the others count on from it.
    **compute
        For ``dask.compute``, such as ``scheduler="processes"`` and ``num_workers=2``.

    Returns
    -------
    list of str
        The ids of the commits, in the order of the chunks; chunks that were there already, value
        for value, make none.

    Raises
    ------
    InvalidInputError, SchemaMismatchError
    MergeConflictError
        Somebody else wrote other values under the same keys meanwhile.
    MissingDependencyError
        Dask is not installed.

    Notes
    -----
    Workers write through `Repository.transaction`, so they need no lock on each other, and what is
    committed when one of them fails stays. Running it again goes on where it stopped: a chunk that
    is there makes no commit.
    """
    _require_dask("writing Dask arrays")
    import dask

    if not arrays:
        raise InvalidInputError("there is no array to write")
    counts = {name: int(array.shape[0]) if array.ndim else -1 for name, array in arrays.items()}
    if len(set(counts.values())) != 1 or -1 in counts.values():
        raise InvalidInputError(
            "the arrays do not have the same samples: "
            + ", ".join(f"{name} has {max(0, n)}" for name, n in counts.items())
        )
    first = next(iter(arrays.values()))
    whole = {
        name: array.rechunk((first.chunks[0], *((extent,) for extent in array.shape[1:])))
        for name, array in arrays.items()
    }
    wanted = {
        name: Schema("ndarray", dtype_name(array.dtype), tuple(map(int, array.shape[1:])))
        for name, array in whole.items()
    }
    create_columns(repository, branch, wanted, message)
    place = BranchPlace(repository.path, branch, message, repository.user)
    write = dask.delayed(_write_chunk, pure=False)
    blocks = {name: array.to_delayed().reshape(-1) for name, array in whole.items()}
    tasks = []
    start = first_key
    for chunk, count in enumerate(first.chunks[0]):
        parts = [blocks[name][chunk] for name in whole]
        tasks.append(write(place, list(whole), start, *parts))
        start += count
    commits = dask.compute(*tasks, **compute)
    return [commit for commit in commits if commit is not None]


def _write_chunk(
    place: BranchPlace, names: list[str], first_key: int, *parts: NDArray[Any]
) -> str | None:
    keys = range(first_key, first_key + len(parts[0]))
    return place.write(dict(zip(names, parts, strict=True)), keys)


def _require_dask(purpose: str) -> Any:
    try:
        import dask.array
    except ImportError as error:
        raise MissingDependencyError("dask", "dask", purpose) from error
    return dask.array
