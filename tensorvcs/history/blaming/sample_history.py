"""The life of one sample: the commits that added, changed and deleted it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tensorvcs.display.html import table_html, value_html
from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidKeyError,
    ObjectNotFoundError,
    SampleNotFoundError,
)
from tensorvcs.history.ancestry import read_commits
from tensorvcs.history.commit import Commit
from tensorvcs.history.difference.change_sizes import size_of
from tensorvcs.history.difference.renames import find_renames
from tensorvcs.history.difference.sample_change import SampleChange, html_row
from tensorvcs.history.snapshot import holds_same_values, read_snapshot
from tensorvcs.history.stored_values import load_values
from tensorvcs.objects.keys import check_key, composite_key, composite_prefix, split_composite
from tensorvcs.tree import cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.difference.change_sizes import ChangeSize
    from tensorvcs.history.snapshot import Columns, ColumnState
    from tensorvcs.objects.commit import CommitObject
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import ObjectStore, TensorStore
    from tensorvcs.tree.nodes import Nodes

_SHOWN_CHANGES = 8
_SHOWN_SUBSAMPLES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What one version stores of a sample.

    Attributes
    ----------
    schema : Schema
    values : ndarray, shape (n, value_nbytes), uint8
    subsamples : tuple of bytes or None
        The composite keys of all subsamples of a sample, n of them; None for one value.
    """

    schema: Schema
    values: NDArray[np.uint8]
    subsamples: tuple[bytes, ...] | None = None

    def is_same(self, other: Stored | None) -> bool:
        """Tell whether another version stores the same values, under the same keys."""
        return (
            other is not None
            and holds_same_values(self.schema, other.schema)
            and self.subsamples == other.subsamples
            and np.array_equal(self.values, other.values)
        )

    def load(self, tensors: TensorStore) -> Any:
        """Return the value, or a dict of the subsamples."""
        values = load_values(self.schema, tensors, self.values)
        if self.subsamples is None:
            return values[0]
        return {
            split_composite(key)[1]: value
            for key, value in zip(self.subsamples, values, strict=True)
        }


@dataclass(frozen=True, slots=True)
class SubsampleCounts:
    """How many subsamples of one sample a commit added, deleted and modified."""

    added: int
    deleted: int
    modified: int

    def __str__(self) -> str:
        return f"subsamples +{self.added} -{self.deleted} ~{self.modified}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Change:
    """One commit that changed a sample. The values are read when they are asked for.

    Attributes
    ----------
    commit : Commit
    """

    commit: Commit
    _tensors: TensorStore
    _before: Stored | None
    _after: Stored | None

    @property
    def sign(self) -> Literal["+", "-", "~"]:
        """``+`` where the commit added the sample, ``-`` deleted and ``~`` modified it."""
        return "+" if self._before is None else "-" if self._after is None else "~"

    @property
    def before(self) -> Any:
        """The value in the first parent, None where there was none; of subsamples a dict.

        Read from the store each time; raises ObjectNotFoundError when it is not here.
        """
        return None if self._before is None else self._before.load(self._tensors)

    @property
    def after(self) -> Any:
        """The value in the commit, as `before` is that in its first parent."""
        return None if self._after is None else self._after.load(self._tensors)

    @property
    def size(self) -> ChangeSize | None:
        """How large the change is: of one value that was modified and kept its dtype, else None."""
        return size_of(self.before, self.after) if self.is_measurable else None

    @property
    def is_measurable(self) -> bool:
        """Whether both sides are one value of the same dtype."""
        before, after = self._before, self._after
        if before is None or after is None or self.subsamples is not None:
            return False
        one, other = before.schema, after.schema
        return (one.kind, one.dtype) == (other.kind, other.dtype)

    @property
    def subsamples(self) -> SubsampleCounts | None:
        """How many subsamples changed; None where the history is that of one value."""
        before, after = self._before, self._after
        if all(side is None or side.subsamples is None for side in (before, after)):
            return None
        old, new = _by_subsample(before), _by_subsample(after)
        is_same_kind = not (before and after) or holds_same_values(before.schema, after.schema)
        kept = old.keys() & new.keys()
        modified = sum(1 for key in kept if old[key] != new[key] or not is_same_kind)
        return SubsampleCounts(len(new) - len(kept), len(old) - len(kept), modified)

    def __repr__(self) -> str:
        return f"<Change {self.sign} in {self.commit!r}>"

    def _repr_html_(self) -> str:
        return table_html(_HEADER, [_row(self)])


