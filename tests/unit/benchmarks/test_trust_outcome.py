"""Outcome: which faults a run counts as, and the tables of them."""

from __future__ import annotations

import pytest

from benchmarks.trust.outcome import FAULTS, Outcome, long_table, wide_table
from benchmarks.trust.tally import Reading


def counted(reading: Reading, **words: bool | str | Reading) -> Outcome:
    outcome = Outcome("harm", "A")
    outcome.add("run 0", reading, **words)  # type: ignore[arg-type]
    return outcome


@pytest.mark.parametrize(
    ("reading", "may_err", "faults"),
    [
        (Reading(right=3), False, []),
        (Reading(right=3, missing=1), False, ["losses"]),
        (Reading(right=3, missing=1), True, ["losses"]),
        (Reading(right=3, errors={"ValueError": 1}), False, ["losses"]),
        (Reading(right=3, errors={"ValueError": 1}), True, []),
        (Reading(errors={"ValueError": 1}), True, ["unreadable"]),
        (Reading(errors={"ValueError": 1}), False, ["unreadable"]),
        (Reading(right=3, wrong=1), True, ["wrong"]),
        (Reading(foreign=["SIGSEGV"]), True, ["crashes"]),
        (Reading(), False, []),
    ],
)
def test_what_a_run_counts_as(reading: Reading, *, may_err: bool, faults: list[str]) -> None:
    outcome = counted(reading, may_err=may_err)
    assert [name for name in FAULTS if getattr(outcome, name)] == faults
    assert outcome.told == bool(reading.errors and not faults)
    assert outcome.harmless == (not reading.errors and not faults)
    assert bool(outcome.examples) == bool(faults)


def test_a_run_that_cannot_go_on_is_stuck() -> None:
    assert counted(Reading(right=1), is_stuck=True).cell == "1 stuck"
    assert counted(Reading(right=1), crashed="status -7").cell == "1 crashed"


def test_a_store_may_refuse_only_where_files_were_harmed() -> None:
    refused = Reading(errors={"ValueError": 1})
    assert counted(refused, may_err=True).faults == 0
    assert counted(refused).faults == 1
    assert counted(Reading(right=1, wrong=1), may_err=True).faults == 1


def test_what_the_repair_of_a_system_brings_back_was_not_unreadable() -> None:
    nothing = Reading(errors={"ValueError": 1})
    some = Reading(right=2, errors={"KeyError": 1})
    outcome = counted(nothing, may_err=True, mended=some)
    assert (outcome.unreadable, outcome.mended, outcome.told, outcome.harmless) == (0, 1, 0, 0)
    in_vain = counted(nothing, may_err=True, mended=nothing)
    assert (in_vain.unreadable, in_vain.mended) == (1, 0)
    lie = counted(nothing, may_err=True, mended=Reading(right=2, wrong=1))
    assert (lie.wrong, lie.unreadable, lie.mended) == (1, 0, 0)


def test_the_tables() -> None:
    one = counted(Reading(right=1))
    other = Outcome("harm", "B")
    other.add("run 0", Reading(right=1, missing=2, wrong=1))
    absent = Outcome("harm", "C", absence="not installed")
    assert long_table([one, other, absent]).splitlines()[2:] == [
        "| harm | A | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 1 |",
        "| harm | B | 1 | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 |",
    ]
    assert wide_table([one, other, absent]).splitlines() == [
        "|  | harm (1 runs) |",
        "| --- | --- |",
        "| A | 0 |",
        "| B | 1 lost, 1 wrong |",
    ]
