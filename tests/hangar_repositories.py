"""Repositories that the real Hangar has written, and what it reads back of them."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = Path(__file__).parent / "hangar_stories.py"

needs_hangar = pytest.mark.skipif(
    importlib.util.find_spec("hangar") is None,
    reason="the package hangar is not installed: pip install 'tensorvcs[hangar]'",
)


@dataclass(frozen=True, slots=True)
class Story:
    """A repository of Hangar.

    Attributes
    ----------
    folder : Path
    branches : dict of str to str
        The commit digest of each branch, '' for one without commits.
    commits : dict of str to dict
        By commit digest: ``parents``, ``spec`` and ``columns`` as Hangar reads them.
    """

    folder: Path
    branches: dict[str, str]
    commits: dict[str, dict[str, Any]]


def write_story(name: str, folder: Path) -> Story:
    """Let Hangar write a story of ``hangar_stories.py`` into a folder, or go on with it there."""
    folder.mkdir(parents=True, exist_ok=True)
    oracle = folder / "oracle.pickle"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), name, str(folder), str(oracle)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = pickle.loads(oracle.read_bytes())
    return Story(folder, found["branches"], found["commits"])


def exact(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns as plain dicts whose arrays compare by dtype, shape and every bit."""
    return {name: _exact(columns[name]) for name in columns}


def _exact(value: Any) -> Any:
    if hasattr(value, "items"):
        return {key: _exact(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value
