"""Which of the changes between two versions made a test worse: by column, source and samples.

A unit is the least that is tried apart (see `change_units`). A group of units gets two figures:
what the earlier version loses when only the group is applied to it (`alone`), and what the later
version regains when only the group is left out (`left_out`). Where harm adds up the two are equal;
where one bad sample is as bad as many, only the first shows it, and where it takes several
together, only the second. So the larger of them counts, less what the other one says to the
contrary. A sample that the score does not feel is not found.

The search goes down from columns to sources, groups of keys and samples. Of each group that
harms, the groups in it are measured, or halves of them where they are many. Where a group harms
and none of its halves does, they do it together, and delta debugging finds the least of them that
still does. What was found is then left out, and when the test is still worse than it was, the
search starts again in the rest. So everything that harms is found, and not only the worst half of
it. All groups are cut once before any is cut further, so that an early end leaves out details.

References
----------
G. Misherghi and Z. Su, HDD: hierarchical delta debugging, ICSE 2006.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tensorvcs.history.bisecting.bisect import OutOfTestsError
from tensorvcs.history.bisecting.culprits import LEVELS, Culprit, GroupFigures
from tensorvcs.history.bisecting.delta_debugging import ddmin
from tensorvcs.objects.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tensorvcs.history.bisecting.change_units import ChangeUnits

    Units = NDArray[np.intp]
    Score = Callable[[NDArray[np.bool_]], float | None]
    """Called with which units to apply, shape (unit_count,); the score of the version, higher is
    better, or None when it cannot be tested."""

# Up to so many groups are measured one by one; of more, halves.
_FEW_GROUPS = 8
# Scores closer than this part of the whole drop differ by the rounding of floats.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Grouping:
    """One way to put all units into groups: the group of each unit, and the names of the groups.

    Attributes
    ----------
    codes : ndarray, shape (unit_count,), intp
    names : sequence of str
    ranges : frozenset of int
        Groups that are ranges of int keys, which say nothing of themselves: culprits in several
        of them are put together.
    """

    codes: NDArray[np.intp]
    names: Sequence[str]
    ranges: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class SearchRules:
    """What counts as harm.

    Attributes
    ----------
    share : float
        A group harms when its figure is at least this part of what it would be if the drop were
        spread evenly over all changed samples.
    tolerance : float
        Differences of scores that are noise.
    """

    share: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class _Part:
    """Units that harm together, and the groups of one level that they are in.

    Attributes
    ----------
    level : int
        The place of the level in `LEVELS`.
    units : ndarray, shape (n,), intp
        Group behind group.
    ends : ndarray, shape (group_count,), intp
        Where each group ends in `units`.
    """

    level: int
    units: Units
    ends: NDArray[np.intp]
    alone: float | None
    left_out: float | None

    @property
    def group_count(self) -> int:
        return len(self.ends)

    def groups(self, start: int, stop: int) -> tuple[Units, NDArray[np.intp]]:
        """Return the units and the ends of some groups that follow each other."""
        first = int(self.ends[start - 1]) if start else 0
        return self.units[first : self.ends[stop - 1]], self.ends[start:stop] - first

    def units_of(self, groups: Sequence[int]) -> Units:
        """Return the units of some groups."""
        return np.concatenate([self.groups(at, at + 1)[0] for at in groups])


@dataclass(slots=True)
class _Found:
    """What the search has come to: units that harm, and why no further."""

    resolved: list[Units] = field(default_factory=list)
    joint: list[Units] = field(default_factory=list)
    untried: list[Units] = field(default_factory=list)

    def add(self, other: _Found) -> None:
        self.resolved += other.resolved
        self.joint += other.joint
        self.untried += other.untried

    def all(self) -> list[Units]:
        return [*self.resolved, *self.joint, *self.untried]


class _Round:
    """One search in a version that is worse than the earlier one."""

    def __init__(
        self,
        score: Score,
        within: NDArray[np.bool_],
        before: float,
        after: float,
        groupings: Sequence[Grouping],
        rules: SearchRules,
    ) -> None:
        self._score = score
        self._within = within
        self._before, self._after = before, after
        self._groupings = groupings
        self._rules = rules
        self._count = int(within.sum())
        self._drop = before - after
        self._rounding = _ROUNDING * self._drop
        self.figures: list[tuple[GroupFigures, Units]] = []

    def run(self) -> _Found:
        """Go down from everything to what cannot be cut or told apart."""
        found = _Found()
        everything = np.flatnonzero(self._within)
        whole = _Part(-1, everything, np.array([len(everything)]), self._drop, self._drop)
        pending: deque[_Part] = deque([self._next_level(whole, everything)])
        while pending:
            part = pending.popleft()
            if part.group_count == 1:
                if part.level == len(LEVELS) - 1:
                    found.resolved.append(part.units)
                else:
                    self._note(part.level, part.units, part.alone, part.left_out)
                    pending.append(self._next_level(part, part.units))
                continue
            try:
                smaller = self._cut(part)
            except OutOfTestsError:
                found.untried += [part.units, *(later.units for later in pending)]
                break
            if smaller is None:
                found.joint.append(part.units)
            else:
                pending += smaller
        return found

    def _next_level(self, part: _Part, units: Units) -> _Part:
        level = part.level + 1
        codes = units
        if level < len(self._groupings):
            codes = self._groupings[level].codes[units]
        order = np.argsort(codes, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(codes[order])) + 1, len(units))
        return _Part(level, units[order], ends, part.alone, part.left_out)

    def _note(self, level: int, units: Units, alone: float | None, left_out: float | None) -> None:
        """Keep the figures of a group that has a name; whether it harms is known at the end."""
        *above, name = self._names(level, units)
        figures = GroupFigures(
            LEVELS[level], name, tuple(above), len(units), alone, left_out, is_harmful=False
        )
        self.figures.append((figures, units))

    def _names(self, level: int, units: Units) -> list[str]:
        """Return the names of the groups that units are in, down to a level."""
        names = []
        for grouping in self._groupings[: level + 1]:
            codes = np.unique(grouping.codes[units])
            names.append(", ".join(grouping.names[code] for code in codes.tolist()))
        return names

    def _cut(self, part: _Part) -> list[_Part] | None:
        """Return the parts of a part that harm; None when they cannot be told apart."""
        count, has_names = part.group_count, part.level < len(self._groupings)
        effect = max(figure for figure in (part.alone, part.left_out) if figure is not None)
        is_noise = effect <= 2 * self._rules.tolerance  # each half would drown in it
        if is_noise and not has_names:
            return None
        cuts = [0, count // 2, count]
        if has_names and count <= _FEW_GROUPS:
            cuts = list(range(count + 1))
        harmful: list[_Part] = []
        for start, stop in pairwise(cuts):
            units, ends = part.groups(start, stop)
            has_name = has_names and len(ends) == 1
            alone, left_out, is_harmful = self._measure(units, is_full=has_name)
            if is_harmful:
                harmful.append(_Part(part.level, units, ends, alone, left_out))
            elif has_name:
                self._note(part.level, units, alone, left_out)
        if harmful or is_noise:
            return harmful or None
        return self._together(part)

    def _together(self, part: _Part) -> list[_Part] | None:
        """Return the fewest groups of a part that harm together, none of which does by itself."""
        is_alone = part.alone is not None and self._is_harm(part.alone, len(part.units))
        figure = self._alone if is_alone else self._left_out
        goal = self._rules.share * float((part.alone if is_alone else part.left_out) or 0.0)
        least = list(range(part.group_count))

        def causes(groups: list[int]) -> bool:
            nonlocal least
            effect = figure(part.units_of(groups))
            if effect is None or effect < goal - self._rounding:
                return False
            least = groups
            return True

        try:
            ddmin(least, causes)
        except OutOfTestsError:
            if len(least) == part.group_count:
                raise
        units = part.units_of(least)
        if part.level < len(self._groupings):
            return [self._next_level(part, units)]
        if len(least) == part.group_count:
            return None
        return [_Part(part.level, units, np.array([len(units)]), part.alone, part.left_out)]

    # Figures

    def _alone(self, units: Units) -> float | None:
        only = np.zeros(len(self._within), np.bool_)
        only[units] = True
        score = self._score(only)
        return None if score is None else self._before - score

    def _left_out(self, units: Units) -> float | None:
        rest = self._within.copy()
        rest[units] = False
        score = self._score(rest)
        return None if score is None else score - self._after

    def _measure(self, units: Units, *, is_full: bool) -> tuple[float | None, float | None, bool]:
        """Return the figures of a group, and whether it harms.

        The second figure is not measured when the first one tells, unless `is_full`.
        """
        alone = self._alone(units)
        if not is_full and alone is not None and self._is_harm(alone, len(units)):
            return alone, None, True
        left_out = self._left_out(units)
        known = [figure for figure in (alone, left_out) if figure is not None]
        # A figure that says the opposite speaks against the other one.
        effect = max(known, default=0.0) + min([0.0, *known])
        return alone, left_out, self._is_harm(effect, len(units))

    def _is_harm(self, figure: float, unit_count: int) -> bool:
        even = self._rules.share * self._drop * unit_count / self._count
        least = max(even, self._rules.tolerance) - self._rounding
        return figure > self._rounding and figure >= least


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search has found.

    Attributes
    ----------
    culprits : list of Culprit
        The most harmful first.
    untried : list of Culprit
        Those of them that were not searched to the end, for want of tests.
    groups : list of GroupFigures
        Columns before sources before keys, and of these the most harmful first.
    without : float or None
        The score without the culprits; None when it is not known.
    """

    culprits: list[Culprit]
    untried: list[Culprit]
    groups: list[GroupFigures]
    without: float | None


