"""Columns as views of the memory map, which nothing is copied for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import InvalidInputError, SlabChecksumError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_view_is_the_values_without_a_copy(tmp_path: Path) -> None:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as repo:
        rows = np.random.default_rng(0).integers(0, 256, (12_000, 40, 3), np.uint8)
        with repo.edit() as edit:
            edit.add_ndarray_column("rows", (40, 3), "uint8", codec="raw").extend(rows)
            edit.add_ndarray_column("packed", (40, 3), "uint8", codec="blosc").extend(rows // 16)
            edit.add_ndarray_column("labels", (), "int64").extend(np.arange(12_000))
            edit.add_str_column("texts")[0] = "x"
            edit.commit("one")
        co = repo.checkout()
        view = co["rows"].view(7, -5)
        assert np.array_equal(view, rows[7:-5])
        assert not view.flags.writeable
        assert np.shares_memory(view, co["rows"].view())
        assert not np.shares_memory(view, co["rows"][7:-5])
        assert np.shares_memory(co["rows"].to_numpy(copy=False), view)
        assert not np.shares_memory(co["rows"].to_numpy(), view)
        labels = co["labels"].view()
        assert not labels.flags.writeable
        assert np.array_equal(labels, np.arange(12_000))
        assert co["labels"].view(5, 5).shape == (0,)
        assert co["rows"].view(9, 3).shape == (0, 40, 3)
        for name in ("packed", "texts"):
            assert co[name].view() is None
            assert np.array_equal(co[name].to_numpy(copy=None), co[name][:])
            with pytest.raises(InvalidInputError, match="cannot be had without a copy"):
                co[name].to_numpy(copy=False)


def test_a_private_view_is_written_to_by_nobody_else(tmp_path: Path) -> None:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as repo:
        rows = np.random.default_rng(0).integers(0, 256, (12_000, 40, 3), np.uint8)
        with repo.edit() as edit:
            edit.add_ndarray_column("rows", (40, 3), "uint8", codec="raw").extend(rows)
            edit.add_ndarray_column("labels", (), "int64").extend(np.arange(12_000))
            edit.commit("one")
        co = repo.checkout()
        for name in ("rows", "labels"):
            mine, yours = (co[name].view(100, 200, is_private=True) for _ in range(2))
            mine[:] = 0
            assert mine.flags.writeable
            assert np.array_equal(yours, co[name][100:200])
            assert yours.any()
        assert np.array_equal(tv.open(tmp_path).checkout()["rows"][:], rows)
        assert not list(repo.verify().problems)


def test_rows_in_another_order_than_the_keys_have_no_view(tmp_path: Path) -> None:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as repo:
        rows = np.random.default_rng(0).integers(0, 256, (20_000, 40, 3), np.uint8)
        with repo.edit() as edit:
            column = edit.add_ndarray_column("rows", (40, 3), "uint8", codec="raw")
            column.extend(rows, keys=range(19_999, -1, -1))
            edit.commit("one")
            column[5] = rows[0]
            edit.commit("an identical tensor")
        for revision in ("HEAD", "HEAD~1"):
            assert repo.checkout(revision)["rows"].view() is None
        assert repo.checkout()["rows"].view(17, 18) is not None


def test_a_view_is_checked_like_any_read(tmp_path: Path) -> None:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as repo:
        rows = np.random.default_rng(0).integers(0, 256, (40_000, 40, 3), np.uint8)
        with repo.edit() as edit:
            edit.add_ndarray_column("rows", (40, 3), "uint8", codec="raw").extend(rows)
            edit.commit("one")
    (pack,) = tmp_path.rglob("*.h5")
    content = bytearray(pack.read_bytes())
    content[content.index(rows[39_000].tobytes())] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    column = tv.open(tmp_path).checkout()["rows"]
    assert np.array_equal(column.view(0, 100), rows[:100])
    for is_private in (False, True):
        with pytest.raises(SlabChecksumError):
            column.view(is_private=is_private)


def test_another_file_in_the_place_of_a_pack_is_not_mapped(tmp_path: Path) -> None:
    """What was checked is the file that was opened: a private view comes from no other."""
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as repo:
        rows = np.random.default_rng(0).integers(0, 256, (12_000, 40, 3), np.uint8)
        with repo.edit() as edit:
            edit.add_ndarray_column("rows", (40, 3), "uint8", codec="raw").extend(rows)
            edit.commit("one")
        column = repo.checkout()["rows"]
        assert np.array_equal(column.view(), rows)
        (pack,) = tmp_path.rglob("*.h5")
        other = tmp_path / "other"
        other.write_bytes(bytes(pack.stat().st_size))
        other.replace(pack)
        assert column.view(is_private=True) is None
        assert np.array_equal(column.view(), rows)
        pack.unlink()
        assert column.view(is_private=True) is None
        assert np.array_equal(column.view(), rows)
