from __future__ import annotations

import json
from typing import Any

import pytest

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.objects.digest import NodeDigest
from tensorvcs.tree.tree import Root, Tree

ROOT = Root(NodeDigest(bytes(range(32))), 7)


def test_an_empty_tree_has_no_roots_and_no_keys() -> None:
    tree = Tree.empty(8)
    assert (tree.ints, tree.texts, tree.count) == (None, None, 0)


def test_the_count_is_that_of_both_sorts() -> None:
    assert Tree(ROOT, Root(ROOT.digest, 5), 8).count == 12
    assert Tree(None, ROOT, 8).int_count == 0


@pytest.mark.parametrize(
    "tree", [Tree.empty(0), Tree(ROOT, None, 32), Tree(None, ROOT, 64), Tree(ROOT, ROOT, 1)]
)
def test_fields_are_json_and_read_back(tree: Tree) -> None:
    assert Tree.from_fields(json.loads(json.dumps(tree.to_fields()))) == tree


@pytest.mark.parametrize(
    "change",
    [
        {"value_nbytes": 65},
        {"value_nbytes": -1},
        {"value_nbytes": True},
        {"ints": []},
        {"ints": {"digest": "00" * 32}},
        {"ints": {"digest": "00" * 31, "count": 1}},
        {"ints": {"digest": "AB" * 32, "count": 1}},
        {"ints": {"digest": "zz" * 32, "count": 1}},
        {"ints": {"digest": 5, "count": 1}},
        {"ints": {"digest": "00" * 32, "count": 0}},
        {"ints": {"digest": "00" * 32, "count": 1.0}},
        {"ints": {"digest": "00" * 32, "count": 2**63}},
        {"more": 1},
    ],
)
def test_fields_that_no_tree_has_are_damage(change: dict[str, Any]) -> None:
    with pytest.raises(ObjectDamagedError):
        Tree.from_fields({**Tree(ROOT, None, 32).to_fields(), **change})
