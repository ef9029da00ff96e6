"""What differs between two versions of a column, read piece by piece: keys, values, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.history.difference.change_sizes import measure_values
from tensorvcs.history.difference.changed_keys import ChangedKeys, no_keys, spell
from tensorvcs.history.difference.distances import MEASURES
from tensorvcs.history.difference.sample_change import SampleChange
from tensorvcs.history.snapshot import holds_same_values
from tensorvcs.history.stored_values import inline_rows, load_values
from tensorvcs.objects.keys import Keys
from tensorvcs.tree import cursor
from tensorvcs.tree.diff import DiffBlock, diff
from tensorvcs.tree.entries import join_keys, join_values, keys_of
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.tree.nodes import Nodes

# Values of one side are read up to about so many bytes at a time, and where their size is not
# known, so many values.
_PIECE_NBYTES = 8 << 20
_PIECE_VALUES = 64


@dataclass(frozen=True, slots=True)
class ChangedColumn:
    """Two versions of a column, either of them perhaps absent, and where both are read from."""

    nodes: Nodes
    tensors: TensorStore
    before: ColumnState | None
    after: ColumnState | None

    def blocks(self) -> Iterator[DiffBlock]:
        """Yield what differs; a column of other values is deleted and added as a whole."""
        before, after = self.before, self.after
        if before and after and holds_same_values(before.schema, after.schema):
            yield from diff(self.nodes, before.tree, after.tree)
            return
        if before:
            yield from diff(self.nodes, before.tree, Tree.empty(before.tree.value_nbytes))
        if after:
            yield from diff(self.nodes, Tree.empty(after.tree.value_nbytes), after.tree)

    def keys(self) -> tuple[ChangedKeys, ChangedKeys, ChangedKeys]:
        """Return the keys that were added, deleted and modified."""
        added: list[Keys] = []
        deleted: list[Keys] = []
        modified: list[Keys] = []
        for block in self.blocks():
            added.append(block.added)
            deleted.append(block.deleted)
            modified.append(block.modified)
        before = self.before is not None and self.before.schema.nested
        after = self.after is not None and self.after.schema.nested
        return (
            ChangedKeys(_join(added), nested=after),
            ChangedKeys(_join(deleted), nested=before),
            ChangedKeys(_join(modified), nested=after),
        )

    def changes(self, limit: int | None, *, with_modified: bool = True) -> Iterator[SampleChange]:
        """Yield changed samples in key order, read in pieces of at most `limit`."""
        step = self._step(limit)
        for block in self.blocks():
            rows = _Rows.of(block, with_modified=with_modified)
            state = self.after if len(block.deleted) < len(block) else self.before
            nested = state is not None and state.schema.nested
            is_text = bool(len(rows.keys.texts))
            keys = rows.keys.texts if is_text else rows.keys.ints
            order = np.argsort(keys, kind="stable")
            for low in range(0, len(order), step):
                piece = order[low : low + step]
                yield from map(
                    SampleChange,
                    spell(keys_of(keys[piece], is_text=is_text), nested=nested),
                    self._load(self.before, rows.before, rows.before_at[piece]),
                    self._load(self.after, rows.after, rows.after_at[piece]),
                )

    def modified_at(self, keys: ChangedKeys, places: NDArray[np.intp]) -> Iterator[SampleChange]:
        """Yield modified samples by their places in `keys`, in the order of the places."""
        if not len(places):
            return
        assert self.before is not None
        assert self.after is not None
        step = self._step(len(places))
        for low in range(0, len(places), step):
            # Sorted, so that ints come before texts, as the trees give them back.
            wanted = np.sort(places[low : low + step])
            tree_keys = keys.tree_keys(wanted)
            sides = [
                load_values(
                    state.schema, self.tensors, cursor.get(self.nodes, state.tree, tree_keys)[0]
                )
                for state in (self.before, self.after)
            ]
            spelled = spell(tree_keys, nested=self.after.schema.nested)
            found = dict(zip(wanted.tolist(), map(SampleChange, spelled, *sides), strict=True))
            yield from (found[place] for place in places[low : low + step].tolist())

    def measure(self, limit: int | None, limit_nbytes: int | None) -> NDArray[np.float64]:
        """Return the figures of the first modified samples, shape (n, 5).

        Parameters
        ----------
        limit, limit_nbytes : int, optional
            At most so many samples; none further once so many bytes of values were read.
        """
        figures = [np.empty((0, len(MEASURES)))]
        done = nbytes = 0
        step = self._step(limit)
        for block in self.blocks():
            for low in range(0, len(block.modified), step):
                stop = low + step if limit is None else min(low + step, low + limit - done)
                if stop <= low or (limit_nbytes is not None and nbytes >= limit_nbytes):
                    return np.concatenate(figures)
                before = self._stack(self.before, block.before[low:stop])
                after = self._stack(self.after, block.after[low:stop])
                figures.append(measure_values(before, after))
                done += len(before)
                nbytes += _nbytes_of(before) + _nbytes_of(after)
        return np.concatenate(figures)

    def _step(self, limit: int | None) -> int:
        """Return how many samples are read at a time."""
        schemas = [state.schema for state in (self.before, self.after) if state is not None]
        step = min(map(_values_in_a_piece, schemas), default=_PIECE_VALUES)
        return step if limit is None else max(1, min(step, limit))

    def _load(
        self, state: ColumnState | None, stored: NDArray[np.uint8], at: NDArray[np.intp]
    ) -> list[Any]:
        """Return the values at rows of `stored`, None where the row is -1."""
        values: list[Any] = [None] * len(at)
        places = np.flatnonzero(at >= 0)
        if len(places):
            assert state is not None
            loaded = load_values(state.schema, self.tensors, stored[at[places]])
            for place, value in zip(places.tolist(), loaded, strict=True):
                values[place] = value
        return values

    def _stack(
        self, state: ColumnState | None, stored: NDArray[np.uint8]
    ) -> NDArray[Any] | list[Any]:
        """Return values stacked where all have one shape, otherwise as a list."""
        assert state is not None
        if state.schema.is_inline:
            return inline_rows(state.schema, stored)
        values = load_values(state.schema, self.tensors, stored)
        return np.stack(values) if state.schema.is_fixed_shape else values


@dataclass(frozen=True, slots=True)
class _Rows:
    """The samples of a block: keys, and the row of each in the values of a side or -1."""

    keys: Keys
    before: NDArray[np.uint8]
    before_at: NDArray[np.intp]
    after: NDArray[np.uint8]
    after_at: NDArray[np.intp]

    @classmethod
    def of(cls, block: DiffBlock, *, with_modified: bool) -> _Rows:
        deleted, added = np.arange(len(block.deleted)), np.arange(len(block.added))
        modified = np.arange(len(block.modified) if with_modified else 0)
        parts = [block.deleted, block.added, *([block.modified] if with_modified else [])]
        return cls(
            _join(parts),
            _join_rows(block.deleted_values, block.before),
            np.concatenate([deleted, np.full(len(added), -1), len(deleted) + modified]),
            _join_rows(block.added_values, block.after),
            np.concatenate([np.full(len(deleted), -1), added, len(added) + modified]),
        )


def _values_in_a_piece(schema: Schema) -> int:
    if not schema.is_fixed_shape:
        return _PIECE_VALUES
    return max(1, _PIECE_NBYTES // max(1, schema.row_nbytes))


def _nbytes_of(values: NDArray[Any] | Sequence[Any]) -> int:
    if isinstance(values, np.ndarray):
        return values.nbytes
    return sum(v.nbytes if isinstance(v, np.ndarray) else len(v) for v in values)


def _join(keys: Sequence[Keys]) -> Keys:
    if not keys:
        return no_keys()
    return Keys(
        join_keys([block.ints for block in keys], is_text=False),
        join_keys([block.texts for block in keys], is_text=True),
    )


def _join_rows(*pieces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return join_values([piece for piece in pieces if len(piece)] or [pieces[0]], pieces[0].shape[1])
