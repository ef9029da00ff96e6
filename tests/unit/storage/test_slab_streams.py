"""Slabs lie back to back where HDF5 lets them, and are read wherever they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.storage import dataset_writers, hdf5_pack, pending_values
from tests.tensor_values import (
    IMAGES,
    digests_of,
    open_store,
    random_images,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)


def test_slabs_lie_back_to_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "BUFFER_NBYTES", 0)
    monkeypatch.setattr(dataset_writers, "SLAB_NBYTES", 16 << 10)
    store = open_store(tmp_path)
    values = random_images(30_000)
    for part in np.array_split(values, 40):
        store.write(IMAGES, digests_of(IMAGES, part), part)
    store.seal()
    (pack,) = store._packs.refresh().packs
    assert len(pack.record.datasets[0].slabs) > 1000
    assert pack.datasets[0].values is not None  # type: ignore[union-attr]


def test_a_dataset_in_several_stretches_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With no room set aside, the metadata of HDF5 comes between the slabs.
    monkeypatch.setattr(pending_values, "BUFFER_NBYTES", 0)
    monkeypatch.setattr(dataset_writers, "SLAB_NBYTES", 4 << 10)
    monkeypatch.setattr(hdf5_pack, "_STREAMED_METADATA_NBYTES", 2048)
    monkeypatch.setattr(hdf5_pack.PackWriter.__init__, "__defaults__", (2048,))
    store = open_store(tmp_path)
    values = random_images(4000)
    digests = digests_of(IMAGES, values)
    store.write(IMAGES, digests, values)
    store.seal()
    rows = store._packs.refresh().packs[0].datasets[0]
    assert rows.values is None  # type: ignore[union-attr]
    assert np.array_equal(store.read(IMAGES, digests), values)
    assert np.array_equal(store.read(IMAGES, digests[:3]), values[:3])
    assert list(store.verify()) == []
