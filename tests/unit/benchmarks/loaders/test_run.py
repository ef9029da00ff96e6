"""The loaders run, at their smallest, each measurement in a process of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.loaders import environments, run
from benchmarks.loaders.data import DataSpec
from benchmarks.loaders.peers import PeerSpec
from benchmarks.loaders.run import main

if TYPE_CHECKING:
    from pathlib import Path


def test_one_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "QUICK", (DataSpec("32px", 600, 8),))
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "no-environments")
    target = tmp_path / "figures.json"
    arguments = ["--quick", "--only", "tensor_loader", "zarr", "--folder", str(tmp_path)]
    assert main([*arguments, "--json", str(target), "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "600 × 8×8×3 uint8 and a label, incompressible" in out
    assert "| Zarr: not installed: python -m benchmarks.loaders.environments zarr |" in out
    ours, zarr = json.loads(target.read_text())["rows"]
    assert ours["failure"] == ""
    assert {one["measured"]["kind"] for one in ours["tries"]} == {"Loaded"}
    assert [one["is_shuffled"] for one in ours["tries"]] == [False, True]
    assert zarr["tries"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_a_peer_that_breaks_is_a_row_that_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = PeerSpec("no_such_module", "Broken")
    monkeypatch.setattr(run, "PEERS", (broken,))
    monkeypatch.setattr(run, "QUICK", (DataSpec("32px", 20, 8),))
    assert main(["--quick", "--folder", str(tmp_path)]) == 0
    assert "Broken: ModuleNotFoundError: No module named" in capsys.readouterr().out


def test_a_name_that_is_no_loader_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nothing"]) == 2
    assert "tensor_loader" in capsys.readouterr().err


def test_real_images_take_the_place_of_the_small_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pytest.importorskip("PIL.Image")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    for number in range(5):
        images.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"train/cat/{number}.jpg")
    monkeypatch.setattr(run, "PEERS", (PeerSpec("memmap", "memmap", workers=(0,)),))
    arguments = ["--quick", "--data", "32px", "--folder", str(tmp_path / "work")]
    assert main([*arguments, "--images", str(tmp_path / "train")]) == 0
    assert "5 × 32×32×3 uint8 and a label, real" in capsys.readouterr().out
