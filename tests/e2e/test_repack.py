"""``tvcs repack``."""

from __future__ import annotations

import numpy as np

from tests.e2e.shell import Shell

__all__ = ["Shell"]


def test_values_come_into_order(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    rows = np.random.default_rng(0).integers(0, 256, (4000, 30, 30), np.uint8)
    order = np.random.default_rng(1).permutation(4000)
    with shell.repository() as repo, repo.edit() as co:
        images = co.add_ndarray_column("images", (30, 30), "uint8")
        for part in np.array_split(order, 2):
            images.extend(rows[part], keys=part.tolist())
            co.commit("half")
    assert shell.ok("repack") == "Moved 4,000 values of 3.6 MB: 1 pack now, 2 before\n"
    assert shell.ok("repack") == "Everything is in order already\n"
    document = shell.json("repack")
    assert document == {
        "moved_count": 0, "moved_nbytes": 0, "pack_count": 1, "pack_count_before": 1
    }  # fmt: skip
    with shell.repository() as repo:
        assert np.array_equal(repo.checkout()["images"][:], rows)
