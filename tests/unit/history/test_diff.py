from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import ColumnNotFoundError
from tests import model
from tests.memory_repository import MemoryRepository
from tests.strategies import FEW_KEYS

SAMPLES = st.dictionaries(FEW_KEYS, st.integers(0, 3), max_size=8)


def put_labels(samples: dict[Any, int]) -> Any:
    def change(co: Any) -> None:
        if "labels" not in co:
            co.add_ndarray_column("labels", (), "int64")
            co.add_str_column("always")
            co["always"]["x"] = "x"
        labels = co["labels"]
        labels.clear()
        labels.update(samples)
        co["always"]["count"] = str(len(list(co["always"]))) + "."
        co["always"]["when"] = str(np.random.default_rng().integers(2**62))

    return change


@given(SAMPLES, SAMPLES)
def test_a_diff_is_that_of_two_dicts(before: dict[Any, int], after: dict[Any, int]) -> None:
    repo = MemoryRepository()
    repo.commit(put_labels(before))
    repo.commit(put_labels(after))
    diff = repo.diff("main~1")
    added, deleted, modified = model.diff_columns(before, after)
    if not (added or deleted or modified):
        assert "labels" not in diff.columns
        return
    found = diff.columns["labels"]
    assert (list(found.added), list(found.deleted), list(found.modified)) == (
        added,
        deleted,
        modified,
    )
    assert {c.key: (c.before, c.after) for c in found.changes()} == {
        key: (before.get(key), after.get(key)) for key in added + deleted + modified
    }
    listed = [change.key for change in found.changes()]
    assert listed == model.in_key_order(listed)
    stat = found.stat()
    assert (stat.added, stat.deleted, stat.modified, stat.is_schema_changed) == (
        len(added),
        len(deleted),
        len(modified),
        False,
    )
    assert stat.total == len(listed)
    back = repo.diff("main", "main~1").columns["labels"]
    assert (list(back.added), list(back.deleted)) == (deleted, added)


@pytest.fixture
def repo() -> MemoryRepository:
    made = MemoryRepository()

    def first(co: Any) -> None:
        images = co.add_ndarray_column("images", (5, 5, 3), "uint8")
        images.extend(np.arange(300, dtype=np.uint8).reshape(4, 5, 5, 3))
        scans = co.add_ndarray_column("scans", (2,), "float32", nested=True)
        scans["a"] = {1: [1, 1], "s": [2, 2]}
        scans[7] = {1: [1, 1]}
        co.add_bytes_column("blobs")["x"] = b"x"
        co.add_str_column("gone")["x"] = "y"

    def second(co: Any) -> None:
        co["images"][2] = np.zeros((5, 5, 3), np.uint8)
        co["images"]["new"] = np.zeros((5, 5, 3), np.uint8)
        del co["images"][0]
        co["scans"]["a"][1] = [9, 9]
        del co["scans"]["a"]["s"]
        co["scans"]["b"] = {0: [0, 0]}
        del co["gone"]
        co.add_str_column("fresh")["k"] = "v"
        del co["blobs"]
        co.add_bytes_column("blobs", nested=True)["x"] = {"x": b"x"}

    made.commit(first)
    made.commit(second)
    return made


def test_every_kind_of_change_is_seen(repo: MemoryRepository) -> None:
    diff = repo.diff("main~1")
    assert list(diff.columns) == ["blobs", "fresh", "gone", "images", "scans"]
    images = diff.columns["images"]
    assert images.added == ["new"]
    assert images.deleted == [0]
    assert images.modified == [2]
    assert images.schema is None
    scans = diff.columns["scans"]
    assert list(scans.added) == [("b", 0)]
    assert list(scans.deleted) == [("a", "s")]
    assert list(scans.modified) == [("a", 1)]
    fresh, gone, blobs = (diff.columns[name] for name in ("fresh", "gone", "blobs"))
    assert fresh.is_added
    assert not fresh.is_deleted
    assert fresh.schema is not None
    assert fresh.schema[0] is None
    assert gone.is_deleted
    assert list(gone.deleted) == ["x"]
    # A column of values of another kind is another column under the same name.
    assert list(blobs.deleted) == ["x"]
    assert list(blobs.added) == [("x", "x")]
    assert blobs.stat().is_schema_changed
    assert str(diff.stat()).splitlines()[0] == "blobs   +1 -1 ~0  schema"
    assert (diff.stat().added, diff.stat().deleted, diff.stat().modified) == (4, 4, 2)
    assert bool(diff)


def test_nothing_differs_from_itself(repo: MemoryRepository) -> None:
    diff = repo.diff("main", "main")
    assert diff.is_empty
    assert not diff
    assert str(diff.stat()) == "no changes"
    assert repr(diff) == "<Diff: no changes>"
    assert diff._repr_html_() == "<p>no changes</p>"


def test_a_diff_of_some_columns(repo: MemoryRepository) -> None:
    assert list(repo.diff("main~1", columns=["images"]).columns) == ["images"]
    assert repo.diff("main", "main", columns=["images"]).is_empty
    with pytest.raises(ColumnNotFoundError, match="'nothing'"):
        repo.diff("main~1", columns=["images", "nothing"])


def test_changes_have_the_values_of_both_sides(repo: MemoryRepository) -> None:
    changes = {c.key: c for c in repo.diff("main~1").columns["images"].changes()}
    assert changes[0].after is None
    assert changes[0].before.shape == (5, 5, 3)
    assert changes["new"].before is None
    assert not changes[2].after.any()
    nested = {c.key: c for c in repo.diff("main~1").columns["scans"].changes()}
    assert nested["a", 1].before.tolist() == [1, 1]
    assert nested["a", 1].after.tolist() == [9, 9]


def test_keys_of_a_diff_are_a_sequence(repo: MemoryRepository) -> None:
    keys = repo.diff("main~1").columns["images"].added
    assert len(keys) == 1
    assert keys[0] == keys[-1] == "new"
    assert keys[:5] == ["new"]
    assert "new" in keys
    assert keys != ["old"]
    with pytest.raises(IndexError):
        keys[1]
    assert repr(keys) == "['new']"


def test_the_pages_show_pictures_and_escape_keys(repo: MemoryRepository) -> None:
    def change(co: Any) -> None:
        co["images"]["<script>"] = np.zeros((5, 5, 3), np.uint8)

    repo.commit(change)
    page = repo.diff("main~1")._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert page.count("data:image/png") == 1
    assert "images" in repr(repo.diff("main~1"))


def test_a_diff_reads_only_what_differs() -> None:
    repo = MemoryRepository()

    def first(co: Any) -> None:
        co.add_ndarray_column("labels", (), "int64").extend(np.arange(100_000))

    repo.commit(first)
    repo.commit(lambda co: co["labels"].update({50_000: -1}))
    repo.nodes = type(repo.nodes)(repo.stores.objects)
    repo.objects.get_count = 0
    stat = repo.diff("main~1").stat()
    assert (stat.added, stat.deleted, stat.modified) == (0, 0, 1)
    # Two commits and snapshots, and two paths of the tree.
    assert repo.objects.get_count <= 4 + 2 * 4
