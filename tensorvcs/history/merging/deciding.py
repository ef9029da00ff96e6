"""What a merge policy makes of the samples of one column that are in conflict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import SchemaMismatchError
from tensorvcs.history.merging import combining
from tensorvcs.history.merging.policies import (
    DELETED,
    FUNCTIONS,
    UNDECIDED,
    MergeFunction,
    policy_name,
)
from tensorvcs.history.stored_values import load_stack, store_values
from tensorvcs.objects.tensor import canonical_value
from tensorvcs.tree.merge import Decisions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.history.merging.conflict_values import ConflictValues, Sides
    from tensorvcs.history.merging.policies import Policy, PolicyName
    from tensorvcs.history.merging.recency import Recency
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.tree.merge import Conflicts


def decide(
    policy: Policy,
    column: str,
    names: tuple[str, str],
    values: ConflictValues,
    tensors: TensorStore,
    recency: Recency | None,
) -> Decisions:
    """Return what a policy makes of each conflict of a column.

    Parameters
    ----------
    policy : policy
        One that the schema of the column allows.
    column : str
        Its name in the merge, for errors.
    names : tuple of str
        What ours and theirs call it.
    recency : Recency, optional
        For ``newest``; without it that policy leaves every conflict open.

    Raises
    ------
    SchemaMismatchError
        A value that a function made does not fit the column.
    ObjectNotFoundError, CorruptionError
        A value that a function needs is absent or damaged.

    Notes
    -----
    Values that are made are written to the tensor store, which the caller seals. Named functions
    read and make a few megabytes at a time, a function of the user one sample after the other.
    """
    found = values.conflicts
    if policy == "fail" or (policy == "newest" and recency is None):
        return _open(found)
    if policy == "ours":
        return _take(found, np.zeros(len(found), np.bool_))
    if policy == "theirs":
        return _take(found, np.ones(len(found), np.bool_))
    if policy == "newest":
        assert recency is not None
        newer = recency.of_samples(*names, found.keys)
        taken = _take(found, newer > 0)
        return Decisions(newer != 0, taken.has_value, taken.values)
    if isinstance(policy, str):
        assert policy in FUNCTIONS, policy
        return _combine(policy, column, values, tensors)
    return _ask(policy, column, values, tensors)


def _open(found: Conflicts) -> Decisions:
    nothing = np.zeros(len(found), np.bool_)
    return Decisions(nothing, nothing, np.zeros_like(found.ours))


def _take(found: Conflicts, is_theirs: NDArray[np.bool_]) -> Decisions:
    return Decisions(
        np.ones(len(found), np.bool_),
        np.where(is_theirs, found.in_theirs, found.in_ours),
        np.where(is_theirs[:, None], found.theirs, found.ours),
    )


# Named functions


def _combine(
    policy: PolicyName, column: str, values: ConflictValues, tensors: TensorStore
) -> Decisions:
    found = values.conflicts
    # Ours is in ours already; what a union keeps of a deleted sample is the side that has it.
    made = _take(found, ~found.in_ours)
    is_decided = np.full(len(found), policy == "union") & ~(found.in_ours & found.in_theirs)
    has_all = found.in_ours & found.in_theirs
    if policy == "majority":
        has_all &= found.in_base & _is_like_base(values)
    places = np.flatnonzero(has_all)
    step = values.block_count
    stored = made.values.copy()
    for first in range(0, len(places), step):
        block = places[first : first + step]
        rows: NDArray[Any] | list[Any]
        if values.schema.is_fixed_shape:
            is_settled, rows = _combine_stacks(policy, values, block, tensors)
        else:
            is_settled, rows = _combine_singles(policy, column, values, block)
        settled = block[is_settled]
        if len(settled):
            stored[settled] = store_values(values.schema, tensors, rows)
            is_decided[settled] = True
    return Decisions(is_decided, made.has_value, stored)


def _is_like_base(values: ConflictValues) -> bool:
    """Tell whether the values of the base can be held beside those of the sides."""
    shapes = [(s.shape, s.variable_shape) for s in (values.base_schema, values.schema)]
    return shapes[0] == shapes[1] or values.schema.variable_shape


def _combine_stacks(
    policy: str, values: ConflictValues, block: NDArray[np.intp], tensors: TensorStore
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return which samples of a block are settled, and the values of those."""
    found, schema = values.conflicts, values.schema
    ours, theirs = (load_stack(schema, tensors, side[block]) for side in (found.ours, found.theirs))
    if policy == "majority":
        base = load_stack(schema, tensors, found.base[block])
        rows, is_settled = combining.majority(base, ours, theirs)
        return is_settled, rows[is_settled]
    return np.ones(len(block), np.bool_), _elementwise(policy, ours, theirs)


