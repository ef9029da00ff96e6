"""The command as a user runs it: through its entry point, with a clock and an author of our own."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorvcs as tv

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

ROOT = Path(__file__).resolve().parents[2]
TIME = "2026-01-02T03:04:05+01:00"
DATE = "Fri Jan 2 03:04:05 2026 +0100"


@dataclass(frozen=True)
class Result:
    """What one command printed, and its exit code."""

    stdout: str
    stderr: str
    code: int

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


class Shell:
    """A current folder, an environment, and the commands run in them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = monkeypatch
        self.go(folder)
        for name in ("NO_COLOR", "TENSORVCS_USER_NAME", "TENSORVCS_USER_EMAIL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent / "settings"))
        monkeypatch.setenv("LESS", "FRX")
        self.at(TIME)

    def go(self, folder: Path) -> None:
        """Change the current folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._patch.chdir(folder)

    def at(self, time: str) -> None:
        """Set the time of the commits that follow."""
        self._patch.setenv("TENSORVCS_COMMIT_TIME", time)

    def set_variable(self, name: str, value: str) -> None:
        self._patch.setenv(name, value)

    def run(self, *arguments: str) -> Result:
        """Call the function that the console script calls."""
        out, err = io.StringIO(), io.StringIO()
        self._patch.setattr(sys, "argv", ["tvcs", *arguments])
        code: object = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                entry_point()()
            except SystemExit as stop:
                code = stop.code
        assert isinstance(code, int)
        return Result(out.getvalue(), err.getvalue(), code)

    def ok(self, *arguments: str) -> str:
        """Run a command that must succeed without a word on standard error; return its output."""
        result = self.run(*arguments)
        assert (result.code, result.stderr) == (0, ""), result
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def fails(self, *arguments: str, code: int = 1) -> str:
        """Run a command that must fail without a word on standard output; return its errors."""
        result = self.run(*arguments)
        assert (result.code, result.stdout) == (code, ""), result
        return result.stderr

    def repository(self) -> tv.Repository:
        return tv.open(self.folder)

    def short(self, revision: str = "HEAD") -> str:
        """Return the short id of a commit."""
        with self.repository() as repo:
            return repo.resolve(revision).short_id

    def id(self, revision: str = "HEAD") -> str:
        with self.repository() as repo:
            return repo.resolve(revision).id

    def stage(self, labels: Mapping[str | int, int | None], column: str = "labels") -> None:
        """Stage labels, or delete those that are None."""
        with self.repository() as repo, repo.edit() as staging:
            if column not in staging:
                staging.add_ndarray_column(column, (), "int64")
            for key, label in labels.items():
                if label is None:
                    del staging[column][key]
                else:
                    staging[column, key] = label

    def commit(self, labels: Mapping[str | int, int | None], message: str) -> str:
        """Stage and commit labels; return the short id."""
        self.stage(labels)
        self.ok("commit", "-m", message)
        return self.short()


def entry_point() -> Any:
    """Return the function behind the console script ``tvcs``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, function = project["project"]["scripts"]["tvcs"].partition(":")
    top, _, rest = module.partition(".")
    folder = project["tool"]["setuptools"]["package-dir"][top]
    return getattr(importlib.import_module(f"{folder}.{rest}"), function)


def run_process(*arguments: str, code: str | None = None, **options: Any) -> Any:
    """Run ``python -m cli``, or a piece of Python, in a process of its own."""
    what = ["-c", code] if code is not None else ["-m", "cli"]
    return subprocess.run(
        [sys.executable, *what, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
        **options,
    )
