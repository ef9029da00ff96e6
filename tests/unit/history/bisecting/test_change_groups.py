"""Units of changes in groups by column, source and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorvcs.checkout.areas import columns_of
from tensorvcs.history.bisecting.change_groups import (
    group_by_column,
    group_by_keys,
    group_by_source,
)
from tensorvcs.history.bisecting.change_units import ChangeUnits, cut_changes
from tensorvcs.objects.commit import Identity
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorvcs.history.bisecting.culprit_search import Grouping
    from tensorvcs.history.commit import Commit

BOB = Identity("Bob", "bob@example.org")


def put(
    repo: MemoryRepository,
    columns: Mapping[str, Mapping[Any, Any]],
    branch: str = "main",
    author: Identity | None = None,
    source: str | None = None,
) -> Commit:
    with repo.edit(branch) as co:
        for name, values in columns.items():
            if name not in co:
                is_nested = any(isinstance(value, dict) for value in values.values())
                co.add_ndarray_column(name, (), "int64", nested=is_nested)
            for key, value in values.items():
                if value is None:
                    del co[name][key]
                else:
                    co[name][key] = value
        return co.commit("m", author, metadata={"source": source} if source else None)


def between(repo: MemoryRepository, before: str, after: str = "main") -> ChangeUnits:
    columns = [columns_of(repo.stores, repo.resolve(revision)) for revision in (before, after)]
    return cut_changes(repo.nodes, *columns, whole_samples=True)


def groups(changes: ChangeUnits, grouping: Grouping) -> dict[str, list[Any]]:
    """Return the keys of the units in each group."""
    return {
        name: changes.keys_of((grouping.codes == code).nonzero()[0])
        for code, name in enumerate(grouping.names)
        if (grouping.codes == code).any()
    }


def sources(repo: MemoryRepository, changes: ChangeUnits, **options: Any) -> dict[str, list[Any]]:
    options = {"is_one_commit": False, "source_key": "source", **options}
    grouping = group_by_source(repo.objects, repo.nodes, changes, repo.load("main"), **options)
    return groups(changes, grouping)


def test_by_column() -> None:
    repo = MemoryRepository()
    put(repo, {"x": {"a": 1}, "y": {"a": 1}})
    put(repo, {"x": {"a": 2, "b": 1}, "y": {"b": 1}})
    changes = between(repo, "main~1")
    assert groups(changes, group_by_column(changes)) == {"x": ["a"], "x, y": ["b"]}


def test_the_samples_of_one_commit_have_its_source() -> None:
    repo = MemoryRepository()
    put(repo, {"x": {"a": 1}})
    put(repo, {"x": {"a": 2}}, source="uni-1")
    reads = repo.objects.get_count
    changes = between(repo, "main~1")
    assert sources(repo, changes, is_one_commit=True) == {"uni-1": ["a"]}
    assert repo.objects.get_count - reads < 20
    assert sources(repo, changes, is_one_commit=True, source_key="by") == {
        "Ada <ada@example.org>": ["a"]
    }


def test_the_samples_of_a_range_have_the_source_of_the_commit_that_last_changed_them() -> None:
    repo = MemoryRepository()
    put(repo, {"x": {"a": 1, 1: 1, "gone": 1}, "left": {"a": 1}})
    put(repo, {"x": {"a": 2, 2: 1}}, source="uni-1")
    put(repo, {"x": {1: 3, "gone": None}}, author=BOB)
    put(repo, {"x": {"b": 3}}, source="uni-1")
    with repo.edit() as co:
        del co["left"]
        co.add_ndarray_column("empty", (), "int64")
        co.commit("The last one", BOB)
    changes = between(repo, "main~4")
    bob = [1, "a", "gone"]  # the column that is gone had "a"
    assert sources(repo, changes) == {"uni-1": [2, "a", "b"], "Bob <bob@example.org>": bob}


def test_the_samples_of_a_merge_have_the_sources_of_the_other_side() -> None:
    repo = MemoryRepository()
    put(repo, {"x": {"a": 1, "b": 1}})
    repo.branch_at("side")
    put(repo, {"x": {"c": 1}}, "side", source="uni-1")
    put(repo, {"x": {"a": 2}}, "side", author=BOB)
    put(repo, {"x": {"b": 2}})
    repo.merge("side")
    changes = between(repo, "main^1")
    assert sources(repo, changes) == {"uni-1": ["c"], "Bob <bob@example.org>": ["a"]}


def test_text_keys_go_by_what_stands_before_the_last_separator() -> None:
    repo = MemoryRepository()
    put(repo, {"x": {"z": 1}})
    put(repo, {"x": {"a/b/1": 1, "a/b/2": 1, "a/c": 1, "d": 1, "e.f": 1}})
    changes = between(repo, "main~1")
    assert groups(changes, group_by_keys(changes, "/")) == {
        "a/b": ["a/b/1", "a/b/2"],
        "a": ["a/c"],
        "": ["d", "e.f"],
    }
    assert groups(changes, group_by_keys(changes, "."))["e"] == ["e.f"]


def test_pairs_go_by_sample_and_a_whole_column_has_no_key() -> None:
    repo = MemoryRepository()
    put(repo, {"x": {"s": {1: 1}}, "y": {"t": 1}, "z": {"s": {1: 1}}})
    put(repo, {"x": {"s": {1: 1, 2: 1, 3: 1}, 4: {1: 1}}, "empty": {}})
    changes = between(repo, "main~1")
    found = groups(changes, group_by_keys(changes, "/"))
    assert found == {"4": [(4, 1)], "s": [("s", 2), ("s", 3)], "": []}


def test_samples_of_two_columns_go_by_their_own_key() -> None:
    repo = MemoryRepository()
    put(repo, {"x": {"s": {1: 1}}, "y": {"s": {1: 1}}})
    put(repo, {"x": {"g/a": {1: 1}, 4: {1: 1}}, "y": {"g/a": {7: 1}, 4: {1: 1}}})
    changes = between(repo, "main~1")
    assert groups(changes, group_by_keys(changes, "/")) == {"4": [4], "g": ["g/a"]}


def test_int_keys_go_by_ranges() -> None:
    repo = MemoryRepository()
    put(repo, {"x": {-1: 1}, "y": {-1: 1}})
    put(repo, {"x": dict.fromkeys(range(40), 1), "y": {-1: 2}})
    changes = between(repo, "main~1")
    found = groups(changes, group_by_keys(changes, "/"))
    assert len(found) == 16
    assert found["-1 … 0"] == [-1, 0]
    assert all(2 <= len(keys) <= 3 for keys in found.values())
    assert sorted(key for keys in found.values() for key in keys) == list(range(-1, 40))


def test_few_int_keys_are_groups_of_one() -> None:
    repo = MemoryRepository()
    put(repo, {"x": {-1: 1}})
    put(repo, {"x": {5: 1, 70: 1}})
    changes = between(repo, "main~1")
    assert groups(changes, group_by_keys(changes, "/")) == {"5": [5], "70": [70]}
