from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tensorvcs.errors import (
    DuplicateKeyError,
    InvalidInputError,
    SchemaMismatchError,
    UnreadableFileError,
)
from tensorvcs.formats.folders import find_files
from tensorvcs.formats.images import EXTENSIONS, ImageSource, widened
from tensorvcs.formats.importing import import_into
from tensorvcs.formats.interfaces import ImportOptions
from tensorvcs.objects.schema import Schema
from tests.unit.formats.fakes import FakeTarget

RNG = np.random.default_rng(7)
ROOT = Path(__file__).resolve().parents[3]


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray[Any, Any]:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def save(path: Path, pixels: np.ndarray[Any, Any], **options: Any) -> np.ndarray[Any, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = {(2, 1): "L", (2, 2): "I;16"}.get((pixels.ndim, pixels.dtype.itemsize))
    if pixels.ndim == 3:
        mode = {2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    assert mode is not None
    Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes()).save(path, **options)
    return pixels


def skipped_names(report: Any) -> dict[str, str]:
    return {skipped.path: skipped.reason for skipped in report.skipped}


def test_folder_of_classes_becomes_images_and_labels(tmp_path: Path) -> None:
    images = {
        name: save(tmp_path / name, noise(6, 5, 3))
        for name in ("dog/1.png", "cat/2.png", "cat/1.png", "deep/dog/3.png")
    }
    target = FakeTarget()
    report = import_into(target, tmp_path, label_column="labels")
    assert target["images"].schema == Schema("ndarray", "uint8", (6, 5, 3))
    assert list(target["images"].values) == sorted(images)
    for name, pixels in images.items():
        assert np.array_equal(target["images"][name], pixels)
    assert target["labels"].schema.is_inline
    assert {k: int(v) for k, v in target["labels"].items()} == {
        "cat/1.png": 0, "cat/2.png": 0, "deep/dog/3.png": 1, "dog/1.png": 1,
    }  # fmt: skip
    assert target["labels_names"].values == {0: "cat", 1: "dog"}
    assert report.class_names == ("cat", "dog")
    assert report.sample_counts == {"images": 4}
    assert report.created == ("images", "labels", "labels_names")
    assert (report.skipped, report.notes, report.ignored_count) == ((), (), 0)


def test_jpeg_pixels_are_those_of_pillow(tmp_path: Path) -> None:
    for number in range(70):
        save(tmp_path / f"{number:02}.jpg", noise(16, 16, 3))
    target = FakeTarget()
    import_into(target, tmp_path, workers=2)
    for name, pixels in target["images"].items():
        assert np.array_equal(pixels, np.asarray(Image.open(tmp_path / str(name))))


def test_single_file(tmp_path: Path) -> None:
    pixels = save(tmp_path / "one.png", noise(3, 4))
    target = FakeTarget()
    import_into(target, tmp_path / "one.png", column="scans")
    assert np.array_equal(target["scans"]["one.png"], pixels)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((4, 5), "uint8"), ((4, 5, 2), "uint8"), ((4, 5, 3), "uint8"), ((4, 5, 4), "uint8"),
     ((4, 5), "uint16")],
)  # fmt: skip
def test_each_mode_keeps_its_pixels(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    pixels = save(tmp_path / "a.png", noise(*shape, dtype=dtype))
    target = FakeTarget()
    import_into(target, tmp_path)
    assert target["images"].schema == Schema("ndarray", dtype, shape)
    assert np.array_equal(target["images"]["a.png"], pixels)


def test_modes_that_have_no_array_are_converted(tmp_path: Path) -> None:
    rgb = Image.fromarray(noise(4, 4, 3))
    rgb.convert("CMYK").save(tmp_path / "cmyk.tif")
    rgb.convert("YCbCr").save(tmp_path / "ycc.jpg")
    rgb.quantize(8).save(tmp_path / "palette.png")
    target = FakeTarget()
    import_into(target, tmp_path)
    assert target["images"].schema == Schema("ndarray", "uint8", (4, 4, 3))
    expected = np.asarray(Image.open(tmp_path / "palette.png").convert("RGB"))
    assert np.array_equal(target["images"]["palette.png"], expected)


def test_bitmap_becomes_grey(tmp_path: Path) -> None:
    Image.new("1", (3, 2), 1).save(tmp_path / "a.png")
    target = FakeTarget()
    import_into(target, tmp_path)
    assert np.array_equal(target["images"]["a.png"], np.full((2, 3), 255, np.uint8))


def test_transparent_palette_becomes_rgba(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    target = FakeTarget()
    import_into(target, tmp_path)
    assert target["images"]["a.png"].tolist() == [[[10, 20, 30, 0], [40, 50, 60, 255]]]


def test_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "turned.jpg", np.tile(np.arange(24, dtype=np.uint8) * 10, (8, 1)), exif=exif)
    target = FakeTarget()
    import_into(target, tmp_path)
    pixels = target["images"]["turned.jpg"]
    assert pixels.shape == (24, 8)
    assert (np.diff(pixels.mean(axis=1)) > 0).all()


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (2, 2), level) for level in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    target = FakeTarget()
    report = import_into(target, tmp_path, mode="L")
    assert target["images"]["a.gif"].tolist() == [[10, 10], [10, 10]]
    assert report.notes == ("the first frame of an animation was taken: 1 image, such as a.gif",)


