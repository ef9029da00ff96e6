"""Counts and sizes of a repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.display.html import table_html, value_html
from tensorvcs.history.ancestry import read_commit, walk
from tensorvcs.history.refs import BRANCHES, TAGS, branch_commit, current_branch, decode_ref
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.storage.interfaces import Stores, TensorStats

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
    """

    schema: str
    sample_count: int
    present_count: int | None = None


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
    """

    branch: str
    commit_count: int
    branch_count: int
    tag_count: int
    columns: Mapping[str, ColumnStatistics]
    packs: TensorStats
    lmdb_nbytes: int

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
    return f"{column.sample_count:,}, {column.present_count:,} of them here"


def gather_statistics(
    stores: Stores, packs: TensorStats, lmdb_nbytes: int, *, is_partial: bool = False
) -> Statistics:
    """Count what a repository has.

    Notes
    -----
    Walks all commits, and reads no tree and no payload. Of a partial clone the trees of the
    current branch are read, as far as they are here.
    """
    objects, refs = stores.objects, stores.refs
    branches, tags = refs.items(BRANCHES), refs.items(TAGS)
    starts = [decode_ref(objects, name, value) for name, value in {**branches, **tags}.items()]
    branch = current_branch(refs)
    head = branch_commit(objects, refs, branch)
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
    return Statistics(
        branch=branch,
        commit_count=sum(1 for _ in walk(objects, starts)),
        branch_count=len(branches),
        tag_count=len(tags),
        columns=columns,
        packs=packs,
        lmdb_nbytes=lmdb_nbytes,
    )


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
