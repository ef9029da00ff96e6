"""What a partial clone may drop although it is in use: values that a remote gives back.

A value may go when a branch or a tag of the remote reaches it, as they are now, and the remote says
that it has it: what it merely has may be garbage there. So what was made here and not pushed stays.
What is needed first is kept first: the newest versions of the branches, in key order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.refs import BRANCHES, TAGS, current_branch, decode_ref
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.maintenance.reachability import Reached, digests_in
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.objects.sorted_digests import PrefixSet
from tensorvcs.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns
    from tensorvcs.maintenance.gc import Release
    from tensorvcs.storage.interfaces import ObjectStore, Stores
    from tensorvcs.tree.tree import Root

_ASK_VALUES = 65536
_LOAD_NODES = 256


def releasing(local: Stores, remote: Stores, keep_bytes: int) -> Release:
    """Return what tells of values whether they can be dropped here.

    Parameters
    ----------
    local : Stores
        In which absent things are absent.
    remote : Stores
        Where they will be fetched from; it is asked for its refs now, and for values later.
    keep_bytes : int
        Of the values that are needed first.

    Raises
    ------
    RemoteError
        The remote does not answer; so may what is returned.

    Notes
    -----
    Reads the trees of what the remote reaches. Memory is 8 bytes a value.
    """
    kept = _kept(local, keep_bytes)
    there = Reached()
    for prefix in (BRANCHES, TAGS):
        named = (d for value in remote.refs.items(prefix).values() for d in digests_in(value))
        there.walk(local.objects, named, allow_absent=True)

    def is_released(digests: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        released: NDArray[np.bool_] = there.values.contains(digests) & ~kept.contains(digests)
        asked = np.flatnonzero(released)
        for low in range(0, len(asked), _ASK_VALUES):
            part = asked[low : low + _ASK_VALUES]
            released[part] = remote.tensors.contains(digests[part])
        return released

    return is_released


def _kept(stores: Stores, keep_bytes: int) -> PrefixSet:
    """Return the values to be kept that are here."""
    kept, left = PrefixSet(), keep_bytes
    for values in _in_order(stores):
        here = values[stores.tensors.contains(values) & ~kept.contains(values)]
        ends = np.cumsum(stores.tensors.sizes(here)) if len(here) else np.zeros(0, np.int64)
        count = int(np.searchsorted(ends, left, "right"))
        kept.add(here[:count])
        if count < len(here):
            break
        left -= int(ends[-1]) if count else 0
    return kept


def _in_order(stores: Stores) -> Iterator[NDArray[np.uint8]]:
    """Yield the values of the newest versions, those of the current branch first."""
    objects, refs = stores.objects, stores.refs
    current = BRANCHES + current_branch(refs)
    branches = refs.items(BRANCHES)
    for name in sorted(branches, key=lambda name: (name != current, name)):
        commit = decode_ref(objects, name, branches[name])
        yield from values_of(objects, read_snapshot(objects, read_commit(objects, commit).snapshot))


def values_of(objects: ObjectStore, columns: Columns) -> Iterator[NDArray[np.uint8]]:
    """Yield the values of a version in key order, the columns side by side.

    Yields
    ------
    ndarray, shape (n, 32), uint8
        Of a few leaves; inline values are in the trees, and absent nodes are passed over.
    """
    walks = [
        _leaf_values(objects, [root for root in (s.tree.ints, s.tree.texts) if root is not None])
        for s in columns.values()
        if not s.schema.is_inline
    ]
    while walks:
        for walk in list(walks):
            values = next(walk, None)
            if values is None:
                walks.remove(walk)
            else:
                yield values


def _leaf_values(objects: ObjectStore, roots: list[Root]) -> Iterator[NDArray[np.uint8]]:
    queue = [bytes(root.digest) for root in reversed(roots)]
    while queue:
        batch = queue[: -_LOAD_NODES - 1 : -1]
        absent = set(objects.missing(batch))
        names = [name for name in batch if name not in absent]
        nodes = [Node(content) for content in objects.get(names)]
        # Up to the first inner node: what it names comes before what follows it.
        leaves = []
        taken = len(batch)
        for node, name in zip(nodes, names, strict=True):
            if node.level:
                taken = batch.index(name) + 1
                break
            leaves.append(node.values)
        del queue[len(queue) - taken :]
        if len(leaves) < len(nodes):
            queue += reversed(array_to_digests(nodes[len(leaves)].children))
        if leaves:
            yield np.concatenate(leaves)
