"""What workers of other processes and machines need: where a version is, and a way to write there.

A worker opens the repository anew by its path, so the path must be the same for all of them: one
machine, or a file system that they share and that LMDB may live on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import InvalidInputError, SchemaMismatchError, with_hint
from tensorvcs.repository import open_repository

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tensorvcs.checkout.column import Column
    from tensorvcs.checkout.reader import Checkout
    from tensorvcs.objects.commit import Identity
    from tensorvcs.objects.keys import Key
    from tensorvcs.objects.schema import Schema
    from tensorvcs.repository import Repository

CHUNK_NBYTES = 64 << 20
"""Values that one task reads. A slab is 1 MiB, so little of it is checked by two tasks."""

_CHUNK_COUNT = 1 << 16


def chunk_count(columns: Sequence[Column]) -> int:
    """Return how many samples one task reads: about 64 MiB of values."""
    sizes = [
        column.schema.row_nbytes if column.schema.is_fixed_shape else 1 << 14 for column in columns
    ]
    return max(1, min(_CHUNK_COUNT, CHUNK_NBYTES // max(1, sum(sizes))))


def flat_column(checkout: Checkout, name: str) -> Column:
    """Return a column of plain samples; raise InvalidInputError for a nested one."""
    column = checkout.columns[name]
    if column.schema.nested:
        raise InvalidInputError(
            f"column {name!r} is nested; other libraries know no samples of samples"
        )
    found: Column = column
    return found


@dataclass(frozen=True, slots=True)
class BranchPlace:
    """A branch that workers commit to.

    Attributes
    ----------
    path : Path
        Of the repository.
    branch : str
    message : str
        Of each commit.
    author : Identity, optional
        Of each commit; whom the settings of the repository name when omitted.
    """

    path: Path
    branch: str
    message: str
    author: Identity | None = None

    def write(
        self, columns: Mapping[str, Any], keys: Sequence[Key] | Mapping[str, Sequence[Key]]
    ) -> str | None:
        """Commit some samples in a transaction; return the id of the commit.

        Parameters
        ----------
        columns : mapping of str to ndarray, shape (n, *shape), or list
            Columns that are there.
        keys : sequence of key, length n

        Returns
        -------
        str or None
            None when all samples were there already.

        Raises
        ------
        MergeConflictError
            Another worker wrote other values under the same keys.
        """
        with open_repository(self.path) as repository:
            transaction = repository.transaction(self.branch, self.message, author=self.author)
            with transaction as staged:
                for name, values in columns.items():
                    own = keys[name] if isinstance(keys, dict) else keys
                    staged[name].extend(values, keys=own)
            return None if transaction.commit is None else transaction.commit.id


def create_columns(
    repository: Repository, branch: str, wanted: Mapping[str, Schema], message: str
) -> None:
    """Commit those columns that a branch does not have, before workers write to them.

    Raises
    ------
    SchemaMismatchError
        A column is there and has another schema; nothing was created.
    """
    with repository.transaction(branch, message) as staged:
        for name, schema in wanted.items():
            if name in staged.columns:
                present: Schema = staged.columns[name].schema
                same = (present.kind, present.dtype, present.shape, present.nested) == (
                    schema.kind, schema.dtype, schema.shape, schema.nested,
                )  # fmt: skip
                if not same:
                    raise with_hint(
                        SchemaMismatchError(
                            "the values do not fit the column that is there",
                            column=name,
                            found=schema.spelling,
                            expected=present.spelling,
                        ),
                        "write to another column",
                    )
            elif schema.kind == "str":
                staged.add_str_column(name)
            elif schema.kind == "bytes":
                staged.add_bytes_column(name)
            else:
                staged.add_ndarray_column(
                    name, schema.shape, schema.numpy_dtype, variable_shape=schema.variable_shape
                )
