"""How the result of a bisect looks."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from tensorvcs.history.bisecting.bisect import BisectStep
from tensorvcs.history.bisecting.bisect_result import BisectResult, outcome_text
from tensorvcs.history.bisecting.culprits import Culprit, GroupFigures, Narrowing
from tensorvcs.history.commit import load_commit
from tests.memory_repository import MemoryRepository

CULPRIT = Culprit(("labels",), "uni-3", "a<b", tuple(range(20)), 0.25, None, False)
NARROWING = Narrowing(
    0.9, 0.5, 0.9, (CULPRIT,), (GroupFigures("keys", "a<b", ("labels", ""), 20, 0.25, -0.0, True),),
    20, 7, (), 0,
)  # fmt: skip


@pytest.fixture
def result() -> BisectResult:
    repo = MemoryRepository()
    first = repo.bare_commit(message="first & <good>")
    second = repo.bare_commit([first], message="second")
    third = repo.bare_commit([second], message="third")
    a, b, c = (load_commit(repo.objects, digest) for digest in (first, second, third))
    steps = (
        BisectStep(a, 0.9, True, False, 2),
        BisectStep(c, 0.5, False, False, 2),
        BisectStep(b, None, None, False, 2),
    )
    return BisectResult(c, 0.9, 0.5, (c,), steps, 3)


def test_repr(result: BisectResult) -> None:
    assert repr(result) == (
        f"<BisectResult: {result.suspects[0].short_id} 'third' is the first bad commit, "
        "0.9 → 0.5, 3 tests>"
    )
    assert repr(replace(result, narrowing=NARROWING)).endswith(
        "3 tests; labels · uni-3 · a<b: 20 samples (not told apart)>"
    )
    many = replace(NARROWING, culprits=(CULPRIT,) * 4)
    assert repr(replace(result, narrowing=many)).endswith("(not told apart); …>")


def test_repr_of_an_open_result(result: BisectResult) -> None:
    suspects = tuple(step.commit for step in result.steps[1:])
    text = repr(replace(result, commit=None, before=None, after=None, suspects=suspects))
    assert text == "<BisectResult: one of 2 commits is the first bad one, 3 tests>"


def test_html_shows_the_commits_in_order_of_history(result: BisectResult) -> None:
    root = ET.fromstring(f"<div>{result._repr_html_()}</div>")
    rows = [[cell.text for cell in row] for row in root.iter("tr")][1:]
    assert [row[1] for row in rows] == ["first & <good>", "second", "third"]
    texts = [list(row)[2].itertext() for row in list(root.iter("tr"))[1:]]
    assert ["".join(text) for text in texts] == ["0.9, good", "skipped", "0.5, bad"]
    chart = root.find("{http://www.w3.org/2000/svg}svg")
    assert chart is not None
    assert len(chart.findall("{http://www.w3.org/2000/svg}circle")) == 2


def test_html_shows_culprits_groups_and_the_note(result: BisectResult) -> None:
    full = replace(result, narrowing=NARROWING, note="1 < 2")
    root = ET.fromstring(f"<div>{full._repr_html_()}</div>")
    assert root.findtext("p") == "1 < 2"
    _, culprits, groups = root.findall("table")
    (row,) = list(culprits.iter("tr"))[1:]
    assert ["".join(cell.itertext()) for cell in row] == [
        "labels", "uni-3", "a<b", "20 (not told apart)",
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …", "0.25", "?",
    ]  # fmt: skip
    (row,) = list(groups.iter("tr"))[1:]
    assert ["".join(cell.itertext()) for cell in row] == [
        "keys", "labels · a<b", "20", "0.25", "0", "harms",
    ]  # fmt: skip


def test_html_of_good_and_bad(result: BisectResult) -> None:
    good, bad, _ = result.steps
    steps = (replace(good, outcome=True), replace(bad, outcome=False))
    page = replace(result, before=True, after=False, steps=steps)._repr_html_()
    assert ">good</span>" in page
    assert ">bad</span>" in page
    harmless = replace(NARROWING.groups[0], is_harmful=False)
    narrowing = replace(NARROWING, groups=(harmless,), culprits=(replace(CULPRIT, keys=(1,)),))
    assert "harms" not in replace(result, narrowing=narrowing)._repr_html_()


def test_outcomes_in_words() -> None:
    assert [outcome_text(outcome) for outcome in (True, False, None, 0.25, 1 / 3, -0.0)] == [
        "good", "bad", "skipped", "0.25", "0.333333", "0",
    ]  # fmt: skip
