"""After any harm to any file every read is right, or an error of ours; `verify` finds it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.trust import harm
from benchmarks.trust.experiments import EXPERIMENTS
from benchmarks.trust.probe import look_apart
from benchmarks.trust.run import main
from benchmarks.trust.tally import Reading, Tally, markdown_table

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.trust.experiments import Trial


def check(trial: Trial, name: str) -> list[Tally]:
    tallies = list(EXPERIMENTS[name](trial))
    for tally in tallies:
        assert tally.runs, tally.experiment
        # LMDB has no checksums, and may end the process on a page of its own that is damaged.
        excused = tally.crashes if "LMDB" in tally.experiment else 0
        assert tally.faults == excused, (tally.cells(), tally.examples)
    return tallies


@pytest.mark.parametrize("name", [n for n in EXPERIMENTS if n != "truncations"])
def test_a_few_runs_of_each(trial: Trial, name: str) -> None:
    tallies = check(trial, name)
    if name in ("pack-bit-flips", "swapped-packs"):
        assert all(tally.told == tally.runs for tally in tallies), "no byte of a pack is idle"
    for tally in tallies:
        if tally.experiment.endswith(("format file", "settings")):
            assert tally.told == tally.runs, "no byte of these files is idle"


def test_files_that_were_cut(trial: Trial) -> None:
    for tally in EXPERIMENTS["truncations"](trial):
        assert not tally.faults, tally.examples
        assert tally.told == tally.runs or "LMDB" in tally.experiment


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in EXPERIMENTS if n != "truncations"])
def test_many_runs_of_each(trial: Trial, name: str) -> None:
    check(replace(trial, run_count=150, seed=1), name)


def test_nothing_is_wrong_without_harm(trial: Trial) -> None:
    reading = trial.harmed(lambda copy: None)
    assert reading.right > 3000
    assert reading == Reading(right=reading.right, is_sound=True, is_opened=True)


def test_the_probe_sees_what_it_must_see(trial: Trial, tmp_path: Path) -> None:
    def crash(path: Path) -> Reading:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGBUS)
        return Reading()

    assert look_apart(tmp_path, crash).foreign == ["SIGBUS"]

    def change_truth(copy: Path) -> None:
        file = copy / "truth.json"
        file.write_text(
            file.read_text().replace('"3": "', '"3": "0', 1).replace('"7"', '"7000"', 1)
        )

    reading = trial.harmed(change_truth)
    assert reading.wrong > 0
    assert reading.missing == 1


def test_a_tally_counts_what_counts_against_the_store() -> None:
    tally = Tally("harm")
    tally.add("sound", Reading(right=5, is_sound=True, is_opened=True))
    tally.add(
        "told", Reading(right=4, errors={"SlabChecksumError": 1}, is_sound=False, is_opened=True)
    )
    assert (tally.runs, tally.faults, tally.told, tally.harmless) == (2, 0, 1, 1)
    tally.add("lost", Reading(right=4, missing=1, is_sound=True, is_opened=True))
    tally.add("wrong", Reading(right=4, wrong=1, is_sound=False, is_opened=True))
    tally.add("crashed", Reading(right=4, foreign=["SIGBUS"], is_opened=True))
    tally.add("closed", Reading(errors={"ObjectDamagedError": 1}))
    tally.add("closed", Reading(errors={"ObjectDamagedError": 1}), may_be_unreadable=True)
    found = (tally.losses, tally.wrong, tally.crashes, tally.unreadable, tally.unnoticed)
    assert found == (1, 1, 1, 1, 1)
    assert len(tally.examples) == 4
    assert markdown_table([tally]).splitlines()[2].startswith("| harm | 7 | 1 | 1 | 1 | 1 | 1 |")


def test_the_command_line_prints_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "counts.json"
    arguments = ["--runs", "1", "--only", "swapped*", "--folder", str(tmp_path)]
    assert main([*arguments, "--json", str(target)]) == 0
    printed = capsys.readouterr().out
    assert "swapped packs" in printed
    assert "0 of 6 runs count against the store" in printed
    assert target.exists()
    assert main(["--only", "nothing"]) == 2


def test_harm_is_done_where_it_is_asked_for(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_bytes(bytes(range(10)))
    harm.flip_bit(file, 3, 2)
    assert file.read_bytes() == bytes([0, 1, 2, 7, 4, 5, 6, 7, 8, 9])
    harm.zero_block(file, 8)
    assert file.read_bytes() == bytes([0, 1, 2, 7, 4, 5, 6, 7, 0, 0])
    harm.truncate(file, 2)
    other.write_bytes(b"b")
    harm.swap(file, other)
    assert (file.read_bytes(), other.read_bytes()) == (b"b", b"\0\1")
