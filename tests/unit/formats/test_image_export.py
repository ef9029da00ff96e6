from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tensorvcs.errors import (
    ColumnNotFoundError,
    DestinationExistsError,
    FormatNotFoundError,
    InvalidInputError,
)
from tensorvcs.formats.exporting import export_from
from tensorvcs.formats.image_export import png_paths
from tensorvcs.formats.images import EXTENSIONS
from tensorvcs.formats.importing import import_into
from tensorvcs.objects.schema import Schema
from tests.unit.formats.fakes import FakeTarget

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(3)


def pictures(
    keys: list[Any], shape: tuple[int, ...] = (4, 5, 3), dtype: str = "uint8", **schema: Any
) -> FakeTarget:
    target = FakeTarget()
    column = target.add("images", Schema("ndarray", dtype, shape, **schema))
    rows = RNG.integers(0, np.iinfo(dtype).max, (len(keys), *shape), dtype, endpoint=True)
    column.extend(rows, keys=keys)
    return target


def files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((4, 5), "uint8"), ((4, 5, 2), "uint8"), ((4, 5, 3), "uint8"), ((4, 5, 4), "uint8"),
     ((4, 5), "uint16"), ((1, 1), "uint8")],
)  # fmt: skip
def test_round_trip_is_bit_exact(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    before = pictures(["cat/1.png", "cat/2.png", "dog/1.png"], shape, dtype)
    report = export_from(before, tmp_path / "out")
    assert (report.format, report.sample_counts, report.file_count) == ("images", {"images": 3}, 3)
    after = FakeTarget()
    import_into(after, tmp_path / "out")
    assert after["images"].schema == before["images"].schema
    assert after["images"].keys() == before["images"].keys()
    assert np.array_equal(after["images"][:], before["images"][:])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_one_channel_is_grey(tmp_path: Path, dtype: str) -> None:
    before = pictures(["a"], (4, 5, 1), dtype)
    export_from(before, tmp_path / "out")
    with Image.open(tmp_path / "out/a.png") as image:
        assert np.array_equal(np.asarray(image), before["images"]["a"][..., 0])


def test_variable_shapes(tmp_path: Path) -> None:
    before = FakeTarget()
    column = before.add("images", Schema("ndarray", "uint8", (9, 9), variable_shape=True))
    column.extend([np.ones((2, 3), np.uint8), np.ones((9, 1), np.uint8)], keys=["a", "b"])
    export_from(before, tmp_path / "out")
    with Image.open(tmp_path / "out/a.png") as image:
        assert image.size == (3, 2)


def test_chosen_keys(tmp_path: Path) -> None:
    before = pictures(["a", "b", "c", 4])
    done: list[tuple[int, int | None]] = []
    export_from(
        before, tmp_path, keys=["c", 4, "c"], progress=lambda n, total: done.append((n, total))
    )
    assert files_below(tmp_path) == ["4.png", "c.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "c.png")), before["images"]["c"])
    assert done == [(1, 2), (2, 2)]


def test_folders_by_label(tmp_path: Path) -> None:
    before = pictures([0, 1, "x/2.jpg"])
    before.add("labels", Schema("ndarray", "int64", ())).extend([1, 0, 5], keys=[0, 1, "x/2.jpg"])
    before.add("labels_names", Schema("str")).extend(["cat", "../dog"], keys=[0, 1])
    export_from(before, tmp_path, label_folders="labels")
    assert files_below(tmp_path) == ["%2E%2E/dog/0.png", "5/2.png", "cat/1.png"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["a.jpg", "b.PNG", "c.tar", "d"], ["a.png", "b.png", "c.tar.png", "d.png"]),
        (["a.jpg", "a.png"], ["a.jpg.png", "a.png"]),
        (["a.gif", "a.jpg"], ["a.png", "a.jpg.png"]),
        ([7, "7"], ["7.png", "%37.png"]),
        (["A", "a"], ["A.png", "%61.png"]),
        (["a", "a.png", "a.png.png"], ["%61.png", "a.png", "a.png.png"]),
        (["a.png/b", "a"], ["a.png/b.png", "%61.png"]),
        ([".jpg", "x/.jpg"], ["%2Ejpg.png", "x/%2Ejpg.png"]),
    ],
)
def test_names_of_the_files(keys: list[Any], expected: list[str]) -> None:
    found = png_paths(keys, None, EXTENSIONS)
    assert len({path.casefold() for path in found}) == len(keys)
    assert found == expected


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    keys = ["../up.png", "/abs.png", "a/../../up.png", "C:\\x.png", "..", "~/x"]
    export_from(pictures(keys), tmp_path / "in/out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["out"]
    assert len(files_below(tmp_path / "in/out")) == len(keys)


def test_links_in_the_destination_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out/1.png").symlink_to(tmp_path / "elsewhere/1.png")
    for key in ("cat/1.png", "1.png"):
        with pytest.raises(DestinationExistsError):
            export_from(pictures([key]), tmp_path / "out", overwrite=True)
    assert files_below(tmp_path / "elsewhere") == []


def test_existing_files_are_kept_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"mine")
    before = pictures(["a", "b", "c"])
    with pytest.raises(DestinationExistsError, match=r"b\.png is there already"):
        export_from(before, tmp_path)
    assert files_below(tmp_path) == ["b.png"]
    export_from(before, tmp_path, overwrite=True)
    assert files_below(tmp_path) == ["a.png", "b.png", "c.png"]
    assert (tmp_path / "b.png").read_bytes() != b"mine"


