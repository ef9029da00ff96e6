"""One repository with a column of each sort, which no test of this folder changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 700
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 17, 3), np.uint8)
BOXES = np.random.default_rng(1).random((COUNT, 4), np.float32)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tv.Repository]:
    path: Path = tmp_path_factory.mktemp("interchange")
    with tv.init(path, user_name="Ada", user_email="ada@example.org") as opened:
        with opened.edit() as co:
            keys = range(COUNT)
            co.add_ndarray_column("images", (16, 17, 3), "uint8", codec="raw").extend(IMAGES)
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(COUNT) % 3)
            co.add_str_column("labels_names").extend(["cat", "dog", "owl"])
            co.add_ndarray_column("boxes", (4,), "float32").extend(BOXES)
            co.add_ndarray_column("flags", (), "bool").extend(np.arange(COUNT) % 2 == 0)
            co.add_str_column("texts").extend([f"text {n}" for n in keys])
            co.add_bytes_column("blobs").extend([b"x" * (n % 3) for n in keys])
            tracks = co.add_ndarray_column("tracks", (None,), "int16", variable_shape=True)
            tracks.extend([np.arange(n % 4, dtype=np.int16) for n in keys])
            crops = co.add_ndarray_column("crops", (None, 5), "float32", variable_shape=True)
            crops.extend([np.full((n % 3, 5), n, np.float32) for n in keys])
            co.add_ndarray_column("grids", (5, 6), "float32", codec="blosc").extend(
                np.arange(COUNT, dtype=np.float32)[:, None, None] * np.ones((5, 6), np.float32)
            )
            co.add_str_column("notes").update({3: "three", 699: "last"})
            co.add_ndarray_column("waves", (2,), "complex64").extend(
                np.full((COUNT, 2), 1j, np.complex64)
            )
            halves = co.add_ndarray_column("halves", (3,), "bfloat16")
            halves.extend(np.ones((COUNT, 3), halves.dtype))
            scans: Any = co.add_ndarray_column("scans", (2,), "int16", nested=True)
            scans[0] = {"a": [1, 2]}
            co.commit("all")
        yield opened


@pytest.fixture(scope="module")
def co(repo: tv.Repository) -> tv.Checkout:
    return repo.checkout()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[tv.Repository]:
    """A repository to write to, with one empty commit's worth of history."""
    with tv.init(tmp_path / "empty", user_name="Ada", user_email="ada@example.org") as opened:
        with opened.edit() as edit:
            edit.add_str_column("readme")["about"] = "filled by a test"
            edit.commit("start")
        yield opened
