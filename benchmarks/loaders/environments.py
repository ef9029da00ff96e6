"""The environments that peers run in: ``python -m benchmarks.loaders.environments [NAME ...]``.

Peers need libraries that exclude each other and that nobody needs for TensorVCS. So each has an
environment of its own below ``benchmarks/.environments``, with pinned requirements. PyTorch is
large: environments of the same Python share it, and what it needs, with this process.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / ".environments"
_LOG = "install.log"


@dataclass(frozen=True, slots=True)
class Environment:
    """What one peer is installed with.

    Attributes
    ----------
    requirements : tuple of str
        As pip takes them.
    peer : str
        The module of ``peers`` that imports when the environment is whole.
    newest_python : tuple of int
        The last minor version of Python that it runs with.
    note : str
        What a person must install beforehand.
    """

    requirements: tuple[str, ...]
    peer: str
    newest_python: tuple[int, int] = (3, 99)
    note: str = ""


ENVIRONMENTS = {
    "deeplake": Environment(("deeplake==4.7.4",), "deep_lake"),
    "ffcv": Environment(
        ("ffcv==1.0.2", "numba==0.68.1", "pillow"),
        "ffcv_loader",
        note="compiles: apt-get install libopencv-dev libturbojpeg0-dev pkg-config g++",
    ),
    "hangar": Environment(
        (
            "hangar==0.5.2",
            "protobuf<3.21",
            "numpy==1.23.5",
            "click==7.1.2",
            "lmdb==1.4.1",
            "setuptools<70",
        ),
        "hangar_columns",
        (3, 11),
        note="compiles: apt-get install g++",
    ),
    "huggingface": Environment(("datasets==5.2.0",), "hugging_face"),
    "lance": Environment(("pylance==14.0.2",), "lance_rows"),
    "litdata": Environment(("litdata==0.2.76",), "litdata_chunks"),
    "mosaic": Environment(("mosaicml-streaming==0.13.0",), "mosaic"),
    "webdataset": Environment(("webdataset==1.0.2",), "webdataset_tars"),
    "zarr": Environment(("zarr==3.1.6",), "zarr_arrays"),
}


class EnvironmentFailedError(Exception):
    """An environment could not be made."""


def python_of(name: str) -> Path:
    """Return where the Python of an environment is, or would be."""
    return FOLDER / name / "bin" / "python"


def why_absent(name: str) -> str | None:
    """Return why an environment cannot be used, in a sentence; None when it can."""
    if (FOLDER / name / "whole").exists():
        return None
    log = FOLDER / f"{name}.{_LOG}"
    if log.exists():
        note = ENVIRONMENTS[name].note
        return f"does not install here: {_last_error(log.read_text())}" + (note and f"; it {note}")
    return f"not installed: python -m benchmarks.loaders.environments {name}"


def make(name: str) -> None:
    """Make one environment anew.

    Raises
    ------
    EnvironmentFailedError
        With the line that tells why; the whole output is in ``NAME.install.log`` beside it.
    """
    wanted = ENVIRONMENTS[name]
    interpreter = _interpreter(wanted.newest_python)
    folder, log = FOLDER / name, FOLDER / f"{name}.{_LOG}"
    shutil.rmtree(folder, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    _run([interpreter, "-m", "venv", str(folder)], wanted, log)
    pip = [str(python_of(name)), "-m", "pip", "install", "--disable-pip-version-check"]
    if interpreter == sys.executable:
        # The local part of the version as well: else pip may fetch the build with CUDA.
        constraint = f"torch=={importlib.metadata.version('torch')}"
        _share("torch", folder)
    else:
        constraint = _pinned_torch()
        _run([*pip, constraint], wanted, log)
    constraints = FOLDER / f"{name}.constraints.txt"
    constraints.write_text(constraint + "\n")
    _run([*pip, "--constraint", str(constraints), *wanted.requirements], wanted, log)
    _run(
        [str(python_of(name)), "-c", f"import benchmarks.loaders.peers.{wanted.peer}"], wanted, log
    )
    constraints.unlink()
    log.unlink()
    (folder / "whole").touch()


def _run(command: list[str], wanted: Environment, log: Path) -> None:
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    with log.open("a") as out:
        out.write(f"$ {' '.join(command)}\n{done.stdout}\n")
    if done.returncode:
        note = wanted.note and f"; it {wanted.note}"
        raise EnvironmentFailedError(f"{_last_error(done.stdout)} ({log}{note})")


def _interpreter(newest: tuple[int, int]) -> str:
    if sys.version_info[:2] <= newest:
        return sys.executable
    name = f"python{newest[0]}.{newest[1]}"
    found = shutil.which(name)
    if found is None:
        raise EnvironmentFailedError(f"it needs {name}, which is not on PATH")
    return found


def _share(distribution: str, folder: Path) -> None:
    """Let an environment import a distribution of this one, and what that needs, after its own."""
    links = folder / "shared"
    links.mkdir()
    names, seen = [distribution], set()
    for name in names:
        found = importlib.metadata.distribution(name)
        for file in found.files or ():
            top = file.parts[0]
            if top not in {"..", "__pycache__"} and not (links / top).is_symlink():
                (links / top).symlink_to(Path(str(found.locate_file(top))).resolve())
        for requirement in found.requires or ():
            needed = re.match(r"[\w.-]+", requirement)
            if needed and "extra ==" not in requirement and needed.group() not in seen:
                seen.add(needed.group())
                if importlib.util.find_spec(needed.group().replace("-", "_")) is not None:
                    names.append(needed.group())
    (own,) = folder.glob("lib/python3*/site-packages")
    (own / "shared.pth").write_text(f"{links.resolve()}\n")


def _pinned_torch() -> str:
    """Return the requirement of torch in ``constraints.txt``."""
    found = re.search(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found.group()


def _last_error(output: str) -> str:
    """Return the line of an output that tells most about what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"(error|exception)\b.*\S", line, re.IGNORECASE)]
    return (telling or lines or ["no output"])[-1][:200]


def main() -> int:
    """Make the environments that are named, or those that are missing."""
    parser = argparse.ArgumentParser("python -m benchmarks.loaders.environments")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}")
    names = parser.parse_args().names
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if unknown:
        print(f"Error: no environment is named {unknown[0]!r}", file=sys.stderr)
        print(f"Hint: there are {', '.join(ENVIRONMENTS)}", file=sys.stderr)
        return 2
    return int(not make_each(names or missing(ENVIRONMENTS)))


def missing(names: Iterable[str]) -> list[str]:
    """Return those of some environments that cannot be used."""
    return [name for name in names if why_absent(name) is not None]


def make_each(names: Iterable[str]) -> bool:
    """Make environments anew, and tell what becomes of them; return whether all could be had."""
    failed = False
    for name in names:
        print(f"making {FOLDER / name} ...", file=sys.stderr, flush=True)
        try:
            make(name)
        except EnvironmentFailedError as error:
            failed = True
            print(f"  {name} cannot be had: {error}", file=sys.stderr, flush=True)
    return not failed


if __name__ == "__main__":
    sys.exit(main())
