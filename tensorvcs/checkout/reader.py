"""Checkout: one commit, read-only, picklable, safe after fork."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.checkout.column import Column, ColumnReader
from tensorvcs.checkout.nested_column import NestedColumn
from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import ColumnNotFoundError, ReadOnlyError, with_hint
from tensorvcs.history.commit import Commit, load_commit
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.objects.keys import Key
    from tensorvcs.storage.interfaces import Stores


class CheckoutColumns(Mapping[str, Any]):
    """The columns of a checkout by name, in order of their names."""

    def __init__(
        self, stores: Stores, nodes: Nodes, columns: Columns, version: str, pin: object = None
    ) -> None:
        self._stores = stores
        self._pin = pin
        self._nodes = nodes
        self._states = columns
        self._version = version
        self._opened: dict[str, Column | NestedColumn] = {}

    def __getitem__(self, name: str) -> Any:
        column = self._opened.get(name)
        if column is None:
            state = self._states.get(name)
            if state is None:
                known = ", ".join(self._states) or "none"
                raise ColumnNotFoundError(
                    f"no column {name!r} in {self._version}; there are: {known}"
                )
            reader = ColumnReader(state, self._nodes, self._stores.tensors, self._pin)
            made = NestedColumn(name, reader) if state.schema.nested else Column(name, reader)
            column = self._opened.setdefault(name, made)
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, name: object) -> bool:
        return name in self._states

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<columns: {', '.join(self) or 'none'}>"


class Checkout:
    """The columns of one commit. Immutable; never blocked by writers.

    A checkout pickles as the place of its repository and the commit, and reopens in the process
    that unpickles it. After a fork both processes may read.
    """

    def __init__(self, stores: Stores, base: Commit, nodes: Nodes | None = None) -> None:
        self._stores = stores
        self._base = base
        nodes = Nodes(stores.objects) if nodes is None else nodes
        pin = stores.pin(base.digest)
        states = read_snapshot(stores.objects, base.object.snapshot)
        self._columns = CheckoutColumns(stores, nodes, states, f"commit {base.short_id}", pin)

    @property
    def base(self) -> Commit:
        """The commit that is shown."""
        return self._base

    @property
    def columns(self) -> Mapping[str, Any]:
        """The columns by name, in order of their names."""
        return self._columns

    def fetch(self, columns: Sequence[str] | None = None, keys: Sequence[Key] | None = None) -> int:
        """Bring what samples need before they are read, of all columns in one request.

        In a partial clone a value that is not here is fetched when it is read; this does the same
        ahead of time, in any thread and any process. Elsewhere there is nothing to bring.

        Parameters
        ----------
        columns : sequence of str, optional
            All when omitted.
        keys : sequence of str or int, optional
            Of the samples; all when omitted. A column that has no such sample is passed over.

        Returns
        -------
        int
            The number of values that this call brought.

        Raises
        ------
        ColumnNotFoundError, InvalidKeyError
        ObjectNotFoundError
            A value cannot be had; PromisorAwayError when the remote does not answer.

        See Also
        --------
        Column.fetch : the samples of one column by position, as a loader knows them.
        Repository.fetch_data : by pattern and by size, before there is a checkout.
        """
        chosen = [self._columns[name] for name in (self if columns is None else columns)]
        wanted = [column._digests_of(keys) for column in chosen]
        return self._stores.tensors.fetch(np.concatenate(wanted)) if wanted else 0

    def __getitem__(self, selection: str | tuple[str, Any]) -> Any:
        if isinstance(selection, tuple):
            name, key = selection
            return self._columns[name][key]
        return self._columns[selection]

    def __setitem__(self, selection: object, value: object) -> None:
        raise self._read_only()

    def __delitem__(self, selection: object) -> None:
        raise self._read_only()

    def _read_only(self) -> ReadOnlyError:
        return with_hint(
            ReadOnlyError(f"the checkout of commit {self._base.short_id} is read-only"),
            "open the staging area with repo.edit()",
        )

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __reduce__(self) -> tuple[Any, tuple[Stores, CommitDigest]]:
        return _reopen, (self._stores, self._base.digest)

    def close(self) -> None:
        """Let go of cached tables; the columns may still be read."""
        self._columns._opened.clear()

    def __enter__(self) -> Checkout:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<Checkout {self._base.short_id} {self._base.summary!r}: "
            f"{', '.join(self) or 'no columns'}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            [value_html(name), column._count_text(), column.schema.spelling]
            for name, column in self._columns.items()
        ]
        return table_html(["column", "samples", "schema"], rows, repr(self)[1:-1])


def _reopen(stores: Stores, digest: CommitDigest) -> Checkout:
    return Checkout(stores, load_commit(stores.objects, digest))
