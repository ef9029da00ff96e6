"""Programs measured beside ours that need a process, or an environment, of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.setting import Setting

FOLDER = Path(__file__).resolve().parent
ABSENT = "Hangar is absent: benchmarks/hangar_environment.sh makes its environment"


def find_hangar() -> Path | None:
    """Return the Python of Hangar's environment when it works."""
    python = FOLDER / ".hangar" / "bin" / "python"
    if not python.exists():
        return None
    probe = subprocess.run(
        [python, "-c", "import hangar"], check=False, capture_output=True, timeout=60
    )
    return python if probe.returncode == 0 else None


def hangar_figures(setting: Setting, work: str, count: int) -> Mapping[str, float]:
    """Return the figures of one work of ``hangar_figures.py``; none when Hangar is absent."""
    if setting.hangar_python is None:
        return {}
    return _run_hangar(setting.hangar_python, work, count, setting.folder)


@cache
def _run_hangar(python: Path, work: str, count: int, folder: Path) -> Mapping[str, float]:
    place = folder / f"hangar-{work}-{count}"
    place.mkdir()
    try:
        done = subprocess.run(
            [python, FOLDER / "hangar_figures.py", work, str(count), place],
            check=True,
            capture_output=True,
            text=True,
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
