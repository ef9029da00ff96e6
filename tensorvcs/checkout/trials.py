"""A test run on versions: on commits, and on columns that nobody committed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.checkout.reader import Checkout
from tensorvcs.errors import ColumnNotFoundError, InvalidInputError, SampleNotFoundError, with_hint
from tensorvcs.history.bisecting.bisect import SKIP, OutOfTestsError
from tensorvcs.history.commit import new_commit
from tensorvcs.history.snapshot import write_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorvcs.history.bisecting.bisect import Outcome, Skip
    from tensorvcs.history.commit import Commit
    from tensorvcs.history.snapshot import Columns
    from tensorvcs.objects.digest import SnapshotDigest
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes

    VersionTest = Callable[[Checkout], "bool | float | np.bool_ | np.number[Any] | Skip"]


class Trials:
    """Runs a test on versions, and on none of equal content twice.

    Parameters
    ----------
    stores : Stores
    nodes : Nodes
    test : callable
        Called with a `Checkout`; returns whether the version is good, or its score, or `SKIP`.
    max_tests : int, optional
        How often it may run; then `OutOfTestsError` is raised.
    """

    def __init__(
        self, stores: Stores, nodes: Nodes, test: VersionTest, *, max_tests: int | None = None
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._test = test
        self._max_tests = max_tests
        self._known: dict[SnapshotDigest, Outcome] = {}
        self.test_count = 0
        self.untestable_count = 0
        self.has_scores: bool | None = None
        """Whether the test gives scores; None before it has said anything."""

    def run(self, commit: Commit) -> tuple[Outcome, bool]:
        """Return what the test says of a commit, and whether that was known.

        Raises
        ------
        InvalidInputError
            It returns something else than a bool, a finite number or `SKIP`, or once a bool and
            once a number.
        OutOfTestsError
        """
        snapshot = commit.object.snapshot
        if snapshot in self._known:
            return self._known[snapshot], True
        outcome = self._run(commit)
        self._known[snapshot] = outcome
        return outcome, False

    def store_part(self, columns: Columns, over: Commit) -> Commit:
        """Store a commit of columns that have a part of what a commit changed.

        No ref names it: it is gone with the next collection of garbage. Being stored, a checkout
        of it can cross into other processes, as any other.
        """
        objects = self._stores.objects
        return new_commit(
            objects,
            write_snapshot(objects, columns),
            over.object.parents,
            author=over.author,
            now=over.object.commit_time,
            message=f"A part of {over.short_id}: {over.summary}",
        )

    def run_part(self, commit: Commit) -> tuple[Outcome, bool]:
        """Return the same as `run`, of a part of a commit.

        A test that misses a sample or a column skips it: parts lack what whole commits have.
        """
        try:
            outcome, is_repeated = self.run(commit)
        except (SampleNotFoundError, ColumnNotFoundError):
            outcome, is_repeated = None, False
            self._known[commit.object.snapshot] = None
        self.untestable_count += outcome is None and not is_repeated
        return outcome, is_repeated

    @property
    def is_spent(self) -> bool:
        """Whether no more tests may run."""
        return self._max_tests is not None and self.test_count >= self._max_tests

    def _run(self, commit: Commit) -> Outcome:
        if self.is_spent:
            raise OutOfTestsError
        self.test_count += 1
        with Checkout(self._stores, commit, self._nodes) as checkout:
            try:
                said = self._test(checkout)
            except BaseException as error:
                error.add_note(f"while commit {commit.short_id} {commit.summary!r} was tested")
                raise
        return self._outcome(said, commit)

    def _outcome(self, said: object, commit: Commit) -> Outcome:
        if said is SKIP:
            return None
        if isinstance(said, (np.ndarray, np.generic)) and said.ndim == 0:
            said = said.item()
        if not isinstance(said, (bool, int, float)):
            raise with_hint(
                InvalidInputError(
                    f"the test of commit {commit.short_id} returned {type(said).__name__} "
                    f"{str(said)[:80]!r}; expected a bool, a number or tensorvcs.SKIP"
                ),
                "return True for a good version and False for a bad one, or a score",
            )
        is_score = not isinstance(said, bool)
        if self.has_scores is None:
            self.has_scores = is_score
        if is_score != self.has_scores:
            raise InvalidInputError(
                f"the test of commit {commit.short_id} returned {said!r}; it returned a "
                f"{'bool' if is_score else 'number'} for the commits before"
            )
        if not is_score:
            return said
        if not math.isfinite(said):
            raise with_hint(
                InvalidInputError(f"the score of commit {commit.short_id} is {said}, no number"),
                "return tensorvcs.SKIP for a version that cannot be tested, or the worst score "
                "there is for one that is broken",
            )
        return float(said)
