"""The laws of the tree: one root for one content, and diff, merge and reading against dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.objects.keys import composite_key, text_array
from tensorvcs.tree import cursor
from tensorvcs.tree.boundary import DEFAULT_BOUNDARY, Boundary
from tensorvcs.tree.check import check_tree
from tensorvcs.tree.diff import diff
from tensorvcs.tree.edit import edit
from tensorvcs.tree.merge import apply_merge, merge
from tensorvcs.tree.node import Node, check_node, encode_inner, encode_leaves
from tensorvcs.tree.tree import Tree
from tests.unit.tree.model import (
    CUTTING,
    TINY,
    Items,
    TreeKey,
    dict_changes,
    diff_changes,
    edited,
    in_order,
    items_of,
    keys_from,
    keys_to_list,
    memory_nodes,
    tree_from,
)

if TYPE_CHECKING:
    from tensorvcs.tree.nodes import Nodes

INTS = st.one_of(
    st.integers(-30, 90),
    st.sampled_from([-(2**63), -(2**63) + 1, 2**63 - 2, 2**63 - 1, -(2**32), 2**32]),
    st.integers(-(2**63), 2**63 - 1),
)
TEXTS = st.one_of(
    st.builds(lambda i: b"img/%d" % i, st.integers(0, 99)),
    st.text("abüé\U0001f600\x01\x7f", min_size=1, max_size=5).map(str.encode),
    st.binary(min_size=1, max_size=6).filter(lambda text: b"\0" not in text),
    st.builds(composite_key, st.sampled_from([1, -1, "a", "a\x01"]), st.integers(-3, 3)),
)
KEYS: st.SearchStrategy[TreeKey] = st.one_of(INTS, TEXTS)
BOUNDARIES = st.sampled_from([TINY, TINY, CUTTING, DEFAULT_BOUNDARY])


def items(value_nbytes: int, max_size: int = 120) -> st.SearchStrategy[Items]:
    # Few different values, so that changes of two sides often agree.
    values = st.integers(0, 2).map(lambda i: bytes([i]) * value_nbytes)
    return st.dictionaries(KEYS, values, max_size=max_size)


@st.composite
def contents(draw: st.DrawFn, count: int) -> tuple[int, list[Items]]:
    """Draw a value width and contents; each after the first changes some keys of the first."""
    width = draw(st.sampled_from([0, 1, 8, 32, 64]))
    first = draw(items(width))
    found = [first]
    for _ in range(count - 1):
        changed = {**first, **draw(items(width, 25))}
        known = in_order(changed)
        for at in draw(st.sets(st.integers(0, max(len(known) - 1, 0)), max_size=20)):
            if known:
                del changed[known[at]]
        found.append(changed)
    return width, found


@given(BOUNDARIES, contents(2), st.data())
def test_one_content_has_one_root_whatever_edits_led_there(
    boundary: Boundary, drawn: tuple[int, list[Items]], data: st.DataObject
) -> None:
    width, (start, target) = drawn
    nodes = memory_nodes(boundary)
    tree = tree_from(nodes, start, width)
    changes = list(data.draw(st.permutations(list(dict_changes(start, target).items()))))
    while changes:
        size = data.draw(st.integers(1, len(changes)))
        step, changes = changes[:size], changes[size:]
        puts = {key: after for key, (_, after) in step if after is not None}
        tree = edited(nodes, tree, puts, [key for key, (_, after) in step if after is None])
    assert tree == tree_from(nodes, target, width)
    assert items_of(nodes, tree) == target
    check_tree(nodes, tree)


@given(BOUNDARIES, contents(2))
def test_a_diff_applied_to_one_tree_gives_the_other(
    boundary: Boundary, drawn: tuple[int, list[Items]]
) -> None:
    width, (before, after) = drawn
    nodes = memory_nodes(boundary)
    old, new = (tree_from(nodes, content, width) for content in (before, after))
    assert diff_changes(nodes, old, new) == dict_changes(before, after)
    assert apply_diff(nodes, old, new) == new
    assert apply_diff(nodes, new, old) == old


def apply_diff(nodes: Nodes, before: Tree, after: Tree) -> Tree:
    tree, width = before, before.value_nbytes
    none = np.empty((0, width), np.uint8)
    nothing = keys_from([])
    for block in diff(nodes, before, after):
        for puts, values in ((block.added, block.added_values), (block.modified, block.after)):
            ints, texts = (none, values) if len(puts.texts) else (values, none)
            tree = edit(nodes, tree, puts, ints, texts, nothing)
        tree = edit(nodes, tree, nothing, none, none, block.deleted)
    return tree


@given(BOUNDARIES, contents(3))
def test_a_merge_is_that_of_dicts(boundary: Boundary, drawn: tuple[int, list[Items]]) -> None:
    width, (base, ours, theirs) = drawn
    nodes = memory_nodes(boundary)
    trees = [tree_from(nodes, content, width) for content in (base, ours, theirs)]
    merged = merge(nodes, trees[0], trees[1], trees[2])
    expected = dict(ours)
    conflicts = []
    for key, (before, after) in dict_changes(base, theirs).items():
        if ours.get(key) not in (before, after):
            conflicts.append(key)
        elif after is None:
            expected.pop(key, None)
        else:
            expected[key] = after
    assert apply_merge(nodes, merged) == tree_from(nodes, expected, width)
    assert keys_to_list(merged.conflicts.keys) == in_order(conflicts)
    for place, key in enumerate(keys_to_list(merged.conflicts.keys)):
        found = merged.conflicts
        for is_in, values, content in (
            (found.in_base, found.base, base),
            (found.in_ours, found.ours, ours),
            (found.in_theirs, found.theirs, theirs),
        ):
            assert (bytes(values[place]) if is_in[place] else None) == content.get(key)


@given(BOUNDARIES, contents(2))
def test_a_merge_with_the_base_is_the_other_side(
    boundary: Boundary, drawn: tuple[int, list[Items]]
) -> None:
    width, (base, other) = drawn
    nodes = memory_nodes(boundary)
    old, new = (tree_from(nodes, content, width) for content in (base, other))
    for ours, theirs in ((old, new), (new, old), (new, new)):
        merged = merge(nodes, old, ours, theirs)
        assert not len(merged.conflicts)
        assert apply_merge(nodes, merged) == new


@given(BOUNDARIES, contents(1), st.lists(KEYS, max_size=30), st.data())
def test_reading_is_that_of_a_sorted_list(
    boundary: Boundary, drawn: tuple[int, list[Items]], asked: list[TreeKey], data: st.DataObject
) -> None:
    width, (content,) = drawn
    nodes = memory_nodes(boundary)
    tree = tree_from(nodes, content, width)
    ordered = in_order(content)
    stop = data.draw(st.integers(0, len(ordered)))
    start = data.draw(st.integers(0, stop))
    keys, values = cursor.items_at(nodes, tree, start, stop)
    assert keys_to_list(keys) == ordered[start:stop]
    assert [bytes(row) for row in values] == [content[key] for key in ordered[start:stop]]
    wanted = keys_from([*asked, *ordered[::5]])
    at, found = cursor.positions(nodes, tree, wanted)
    got, found_again = cursor.get(nodes, tree, wanted)
    assert found.tolist() == found_again.tolist()
    for place, key in enumerate(keys_to_list(wanted)):
        assert found[place] == (key in content)
        assert at[place] == in_order({*content, key}).index(key)
        assert bytes(got[place]) == content.get(key, bytes(width))
        assert cursor.get_one(nodes, tree, key) == content.get(key)
    for text in [key for key in asked if isinstance(key, bytes)]:
        first, last = cursor.prefix_range(nodes, tree, text[:2])
        expected = [k for k in ordered if isinstance(k, bytes) and k.startswith(text[:2])]
        assert ordered[first:last] == expected


@given(
    st.one_of(st.sets(INTS, min_size=1), st.sets(TEXTS, min_size=1)),
    st.integers(0, 64),
    st.integers(1, 2**45),
)
def test_decoding_is_the_inverse_of_encoding(
    chosen: set[TreeKey], width: int, largest: int
) -> None:
    keys = in_order(chosen)
    array = (
        np.array(keys, np.int64)
        if isinstance(keys[0], int)
        else text_array([key for key in keys if isinstance(key, bytes)])
    )
    stops = np.array([len(keys)])
    rng = np.random.default_rng(len(keys))
    values = rng.integers(0, 256, (len(keys), width), dtype=np.uint8)
    children = rng.integers(0, 256, (len(keys), 32), dtype=np.uint8)
    counts = rng.integers(1, largest, len(keys), endpoint=True)
    leaf = Node(encode_leaves(array, values, stops)[0])
    assert leaf.keys.tolist() == keys and np.array_equal(leaf.values, values)
    inner = Node(encode_inner(array, children, counts, stops, 2, width)[0])
    assert inner.keys.tolist() == keys and inner.counts.tolist() == counts.tolist()
    assert np.array_equal(inner.children, children)
    one_node = Boundary(20, 20, inner_bits=20)
    if not one_node.ends_run(leaf.hashes, 0, width).any():
        check_node(leaf.content, one_node)
        check_node(inner.content, one_node)


@given(contents(1))
def test_fields_of_a_tree_read_back(drawn: tuple[int, list[Items]]) -> None:
    width, (content,) = drawn
    tree = tree_from(memory_nodes(), content, width)
    assert Tree.from_fields(tree.to_fields()) == tree
    assert tree.count == len(content)
