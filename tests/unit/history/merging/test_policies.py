from __future__ import annotations

import copy
import pickle
from typing import Any, get_args

import pytest

import tensorvcs as tv
from tensorvcs.errors import ColumnNotFoundError, InvalidInputError
from tensorvcs.history.merging.policies import (
    FUNCTIONS,
    KEPT_POLICIES,
    NO_POLICIES,
    SIDES,
    Policies,
    PolicyName,
    policy_name,
)
from tensorvcs.objects.schema import MergePolicy


def first(base: Any, ours: Any, theirs: Any, key: Any) -> Any:
    return ours


@pytest.mark.parametrize(
    ("strategy", "kept", "chosen"),
    [
        ("fail", "", "fail"),
        ("fail", "mean", "mean"),
        ("ours", "mean", "ours"),
        (first, "mean", first),
        ({"x": "theirs", "*": "ours"}, "mean", "theirs"),
        ({"x": "fail", "*": "ours"}, "mean", "fail"),
        ({"y": "theirs", "*": "ours"}, "mean", "ours"),
        ({"y": "theirs", "*": "fail"}, "mean", "mean"),
        ({"y": "theirs"}, "mean", "mean"),
        ({"y": "theirs"}, "", "fail"),
        ({}, "", "fail"),
    ],
)
def test_what_is_said_of_a_column_comes_before_all_and_before_what_is_kept(
    strategy: Any, kept: str, chosen: Any
) -> None:
    assert Policies.of(strategy).choose(["x"], kept) == chosen


def test_a_column_is_known_by_any_of_its_names() -> None:
    policies = Policies.of({"old": "theirs", "new": "ours"})
    assert policies.choose(["new", "old"], "") == "ours"
    assert policies.choose(["other", "old"], "") == "theirs"


def test_a_virtual_merge_heeds_nothing_that_is_kept() -> None:
    assert NO_POLICIES.choose(["x"], "ours") == "fail"
    assert KEPT_POLICIES.choose(["x"], "ours") == "ours"


@pytest.mark.parametrize("strategy", ["mine", "", None, 3, {"x": "mine"}, {"x": {"y": "ours"}}])
def test_a_policy_is_a_known_name_or_a_function(strategy: Any) -> None:
    with pytest.raises(InvalidInputError, match="is not one of fail, ours") as caught:
        Policies.of(strategy)
    assert "mapping" in (caught.value.hint or "")


def test_policies_are_by_column_name() -> None:
    with pytest.raises(InvalidInputError, match="not int: '3'"):
        Policies.of({3: "ours"})  # type: ignore[dict-item]


def test_a_policy_for_a_column_that_is_not_there_is_refused() -> None:
    policies = Policies.of({"labls": "ours", "*": "theirs"})
    policies.check_columns({"labls"})
    with pytest.raises(ColumnNotFoundError, match="'labls', which neither side has; there are: la"):
        policies.check_columns({"labels"})
    with pytest.raises(ColumnNotFoundError, match="there are: none"):
        policies.check_columns(())


def test_a_policy_has_a_name() -> None:
    assert [policy_name(p) for p in ("ours", first, lambda *_: 0)] == ["ours", "first", "<lambda>"]

    class Chooser:
        def __call__(self, *_: Any) -> Any: ...

        def __repr__(self) -> str:
            return "Chooser()"

    assert policy_name(Chooser()) == "Chooser()"


def test_the_verdicts_are_constants() -> None:
    for verdict in (tv.UNDECIDED, tv.DELETED):
        assert pickle.loads(pickle.dumps(verdict)) is verdict
        assert copy.deepcopy(verdict) is verdict
    assert repr([tv.UNDECIDED, tv.DELETED]) == "[tensorvcs.UNDECIDED, tensorvcs.DELETED]"


def test_the_names_are_the_same_everywhere() -> None:
    names = get_args(PolicyName)
    assert names == ("fail", *SIDES, *FUNCTIONS)
    assert get_args(MergePolicy) == ("", *names[1:])
