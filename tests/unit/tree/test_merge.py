from __future__ import annotations

import numpy as np
import pytest

from tensorvcs.tree.merge import Conflicts, Decisions, TreeMerge, apply_merge, merge
from tensorvcs.tree.tree import Tree
from tests.unit.tree.model import (
    TINY,
    Items,
    TreeKey,
    items_of,
    keys_to_list,
    memory_nodes,
    objects_of,
    tree_from,
)

BASE: Items = {**dict.fromkeys(range(100), b"b"), **{b"k%d" % key: b"b" for key in range(100)}}
Conflict = tuple["bytes | None", "bytes | None", "bytes | None"]


def conflicts_of(merged: TreeMerge) -> dict[TreeKey, Conflict]:
    found = merged.conflicts
    rows = zip(
        keys_to_list(found.keys),
        zip(found.in_base, found.base, strict=True),
        zip(found.in_ours, found.ours, strict=True),
        zip(found.in_theirs, found.theirs, strict=True),
        strict=True,
    )
    return {
        key: (
            bytes(base[1]) if base[0] else None,
            bytes(ours[1]) if ours[0] else None,
            bytes(theirs[1]) if theirs[0] else None,
        )
        for key, base, ours, theirs in rows
    }


def merged_items(ours: Items, theirs: Items) -> tuple[Items, dict[TreeKey, Conflict]]:
    nodes = memory_nodes(TINY)
    trees = [tree_from(nodes, items, 1) for items in (BASE, ours, theirs)]
    merged = merge(nodes, trees[0], trees[1], trees[2])
    after = apply_merge(nodes, merged)
    assert after == tree_from(nodes, items_of(nodes, after), 1)
    return items_of(nodes, after), conflicts_of(merged)


def without(*keys: TreeKey) -> Items:
    return {key: value for key, value in BASE.items() if key not in keys}


def test_changes_of_either_side_are_made() -> None:
    ours: Items = {**without(3, b"k3"), 5: b"o", b"new o": b"o"}
    theirs: Items = {**without(4, b"k4"), 6: b"t", -1: b"t"}
    items, conflicts = merged_items(ours, theirs)
    assert conflicts == {}
    new: Items = {5: b"o", b"new o": b"o", 6: b"t", -1: b"t"}
    assert items == {**without(3, b"k3", 4, b"k4"), **new}


def test_equal_changes_are_no_conflict() -> None:
    both: Items = {**without(3, b"k3"), 5: b"x", 200: b"x"}
    items, conflicts = merged_items({**both, 7: b"o"}, {**both, 8: b"t"})
    assert conflicts == {}
    assert items == {**both, 7: b"o", 8: b"t"}


def test_different_changes_are_conflicts_that_keep_ours() -> None:
    ours: Items = {**without(3, 4), 5: b"o", 200: b"o", b"k9": b"o"}
    theirs: Items = {**without(5), 3: b"t", 200: b"t", b"k9": b"t", 7: b"t"}
    items, conflicts = merged_items(ours, theirs)
    assert conflicts == {
        3: (b"b", None, b"t"),
        5: (b"b", b"o", None),
        200: (None, b"o", b"t"),
        b"k9": (b"b", b"o", b"t"),
    }
    assert list(conflicts) == [3, 5, 200, b"k9"]
    assert items == {**ours, 7: b"t"}


def test_deleting_is_not_the_same_as_setting_to_zeros() -> None:
    _, conflicts = merged_items(without(3), {**BASE, 3: b"\0"})
    assert conflicts == {3: (b"b", None, b"\0")}
    _, conflicts = merged_items({**BASE, 3: b"\0"}, without(3))
    assert conflicts == {3: (b"b", b"\0", None)}


def test_a_side_that_deletes_everything_conflicts_where_the_other_changed() -> None:
    items, conflicts = merged_items({}, {**BASE, 3: b"t", 200: b"t"})
    assert conflicts == {3: (b"b", None, b"t")}
    assert items == {200: b"t"}


