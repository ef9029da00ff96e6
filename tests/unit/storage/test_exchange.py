"""Values that leave a pack: as they lie where they are neighbours, copied where they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.tensor_values import IMAGES, open_store, put, random_images

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 12_000
"""So many small images become a pack, and are given out in one part."""


def test_neighbouring_rows_are_given_as_they_lie_in_the_pack(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    rows = random_images(COUNT)
    digests = put(store, IMAGES, rows)
    (pack,) = store._packs.refresh().packs
    (part,) = store.stored(digests[100:5000])
    assert np.shares_memory(part.data, pack.content)
    assert not part.data.flags.writeable
    assert part.data.tobytes() == rows[100:5000].tobytes()
    assert (part.digests == digests[100:5000]).all()


def test_rows_that_lie_apart_are_copied_together(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    rows = random_images(COUNT)
    digests = put(store, IMAGES, rows)
    (pack,) = store._packs.refresh().packs
    wanted = np.r_[5:9, 2000:2100, 7000]
    (part,) = store.stored(digests[wanted])
    assert not np.shares_memory(part.data, pack.content)
    assert part.data.tobytes() == rows[wanted].tobytes()


def test_what_was_given_outlives_the_store(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    rows = random_images(COUNT)
    digests = put(store, IMAGES, rows)
    (part,) = store.stored(digests[:10])
    store.close()
    assert part.data.tobytes() == rows[:10].tobytes()
