"""A pack that is cut after it was checked is an error, not a signal that ends the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from benchmarks.trust import harm
from benchmarks.trust.probe import look_apart
from benchmarks.trust.tally import Reading
from tensorvcs.errors import PackDamagedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

READS: dict[str, Callable[[Any], object]] = {
    "one row": lambda co: co["rows"][5],
    "a batch of rows": lambda co: co["rows"].read(np.arange(3000)[::-1].copy()),
    "a slice of rows": lambda co: co["rows"][10:2000],
    "one compressed row": lambda co: co["masks"][5],
    "a batch of compressed rows": lambda co: co["masks"].read(np.arange(3000)),
    "one text": lambda co: co["texts"]["t2999"],
    "all texts": lambda co: co["texts"][:],
    "all arrays of their own shapes": lambda co: co["clouds"][:],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cut") / "repo"
    rng = np.random.default_rng(0)
    with tv.init(folder, "Ada", "ada@example.org") as repo, repo.edit() as co:
        rows = co.add_ndarray_column("rows", (30, 10), "uint8", codec="raw")
        rows.extend(rng.integers(0, 256, (3000, 30, 10), np.uint8))
        masks = co.add_ndarray_column("masks", (20, 20), "uint16", codec="blosc")
        masks.extend(np.repeat(rng.integers(0, 9, (3000, 20, 1)), 20, 2).astype(np.uint16))
        co.add_str_column("texts").update({f"t{i}": f"text {i} " * 20 for i in range(3000)})
        clouds = co.add_ndarray_column("clouds", (9, 3), "float32", variable_shape=True)
        clouds.update({i: rng.random((1 + i % 9, 3), np.float32) for i in range(3000)})
        co.commit("All")
    return folder


@pytest.mark.parametrize("left", [0.0, 0.3])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_every_way_of_reading_says_that_the_pack_was_cut(
    path: Path, tmp_path: Path, read: Callable[[Any], object], left: float
) -> None:
    import shutil

    shutil.copytree(path, tmp_path / "repo")

    def look(folder: Path) -> Reading:
        reading = Reading(is_opened=True)
        with tv.open(folder) as repo, repo.checkout() as co:
            # Everything is checked and mapped, and then the file is cut.
            for other in READS.values():
                other(co)
            for pack in (folder / ".tensorvcs" / "packs").glob("*.h5"):
                harm.truncate(pack, int(left * pack.stat().st_size))
            try:
                read(co)
            except PackDamagedError as error:
                reading.note(str(error))
            for again in READS.values():
                try:
                    again(co)
                except PackDamagedError:
                    reading.right += 1
        return reading

    reading = look_apart(tmp_path / "repo", look)
    assert reading.foreign == []
    assert reading.right == len(READS)
    assert len(reading.notes) == 1
    assert "bytes, expected" in reading.notes[0]
