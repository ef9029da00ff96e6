"""Connectivity: whether commits that arrived have all that they name, before a ref moves to them.

What a ref reaches already is whole. So only the commits that no ref reaches are looked at, and of
their trees only what differs from a parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import ObjectDamagedError, ObjectNotFoundError
from tensorvcs.history.ancestry import read_commits, walk
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.tree.diff import diff
from tensorvcs.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import Columns, ColumnState
    from tensorvcs.objects.commit import CommitObject
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.tree.nodes import Nodes

# Values are asked for so many at a time.
_VALUES_AT_ONCE = 65536


def check_connected(
    nodes: Nodes,
    tensors: TensorStore,
    commits: Sequence[CommitDigest],
    known: Sequence[CommitDigest],
) -> int:
    """Check that everything is there that some commits name, as far as it is new.

    Parameters
    ----------
    nodes : Nodes
        Its object store has the commits and snapshots as well.
    commits : sequence of CommitDigest
        Those that refs are to point at.
    known : sequence of CommitDigest
        Those that refs point at: all that they reach is taken to be there.

    Returns
    -------
    int
        The number of new commits.

    Raises
    ------
    ObjectNotFoundError
        A commit, snapshot, node or value is not there.
    ObjectDamagedError
        An object is not of the kind that what names it asks for, or a commit has a wrong
        generation.

    Notes
    -----
    Reads the new commits, and of each the nodes that its first parent has not. Memory is that of
    the new commits and of a few thousand nodes.
    """
    objects = nodes.objects
    order = _new_commits(nodes, commits, known)
    for digest, commit in order:
        parents = read_commits(objects, commit.parents)
        _check_generation(digest, commit, parents)
        for name, state, before in _columns(nodes, commit, parents):
            what = f"column {name!r} of commit {digest.hex()}"
            _check_column(nodes, tensors, what, state, before)
    return len(order)


def new_values(
    nodes: Nodes, commits: Sequence[CommitDigest], known: Sequence[CommitDigest]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the digests of the values that `check_connected` asks for, shape (n, 32), uint8.

    Reads what it reads. A value may come more than once.
    """
    for _, commit in _new_commits(nodes, commits, known):
        parents = read_commits(nodes.objects, commit.parents)
        for _, state, before in _columns(nodes, commit, parents):
            yield from _batches(_new_values(nodes, before, state))


def _new_commits(
    nodes: Nodes, commits: Sequence[CommitDigest], known: Sequence[CommitDigest]
) -> list[tuple[CommitDigest, CommitObject]]:
    """Return the commits that are not in the history of known ones, parents first."""
    fresh = dict(walk(nodes.objects, commits, without=known))
    return sorted(fresh.items(), key=lambda item: item[1].generation)


def _columns(
    nodes: Nodes, commit: CommitObject, parents: Sequence[CommitObject]
) -> Iterator[tuple[str, ColumnState, Tree]]:
    """Yield the columns of a commit, each with the tree that it is compared with."""
    before = read_snapshot(nodes.objects, parents[0].snapshot) if parents else {}
    for name, state in read_snapshot(nodes.objects, commit.snapshot).items():
        yield name, state, _tree_before(before, name, state)


def _check_generation(
    digest: CommitDigest, commit: CommitObject, parents: Sequence[CommitObject]
) -> None:
    expected = 1 + max((parent.generation for parent in parents), default=-1)
    if commit.generation != expected:
        raise ObjectDamagedError(
            f"commit {digest.hex()} says that its generation is {commit.generation}; "
            f"by its parents it is {expected}"
        )


def _tree_before(before: Columns, name: str, state: ColumnState) -> Tree:
    """Return the tree of the version before that a column shares most with."""
    fitting = [
        before[other].tree
        for other in (name, *before)
        if other in before
        and before[other].schema.is_inline == state.schema.is_inline
        and before[other].tree.value_nbytes == state.tree.value_nbytes
    ]
    if state.tree in fitting:  # under another name, perhaps
        return state.tree
    if name in before and fitting and fitting[0] == before[name].tree:
        return fitting[0]
    return Tree.empty(state.tree.value_nbytes)


def _check_column(
    nodes: Nodes, tensors: TensorStore, what: str, state: ColumnState, before: Tree
) -> None:
    try:
        for values in _batches(_new_values(nodes, before, state)):
            absent = values[~tensors.contains(values)]
            if len(absent):
                more = f" and {len(absent) - 1} others" if len(absent) > 1 else ""
                raise ObjectNotFoundError(f"value {absent[0].tobytes().hex()}{more}")
    except ObjectNotFoundError as error:
        raise ObjectNotFoundError(f"{what} is not whole; not there: {error}") from error


def _new_values(nodes: Nodes, before: Tree, state: ColumnState) -> Iterator[NDArray[np.uint8]]:
    """Yield the digests of the values that are not in the tree before; reads all new nodes."""
    for block in diff(nodes, before, state.tree):
        if not state.schema.is_inline:
            yield block.added_values
            yield block.after


def _batches(parts: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Join small parts, so that few questions are asked."""
    waiting: list[NDArray[np.uint8]] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= _VALUES_AT_ONCE:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if count:
        yield np.concatenate(waiting)
