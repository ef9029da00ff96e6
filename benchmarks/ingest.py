"""Ingest in bulk: hash, de-duplicate, write and sync; and what it takes on disk and in memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from benchmarks.measuring import ROOT, allocated_nbytes, seconds_of
from benchmarks.peers import ABSENT, hangar_figures
from benchmarks.row import Bar, Row
from benchmarks.setting import new_repository, random_images
from tensorvcs.objects.schema import Schema
from tensorvcs.objects.tensor import digest_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.setting import Setting


def _ours(path: Path, images: NDArray[np.uint8]) -> float:
    """Return the seconds from an empty repository to a durable commit."""
    with new_repository(path) as repository:

        def fill() -> None:
            with repository.edit() as checkout:
                column = checkout.add_ndarray_column(
                    "images", shape=images.shape[1:], dtype="uint8"
                )
                column.extend(images)
                checkout.commit("images")

        return seconds_of(fill)


def _h5py(path: Path, images: NDArray[np.uint8]) -> None:
    """Write the array as one data set, synced."""
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images)
    with path.open("rb") as written:
        os.fsync(written.fileno())


def _ingest_rows(setting: Setting, pixels: int, count: int) -> Iterator[Row]:
    images = random_images(count, pixels)
    schema = Schema("ndarray", dtype="uint8", shape=images.shape[1:])
    name = f"bulk ingest of {count:,} × {pixels}×{pixels}×3 uint8, to a durable commit"
    ours, hashes, plain = [], [], []
    for at in range(setting.size(4, 2)):
        path = setting.folder / f"ingest-{pixels}-{at}"
        ours.append(_ours(path, images))
        if at == 0:
            taken = {
                "packs": allocated_nbytes(
                    [p for p in (path / ".tensorvcs").rglob("*") if p.suffix in (".h5", ".hdf5")]
                ),
                "all": allocated_nbytes([path / ".tensorvcs"]),
            }
        shutil.rmtree(path)
        plain.append(seconds_of(partial(_h5py, setting.folder / "plain.h5", images)))
        hashes.append(seconds_of(partial(digest_rows, schema, images)))
        (setting.folder / "plain.h5").unlink()
    seconds, hash_seconds = min(ours), min(hashes)
    yield Row(
        name,
        "samples/s",
        count / max(seconds - hash_seconds, 1e-9),
        "h5py and fsync",
        count / min(plain),
        Bar("at least", 0.7),
        f"the {hash_seconds / seconds:.0%} of the time that hashing alone takes set aside",
    )
    yield Row(name, "samples/s", count / seconds, "h5py and fsync", count / min(plain))
    if pixels == 32:
        figures = hangar_figures(setting, "ingest", setting.size(20_000, 5_000))
        hangar = figures.get("ingest_samples_per_second")
        note = "" if figures else ABSENT
        bar = Bar("at least", 15)
        yield Row(name, "samples/s", count / seconds, "Hangar", hangar, bar, note)
        yield Row(
            "packs on disk, incompressible rows",
            "bytes",
            taken["packs"],
            "raw bytes",
            images.nbytes,
            Bar("at most", 1.02),
        )
        yield Row(
            f"all else on disk, a sample of {count:,}",
            "bytes",
            (taken["all"] - taken["packs"]) / count,
            bar=Bar("at most", 160, "figure"),
        )


def ingest_32px(setting: Setting) -> Iterator[Row]:
    yield from _ingest_rows(setting, 32, setting.size(60_000, 20_000))


def ingest_224px(setting: Setting) -> Iterator[Row]:
    yield from _ingest_rows(setting, 224, setting.size(4_000, 512))


# A block is changed a little before each use, so that no row comes twice. VmHWM starts anew with a
# program; ru_maxrss starts with the peak of the process that it was forked from.
_CHILD = """
import json, sys
import numpy as np
import tensorvcs as tv

def peak_nbytes():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

path, pixels, count, part, has_keys = sys.argv[1], *map(int, sys.argv[2:])
before = peak_nbytes()
block = np.random.default_rng(0).integers(0, 256, (part, pixels, pixels, 3), dtype=np.uint8)
flat = block.reshape(part, -1)
with tv.init(path, user_name="Ada", user_email="ada@example.org") as repo, repo.edit() as co:
    column = co.add_ndarray_column("images", shape=block.shape[1:], dtype="uint8")
    for first in range(0, count, part):
        flat[:, :8].view(np.int64)[:, 0] = np.arange(first, first + part)
        column.extend(block, keys=range(first, first + part) if has_keys else None)
    co.commit("images")
print(json.dumps({"before": before, "peak": peak_nbytes()}))
"""


def memory(setting: Setting) -> Iterator[Row]:
    """The peak of a process that imports far more than the bar, block by block; on Linux."""
    if not Path("/proc/self/status").exists():
        return
    for pixels, count, has_keys in (
        (32, setting.size(1_000_000, 60_000), True),
        (32, setting.size(300_000, 60_000), False),
        (224, setting.size(16_000, 1_024), True),
    ):
        path = setting.folder / f"memory-{pixels}"
        part = max(1, (8 << 20) // (pixels * pixels * 3))
        count -= count % part
        numbers = [str(number) for number in (pixels, count, part, int(has_keys))]
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, path, *numbers],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        figures: dict[str, float] = json.loads(done.stdout)
        shutil.rmtree(path)
        keys = "given keys" if has_keys else "keys counted on"
        yield Row(
            f"peak memory of a process that imports {count:,} × {pixels}×{pixels}×3, {keys}",
            "bytes",
            figures["peak"],
            "the data",
            count * pixels * pixels * 3,
            Bar("at most", 500e6, "figure"),
            f"{figures['before'] / 1e6:.0f} MB of it before the first row",
        )
