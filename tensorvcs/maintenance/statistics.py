"""Counts and sizes of a repository."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.display.html import table_html, value_html
from tensorvcs.history.ancestry import read_commit, walk
from tensorvcs.history.refs import BRANCHES, TAGS, branch_commit, current_branch, decode_ref
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.objects.commit import CommitObject
    from tensorvcs.storage.interfaces import ObjectStore, Stores, TensorStats

_BATCH_NODES = 256


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """One column of the current branch: what it holds and how many values.

    Attributes
    ----------
    schema : str
    sample_count : int
    present_count : int or None
        Of a partial clone: the samples whose values are here; None otherwise, when all are.
    version_count, present_version_count : int or None
        Of a partial clone: in how many versions the column differs over the history, and of how
        many of them the keys are here, at least the first of them; None otherwise.
    """

    schema: str
    sample_count: int
    present_count: int | None = None
    version_count: int | None = None
    present_version_count: int | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts and sizes of a repository; see the attributes of its parts.

    Attributes
    ----------
    branch : str
        The current one.
    commit_count : int
        Commits that a branch or tag reaches.
    branch_count, tag_count : int
    columns : mapping of str to ColumnStatistics
        Of the current branch.
    packs : TensorStats
    lmdb_nbytes : int
        The bytes of the file with the index, objects and refs.
    lmdb_free_nbytes : int
        Of these, what holds nothing and is used by the next writers; the file does not shrink.
    """

    branch: str
    commit_count: int
    branch_count: int
    tag_count: int
    columns: Mapping[str, ColumnStatistics]
    packs: TensorStats
    lmdb_nbytes: int
    lmdb_free_nbytes: int = 0

    @property
    def total_nbytes(self) -> int:
        """All bytes on disk."""
        return self.packs.file_nbytes + self.lmdb_nbytes

    def _repr_html_(self) -> str:
        rows = [[value_html(name), c.schema, _samples_text(c)] for name, c in self.columns.items()]
        caption = (
            f"{self.branch}: {self.commit_count:,} commits, {self.packs.pack_count:,} packs, "
            f"{self.total_nbytes / 1e6:,.1f} MB"
        )
        return table_html(["column", "schema", "samples"], rows, caption)


def _samples_text(column: ColumnStatistics) -> str:
    if column.present_count is None:
        return f"{column.sample_count:,}"
    versions = f"{column.present_version_count:,} of {column.version_count:,} versions"
    return f"{column.sample_count:,}, {column.present_count:,} of them here; {versions}"


def gather_statistics(
    stores: Stores,
    packs: TensorStats,
    lmdb_nbytes: int,
    *,
    lmdb_free_nbytes: int = 0,
    is_partial: bool = False,
) -> Statistics:
    """Count what a repository has.

    Notes
    -----
    Walks all commits, and reads no tree and no payload. Of a partial clone the trees of the
    current branch are read, as far as they are here, and the list of columns of each commit.
    """
    objects, refs = stores.objects, stores.refs
    branches, tags = refs.items(BRANCHES), refs.items(TAGS)
    starts = [decode_ref(objects, name, value) for name, value in {**branches, **tags}.items()]
    branch = current_branch(refs)
    head = branch_commit(objects, refs, branch)
    commits = [commit for _, commit in walk(objects, starts)]
    columns = {}
    if head is not None:
        states = read_snapshot(objects, read_commit(objects, head).snapshot)
        columns = {
            name: ColumnStatistics(
                state.schema.spelling,
                state.tree.count,
                _count_present(stores, state) if is_partial else None,
            )
            for name, state in states.items()
        }
        if is_partial:
            for name, counts in _count_versions(objects, commits, [*states]).items():
                versions, present = counts
                columns[name] = replace(
                    columns[name], version_count=versions, present_version_count=present
                )
    return Statistics(
        branch=branch,
        commit_count=len(commits),
        branch_count=len(branches),
        tag_count=len(tags),
        columns=columns,
        packs=packs,
        lmdb_nbytes=lmdb_nbytes,
        lmdb_free_nbytes=lmdb_free_nbytes,
    )


def _count_versions(
    objects: ObjectStore, commits: Sequence[CommitObject], names: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Return in how many versions columns come, and of how many of them the roots are here."""
    trees: dict[str, set[tuple[bytes, ...]]] = {name: set() for name in names}
    for snapshot in dict.fromkeys(commit.snapshot for commit in commits):
        states = read_snapshot(objects, snapshot)
        for name in names:
            if name in states:
                tree = states[name].tree
                roots = (root for root in (tree.ints, tree.texts) if root is not None)
                trees[name].add(tuple(bytes(root.digest) for root in roots))
    every = {digest for some in trees.values() for roots in some for digest in roots}
    absent = set(objects.missing(sorted(every)))
    return {
        name: (len(some), sum(absent.isdisjoint(roots) for roots in some))
        for name, some in trees.items()
    }


def _count_present(stores: Stores, state: ColumnState) -> int:
    """Return how many samples of a column have their values here; a node may be absent too."""
    objects, count = stores.objects, 0
    roots = (state.tree.ints, state.tree.texts)
    queue = [bytes(root.digest) for root in roots if root is not None]
    while queue:
        batch = queue[-_BATCH_NODES:]
        del queue[-_BATCH_NODES:]
        absent = set(objects.missing(batch))
        named: list[NDArray[np.uint8]] = []
        for content in objects.get([digest for digest in batch if digest not in absent]):
            node = Node(content)
            if node.level:
                queue += array_to_digests(node.children)
            elif state.schema.is_inline:
                count += node.entry_count
            else:
                named.append(node.values)
        if named:
            count += int(stores.tensors.contains(np.concatenate(named)).sum())
    return count
