"""Trees as plain dicts: the oracle that the tree tests compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

import numpy as np

from tensorvcs.objects.keys import Keys, text_array
from tensorvcs.storage.memory import MemoryObjects
from tensorvcs.tree import cursor
from tensorvcs.tree.boundary import DEFAULT_BOUNDARY, Boundary
from tensorvcs.tree.build import build
from tensorvcs.tree.diff import diff
from tensorvcs.tree.edit import edit
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from tensorvcs.tree.diff import DiffBlock
    from tensorvcs.tree.tree import Tree

TreeKey = Union[int, bytes]
Items = dict[TreeKey, bytes]

TINY = Boundary(wide_leaf_bits=1, narrow_leaf_bits=2, inner_bits=1)
"""So small that a few dozen keys make a tall tree."""

CUTTING = Boundary(wide_leaf_bits=2, narrow_leaf_bits=2, inner_bits=1, run_factor=2, run_nbytes=160)
"""Cuts most runs by weight."""


def memory_nodes(boundary: Boundary = DEFAULT_BOUNDARY) -> Nodes:
    return Nodes(MemoryObjects(), boundary=boundary)


def objects_of(nodes: Nodes) -> MemoryObjects:
    assert isinstance(nodes.objects, MemoryObjects)
    return nodes.objects


def in_order(keys: Iterable[TreeKey]) -> list[TreeKey]:
    return sorted(keys, key=lambda key: (isinstance(key, bytes), key))


def keys_from(keys: Iterable[TreeKey]) -> Keys:
    """Keep the order of the keys of each sort."""
    listed = list(keys)
    return Keys(
        np.array([key for key in listed if isinstance(key, int)], np.int64),
        text_array([key for key in listed if isinstance(key, bytes)]),
    )


def keys_to_list(keys: Keys) -> list[TreeKey]:
    return [*keys.ints.tolist(), *keys.texts.tolist()]


def values_from(values: Iterable[bytes], value_nbytes: int) -> NDArray[np.uint8]:
    listed = list(values)
    return np.frombuffer(b"".join(listed), np.uint8).reshape(len(listed), value_nbytes)


def columns_from(
    items: Mapping[TreeKey, bytes], value_nbytes: int
) -> tuple[Keys, NDArray[np.uint8], NDArray[np.uint8]]:
    keys = keys_from(in_order(items))
    return (
        keys,
        values_from([items[key] for key in keys.ints.tolist()], value_nbytes),
        values_from([items[key] for key in keys.texts.tolist()], value_nbytes),
    )


def tree_from(nodes: Nodes, items: Mapping[TreeKey, bytes], value_nbytes: int) -> Tree:
    return build(nodes, *columns_from(items, value_nbytes))


def edited(
    nodes: Nodes, tree: Tree, puts: Mapping[TreeKey, bytes], deletes: Iterable[TreeKey] = ()
) -> Tree:
    columns = columns_from(puts, tree.value_nbytes)
    return edit(nodes, tree, *columns, keys_from(in_order(set(deletes))))


def items_of(nodes: Nodes, tree: Tree) -> Items:
    keys, values = cursor.items_at(nodes, tree, 0, tree.count)
    return dict(zip(keys_to_list(keys), map(bytes, values), strict=True))


Change = tuple["bytes | None", "bytes | None"]


def block_changes(block: DiffBlock) -> dict[TreeKey, Change]:
    none = [None] * len(block)
    parts: list[tuple[Keys, Any, Any]] = [
        (block.added, none, block.added_values),
        (block.deleted, block.deleted_values, none),
        (block.modified, block.before, block.after),
    ]
    changes: dict[TreeKey, Change] = {}
    for keys, before, after in parts:
        for key, old, new in zip(keys_to_list(keys), before, after, strict=False):
            assert key not in changes
            changes[key] = (
                None if old is None else bytes(old),
                None if new is None else bytes(new),
            )
    return changes


def diff_changes(nodes: Nodes, before: Tree, after: Tree) -> dict[TreeKey, Change]:
    """Return all changes, and check that blocks are not empty and follow each other."""
    changes: dict[TreeKey, Change] = {}
    last: TreeKey | None = None
    for block in diff(nodes, before, after):
        found = block_changes(block)
        assert found
        ordered = in_order(found)
        assert last is None or in_order([last, ordered[0]]) == [last, ordered[0]]
        last = ordered[-1]
        changes.update(found)
    return changes


def dict_changes(
    before: Mapping[TreeKey, bytes], after: Mapping[TreeKey, bytes]
) -> dict[TreeKey, Change]:
    return {
        key: (before.get(key), after.get(key))
        for key in {*before, *after}
        if before.get(key) != after.get(key)
    }
