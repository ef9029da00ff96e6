"""The search for the changes that harm, with scores that are functions of the changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tensorvcs.history.bisecting.bisect import OutOfTestsError
from tensorvcs.history.bisecting.change_units import ChangeUnits, ColumnChange
from tensorvcs.history.bisecting.culprit_search import (
    Grouping,
    SearchResult,
    SearchRules,
    find_culprits,
)
from tensorvcs.objects.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Harm = Callable[[set[int]], float]


class Search:
    """One search over numbered samples of one column, in groups, with its tests counted."""

    def __init__(self, groups: Sequence[Sequence[int]], sources: Sequence[int] = ()) -> None:
        """Make groups of keys; `sources` gives the source of each group, 0 when omitted."""
        self.count = sum(map(len, groups))
        keys = [b"%04d" % number for number in range(self.count)]
        column = ColumnChange(
            "labels", False, False, Keys(np.empty(0, np.int64), np.array(keys, "S4")),
            np.arange(self.count),
        )  # fmt: skip
        self.changes = ChangeUnits(
            {}, {}, (column,), self.count, np.zeros(self.count, np.intp), np.arange(self.count),
            np.zeros(self.count, np.bool_),
        )  # fmt: skip
        sizes = [len(group) for group in groups]
        codes = np.repeat(np.arange(len(groups)), sizes)
        by_group = np.array(sources or [0] * len(groups), np.intp)
        self.groupings = [
            Grouping(np.zeros(self.count, np.intp), ["labels"]),
            Grouping(by_group[codes], [f"source {n}" for n in range(max(by_group) + 1)]),
            Grouping(codes, [f"group {n}" for n in range(len(groups))]),
        ]
        self.tests: list[set[int]] = []

    def run(
        self,
        harm: Harm,
        *,
        max_tests: int | None = None,
        share: float = 0.5,
        tolerance: float = 0.0,
        untestable: Callable[[set[int]], bool] = lambda part: False,
    ) -> SearchResult:
        def score(chosen: NDArray[np.bool_]) -> float | None:
            part = set(np.flatnonzero(chosen).tolist())
            if max_tests is not None and len(self.tests) == max_tests:
                raise OutOfTestsError
            self.tests.append(part)
            return None if untestable(part) else 100 - harm(part)

        everything = set(range(self.count))
        before, after = 100 - harm(set()), 100 - harm(everything)
        assert before > after
        return find_culprits(
            self.changes, score, before, after, self.groupings, SearchRules(share, tolerance)
        )


def numbers(culprits: Sequence[Any]) -> set[int]:
    return {int(key) for culprit in culprits for key in culprit.keys}


def in_groups(count: int, size: int) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


@given(
    st.integers(1, 60),
    st.integers(1, 20),
    st.data(),
)
def test_what_adds_up_is_found_exactly(count: int, size: int, data: st.DataObject) -> None:
    """The harm of each sample, large or small, wherever they are."""
    harms = data.draw(
        st.dictionaries(st.integers(0, count - 1), st.sampled_from([1.0, 2.0, 50.0]), min_size=1)
    )
    search = Search(in_groups(count, size))
    found = search.run(lambda part: sum(harms.get(number, 0.0) for number in part))
    assert numbers(found.culprits) == set(harms)
    assert all(culprit.is_resolved for culprit in found.culprits)
    assert found.without == pytest.approx(100)
    assert not found.untried
    for culprit in found.culprits:
        expected = sum(harms[int(key)] for key in culprit.keys)
        assert (culprit.alone, culprit.left_out) == pytest.approx((expected, expected))
    figures = [max(c.alone or 0, c.left_out or 0) for c in found.culprits]
    assert figures == sorted(figures, reverse=True)


@given(st.integers(2, 40), st.integers(1, 20), st.data())
def test_a_rate_of_errors_finds_exactly_the_errors(
    count: int, size: int, data: st.DataObject
) -> None:
    """Samples are added to 50 others, of which some are wrong: nothing adds up quite."""
    wrong = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    errors = data.draw(st.integers(0, 5))

    def rate(part: set[int]) -> float:
        return (errors + len(part & wrong)) / (50 + len(part))

    assume(rate(set()) < rate(set(range(count))))
    found = Search(in_groups(count, size)).run(rate)
    assert numbers(found.culprits) <= wrong
    assert found.without is not None
    assert found.without >= 100 - rate(set()) - 1e-9
    if not errors:
        assert numbers(found.culprits) == wrong


@given(st.integers(1, 60), st.integers(1, 20), st.data())
def test_each_that_is_as_bad_as_all_is_found(count: int, size: int, data: st.DataObject) -> None:
    wrong = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    found = Search(in_groups(count, size)).run(lambda part: float(bool(part & wrong)))
    assert numbers(found.culprits) == wrong


@given(st.integers(2, 40), st.integers(1, 20), st.data())
def test_what_takes_several_together_is_found(count: int, size: int, data: st.DataObject) -> None:
    together = data.draw(st.sets(st.integers(0, count - 1), min_size=2))
    found = Search(in_groups(count, size)).run(lambda part: float(together <= part))
    assert numbers(found.culprits) == together
    assert found.without == 100


@given(st.integers(2, 24), st.integers(1, 20), st.data())
def test_some_of_many_that_harm_together_leave_nothing_behind(
    count: int, size: int, data: st.DataObject
) -> None:
    """Any `enough` of some samples harm: neither one alone, nor all but one."""
    some = data.draw(st.sets(st.integers(0, count - 1), min_size=2))
    enough = data.draw(st.integers(1, len(some)))
    found = Search(in_groups(count, size)).run(lambda part: float(len(part & some) >= enough))
    assert found.without == 100
    assert numbers(found.culprits) & some
    assert len(some - numbers(found.culprits)) < enough


def test_the_whole_source_is_found_and_not_its_worst_half() -> None:
    search = Search(in_groups(300, 20), [n // 3 for n in range(15)])
    wrong = set(range(120, 180))
    found = search.run(lambda part: len(part & wrong) / 10)
    assert numbers(found.culprits) == wrong
    assert {culprit.source for culprit in found.culprits} == {"source 2"}
    assert {culprit.group for culprit in found.culprits} == {"group 6", "group 7", "group 8"}
    by_source = [group for group in found.groups if group.level == "source"]
    assert (by_source[0].name, by_source[0].is_harmful) == ("source 2", True)
    assert not any(group.is_harmful for group in by_source[1:])
    assert by_source[0].alone == pytest.approx(6)
    assert by_source[0].left_out == pytest.approx(6)
    assert len(search.tests) < 180


def test_one_of_many_takes_few_tests() -> None:
    search = Search(in_groups(1024, 64))
    found = search.run(lambda part: float(700 in part))
    assert numbers(found.culprits) == {700}
    assert len(search.tests) <= 4 * 10 + 4


def test_no_part_is_tested_twice() -> None:
    search = Search(in_groups(40, 10))
    search.run(lambda part: float(len(part & {3, 17, 18, 30}) >= 2))
    assert len(search.tests) == len({frozenset(part) for part in search.tests})


def test_noise_below_the_tolerance_is_not_followed() -> None:
    """Each of ten samples harms a little: they are named together."""
    search = Search(in_groups(40, 10))
    wrong = set(range(10, 20))
    exact = search.run(lambda part: len(part & wrong) / 10)
    exact_count = len(search.tests)
    search = Search(in_groups(40, 10))
    found = search.run(lambda part: len(part & wrong) / 10, tolerance=0.3)
    assert numbers(exact.culprits) == numbers(found.culprits) == wrong
    assert [culprit.is_resolved for culprit in found.culprits] == [False]
    assert len(search.tests) < exact_count / 2


def test_a_figure_that_says_the_opposite_is_subtracted() -> None:
    """Group 1 harms alone, and helps in the company of the others: that is noise."""
    group = set(range(10, 20))

    def harm(part: set[int]) -> float:
        noise = 0.0
        if group <= part:
            noise = 2.0 if part == group else -2.0
        return noise + 10.0 * (5 in part)

    found = Search(in_groups(40, 10)).run(harm)
    assert numbers(found.culprits) == {5}
    assert [g.name for g in found.groups if g.level == "keys" and g.is_harmful] == ["group 0"]


@pytest.mark.parametrize("max_tests", range(45))
def test_out_of_tests_names_what_is_left(max_tests: int) -> None:
    search = Search(in_groups(64, 16))
    wrong = {3, 20, 21, 60}
    found = search.run(lambda part: float(len(part & wrong)), max_tests=max_tests)
    assert wrong <= numbers(found.culprits)
    assert len(search.tests) <= max_tests
    exact = {int(k) for culprit in found.culprits if culprit.is_resolved for k in culprit.keys}
    assert exact <= wrong
    assert set(found.untried) <= set(found.culprits)
    assert bool(found.untried) == (exact != wrong)
    if max_tests == 0:
        assert numbers(found.untried) == set(range(64))
        assert found.without == 100
        assert found.culprits[0].alone is None


@pytest.mark.parametrize("max_tests", range(4, 60, 3))
def test_out_of_tests_while_several_harm_together(max_tests: int) -> None:
    search = Search(in_groups(16, 16))
    found = search.run(lambda part: float(len(part & {1, 6, 9, 14}) >= 3), max_tests=max_tests)
    assert len(numbers(found.culprits) & {1, 6, 9, 14}) >= 2
    assert len(search.tests) <= max_tests


def test_parts_that_cannot_be_tested_are_told_from_the_other_side() -> None:
    """Whatever lacks sample 0 cannot be tested: each group is judged by what its absence does."""
    found = Search(in_groups(20, 5)).run(
        lambda part: float(7 in part), untestable=lambda part: 0 not in part
    )
    assert numbers(found.culprits) == {7}
    figures = {group.name: group for group in found.groups if group.level == "keys"}
    assert figures["group 1"].alone is None
    assert figures["group 1"].left_out == 1


def test_nothing_can_be_tested() -> None:
    found = Search(in_groups(12, 3)).run(
        lambda part: float(len(part)), untestable=lambda part: True
    )
    assert numbers(found.culprits) == set(range(12))
    assert not any(culprit.is_resolved for culprit in found.culprits)
    assert not found.untried


def test_more_groups_than_are_measured_one_by_one() -> None:
    search = Search(in_groups(90, 3))
    found = search.run(lambda part: float(len(part & {0, 44, 89})))
    assert numbers(found.culprits) == {0, 44, 89}
    keys = [group for group in found.groups if group.level == "keys"]
    assert {group.name for group in keys if group.is_harmful} == {"group 0", "group 14", "group 29"}


def test_groups_that_harm_only_together() -> None:
    """Two of any three groups; ddmin takes the fewest of them."""
    first = [{0}, {10}, {20}]

    def harm(part: set[int]) -> float:
        return float(sum(bool(one & part) for one in first) >= 2)

    found = Search(in_groups(30, 10)).run(harm)
    assert len(numbers(found.culprits)) == 2
    assert numbers(found.culprits) < {0, 10, 20}


def test_the_share_tells_small_effects_from_harm() -> None:
    """With the default a group of a tenth of what would be even is no culprit at first."""

    def harm(part: set[int]) -> float:
        return 9.0 * (0 in part) + 0.2 * bool(part & set(range(10, 20)))

    found = Search(in_groups(20, 10)).run(harm, tolerance=0.25)
    assert numbers(found.culprits) == {0}
    assert found.without == pytest.approx(99.8)
