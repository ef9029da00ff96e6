"""One repository that the tests of loaders read; tests that change one make their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 203
KEYS = [f"k{n:03}" for n in range(COUNT)]


@pytest.fixture(scope="session")
def pictures() -> Any:
    """Return the images of `repo`, shape (203, 8, 9, 3), uint8."""
    return np.random.default_rng(0).integers(0, 256, (COUNT, 8, 9, 3), np.uint8)


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory, pictures: Any) -> Iterator[tv.Repository]:
    """Return a repository of 203 samples; the label of a sample is its place."""
    path = tmp_path_factory.mktemp("loaders")
    with tv.init(path, user_name="Ada", user_email="ada@example.org") as made:
        with made.edit() as edit:
            edit.add_ndarray_column("images", (8, 9, 3), "uint8").extend(pictures, keys=KEYS)
            edit.add_ndarray_column("labels", (), "int64").extend(np.arange(COUNT), keys=KEYS)
            crops = edit.add_ndarray_column("crops", (8, 9), "float32", variable_shape=True)
            crops.update({k: pictures[n, : n % 8, :, 0].astype("f4") for n, k in enumerate(KEYS)})
            edit.add_str_column("texts").update({key: key.upper() for key in KEYS})
            scans: Any = edit.add_ndarray_column("scans", (2,), "int16", nested=True)
            scans.update({key: {"a": [n, 1], 7: [n, 2]} for n, key in enumerate(KEYS)})
            edit.add_ndarray_column("halves", (3,), "bfloat16").extend(
                np.ones((COUNT, 3), np.float32).astype("bfloat16"), keys=KEYS
            )
            edit.commit("all")
        yield made


@pytest.fixture(scope="session")
def checkout(repo: tv.Repository) -> tv.Checkout:
    """Return the checkout of the one commit."""
    return repo.checkout()
