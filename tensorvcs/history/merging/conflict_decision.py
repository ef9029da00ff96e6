"""Deciding the conflicts of a merge that waits: from what is staged to what is staged then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tensorvcs.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    SchemaMismatchError,
    with_hint,
)
from tensorvcs.history.merging.merge_progress import KeptMerge, OpenColumn, OpenSamples, put_rows
from tensorvcs.history.snapshot import ColumnState, holds_same_values
from tensorvcs.history.stored_values import store_values
from tensorvcs.objects.keys import EMPTY_INTS, EMPTY_TEXTS, Keys
from tensorvcs.objects.tensor import canonical_value
from tensorvcs.tree import cursor
from tensorvcs.tree.edit import edit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.history.merging.conflict_choice import Chosen
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.tree.nodes import Nodes
    from tensorvcs.tree.tree import Tree

Decision = Literal["ours", "theirs", "delete"]

StoredValues = dict[int, "NDArray[np.uint8]"]
"""What trees store of a value, shape (1, value_nbytes), by the place of a part."""


def store_decision(
    tensors: TensorStore, kept: KeptMerge, chosen: Chosen, value: object
) -> StoredValues:
    """Write a value for each column that it was given for, unsealed.

    Raises
    ------
    SchemaMismatchError
        It does not fit a column.
    InvalidInputError
        A column is in conflict as a whole.
    """
    stored: StoredValues = {}
    for place, keys in chosen:
        part = kept.parts[place]
        if keys is None or isinstance(part, OpenColumn):
            raise with_hint(
                InvalidInputError(
                    f"column {part.column!r} is in conflict as a whole; no value decides it"
                ),
                "keep a side, ours or theirs, or delete the column",
            )
        try:
            canonical = canonical_value(part.schema, value)
        except SchemaMismatchError as error:
            error.column, error.key = part.column, _first(keys, part)
            raise
        rows: Any = [canonical]
        if part.schema.is_fixed_shape:
            rows = np.asarray(canonical)[None]
        stored[place] = store_values(part.schema, tensors, rows)
    return stored


def _first(keys: Keys, part: OpenSamples) -> Any:
    one = keys.span(0, 1)
    listed = one.to_pairs() if part.schema.nested else one.to_list()
    return listed[0] if listed else None


def decide_chosen(
    nodes: Nodes,
    kept: KeptMerge,
    columns: Columns,
    chosen: Chosen,
    decision: Decision | StoredValues,
) -> tuple[KeptMerge, Columns]:
    """Decide conflicts.

    Parameters
    ----------
    columns : Columns
        What is staged.
    decision : {"ours", "theirs", "delete"}, or what `store_decision` wrote

    Returns
    -------
    kept : KeptMerge
        With fewer conflicts open.
    columns : Columns
        To be staged.

    Raises
    ------
    ColumnNotFoundError
        A column was deleted from staging, or made anew with other values.

    Notes
    -----
    O(samples × log n); new nodes go to the object store.
    """
    made = dict(columns)
    for place, keys in chosen:
        part = kept.parts[place]
        if isinstance(part, OpenColumn):
            made = _take_column(made, part, decision)
            kept = kept.replace_part(place, replace(part, is_open=False))
            continue
        assert keys is not None
        state = _staged(made, part)
        has = np.zeros(len(keys), np.bool_)
        rows = np.zeros((len(keys), state.tree.value_nbytes), np.uint8)
        if isinstance(decision, dict):
            has[:], rows[:] = True, decision[place]
        elif decision != "delete":
            rows, has = cursor.get(nodes, part.ours if decision == "ours" else part.theirs, keys)
        made[part.column] = ColumnState(state.schema, put_rows(nodes, state.tree, keys, has, rows))
        kept = kept.replace_part(place, replace(part, open=_without(nodes, part, keys)))
    return kept, made


def _without(nodes: Nodes, part: OpenSamples, keys: Keys) -> Tree:
    nothing = np.empty((0, 0), np.uint8)
    return edit(nodes, part.open, Keys(EMPTY_INTS, EMPTY_TEXTS), nothing, nothing, keys)


def _take_column(columns: Columns, part: OpenColumn, decision: Decision | StoredValues) -> Columns:
    """Return columns with what one side has under the names at stake, or without any."""
    made = {name: state for name, state in columns.items() if name not in part.names}
    if decision == "delete":
        return made
    return {**made, **(part.ours if decision == "ours" else part.theirs)}


def _staged(columns: Columns, part: OpenSamples) -> ColumnState:
    state = columns.get(part.column)
    if state is None or not holds_same_values(state.schema, part.schema):
        found = "is gone" if state is None else f"has values of {state.schema.spelling}"
        raise with_hint(
            ColumnNotFoundError(
                f"the staged column {part.column!r} {found}; its conflicts are about values of "
                f"{part.schema.spelling}"
            ),
            "take the column back ('tvcs undo'), or give up ('tvcs merge --abort')",
        )
    return state
