"""Import of a folder of JPEG files, beside a loop that only decodes them."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measuring import core_count
from benchmarks.row import Bar, Row
from benchmarks.setting import SEED, new_repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import tensorvcs as tv
    from benchmarks.setting import Setting

_CLASS_COUNT = 10


def synthetic_folder(folder: Path, count: int, pixels: int) -> Path:
    """Write JPEG files of smooth colours with noise, ``class/number.jpg``."""
    from PIL import Image

    rng = np.random.default_rng(SEED)
    for label in range(_CLASS_COUNT):
        (folder / f"class-{label}").mkdir(parents=True)
    for number in range(count):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((pixels, pixels), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth) // 2 + rng.integers(0, 64, (pixels, pixels, 3), dtype=np.uint8)
        target = folder / f"class-{number % _CLASS_COUNT}" / f"{number:06}.jpg"
        Image.fromarray(noisy).save(target, quality=90)
    return folder


def _decode(paths: Sequence[Path]) -> None:
    """Decode files in a plain Pillow loop that keeps nothing."""
    from PIL import Image

    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB"))


def _measured(work: Callable[[], None], count: int) -> tuple[float, float]:
    """Return samples a second, and samples a second of processor time, children included."""
    start, before = time.perf_counter(), os.times()
    work()
    seconds, after = time.perf_counter() - start, os.times()
    # All but the last of the five are processor times; the last is the clock on the wall.
    busy = sum(b - a for a, b in zip(before[:4], after[:4], strict=True))
    return count / seconds, count / max(busy, 1e-9)


def import_images(setting: Setting) -> Iterator[Row]:
    """JPEG files to tensors and labels under a commit, as ``tvcs import`` does it."""
    work = "import of JPEG files, to a durable commit"
    bar = Bar("at least", 0.8)
    try:
        import PIL  # noqa: F401

        from tensorvcs.formats.importing import import_into
    except ImportError as error:
        yield Row(work, "samples/s", None, "a Pillow loop", bar=bar, note=str(error))
        return
    source = setting.images
    kind = "given"
    if source is None:
        source = synthetic_folder(setting.folder / "jpeg", setting.size(20_000, 2_000), 64)
        kind = "made up, 64×64"
    paths = sorted(path for path in source.rglob("*") if path.suffix in (".jpg", ".jpeg"))
    sample = paths[:: max(1, len(paths) // 5_000)]
    ours, plain = [], []
    for at in range(setting.size(3, 1)):
        plain.append(_measured(partial(_decode, sample), len(sample)))
        target = setting.folder / f"import-{at}"
        with new_repository(target) as repository:

            def fill(repository: tv.Repository = repository) -> None:
                with repository.edit() as checkout:
                    import_into(checkout, source, label_column="labels")
                    checkout.commit("images")

            ours.append(_measured(fill, len(paths)))
            assert len(repository.checkout()["images"]) == len(paths)
        shutil.rmtree(target)
        plain.append(_measured(partial(_decode, sample), len(sample)))
    work = f"import of {len(paths):,} JPEG files ({kind}), to a durable commit"
    yield Row(
        f"{work}, by processor time: on each core used",
        "samples/s",
        max(busy for _, busy in ours),
        "a Pillow loop that only decodes",
        max(busy for _, busy in plain),
        bar,
    )
    yield Row(
        f"{work}, {core_count()} cores, by the clock",
        "samples/s",
        max(clock for clock, _ in ours),
        "a Pillow loop that only decodes, one core",
        max(clock for clock, _ in plain),
    )
