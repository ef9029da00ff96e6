"""A shell in an empty folder, and one in a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bare_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell in a folder without a repository."""
    return Shell(tmp_path / "data", monkeypatch)


@pytest.fixture
def shell(bare_shell: Shell) -> Shell:
    """A shell in an empty repository of Ada."""
    bare_shell.ok("init", "--user-name", "Ada", "--user-email", "ada@example.org")
    return bare_shell
