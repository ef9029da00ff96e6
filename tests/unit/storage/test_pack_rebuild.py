"""The record of a pack made anew is the one that was lost, or is told from it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

import tensorvcs as tv
from benchmarks.trust import harm
from tensorvcs.storage.lmdb_environment import LmdbEnvironment
from tensorvcs.storage.pack_index import PackIndex, encode_pack_record
from tensorvcs.storage.pack_rebuild import is_proven, rebuild_record

if TYPE_CHECKING:
    from pathlib import Path

    from tensorvcs.storage.pack_index import PackRecord


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose only pack has rows and frames, plain and compressed, in several slabs."""
    folder = tmp_path_factory.mktemp("repo")
    rng = np.random.default_rng(0)
    with tv.init(folder, "Ada", "ada@example.org") as repo:
        with repo.edit() as co:
            rows = co.add_ndarray_column("rows", (64, 64), "float32", codec="raw")
            rows.extend(rng.random((150, 64, 64), np.float32))
            masks = co.add_ndarray_column("masks", (64, 64), "uint16", codec="blosc")
            masks.extend(np.repeat(rng.integers(0, 9, (300, 64, 1)), 64, 2).astype(np.uint16))
            co.add_ndarray_column("halves", (40, 40), "bfloat16").extend(
                rng.integers(0, 9, (20, 40, 40)).astype("bfloat16")
            )
            co.add_ndarray_column("flags", (50, 50), "bool").extend(rng.random((9, 50, 50)) > 0.5)
            co.add_str_column("texts").update({f"t{i}": f"text {i} " * 200 for i in range(900)})
            co.add_bytes_column("blobs").update({i: rng.bytes(3000) for i in range(30)})
            clouds = co.add_ndarray_column("clouds", (99, 3), "float32", variable_shape=True)
            clouds.update({i: rng.random((1 + i % 99, 3), np.float32) for i in range(400)})
            co.commit("All")
        repo.repack()
    return folder


def packs_of(folder: Path) -> list[tuple[Path, PackRecord]]:
    environment = LmdbEnvironment(folder / ".tensorvcs" / "lmdb")
    try:
        index = PackIndex(environment)
        found = []
        for pack_id in index.pack_ids()[1]:
            record = index.pack_record(pack_id)
            assert record is not None
            found.append((folder / ".tensorvcs" / "packs" / record.file_name, record))
        return found
    finally:
        environment.close()


def test_it_is_the_record_that_was_written(folder: Path) -> None:
    packs = packs_of(folder)
    layouts = {d.layout.compressor is None for _, record in packs for d in record.datasets}
    assert layouts == {True, False}
    for path, record in packs:
        found = rebuild_record(path)
        assert found is not None
        assert encode_pack_record(found) == encode_pack_record(record)
        assert is_proven(path, found)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    path, _ = max(packs_of(folder), key=lambda pack: pack[0].stat().st_size)
    shutil.copy(path, tmp_path)
    return tmp_path / path.name


def test_a_value_that_changed_is_not_proven(folder: Path, copy: Path) -> None:
    record = next(r for p, r in packs_of(folder) if p.name == copy.name)
    for dataset in record.datasets:
        harm.flip_bit(copy, int(dataset.slabs.starts[0]) + 100)
        found = rebuild_record(copy)
        assert found is None or not is_proven(copy, found)
        harm.flip_bit(copy, int(dataset.slabs.starts[0]) + 100)
    assert is_proven(copy, record)


@pytest.mark.parametrize("place", ["digests", "rows"])
def test_a_directory_that_changed_is_not_proven(folder: Path, copy: Path, place: str) -> None:
    record = next(r for p, r in packs_of(folder) if p.name == copy.name)
    blocks = getattr(record, place)
    for at, bit in ((5, 0), (2, 7), (7, 6)):
        harm.flip_bit(copy, int(blocks.starts[0]) + at, bit)
        found = rebuild_record(copy)
        assert found is not None
        assert not is_proven(copy, found)
        harm.flip_bit(copy, int(blocks.starts[0]) + at, bit)


def test_what_is_no_pack_has_none(copy: Path) -> None:
    harm.truncate(copy, copy.stat().st_size // 2)
    assert rebuild_record(copy) is None
    copy.write_bytes(b"no HDF5" * 1000)
    assert rebuild_record(copy) is None
    assert rebuild_record(copy.with_name("none.h5")) is None
