"""A part of the changes between two versions, by column and by sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.history.difference.renames import find_renames
from tensorvcs.history.snapshot import ColumnState, holds_same_values
from tensorvcs.objects.keys import Keys
from tensorvcs.tree.diff import diff
from tensorvcs.tree.edit import edit
from tensorvcs.tree.entries import join_keys, join_values
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.schema import Schema
    from tensorvcs.tree.nodes import Nodes

    Choose = Callable[[str, Keys], NDArray[np.bool_]]
    """Called with a column and changed tree keys, n of them; tells which to take, shape (n,)."""


def apply_part(
    nodes: Nodes,
    before: Columns,
    after: Columns,
    choose: Choose | None,
    names: Collection[str] | None,
    *,
    renames: Mapping[str, str] | None = None,
) -> Columns:
    """Return `before` with a part of what changed from it to `after`.

    Parameters
    ----------
    choose : callable, optional
        ``choose(column, keys) -> ndarray of bool, shape (len(keys),)`` tells which of the changed
        samples to take, ints first; all when None. A renamed column has its new name.
    names : collection of str, optional
        Only these columns; all when None. A renamed column goes by either name.
    renames : mapping of str to str, optional
        The renamed columns, old name to new name; those of `renames_among` when omitted.

    Returns
    -------
    Columns
        With `choose`, a column that is new keeps the chosen samples only, and one that is gone
        loses the chosen samples. What is of a column as a whole (that it is gone, its name, its
        codec) is taken when samples of it changed and all of these are chosen. A column whose
        samples have another kind or shape on both sides is taken as a whole, or not at all.

    Notes
    -----
    Cost follows the changes; a diff of a column that is gone and one that is new is read to know
    a renamed one. New nodes go to the object store.
    """
    made = dict(before)
    if renames is None:
        renames = renames_among(nodes, before, after, names)
    renamed = {new: old for old, new in renames.items()}
    for new_name in sorted(({*before} - {*renamed.values()}) | {*after}):
        old_name = renamed.get(new_name, new_name)
        old, new = before.get(old_name), after.get(new_name)
        if (old == new and old_name == new_name) or (
            names is not None and old_name not in names and new_name not in names
        ):
            continue
        state, is_whole = new, True
        if choose is not None:
            state, is_whole = _part_of(nodes, new_name, old, new, choose)
        made.pop(old_name, None)
        if state is not None:
            made[new_name if is_whole else old_name] = state
    return made


def renames_among(
    nodes: Nodes, before: Columns, after: Columns, names: Collection[str] | None
) -> dict[str, str]:
    """Return the renamed columns, old name to new name, that have to do with some names.

    Parameters
    ----------
    names : collection of str, optional
        Columns of either version; all when None.

    Notes
    -----
    As `find_renames`, but looks only into columns that may be one of these, or be taken for one:
    in a partial clone the others may be absent.
    """
    if names is None:
        return find_renames(nodes, before, after)
    gone, new = {*before} - {*after}, {*after} - {*before}
    near = {*names} & (gone | new)
    while True:
        pairs = {
            (old, name)
            for old in gone
            for name in new
            if (old in near) != (name in near)
            and holds_same_values(before[old].schema, after[name].schema)
        }
        if not pairs:
            break
        near.update(*pairs)
    return find_renames(
        nodes,
        {name: state for name, state in before.items() if name not in gone or name in near},
        {name: state for name, state in after.items() if name not in new or name in near},
    )


def _part_of(
    nodes: Nodes, name: str, old: ColumnState | None, new: ColumnState | None, choose: Choose
) -> tuple[ColumnState | None, bool]:
    """Return one column with the chosen changes, and whether these were all and any."""
    if old is not None and new is not None and not _has_same_values(old.schema, new.schema):
        is_whole = _is_all_chosen(nodes, name, old, new, choose)
        return (new if is_whole else old), is_whole
    here = old if new is None else new
    assert here is not None
    empty = Tree.empty(here.tree.value_nbytes)
    start, goal = (empty if side is None else side.tree for side in (old, new))
    tree, taken, left = transplant(nodes, start, goal, start, lambda keys: choose(name, keys))
    if not taken:
        return old, False
    if not left:
        return new, True
    return ColumnState((here if old is None else old).schema, tree), False


def _has_same_values(before: Schema, after: Schema) -> bool:
    """Tell whether every value of one schema may stand beside those of the other."""
    return holds_same_values(before, after) and (before.shape, before.variable_shape) == (
        after.shape,
        after.variable_shape,
    )


def _is_all_chosen(
    nodes: Nodes, name: str, old: ColumnState, new: ColumnState, choose: Choose
) -> bool:
    """Tell whether every sample of both versions of a column is chosen, and there is one."""
    chosen = [
        bool(choose(name, block.added).all())
        for side in (old, new)
        for block in diff(nodes, Tree.empty(side.tree.value_nbytes), side.tree)
    ]
    return bool(chosen) and all(chosen)


def transplant(
    nodes: Nodes,
    start: Tree,
    goal: Tree,
    onto: Tree,
    choose: Callable[[Keys], NDArray[np.bool_]] | None = None,
) -> tuple[Tree, int, int]:
    """Make what changed from one tree to another on a third, whatever that has for these keys.

    Parameters
    ----------
    start, goal, onto : Tree
        Of equal `value_nbytes`.
    choose : callable, optional
        Tells of changed keys, n of them, which to take: shape (n,), bool; all when None.

    Returns
    -------
    tree : Tree
    taken, left : int
        How many changes were made, and how many not.
    """
    ints, texts = _Chosen([], [], []), _Chosen([], [], [])
    total = 0
    for block in diff(nodes, start, goal):
        total += len(block)
        for keys, stored in (
            (block.added, block.added_values),
            (block.modified, block.after),
            (block.deleted, None),
        ):
            if len(keys):
                side, sort = (ints, keys.ints) if len(keys.ints) else (texts, keys.texts)
                chosen = np.ones(len(keys), np.bool_) if choose is None else choose(keys)
                side.take(sort, stored, chosen)
    int_puts, int_values, int_deletes = ints.joined(start.value_nbytes, is_text=False)
    text_puts, text_values, text_deletes = texts.joined(start.value_nbytes, is_text=True)
    puts, deletes = Keys(int_puts, text_puts), Keys(int_deletes, text_deletes)
    taken = len(puts) + len(deletes)
    return edit(nodes, onto, puts, int_values, text_values, deletes), taken, total - taken


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The chosen changes of keys of one sort."""

    puts: list[NDArray[Any]]
    values: list[NDArray[np.uint8]]
    deletes: list[NDArray[Any]]

    def take(
        self, keys: NDArray[Any], stored: NDArray[np.uint8] | None, chosen: NDArray[np.bool_]
    ) -> None:
        if stored is None:
            self.deletes.append(keys[chosen])
        else:
            self.puts.append(keys[chosen])
            self.values.append(stored[chosen])

    def joined(
        self, width: int, *, is_text: bool
    ) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[Any]]:
        puts = join_keys(self.puts, is_text=is_text)
        order = np.argsort(puts, kind="stable")
        deletes = np.sort(join_keys(self.deletes, is_text=is_text))
        return puts[order], join_values(self.values, width)[order], deletes
