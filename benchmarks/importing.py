"""Import of a folder of JPEG files, beside a loop that only decodes them."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measuring import core_count
from benchmarks.row import Bar, Row
from benchmarks.setting import SEED, new_repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.setting import Setting

_CLASS_COUNT = 10


def _synthetic_folder(folder: Path, count: int, pixels: int) -> Path:
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


def _decode(paths: Sequence[Path]) -> float:
    """Return the seconds of a plain Pillow loop that decodes files and keeps nothing."""
    from PIL import Image

    start = time.perf_counter()
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB"))
    return time.perf_counter() - start


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
        source = _synthetic_folder(setting.folder / "jpeg", setting.size(20_000, 2_000), 64)
        kind = "made up, 64×64"
    paths = sorted(path for path in source.rglob("*") if path.suffix in (".jpg", ".jpeg"))
    sample = paths[:: max(1, len(paths) // 5_000)]
    cores = core_count()
    ours, plain = [], []
    for at in range(setting.size(3, 1)):
        plain.append(_decode(sample) / len(sample))
        target = setting.folder / f"import-{at}"
        with new_repository(target) as repository:
            start = time.perf_counter()
            with repository.edit() as checkout:
                import_into(checkout, source, label_column="labels")
                commit = checkout.commit("images")
            ours.append((time.perf_counter() - start) / len(paths))
            assert len(repository.checkout(commit)["images"]) == len(paths)
        shutil.rmtree(target)
        plain.append(_decode(sample) / len(sample))
    yield Row(
        f"import of {len(paths):,} JPEG files ({kind}), to a durable commit, a core of {cores}",
        "samples/s",
        1 / min(ours) / cores,
        "a Pillow loop that only decodes",
        1 / min(plain),
        bar,
    )
