"""The data of the loaders: the same each time, and real where there is some."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.loaders.data import (
    DataSpec,
    fingerprints,
    load,
    load_fingerprints,
    made_up,
    real,
    save,
)

if TYPE_CHECKING:
    from pathlib import Path

SPEC = DataSpec("tiny", 30, 8)


def test_made_up_data_is_the_same_each_time_and_comes_back_from_files(tmp_path: Path) -> None:
    first, again = made_up(SPEC), made_up(SPEC)
    assert first.images.shape == (30, 8, 8, 3)
    assert np.array_equal(first.images, again.images)
    save(first, tmp_path / "data")
    assert np.array_equal(load(tmp_path / "data").labels, first.labels)
    expected = fingerprints(first.images, first.labels)
    assert np.array_equal(load_fingerprints(tmp_path / "data"), expected)


def test_a_fingerprint_depends_on_pixels_and_label() -> None:
    data = made_up(SPEC)
    assert len(np.unique(fingerprints(data.images, data.labels))) == 30
    assert not np.any(
        fingerprints(data.images, data.labels) == fingerprints(data.images, data.labels + 1)
    )


@pytest.mark.parametrize("is_tar", [False, True])
def test_jpeg_files_become_images_with_the_class_of_their_folder(
    tmp_path: Path, is_tar: bool
) -> None:
    images = pytest.importorskip("PIL.Image")
    folder = tmp_path / "train"
    for label, name in enumerate(["cat", "dog"]):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            flat = np.full((8, 8, 3), 100 * label + 10, np.uint8)
            images.fromarray(flat).save(folder / name / f"{number}.jpg")
    images.new("RGB", (9, 8)).save(folder / "cat" / "other-size.jpg")
    source = folder
    if is_tar:
        source = tmp_path / "train.tar"
        with tarfile.open(source, "w") as archive:
            archive.add(folder, "train")
    found = real(DataSpec("tiny", 100, 8), source)
    assert found.images.shape == (6, 8, 8, 3)
    assert sorted(found.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(found.images.mean(axis=(1, 2, 3)) > 60, found.labels == 1)
