"""The environments of the peers: ``python -m benchmarks.trust.environments [NAME ...]``.

Each peer runs in an environment of its own below ``benchmarks/.environments``; one that the
benchmarks of the loaders have made serves as well. Hangar's is made by
``benchmarks/hangar_environment.sh``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
FOLDER = BENCHMARKS / ".environments"


@dataclass(frozen=True, slots=True)
class Environment:
    """What one peer is installed with.

    Attributes
    ----------
    requirements : tuple of str
        As pip takes them.
    module : str
        Imports when the environment is whole.
    oldest_python : tuple of int
        The first minor version of Python that it runs with.
    """

    requirements: tuple[str, ...]
    module: str
    oldest_python: tuple[int, int] = (3, 11)


ENVIRONMENTS = {
    "deeplake": Environment(("deeplake==4.7.4", "numpy"), "deeplake"),
    "icechunk": Environment(("icechunk==2.3.0",), "icechunk", (3, 12)),
    "lance": Environment(("pylance==14.0.2", "numpy"), "lance"),
    "tensorstore": Environment(("tensorstore==0.1.86",), "tensorstore"),
    "zarr": Environment(("zarr==3.1.6",), "zarr"),
}


def python_of(name: str) -> Path | None:
    """Return the Python of an environment, or None where there is none."""
    if name == "hangar":
        found = BENCHMARKS / ".hangar" / "bin" / "python"
        return found if found.exists() else None
    for folder in (FOLDER / f"trust-{name}", FOLDER / name):
        if (folder / "whole").exists():
            return folder / "bin" / "python"
    return None


def how_to_make(name: str) -> str:
    """Return the command that makes an environment."""
    if name == "hangar":
        return "benchmarks/hangar_environment.sh"
    return f"python -m benchmarks.trust.environments {name}"


def make(name: str) -> None:
    """Make one environment anew; a CalledProcessError says that it cannot be had."""
    wanted = ENVIRONMENTS[name]
    folder = FOLDER / f"trust-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([_interpreter(wanted.oldest_python), "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *wanted.requirements], check=True)
    subprocess.run([python, "-c", f"import {wanted.module}"], check=True)
    (folder / "whole").touch()


def _interpreter(oldest: tuple[int, int]) -> str:
    if sys.version_info[:2] >= oldest:
        return sys.executable
    for minor in range(oldest[1], oldest[1] + 4):
        found = shutil.which(f"python3.{minor}")
        # The shim of a version manager need not run.
        if (
            found
            and not subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode
        ):
            return found
    versions = (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python")
    fitting = [
        path for path in versions if tuple(map(int, path.parts[-3].split(".")[:2])) >= oldest
    ]
    return str(min(fitting, default=Path(sys.executable)))


def main() -> int:
    """Make the environments that are named, or those that are missing."""
    parser = argparse.ArgumentParser("python -m benchmarks.trust.environments")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}")
    names = parser.parse_args().names or [name for name in ENVIRONMENTS if not python_of(name)]
    for name in names:
        if name not in ENVIRONMENTS:
            parser.error(f"no environment is named {name!r}")
    failed = 0
    for name in names:
        print(f"making {FOLDER / f'trust-{name}'} ...", file=sys.stderr, flush=True)
        try:
            make(name)
        except subprocess.CalledProcessError as error:
            failed = 1
            print(f"Error: {name} cannot be had: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