def _elementwise(policy: str, ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    if policy == "mean":
        return combining.mean(ours, theirs)
    # The union of two masks is what is in the larger of them.
    return combining.largest(ours, theirs)


def _combine_singles(
    policy: PolicyName, column: str, values: ConflictValues, block: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], list[Any]]:
    """Combine texts and arrays of variable shape, which do not stack."""
    is_settled = np.zeros(len(block), np.bool_)
    made: list[Any] = []
    for at, place in enumerate(block.tolist()):
        value = _combine_one(policy, values.read(place, place + 1)[0])
        if value is not None:
            made.append(_fitting(values, column, place, value, policy))
            is_settled[at] = True
    return is_settled, made


def _combine_one(policy: str, sides: Sides) -> Any:
    """Return the value that a named function makes, or None when it leaves the conflict open."""
    base, ours, theirs = sides
    if isinstance(ours, str):
        return combining.union_lines(base or "", ours, theirs)
    if policy == "union" and ours.dtype != np.bool_:
        return combining.union_rows(ours, theirs)
    if ours.shape != theirs.shape or (policy == "majority" and base.shape != ours.shape):
        return None
    if policy != "majority":
        return _elementwise(policy, ours[None], theirs[None])[0]
    rows, is_settled = combining.majority(base[None], ours[None], theirs[None])
    return rows[0] if is_settled[0] else None


# Functions of the user


def _ask(
    function: MergeFunction, column: str, values: ConflictValues, tensors: TensorStore
) -> Decisions:
    """Ask a function of the user, sample by sample; what it made is written block by block."""
    found, schema = values.conflicts, values.schema
    keys = found.keys.to_pairs() if schema.nested else found.keys.to_list()
    is_decided, has_value = np.zeros((2, len(found)), np.bool_)
    stored = found.ours.copy()
    step = values.block_count
    for first in range(0, len(found), step):
        made: list[Any] = []
        places: list[int] = []
        sides = values.read(first, min(first + step, len(found)))
        for place, (base, ours, theirs) in enumerate(sides, first):
            value = _call(function, column, (base, ours, theirs), keys[place])
            is_decided[place] = value is not UNDECIDED
            if value is not UNDECIDED and value is not DELETED:
                made.append(_fitting(values, column, place, value, function))
                places.append(place)
        has_value[places] = True
        if made:
            stored[places] = store_values(
                schema, tensors, np.stack(made) if schema.is_fixed_shape else made
            )
    return Decisions(is_decided, has_value, stored)


def _call(function: MergeFunction, column: str, sides: Sides, key: Any) -> Any:
    try:
        return function(*sides, key)
    except BaseException as error:
        error.add_note(f"in the merge function {policy_name(function)}, column {column!r}, {key!r}")
        raise


def _fitting(values: ConflictValues, column: str, place: int, value: Any, policy: Policy) -> Any:
    """Return a value as the column stores it; raise SchemaMismatchError when it does not fit."""
    name = policy_name(policy)
    try:
        if value is None:
            raise SchemaMismatchError(
                "nothing was returned",
                found="None",
                expected="a value, tensorvcs.DELETED or tensorvcs.UNDECIDED",
            )
        return canonical_value(values.schema, value)
    except SchemaMismatchError as error:
        one = values.conflicts.keys.span(place, place + 1)
        error.column = column
        error.key = (one.to_pairs() if values.schema.nested else one.to_list())[0]
        error.problem = f"merge function {name}: {error.problem}"
        raise