def test_mixed_modes_become_the_one_that_holds_all(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", noise(3, 3))
    colour = save(tmp_path / "colour.png", noise(3, 3, 3))
    target = FakeTarget()
    report = import_into(target, tmp_path)
    assert np.array_equal(target["images"]["grey.png"], np.stack([grey] * 3, -1))
    assert np.array_equal(target["images"]["colour.png"], colour)
    assert report.notes == ("modes are mixed; all became RGB: 1 image, such as grey.png",)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("wanted", ["LA", "RGB", "RGBA"])
def test_widening_equals_pillow(mode: str, wanted: str) -> None:
    if (mode, wanted) in {("LA", "RGB"), ("RGB", "LA"), ("RGBA", "LA"), ("RGBA", "RGB")}:
        return
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = noise(2, 3, 4, *channels)
    for image, wide in zip(pixels, widened(pixels, mode, wanted), strict=True):
        pillow = Image.frombytes(mode, (4, 3), image.tobytes()).convert(wanted)
        assert np.array_equal(wide, np.asarray(pillow))


def test_wanted_mode(tmp_path: Path) -> None:
    colour = save(tmp_path / "a.png", noise(3, 3, 3))
    deep = save(tmp_path / "b.png", noise(3, 3, dtype="uint16"))
    target = FakeTarget()
    import_into(target, tmp_path, mode="L")
    assert np.array_equal(target["images"]["b.png"], (deep >> 8).astype(np.uint8))
    grey = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.array_equal(target["images"]["a.png"], grey)
    target = FakeTarget()
    import_into(target, tmp_path, mode="I;16")
    assert np.array_equal(target["images"]["a.png"], grey.astype(np.uint16) * 257)
    assert np.array_equal(target["images"]["b.png"], deep)


def test_sixteen_bits_beside_eight_need_a_choice(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(3, 3))
    save(tmp_path / "b.png", noise(3, 3, dtype="uint16"))
    target = FakeTarget()
    with pytest.raises(
        InvalidInputError, match=r"b\.png has 16 bits of grey, and a\.png"
    ) as caught:
        import_into(target, tmp_path)
    assert "mode=" in (caught.value.hint or "")
    assert not target.columns


def test_different_sizes_make_a_variable_shape(tmp_path: Path) -> None:
    small = save(tmp_path / "a.png", noise(2, 9, 3))
    large = save(tmp_path / "b.png", noise(7, 3, 3))
    target = FakeTarget()
    import_into(target, tmp_path)
    assert target["images"].schema == Schema("ndarray", "uint8", (7, 9, 3), variable_shape=True)
    assert np.array_equal(target["images"]["a.png"], small)
    assert np.array_equal(target["images"]["b.png"], large)


def test_resize_makes_one_shape(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.full((2, 9, 3), 50, np.uint8))
    save(tmp_path / "b.png", np.full((7, 3), 90, np.uint8))
    target = FakeTarget()
    import_into(target, tmp_path, resize=(4, 6))
    assert target["images"].schema == Schema("ndarray", "uint8", (4, 6, 3))
    assert (target["images"]["a.png"] == 50).all()
    assert (target["images"]["b.png"] == 90).all()


def test_resize_and_mode_need_no_planning_pass(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(2, 9, 3))
    options = ImportOptions(resize=(4, 6), mode="RGB")
    source = ImageSource(find_files(tmp_path, EXTENSIONS), options, "here")
    assert source.plan().columns["images"].fixed_shape == (4, 6, 3)
    assert source._pool is None
    assert [batch.sample_count for batch in source.batches()] == [1]
    source.close()


@pytest.mark.parametrize("kept_nbytes", [0, 3_000, 1 << 30])
def test_what_planning_keeps_changes_nothing(tmp_path: Path, kept_nbytes: int) -> None:
    """Pixels kept, headers alone, and the seam between the two give the same samples."""
    names = [f"{number:03}.png" for number in range(60)]
    for number, name in enumerate(names):
        save(tmp_path / name, noise(4, 4, 3) if number % 7 else noise(4, 4))
    (tmp_path / "030.png").write_bytes((tmp_path / "030.png").read_bytes()[:50])
    (tmp_path / "050.png").write_bytes(b"no image")
    progress: list[tuple[int, int | None]] = []
    options = ImportOptions(workers=1)
    found = find_files(tmp_path, EXTENSIONS)
    source = ImageSource(found, options, "here", kept_nbytes=kept_nbytes)
    plan = source.plan(lambda done, total: progress.append((done, total)))
    assert plan.columns == {"images": Schema("ndarray", "uint8", (4, 4, 3))}
    got: dict[Any, Any] = {}
    for batch in source.batches():
        part = batch.columns["images"]
        got.update(zip(part.keys, part.values, strict=True))
    source.close()
    assert list(got) == [name for name in names if name not in {"030.png", "050.png"}]
    for name, pixels in got.items():
        assert np.array_equal(pixels, np.asarray(Image.open(tmp_path / name).convert("RGB")))
    assert [skipped.path for skipped in source.skipped] == ["030.png", "050.png"]
    assert progress == sorted(progress)
    assert progress[-1] == (60, 60)


def test_batches_are_small(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.png", np.zeros((1200, 1200, 3), np.uint8))
    target = FakeTarget()
    import_into(target, tmp_path)
    assert max(target["images"].extended_nbytes) < 16 << 20
    assert len(target["images"].extended_nbytes) > 1


def bad_files(folder: Path) -> None:
    """Write one readable image and some that are not."""
    save(folder / "a/good.png", noise(8, 8, 3))
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(whole, "JPEG")
    (folder / "a/cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (folder / "a/text.png").write_text("this is no image")
    (folder / "a/empty.gif").write_bytes(b"")
    Image.new("F", (2, 2)).save(folder / "a/float.tif")


def test_unreadable_files_are_listed_with_reasons(tmp_path: Path) -> None:
    bad_files(tmp_path)
    target = FakeTarget()
    report = import_into(target, tmp_path)
    assert list(target["images"].values) == ["a/good.png"]
    reasons = skipped_names(report)
    assert set(reasons) == {"a/cut.jpg", "a/text.png", "a/empty.gif", "a/float.tif"}
    assert "truncated" in reasons["a/cut.jpg"]
    assert reasons["a/text.png"] == "it is no image that can be read"
    assert "floating-point" in reasons["a/float.tif"]
    # A file that was skipped has no say in the schema.
    assert target["images"].schema.shape == (8, 8, 3)


def test_strict_refuses_before_anything_is_staged(tmp_path: Path) -> None:
    bad_files(tmp_path)
    target = FakeTarget()
    with pytest.raises(UnreadableFileError, match=r"a/cut\.jpg: .*3 more like it"):
        import_into(target, tmp_path, strict=True)
    assert not target.columns


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.tif", "a.webp", "a.tga"])
def test_damaged_files_are_skipped_wherever_they_are_cut(tmp_path: Path, name: str) -> None:
    """Cut at many places and with flipped bytes: skipped or read, never an error or a hang."""
    whole = io.BytesIO()
    save(tmp_path / name, noise(12, 12, 3))
    whole.write((tmp_path / name).read_bytes())
    content = whole.getvalue()
    (tmp_path / name).unlink()
    for number, cut in enumerate(np.linspace(0, len(content) - 1, 25).astype(int)):
        (tmp_path / f"cut{number}-{name}").write_bytes(content[:cut])
        flipped = bytearray(content)
        flipped[cut] ^= 0xFF
        (tmp_path / f"flip{number}-{name}").write_bytes(flipped)
    save(tmp_path / "good.png", noise(3, 3, 3))
    target = FakeTarget()
    report = import_into(target, tmp_path, mode="RGB", resize=(12, 12), workers=1)
    assert "good.png" in target["images"].values
    assert len(report.skipped) + len(target["images"]) == 51
    assert report.skipped


def test_image_that_claims_too_many_pixels_is_skipped(tmp_path: Path) -> None:
    save(tmp_path / "good.png", noise(3, 3))
    # A bilevel picture of 900 million pixels in a few kilobytes.
    Image.new("1", (30_000, 30_000)).save(tmp_path / "bomb.tif", compression="group4")
    target = FakeTarget()
    report = import_into(target, tmp_path)
    assert (
        "30000 × 30000 pixels are more than the limit of 178,956,970"
        in (skipped_names(report)["bomb.tif"])
    )
    report = import_into(FakeTarget(), tmp_path / "good.png", max_pixels=9)
    assert not report.skipped
    with pytest.raises(InvalidInputError, match="1 skipped"):
        import_into(FakeTarget(), tmp_path / "good.png", max_pixels=8)


def test_links_are_not_followed(tmp_path: Path) -> None:
    save(tmp_path / "secret/1.png", noise(3, 3))
    save(tmp_path / "data/1.png", noise(3, 3))
    (tmp_path / "data/file.png").symlink_to(tmp_path / "secret/1.png")
    (tmp_path / "data/folder").symlink_to(tmp_path / "secret")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    (tmp_path / "data/broken.png").symlink_to(tmp_path / "nowhere")
    target = FakeTarget()
    report = import_into(target, tmp_path / "data")
    assert list(target["images"].values) == ["1.png"]
    assert set(skipped_names(report)) == {"file.png", "folder", "loop", "broken.png"}


def test_hidden_and_other_files_are_ignored(tmp_path: Path) -> None:
    save(tmp_path / "1.PNG", noise(3, 3))
    save(tmp_path / ".hidden.png", noise(3, 3))
    save(tmp_path / ".thumbnails/1.png", noise(3, 3))
    (tmp_path / "notes.txt").write_text("x")
    target = FakeTarget()
    report = import_into(target, tmp_path)
    assert list(target["images"].values) == ["1.PNG"]
    assert report.ignored_count == 3
    assert not report.skipped


def test_pipe_with_the_name_of_an_image_does_not_hang(tmp_path: Path) -> None:
    save(tmp_path / "1.png", noise(3, 3))
    os.mkfifo(tmp_path / "2.png")
    report = import_into(FakeTarget(), tmp_path)
    assert skipped_names(report) == {"2.png": "it is no plain file"}


def test_names_that_are_no_text_are_skipped(tmp_path: Path) -> None:
    save(tmp_path / "é.png", noise(3, 3))
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"")
    (tmp_path / os.fsdecode(b"\xfe")).mkdir()
    save(tmp_path / os.fsdecode(b"\xfe") / "in.png", noise(3, 3))
    target = FakeTarget()
    report = import_into(target, tmp_path)
    assert list(target["images"].values) == ["é.png"]
    assert set(skipped_names(report)) == {"\\xff.png", "\\xfe/in.png"}


@pytest.mark.parametrize("make", ["empty", "texts", "nothing"])
def test_nothing_to_import_says_so(tmp_path: Path, make: str) -> None:
    folder = tmp_path / "folder"
    if make != "nothing":
        folder.mkdir()
    if make == "texts":
        (folder / "a.txt").write_text("x")
    expected = "no such file" if make == "nothing" else "no image that can be read"
    with pytest.raises(InvalidInputError, match=expected):
        import_into(FakeTarget(), folder, format="images")


def test_images_without_a_folder_have_no_label(tmp_path: Path) -> None:
    save(tmp_path / "cat/1.png", noise(3, 3))
    save(tmp_path / "stray.png", noise(3, 3))
    target = FakeTarget()
    report = import_into(target, tmp_path, label_column="labels")
    assert list(target["images"].values) == ["cat/1.png"]
    assert skipped_names(report) == {"stray.png": "it is in no folder that could be its label"}
    with pytest.raises(InvalidInputError, match="1 skipped"):
        import_into(FakeTarget(), tmp_path / "stray.png", label_column="labels")


def test_classes_that_are_numbers_go_by_value(tmp_path: Path) -> None:
    for name in ("10", "9", "1"):
        save(tmp_path / name / "a.png", noise(3, 3))
    report = import_into(FakeTarget(), tmp_path, label_column="labels")
    assert report.class_names == ("1", "9", "10")


def test_second_import_updates_and_keeps_class_numbers(tmp_path: Path) -> None:
    save(tmp_path / "first/bird/1.png", noise(3, 3))
    save(tmp_path / "first/dog/1.png", noise(3, 3))
    save(tmp_path / "second/cat/1.png", noise(3, 3))
    newer = save(tmp_path / "second/dog/1.png", noise(3, 3))
    target = FakeTarget()
    import_into(target, tmp_path / "first", label_column="labels")
    report = import_into(target, tmp_path / "second", label_column="labels")
    assert report.created == ()
    assert target["labels_names"].values == {0: "bird", 1: "dog", 2: "cat"}
    assert {k: int(v) for k, v in target["labels"].items()} == {
        "bird/1.png": 0, "cat/1.png": 2, "dog/1.png": 1,
    }  # fmt: skip
    assert np.array_equal(target["images"]["dog/1.png"], newer)


def test_labels_of_unknown_classes_are_not_mixed_with_ours(tmp_path: Path) -> None:
    save(tmp_path / "cat/1.png", noise(3, 3))
    target = FakeTarget()
    target.add("labels", Schema("ndarray", "int64", ())).values["old"] = np.int64(4)
    with pytest.raises(InvalidInputError, match="no column 'labels_names'"):
        import_into(target, tmp_path, label_column="labels")
    assert set(target.columns) == {"labels"}


@pytest.mark.parametrize(
    ("present", "hint"),
    [
        (Schema("ndarray", "uint8", (3, 3, 3)), "mode='RGB'"),
        (Schema("ndarray", "uint8", (5, 5)), "resize=(5, 5)"),
        (Schema("ndarray", "float32", (3, 3)), "another column"),
        (Schema("ndarray", "uint8", (2, 9), variable_shape=True), "another column"),
        (Schema("str"), "another column"),
    ],
)
def test_schema_mismatch_is_found_before_anything_is_staged(
    tmp_path: Path, present: Schema, hint: str
) -> None:
    save(tmp_path / "cat/1.png", noise(3, 3))
    target = FakeTarget()
    target.add("images", present)
    with pytest.raises(SchemaMismatchError, match="uint8") as caught:
        import_into(target, tmp_path, label_column="labels")
    assert hint in (caught.value.hint or "")
    assert set(target.columns) == {"images"}
    assert not target["images"].values


def test_column_of_variable_shape_takes_smaller_images(tmp_path: Path) -> None:
    save(tmp_path / "1.png", noise(3, 3))
    target = FakeTarget()
    target.add("images", Schema("ndarray", "uint8", (3, None), variable_shape=True))
    import_into(target, tmp_path)
    assert target["images"]["1.png"].shape == (3, 3)


@pytest.mark.parametrize(
    ("key_from", "expected"),
    [("path", ["a/1.png", "a/2.png"]), ("stem", ["a/1", "a/2"]), ("name", ["1.png", "2.png"]),
     ("number", [0, 1])],
)  # fmt: skip
def test_key_from(tmp_path: Path, key_from: Any, expected: list[Any]) -> None:
    for name in ("a/1.png", "a/2.png"):
        save(tmp_path / name, noise(2, 2))
    target = FakeTarget()
    import_into(target, tmp_path, key_from=key_from)
    assert target["images"].keys() == expected


@pytest.mark.parametrize("key_from", ["stem", "name"])
def test_two_files_with_one_key(tmp_path: Path, key_from: Any) -> None:
    names = ("a/1.png", "a/1.gif") if key_from == "stem" else ("a/1.png", "b/1.png")
    for name in names:
        save(tmp_path / name, noise(2, 2))
    with pytest.raises(DuplicateKeyError, match="have one key"):
        import_into(FakeTarget(), tmp_path, key_from=key_from)


@pytest.mark.parametrize(
    "options",
    [{"resize": (0, 3)}, {"resize": (3,)}, {"mode": "CMYK"}, {"key_from": "hash"}, {"workers": 0},
     {"max_pixels": 0}, {"column": "a/b"}, {"label_column": ""}, {"label_column": "images"},
     {"extra": {"sheet": "1"}}],
)  # fmt: skip
def test_options_that_make_no_sense(tmp_path: Path, options: dict[str, Any]) -> None:
    save(tmp_path / "cat/1.png", noise(2, 2))
    target = FakeTarget()
    with pytest.raises(InvalidInputError):
        import_into(target, tmp_path, **options)
    assert not target.columns


def test_import_runs_in_a_script_without_a_main_guard(tmp_path: Path) -> None:
    """Decoder processes never import the script that imports."""
    for number in range(130):
        save(tmp_path / f"images/{number}.png", noise(2, 2))
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.unit.formats.fakes import FakeTarget
        from tensorvcs.formats.importing import import_into
        target = FakeTarget()
        import_into(target, {str(tmp_path / "images")!r}, workers=2)
        print(len(target["images"]))
        """)
    )
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (run.stdout, run.stderr) == ("130\n", "")
