"""The command line: ``python -m benchmarks.loaders``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.loaders import data as given
from benchmarks.loaders import row as rows_of
from benchmarks.loaders.data import DataSpec
from benchmarks.loaders.environments import make_each, missing, python_of, why_absent
from benchmarks.loaders.measured import Failed, Ingested, Loaded, from_json
from benchmarks.loaders.peers import PEERS, PeerSpec
from benchmarks.loaders.row import PeerRow, Try
from benchmarks.measuring import ROOT, disk_folder
from benchmarks.row import spell
from benchmarks.run import describe_machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SMALL = DataSpec("32px", 50_000, 32)
LARGE = DataSpec("224px", 4_000, 224)
QUICK = (DataSpec("32px", 2_000, 32), DataSpec("224px", 300, 224))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the peers that are wanted, print a table for each data set; return the exit code."""
    options = _parser().parse_args(arguments)
    peers = [
        peer
        for peer in PEERS
        if not options.only
        or any(
            fnmatch.fnmatch(name, pattern)
            for pattern in options.only
            for name in (peer.module, peer.environment or "")
        )
    ]
    if not peers:
        print(f"Error: no loader matches {' '.join(options.only)}", file=sys.stderr)
        print(f"Hint: there are {', '.join(peer.module for peer in PEERS)}", file=sys.stderr)
        return 2
    if options.make:
        names = {peer.environment for peer in peers if peer.environment is not None}
        make_each(missing(sorted(names)))
    start = time.perf_counter()
    rows: list[PeerRow] = []
    with disk_folder(options.folder) as folder:
        for wanted in QUICK if options.quick else (SMALL, LARGE):
            if options.data and wanted.name not in options.data:
                continue
            made = folder / f"data-{wanted.name}"
            spec = _prepare(wanted, options.images, made)
            for peer in peers:
                seconds = 0.2 if options.quick else options.seconds
                rows.append(_measure(peer, spec, made, folder, seconds, options.rounds))
                if options.json is not None:  # what there is, should the run be stopped
                    _write(options.json, describe_machine(), rows)
                print(_told(rows[-1]), file=sys.stderr, flush=True)
            shutil.rmtree(made)
    heading = f"{describe_machine()}; {time.perf_counter() - start:.0f} s in all"
    print(heading)
    for spec in dict.fromkeys(row.data for row in rows):
        shown = [row for row in rows if row.data == spec]
        print(f"\n{spec.title}\n")
        print((rows_of.markdown if options.markdown else rows_of.text)(shown))
    print("\n" + ", ".join(_versions(rows)))
    if options.json is not None:
        _write(options.json, heading, rows)
    if options.plot is not None:
        rows_of.draw(rows, options.plot)
    return 0


def _prepare(wanted: DataSpec, source: Path | None, made: Path) -> DataSpec:
    """Write the data that all peers are given; return what it is, which may be less than wanted."""
    if source is None or wanted.pixels != SMALL.pixels:
        given.save(given.made_up(wanted), made)
        return wanted
    images = given.real(wanted, source)
    given.save(images, made)
    return dataclasses.replace(wanted, count=len(images), is_real=True)


def _write(file: Path, heading: str, rows: Sequence[PeerRow]) -> None:
    found = {"machine": heading, "rows": [row.to_json() for row in rows]}
    file.write_text(json.dumps(found, indent=1) + "\n")


