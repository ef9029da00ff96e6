"""Each stretch of a pack is checked when it is touched first, and says what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import (
    SlabChecksumError,
)
from tensorvcs.storage import dataset_writers, pack_folder, pending_values
from tests.damage import reopened, sealed, values_of
from tests.tensor_values import (
    IMAGES,
    digests_of,
    flip_bit,
    open_store,
    put,
    random_images,
    table_of,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    monkeypatch.setattr(dataset_writers, "SLAB_NBYTES", 64 << 10)


def test_one_sample_touches_one_slab_and_one_directory_block(tmp_path: Path) -> None:
    put(open_store(tmp_path), IMAGES, random_images(6000))
    pack_folder._MAPPED.clear()
    store = open_store(tmp_path)
    digests = digests_of(IMAGES, random_images(6000))
    store.read(IMAGES, digests[4000:4001])
    (pack,) = store._packs.refresh().packs
    assert pack._digest_blocks.is_verified.sum() == 1
    assert pack._row_blocks.is_verified.sum() == 1
    (slabs,) = pack.datasets[0].checked
    assert len(slabs) > 3
    assert slabs.is_verified.sum() == 1


def test_a_flipped_bit_names_pack_slab_and_samples(tmp_path: Path) -> None:
    pack, digests = sealed(tmp_path, IMAGES)
    slabs, rows = pack.record.datasets[0].slabs, pack.record.datasets[0].slab_rows
    flip_bit(pack.path, int(slabs.starts[1]) + 5)
    store = reopened(tmp_path)
    table = table_of(store, IMAGES, digests)
    out = np.full((2, 16, 16, 3), 7, np.uint8)
    with pytest.raises(SlabChecksumError) as caught:
        table.read(np.array([0, rows + 1]), out)
    assert (out == 7).all(), "bytes of a damaged slab were handed out"
    text = str(caught.value)
    assert f"pack {pack.path.name}, slab of /uint8/16x16x3 1 " in text
    assert f"{rows} samples" in text
    assert digests[rows].tobytes().hex()[:12] in text
    assert caught.value.digests == tuple(d.tobytes() for d in digests[rows : 2 * rows])
    assert np.array_equal(table.read(np.array([0, 2 * rows])), values_of(IMAGES)[[0, 2 * rows]])
