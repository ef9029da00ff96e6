from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.errors import ColumnNotFoundError, InvalidInputError, ObjectNotFoundError
from tensorvcs.history.difference import changed_column
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
    sizes = found.sizes()
    assert list(sizes.keys) == modified
    assert sizes.l2.tolist() == [abs(before[key] - after[key]) for key in modified]
    by_size = list(found.changes("size"))
    assert sorted(map(repr, by_size)) == sorted(map(repr, found.changes()))
    apart = [change.size.l2 for change in by_size[: len(modified)] if change.size]
    assert apart == sorted(sizes.l2, reverse=True)
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
    # One added sample: its picture alone.
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


# Renames


def make_renamed(change: Any = None) -> MemoryRepository:
    repo = MemoryRepository()

    def first(co: Any) -> None:
        co.add_str_column("texts").update({"a": "x", "b": "y", 3: "z"})
        co.add_str_column("other").update({"a": "1"})

    def rename(co: Any) -> None:
        co.rename_column("texts", "words")
        if change is not None:
            change(co["words"])

    repo.commit(first)
    repo.commit(rename)
    return repo


def test_a_renamed_column_is_one_column() -> None:
    repo = make_renamed(lambda words: words.update({"b": "changed"}))
    diff = repo.diff("main~1")
    assert list(diff.columns) == ["words"]
    assert diff.renames == {"texts": "words"}
    words = diff.columns["words"]
    assert words.renamed_from == "texts"
    assert (list(words.added), list(words.deleted), list(words.modified)) == ([], [], ["b"])
    assert words.schema is None
    assert not words.is_added
    assert not words.is_deleted
    assert [(c.before, c.after) for c in words.changes()] == [("y", "changed")]
    assert repr(diff) == "<Diff: texts → words +0 -0 ~1>"
    assert repr(words) == "<ColumnDiff 'words' renamed from 'texts': +0 -0 ~1>"
    assert str(diff.stat()) == "words  +0 -0 ~1  renamed from texts"
    assert repo.diff("main", "main~1").renames == {"words": "texts"}


def test_a_renamed_column_differs_without_changed_samples() -> None:
    diff = make_renamed().diff("main~1")
    assert not diff.is_empty
    assert not diff.columns["words"].is_empty
    assert diff.stat().columns["words"].total == 0


@pytest.mark.parametrize("names", [["words"], ["texts"], ["texts", "words"]])
def test_either_name_of_a_renamed_column_will_do(names: list[str]) -> None:
    assert list(make_renamed().diff("main~1", columns=names).columns) == ["words"]
    assert make_renamed().diff("main~1", columns=["other"]).is_empty


def test_staging_sees_renames() -> None:
    repo = make_renamed()
    with repo.edit() as co:
        co.rename_column("words", "captions")
        assert co.diff().renames == {"words": "captions"}
        assert co.is_dirty


def test_a_tree_that_is_not_here_is_not_searched_for_renames() -> None:
    repo = MemoryRepository()
    repo.commit(lambda co: co.add_str_column("texts").update({"a": "x"}))
    old = repo.load("main")
    nodes = set(repo.objects.objects) - {bytes(old.digest), bytes(old.object.snapshot)}

    def rename(co: Any) -> None:
        co.rename_column("texts", "words")
        co["words"]["b"] = "y"

    repo.commit(rename)
    repo.nodes = type(repo.nodes)(repo.stores.objects)
    for digest in nodes:
        del repo.objects.objects[digest]
    diff = repo.diff("main~1")
    assert diff.renames == {}
    assert diff.columns["texts"].is_deleted
    assert diff.columns["words"].is_added
    with pytest.raises(ObjectNotFoundError):
        diff.stat()
    # What a person looks at tells so, and does not raise.
    assert repr(diff) == "<Diff: texts not here; words +2 -0 ~0>"
    assert repr(diff.columns["texts"]) == "<ColumnDiff 'texts': not here>"
    assert diff._repr_html_().startswith("<p>ColumnDiff &#x27;texts&#x27;: not here; ")


# Sizes


def put_values(columns: dict[str, Any]) -> Any:
    """Return a change that fills columns: of the shape of a stack, or with variable shape."""

    def change(co: Any) -> None:
        for name, values in columns.items():
            if name in co:
                co[name].update(values)
                continue
            one = next(iter(values.values()))
            if isinstance(one, str):
                column = co.add_str_column(name)
            elif name == "crops":
                column = co.add_ndarray_column(name, (None, None), one.dtype, variable_shape=True)
            else:
                column = co.add_ndarray_column(name, one.shape, one.dtype)
            column.update(values)

    return change


