"""Check digests, links and checksums of what refs reach, and of all packs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import (
    CorruptionError,
    ObjectNotFoundError,
    TensorVCSError,
    UnsupportedFormatError,
)
from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.refs import BRANCHES, REMOTE_BRANCHES, TAGS, decode_ref
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.tree.check import check_tree
from tensorvcs.tree.node import check_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.objects.digest import CommitDigest, SnapshotDigest
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes
    from tensorvcs.tree.tree import Root

_BATCH_NODES = 256

Problem = tuple[str, TensorVCSError]


@dataclass(slots=True)
class VerifyReport:
    """What a verification found.

    Attributes
    ----------
    commit_count, node_count, value_count : int
        Commits, distinct tree nodes, and values in packs or loose that were checked.
    absent_count : int
        Nodes and values that a partial clone has not; a value counts in each leaf that names it.
    problems : list of (str, TensorVCSError)
        Where, and what is wrong; at most one for each damaged thing.
    """

    commit_count: int = 0
    node_count: int = 0
    value_count: int = 0
    absent_count: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        checked = (
            f"{self.commit_count:,} commits, {self.node_count:,} nodes, {self.value_count:,} values"
        )
        if self.absent_count:
            checked += f"; {self.absent_count:,} are not in this partial clone"
        if self.is_sound:
            return f"sound: {checked}"
        found = "".join(f"\n  {place}: {problem}" for place, problem in self.problems)
        return f"damaged: {len(self.problems)} problems in {checked}{found}"


def verify_repository(
    stores: Stores,
    nodes: Nodes,
    starts: dict[str, CommitDigest],
    snapshots: dict[str, SnapshotDigest],
    *,
    check_values: Callable[[], Iterator[CorruptionError]] | None,
    allow_absent: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> VerifyReport:
    """Check everything that some commits and snapshots reach, and all stored values.

    Parameters
    ----------
    starts, snapshots : dict
        The commits and snapshots to start from, by the name a report gives them.
    check_values : callable, optional
        Hashes every stored value anew and yields what is wrong.
    allow_absent : bool
        Whether nodes and values may be absent, as in a partial clone: they are counted.
    progress : callable, optional
        Called with the number of commits checked, and None for how many there are.
    """
    report = VerifyReport()
    check = _Check(stores, nodes, report, allow_absent=allow_absent)
    for name, digest in starts.items():
        check.walk(name, digest)
        if progress is not None:
            progress(report.commit_count, None)
    for name, snapshot in snapshots.items():
        check.snapshot(name, snapshot, is_tip=True)
    if check_values is not None:
        report.problems += [("values", problem) for problem in check_values()]
    return report


def ref_commits(stores: Stores) -> tuple[dict[str, CommitDigest], list[Problem]]:
    """Return the commits of all refs by ref name, and the refs that have none."""
    commits: dict[str, CommitDigest] = {}
    problems: list[Problem] = []
    for prefix in (BRANCHES, TAGS, REMOTE_BRANCHES):
        for name, value in stores.refs.items(prefix).items():
            try:
                commits[name] = decode_ref(stores.objects, name, value)
            except (CorruptionError, ObjectNotFoundError) as error:
                problems.append((name, error))
    return commits, problems


class _Check:
    """One verification: what was seen needs no second look."""

    def __init__(
        self, stores: Stores, nodes: Nodes, report: VerifyReport, *, allow_absent: bool
    ) -> None:
        self._allow_absent = allow_absent
        self._stores = stores
        self._nodes = nodes
        self._report = report
        self._seen: set[bytes] = set()

    def _note(self, place: str, error: TensorVCSError) -> None:
        self._report.problems.append((place, error))

    def walk(self, name: str, start: CommitDigest) -> None:
        """Check a commit and its ancestors."""
        queue, is_tip = [start], True
        while queue:
            digest = queue.pop()
            if digest in self._seen:
                continue
            self._seen.add(digest)
            place = f"commit {digest.hex()[:12]} of {name}"
            try:
                commit = read_commit(self._stores.objects, digest)
            except (CorruptionError, ObjectNotFoundError, UnsupportedFormatError) as error:
                self._note(place, error)
                continue
            self._report.commit_count += 1
            self.snapshot(place, commit.snapshot, is_tip=is_tip)
            is_tip = False
            queue += commit.parents

    def snapshot(self, place: str, digest: SnapshotDigest, *, is_tip: bool) -> None:
        """Check the columns of a snapshot; of a tip, also where each tree node ends."""
        if digest in self._seen:
            return
        self._seen.add(digest)
        try:
            columns = read_snapshot(self._stores.objects, digest)
        except (CorruptionError, ObjectNotFoundError, UnsupportedFormatError) as error:
            self._note(place, error)
            return
        for name, state in columns.items():
            where = f"{place}, column {name!r}"
            found_before = len(self._report.problems), self._report.absent_count
            for root in (state.tree.ints, state.tree.texts):
                if root is not None:
                    self._root(where, state, root)
            found_after = len(self._report.problems), self._report.absent_count
            if is_tip and found_after == found_before:
                try:
                    check_tree(self._nodes, state.tree)
                except (CorruptionError, ObjectNotFoundError) as error:
                    # An absent node that another tip shares was counted there.
                    if not (self._allow_absent and isinstance(error, ObjectNotFoundError)):
                        self._note(where, error)

    def _root(self, where: str, state: ColumnState, root: Root) -> None:
        queue = [bytes(root.digest)]
        while queue:
            batch = [d for d in dict.fromkeys(queue[-_BATCH_NODES:]) if d not in self._seen]
            del queue[-_BATCH_NODES:]
            self._seen.update(batch)
            stored: list[NDArray[np.uint8]] = []
            for digest in batch:
                try:
                    content = self._stores.objects.get([digest])[0]
                    node = check_node(content, self._nodes.boundary)
                except (CorruptionError, ObjectNotFoundError, UnsupportedFormatError) as error:
                    if self._allow_absent and isinstance(error, ObjectNotFoundError):
                        self._report.absent_count += 1
                    else:
                        self._note(f"{where}, node {digest.hex()[:12]}", error)
                    continue
                self._report.node_count += 1
                if node.level:
                    queue += array_to_digests(node.children)
                elif not state.schema.is_inline:
                    stored.append(node.values)
            if stored:
                self._values(where, np.concatenate(stored))

    def _values(self, where: str, digests: NDArray[np.uint8]) -> None:
        is_here = self._stores.tensors.contains(digests)
        absent = digests[~is_here]
        if self._allow_absent:
            self._report.absent_count += len(absent)
        elif len(absent):
            shown = ", ".join(d.hex()[:12] for d in array_to_digests(absent[:3]))
            error = ObjectNotFoundError(f"{len(absent)} values are in no pack: {shown}")
            self._note(where, error)
