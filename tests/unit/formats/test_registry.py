from __future__ import annotations

import sys
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tensorvcs.errors import FormatNotFoundError, MissingDependencyError, UnreadableFileError
from tensorvcs.formats import registry
from tensorvcs.formats.importing import import_into
from tensorvcs.formats.interfaces import Batch, ColumnBatch, Plan
from tensorvcs.objects.schema import Schema
from tests.unit.formats.fakes import FakeTarget

if TYPE_CHECKING:
    from pathlib import Path

BUILT_IN = ["csv", "hdf5", "images", "npy", "npz", "parquet", "webdataset"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[metadata.EntryPoint]:
    """Entry points as if packages had been installed."""
    entries: list[metadata.EntryPoint] = []
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries)
    return entries


class WordsSource:
    """Lines of a text file; what a format of another package may be."""

    skipped = ()
    notes = ("read by another package",)
    ignored_count = 0

    def __init__(self, path: Path) -> None:
        self._lines = path.read_text().splitlines()
        self.is_closed = False

    def plan(self, progress: object = None) -> Plan:
        return Plan({"words": Schema("str")}, len(self._lines), ("long", "short"))

    def batches(self) -> Any:
        for number, line in enumerate(self._lines):
            kind = "long" if len(line) > 3 else "short"
            yield Batch({"words": ColumnBatch([number], [line])}, ColumnBatch([number], [kind]))

    def close(self) -> None:
        self.is_closed = True


def words_format(name: str = "words") -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        aliases=("txt",),
        detect=lambda source: source.suffix == ".words",
        open=lambda source, options: WordsSource(source),
        accepts=lambda columns, destination: False,
        write=None,
    )


@pytest.fixture
def words(
    installed: list[metadata.EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> list[metadata.EntryPoint]:
    module = ModuleType("other_package")
    module.__dict__["FORMAT"] = words_format()
    monkeypatch.setitem(sys.modules, "other_package", module)
    installed.append(metadata.EntryPoint("words", "other_package:FORMAT", registry.GROUP))
    return installed


def test_built_in_formats_need_no_metadata(installed: list[metadata.EntryPoint]) -> None:
    assert registry.format_names() == BUILT_IN
    for name in registry.format_names():
        assert registry.find_format(name).name == name


@pytest.mark.parametrize(
    ("alias", "name"), [("png", "images"), ("PNG", "images"), ("h5", "hdf5"), ("jpg", "images")]
)
def test_aliases(alias: str, name: str) -> None:
    assert registry.find_format(alias).name == name


def test_unknown_name_lists_the_known(installed: list[metadata.EntryPoint]) -> None:
    with pytest.raises(FormatNotFoundError, match="'tiff2'") as caught:
        registry.find_format("tiff2")
    assert caught.value.hint == f"formats are {', '.join(BUILT_IN)}"


def test_format_of_another_package(tmp_path: Path, words: list[metadata.EntryPoint]) -> None:
    (tmp_path / "a.words").write_text("a\nlonger")
    assert registry.format_names() == [*BUILT_IN, "words"]
    assert registry.find_format("txt").name == "words"
    target = FakeTarget()
    report = import_into(target, tmp_path / "a.words", label_column="kind")
    assert (report.format, report.notes) == ("words", ("read by another package",))
    assert target["words"].values == {0: "a", 1: "longer"}
    assert [int(target["kind"][key]) for key in (0, 1)] == [1, 0]


def test_built_in_formats_cannot_be_replaced(installed: list[metadata.EntryPoint]) -> None:
    installed.append(metadata.EntryPoint("npy", "evil:FORMAT", registry.GROUP))
    assert registry.find_format("npy").__class__.__module__ == "tensorvcs.formats.arrays"


def test_broken_package_stops_nobody_else(
    tmp_path: Path, words: list[metadata.EntryPoint], caplog: pytest.LogCaptureFixture
) -> None:
    words.insert(0, metadata.EntryPoint("broken", "no_such_module:FORMAT", registry.GROUP))
    (tmp_path / "a.words").write_text("a")
    assert registry.detect_format(tmp_path / "a.words").name == "words"
    assert "no_such_module" in caplog.text
    with pytest.raises(FormatNotFoundError, match="cannot be loaded"):
        registry.find_format("broken")


def test_detection(tmp_path: Path) -> None:
    (tmp_path / "pictures/deep").mkdir(parents=True)
    Image.new("L", (2, 2)).save(tmp_path / "pictures/deep/a.JPG", "JPEG")
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays/a.npy", np.arange(2))
    np.savez(tmp_path / "a.npz", a=np.arange(2))
    for name, expected in [
        ("pictures", "images"), ("pictures/deep/a.JPG", "images"), ("arrays", "npy"),
        ("arrays/a.npy", "npy"), ("a.npz", "npz"),
    ]:  # fmt: skip
        assert registry.detect_format(tmp_path / name).name == expected


def test_what_no_format_knows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FormatNotFoundError, match="no format knows this file"):
        registry.detect_format(tmp_path / "a.txt")
    with pytest.raises(FormatNotFoundError, match="no format knows this folder"):
        registry.detect_format(tmp_path / "folder")
    with pytest.raises(UnreadableFileError, match="no such file"):
        registry.detect_format(tmp_path / "nothing")


def test_missing_pillow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError) as caught:
        import_into(FakeTarget(), tmp_path)
    assert caught.value.hint == "pip install 'tensorvcs[images]'"
