"""Counts and sizes of a repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorvcs.display.html import table_html, value_html
from tensorvcs.history.ancestry import read_commit, walk
from tensorvcs.history.refs import BRANCHES, TAGS, branch_commit, current_branch, decode_ref
from tensorvcs.history.snapshot import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorvcs.storage.interfaces import Stores, TensorStats


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """One column of the current branch: what it holds and how many values."""

    schema: str
    sample_count: int


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
        rows = [
            [value_html(name), c.schema, f"{c.sample_count:,}"] for name, c in self.columns.items()
        ]
        caption = (
            f"{self.branch}: {self.commit_count:,} commits, {self.packs.pack_count:,} packs, "
            f"{self.total_nbytes / 1e6:,.1f} MB"
        )
        return table_html(["column", "schema", "samples"], rows, caption)


def gather_statistics(stores: Stores, packs: TensorStats, lmdb_nbytes: int) -> Statistics:
    """Count what a repository has; walks all commits, and reads no tree and no payload."""
    objects, refs = stores.objects, stores.refs
    branches, tags = refs.items(BRANCHES), refs.items(TAGS)
    starts = [decode_ref(objects, name, value) for name, value in {**branches, **tags}.items()]
    branch = current_branch(refs)
    head = branch_commit(objects, refs, branch)
    columns = {}
    if head is not None:
        states = read_snapshot(objects, read_commit(objects, head).snapshot)
        columns = {
            name: ColumnStatistics(state.schema.spelling, state.tree.count)
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
