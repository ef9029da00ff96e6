"""Sorted changes to a new tree, which shares every node they do not touch.

From the root down, each level finds the runs that the changes fall into, and loads their nodes
only. From the leaves up, each level replaces the entries of the nodes below that were loaded by
those that were written, and writes its runs anew. A deleted key that ended its run joins that run
with the next one, so both are loaded. Runs of a level lie within runs of the level above, since a
key that ends a run ends one at every lower level; so what is loaded at one level always names all
that the level below needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.digest import digests_to_array
from tensorvcs.tree.boundary import hash_keys
from tensorvcs.tree.build import grow_root, merge_entries, write_inner, write_leaves
from tensorvcs.tree.entries import (
    Entries,
    find_keys,
    join_entries,
    join_keys,
    join_values,
    node_entries,
    run_batches,
)
from tensorvcs.tree.tree import Root, Tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tensorvcs.objects.keys import Keys
    from tensorvcs.tree.nodes import Nodes

# Leaves are rewritten in batches of about this many entries.
_BATCH_ENTRIES = 1 << 17


@dataclass(frozen=True, slots=True)
class _Changes:
    """Changes to the keys of one sort: sorted puts with their values, and sorted deletes."""

    puts: NDArray[Any]
    values: NDArray[np.uint8]
    deletes: NDArray[Any]

    def __post_init__(self) -> None:
        assert len(self.puts) == len(self.values), (len(self.puts), self.values.shape)
        assert bool((self.puts[1:] > self.puts[:-1]).all()), "put keys strictly increase"
        assert bool((self.deletes[1:] > self.deletes[:-1]).all()), "deleted keys strictly increase"

    def __len__(self) -> int:
        return len(self.puts) + len(self.deletes)

    @property
    def is_text(self) -> bool:
        return bool(self.puts.dtype != np.int64)

    def up_to(self, last: object) -> tuple[_Changes, _Changes]:
        """Return the changes of keys up to `last`, and those behind it."""
        put_stop = int(np.searchsorted(self.puts, last, "right"))  # type: ignore[call-overload]
        delete_stop = int(np.searchsorted(self.deletes, last, "right"))  # type: ignore[call-overload]
        return (
            _Changes(self.puts[:put_stop], self.values[:put_stop], self.deletes[:delete_stop]),
            _Changes(self.puts[put_stop:], self.values[put_stop:], self.deletes[delete_stop:]),
        )


def edit(
    nodes: Nodes,
    tree: Tree,
    puts: Keys,
    values_ints: NDArray[np.uint8],
    values_texts: NDArray[np.uint8],
    deletes: Keys,
) -> Tree:
    """Return the tree with keys set and deleted.

    Parameters
    ----------
    puts, deletes : Keys
        Each sort strictly increasing. A deleted key that is absent is ignored; one that is also
        put is put.
    values_ints, values_texts : ndarray, shape (n, value_nbytes), uint8
        The values of the int keys and of the text keys that are put.

    Returns
    -------
    Tree
        The same whatever edits led to its content.

    Raises
    ------
    ObjectNotFoundError, CorruptionError
        A node that is needed is absent or damaged.

    Notes
    -----
    k changes in a tree of n keys read and write O(k log n) nodes. The nodes are in the store
    when this returns; those of the old tree stay.
    """
    width = tree.value_nbytes
    assert values_ints.shape[1] == values_texts.shape[1] == width
    return Tree(
        _edit_sort(nodes, tree.ints, width, _Changes(puts.ints, values_ints, deletes.ints)),
        _edit_sort(nodes, tree.texts, width, _Changes(puts.texts, values_texts, deletes.texts)),
        width,
    )


def _edit_sort(nodes: Nodes, root: Root | None, width: int, changes: _Changes) -> Root | None:
    puts, is_text = changes.puts, changes.is_text
    if root is None:
        entries = write_leaves(nodes, puts, hash_keys(puts), changes.values)
        return grow_root(nodes, entries, 1, width)
    if not len(changes):
        return root
    if len(puts) and len(changes.deletes):
        deletes = changes.deletes[~find_keys(puts, changes.deletes)[1]]
        changes = _Changes(puts, changes.values, deletes)
    top = nodes.load_root(root, is_text=is_text, value_nbytes=width)

    # Down: at each level the entries that are at hand, and which of their children are hit.
    entries = Entries(
        top.keys[-1:], top.hashes[-1:], digests_to_array([root.digest]), np.array([root.count])
    )
    plan: list[tuple[Entries, NDArray[np.bool_]]] = []
    for level in range(top.level, -1, -1):
        hit = _hit_runs(
            entries.keys, nodes.boundary.ends_run(entries.hashes, level, width), changes
        )
        plan.append((entries, hit))
        if level:
            loaded = nodes.load_children(
                entries.children[hit],
                entries.counts[hit],
                level=level,
                is_text=is_text,
                value_nbytes=width,
            )
            entries = join_entries([node_entries(node) for node in loaded], is_text=is_text)

    # Up: the leaves, then each level with the entries of what was written below, until nothing
    # further up is left as it was.
    entries, hit = plan.pop()
    fresh = _edit_leaves(nodes, entries.select(hit), width, changes)
    level = 1
    while True:
        merged = merge_entries(entries.select(~hit), fresh, is_text=is_text)
        if all(bool(above.all()) for _, above in plan):
            return grow_root(nodes, merged, level, width)
        fresh = write_inner(nodes, merged, level, width)
        entries, hit = plan.pop()
        level += 1


def _hit_runs(keys: NDArray[Any], ends: NDArray[np.bool_], changes: _Changes) -> NDArray[np.bool_]:
    """Tell which nodes are of a run that the changes may alter.

    Parameters
    ----------
    keys : ndarray, shape (n,)
        The last keys of nodes of one level.
    ends : ndarray, shape (n,), bool
        Whether a node ends its run.
    """
    count = len(keys)
    if not count:
        return np.zeros(0, np.bool_)
    runs: NDArray[np.intp] = np.cumsum(ends) - ends
    is_run_hit = np.zeros(int(runs[-1]) + 2, np.bool_)
    for changed in (changes.puts, changes.deletes):
        if not len(changed):
            continue
        at, found = find_keys(keys, changed)
        inside = at[at < count]
        is_run_hit[runs[inside]] = True
        if len(inside) < len(at) and not ends[-1]:
            # Keys behind the last one extend the last run, when nothing has ended it.
            is_run_hit[runs[-1]] = True
        if changed is changes.deletes:
            deleted = at[found]
            is_run_hit[runs[deleted[ends[deleted]]] + 1] = True
    hit: NDArray[np.bool_] = is_run_hit[runs]
    return hit


def _edit_leaves(nodes: Nodes, leaves: Entries, width: int, changes: _Changes) -> Entries:
    """Write the leaves that take the place of `leaves`, whole runs; return their entries."""
    written = []
    stays = ~find_keys(changes.deletes, leaves.keys)[1]
    ends = nodes.boundary.ends_run(leaves.hashes, 0, width) & stays
    # Without old leaves there is one batch still, of the keys behind all others.
    for start, stop in list(run_batches(leaves.counts, ends, _BATCH_ENTRIES)) or [(0, 0)]:
        batch = changes
        if stop < len(leaves):
            batch, changes = changes.up_to(leaves.keys[stop - 1])
        loaded = nodes.load_children(
            leaves.children[start:stop],
            leaves.counts[start:stop],
            level=0,
            is_text=changes.is_text,
            value_nbytes=width,
        )
        keys, hashes, values = _apply(
            join_keys([leaf.keys for leaf in loaded], is_text=changes.is_text),
            np.concatenate([np.empty(0, np.uint64), *(leaf.hashes for leaf in loaded)]),
            join_values([leaf.values for leaf in loaded], width),
            batch,
        )
        written.append(write_leaves(nodes, keys, hashes, values))
    return join_entries(written, is_text=changes.is_text)


def _apply(
    keys: NDArray[Any], hashes: NDArray[np.uint64], values: NDArray[np.uint8], changes: _Changes
) -> tuple[NDArray[Any], NDArray[np.uint64], NDArray[np.uint8]]:
    """Apply changes to the columns of some leaves."""
    puts = changes.puts
    if len(changes.deletes):
        kept = ~find_keys(changes.deletes, keys)[1]
        keys, hashes, values = keys[kept], hashes[kept], values[kept]
    if not len(puts):
        return keys, hashes, values
    at, is_known = find_keys(keys, puts)
    values = values.copy()
    values[at[is_known]] = changes.values[is_known]
    new = ~is_known
    if not bool(new.any()):
        return keys, hashes, values
    added = puts[new]
    old = np.ones(len(keys) + len(added), np.bool_)
    old[at[new] + np.arange(len(added))] = False
    return (
        _interleave(old, keys, added),
        _interleave(old, hashes, hash_keys(added)),
        _interleave(old, values, changes.values[new]),
    )


def _interleave(old: NDArray[np.bool_], kept: NDArray[Any], added: NDArray[Any]) -> NDArray[Any]:
    """Return an array with `kept` where `old` holds, and `added` elsewhere."""
    merged = np.empty((len(old), *kept.shape[1:]), np.promote_types(kept.dtype, added.dtype))
    merged[old] = kept
    merged[~old] = added
    return merged
