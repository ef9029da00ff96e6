"""What the README shows runs, and what it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language; of none for an empty name."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [code for found, code in fenced if found == language]


def test_python_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    code = "\n".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + "\nprint(batch.shape, images.shape)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "<Diff: labels +0 -0 ~1>",
        "(32, 8, 8) torch.Size([4, 8, 8])",
    ]


def test_shell_commands_exist() -> None:
    known = {name for section in COMMANDS.values() for name in section}
    named = set(re.findall(r"^tvcs ([a-z-]+)", "\n".join(blocks("")), re.MULTILINE))
    assert named
    assert named <= known


def test_named_files_exist() -> None:
    for path in re.findall(r"`((?:tensorvcs|notebooks|benchmarks|cli|demo)/[\w./-]*)`", README):
        assert (ROOT / path).exists(), path


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 150
