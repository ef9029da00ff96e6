from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.checkout.areas import columns_of
from tensorvcs.checkout.reader import CheckoutColumns
from tensorvcs.errors import ColumnNotFoundError, InvalidInputError
from tensorvcs.history.merging.column_merge import merge_columns
from tensorvcs.history.picking.selection import Selection, take_back
from tests.memory_repository import MemoryRepository, contents_of

Contents = dict[str, dict[Any, Any]]


def two_versions(before: Any, after: Any) -> MemoryRepository:
    """Commit one change, then another."""
    repo = MemoryRepository()
    repo.commit(before)
    repo.commit(after)
    return repo


def split(
    repo: MemoryRepository, columns: Any = None, keys: Any = None
) -> tuple[Contents, Contents]:
    """Split what the last commit changed; return chosen and rest as plain dicts."""
    before, after = (columns_of(repo.stores, repo.resolve(r)) for r in ("main~1", "main"))
    parts = take_back(repo.nodes, before, after, Selection.of(columns, keys))
    chosen, rest = (
        contents_of(CheckoutColumns(repo.stores, repo.nodes, part, "a part")) for part in parts
    )
    return chosen, rest


@pytest.fixture
def repo() -> MemoryRepository:
    """Labels with one key each that is kept, changed, deleted and added; texts, and scans."""

    def before(co: Any) -> None:
        co.add_ndarray_column("labels", (), "int64").update(
            {1: 1, "cat/1": 1, "cat/2": 1, "dog": 1}
        )
        co.add_str_column("texts")["cat/1"] = "x"
        co.add_ndarray_column("scans", (), "int8", nested=True).update({"s": {1: 1}, 5: {1: 1}})

    def after(co: Any) -> None:
        co["labels"].update({1: 2, "cat/1": 2, "cat/3": 2})
        del co["labels"]["cat/2"]
        co["texts"]["cat/1"] = "y"
        co["scans"].update({"s": {1: 2, 2: 2}, 5: {"new": 2}})

    return two_versions(before, after)


def test_everything(repo: MemoryRepository) -> None:
    assert split(repo) == (repo.content("main"), repo.content("main~1"))
    assert split(repo, keys="*") == (repo.content("main"), repo.content("main~1"))


def test_a_column(repo: MemoryRepository) -> None:
    before, after = repo.content("main~1"), repo.content("main")
    for columns in ("texts", ["texts"], ("texts", "texts")):
        assert split(repo, columns) == (
            {**before, "texts": after["texts"]},
            {**after, "texts": before["texts"]},
        )


def test_keys_of_a_column(repo: MemoryRepository) -> None:
    before, after = repo.content("main~1"), repo.content("main")
    chosen, rest = split(repo, "labels", ["cat/[12]", 99])
    assert chosen == {**before, "labels": {1: 1, "cat/1": 2, "dog": 1}}
    assert rest == {
        **after, "labels": {1: 2, "cat/1": 1, "cat/2": 1, "cat/3": 2, "dog": 1},
    }  # fmt: skip


def test_keys_of_all_columns_and_samples_of_a_nested_one(repo: MemoryRepository) -> None:
    chosen, rest = split(repo, keys="5")
    assert chosen["scans"] == {5: {1: 1, "new": 2}, "s": {1: 1}}
    assert rest["scans"] == {5: {1: 1}, "s": {1: 2, 2: 2}}
    assert chosen["labels"] == {1: 1, "cat/1": 1, "cat/2": 1, "dog": 1}
    chosen, rest = split(repo, keys="cat/1")
    assert chosen["texts"] == {"cat/1": "y"}
    assert rest["texts"] == {"cat/1": "x"}


def test_new_and_deleted_columns() -> None:
    def before(co: Any) -> None:
        co.add_str_column("gone").update({"a": "1", "b": "1"})

    def after(co: Any) -> None:
        del co["gone"]
        co.add_str_column("new").update({"a": "2", "b": "2"})
        co.add_str_column("empty")

    repo = two_versions(before, after)
    assert split(repo, keys="a") == (
        {"gone": {"a": "1", "b": "1"}, "new": {"a": "2"}},
        {"new": {"b": "2"}, "empty": {}},
    )
    assert split(repo, keys=["a", "b"]) == (
        {"new": {"a": "2", "b": "2"}},
        {"gone": {"a": "1", "b": "1"}, "empty": {}},
    )
    # A column without samples is nobody's but its own.
    assert split(repo, "empty") == (
        {"gone": {"a": "1", "b": "1"}, "empty": {}},
        {"new": {"a": "2", "b": "2"}},
    )