def _measure(
    peer: PeerSpec, spec: DataSpec, made: Path, folder: Path, seconds: float, rounds: int
) -> PeerRow:
    """Measure one peer on one data set: it ingests once and is read in each way."""
    absent = None if peer.environment is None else why_absent(peer.environment)
    if absent is not None:
        return PeerRow(peer, spec, Failed(absent))
    place = folder / f"{peer.module}-{spec.name}"
    try:
        ingested = _run(peer, ["ingest", peer.module, str(made), str(place)], folder)
        assert not isinstance(ingested, Loaded)
        if isinstance(ingested, Failed):
            return PeerRow(peer, spec, ingested)
        return PeerRow(
            peer, spec, ingested, list(_tries(peer, made, place, seconds, rounds, folder))
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _tries(
    peer: PeerSpec, made: Path, place: Path, seconds: float, rounds: int, folder: Path
) -> Iterator[Try]:
    for _ in range(rounds):
        for is_shuffled in (False, True):
            for workers in peer.workers:
                command = ["load", peer.module, str(made), str(place), str(workers), str(seconds)]
                loaded = _run(peer, [*command, *["--shuffle"] * is_shuffled], folder)
                assert not isinstance(loaded, Ingested)
                yield Try(is_shuffled, workers, loaded)


def _run(peer: PeerSpec, arguments: list[str], folder: Path) -> Ingested | Loaded | Failed:
    """Run one measurement in a process of the peer's environment, and end all that it started."""
    python = sys.executable if peer.environment is None else str(python_of(peer.environment))
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            [python, "-m", "benchmarks.loaders.process", *arguments],
            cwd=ROOT,
            env=_surroundings(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=told,
            start_new_session=True,
        )
        try:
            process.wait(LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            return Failed(f"not done after {LONGEST_SECONDS} seconds")
        finally:
            # Workers may outlive it, and would disturb the next; the session is its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        out.seek(0)
        printed = out.read()
        if process.returncode or not printed:
            told.seek(0)
            return Failed(_last_line(told.read()) or f"ended with {process.returncode}")
        return from_json(json.loads(printed))


LONGEST_SECONDS = 600


def _surroundings(folder: Path) -> dict[str, str]:
    """Return the environment variables of a peer: nothing is asked of the network or of home."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {
        "TMPDIR": str(scratch),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(scratch / "hf"),
        "DATA_OPTIMIZER_CACHE_FOLDER": str(scratch / "litdata"),
        "DATA_OPTIMIZER_DATA_CACHE_FOLDER": str(scratch / "litdata-data"),
        "LITDATA_DISABLE_VERSION_CHECK": "1",
        "LANCE_LOG": "error",
        "TQDM_DISABLE": "1",
    }


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:200].replace("|", "/") if lines else ""


def _told(row: PeerRow) -> str:
    """Return a row in one line, for who waits."""
    name = f"{row.data.name:6} {row.peer.module:16}"
    if isinstance(row.ingested, Failed):
        return f"{name} {row.ingested.reason}"
    found = [row.best(is_shuffled=is_shuffled) for is_shuffled in (False, True)]
    rates = [spell(one and one[0].samples_per_second, "samples/s") for one in found]
    wrong = [one.measured.reason for one in row.tries if isinstance(one.measured, Failed)]
    ingest = spell(row.ingested.seconds, "s")
    told = f"{name} ingest {ingest:9} in order {rates[0]:10} shuffled {rates[1]:10}"
    return "\n    ".join([told, *dict.fromkeys(wrong)])


def _versions(rows: Sequence[PeerRow]) -> list[str]:
    found = (row.ingested.version for row in rows if isinstance(row.ingested, Ingested))
    return list(dict.fromkeys(found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.loaders", description=__doc__)
    names = ", ".join(peer.module for peer in PEERS)
    parser.add_argument("--quick", action="store_true", help="little data, to see that all runs")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help=f"of {names}")
    parser.add_argument(
        "--data", nargs="+", choices=["32px", "224px"], default=[], help="both unless given"
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="PATH",
        help="JPEG files for the small images: a folder or a tar file, one folder a class",
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to work, on a real disk")
    parser.add_argument(
        "--make", action="store_true", help="first make the environments that are missing"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, metavar="S", help="of whole epochs, a measurement"
    )
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="of measurements")
    parser.add_argument("--markdown", action="store_true", help="the tables as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them there, by matplotlib")
    return parser