def find_culprits(
    changes: ChangeUnits,
    score: Score,
    before: float,
    after: float,
    groupings: Sequence[Grouping],
    rules: SearchRules,
) -> SearchResult:
    """Return the changes that made a score drop.

    Parameters
    ----------
    changes : ChangeUnits
    score : callable
        ``score(chosen)`` with an ndarray of bool, shape (unit_count,): the score of the earlier
        version with these changes, higher is better; None when it cannot be tested. May raise
        `OutOfTestsError`, which ends the search with what is known by then.
    before, after : float
        Scores of the two versions; the first is the higher one.
    groupings : sequence of Grouping
        By column, by source, by keys.
    rules : SearchRules

    Notes
    -----
    Each call of `score` is one test. For n changed samples of which k harm, each by itself, there
    are about ``2 k`` of them, and up to 4 for each time that what holds a culprit is halved:
    ``2 k + 4 k log2(n / k)``.
    """
    measured = _remember(score)
    within = np.ones(changes.unit_count, np.bool_)
    found = _Found()
    figures: list[tuple[GroupFigures, Units]] = []
    now: float | None = after
    is_worse = True
    while is_worse and now is not None:
        search = _Round(measured, within.copy(), before, now, groupings, rules)
        latest = search.run()
        figures = figures or search.figures
        found.add(latest)
        for part in latest.all():
            within[part] = False
        now = _try(measured, within) if within.any() else before
        drop = 0.0 if now is None else before - now
        noise = max(rules.tolerance, _ROUNDING * (before - after))
        is_worse = drop > noise and not latest.untried
    describer = _Describer(changes, measured, before, after, groupings)
    untried = describer.culprits(found.untried, is_resolved=False)
    culprits = [
        *describer.culprits(found.resolved, is_resolved=True),
        *describer.culprits(found.joint, is_resolved=False),
        *untried,
    ]
    culprits.sort(key=lambda culprit: _harm(culprit.alone, culprit.left_out), reverse=True)
    groups = [replace(group, is_harmful=not bool(within[units].all())) for group, units in figures]
    groups.sort(key=lambda g: (LEVELS.index(g.level), -_harm(g.alone, g.left_out)))
    return SearchResult(culprits, untried, groups, now)


