"""Environments of peers: what is there, what failed, and how PyTorch is shared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.loaders import environments
from benchmarks.loaders.environments import ENVIRONMENTS, Environment, EnvironmentFailedError
from benchmarks.loaders.peers import PEERS


def test_every_peer_with_an_environment_has_one_that_tries_its_module() -> None:
    wanted = {peer.environment: peer.module for peer in PEERS if peer.environment is not None}
    assert wanted == {name: environment.peer for name, environment in ENVIRONMENTS.items()}
    folder = Path(environments.__file__).parent / "peers"
    assert all((folder / f"{peer.module}.py").is_file() for peer in PEERS)


def test_an_absent_environment_says_how_it_is_made_or_why_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    assert environments.why_absent("zarr") == (
        "not installed: python -m benchmarks.loaders.environments zarr"
    )
    log = tmp_path / "zarr.install.log"
    log.write_text("Collecting zarr\nERROR: no matching distribution\nall done\n")
    assert environments.why_absent("zarr") == (
        "does not install here: ERROR: no matching distribution"
    )
    (tmp_path / "ffcv.install.log").write_text("error: no opencv4")
    assert "error: no opencv4; it compiles: apt-get install" in str(environments.why_absent("ffcv"))
    assert environments.missing(["zarr", "ffcv"]) == ["zarr", "ffcv"]
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr" / "whole").touch()
    assert environments.why_absent("zarr") is None
    assert environments.missing(["zarr", "ffcv"]) == ["ffcv"]


def test_what_cannot_be_made_is_told_and_the_others_are_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    def make(name: str) -> None:
        if name == "ffcv":
            raise EnvironmentFailedError("no compiler")
        made.append(name)

    monkeypatch.setattr(environments, "make", make)
    assert not environments.make_each(["ffcv", "zarr"])
    assert made == ["zarr"]
    assert "ffcv cannot be had: no compiler" in capsys.readouterr().err
    assert environments.make_each([])


def test_a_newer_python_than_a_peer_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Environment(("nothing",), "memmap", newest_python=(3, 1))
    monkeypatch.setitem(ENVIRONMENTS, "old", old)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EnvironmentFailedError, match=r"needs python3\.1, which is not on PATH"):
        environments.make("old")


def test_an_environment_imports_what_is_shared_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    environments._share("torch", folder)
    python = folder / "bin" / "python"
    code = "import torch, sympy; print(torch.__version__)"
    done = subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True)
    import torch

    assert done.stdout.strip() == torch.__version__
    missing = subprocess.run(
        [python, "-I", "-c", "import hypothesis"], check=False, capture_output=True
    )
    assert missing.returncode == 1  # nothing else of this environment is