def _by_subsample(side: Stored | None) -> dict[bytes, bytes]:
    if side is None or side.subsamples is None:
        return {}
    return {key: bytes(row) for key, row in zip(side.subsamples, side.values, strict=True)}


class SampleHistory(Iterator[Change]):
    """The changes of one sample, newest first; each is looked for when it is asked for.

    Attributes
    ----------
    column : str
    key : str, int or tuple
        Of a nested column a pair (sample, subsample), or a sample with all its subsamples.
    commit : Commit
        The version whose history this is.
    """

    def __init__(self, column: str, key: Any, commit: Commit, changes: Iterator[Change]) -> None:
        self.column = column
        self.key = key
        self.commit = commit
        self._changes = changes
        self._found: list[Change] = []
        self._next = 0

    def __next__(self) -> Change:
        self._look_for(self._next + 1)
        if self._next == len(self._found):
            raise StopIteration
        self._next += 1
        return self._found[self._next - 1]

    def _look_for(self, count: int) -> list[Change]:
        """Return the first changes, without a step of the iterator."""
        self._found += islice(self._changes, max(0, count - len(self._found)))
        return self._found[:count]

    def __repr__(self) -> str:
        return (
            f"<SampleHistory of {self.key!r} in column {self.column!r} up to commit "
            f"{self.commit.short_id}>"
        )

    def _repr_html_(self) -> str:
        shown = self._look_for(_SHOWN_CHANGES + 1)
        rows = [_row(change) for change in shown[:_SHOWN_CHANGES]]
        if len(shown) > _SHOWN_CHANGES:
            rows.append(["…"] * len(_HEADER))
        return table_html(_HEADER, rows, repr(self)[1:-1])


_HEADER = ("commit", "", "before", "after", "what changed", "size")


def _row(change: Change) -> list[str]:
    """Return a change as the cells of a table, without the values when they are not here."""
    start = [change.commit._repr_html_(), change.sign]
    try:
        return start + _value_cells(change)
    except ObjectNotFoundError:
        return [*start, "", "not here", "", ""]


def _value_cells(change: Change) -> list[str]:
    before, after = change.before, change.after
    size: object = change.subsamples
    if size is None and change.is_measurable:
        _, _, *cells = html_row(SampleChange(None, before, after))
        return cells
    return [_side_html(before), _side_html(after), "", "" if size is None else str(size)]


def _side_html(value: Any) -> str:
    if not isinstance(value, dict):
        return "" if value is None else value_html(value)
    shown = [
        f"{value_html(str(key))}: {value_html(part)}"
        for key, part in islice(value.items(), _SHOWN_SUBSAMPLES)
    ]
    return "<br>".join(shown + ["…"] * (len(value) > _SHOWN_SUBSAMPLES))


def sample_history(
    objects: ObjectStore,
    nodes: Nodes,
    tensors: TensorStore,
    commit: Commit,
    column: str,
    key: Any,
) -> SampleHistory:
    """Return the commits that changed one sample, newest first.

    Parameters
    ----------
    commit : Commit
    column : str
        Its name in that version; where it had another name before, it is followed.
    key : str, int or tuple
        Of a nested column a pair, or the key of a sample for all its subsamples.

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError
        Neither this version nor one on the way back ever had it.
    InvalidKeyError
        `key` can be no key of the column.

    Notes
    -----
    A merge is listed when the sample differs from every parent. Where a parent has the same value,
    the walk goes on there alone, as ``git log`` does for a file; so what happened on a branch
    whose result was not taken is left out. A version in which the column is the same costs its
    commit and its snapshot, any other the nodes on the way to the key that are new in it. Of a
    sample that is not there, its last change is looked for at once.
    """
    checked = _check(key)
    walk = _Walk(objects, nodes, checked)
    start = walk.start(commit, column)
    state = start.state
    if isinstance(checked, tuple) and state is not None and not state.schema.nested:
        raise InvalidKeyError(f"column {column!r} is not nested: {key!r} is no key of it")
    changes = (
        Change(Commit(version.digest, version.commit), tensors, before, version.stored)
        for version, before in walk.run(start)
    )
    history = SampleHistory(column, key, commit, changes)
    if start.stored is None and not history._look_for(1):
        if not walk.has_seen_column:
            raise ColumnNotFoundError(
                f"no commit up to {commit.short_id} has had a column {column!r}; there are: "
                f"{', '.join(start.columns) or 'none'}"
            )
        raise SampleNotFoundError(
            f"column {column!r} has never had a sample {key!r}, up to commit {commit.short_id}"
        )
    return history