@pytest.fixture
def sized() -> MemoryRepository:
    """Pictures, vectors, texts and crops; those of a higher key changed more."""
    made = MemoryRepository()
    keys = [5, 6, "a", "b", "c"]
    zeros = np.zeros((16, 16), np.uint8)
    made.commit(
        put_values(
            {
                "images": {key: zeros + 5 * at for at, key in enumerate(keys)},
                "vectors": {key: np.zeros(2, "float32") for key in keys},
                "texts": dict.fromkeys(keys, "abcd"),
                "crops": {key: zeros[: 4 + at] for at, key in enumerate(keys)},
            }
        )
    )

    def second(co: Any) -> None:
        for at, key in enumerate(keys[:4]):
            co["images"][key] = zeros + 5 * at + at + 1
            co["vectors"][key] = [3 * (at + 1), 4 * (at + 1)]
            co["texts"][key] = "x" * (at + 1) + "abcd"[at + 1 :]
            co["crops"][key] = zeros[: 4 + at + (at == 2)] + at + 1
        del co["images"]["c"]
        co["images"][1] = zeros

    made.commit(second)
    return made


def test_sizes_are_those_of_each_change(sized: MemoryRepository) -> None:
    columns = sized.diff("main~1").columns
    images = columns["images"].sizes()
    assert list(images.keys) == [5, 6, "a", "b"]
    assert images.max_absolute.tolist() == [1, 2, 3, 4]
    assert images.l2.tolist() == [16, 32, 48, 64]
    assert not np.isnan(images.psnr).any()
    assert columns["vectors"].sizes().l2.tolist() == [5, 10, 15, 20]
    assert columns["texts"].sizes().changed_fraction.tolist() == [0.25, 0.5, 0.75, 1]
    crops = columns["crops"].sizes()
    assert crops.max_absolute[[0, 1, 3]].tolist() == [1, 2, 4]
    assert np.isnan(crops.l2[2])
    for column in columns.values():
        changes = [change for change in column.changes() if change.sign == "~"]
        assert [change.size for change in changes] == list(column.sizes())


def test_the_largest_changes_come_first(sized: MemoryRepository) -> None:
    columns = sized.diff("main~1").columns
    images = list(columns["images"].changes("size"))
    assert [change.key for change in images] == ["b", "a", 6, 5, 1, "c"]
    assert [change.sign for change in images] == ["~"] * 4 + ["+", "-"]
    assert images[1].after[0, 0] == 13
    assert [c.key for c in columns["images"].changes("size", 2)] == ["b", "a"]
    assert [c.key for c in columns["images"].changes("size", 5)] == ["b", "a", 6, 5, 1]
    assert [c.key for c in columns["crops"].changes("size")] == ["a", "b", 6, 5]
    assert list(columns["images"].changes("size", 0)) == []


def test_changes_are_limited(sized: MemoryRepository) -> None:
    images = sized.diff("main~1").columns["images"]
    assert [change.key for change in images.changes(limit=3)] == [1, 5, 6]
    assert list(images.changes(limit=0)) == []
    assert len(images.sizes(2)) == 2
    assert len(images.sizes(0)) == 0
    assert len(images.sizes(100)) == 4
    assert images.sizes() is images.sizes()
    assert len(images.sizes(3)) == 3
    for wrong in (
        lambda: images.changes("name"),  # type: ignore[arg-type]
        lambda: images.changes(limit=-1),
        lambda: images.sizes(-1),
        lambda: images.sizes(limit_nbytes=-1),
    ):
        with pytest.raises(InvalidInputError):
            wrong()


