"""What differs between two versions: by column, and in it by sample."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

from tensorvcs.display.html import table_html
from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    ObjectNotFoundError,
)
from tensorvcs.history.difference.change_sizes import ChangeSizes
from tensorvcs.history.difference.changed_column import ChangedColumn
from tensorvcs.history.difference.renames import find_renames
from tensorvcs.history.difference.sample_change import HTML_HEADER, SampleChange, html_row
from tensorvcs.history.snapshot import holds_same_values as holds_same_values  # noqa: PLC0414

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorvcs.history.difference.changed_keys import ChangedKeys
    from tensorvcs.history.snapshot import Columns, ColumnState
    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.tree.nodes import Nodes

_SHOWN_CHANGES = 8

Order = Literal["key", "size"]


@dataclass(frozen=True, slots=True)
class ColumnStat:
    """The counts of one column's changes."""

    added: int
    deleted: int
    modified: int
    is_schema_changed: bool
    renamed_from: str | None = None

    @property
    def total(self) -> int:
        """All changed samples."""
        return self.added + self.deleted + self.modified


@dataclass(frozen=True, slots=True)
class DiffStat:
    """The counts of a diff, by column."""

    columns: Mapping[str, ColumnStat]

    @property
    def added(self) -> int:
        """Samples added, over all columns."""
        return sum(stat.added for stat in self.columns.values())

    @property
    def deleted(self) -> int:
        """Samples deleted, over all columns."""
        return sum(stat.deleted for stat in self.columns.values())

    @property
    def modified(self) -> int:
        """Samples modified, over all columns."""
        return sum(stat.modified for stat in self.columns.values())

    def __str__(self) -> str:
        width = max(map(len, self.columns), default=0)
        lines = [
            f"{name:{width}}  +{s.added} -{s.deleted} ~{s.modified}"
            + ("  schema" if s.is_schema_changed else "")
            + (f"  renamed from {s.renamed_from}" if s.renamed_from else "")
            for name, s in self.columns.items()
        ]
        return "\n".join(lines) if lines else "no changes"


