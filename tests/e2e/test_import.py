"""``tvcs import``."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.shell import Shell

RECORD = "\nRecord them with 'tvcs commit -m MESSAGE'; 'tvcs diff' lists them.\n"


@pytest.fixture
def photos(shell: Shell) -> Path:
    """Two folders of two pictures, one broken picture, and a file of another sort."""
    image = pytest.importorskip("PIL.Image")
    folder = shell.folder / "photos"
    for place, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(np.full((8, 6, 3), place, np.uint8)).save(file)
    (folder / "dog" / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("hello")
    return folder


def test_pictures_with_labels(shell: Shell, photos: Path) -> None:
    result = shell.run("import", "photos", "--label-column", "labels", "--workers", "1")
    assert result.code == 0
    assert result.stdout == (
        "Staged 4 samples in images, a new column\n"
        "2 classes: cat, dog\n"
        "Passed over 1 file of other sorts\n"
        "Skipped 1 file that cannot be read:\n"
        "  dog/broken.png: it is no image that can be read\n" + RECORD
    )
    assert shell.ok("diff", "--stat") == (
        " images       | +4 -0 ~0  new column, uint8 (8, 6, 3)\n"
        " labels       | +4 -0 ~0  new column, int64 ()\n"
        " labels_names | +2 -0 ~0  new column, str\n"
        " 3 columns changed: 10 samples added, 0 deleted, 0 modified\n"
    )


def test_the_same_again_stages_nothing(shell: Shell, photos: Path) -> None:
    (photos / "dog" / "broken.png").unlink()
    (photos / "notes.txt").unlink()
    shell.run("import", "photos", "--workers", "1")
    shell.ok("commit", "-m", "First")
    assert shell.run("import", "photos", "--workers", "1").stdout == (
        "Staged 4 samples in images\n"
        "\n"
        "All of it is in the current commit already: there is nothing to commit.\n"
    )


def test_resize_and_mode(shell: Shell, photos: Path) -> None:
    document = shell.run(
        *("import", "photos", "--resize", "4x5", "--mode", "L", "--key-from", "number"),
        *("-c", "small", "--workers", "1", "--json"),
    ).document
    assert document["sample_counts"] == {"small": 4}
    assert document["created"] == ["small"]
    assert document["skipped"][0]["path"] == "dog/broken.png"
    assert document["is_dirty"]
    assert shell.ok("column", "list") == "small  uint8 (4, 5)  4 samples\n"


def test_strict_stages_nothing(shell: Shell, photos: Path) -> None:
    errors = shell.fails("import", "photos", "--strict", "--workers", "1")
    assert errors.startswith("Error: dog/broken.png: ")
    assert shell.ok("diff") == ""


def test_array_file(shell: Shell) -> None:
    np.save(shell.folder / "vectors.npy", np.arange(12, dtype=np.float32).reshape(4, 3))
    assert shell.ok("import", "vectors.npy", "--column", "vectors") == (
        "Staged 4 samples in vectors, a new column\n" + RECORD
    )
    assert shell.ok("column", "list") == "vectors  float32 (3)  4 samples\n"


def test_refused(shell: Shell) -> None:
    assert shell.fails("import", "nope") == "Error: nope: there is no such file or folder\n"
    for size in ("8", "axb", "0x4"):
        assert shell.fails("import", "x", "--resize", size, code=2) == (
            f"Error: Invalid value for '--resize': '{size}' is not of the form HEIGHTxWIDTH, "
            "such as 224x224\n"
            "Hint: see 'tvcs import --help'\n"
        )
    (shell.folder / "x.npy").write_bytes(b"")
    assert "nonsense" in shell.fails("import", "x.npy", "--format", "nonsense")
    assert shell.fails("import", code=2) == (
        "Error: Missing argument 'SOURCE'.\nHint: see 'tvcs import --help'\n"
    )


def test_a_column_of_another_schema(shell: Shell) -> None:
    np.save(shell.folder / "vectors.npy", np.zeros((4, 3), np.float32))
    shell.ok("column", "create", "vectors", "--dtype", "int8")
    assert shell.fails("import", "vectors.npy", "-c", "vectors") == (
        "Error: column 'vectors': the import does not fit the column that is there "
        "(found float32 (3), expected int8 ())\n"
        "Hint: import into another column\n"
    )


def test_a_table_of_text(shell: Shell) -> None:
    (shell.folder / "people.csv").write_text("name,age,city\nann,31,Rome\nbob,,Oslo\n")
    assert shell.ok("import", "people.csv", "-o", "key=name", "-o", "types=age:int16") == (
        "Staged 1 sample in age, a new column\n"
        "Staged 2 samples in city, a new column\n"
        "Note: column 'age': 1 of 2 rows have no value, and give no sample\n" + RECORD
    )
    assert shell.ok("column", "list") == "age   int16 ()  1 sample\ncity  str       2 samples\n"
    (shell.folder / "ragged.csv").write_text("a,b\n1,2\n3\n")
    assert shell.fails("import", "ragged.csv") == (
        "Error: ragged.csv, line 3: 1 cells, where the first line has 2\n"
    )
    (shell.folder / "twice.csv").write_text("key,b\nx,2\nx,3\n")
    assert shell.fails("import", "twice.csv") == (
        "Error: twice.csv: rows 1 and 2 have one key, 'x'\n"
    )
    assert shell.fails("import", "people.csv", "-o", "key=id") == (
        "Error: people.csv has no column 'id'; it has name, age, city\n"
    )
    assert len(shell.ok("column", "list").splitlines()) == 2


def test_a_typed_table(shell: Shell) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"key": ["a", "b"], "x": [1, 2]}), shell.folder / "t.parquet")
    assert shell.ok("import", "t.parquet") == "Staged 2 samples in x, a new column\n" + RECORD


def test_an_archive_of_samples(shell: Shell) -> None:
    with tarfile.open(shell.folder / "train.tar", "w") as archive:
        for name, content in (
            ("cat/1.cls", b"3"), ("cat/1.txt", b"a cat"), ("../evil.txt", b"x"), ("dog.cls", b"?"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert shell.run("import", "train.tar").stdout == (
        "Staged 1 sample in labels, a new column\n"
        "Staged 1 sample in texts, a new column\n"
        "Skipped 2 files that cannot be read:\n"
        "  train.tar: ../evil.txt: its name leads out of the archive\n"
        "  train.tar: dog.cls: '?' is no class number\n" + RECORD
    )
    with shell.repository() as repo, repo.edit() as staging:
        assert staging["texts", "cat/1"] == "a cat"
    whole = (shell.folder / "train.tar").read_bytes()
    (shell.folder / "cut.tar").write_bytes(whole[:700])
    assert shell.fails("import", "cut.tar").startswith("Error: cut.tar: it cannot be read: ")
