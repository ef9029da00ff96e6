"""Delta debugging against every part there is."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.history.bisecting.delta_debugging import ddmin


@st.composite
def causes(draw: st.DrawFn) -> tuple[int, list[set[int]]]:
    """Draw a number of items, and the sets of them that each cause the effect."""
    count = draw(st.integers(1, 9))
    sets = st.sets(st.integers(0, count - 1), min_size=1)
    return count, draw(st.lists(sets, min_size=1, max_size=3))


@given(causes())
def test_the_result_is_one_of_the_smallest_sets_that_cause_it(
    case: tuple[int, list[set[int]]],
) -> None:
    count, sets = case
    asked: list[tuple[int, ...]] = []

    def is_caused(part: list[int]) -> bool:
        asked.append(tuple(part))
        return any(one <= set(part) for one in sets)

    found = ddmin(range(count), is_caused)
    smallest = [one for one in sets if not any(other < one for other in sets)]
    assert set(found) in smallest
    assert found == sorted(found)
    assert len(asked) <= count**2 + 3 * count


@given(st.integers(1, 6), st.data())
def test_the_result_is_1_minimal_where_causes_exclude_each_other(
    count: int, data: st.DataObject
) -> None:
    """What a part causes says nothing of a larger one."""
    parts = [p for size in range(1, count) for p in combinations(range(count), size)]
    truth = {p: data.draw(st.booleans()) for p in parts} | {tuple(range(count)): True, (): False}
    found = ddmin(range(count), lambda part: truth[tuple(part)])
    assert truth[tuple(found)]
    without = [tuple(item for item in found if item != gone) for gone in found]
    assert not any(truth[part] for part in without)


@pytest.mark.parametrize(
    ("count", "culprit"), [(1, 0), (2, 1), (1000, 0), (1000, 617), (1024, 1023)]
)
def test_one_culprit_costs_two_questions_a_halving(count: int, culprit: int) -> None:
    asked = 0

    def is_caused(part: list[int]) -> bool:
        nonlocal asked
        asked += 1
        return culprit in part

    assert ddmin(range(count), is_caused) == [culprit]
    assert asked <= 2 * (count - 1).bit_length()


def test_all_of_them_together() -> None:
    assert ddmin("abcd", lambda part: len(part) == 4) == list("abcd")


def test_no_items() -> None:
    assert ddmin([], lambda part: True) == []