def _harm(alone: float | None, left_out: float | None) -> float:
    return max((figure for figure in (alone, left_out) if figure is not None), default=0.0)


def _try(score: Score, chosen: NDArray[np.bool_]) -> float | None:
    """Return a score that is good to know, None when no more tests may run."""
    try:
        return score(chosen)
    except OutOfTestsError:
        return None


def _remember(score: Score) -> Score:
    """Return the same function, which never makes the same version twice."""
    known: dict[bytes, float | None] = {}

    def measured(chosen: NDArray[np.bool_]) -> float | None:
        name = digest_of(np.packbits(chosen).tobytes())
        if name not in known:
            known[name] = score(chosen)
        return known[name]

    return measured


class _Describer:
    """Puts units that were found into words."""

    def __init__(
        self,
        changes: ChangeUnits,
        score: Score,
        before: float,
        after: float,
        groupings: Sequence[Grouping],
    ) -> None:
        self._changes = changes
        self._score = score
        self._before, self._after = before, after
        self._groupings = groupings

    def culprits(self, parts: Sequence[Units], *, is_resolved: bool) -> list[Culprit]:
        """Return the units of all parts, put together by column, source and group of keys."""
        if not parts:
            return []
        units = np.sort(np.concatenate(parts))
        codes = np.stack([grouping.codes[units] for grouping in self._groupings], axis=1)
        codes[np.isin(codes[:, -1], list(self._groupings[-1].ranges)), -1] = -1
        distinct, groups = np.unique(codes, axis=0, return_inverse=True)
        groups = groups.reshape(-1)
        return [
            self._culprit(units[groups == at], is_resolved=is_resolved)
            for at in range(len(distinct))
        ]

    def _culprit(self, units: Units, *, is_resolved: bool) -> Culprit:
        _, source, group = (
            grouping.names[int(grouping.codes[units[0]])] for grouping in self._groupings
        )
        keys = self._changes.keys_of(units)
        if int(self._groupings[-1].codes[units[0]]) in self._groupings[-1].ranges:
            group = range_name(keys)
        only = np.zeros(self._changes.unit_count, np.bool_)
        only[units] = True
        alone, rest = _try(self._score, only), _try(self._score, ~only)
        return Culprit(
            tuple(self._changes.columns[at].name for at in self._columns_of(units)),
            source,
            group,
            tuple(keys),
            None if alone is None else self._before - alone,
            None if rest is None else rest - self._after,
            is_resolved,
        )

    def _columns_of(self, units: Units) -> list[int]:
        return [
            at
            for at, change in enumerate(self._changes.columns)
            if bool(np.isin(units, change.units).any())
        ]


def range_name(keys: Sequence[int]) -> str:
    """Return the name of sorted int keys: the first and the last of them."""
    return str(keys[0]) if len(keys) == 1 else f"{keys[0]} … {keys[-1]}"
