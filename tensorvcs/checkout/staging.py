"""Staged columns: a snapshot under change, with edits in memory that no tree has yet.

An edit goes three steps. A single value waits in a dict, where it can be read back. Many values
at once, or singles past a limit, are hashed and handed to the tensor store as a block. `fold`
turns all of it into new trees. Nothing is durable before the owner of the staging area seals
the tensor store and moves a ref.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tensorvcs.errors import SchemaMismatchError
from tensorvcs.history.snapshot import ColumnState
from tensorvcs.history.stored_values import store_values
from tensorvcs.objects.keys import EMPTY_INTS, EMPTY_TEXTS, Keys, sort_unique, text_array
from tensorvcs.objects.tensor import canonical_array, check_shape
from tensorvcs.tree.edit import edit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.schema import Schema
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes

TreeKey = int | bytes

PENDING_NBYTES = 16 << 20
"""Single values that wait in memory, before they are handed on as a block."""

FLUSH_NBYTES = 1 << 30
"""Payload after which an editor flushes by itself."""

FLUSH_ROWS = 400_000
"""Edited samples after which an editor flushes by itself; bounds the memory of an import."""


class Deleted:
    """The mark of a key whose value was deleted."""


DELETED: Final = Deleted()


@dataclass(slots=True)
class _Block:
    """Edits of one sort of keys, in one array each: put, or deleted where `deleted` is true."""

    keys: NDArray[Any]
    values: NDArray[np.uint8]
    deleted: NDArray[np.bool_]


@dataclass(slots=True)
class _ColumnEdits:
    """What changed in one column since its tree was made."""

    pending: dict[TreeKey, Any] = field(default_factory=dict)
    pending_nbytes: int = 0
    ints: list[_Block] = field(default_factory=list)
    texts: list[_Block] = field(default_factory=list)


class StagedColumns:
    """The columns of a staging area.

    `columns` is the snapshot as of the last `fold`; what came later is in memory.
    """

    def __init__(self, stores: Stores, nodes: Nodes, columns: Columns) -> None:
        self._stores = stores
        self._nodes = nodes
        self.columns: Columns = dict(columns)
        self._edits: dict[str, _ColumnEdits] = {}
        self.row_count = 0
        """Edits since the last fold, over all columns."""

    @property
    def has_edits(self) -> bool:
        """Whether anything waits for `fold`."""
        return bool(self._edits)

    def has_edits_in(self, name: str) -> bool:
        """Tell whether anything of one column waits for `fold`."""
        return name in self._edits

    def pending(self, name: str, key: TreeKey) -> Any:
        """Return what waits under a key: a value, `DELETED`, or None when nothing does.

        Blocks cannot be read back; see `has_blocks`.
        """
        edits = self._edits.get(name)
        return None if edits is None else edits.pending.get(key)

    def has_blocks(self, name: str) -> bool:
        """Tell whether a column has edits that can only be read after `fold`."""
        edits = self._edits.get(name)
        return edits is not None and bool(edits.ints or edits.texts)

    def largest_int(self, name: str) -> int | None:
        """Return the largest int key that waits in a column, at least -1.

        None when keys were deleted since the last `fold`: then only the tree can tell.
        """
        edits = self._edits.get(name)
        if edits is None:
            return -1
        if any(value is DELETED for value in edits.pending.values()) or any(
            block.deleted.any() for block in edits.ints
        ):
            return None
        singles = max((key for key in edits.pending if isinstance(key, int)), default=-1)
        return max([singles, *(int(block.keys.max()) for block in edits.ints)])

    def put(self, name: str, key: TreeKey, value: Any) -> None:
        """Stage one canonical value."""
        edits = self._edits.setdefault(name, _ColumnEdits())
        edits.pending[key] = value.copy() if isinstance(value, np.ndarray) else value
        edits.pending_nbytes += 64 + (value.nbytes if isinstance(value, np.ndarray) else len(value))
        self.row_count += 1
        if edits.pending_nbytes > PENDING_NBYTES:
            self._block_pending(name, edits)

    def delete(self, name: str, key: TreeKey) -> None:
        """Stage the deletion of one key."""
        edits = self._edits.setdefault(name, _ColumnEdits())
        edits.pending[key] = DELETED
        self.row_count += 1

    def delete_many(self, name: str, keys: Keys) -> None:
        """Stage the deletion of many keys at once."""
        edits = self._edits.setdefault(name, _ColumnEdits())
        self._block_pending(name, edits)
        width = self.columns[name].schema.value_nbytes
        for blocks, sort in ((edits.ints, keys.ints), (edits.texts, keys.texts)):
            if len(sort):
                nothing = np.zeros((len(sort), width), np.uint8)
                blocks.append(_Block(sort, nothing, np.ones(len(sort), np.bool_)))
        self.row_count += len(keys)

    def put_many(self, name: str, keys: Keys, places: NDArray[np.intp], values: Any) -> None:
        """Stage many values at once.

        Parameters
        ----------
        keys : Keys
            As `collect_keys` returns them, with `places`: where in `values` each belongs.
        values : ndarray, shape (n, *shape), or sequence of canonical values
            Stacked for a fixed-shape column; converted block by block.

        Raises
        ------
        DuplicateKeyError
            A key comes twice; nothing is staged.
        SchemaMismatchError
            The stacked array does not fit; nothing is staged.
        """
        schema = self.columns[name].schema
        for sort in (keys.ints, keys.texts):
            check_unique(sort, name)
        if schema.is_fixed_shape:
            check_stack(schema, values, name)
        edits = self._edits.setdefault(name, _ColumnEdits())
        self._block_pending(name, edits)
        stored = store_values(schema, self._stores.tensors, values)[places]
        split = len(keys.ints)
        for blocks, sort, part in (
            (edits.ints, keys.ints, stored[:split]),
            (edits.texts, keys.texts, stored[split:]),
        ):
            if len(sort):
                blocks.append(_Block(sort, part, np.zeros(len(sort), np.bool_)))
        self.row_count += len(keys)

    def _block_pending(self, name: str, edits: _ColumnEdits) -> None:
        """Turn the single values that wait into blocks."""
        if not edits.pending:
            return
        schema = self.columns[name].schema
        puts = {k: v for k, v in edits.pending.items() if v is not DELETED}
        deletes = [k for k, v in edits.pending.items() if v is DELETED]
        values: Any = list(puts.values())
        if schema.is_fixed_shape:
            stack = np.empty((len(values), *schema.fixed_shape), schema.numpy_dtype)
            for place, value in enumerate(values):
                stack[place] = value
            values = stack
        stored = store_values(schema, self._stores.tensors, values)
        for blocks, sort in ((edits.ints, int), (edits.texts, bytes)):
            places = [at for at, key in enumerate(puts) if isinstance(key, sort)]
            all_keys = list(puts)
            put_keys = [all_keys[at] for at in places]
            deleted_keys = [key for key in deletes if isinstance(key, sort)]
            if not put_keys and not deleted_keys:
                continue
            listed: Any = put_keys + deleted_keys
            keys = np.array(listed, np.int64) if sort is int else text_array(listed)
            part = np.zeros((len(listed), schema.value_nbytes), np.uint8)
            part[: len(put_keys)] = stored[places]
            blocks.append(_Block(keys, part, np.arange(len(listed)) >= len(put_keys)))
        edits.pending = {}
        edits.pending_nbytes = 0

    def block(self) -> None:
        """Hand every value that waits to the tensor store, so that it can be sealed."""
        for name, edits in self._edits.items():
            self._block_pending(name, edits)

    def folded(self) -> Columns:
        """Return the columns with all edits in their trees; call `block` before.

        The new nodes go to the object store, inside the caller's transaction. The staged
        columns themselves do not change until `settle`.
        """
        columns = dict(self.columns)
        for name, edits in self._edits.items():
            assert not edits.pending
            schema, tree = columns[name].schema, columns[name].tree
            ints = _latest(edits.ints, EMPTY_INTS, schema.value_nbytes)
            texts = _latest(edits.texts, EMPTY_TEXTS, schema.value_nbytes)
            tree = edit(
                self._nodes,
                tree,
                Keys(ints.keys[~ints.deleted], texts.keys[~texts.deleted]),
                ints.values[~ints.deleted],
                texts.values[~texts.deleted],
                Keys(ints.keys[ints.deleted], texts.keys[texts.deleted]),
            )
            columns[name] = ColumnState(schema, tree)
        return columns

    def settle(self, columns: Columns) -> None:
        """Take over columns that are durable now, and forget the edits they hold."""
        self.columns = dict(columns)
        self._edits = {}
        self.row_count = 0

    def drop_edits(self, name: str | None = None) -> None:
        """Forget what was not folded, of one column or of all."""
        if name is None:
            self._edits = {}
            self.row_count = 0
        else:
            self._edits.pop(name, None)

    def move_edits(self, old: str, new: str) -> None:
        """Follow a column that was renamed."""
        edits = self._edits.pop(old, None)
        if edits is not None:
            self._edits[new] = edits


def _latest(blocks: Sequence[_Block], no_keys: NDArray[Any], width: int) -> _Block:
    """Join blocks in the order of their making: sorted keys, of each the last edit."""
    if not blocks:
        return _Block(no_keys, np.zeros((0, width), np.uint8), np.zeros(0, np.bool_))
    keys = np.concatenate([block.keys for block in blocks])
    values = np.concatenate([block.values for block in blocks])
    deleted = np.concatenate([block.deleted for block in blocks])
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_last = np.ones(len(ordered), np.bool_)
    is_last[:-1] = ordered[1:] != ordered[:-1]
    order = order[is_last]
    return _Block(keys[order], values[order], deleted[order])


def check_unique(keys: NDArray[Any], name: str) -> None:
    """Raise DuplicateKeyError when a tree key comes twice."""
    if len(keys) > 1 and not bool(np.all(keys[1:] > keys[:-1])):
        sort_unique(keys, f"column {name!r}: key")


def check_stack(schema: Schema, values: Any, name: str) -> None:
    """Raise SchemaMismatchError unless `values` is a stack of samples of a fixed shape."""
    found = np.asarray(values) if not isinstance(values, np.ndarray) else values
    try:
        canonical_array(found[:0] if found.ndim else found, schema.dtype)
        if found.ndim == 0:
            raise SchemaMismatchError(
                "a stack of samples has the samples on its first axis",
                found="0 dimensions",
                expected=f"{1 + len(schema.fixed_shape)}",
            )
        check_shape(schema, found.shape[1:])
    except SchemaMismatchError as error:
        error.column = name
        raise
