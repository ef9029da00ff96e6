"""What a receiver that has some commits has, as far as new commits come near it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.history.ancestry import read_commits
from tensorvcs.history.snapshot import decode_snapshot
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.sync.digest_lookup import DigestCollection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.objects.commit import CommitObject
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.tree.node import Node
    from tensorvcs.tree.nodes import Nodes

_LOAD_NODES = 512
_Levels = dict[int, set[bytes]]


class SharedContent:
    """Tells of objects and values near new commits which of them older commits have.

    Parameters
    ----------
    nodes : Nodes

    Attributes
    ----------
    objects : set of bytes
        Objects of older commits.
    values : DigestCollection
        Values of older commits.

    Notes
    -----
    Each new commit is compared with its parents, parents first: of two trees only those nodes
    are read that differ, level by level. What a parent has there, and no commit added so far has
    brought, is of the older commits. What is not met is taken for new, so that at worst too
    much is sent, and never too little.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self.objects: set[bytes] = set()
        self.values = DigestCollection()
        self._new_objects: set[bytes] = set()
        self._new_values = DigestCollection()

    def add(
        self, digest: CommitDigest, commit: CommitObject, columns: Collection[str] | None = None
    ) -> None:
        """Compare a new commit with its parents, which are old or were added before.

        Parameters
        ----------
        columns : collection of str, optional
            Of which columns anybody will ask; all when omitted.
        """
        store = self._nodes.objects
        snapshots = [parent.snapshot for parent in read_commits(store, commit.parents)]
        self._meet([*commit.parents, *snapshots])
        self._bring([digest, commit.snapshot])
        after, *before = (decode_snapshot(c) for c in store.get([commit.snapshot, *snapshots]))
        for name, state in after.items():
            if columns is None or name in columns:
                self._compare(state, [parent[name] for parent in before if name in parent])

    def _meet(self, digests: Iterable[bytes]) -> None:
        """Take note of objects of a parent."""
        self.objects.update(digest for digest in digests if digest not in self._new_objects)

    def _bring(self, digests: Iterable[bytes]) -> None:
        """Take note of objects that a new commit has and its parents have not."""
        self._new_objects.update(digest for digest in digests if digest not in self.objects)

    def _compare(self, state: ColumnState, before: Sequence[ColumnState]) -> None:
        """Walk down the trees of a column, through what differs."""
        mine, others = _roots([state]), _roots([c for c in before if _are_alike(c, state)])
        self._meet(mine & others)
        ours, theirs = self._by_level(mine - others), self._by_level(others - mine)
        level = max([*ours, *theirs], default=0)
        while ours:
            our_nodes, their_nodes = ours.pop(level, set()), theirs.pop(level, set())
            fresh, old = our_nodes - their_nodes, their_nodes - our_nodes
            self._meet(their_nodes)
            self._bring(fresh)
            if level == 0:
                if not state.schema.is_inline:
                    self._compare_leaves(fresh, old)
                return
            level -= 1
            if fresh:
                self._descend(fresh, ours, level)
            if ours:
                self._descend(old, theirs, level)

    def _by_level(self, roots: Iterable[bytes]) -> _Levels:
        levels: _Levels = {}
        for node, digest in zip(self._nodes.load(list(roots)), roots, strict=True):
            levels.setdefault(node.level, set()).add(digest)
        return levels

    def _descend(self, digests: set[bytes], levels: _Levels, level: int) -> None:
        """Add the children of nodes to those of their level."""
        below = levels.setdefault(level, set())
        for node in self._load(digests):
            below.update(array_to_digests(node.children))

    def _compare_leaves(self, fresh: set[bytes], old: set[bytes]) -> None:
        for node in self._load(old):
            values = node.values
            self.values.add(values[~self._new_values.contains(values)])
        for node in self._load(fresh):
            values = node.values
            self._new_values.add(values[~self.values.contains(values)])

    def _load(self, digests: set[bytes]) -> Iterator[Node]:
        ordered = sorted(digests)
        for low in range(0, len(ordered), _LOAD_NODES):
            yield from self._nodes.load(ordered[low : low + _LOAD_NODES], keep=False)


def _roots(columns: Iterable[ColumnState]) -> set[bytes]:
    trees = [column.tree for column in columns]
    return {root.digest for tree in trees for root in (tree.ints, tree.texts) if root is not None}


def _are_alike(before: ColumnState, after: ColumnState) -> bool:
    """Tell whether the leaves of two columns hold values of one sort."""
    return (before.schema.is_inline, before.tree.value_nbytes) == (
        after.schema.is_inline,
        after.tree.value_nbytes,
    )
