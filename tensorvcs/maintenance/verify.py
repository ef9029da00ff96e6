"""Check digests, links and checksums of what refs reach, and of all packs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.errors import (
    CorruptionError,
    DigestMismatchError,
    ObjectDamagedError,
    ObjectNotFoundError,
    TensorVCSError,
    UnsupportedFormatError,
)
from tensorvcs.history.ancestry import read_commit
from tensorvcs.history.operations import decode_operation
from tensorvcs.history.refs import BRANCHES, REMOTE_BRANCHES, TAGS, decode_ref
from tensorvcs.history.snapshot import read_snapshot
from tensorvcs.maintenance.touched import TouchedSamples, find_touched
from tensorvcs.objects.digest import array_to_digests, digests_to_array
from tensorvcs.objects.sorted_digests import DigestSet, sort_digests
from tensorvcs.tree.check import check_tree
from tensorvcs.tree.node import check_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from tensorvcs.history.snapshot import ColumnState
    from tensorvcs.maintenance.repair import Remedy, Repair
    from tensorvcs.objects.digest import CommitDigest, SnapshotDigest
    from tensorvcs.storage.interfaces import RefStore, Stores
    from tensorvcs.tree.nodes import Nodes
    from tensorvcs.tree.tree import Root

MAX_PROBLEMS = 1000
"""Problems listed in a report; the others are counted."""

_BATCH_NODES = 256
_BATCH_VALUES = 8192

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
        Where, and what is wrong; the first `MAX_PROBLEMS` of them.
    problem_count : int
        All of them.
    touched : list of TouchedSamples
        The samples that cannot be read, by branch and column.
    repair : Repair, optional
        What was mended, where that was asked for.
    """

    commit_count: int = 0
    node_count: int = 0
    value_count: int = 0
    absent_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    touched: list[TouchedSamples] = field(default_factory=list)
    repair: Repair | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem_count

    def add(self, place: str, error: TensorVCSError) -> None:
        """Note a problem."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append((place, error))

    def __str__(self) -> str:
        checked = (
            f"{self.commit_count:,} commits, {self.node_count:,} nodes, {self.value_count:,} values"
        )
        if self.absent_count:
            checked += f"; {self.absent_count:,} are not in this partial clone"
        mended = "" if self.repair is None else f"\n{self.repair}"
        if self.is_sound:
            return f"sound: {checked}{mended}"
        found = "".join(f"\n  {place}: {problem}" for place, problem in self.problems)
        more = self.problem_count - len(self.problems)
        found += f"\n  and {more:,} more" if more else ""
        touched = "".join(f"\n  {samples}" for samples in self.touched)
        return f"damaged: {self.problem_count} problems in {checked}{found}{touched}{mended}"


def verify_repository(
    stores: Stores,
    nodes: Nodes,
    starts: Mapping[str, CommitDigest],
    snapshots: Mapping[str, SnapshotDigest],
    *,
    check_values: Callable[[], Iterator[CorruptionError]] | None = None,
    check_some: Callable[[NDArray[np.uint8]], Iterator[CorruptionError]] | None = None,
    allow_absent: bool = False,
    problems: Iterable[Problem] = (),
    progress: Callable[[int, int | None], None] | None = None,
) -> VerifyReport:
    """Check everything that some commits and snapshots reach, and stored values.

    Parameters
    ----------
    starts, snapshots : mapping
        The commits and snapshots to start from, by the name a report gives them.
    check_values : callable, optional
        Hashes every stored value anew and yields what is wrong.
    check_some : callable, optional
        Hashes the values anew whose digests, shape (n, 32), it is given, and yields what is wrong.
    allow_absent : bool
        Whether nodes and values may be absent, as in a partial clone: they are counted.
    problems : iterable of (str, TensorVCSError)
        What is known to be wrong already.
    progress : callable, optional
        Called with the number of commits checked, and None for how many there are.

    Notes
    -----
    Memory is 32 bytes and more for each commit and tree node, and for each value that is damaged.
    """
    check = Verification(
        stores, nodes, check_some=check_some, allow_absent=allow_absent, problems=problems
    )
    check.walk_all(starts, snapshots, progress)
    if check_values is not None:
        check.note_values(check_values())
    return check.finish()


def ref_commits(stores: Stores) -> tuple[dict[str, CommitDigest], list[Problem]]:
    """Return the commits of all refs by ref name, and the refs that have none."""
    commits: dict[str, CommitDigest] = {}
    problems: list[Problem] = []
    for prefix in (BRANCHES, TAGS, REMOTE_BRANCHES):
        for name, value in stores.refs.items(prefix).items():
            try:
                commits[name] = decode_ref(stores.objects, name, value)
            except (CorruptionError, ObjectNotFoundError, UnsupportedFormatError) as error:
                problems.append((name, error))
    return commits, problems


def check_log(refs: RefStore) -> Iterator[Problem]:
    """Yield what is wrong with the operation log, and with refs that it does not tell of.

    Every change of a ref is in the log, so that a ref is where the newest operation that names it
    has left it. A ref that is damaged so that it names another commit, or under another name, is
    told from one that was moved.
    """
    try:
        records = refs.operations()
    except CorruptionError as error:
        yield "operation log", error
        return
    left: dict[str, bytes | None] = {}
    for number, record in records:
        try:
            operation = decode_operation(number, record)
        except (CorruptionError, UnsupportedFormatError) as error:
            yield f"operation {number}", error
            # What it did to which refs is not known, and older ones may not be the newest.
            break
        for change in operation.changes:
            left.setdefault(change.name, change.after)
    now = refs.items()
    for name, expected in left.items():
        if now.get(name) != expected:
            yield (
                name,
                ObjectDamagedError(
                    f"it is {_shown(now.get(name))}, and the operation log left it "
                    f"{_shown(expected)}"
                ),
            )


def _shown(value: bytes | None) -> str:
    return "absent" if value is None else repr(value[:80].decode(errors="backslashreplace"))


class Verification:
    """One verification: what was seen needs no second look."""

    def __init__(
        self,
        stores: Stores,
        nodes: Nodes,
        *,
        check_some: Callable[[NDArray[np.uint8]], Iterator[CorruptionError]] | None = None,
        remedy: Remedy | None = None,
        allow_absent: bool,
        problems: Iterable[Problem] = (),
    ) -> None:
        self.report = VerifyReport()
        self.damaged = DigestSet()
        self._allow_absent = allow_absent
        self._stores = stores
        self._nodes = nodes
        self._check_some = check_some
        self._remedy = remedy
        self._seen: set[bytes] = set()
        # Where each snapshot was met, tips first.
        self._tips: list[tuple[str, SnapshotDigest]] = []
        self._older: list[tuple[str, SnapshotDigest]] = []
        self._has_bad_node = False
        for place, problem in problems:
            self.report.add(place, problem)

    def walk_all(
        self,
        starts: Mapping[str, CommitDigest],
        snapshots: Mapping[str, SnapshotDigest],
        progress: Callable[[int, int | None], None] | None = None,
    ) -> None:
        """Check everything that some commits and snapshots reach."""
        for name, digest in starts.items():
            self._walk(name, digest)
            if progress is not None:
                progress(self.report.commit_count, None)
        for name, snapshot in snapshots.items():
            self._tips.append((name, snapshot))
            self._snapshot(name, snapshot, is_tip=True)

    def note_values(self, found: Iterable[CorruptionError]) -> None:
        """Note what a check of stored values found."""
        for problem in found:
            self.report.add("values", problem)
            if problem.digests:
                self._add_damaged(digests_to_array(problem.digests))

    def finish(self) -> VerifyReport:
        """Name the samples that are touched, and return the report."""
        if len(self.damaged) or self._has_bad_node:
            self.report.touched = find_touched(
                self._stores.objects,
                self._tips,
                self._older,
                self.damaged,
                allow_absent=self._allow_absent,
            )
        return self.report

    def _add_damaged(self, digests: NDArray[np.uint8]) -> None:
        wanted = sort_digests(digests)
        self.damaged.add(wanted.digests[~wanted.is_repeat() & ~self.damaged.contains(wanted)])

    def _get(self, digest: bytes) -> bytes:
        """Return an object, brought back from elsewhere when it is damaged or lost."""
        try:
            return self._stores.objects.get([digest])[0]
        except (DigestMismatchError, ObjectNotFoundError) as error:
            is_absent = self._allow_absent and isinstance(error, ObjectNotFoundError)
            content = (
                None if self._remedy is None or is_absent else self._remedy.mend_object(digest)
            )
            if content is None:
                raise
            return content

    def _walk(self, name: str, start: CommitDigest) -> None:
        """Check a commit and its ancestors."""
        queue, is_tip = [start], True
        while queue:
            digest = queue.pop()
            if digest in self._seen and not is_tip:
                continue
            is_seen = digest in self._seen
            self._seen.add(digest)
            place = f"commit {digest.hex()[:12]} of {name}"
            try:
                self._get(digest)
                commit = read_commit(self._stores.objects, digest)
            except (CorruptionError, ObjectNotFoundError, UnsupportedFormatError) as error:
                is_tip = False
                if not is_seen:
                    self.report.add(place, error)
                continue
            if is_tip:
                self._tips.append((name, commit.snapshot))
            else:
                self._older.append((place, commit.snapshot))
            if is_seen:
                return
            self.report.commit_count += 1
            self._snapshot(place, commit.snapshot, is_tip=is_tip)
            is_tip = False
            queue += commit.parents

    def _snapshot(self, place: str, digest: SnapshotDigest, *, is_tip: bool) -> None:
        """Check the columns of a snapshot; of a tip, also where each tree node ends."""
        if digest in self._seen:
            return
        self._seen.add(digest)
        try:
            self._get(digest)
            columns = read_snapshot(self._stores.objects, digest)
        except (CorruptionError, ObjectNotFoundError, UnsupportedFormatError) as error:
            self.report.add(place, error)
            return
        report = self.report
        for name, state in columns.items():
            where = f"{place}, column {name!r}"
            found_before = report.problem_count, report.absent_count
            for root in (state.tree.ints, state.tree.texts):
                if root is not None:
                    self._root(where, state, root)
            found_after = report.problem_count, report.absent_count
            if is_tip and found_after == found_before:
                try:
                    check_tree(self._nodes, state.tree)
                except (CorruptionError, ObjectNotFoundError) as error:
                    # An absent node that another tip shares was counted there.
                    if not (self._allow_absent and isinstance(error, ObjectNotFoundError)):
                        report.add(where, error)

    def _root(self, where: str, state: ColumnState, root: Root) -> None:
        queue = [bytes(root.digest)]
        stored: list[NDArray[np.uint8]] = []
        waiting_count = 0
        while queue:
            batch = [d for d in dict.fromkeys(queue[-_BATCH_NODES:]) if d not in self._seen]
            del queue[-_BATCH_NODES:]
            self._seen.update(batch)
            for digest in batch:
                try:
                    node = check_node(self._get(digest), self._nodes.boundary)
                except (CorruptionError, ObjectNotFoundError, UnsupportedFormatError) as error:
                    if self._allow_absent and isinstance(error, ObjectNotFoundError):
                        self.report.absent_count += 1
                    else:
                        self._has_bad_node = True
                        self.report.add(f"{where}, node {digest.hex()[:12]}", error)
                    continue
                self.report.node_count += 1
                if node.level:
                    queue += array_to_digests(node.children)
                elif not state.schema.is_inline:
                    stored.append(node.values)
                    waiting_count += len(node.values)
            if stored and (waiting_count >= _BATCH_VALUES or not queue):
                self._values(where, np.concatenate(stored))
                stored, waiting_count = [], 0

    def _values(self, where: str, digests: NDArray[np.uint8]) -> None:
        is_here = self._stores.tensors.contains(digests)
        if self._check_some is not None:
            self.report.value_count += int(is_here.sum())
            self.note_values(self._check_some(digests[is_here]))
        absent = digests[~is_here]
        if not len(absent):
            return
        if self._remedy is not None:
            is_lost = ~self._remedy.mend_values(absent)
        else:
            is_lost = np.full(len(absent), not self._allow_absent)
        if self._allow_absent:
            self.report.absent_count += int((~is_lost).sum())
        lost = absent[is_lost]
        if len(lost):
            self._add_damaged(lost)
            shown = ", ".join(d.hex()[:12] for d in array_to_digests(lost[:3]))
            error = ObjectNotFoundError(f"{len(lost)} values are in no pack: {shown}")
            self.report.add(where, error)
