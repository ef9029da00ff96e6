"""The benchmarks run, at their smallest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import tensorvcs as tv
from benchmarks.measuring import best_of, counted_objects, disk_folder, is_in_memory
from benchmarks.row import Row
from benchmarks.run import SUBJECTS, main
from benchmarks.setting import Setting, random_batches
from benchmarks.vectors import change_one, vector_repository

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_quick_run_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "figures.json"
    arguments = ["--quick", "--only", "opening", "--folder", str(tmp_path), "--json", str(target)]
    assert main(arguments) == 0
    assert "open the repository and a checkout of 1,000" in capsys.readouterr().out
    rows = json.loads(target.read_text())["rows"]
    assert {row["unit"] for row in rows} == {"s"}
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_a_name_that_is_no_subject_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nothing"]) == 2
    assert "reading-32px" in capsys.readouterr().err


def test_strict_fails_on_a_missed_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.row import Bar

    missed = Row("read", "s", 2.0, bar=Bar("at most", 1.0, "figure"))
    monkeypatch.setitem(SUBJECTS, "missed", lambda setting: iter([missed]))
    arguments = ["--quick", "--only", "missed", "--folder", str(tmp_path)]
    assert main(arguments) == 0
    assert main([*arguments, "--strict"]) == 1


def test_works_take_turns() -> None:
    turns: list[str] = []
    times = best_of(2, lambda: turns.append("ours"), lambda: turns.append("baseline"))
    assert turns == ["ours", "baseline", "ours", "baseline"]
    assert len(times) == 2


def test_the_bytes_of_new_objects_are_counted(tmp_path: Path) -> None:
    with tv.open(vector_repository(Setting(tmp_path), 50)) as repository:
        with counted_objects() as objects:
            change_one(repository, 7, 1)
        assert objects.count > 0
        assert objects.nbytes == sum(objects.sizes)
        with counted_objects() as nothing:
            repository.checkout()
        assert nothing.count == 0


def test_the_work_folder_is_on_a_disk_and_goes_away(tmp_path: Path) -> None:
    with disk_folder(tmp_path) as folder:
        assert folder.is_relative_to(tmp_path)
        (folder / "file").write_text("x")
    assert not folder.exists()
    with disk_folder(None) as folder:
        assert not is_in_memory(folder)


def test_random_batches_are_whole_and_visit_each_sample_once() -> None:
    batches = random_batches(100, 30)
    assert [len(batch) for batch in batches] == [30, 30, 30]
    assert len({int(at) for batch in batches for at in batch}) == 90
