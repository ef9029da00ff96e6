from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from tensorvcs.errors import UnreadableFileError
from tensorvcs.formats.importing import import_into
from tensorvcs.formats.registry import detect_format
from tensorvcs.objects.schema import Schema
from tests.unit.formats.fakes import FakeTarget

if TYPE_CHECKING:
    from pathlib import Path


def test_datasets_become_columns_and_groups_join_with_dots(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 3, 3), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/images"] = images
        file.create_dataset("train/labels", data=np.arange(40, dtype=">i4"), chunks=(7,))
        file["names"] = np.array(["é"] * 40, h5py.string_dtype())
        file["fixed"] = np.array([b"ab"] * 40)
    target = FakeTarget()
    report = import_into(target, tmp_path / "a.h5")
    assert report.format == "hdf5"
    assert {name: column.schema for name, column in target.columns.items()} == {
        "train.images": Schema("ndarray", "uint8", (3, 3)),
        "train.labels": Schema("ndarray", "int32", ()),
        "names": Schema("str"),
        "fixed": Schema("str"),
    }
    assert np.array_equal(target["train.images"][:], images)
    assert np.array_equal(target["train.labels"][:], np.arange(40))
    assert target["names"][0] == "é"
    assert target["fixed"][39] == "ab"


def test_what_is_no_column_is_skipped(tmp_path: Path) -> None:
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as file:
        file["secret"] = np.arange(3)
    (tmp_path / "raw.bin").write_bytes(b"\0" * 24)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["good"] = np.arange(3)
        file["scalar"] = 5
        file["empty"] = h5py.Empty("f4")
        file["records"] = np.zeros(3, "i4,f4")
        file["void"] = np.zeros(3, "V5")
        file["link"] = h5py.ExternalLink(str(outside), "secret")
        file["soft"] = h5py.SoftLink("/good")
        file.create_dataset("raw", (3,), "i8", external=[(str(tmp_path / "raw.bin"), 0, 24)])
        layout = h5py.VirtualLayout((3,), "i8")
        layout[:] = h5py.VirtualSource(str(outside), "secret", (3,))
        file.create_virtual_dataset("virtual", layout)
        file[".hidden"] = np.arange(3)
        ragged = file.create_dataset("lists", (2,), h5py.vlen_dtype(np.int64))
        ragged[0] = [1, 2]
    target = FakeTarget()
    report = import_into(target, tmp_path / "a.h5")
    assert set(target.columns) == {"good"}
    names = {skipped.path.rpartition(" ")[2] for skipped in report.skipped}
    assert names == {
        "scalar", "empty", "records", "void", "raw", "virtual", ".hidden", "lists",
    }  # fmt: skip


def test_names_that_meet_when_joined(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a.b"] = np.arange(3)
        file["a/b"] = np.arange(4)
    target = FakeTarget()
    report = import_into(target, tmp_path / "a.h5")
    assert len(report.skipped) == 1
    assert len(target["a.b"]) in {3, 4}


def test_damaged_files_are_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.arange(10_000), chunks=(100,), fletcher32=True)
    content = path.read_bytes()
    (tmp_path / "b.h5").write_bytes(b"hello")
    (tmp_path / "c.h5").write_bytes(content[: len(content) // 2])
    flipped = bytearray(content)
    flipped[-50] ^= 1
    (tmp_path / "d.h5").write_bytes(flipped)
    for name in ("b.h5", "c.h5", "d.h5"):
        with pytest.raises(UnreadableFileError, match=name):
            import_into(FakeTarget(), tmp_path / name)


def test_texts_that_are_no_utf8_are_unreadable(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=[b"\xff\xfe"], dtype=h5py.string_dtype())
    with pytest.raises(UnreadableFileError, match=r"a\.h5: a"):
        import_into(FakeTarget(), tmp_path / "a.h5")


def test_detected_by_content(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.mat", "w") as file:
        file["a"] = np.arange(3)
    assert detect_format(tmp_path / "data.mat").name == "hdf5"


def test_file_is_closed_afterwards(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.arange(3)
    import_into(FakeTarget(), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["b"] = 1