class ColumnDiff:
    """What differs in one column.

    The trees are compared when a count or a key is first asked for; the cost follows what
    differs, not the size of the column.

    Attributes
    ----------
    name : str
        As the later version calls the column, or the earlier one when it is deleted.
    renamed_from : str or None
        What the earlier version calls it, when that is another name.
    """

    def __init__(
        self,
        name: str,
        nodes: Nodes,
        tensors: TensorStore,
        before: ColumnState | None,
        after: ColumnState | None,
        renamed_from: str | None = None,
    ) -> None:
        self.name = name
        self.renamed_from = renamed_from
        self._sides = ChangedColumn(nodes, tensors, before, after)
        self._all_sizes: ChangeSizes | None = None

    @property
    def schema(self) -> tuple[Schema | None, Schema | None] | None:
        """The schema before and after, None where there is no column; None when it is equal."""
        before, after = (
            None if state is None else state.schema
            for state in (self._sides.before, self._sides.after)
        )
        return None if before == after else (before, after)

    @property
    def is_added(self) -> bool:
        """Whether the column is new."""
        return self._sides.before is None

    @property
    def is_deleted(self) -> bool:
        """Whether the column is gone."""
        return self._sides.after is None

    @cached_property
    def _keys(self) -> tuple[ChangedKeys, ChangedKeys, ChangedKeys]:
        return self._sides.keys()

    @property
    def added(self) -> ChangedKeys:
        """The keys that only the later version has."""
        return self._keys[0]

    @property
    def deleted(self) -> ChangedKeys:
        """The keys that only the earlier version has."""
        return self._keys[1]

    @property
    def modified(self) -> ChangedKeys:
        """The keys whose values differ."""
        return self._keys[2]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs, schema and name included."""
        return self._sides.before == self._sides.after and self.renamed_from is None

    def stat(self) -> ColumnStat:
        """Return the counts; raise ObjectNotFoundError when a tree is not here."""
        return ColumnStat(
            len(self.added),
            len(self.deleted),
            len(self.modified),
            self.schema is not None,
            self.renamed_from,
        )

    def changes(self, order: Order = "key", limit: int | None = None) -> Iterator[SampleChange]:
        """Yield changed samples with their values.

        Parameters
        ----------
        order : {"key", "size"}
            By key; or the modified samples first, those that changed most at the start (see
            `ChangeSizes.largest_first`), and after them the deleted and added ones by key.
        limit : int, optional
            At most so many.

        Raises
        ------
        InvalidInputError
            There is no such order, or the limit is negative.
        ObjectNotFoundError, CorruptionError
            A value is absent or damaged.

        Notes
        -----
        Reads some 8 MiB of values at a time. By size, both values of every modified sample are
        read once to measure them, and those that are yielded once more.
        """
        if order not in ("key", "size"):
            raise InvalidInputError(f"order {order!r} is not one of 'key', 'size'")
        _check_limit(limit)
        if order == "key":
            return islice(self._sides.changes(limit), limit)
        largest = self.sizes().largest_first()[:limit]
        modified = self._sides.modified_at(self.modified, largest)
        rest = self._sides.changes(limit, with_modified=False)
        return islice(chain(modified, rest), limit)

    def sizes(self, limit: int | None = None, *, limit_nbytes: int | None = None) -> ChangeSizes:
        """Measure how much the modified samples changed.

        Parameters
        ----------
        limit : int, optional
            Only so many samples, the first in key order.
        limit_nbytes : int, optional
            No further samples once about so many bytes of values were read.

        Raises
        ------
        InvalidInputError
            A limit is negative.
        ObjectNotFoundError, CorruptionError
            A value is absent or damaged.

        Notes
        -----
        Reads both values of each sample, some 8 MiB at a time. Memory is 40 bytes a sample beside
        the keys; what was measured without a limit is kept.
        """
        _check_limit(limit)
        _check_limit(limit_nbytes)
        if self._all_sizes is not None:
            return self._all_sizes if limit is None else self._all_sizes.first(limit)
        figures = self._sides.measure(limit, limit_nbytes)
        sizes = ChangeSizes(self.modified.first(len(figures)), figures)
        if len(sizes) == len(self.modified):
            self._all_sizes = sizes
        return sizes

    def __repr__(self) -> str:
        origin = f" renamed from {self.renamed_from!r}" if self.renamed_from else ""
        return f"<ColumnDiff {self.name!r}{origin}: {_counts_text(self)}>"

    def _repr_html_(self) -> str:
        try:
            rows = [html_row(change) for change in self.changes(limit=_SHOWN_CHANGES)]
        except ObjectNotFoundError as error:
            return f"<p>{html.escape(f'{repr(self)[1:-1]}; {error}')}</p>"
        if self.stat().total > len(rows):
            rows.append(["", "…", *[""] * (len(HTML_HEADER) - 2)])
        return table_html(HTML_HEADER, rows, repr(self)[1:-1])


def _counts_text(column: ColumnDiff) -> str:
    """Return the counts of a column as a repr shows them, which must not raise."""
    try:
        stat = column.stat()
    except ObjectNotFoundError:
        return "not here"
    return f"+{stat.added} -{stat.deleted} ~{stat.modified}"


@dataclass(frozen=True)
class Diff:
    """What differs between two versions.

    Attributes
    ----------
    columns : mapping of str to ColumnDiff
        The columns that differ, by name. One that was renamed is under its new name alone, with
        the samples that changed besides; its `renamed_from` has the old name.
    """

    columns: Mapping[str, ColumnDiff] = field(default_factory=dict)

    @property
    def renames(self) -> Mapping[str, str]:
        """The renamed columns among them: old name to new name."""
        return {
            column.renamed_from: name
            for name, column in self.columns.items()
            if column.renamed_from is not None
        }

    @property
    def is_empty(self) -> bool:
        """Whether the versions are equal."""
        return not self.columns

    def stat(self) -> DiffStat:
        """Return the counts by column; raise ObjectNotFoundError when a tree is not here."""
        return DiffStat({name: column.stat() for name, column in self.columns.items()})

    def __bool__(self) -> bool:
        return not self.is_empty

    def __repr__(self) -> str:
        parts = [
            (f"{column.renamed_from} → " if column.renamed_from else "")
            + f"{name} {_counts_text(column)}"
            for name, column in self.columns.items()
        ]
        return f"<Diff: {'; '.join(parts) or 'no changes'}>"

    def _repr_html_(self) -> str:
        if self.is_empty:
            return "<p>no changes</p>"
        return "".join(column._repr_html_() for column in self.columns.values())


def diff_columns(
    nodes: Nodes,
    before: Columns,
    after: Columns,
    tensors: TensorStore,
    names: Sequence[str] | None = None,
) -> Diff:
    """Return what differs between the columns of two versions.

    Parameters
    ----------
    names : sequence of str, optional
        Only these columns; of a renamed one either name will do.

    Raises
    ------
    ColumnNotFoundError
        Neither version has a column of `names`.

    Notes
    -----
    Nothing is read unless columns are gone and others are new; see `find_renames`.
    """
    known = sorted({*before, *after})
    for name in names or ():
        if name not in known:
            raise ColumnNotFoundError(
                f"neither version has a column {name!r}; there are: {', '.join(known) or 'none'}"
            )
    origins = _origins(nodes, before, after)
    found = {}
    for name in known:
        origin = origins.get(name)
        if name in origins.values() or not (names is None or {name, origin} & set(names)):
            continue
        old, new = before.get(origin or name), after.get(name)
        if old != new or origin is not None:
            found[name] = ColumnDiff(name, nodes, tensors, old, new, origin)
    return Diff(found)


def _origins(nodes: Nodes, before: Columns, after: Columns) -> dict[str, str]:
    """Return the old name of each column that was renamed, by its new name."""
    try:
        return {new: old for old, new in find_renames(nodes, before, after).items()}
    except ObjectNotFoundError:
        # A tree that is not here, as in a partial clone, cannot be compared; its counts can wait.
        return {}


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 0:
        raise InvalidInputError(f"limit is {limit}; expected a number from 0, or None for all")