@pytest.mark.parametrize("side", ["ours", "theirs", "both"])
def test_a_side_equal_to_the_base_reads_nothing(side: str) -> None:
    nodes = memory_nodes(TINY)
    base = tree_from(nodes, BASE, 1)
    other = tree_from(nodes, {**BASE, 5: b"x", b"k5": b"x"}, 1)
    ours = base if side == "ours" else other
    theirs = base if side == "theirs" else other
    merged = merge(nodes, base, ours, theirs)
    assert apply_merge(nodes, merged) == other
    assert not len(merged.puts) and not len(merged.deletes) and not len(merged.conflicts)
    assert objects_of(nodes).get_count == 0


def test_sides_that_changed_different_sorts_exchange_roots() -> None:
    nodes = memory_nodes(TINY)
    base = tree_from(nodes, BASE, 1)
    ours = tree_from(nodes, {**BASE, 5: b"x"}, 1)
    theirs = tree_from(nodes, {**BASE, b"k5": b"x"}, 1)
    merged = merge(nodes, base, ours, theirs)
    assert merged.start == Tree(ours.ints, theirs.texts, 1)
    assert objects_of(nodes).get_count == 0


def test_trees_without_a_base_merge_from_the_empty_tree() -> None:
    nodes = memory_nodes(TINY)
    ours = tree_from(nodes, {1: b"o", 2: b"x"}, 1)
    theirs = tree_from(nodes, {1: b"t", 2: b"x", 3: b"t"}, 1)
    merged = merge(nodes, Tree.empty(1), ours, theirs)
    assert conflicts_of(merged) == {1: (None, b"o", b"t")}
    assert items_of(nodes, apply_merge(nodes, merged)) == {1: b"o", 2: b"x", 3: b"t"}


def test_conflicts_that_are_decided_are_put_and_deleted_in_one_go() -> None:
    nodes = memory_nodes(TINY)
    ours: Items = {**BASE, 5: b"o", 200: b"o", b"k9": b"o", b"k8": b"o", 11: b"o"}
    theirs: Items = {**without(b"k3", 4), 5: b"t", 200: b"t", b"k9": b"t", b"k8": b"t", 6: b"t"}
    base, mine, yours = (tree_from(nodes, items, 1) for items in (BASE, ours, theirs))
    merged = merge(nodes, base, mine, yours)
    assert keys_to_list(merged.conflicts.keys) == [5, 200, b"k8", b"k9"]
    # One takes theirs, one is open, one is deleted, one gets a value of its own.
    decisions = Decisions(
        np.array([True, False, True, True]),
        np.array([True, True, False, True]),
        np.frombuffer(b"t??x", np.uint8).reshape(4, 1),
    )
    after = apply_merge(nodes, merged, decisions)
    expected = {**ours, 5: b"t", b"k9": b"x", 6: b"t"}
    for key in (4, b"k3", b"k8"):
        del expected[key]
    assert items_of(nodes, after) == expected
    assert after == tree_from(nodes, expected, 1)
    undecided = Decisions(np.zeros(4, bool), np.ones(4, bool), decisions.values)
    assert apply_merge(nodes, merged, undecided) == apply_merge(nodes, merged)


def test_conflicts_are_selected_and_cut() -> None:
    nodes = memory_nodes(TINY)
    ours: Items = {**BASE, 5: b"o", 7: b"o", b"k9": b"o"}
    theirs: Items = {**BASE, 5: b"t", 7: b"t", b"k9": b"t"}
    found = merge(nodes, *(tree_from(nodes, items, 1) for items in (BASE, ours, theirs))).conflicts
    some = found.select(np.array([False, True, True]))
    assert keys_to_list(some.keys) == [7, b"k9"]
    assert some.theirs.tobytes() == b"tt"
    spans: list[tuple[int, int, list[TreeKey]]] = [
        (0, 2, [5, 7]), (1, 3, [7, b"k9"]), (2, 3, [b"k9"]), (0, 0, []), (3, 3, [])
    ]  # fmt: skip
    for start, stop, keys in spans:
        cut: Conflicts = found.span(start, stop)
        assert keys_to_list(cut.keys) == keys
        assert len(cut) == len(cut.ours) == len(cut.in_base) == stop - start
