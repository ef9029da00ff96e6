"""``tvcs export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


@pytest.fixture
def vectors(shell: Shell) -> Shell:
    """A column of four vectors in two commits, keys 0 to 3."""
    with shell.repository() as repo, repo.edit() as staging:
        column = staging.add_ndarray_column("vectors", (3,), "float32")
        column.extend(np.arange(12, dtype=np.float32).reshape(4, 3))
        staging.commit("First")
        column[0] = np.full(3, 9, np.float32)
        staging.commit("Second")
    return shell


def test_to_an_array_file(vectors: Shell) -> None:
    lines = vectors.ok("export", "out.npy").splitlines()
    assert lines[0] == "Wrote 4 samples of vectors"
    assert lines[1].endswith(" at out.npy")
    assert np.load(vectors.folder / "out.npy")[0].tolist() == [9, 9, 9]


def test_of_a_revision(vectors: Shell) -> None:
    document = vectors.json("export", "HEAD~1", "out.npy", "-c", "vectors")
    assert document["commit"] == vectors.id("HEAD~1")
    assert document["format"] == "npy"
    assert document["sample_counts"] == {"vectors": 4}
    assert np.load(vectors.folder / "out.npy")[0].tolist() == [0, 1, 2]


def test_one_sample(vectors: Shell) -> None:
    vectors.ok("export", "out.npz", "--key", "2", "--key", "3")
    with np.load(vectors.folder / "out.npz") as arrays:
        assert arrays["vectors"].tolist() == [[6, 7, 8], [9, 10, 11]]


def test_picture(shell: Shell) -> None:
    image = pytest.importorskip("PIL.Image")
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_ndarray_column("images", (8, 8), "uint8")["cat/1"] = picture
        staging.commit("First")
    shell.ok("export", "out", "--column", "images", "--format", "png")
    files = list((shell.folder / "out").rglob("*.png"))
    assert len(files) == 1
    with image.open(files[0]) as written:
        assert np.array_equal(np.asarray(written), picture)


def test_what_is_there_stays(vectors: Shell) -> None:
    vectors.ok("export", "HEAD~1", "out.npy")
    assert vectors.fails("export", "out.npy").startswith("Error: out.npy is there already\n")
    assert np.load(vectors.folder / "out.npy")[0].tolist() == [0, 1, 2]
    vectors.ok("export", "out.npy", "--overwrite")
    assert np.load(vectors.folder / "out.npy")[0].tolist() == [9, 9, 9]


def test_refused(vectors: Shell) -> None:
    assert vectors.fails("export", "out.npy", "-c", "nope").startswith(
        "Error: there is no column 'nope'\n"
    )
    assert vectors.fails("export", "out.npy", "-c", "nope", "-k", "1") == (
        "Error: there is no column 'nope'\n"
    )
    assert vectors.fails("export", "out.npy", "-k", "77") == (
        "Error: column 'vectors' has no sample 77\n"
    )
    assert vectors.fails("export", "a", "b", "c", code=2) == (
        "Error: expected [REV] DEST, not 3 words\nHint: see 'tvcs export --help'\n"
    )
    assert not (vectors.folder / "out.npy").exists()


def test_to_tables_and_archives(shell: Shell) -> None:
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_ndarray_column("labels", (), "int64").update({"a": 3, "b": 5})
        staging.add_str_column("names").update({"b": "x, y"})
        staging.commit("First")
    assert shell.ok("export", "out.csv") == (
        "Wrote 2 samples of labels\nWrote 1 sample of names\n1 file at out.csv\n"
    )
    assert (shell.folder / "out.csv").read_text() == 'key,labels,names\na,3,\nb,5,"x, y"\n'
    assert shell.json("export", "out.tar")["format"] == "webdataset"
    shell.ok("column", "delete", "labels")
    shell.ok("column", "delete", "names")
    shell.ok("import", "out.csv")
    assert shell.ok("diff") == ""
    shell.ok("import", "out.tar", "-c", "labels")
    assert shell.ok("diff") == ""
