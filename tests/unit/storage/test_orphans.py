"""What a dead writer of packs left is removed; what is of use is not."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import numpy as np

from tests.tensor_values import IMAGES, is_whole, open_store, pack_files, put, random_images

if TYPE_CHECKING:
    from pathlib import Path


def test_only_files_of_nobody_are_removed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.remove_orphans() == 0, "before there is a folder"
    digests = put(store, IMAGES, random_images(2000))
    (pack,) = pack_files(tmp_path)
    orphan, unfinished, written = (
        pack.with_name(f"{prefix}{number:032x}.h5")
        for number, prefix in enumerate(("", "tmp-", "tmp-"))
    )
    kept = [pack.with_name(f"damaged-{pack.name}"), pack.with_name("notes.h5")]
    for path in (orphan, unfinished, written, *kept):
        path.write_bytes(b"HDF")
    with written.open("rb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        assert store.remove_orphans() == 2
        assert set(pack_files(tmp_path)) == {pack, written, *kept}
    assert store.remove_orphans() == 1
    for path in kept:
        path.unlink()
    assert np.array_equal(store.read(IMAGES, digests), random_images(2000))
    assert is_whole(store)
