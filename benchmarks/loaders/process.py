"""One measurement of one peer, in a process of the peer's environment.

    python -m benchmarks.loaders.process ingest PEER DATA FOLDER
    python -m benchmarks.loaders.process load PEER DATA FOLDER WORKERS SECONDS [--shuffle]

DATA is a folder made by `data.save`; FOLDER is where the peer keeps its own. What is measured is
printed as one JSON object; what libraries print goes to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from benchmarks.loaders.data import fingerprints, load, load_fingerprints
from benchmarks.loaders.measured import Failed, Ingested, Loaded, to_json
from benchmarks.loaders.memory import TreeMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from benchmarks.loaders.data import Images

LEAST_EPOCHS = 2
MOST_EPOCHS = 20
_LOOK_EACH = 8


class Peer(Protocol):
    """What each module of ``peers`` is."""

    def version(self) -> str:
        """Return the libraries that decide its speed, with their versions."""
        ...

    def ingest(self, data: Images, folder: Path) -> None:
        """Write the data below an empty folder."""
        ...

    def open_loader(
        self, folder: Path, *, shuffle: bool, workers: int
    ) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        """Return what gives, each time it is iterated, an epoch of batches.

        A batch is images ``(n, height, width, 3)`` uint8 and labels ``(n,)`` of any integer.
        """
        ...


class WrongEpochError(Exception):
    """An epoch did not hold each sample once."""


def ingest(peer: Peer, data: Path, folder: Path) -> Ingested:
    """Write the data and measure it."""
    images = load(data)
    folder.mkdir(parents=True)
    start = time.perf_counter()
    peer.ingest(images, folder)
    _sync(folder)
    seconds = time.perf_counter() - start
    disk = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    return Ingested(seconds, disk, peer.version())


def _sync(folder: Path) -> None:
    """Make durable what is not yet; costs next to nothing where it is."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def measure_loading(
    peer: Peer, data: Path, folder: Path, *, shuffle: bool, workers: int, seconds: float
) -> Loaded:
    """Read one epoch and check it, then whole epochs for some seconds, and keep the best."""
    expected = load_fingerprints(data)
    memory = TreeMemory()
    start = time.perf_counter()
    loader = peer.open_loader(folder, shuffle=shuffle, workers=workers)
    found = []
    first_batch_seconds = 0.0
    for number, (images, labels) in enumerate(loader):
        if not number:
            first_batch_seconds = time.perf_counter() - start
        if images.dtype != torch.uint8:
            raise WrongEpochError(f"a batch had images of {images.dtype}, not torch.uint8")
        if number % _LOOK_EACH == 0:
            memory.look()
        found.append(fingerprints(images.numpy(), labels.numpy()))
    memory.look()
    mixing = check(found, expected)
    times: list[float] = []
    while len(times) < LEAST_EPOCHS or (len(times) < MOST_EPOCHS and sum(times) < seconds):
        start = time.perf_counter()
        seen = 0
        for images, labels in loader:
            assert len(images) == len(labels)
            seen += len(images)
        times.append(time.perf_counter() - start)
        memory.look()
        if seen != len(expected):
            raise WrongEpochError(f"a later epoch had {seen} samples of {len(expected)}")
    return Loaded(
        len(expected) / min(times),
        len(times),
        first_batch_seconds,
        mixing,
        memory.peak_nbytes,
        memory.unmapped_nbytes,
    )


def check(batches: Sequence[NDArray[np.uint64]], expected: NDArray[np.uint64]) -> float:
    """Check that an epoch holds each sample once, and return how well it is mixed.

    Parameters
    ----------
    batches : sequence of ndarray, shape (batch,), uint64
        Fingerprints of an epoch.
    expected : ndarray, shape (n,), uint64
        Fingerprints of the data, in its order.

    Returns
    -------
    float
        The mean distance in the data of two samples of one batch, divided by that of a full
        shuffle, a third of the data. The order inside of a batch does not count.

    Raises
    ------
    WrongEpochError
        Samples are missing, changed, or came more than once.
    """
    found = np.concatenate(batches)
    in_order = np.argsort(expected, kind="stable")
    if len(found) != len(expected) or not np.array_equal(np.sort(found), expected[in_order]):
        wrong = int(np.count_nonzero(~np.isin(found, expected)))
        missing = int(np.count_nonzero(~np.isin(expected, found)))
        raise WrongEpochError(
            f"an epoch had {len(found)} samples of {len(expected)}: {missing} are missing, "
            f"{wrong} are none of them"
        )
    rng = np.random.default_rng(0)
    distances = [
        np.abs(np.diff(rng.permutation(in_order[np.searchsorted(expected[in_order], batch)])))
        for batch in batches
    ]
    apart = np.concatenate(distances)
    return float(apart.mean() / (len(expected) / 3)) if len(apart) else 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says and print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["ingest", "load"])
    parser.add_argument("peer")
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("workers", type=int, nargs="?", default=0)
    parser.add_argument("seconds", type=float, nargs="?", default=0.0)
    parser.add_argument("--shuffle", action="store_true")
    options = parser.parse_args(arguments)
    # Libraries print what they like; the object goes where only it goes.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    measured: Ingested | Loaded | Failed
    try:
        peer: Any = importlib.import_module(f"benchmarks.loaders.peers.{options.peer}")
        if options.work == "ingest":
            measured = ingest(peer, options.data, options.folder)
        else:
            measured = measure_loading(
                peer,
                options.data,
                options.folder,
                shuffle=options.shuffle,
                workers=options.workers,
                seconds=options.seconds,
            )
    except WrongEpochError as error:
        measured = Failed(str(error))
    json.dump(to_json(measured), told)
    told.flush()
    # Threads and processes that a library left behind do not hold the measurement up.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
