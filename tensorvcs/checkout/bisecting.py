"""Bisect with a test: over commits, and then inside the one that is to blame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tensorvcs.errors import InvalidInputError, with_hint
from tensorvcs.history.bisecting.bisect import (
    BisectStep,
    OutOfTestsError,
    candidates_between,
    check_ends,
    find_first_bad,
)
from tensorvcs.history.bisecting.bisect_result import BisectResult, outcome_text
from tensorvcs.history.bisecting.change_groups import (
    group_by_column,
    group_by_keys,
    group_by_source,
)
from tensorvcs.history.bisecting.change_units import cut_changes
from tensorvcs.history.bisecting.culprit_search import SearchRules, find_culprits
from tensorvcs.history.bisecting.culprits import Narrowing
from tensorvcs.history.commit import load_commit
from tensorvcs.history.snapshot import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tensorvcs.checkout.trials import Trials
    from tensorvcs.history.bisecting.bisect import Outcome
    from tensorvcs.history.commit import Commit
    from tensorvcs.objects.digest import CommitDigest
    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.tree.nodes import Nodes

    Progress = Callable[[int, int | None], None]

Within = bool | Literal["commit", "range"]


@dataclass(frozen=True, slots=True)
class BisectRules:
    """How a bisect reads scores and looks inside a commit; `Repository.bisect` explains them."""

    within: Within = False
    lower_is_better: bool = False
    share: float = 0.5
    tolerance: float = 0.0
    separator: str = "/"
    source_key: str = "source"
    whole_samples: bool = True
    max_tests: int | None = 1000

    def __post_init__(self) -> None:
        if self.within not in (False, True, "commit", "range"):
            raise InvalidInputError(f"within is a bool, 'commit' or 'range', not {self.within!r}")
        if not isinstance(self.share, (int, float)) or not 0 < self.share <= 1:
            raise InvalidInputError(
                f"a share of {self.share!r} makes no sense; expected above 0 and at most 1"
            )
        if not isinstance(self.tolerance, (int, float)) or not 0 <= self.tolerance < math.inf:
            raise InvalidInputError(
                f"a tolerance of {self.tolerance!r} makes no sense; expected 0 or more"
            )
        if not isinstance(self.separator, str) or not self.separator:
            raise InvalidInputError(f"a separator is a text, not {self.separator!r}")
        if self.max_tests is not None and (type(self.max_tests) is not int or self.max_tests < 2):
            raise InvalidInputError(
                f"at most {self.max_tests!r} tests make no sense; the ends alone take 2"
            )


class Bisect:
    """One bisect: the outcomes of the ends, which move with it, and the steps so far."""

    def __init__(
        self,
        stores: Stores,
        nodes: Nodes,
        trials: Trials,
        rules: BisectRules,
        *,
        progress: Progress | None = None,
        on_step: Callable[[BisectStep], None] | None = None,
    ) -> None:
        self._stores = stores
        self._nodes = nodes
        self._trials = trials
        self._rules = rules
        self._progress = progress
        self._on_step = on_step
        self._steps: list[BisectStep] = []
        self._good = self._bad = 0.0

    def run(self, goods: Sequence[Commit], bad: Commit) -> BisectResult:
        """Find the first bad commit, and what in it is to blame when that is wanted.

        Parameters
        ----------
        goods : sequence of Commit
            Ancestors of `bad`.
        """
        check_ends(self._stores.objects, goods, bad)
        candidates = candidates_between(
            self._stores.objects, [good.digest for good in goods], bad.digest
        )
        self._test_ends(goods, bad, len(candidates))
        suspects = tuple(
            load_commit(self._stores.objects, digest)
            for digest in find_first_bad(candidates, self._judge)
        )
        commit = suspects[0] if len(suspects) == 1 else None
        before = after = None
        narrowing, note = None, ""
        if commit is not None:
            parent = self._parent(commit)
            before, after = self._outcome(parent), self._outcome(commit)
            if self._rules.within == "range":
                narrowing, note = self._narrow(goods[0], bad)
            elif self._rules.within:
                narrowing, note = self._narrow(parent, commit)
        elif self._rules.within:
            note = "nothing was searched inside of a commit, since the first bad one is not known"
        return BisectResult(
            commit, before, after, suspects, tuple(self._steps), self._trials.test_count,
            narrowing, note,
        )  # fmt: skip

    # Commits

    def _test_ends(self, goods: Sequence[Commit], bad: Commit, left_count: int) -> None:
        outcomes = []
        for commit, is_good in [*((good, True) for good in goods), (bad, False)]:
            try:
                outcome, is_repeated = self._trials.run(commit)
            except OutOfTestsError:
                raise InvalidInputError(
                    f"at most {self._rules.max_tests} tests are too few for {len(goods) + 1} ends"
                ) from None
            if outcome is None:
                raise with_hint(
                    InvalidInputError(
                        f"the test skipped the {'good' if is_good else 'bad'} commit "
                        f"{commit.short_id}, and so it says nothing of this end"
                    ),
                    "start from a commit that it can test",
                )
            outcomes.append(outcome)
            self._add_step(BisectStep(commit, outcome, is_good, is_repeated, left_count))
        *good_scores, self._bad = map(self._score, outcomes)
        self._good = min(good_scores)
        for commit, outcome, score in zip(goods, outcomes, good_scores, strict=False):
            if score <= self._bad:
                raise self._wrong_ends(commit, outcome, bad, outcomes[-1])

    def _wrong_ends(
        self, good: Commit, good_outcome: Outcome, bad: Commit, bad_outcome: Outcome
    ) -> InvalidInputError:
        if isinstance(good_outcome, bool):
            wrong = f"bad commit {bad.short_id} is good" if good_outcome else (
                f"good commit {good.short_id} is bad"
            )  # fmt: skip
            return with_hint(
                InvalidInputError(f"the test says that the {wrong}"),
                "check the test, or the commits that the bisect starts from",
            )
        better = "lower" if self._rules.lower_is_better else "higher"
        return with_hint(
            InvalidInputError(
                f"the good commit {good.short_id} has the score {outcome_text(good_outcome)} and "
                f"the bad commit {bad.short_id} has {outcome_text(bad_outcome)}, which is no "
                f"worse: {better} is better"
            ),
            "check the commits that the bisect starts from, and whether a lower score is better",
        )

    def _judge(self, digest: CommitDigest, candidate_count: int) -> bool | None:
        commit = load_commit(self._stores.objects, digest)
        outcome, is_repeated = self._trials.run(commit)
        is_good = None
        if outcome is not None:
            score = self._score(outcome)
            is_good = abs(score - self._good) < abs(score - self._bad)
            if is_good:
                self._good = score
            else:
                self._bad = score
        self._add_step(BisectStep(commit, outcome, is_good, is_repeated, candidate_count))
        return is_good

    def _score(self, outcome: Outcome) -> float:
        """Return an outcome as a number of which more is better."""
        assert outcome is not None
        is_turned = self._rules.lower_is_better and not isinstance(outcome, bool)
        return -float(outcome) if is_turned else float(outcome)

    def _add_step(self, step: BisectStep) -> None:
        if not step.part:
            self._steps.append(step)
        if self._on_step is not None:
            self._on_step(step)
        if self._progress is not None:
            more = None if step.part else self._trials.test_count + step.left_count.bit_length()
            self._progress(self._trials.test_count, more)

    def _parent(self, commit: Commit) -> Commit | None:
        parents = commit.object.parents
        return load_commit(self._stores.objects, parents[0]) if parents else None

    def _outcome(self, commit: Commit | None) -> Outcome:
        """Return what the test says of a commit beside the search; None when it may not run."""
        if commit is None:
            return None
        try:
            outcome, is_repeated = self._trials.run(commit)
        except OutOfTestsError:
            return None
        if not is_repeated:
            self._add_step(BisectStep(commit, outcome, None, is_repeated, 1))
        return outcome

    # Inside a commit

    def _narrow(self, before: Commit | None, after: Commit) -> tuple[Narrowing | None, str]:
        """Return what in the changes between two commits is to blame, or why that is not known."""
        if before is None:
            return None, f"commit {after.short_id} has no parent to compare it with"
        outcomes = self._outcome(before), self._outcome(after)
        if outcomes[0] is None or outcomes[1] is None:
            return None, f"commit {before.short_id} was not tested, so no drop is known"
        scores = self._score(outcomes[0]), self._score(outcomes[1])
        if scores[0] <= scores[1]:
            return None, (
                f"commit {after.short_id} is no worse than its first parent {before.short_id}: "
                f"{outcome_text(outcomes[1])} after {outcome_text(outcomes[0])}"
            )
        return self._search(before, after, scores), ""

    def _search(self, before: Commit, after: Commit, scores: tuple[float, float]) -> Narrowing:
        objects, rules = self._stores.objects, self._rules
        columns = [read_snapshot(objects, commit.object.snapshot) for commit in (before, after)]
        changes = cut_changes(self._nodes, *columns, whole_samples=rules.whole_samples)
        groupings = [
            group_by_column(changes),
            group_by_source(
                objects,
                self._nodes,
                changes,
                after,
                is_one_commit=after.object.parents == (before.digest,),
                source_key=rules.source_key,
            ),
            group_by_keys(changes, rules.separator),
        ]
        first_count = self._trials.test_count
        skipped_count = self._trials.untestable_count

        def score(chosen: NDArray[np.bool_]) -> float | None:
            if self._trials.is_spent:
                raise OutOfTestsError
            with self._stores.transaction():
                commit = self._trials.store_part(changes.apply(self._nodes, chosen), after)
            outcome, is_repeated = self._trials.run_part(commit)
            part = f"{int(chosen.sum()):,} of {len(chosen):,} changes"
            self._add_step(BisectStep(commit, outcome, None, is_repeated, 1, part))
            return None if outcome is None else self._score(outcome)

        # Good and bad are no measurements, and have no noise.
        tolerance = rules.tolerance if self._trials.has_scores else 0.0
        found = find_culprits(
            changes, score, *scores, groupings, SearchRules(rules.share, tolerance)
        )
        return Narrowing(
            self._as_outcome(scores[0]),
            self._as_outcome(scores[1]),
            None if found.without is None else self._as_outcome(found.without),
            tuple(found.culprits),
            tuple(found.groups),
            changes.unit_count,
            self._trials.test_count - first_count,
            tuple(found.untried),
            self._trials.untestable_count - skipped_count,
        )

    def _as_outcome(self, score: float) -> Outcome:
        """Return the outcome that a number of which more is better was made of."""
        if not self._trials.has_scores:
            return bool(score)
        return -score if self._rules.lower_is_better else score
