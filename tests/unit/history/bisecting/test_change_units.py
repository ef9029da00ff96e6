"""Changes between two versions, cut into units and put together again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.checkout.areas import columns_of
from tensorvcs.checkout.reader import CheckoutColumns
from tensorvcs.history.bisecting.change_units import ChangeUnits, cut_changes
from tensorvcs.tree.nodes import Nodes
from tests.memory_repository import MemoryRepository, contents_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorvcs.checkout.editor import EditableCheckout
    from tensorvcs.history.snapshot import Columns

    Change = Callable[[EditableCheckout], object]


def add(
    co: EditableCheckout, name: str, values: Mapping[Any, Any], *, nested: bool = False
) -> None:
    column = co.add_ndarray_column(name, (), "int64", nested=nested)
    column.update(values)


class Versions:
    """A version and what became of it."""

    def __init__(self, before: Change, after: Change, *, whole_samples: bool = True) -> None:
        self.repo = MemoryRepository()
        commits = [self.repo.commit(before), self.repo.commit(after)]
        self.columns = [columns_of(self.repo.stores, commit.digest) for commit in commits]
        self.units = cut_changes(self.repo.nodes, *self.columns, whole_samples=whole_samples)

    def keys(self) -> list[Any]:
        """Return the key of each unit, None of a column as a whole."""
        return [
            next(iter(self.units.keys_of(np.array([at]))), None)
            for at in range(self.units.unit_count)
        ]

    def groups(self) -> list[str]:
        codes, names = self.units.column_groups()
        return [names[code] for code in codes]

    def content(self, *chosen: int) -> dict[str, dict[Any, Any]]:
        """Return the columns of the earlier version with some of the units."""
        mask = np.zeros(self.units.unit_count, np.bool_)
        mask[list(chosen)] = True
        return self.show(self.units.apply(self.repo.nodes, mask))

    def show(self, columns: Columns) -> dict[str, dict[Any, Any]]:
        return contents_of(CheckoutColumns(self.repo.stores, self.repo.nodes, columns, "test"))


def pictures_and_labels(co: EditableCheckout) -> None:
    add(co, "images", {"a": 1, "b": 2, 7: 3})
    add(co, "labels", {"a": 10, "b": 20, 7: 30})


def test_a_sample_added_to_two_columns_is_one_unit() -> None:
    def change(co: EditableCheckout) -> None:
        co["images"].update({"c": 4, 8: 5})
        co["labels"].update({"c": 40, 8: 50, 9: 60})

    versions = Versions(pictures_and_labels, change)
    assert versions.keys() == [8, 9, "c"]
    assert versions.groups() == ["images, labels", "labels", "images, labels"]
    content = versions.content(0)
    assert content["images"] == {7: 3, 8: 5, "a": 1, "b": 2}
    assert content["labels"] == {7: 30, 8: 50, "a": 10, "b": 20}


def test_or_two_units() -> None:
    def change(co: EditableCheckout) -> None:
        co["images"]["c"] = 4
        co["labels"]["c"] = 40

    versions = Versions(pictures_and_labels, change, whole_samples=False)
    assert versions.keys() == ["c", "c"]
    assert versions.groups() == ["images", "labels"]
    assert versions.content(1)["images"] == {7: 3, "a": 1, "b": 2}


def test_a_sample_deleted_from_two_columns_is_one_unit() -> None:
    def change(co: EditableCheckout) -> None:
        for name in ("images", "labels"):
            del co[name]["a"], co[name][7]

    versions = Versions(pictures_and_labels, change)
    assert versions.keys() == [7, "a"]
    assert versions.content(0)["images"] == {"a": 1, "b": 2}
    assert versions.content(0)["labels"] == {"a": 10, "b": 20}


def test_modified_samples_are_units_of_their_columns() -> None:
    def change(co: EditableCheckout) -> None:
        co["images"].update({"a": -1, 7: -3})
        co["labels"].update({"a": -10})

    versions = Versions(pictures_and_labels, change)
    assert versions.keys() == [7, "a", "a"]
    assert versions.groups() == ["images", "images", "labels"]
    assert versions.content(1)["images"] == {7: 3, "a": -1, "b": 2}
    assert versions.content(1)["labels"] == {7: 30, "a": 10, "b": 20}
    assert versions.units.keys_of(np.array([0, 1, 2])) == [7, "a"]


def test_subsamples_are_units_of_their_own() -> None:
    def before(co: EditableCheckout) -> None:
        add(co, "scans", {"x": {1: 1, 2: 2}}, nested=True)

    def change(co: EditableCheckout) -> None:
        co["scans"]["x"].update({2: -2, 3: 3})
        co["scans"]["y"] = {1: 5}

    versions = Versions(before, change)
    assert versions.keys() == [("x", 3), ("y", 1), ("x", 2)]
    assert versions.content(0, 2) == {"scans": {"x": {1: 1, 2: -2, 3: 3}}}


def test_subsamples_added_with_a_sample_of_another_column_are_one_unit() -> None:
    def before(co: EditableCheckout) -> None:
        add(co, "ages", {"x": 1})
        add(co, "scans", {"x": {1: 1}}, nested=True)
        add(co, "masks", {"x": {1: 1}}, nested=True)

    def change(co: EditableCheckout) -> None:
        co["ages"].update({"y": 2, 5: 3})
        co["scans"].update({"y": {1: 1, 2: 2}, 5: {1: 1}})
        co["masks"].update({"z": {1: 1, "b": 2}})
        co["scans"].update({"z": {9: 9}})

    versions = Versions(before, change)
    assert versions.keys() == [5, "y", "z"]
    assert versions.groups() == ["ages, scans", "ages, scans", "masks, scans"]
    assert versions.content(1) == {
        "ages": {"x": 1, "y": 2},
        "masks": {"x": {1: 1}},
        "scans": {"x": {1: 1}, "y": {1: 1, 2: 2}},
    }
    assert versions.content(2)["masks"]["z"] == {1: 1, "b": 2}


def replace_by_text(co: EditableCheckout) -> None:
    del co["labels"]
    co.add_str_column("labels").update({"a": "ten"})


@pytest.mark.parametrize(
    ("change", "group"),
    [
        (lambda co: add(co, "empty", {}), "empty"),
        (lambda co: co.rename_column("labels", "classes"), "classes"),
        (replace_by_text, "labels"),
    ],
)
def test_a_column_that_changed_as_a_whole_is_one_unit(change: Change, group: str) -> None:
    versions = Versions(pictures_and_labels, change)
    assert versions.groups() == [group]
    assert versions.keys() == [None]
    assert versions.content() == versions.show(versions.columns[0])
    assert versions.content(0) == versions.show(versions.columns[1])


def test_a_whole_column_beside_samples() -> None:
    def change(co: EditableCheckout) -> None:
        co.rename_column("labels", "classes")
        co["images"]["a"] = -1

    versions = Versions(pictures_and_labels, change)
    assert versions.groups() == ["images", "classes"]
    assert sorted(versions.content(1)) == ["classes", "images"]
    assert versions.content(1)["images"]["a"] == 1
    assert versions.content(0)["images"]["a"] == -1
    assert sorted(versions.content(0)) == ["images", "labels"]


def test_new_and_deleted_columns_go_by_sample() -> None:
    def change(co: EditableCheckout) -> None:
        del co["labels"]
        add(co, "boxes", {"a": 1, "q": 2})

    versions = Versions(pictures_and_labels, change)
    assert versions.groups() == ["boxes", "boxes", "labels", "labels", "labels"]
    assert versions.content(1)["boxes"] == {"q": 2}
    assert sorted(versions.content(2, 3, 4)) == ["images"]


def test_nothing_changed() -> None:
    repo = MemoryRepository()
    columns = columns_of(repo.stores, repo.commit(pictures_and_labels).digest)
    units = cut_changes(repo.nodes, columns, columns, whole_samples=True)
    assert (units.unit_count, units.columns) == (0, ())
    assert isinstance(units, ChangeUnits)
    assert units.keys_of(np.empty(0, np.intp)) == []


def test_a_part_reads_what_changed() -> None:
    def change(co: EditableCheckout) -> None:
        co["labels"].update({5: -1, 9000: -1, 20_000: 1})

    versions = Versions(lambda co: add(co, "labels", {at: at for at in range(20_000)}), change)
    repo = versions.repo
    reads, writes = repo.objects.get_count, repo.objects.put_count
    nodes = Nodes(repo.objects)
    versions.units.apply(nodes, np.array([False, True, False]))
    assert repo.objects.get_count - reads <= 2 * 3 * 3
    assert repo.objects.put_count - writes <= 3


_KEYS = st.one_of(st.integers(-2, 2), st.sampled_from(["a", "b", "c/d"]))
_COLUMN = st.dictionaries(_KEYS, st.integers(0, 2), max_size=6)


@given(st.tuples(_COLUMN, _COLUMN), st.tuples(_COLUMN, _COLUMN), st.booleans(), st.data())
def test_units_are_the_changes_and_each_is_applied_by_itself(
    before: tuple[dict[Any, int], dict[Any, int]],
    after: tuple[dict[Any, int], dict[Any, int]],
    whole_samples: bool,
    data: st.DataObject,
) -> None:
    def write(sides: tuple[dict[Any, int], dict[Any, int]]) -> Change:
        def change(co: EditableCheckout) -> None:
            for name, values in zip(("x", "y"), sides, strict=True):
                if name not in co:
                    co.add_ndarray_column(name, (), "int64")
                    co[name].update({"always": 0})
                for key in list(co[name].keys()):
                    if key not in values and key != "always":
                        del co[name][key]
                co[name].update(values)

        return change

    changes = [
        {
            key: (one.get(key), other.get(key))
            for key in {*one, *other}
            if one.get(key) != other.get(key)
        }
        for one, other in zip(before, after, strict=True)
    ]
    if not any(changes):
        return
    versions = Versions(write(before), write(after), whole_samples=whole_samples)
    count = versions.units.unit_count
    chosen = data.draw(st.sets(st.integers(0, count - 1)))
    content = versions.content(*chosen)
    where = versions.groups()
    keys = versions.keys()
    for name, one, change in zip(("x", "y"), before, changes, strict=True):
        mine = [at for at in range(count) if name in where[at].split(", ")]
        assert sorted(map(repr, change)) == sorted(repr(keys[at]) for at in mine)
        expected: dict[Any, int | None] = {"always": 0, **one}
        expected |= {keys[at]: change[keys[at]][1] for at in mine if at in chosen}
        assert content[name] == {k: v for k, v in expected.items() if v is not None}
    if whole_samples:
        for at, key in enumerate(keys):
            in_both = key in changes[0] and key in changes[1]
            kinds = [tuple(v is None for v in c[key]) for c in changes if key in c]
            is_one = in_both and len(set(kinds)) == 1 and any(kinds[0])
            assert (where[at] == "x, y") == is_one
