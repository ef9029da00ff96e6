"""A thousand small commits leave few files, and little more than their content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import tensorvcs as tv

if TYPE_CHECKING:
    from pathlib import Path

COMMITS = 1000
ROWS = np.random.default_rng(0).integers(0, 256, (COMMITS, 64, 64, 3), np.uint8)


def test_a_thousand_small_commits(tmp_path: Path) -> None:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as repo:
        with repo.edit() as co:
            co.add_ndarray_column("images", (64, 64, 3), "uint8")
            co.commit("empty")
        for n, row in enumerate(ROWS):
            with repo.transaction(message=f"commit {n}") as tx:
                tx["images"][f"{row[0, 0, 0]}/{n}"] = row
        files = [path for path in repo._folder.root.rglob("*") if path.is_file()]
        assert len(files) <= 20  # also without being told to
        repo.repack()
        repo.gc(0)
        on_disk = sum(512 * path.stat().st_blocks for path in repo._folder.root.rglob("*"))
        stats = repo.stats()
        batches = repo._objects.iter_digest_batches()
        objects = sum(len(one) for batch in batches for one in repo._objects.get(batch))
        assert on_disk <= 1.2 * (ROWS.nbytes + objects)
        assert stats.packs.pack_count == 1
        assert stats.packs.loose_count == 0
        assert len(repo.operations()) == 1
        assert repo.verify().is_sound
