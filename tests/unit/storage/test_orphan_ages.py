"""Ages of garbage survive from one collection to the next; what is damaged is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.errors import StorageError
from tensorvcs.storage.orphan_ages import OrphanAges, read_orphan_ages, write_orphan_ages

if TYPE_CHECKING:
    from pathlib import Path

DIGESTS = np.random.default_rng(0).integers(0, 256, (100, 32), np.uint8)


def test_times_are_kept_as_long_as_they_are_noted(tmp_path: Path) -> None:
    file = tmp_path / "ages"
    ages = OrphanAges.nothing().after(DIGESTS[:50], 1000)
    write_orphan_ages(file, ages)
    found = read_orphan_ages(file)
    assert found.of(DIGESTS[40:60], 2000).tolist() == [1000] * 10 + [2000] * 10
    write_orphan_ages(file, found.after(np.concatenate([DIGESTS[25:75], DIGESTS[30:40]]), 2000))
    found = read_orphan_ages(file)
    expected = [3000] * 25 + [1000] * 25 + [2000] * 25 + [3000] * 25
    assert found.of(DIGESTS, 3000).tolist() == expected
    assert (np.diff(found.prefixes.astype(object)) > 0).all()
    # A clock that was set back.
    assert found.of(DIGESTS[25:26], 500).tolist() == [500]


def test_nothing_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "ages"
    assert len(read_orphan_ages(file).prefixes) == 0
    write_orphan_ages(file, OrphanAges.nothing().after(DIGESTS, 1))
    write_orphan_ages(file, OrphanAges.nothing())
    assert not file.exists()
    write_orphan_ages(file, OrphanAges.nothing())


@pytest.mark.parametrize("at", [0, 10, 30, 900, 1610])
def test_a_damaged_file_is_forgotten(tmp_path: Path, at: int) -> None:
    file = tmp_path / "ages"
    write_orphan_ages(file, OrphanAges.nothing().after(DIGESTS, 1))
    content = bytearray(file.read_bytes())
    content[at] ^= 4
    file.write_bytes(content)
    assert len(read_orphan_ages(file).prefixes) == 0
    file.write_bytes(content[:at])
    assert len(read_orphan_ages(file).prefixes) == 0


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_orphan_ages(tmp_path / "no" / "ages", OrphanAges.nothing().after(DIGESTS, 1))
    (tmp_path / "ages").mkdir()
    with pytest.raises(StorageError):
        write_orphan_ages(tmp_path / "ages", OrphanAges.nothing())