@pytest.mark.parametrize(
    "schema",
    [
        Schema("ndarray", "float32", (4, 5)),
        Schema("ndarray", "uint8", (4,)),
        Schema("ndarray", "uint8", (4, 5, 7)),
        Schema("ndarray", "uint16", (4, 5, 3)),
        Schema("ndarray", "uint8", (4, 5, None), variable_shape=True),
        Schema("ndarray", "uint8", (4, 5), nested=True),
        Schema("str"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, schema: Schema) -> None:
    target = FakeTarget()
    target.add("a", schema)
    with pytest.raises(InvalidInputError, match="cannot become images") as caught:
        export_from(target, tmp_path / "out", format="png")
    assert "npy" in (caught.value.hint or "")
    assert not (tmp_path / "out").exists()


def test_empty_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot have the shape"):
        export_from(pictures(["a"], (0, 5)), tmp_path / "out")


def test_no_such_column(tmp_path: Path) -> None:
    with pytest.raises(ColumnNotFoundError, match="no column 'x'") as caught:
        export_from(pictures(["a"]), tmp_path / "out", columns=["x"])
    assert "images" in (caught.value.hint or "")
    with pytest.raises(ColumnNotFoundError, match="no column 'y'"):
        export_from(pictures(["a"]), tmp_path / "out", label_folders="y")


def test_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no column"):
        export_from(FakeTarget(), tmp_path / "out")


def test_the_only_column_of_images_is_chosen(tmp_path: Path) -> None:
    target = pictures(["a"])
    target.add("labels", Schema("ndarray", "int64", ())).extend([1], keys=["a"])
    target.add("notes", Schema("str")).extend(["x"], keys=["a"])
    for format_name in ("auto", "png"):
        report = export_from(target, tmp_path / format_name, format=format_name)
        assert report.sample_counts == {"images": 1}
    with pytest.raises(FormatNotFoundError, match="images, labels"):
        export_from(target, tmp_path / "more", columns=["images", "labels"])


def test_one_sample_to_one_file(tmp_path: Path) -> None:
    before = pictures(["cat/1", "cat/2"])
    report = export_from(before, tmp_path / "cat.png", keys=["cat/1"])
    assert report.file_count == 1
    assert files_below(tmp_path) == ["cat.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "cat.png")), before["images"]["cat/1"])
    with pytest.raises(InvalidInputError, match="holds one image, not 2"):
        export_from(before, tmp_path / "both.png")
    with pytest.raises(DestinationExistsError):
        export_from(before, tmp_path / "cat.png", keys=["cat/2"])


def test_several_columns_are_no_folder_of_images(tmp_path: Path) -> None:
    target = pictures(["a"])
    target.add("more", Schema("ndarray", "uint8", (2, 2)))
    with pytest.raises(FormatNotFoundError):
        export_from(target, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="one column at a time, not 2"):
        export_from(target, tmp_path / "out", format="images")
