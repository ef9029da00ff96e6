"""EditableCheckout: columns that can be changed, over the commit they started from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from tensorvcs.checkout.column import ColumnReader
from tensorvcs.checkout.editable_column import EditableColumn, EditableNestedColumn
from tensorvcs.checkout.staging import FLUSH_NBYTES, FLUSH_ROWS, StagedColumns
from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import (
    ClosedError,
    ColumnExistsError,
    ColumnNotFoundError,
    InvalidColumnError,
    with_hint,
)
from tensorvcs.history.commit import check_message
from tensorvcs.history.difference.diff import Diff, diff_columns
from tensorvcs.history.snapshot import Columns, ColumnState
from tensorvcs.objects.commit import Identity, check_metadata
from tensorvcs.objects.dtype import dtype_name
from tensorvcs.objects.schema import Schema, check_column_name
from tensorvcs.signing.signer import check_signer
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike, DTypeLike

    from tensorvcs.checkout.areas import Writer
    from tensorvcs.errors import TensorVCSError
    from tensorvcs.history.commit import Commit
    from tensorvcs.objects.schema import CodecChoice, MergePolicy
    from tensorvcs.signing.signer import Signer
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes

SMALL_NBYTES = 1 << 20
"""Payload that is sealed inside the transaction of the refs, since it makes no pack."""


class StagingArea(Protocol):
    """Where an editor keeps what it flushed, and how its commits are made."""

    @property
    def writer(self) -> Writer:
        """Who writes, and the upkeep that is due after a commit."""
        ...

    def save(self, columns: Columns) -> None:
        """Record flushed columns, inside the transaction that made their trees."""
        ...

    def commit(
        self,
        columns: Columns,
        message: str,
        author: Identity | None,
        metadata: Mapping[str, str] | None,
        signer: Signer | None = None,
    ) -> tuple[Commit, Columns] | TensorVCSError:
        """Commit columns inside a transaction, or return why that cannot be."""
        ...

    def amend(
        self,
        columns: Columns,
        message: str | None,
        author: Identity | None,
        metadata: Mapping[str, str],
        signer: Signer | None = None,
    ) -> tuple[Commit, Columns] | TensorVCSError:
        """Put a commit of `columns` in the place of the base, or return why that cannot be."""
        ...

    def give_up_merge(self) -> None:
        """Drop a merge that waits, with the next `save`."""
        ...

    def close(self) -> None:
        """Give the staging area back."""
        ...


class EditableCheckout:
    """Columns under change: a context manager that flushes when it is left.

    Leaving it by an exception keeps the last flush and drops what came after. Changes are on
    stable storage after `flush` or `commit`; an editor also flushes by itself before memory
    grows, about every gigabyte. For one thread at a time; threads and processes that write at
    once each use a transaction of their own.
    """

    def __init__(
        self,
        stores: Stores,
        nodes: Nodes,
        *,
        branch: str,
        base: Commit | None,
        base_columns: Columns,
        columns: Columns,
        area: StagingArea,
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._branch = branch
        self._base = base
        self._base_columns = base_columns
        self._area = area
        self._staged = StagedColumns(stores, nodes, columns)
        self._flushed_columns = dict(columns)
        self._readers: dict[str, ColumnReader] = {}
        self._is_closed = False
        # Whether columns were added, deleted or renamed since the last flush.
        self._is_reshaped = False

    # What it is

    @property
    def branch(self) -> str:
        """The branch that a commit moves."""
        return self._branch

    @property
    def base(self) -> Commit | None:
        """The commit that the changes are made over; None before the first commit."""
        return self._base

    @property
    def columns(self) -> EditableColumns:
        """The columns by name, in order of their names."""
        return EditableColumns(self)

    def __getitem__(self, selection: str | tuple[str, Any]) -> Any:
        if isinstance(selection, tuple):
            name, key = selection
            return self[name][key]
        return self.columns[selection]

    def __setitem__(self, selection: tuple[str, Any], value: object) -> None:
        if not isinstance(selection, tuple) or len(selection) != 2:
            raise with_hint(
                InvalidColumnError(f"cannot assign to the column {selection!r} as a whole"),
                "assign to a sample: co[column, key] = value, or co[column].update(mapping)",
            )
        self[selection[0]][selection[1]] = value

    def __delitem__(self, name: str) -> None:
        self._check_open()
        self._state(name)
        self._staged.drop_edits(name)
        del self._staged.columns[name]
        self._readers.pop(name, None)
        self._is_reshaped = True

    def __contains__(self, name: object) -> bool:
        return name in self._staged.columns

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._staged.columns))

    def __len__(self) -> int:
        return len(self._staged.columns)

    # Columns

    def add_ndarray_column(
        self,
        name: str,
        shape: int | Sequence[int | None] | None = None,
        dtype: DTypeLike | None = None,
        *,
        prototype: ArrayLike | None = None,
        variable_shape: bool = False,
        nested: bool = False,
        codec: CodecChoice = "auto",
        merge: MergePolicy = "",
    ) -> EditableColumn:
        """Add a column of arrays.

        Parameters
        ----------
        name : str
        shape : int or sequence of int, optional
            Of every value; with `variable_shape` the maximum along each axis, None where it is
            unbounded.
        dtype : dtype, optional
            Any byte order; values are kept little-endian.
        prototype : array, optional
            A sample that shape and dtype are taken from, where they are not given.
        variable_shape, nested : bool
        codec : {"auto", "raw", "blosc"}
            ``auto`` compresses where that saves a fifth.
        merge : {"", "ours", "theirs", "newest", "union", "mean", "max", "majority"}
            What decides a sample that both sides of a merge changed; see `set_merge_policy`.

        Raises
        ------
        ColumnExistsError, InvalidColumnError
        """
        if prototype is not None:
            sample = np.asarray(prototype)
            dtype = sample.dtype if dtype is None else dtype
            shape = sample.shape if shape is None else shape
        if shape is None or dtype is None:
            raise InvalidColumnError(
                f"column {name!r} needs a shape and a dtype, or a prototype to take them from"
            )
        extents = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        schema = Schema(
            kind="ndarray",
            dtype=dtype_name(dtype),
            shape=tuple(int(e) if isinstance(e, np.integer) else e for e in extents),
            variable_shape=variable_shape,
            nested=nested,
            codec=codec,
            merge=merge,
        )
        column: EditableColumn = self._add(name, schema)
        return column

    def add_str_column(
        self,
        name: str,
        *,
        nested: bool = False,
        codec: CodecChoice = "auto",
        merge: MergePolicy = "",
    ) -> EditableColumn:
        """Add a column of texts; raise ColumnExistsError or InvalidColumnError."""
        column: EditableColumn = self._add(
            name, Schema("str", nested=nested, codec=codec, merge=merge)
        )
        return column

    def add_bytes_column(
        self,
        name: str,
        *,
        nested: bool = False,
        codec: CodecChoice = "auto",
        merge: MergePolicy = "",
    ) -> EditableColumn:
        """Add a column of bytes values; raise ColumnExistsError or InvalidColumnError."""
        column: EditableColumn = self._add(
            name, Schema("bytes", nested=nested, codec=codec, merge=merge)
        )
        return column

    def _add(self, name: str, schema: Schema) -> Any:
        self._check_open()
        check_column_name(name)
        if name in self._staged.columns:
            found = self._staged.columns[name].schema.spelling
            raise ColumnExistsError(f"a column {name!r} of {found} exists already")
        self._staged.columns[name] = ColumnState(schema, Tree.empty(schema.value_nbytes))
        self._is_reshaped = True
        return self.columns[name]

    def rename_column(self, old: str, new: str) -> None:
        """Give a column another name; raise ColumnNotFoundError or ColumnExistsError."""
        self._check_open()
        state = self._state(old)
        check_column_name(new)
        if new in self._staged.columns:
            raise ColumnExistsError(f"a column {new!r} exists already")
        self._staged.move_edits(old, new)
        self._staged.columns[new] = state
        del self._staged.columns[old]
        self._readers.pop(old, None)
        self._is_reshaped = True

    def set_merge_policy(self, name: str, policy: MergePolicy | Literal["fail"]) -> None:
        """Keep with a column what decides a sample that both sides of a merge changed.

        It is part of the column's schema: it is committed, and holds for every merge, in every
        clone, that is not told another strategy.

        Parameters
        ----------
        name : str
        policy : {"", "fail", "ours", "theirs", "newest", "union", "mean", "max", "majority"}
            Empty or ``fail`` for none, so that such a sample is a conflict.

        Raises
        ------
        ColumnNotFoundError
        InvalidColumnError
            There is no such policy, or it has no meaning for the values of the column.
        """
        self._check_open()
        state = self._state(name)
        kept: MergePolicy = "" if policy == "fail" else policy
        if state.schema.merge != kept:
            schema = replace(state.schema, merge=kept)
            self._staged.columns[name] = replace(state, schema=schema)
            self._is_reshaped = True

    def _state(self, name: str) -> ColumnState:
        state = self._staged.columns.get(name)
        if state is None:
            known = ", ".join(sorted(self._staged.columns)) or "none"
            raise ColumnNotFoundError(f"no column {name!r}; there are: {known}")
        return state

    def _reader_of(self, name: str) -> ColumnReader:
        """Return a reader of a column with all its edits in the tree."""
        if self._staged.has_edits_in(name):
            self.flush()
        return self._settled_reader(name)

    def _settled_reader(self, name: str) -> ColumnReader:
        state = self._state(name)
        reader = self._readers.get(name)
        if reader is None or reader.state is not state:
            reader = ColumnReader(state, self._nodes, self._stores.tensors)
            self._readers[name] = reader
        return reader

    def _grown(self) -> None:
        """Flush when the edits in memory have grown to their bound."""
        if (
            self._staged.row_count >= FLUSH_ROWS
            or self._stores.tensors.unsealed_nbytes >= FLUSH_NBYTES
        ):
            self.flush()

    # Recording

    @property
    def is_dirty(self) -> bool:
        """Whether the columns differ from those of the base commit."""
        return not self.diff().is_empty

    def diff(self) -> Diff:
        """Return the changes from the base commit to what is staged now."""
        self.flush()
        return diff_columns(
            self._nodes, self._base_columns, self._staged.columns, self._stores.tensors
        )

    def flush(self) -> None:
        """Make all changes durable in the staging area.

        Raises
        ------
        StorageError
            The disk is full or refused. What was not flushed before is dropped, and the staging
            area is as after the last flush.
        """
        self._check_open()
        if not self._staged.has_edits and not self._is_reshaped:
            return
        try:
            self._seal_large()
            with self._stores.transaction():
                self._stores.tensors.seal()
                columns = self._staged.folded()
                self._area.save(columns)
        except BaseException:
            self._drop_unflushed()
            raise
        self._settle(columns)

    def commit(
        self,
        message: str | None = None,
        author: Identity | str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        sign: Signer | None = None,
        amend: bool = False,
    ) -> Commit:
        """Record the staged columns as a commit on the branch.

        When the branch has moved since, the changes are merged onto it, sample by sample. A merge
        that waits in the staging area is recorded with both parents, its author and metadata.

        Parameters
        ----------
        message : str
            Not empty; when amending, that of the amended commit if omitted.
        author : Identity or str, optional
            ``Name <mail>``; the user of the repository when omitted.
        metadata : mapping of str to str, optional
            Kept with the commit. By convention ``source`` says where the samples come from
            (``camera-3``), ``script`` what changed them (``clean.py@3f9a12c``).
        sign : Signer, optional
            Signs the commit, such as ``SshSigner.open("~/.ssh/id_ed25519")``. Changes that were not
            flushed are flushed first, so that a signer that fails costs none.
        amend : bool
            Whether the commit takes the place of the newest one of the branch: its parents,
            author and time stay, and what is not given stays too. It loses its signature.

        Raises
        ------
        NothingToCommitError
            Nothing differs from the branch; when amending, nothing would change, nothing would be
            left, or there is no commit yet.
        RefChangedError
            When amending: the branch has moved since. Staging stays.
        MergeConflictError
            The branch has moved, and changed the same samples in another way; no merge policy of
            their columns decided it. Staging stays.
        SchemaMismatchError, ObjectNotFoundError
            The branch has moved, and the merge policy of a column makes a value that does not
            fit, or needs one that is absent. Staging stays.
        OpenConflictsError
            A merge waits in the staging area, and has conflicts that are open.
        BranchNotFoundError
            The branch was deleted or renamed in the meantime. Staging stays.
        InvalidInputError
            The message is empty, or author, metadata or signer are not legal.
        IdentityMissingError
            No author is given and the repository has no user.

        Notes
        -----
        One LMDB transaction, after the packs are sealed and synced: O(changes × log n).
        """
        self._check_open()
        text = check_message(message) if message is not None or not amend else None
        pairs = check_metadata(metadata)
        who = Identity.of(author)
        signer = check_signer(sign)
        self._area.writer.author(who)
        if signer is not None:
            self.flush()
        try:
            self._seal_large()
            with self._stores.transaction():
                self._stores.tensors.seal()
                columns = self._staged.folded()
                made = (
                    self._area.amend(columns, text, who, pairs, signer)
                    if amend or text is None
                    else self._area.commit(columns, text, who, pairs, signer)
                )
                if not isinstance(made, tuple) and (self._staged.has_edits or self._is_reshaped):
                    self._area.save(columns)
        except BaseException:
            self._drop_unflushed()
            raise
        if not isinstance(made, tuple):
            self._settle(columns)
            raise made
        self._base, self._base_columns = made
        self._settle(self._base_columns)
        self._area.writer.after_commit()
        return self._base

    def reset(self, column: str | None = None) -> None:
        """Take all changes back to the base commit, or those of one column.

        With all changes, a merge that waits in the staging area is given up as well.

        Raises
        ------
        ColumnNotFoundError
            Neither the base nor the staging area has the column.
        """
        self._check_open()
        if column is None:
            self._stores.tensors.discard()
            self._staged.settle(self._base_columns)
            self._area.give_up_merge()
        elif column not in self._base_columns:
            self._state(column)
            del self[column]
        else:
            self._staged.drop_edits(column)
            self._staged.columns[column] = self._base_columns[column]
        self._readers = {}
        self._is_reshaped = True
        self.flush()

    def _seal_large(self) -> None:
        self._staged.block()
        if self._stores.tensors.unsealed_nbytes >= SMALL_NBYTES:
            self._stores.tensors.seal()

    def _settle(self, columns: Columns) -> None:
        self._staged.settle(columns)
        self._flushed_columns = dict(columns)
        self._is_reshaped = False

    def _drop_unflushed(self) -> None:
        self._stores.tensors.discard()
        self._settle(self._flushed_columns)
        self._readers = {}

    # Its life

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the checkout was closed; open another with repo.edit()")

    def close(self) -> None:
        """Flush and give the staging area back; a second call does nothing."""
        if not self._is_closed:
            try:
                self.flush()
            finally:
                self._leave()

    def abandon(self) -> None:
        """Give the staging area back as it was at the last flush."""
        if not self._is_closed:
            self._drop_unflushed()
            self._leave()

    def _leave(self) -> None:
        self._is_closed = True
        self._area.close()

    def __enter__(self) -> EditableCheckout:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def __repr__(self) -> str:
        base = self._base.short_id if self._base else "no commit yet"
        return (
            f"<EditableCheckout of {self._branch!r} over {base}: {', '.join(self) or 'no columns'}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            [value_html(name), str(len(self[name])), self[name].schema.spelling] for name in self
        ]
        return table_html(["column", "samples", "schema"], rows, repr(self)[1:-1])


class EditableColumns(Mapping[str, Any]):
    """The columns of an editable checkout by name."""

    def __init__(self, checkout: EditableCheckout) -> None:
        self._checkout = checkout

    def __getitem__(self, name: str) -> Any:
        state = self._checkout._state(name)
        kind = EditableNestedColumn if state.schema.nested else EditableColumn
        return kind(self._checkout, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkout)

    def __len__(self) -> int:
        return len(self._checkout)

    def __contains__(self, name: object) -> bool:
        return name in self._checkout

    def __delitem__(self, name: str) -> None:
        del self._checkout[name]

    def __repr__(self) -> str:
        return f"<columns: {', '.join(self) or 'none'}>"
