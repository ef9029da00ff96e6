"""Which side of a merge changed a sample, or a column, last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from tensorvcs.history.ancestry import read_commit, read_commits
from tensorvcs.history.blaming.blame import last_changed
from tensorvcs.history.snapshot import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.objects.keys import Keys
    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.tree.nodes import Nodes


class Recency(Protocol):
    """Tells for the policy ``newest`` which side is newer: 1 theirs, -1 ours, 0 neither."""

    def of_samples(self, ours: str, theirs: str, keys: Keys) -> NDArray[np.int8]:
        """Compare samples of the column that the sides call `ours` and `theirs`; shape (n,)."""
        ...

    def of_columns(self, ours: Sequence[str], theirs: Sequence[str]) -> int:
        """Compare columns as a whole, by their names on each side."""
        ...


class TheirsIsNewer:
    """The recency of changes that are being made now onto what was recorded before."""

    def of_samples(self, ours: str, theirs: str, keys: Keys) -> NDArray[np.int8]:
        """Return that theirs is newer, for every sample."""
        return np.ones(len(keys), np.int8)

    def of_columns(self, ours: Sequence[str], theirs: Sequence[str]) -> int:
        """Return that theirs is newer."""
        return 1


class CommitRecency:
    """The recency of two commits, by the times of the commits that last changed a thing.

    The time is that of the change, `Commit.time`, which a cherry-pick keeps. Equal times are a
    tie.

    Parameters
    ----------
    ours, theirs : CommitDigest
    """

    def __init__(
        self, objects: ObjectStore, nodes: Nodes, ours: CommitDigest, theirs: CommitDigest
    ) -> None:
        self._objects = objects
        self._nodes = nodes
        self._starts = (ours, theirs)

    def of_samples(self, ours: str, theirs: str, keys: Keys) -> NDArray[np.int8]:
        """Compare the times of the commits that last set or deleted each sample."""
        times = [
            self._times(last_changed(self._objects, self._nodes, start, column, keys))
            for start, column in zip(self._starts, (ours, theirs), strict=True)
        ]
        newer: NDArray[np.int8] = np.sign(times[1] - times[0]).astype(np.int8)
        return newer

    def of_columns(self, ours: Sequence[str], theirs: Sequence[str]) -> int:
        """Compare the times of the commits that made the columns what they are on each side."""
        newest = [
            max(self._column_time(start, name) for name in names)
            for start, names in zip(self._starts, (ours, theirs), strict=True)
        ]
        return (newest[1] > newest[0]) - (newest[1] < newest[0])

    def _times(self, commits: list[CommitDigest]) -> NDArray[np.int64]:
        listed = list(dict.fromkeys(commits))
        times = {
            digest: commit.author_time.microseconds
            for digest, commit in zip(listed, read_commits(self._objects, listed), strict=True)
        }
        return np.array([times[digest] for digest in commits], np.int64)

    def _column_time(self, start: CommitDigest, name: str) -> int:
        """Return when a column became what it is at `start`: the walk follows who has the same."""
        commit = read_commit(self._objects, start)
        state = read_snapshot(self._objects, commit.snapshot).get(name)
        while True:
            for parent in read_commits(self._objects, commit.parents):
                if read_snapshot(self._objects, parent.snapshot).get(name) == state:
                    commit = parent
                    break
            else:
                return commit.author_time.microseconds