def test_a_column_of_another_kind_goes_as_a_whole() -> None:
    def before(co: Any) -> None:
        co.add_ndarray_column("x", (), "int8", nested=True)["s"] = {1: 1}

    def after(co: Any) -> None:
        del co["x"]
        co.add_str_column("x")["s"] = "text"

    repo = two_versions(before, after)
    old, new = repo.content("main~1"), repo.content("main")
    assert split(repo, keys="s") == split(repo, keys="1") == (old, new)
    assert split(repo, keys="*") == split(repo, "x") == (new, old)


@pytest.mark.parametrize("columns", ["nope", ["labels", "nope"]])
def test_a_column_that_there_is_not(repo: MemoryRepository, columns: Any) -> None:
    with pytest.raises(ColumnNotFoundError, match="no column 'nope'; there are: labels, scans"):
        split(repo, columns)


@pytest.mark.parametrize(
    ("columns", "keys"), [([], None), ([3], None), (None, []), (None, ""), (None, [None])]
)
def test_what_is_no_selection(columns: Any, keys: Any) -> None:
    with pytest.raises(InvalidInputError):
        Selection.of(columns, keys)


def test_in_words() -> None:
    assert str(Selection.of(None, None)) == "everything"
    assert str(Selection.of("a", None)) == "column a"
    assert str(Selection.of(["a", "b"], ["cat/*", 5])) == "columns a, b; keys cat/*, 5"


def test_a_part_that_looks_renamed_where_the_whole_does_not() -> None:
    def before(co: Any) -> None:
        co.add_ndarray_column("one", (), "int64").update({0: 1, 1: 0})

    def after(co: Any) -> None:
        co["one"].update({0: 2, 5: 0})
        co.rename_column("one", "new")

    repo = two_versions(before, after)
    old, new = (columns_of(repo.stores, repo.resolve(r)) for r in ("main~1", "main"))
    chosen, rest = take_back(repo.nodes, old, new, Selection.of(None, 5))
    merged = merge_columns(repo.nodes, repo.stores.tensors, old, rest, chosen)
    assert not merged.conflicts
    assert merged.columns == new


KEYS = st.sampled_from([0, 1, 5, "5", "a", "a/1", "b"])
VALUES = st.dictionaries(KEYS, st.integers(0, 2))


@given(
    VALUES, VALUES, VALUES, VALUES, st.lists(KEYS, min_size=1), st.booleans(),
    st.sampled_from(["", "delete", "rename", "swap"]),
)  # fmt: skip
def test_the_two_parts_merge_to_the_whole(
    a: Any, b: Any, x: Any, y: Any, keys: Any, is_by_column: bool, reshaped: str
) -> None:
    """What is chosen and what is left make together what was there, and share nothing."""

    def before(co: Any) -> None:
        co.add_ndarray_column("one", (), "int64").update(a)
        co.add_ndarray_column("two", (), "int64").update(x)

    def after(co: Any) -> None:
        for name, goal in (("one", b), ("two", y)):
            for key in list(co[name].keys()):
                del co[name][key]
            co[name].update(goal)
        co["two"]["always"] = 1
        if reshaped in ("delete", "swap"):
            del co["one"]
        if reshaped == "rename":
            co.rename_column("one", "new")
        if reshaped == "swap":
            co.rename_column("two", "one")

    repo = two_versions(before, after)
    selection = Selection.of("one" if is_by_column else None, keys)
    old, new = (columns_of(repo.stores, repo.resolve(r)) for r in ("main~1", "main"))
    chosen, rest = take_back(repo.nodes, old, new, selection)
    merged = merge_columns(repo.nodes, repo.stores.tensors, old, rest, chosen)
    assert not merged.conflicts
    assert merged.columns == new
