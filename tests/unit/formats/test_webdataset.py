"""WebDataset tars in and out."""

from __future__ import annotations

import io
import pickle
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import (
    DuplicateKeyError,
    InvalidInputError,
    TensorVCSError,
    UnreadableFileError,
)
from tensorvcs.formats import tar_samples, webdataset
from tensorvcs.formats.exporting import export_from
from tensorvcs.formats.importing import ImportReport, import_into
from tensorvcs.formats.registry import detect_format
from tensorvcs.objects.schema import Schema
from tests.unit.formats.fakes import FakeTarget

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("PIL", reason="pillow is not installed")

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)


def png(pixels: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def taken(path: Path, **options: Any) -> tuple[FakeTarget, ImportReport]:
    target = FakeTarget()
    return target, import_into(target, path, **options)


def test_files_of_one_name_are_one_sample(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for n in range(6):
        files |= {
            f"./cat/{n:03}.png": png(PIXELS[n]), f"./cat/{n:03}.cls": b"%d\n" % n,
            f"./cat/{n:03}.emb.npy": npy(np.full(3, n, np.float32)),
            f"./cat/{n:03}.json": b'{"n": 1}', f"./cat/{n:03}.mask.png": png(PIXELS[n, ..., 0]),
            f"./cat/{n:03}.xyz": bytes([n]),
        }  # fmt: skip
    path = write_tar(tmp_path / "a.tar", files)
    assert detect_format(path).name == "webdataset"
    target, report = taken(path)
    assert {name: column.schema.spelling for name, column in target.columns.items()} == {
        "images": "uint8 (4, 5, 3)", "labels": "int64 ()", "emb": "float32 (3)", "json": "str",
        "mask": "uint8 (4, 5)", "xyz": "bytes",
    }  # fmt: skip
    assert target["images"].keys() == [f"cat/{n:03}" for n in range(6)]
    assert np.array_equal(target["images"]["cat/003"], PIXELS[3])
    assert np.array_equal(target["mask"]["cat/004"], PIXELS[4, ..., 0])
    assert int(target["labels"]["cat/005"]) == 5
    assert target["json"]["cat/000"] == '{"n": 1}'
    assert report.sample_count == 36
    assert not report.skipped


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_archives(tmp_path: Path, mode: str) -> None:
    path = write_tar(tmp_path / f"a.tar.{mode[2:]}", {"a.txt": b"x", "b.txt": b"y"}, mode)
    assert taken(path)[0]["texts"].values == {"a": "x", "b": "y"}


def test_a_folder_of_archives(tmp_path: Path) -> None:
    for shard in range(2):
        write_tar(tmp_path / f"{shard}.tar", {f"{shard}{n}.txt": b"x" for n in range(3)})
    (tmp_path / "notes.gz").write_bytes(b"no tar")
    assert detect_format(tmp_path).name == "webdataset"
    target, _ = taken(tmp_path)
    assert len(target["texts"]) == 6
    write_tar(tmp_path / "2.tar", {"01.txt": b"again"})
    with pytest.raises(DuplicateKeyError, match="rows 2 and 7 have one key, '01'"):
        taken(tmp_path)


def test_a_key_that_comes_back_later_is_a_duplicate(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("a.txt", "b.txt", "a.cls"):
            archive.addfile(tarfile.TarInfo(name))
    target = FakeTarget()
    with pytest.raises(DuplicateKeyError, match="rows 1 and 3"):
        import_into(target, tmp_path / "a.tar")
    assert not target.columns


def test_pictures_of_several_sizes_and_modes(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar", {"a.png": png(PIXELS[0]), "b.png": png(PIXELS[1, :2, :, 0])}
    )
    target, _ = taken(path)
    assert target["images"].schema.spelling == "uint8 ≤(4, 5, 3)"
    assert np.array_equal(target["images"]["b"][..., 1], PIXELS[1, :2, :, 0])
    target, _ = taken(path, resize=(2, 2), mode="L")
    assert target["images"].schema.spelling == "uint8 (2, 2)"


def test_nothing_leaves_the_archive(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name in ("../../out.txt", "/etc/out.txt", "a/../b.txt", "good.txt"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
        for name, kind in (("soft.txt", tarfile.SYMTYPE), ("hard.txt", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        pipe = tarfile.TarInfo("pipe.txt")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
        archive.addfile(tarfile.TarInfo(".hidden.txt"))
        archive.addfile(tarfile.TarInfo("README"))
    target, report = taken(folder / "a.tar")
    assert target["texts"].values == {"good": "x"}
    reasons = [skipped.reason for skipped in report.skipped]
    assert reasons == ["its name leads out of the archive"] * 3 + ["it is a link"] * 2 + [
        "it is no plain file"
    ]
    assert report.ignored_count == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.tar"]


def test_what_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    harm = pickle.dumps(object())
    path = write_tar(
        tmp_path / "a.tar",
        {
            "a.png": b"no picture", "a.cls": b"x",
            "a.npy": npy(np.array([object()]), allow_pickle=True),
            "a.pyd": harm, "a.txt": b"\xff", "a.jpg": b"second", "b.png": png(PIXELS[0]),
            "b.cls": b"99999999999999999999", "b.npy": npy(np.zeros(2))[:-3], "c.cls": b"7",
        },
    )  # fmt: skip
    target, report = taken(path)
    assert {name: list(column.values) for name, column in target.columns.items()} == {
        "images": ["b"], "labels": ["c"], "texts": [],
    }  # fmt: skip
    assert {s.path.rpartition(": ")[2]: s.reason.split(":")[0] for s in report.skipped} == {
        "a.png": "it is no image that can be read", "a.cls": "'x' is no class number",
        "a.npy": "it is no array", "a.pyd": "it is a pickle, which is never loaded",
        "a.txt": "it is no UTF-8", "a.jpg": "its sample has another value for column 'images'",
        "b.cls": "'99999999999999999999' is no class number", "b.npy": "it is no array",
    }  # fmt: skip
    with pytest.raises(UnreadableFileError):
        taken(path, strict=True)


def test_damaged_archives_stage_nothing(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{n}.bin": bytes(3000) for n in range(20)})
    whole = path.read_bytes()
    for content in (whole[:30_000], whole[:7000], whole[:100], b"x" * 5000, b""):
        (tmp_path / "b.tar").write_bytes(content)
        target = FakeTarget()
        with pytest.raises(UnreadableFileError):
            import_into(target, tmp_path / "b.tar")
        assert not target.columns
    packed = write_tar(
        tmp_path / "c.tar.gz", {"a.bin": bytes(range(256)) * 99}, "w:gz"
    ).read_bytes()
    (tmp_path / "c.tar.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UnreadableFileError):
        taken(tmp_path / "c.tar.gz")


def test_no_byte_of_an_archive_can_do_worse_than_an_error(tmp_path: Path) -> None:
    files = {"a.png": png(PIXELS[0]), "a.npy": npy(np.zeros(3)), "a.cls": b"1"}
    whole = write_tar(tmp_path / "a.tar", files).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "b.tar"
    for place in rng.integers(0, 4096, 150).tolist():
        broken = bytearray(whole)
        broken[place] = int(rng.integers(256))
        path.write_bytes(broken)
        try:
            taken(path)
        except TensorVCSError:
            continue


def test_arrays_that_fit_no_column(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar", {"a.npy": npy(np.zeros(2)), "b.npy": npy(np.zeros(2, "f4"))}
    )
    with pytest.raises(InvalidInputError, match=r"one dtype: .*a.npy is float64, and .* float32"):
        taken(path)
    path = write_tar(
        tmp_path / "b.tar", {"a.npy": npy(np.zeros(2)), "b.npy": npy(np.zeros((2, 1)))}
    )
    with pytest.raises(InvalidInputError, match=r"number of axes: .*has 1, and .* has 2"):
        taken(path)
    path = write_tar(tmp_path / "c.tar", {"a.x.npy": npy(np.zeros(2)), "b.x.txt": b"x"})
    with pytest.raises(InvalidInputError, match="of different kinds"):
        taken(path)
    path = write_tar(tmp_path / "d.tar", {"a.npy": npy(np.zeros(2)), "b.npy": npy(np.zeros(3))})
    assert taken(path)[0]["arrays"].schema.spelling == "float64 ≤(3)"


def test_options(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"x/1.txt": b"x", "x/1.cls": b"5"})
    assert taken(path, column="labels")[0].columns.keys() == {"labels"}
    assert taken(path, key_from="number")[0]["texts"].keys() == [0]
    assert taken(path, key_from="name", extra={"keys": "int"})[0]["texts"].keys() == [1]
    with pytest.raises(UnreadableFileError, match="'x/1' is no int"):
        taken(path, extra={"keys": "int"})
    for options, text in (
        ({"extra": {"keys": "float"}}, "'int' or 'str'"),
        ({"extra": {"other": "1"}}, "unknown option other"),
        ({"label_column": "l"}, "label_column is for folders"),
        ({"column": "none"}, "no samples"),
    ):
        with pytest.raises(InvalidInputError, match=text):
            taken(path, **options)


def test_a_file_too_large_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_samples, "MAX_MEMBER_NBYTES", 10)
    path = write_tar(tmp_path / "a.tar", {"a.bin": bytes(11), "b.bin": bytes(9)})
    target, report = taken(path)
    assert target["blobs"].keys() == ["b"]
    assert "11 bytes are more than the limit of 10" in report.skipped[0].reason


def test_batches_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "BLOCK_NBYTES", 10_000)
    path = write_tar(tmp_path / "a.tar", {f"{n}.bin": bytes(3000) for n in range(20)})
    done: list[int] = []
    target, _ = taken(path, progress=lambda n, total: done.append(n))
    assert target["blobs"].extended_counts == [4] * 5
    assert done == [4, 8, 12, 16, 20]


def test_columns_go_out_and_come_back(tmp_path: Path) -> None:
    checkout = FakeTarget()
    keys = ["a.b/c.d", "plain", "100%", "..", "x/y z", "%2E"]
    checkout.add("images", Schema("ndarray", "uint8", (4, 5, 3))).extend(PIXELS, keys)
    checkout.add("labels", Schema("ndarray", "int64", ())).extend(np.arange(6) - 3, keys)
    checkout.add("one", Schema("ndarray", "uint8", (2, 2, 1))).extend(PIXELS[:, :2, :2, :1], keys)
    checkout.add("depth", Schema("ndarray", "uint16", (2, 2))).extend(
        PIXELS[:, :2, :2, 0].astype(np.uint16) * 256, keys
    )
    checkout.add("notes", Schema("str")).extend(["n", ""], keys[1:3])
    checkout.add("raw", Schema("bytes")).extend([b"\0"] * 6, keys)
    checkout.add("small", Schema("ndarray", "int8", ())).extend([np.int8(4)] * 6, keys)
    report = export_from(checkout, tmp_path / "out.tar")
    assert (report.format, report.file_count) == ("webdataset", 1)
    with tarfile.open(tmp_path / "out.tar") as archive:
        names = archive.getnames()
    assert {"plain.png", "plain.cls", "plain.notes.txt", "a.b/c%2Ed.depth.png"} <= set(names)
    again, imported = taken(tmp_path / "out.tar")
    assert not imported.skipped
    for name, column in checkout.columns.items():
        assert again[name].schema == column.schema
        assert again[name].keys() == column.keys()
        for key in column.values:
            assert np.array_equal(again[name][key], column[key])
    export_from(checkout, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "out.tar").read_bytes()


def test_what_is_no_file(tmp_path: Path) -> None:
    checkout = FakeTarget()
    checkout.add("Upper", Schema("str")).extend(["x"], ["a"])
    with pytest.raises(InvalidInputError, match="in lower case"):
        export_from(checkout, tmp_path / "a.tar")
    with pytest.raises(InvalidInputError, match=r"is a .tar file"):
        export_from(checkout, tmp_path / "a.zip", format="webdataset")
    with pytest.raises(InvalidInputError, match="unknown option"):
        export_from(checkout, tmp_path / "a.tar", extra={"a": "b"})
    checkout.add("half", Schema("ndarray", "bfloat16", (40,)))
    with pytest.raises(InvalidInputError, match="none of numpy's own"):
        export_from(checkout, tmp_path / "a.tar", columns=["half"], format="tar")
    assert not list(tmp_path.iterdir())
