"""Verified reads: what it costs that every slab is checked before a byte of it is handed out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

import tensorvcs as tv
from benchmarks.measuring import best_of, seconds_of
from benchmarks.row import Row
from benchmarks.setting import new_repository, random_batches, random_images
from tensorvcs.storage import pack_folder
from tensorvcs.storage.checked_blocks import CheckedBlocks
from tensorvcs.storage.mapped_pack import MappedPack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.setting import Setting

_NOTHING_CHECKED = "the same, nothing checked"


def _trust(blocks: CheckedBlocks, block: int) -> None:
    """Take a block for verified."""
    blocks.is_verified[block] = True


def _overlook(pack: MappedPack) -> None:
    """Take a file for as long as it was."""


@contextmanager
def unchecked() -> Iterator[None]:
    """Read without a look at checksums and at the lengths of files."""
    check, check_length = CheckedBlocks._check, MappedPack.check_length
    CheckedBlocks._check, MappedPack.check_length = _trust, _overlook  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        CheckedBlocks._check, MappedPack.check_length = check, check_length  # type: ignore[method-assign]


def verified_reads(setting: Setting) -> Iterator[Row]:
    """The first read of all rows, and random batches, one by one and warm, page cache warm."""
    count = setting.size(60_000, 20_000)
    path = setting.folder / "verified-reads"
    images = random_images(count, 32)
    with new_repository(path) as repository, repository.edit() as checkout:
        checkout.add_ndarray_column("images", images.shape[1:], "uint8").extend(images)
        checkout.commit("images")
    out = np.empty_like(images)
    everything = np.arange(count)

    def first_read() -> float:
        # Maps are shared by all that is open in a process, and with them what was verified.
        pack_folder._MAPPED.clear()
        with tv.open(path) as opened:
            column = opened.checkout()["images"]
            column.read(everything[:1], out=out[:1])
            return seconds_of(lambda: column.read(everything, out=out))

    first: list[float] = []
    first_unchecked: list[float] = []
    for _ in range(setting.repeat):
        first.append(first_read())
        with unchecked():
            first_unchecked.append(first_read())
    assert np.array_equal(out, images)
    name = f"{count:,} × 32×32×3 uint8"
    yield Row(f"first read of {name}", "s", min(first), _NOTHING_CHECKED, min(first_unchecked))

    batches = random_batches(count)
    buffer = np.empty((len(batches[0]), 32, 32, 3), np.uint8)
    with tv.open(path) as opened:
        column = opened.checkout()["images"]

        def read_batches() -> None:
            for batch in batches:
                column.read(batch, out=buffer)

        def read_ones() -> None:
            for key in range(0, count, count // 2000):
                column[key]

        def without_checks(work: object) -> None:
            with unchecked():
                work()  # type: ignore[operator]

        for what, work in (("random batches of 256", read_batches), ("single samples", read_ones)):
            work()
            ours, baseline = best_of(
                setting.repeat + 4,
                work,
                lambda work=work: without_checks(work),  # type: ignore[misc]
            )
            yield Row(f"{what} of {name}, warm", "s", ours, _NOTHING_CHECKED, baseline)