@pytest.mark.parametrize("piece_nbytes", [1, 300, 600])
def test_values_are_read_piece_by_piece(
    sized: MemoryRepository, monkeypatch: pytest.MonkeyPatch, piece_nbytes: int
) -> None:
    whole = {
        name: (list(column.sizes().l2), [c.key for c in column.changes("size")])
        for name, column in sized.diff("main~1").columns.items()
    }
    reads = count_reads(sized, monkeypatch)
    monkeypatch.setattr(changed_column, "_PIECE_NBYTES", piece_nbytes)
    monkeypatch.setattr(changed_column, "_PIECE_VALUES", 1)
    for name, column in sized.diff("main~1").columns.items():
        found = (list(column.sizes().l2), [c.key for c in column.changes("size")])
        assert repr(found) == repr(whole[name])
    assert max(reads) <= max(1, piece_nbytes // 256)


def count_reads(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of values of each read."""
    reads: list[int] = []
    read = repo.stores.tensors.read

    def counted(schema: Any, digests: Any) -> Any:
        reads.append(len(digests))
        return read(schema, digests)

    monkeypatch.setattr(repo.stores.tensors, "read", counted)
    return reads


def test_only_what_is_shown_is_read(
    sized: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = count_reads(sized, monkeypatch)
    images = sized.diff("main~1").columns["images"]
    images.stat()
    assert reads == []
    next(images.changes(limit=1))
    assert sum(reads) == 1
    reads.clear()
    images.sizes(2)
    assert sum(reads) == 2 * 2
    reads.clear()
    # The first piece has the ints.
    images.sizes(limit_nbytes=1)
    assert sum(reads) == 2 * 2
    images.sizes()
    reads.clear()
    # All are measured already, so only those that are yielded are read.
    list(images.changes("size", 2))
    assert sum(reads) == 2 * 2


def test_a_limit_of_bytes_ends_between_pieces(
    sized: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed_column, "_PIECE_NBYTES", 1)
    monkeypatch.setattr(changed_column, "_PIECE_VALUES", 1)
    columns = sized.diff("main~1").columns
    assert len(columns["images"].sizes(limit_nbytes=513)) == 2
    assert len(columns["images"].sizes(limit_nbytes=512)) == 1
    assert len(columns["crops"].sizes(limit_nbytes=1)) == 1
    assert len(columns["texts"].sizes(limit_nbytes=9)) == 2
    assert len(columns["images"].sizes(limit_nbytes=0)) == 0


def test_a_column_of_another_fixed_shape_is_all_changed() -> None:
    repo = MemoryRepository()
    keys = range(3)
    repo.commit(
        lambda co: co.add_ndarray_column("x", (9, 9), "uint8").extend(np.ones((3, 9, 9), "u1"))
    )

    def again(co: Any) -> None:
        del co["x"]
        co.add_ndarray_column("x", (8, 9), "uint8").extend(np.ones((3, 8, 9), "u1"))

    repo.commit(again)
    column = repo.diff("main~1").columns["x"]
    assert list(column.modified) == list(keys)
    assert column.sizes().changed_fraction.tolist() == [1, 1, 1]
    assert [change.size for change in column.changes()] == list(column.sizes())


def test_a_column_of_another_kind_has_no_sizes(repo: MemoryRepository) -> None:
    blobs = repo.diff("main~1").columns["blobs"]
    assert len(blobs.sizes()) == 0
    assert [change.sign for change in blobs.changes("size")] == ["-", "+"]
    nested = repo.diff("main~1").columns["scans"]
    assert list(nested.sizes().keys) == [("a", 1)]
    assert [change.key for change in nested.changes("size")] == [("a", 1), ("a", "s"), ("b", 0)]
    same = repo.diff("main", "main")
    assert same.columns == {}


def test_pages_show_what_changed(sized: MemoryRepository) -> None:
    page = sized.diff("main~1").columns["images"]._repr_html_()
    # Four times before, after and the difference; one picture was added and one is gone.
    assert page.count("data:image/png") == 4 * 3 + 2
    assert "l2 64, max 4" in page


def test_pages_show_a_few_changes_of_many() -> None:
    many = MemoryRepository()
    many.commit(lambda co: co.add_str_column("t").update(dict.fromkeys(range(20), "x")))
    many.commit(lambda co: co["t"].update(dict.fromkeys(range(20), "y")))
    shown = many.diff("main~1").columns["t"]._repr_html_()
    assert ">7<" in shown
    assert ">8<" not in shown
    assert "…" in shown


def test_pages_say_when_values_are_not_here(sized: MemoryRepository) -> None:
    sized.stores.tensors.values.clear()  # type: ignore[attr-defined]
    page = sized.diff("main~1").columns["images"]._repr_html_()
    assert page.startswith("<p>ColumnDiff &#x27;images&#x27;: +1 -1 ~4; ")
    assert "is not here" in page
    with pytest.raises(ObjectNotFoundError):
        sized.diff("main~1").columns["images"].sizes()