def _check(key: Any) -> Any:
    if not isinstance(key, tuple):
        return check_key(key)
    if len(key) != 2:
        raise InvalidKeyError(f"a subsample is a pair (sample, subsample), not {key!r}")
    return check_key(key[0]), check_key(key[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Version:
    """A commit, what the column is called there, and what it stores of the sample."""

    digest: CommitDigest
    commit: CommitObject
    columns: Columns
    name: str
    stored: Stored | None

    @property
    def state(self) -> ColumnState | None:
        return self.columns.get(self.name)


class _Walk:
    """One walk down a history, newest commit first."""

    def __init__(self, objects: ObjectStore, nodes: Nodes, key: Any) -> None:
        self._objects = objects
        self._nodes = nodes
        self._key = key
        self.has_seen_column = False

    def start(self, commit: Commit, column: str) -> _Version:
        """Return the version to start from."""
        columns = read_snapshot(self._objects, commit.object.snapshot)
        stored = self._read(columns.get(column))
        return _Version(commit.digest, commit.object, columns, column, stored)

    def run(self, start: _Version) -> Iterator[tuple[_Version, Stored | None]]:
        """Yield each version that changed the sample, with what its first parent stores."""
        queue: list[tuple[int, int, CommitDigest, str]] = []
        waiting: dict[tuple[CommitDigest, str], _Version] = {}
        seen: set[tuple[CommitDigest, str]] = set()

        def push(versions: Sequence[_Version]) -> None:
            for version in versions:
                place = version.digest, version.name
                if place not in seen:
                    seen.add(place)
                    waiting[place] = version
                    time = version.commit.commit_time.microseconds
                    heapq.heappush(queue, (-time, -version.commit.generation, *place))

        push([start])
        while queue:
            version = waiting.pop(heapq.heappop(queue)[2:])
            self.has_seen_column |= version.state is not None
            parents = self._parents(version)
            befores = [parent.stored for parent in parents] or [None]
            same = [at for at, before in enumerate(befores) if _is_same(before, version.stored)]
            if same:
                push(parents[same[0] : same[0] + 1])
            else:
                yield version, befores[0]
                push(parents)

    def _parents(self, version: _Version) -> list[_Version]:
        digests = list(dict.fromkeys(version.commit.parents))
        parents = []
        for digest, commit in zip(digests, read_commits(self._objects, digests), strict=True):
            if commit.snapshot == version.commit.snapshot:
                columns = version.columns
            else:
                columns = read_snapshot(self._objects, commit.snapshot)
            name = self._name_in(columns, version)
            state = columns.get(name)
            stored = version.stored if state == version.state else self._read(state)
            parents.append(_Version(digest, commit, columns, name, stored))
        return parents

    def _name_in(self, columns: Columns, version: _Version) -> str:
        """Return what the column is called in a parent."""
        if version.name in columns or version.state is None:
            return version.name
        renames = find_renames(self._nodes, columns, version.columns)
        return next((old for old, new in renames.items() if new == version.name), version.name)

    def _read(self, state: ColumnState | None) -> Stored | None:
        """Return what one version stores of the sample, None where it is not there."""
        if state is None or (isinstance(self._key, tuple) and not state.schema.nested):
            return None
        if state.schema.nested and not isinstance(self._key, tuple):
            start, stop = cursor.prefix_range(self._nodes, state.tree, composite_prefix(self._key))
            keys, values = cursor.items_at(self._nodes, state.tree, start, stop)
            return Stored(state.schema, values, tuple(keys.texts.tolist())) if len(keys) else None
        stored = cursor.get_one(self._nodes, state.tree, self._tree_key())
        if stored is None:
            return None
        return Stored(state.schema, np.frombuffer(stored, np.uint8).reshape(1, len(stored)))

    def _tree_key(self) -> int | bytes:
        if isinstance(self._key, tuple):
            return composite_key(*self._key)
        return self._key if isinstance(self._key, int) else str(self._key).encode()


def _is_same(one: Stored | None, other: Stored | None) -> bool:
    return other is None if one is None else one.is_same(other)
