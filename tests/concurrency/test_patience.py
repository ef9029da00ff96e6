"""A merge and a pick that are overtaken again and again come to an end all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tensorvcs as tv
from tensorvcs.checkout import picking
from tensorvcs.errors import MergeConflictError
from tensorvcs.history.merging import merge
from tensorvcs.history.merging.merge import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[tv.Repository, tv.Repository]]:
    """Two views of a repository whose branches main and side have grown apart."""
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as one:
        with one.edit() as co:
            co.add_ndarray_column("labels", (), "int64")["a"] = 1
            co.commit("first")
        one.create_branch("side")
        with one.transaction("side") as tx:
            tx["labels"]["side"] = 2
        with tv.open(tmp_path) as other:
            yield one, other


def overtaking(
    one: tv.Repository, other: tv.Repository, act: Callable[..., Any], key: str = ""
) -> tuple[Callable[..., Any], list[bool]]:
    """Have another commit come before each call of `act` comes to an end, while that is possible.

    The list tells of each call whether it kept other writers out.
    """
    calls: list[bool] = []

    def overtaken(*arguments: Any, **named: Any) -> Any:
        made = act(*arguments, **named)
        calls.append(one._environment.is_writing)
        if not calls[-1]:
            with other.transaction("main") as tx:
                tx["labels"][key or f"other/{len(calls)}"] = 10 + len(calls)
        return made

    return overtaken, calls


@pytest.mark.parametrize("verb", ["merge", "cherry_pick"])
def test_the_last_attempt_keeps_others_out(
    pair: tuple[tv.Repository, tv.Repository], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    one, other = pair
    module, name = (merge, "plan_merge") if verb == "merge" else (picking, "_compute")
    overtaken, calls = overtaking(one, other, vars(module)[name])
    monkeypatch.setattr(module, name, overtaken)
    getattr(one, verb)("side")
    assert calls == [False] * PATIENCE + [True]
    others = {f"other/{n}": 10 + n for n in range(1, PATIENCE + 1)}
    assert dict(one.checkout()["labels"].items()) == {"a": 1, "side": 2, **others}
    assert len(list(one.log(limit=None))) == 2 + PATIENCE + (verb == "merge")
    assert one.verify().is_sound


@pytest.mark.parametrize("verb", ["merge", "cherry_pick"])
def test_a_conflict_in_the_last_attempt_changes_nothing(
    pair: tuple[tv.Repository, tv.Repository], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    one, other = pair
    module, name = (merge, "plan_merge") if verb == "merge" else (picking, "_compute")
    overtaken, calls = overtaking(one, other, vars(module)[name], key="side")
    monkeypatch.setattr(module, name, overtaken)
    monkeypatch.setattr(merge, "PATIENCE", 1)
    with pytest.raises(MergeConflictError) as caught:
        getattr(one, verb)("side")
    assert calls == ([False, True] if verb == "merge" else [False])
    ((key, ours, theirs),) = [(c.key, c.ours, c.theirs) for c in caught.value.conflicts]
    assert (key, ours, theirs) == ("side", 11, 2)
    monkeypatch.undo()
    with one.transaction("main") as tx:
        tx["labels"]["side"] = 2
    one.merge("side")
    assert dict(one.checkout()["labels"].items()) == {"a": 1, "side": 2}
