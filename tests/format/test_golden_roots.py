"""The root digests of fixed data: a change of the tree format cannot slip by.

A digest that changes means that repositories written before no longer share anything with those
written after. Change one only together with the format version.
"""

from __future__ import annotations

import numpy as np
import pytest

from tensorvcs.objects.digest import digest_of, digests_to_array
from tensorvcs.objects.keys import Keys, composite_key, text_array
from tensorvcs.tree.build import build
from tensorvcs.tree.tree import Tree
from tests.unit.tree.model import memory_nodes, objects_of


def fixed_keys() -> Keys:
    """Return 60,000 dense and 500 sparse ints, and 20,000 texts of several kinds."""
    sparse = (np.arange(250, dtype=np.int64) + 1) * 36_893_488_147_419
    ints = np.concatenate([-sparse[::-1], np.arange(60_000), sparse + 60_000])
    ends = np.array([-(2**63), 2**63 - 1])
    texts = {b"train/%05d.jpg" % i for i in range(15_000)}
    texts |= {"é/".encode() + b"x" * (i % 50) + b"%d" % i for i in range(4000)}
    texts |= {composite_key(i // 10, f"view {i % 10}") for i in range(1000)}
    texts |= {b"long/" + b"y" * 4000 + b"%d" % i for i in range(5)}
    return Keys(np.concatenate([ends[:1], ints, ends[1:]]), text_array(sorted(texts)))


def fixed_values(count: int, value_nbytes: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    digests = digests_to_array([digest_of(b"%d" % i) for i in range(count)])
    return np.tile(digests, 2)[:, :value_nbytes]


GOLDEN: dict[int, tuple[str, str]] = {
    0: (
        "7e660786e3f3759204cfc65b3fd35117699dd939d070ebb72a3b457daf6e5e95",
        "b79c8fbba7d78aa33cd29747b223f099d3cec3d37b572ef75f5b38b6210d919d",
    ),
    1: (
        "367e43bac9dc13eb0980d9ccf14474d0ce94eb0ea1dbdf442dbd5abc93c3c62f",
        "107e685f9497857bbb6b2567c8a5d203ae065a441989a0c38df78f02fbf3dda8",
    ),
    8: (
        "dba7828b9f11e80b826f02e9f4275c4944973208b332f51d265027b57fe2c79c",
        "6eb4d33164c0b6ac0f870809e729d0fdd6d7d565f06c1003c58a60c71f72d8be",
    ),
    32: (
        "276faecc7b78a807ae7513b66ca1bae862647e51b9299f65c617b79c92d62ffa",
        "bd7a5ff0e75bcabe73b144c6ca22c52b805c5d72696666f8412235516d28dcca",
    ),
    64: (
        "cba3f1522d93b8add417894d03626190b7a7318989bd218ecd5afe9820c3940e",
        "4e974d0e64592a1bd6aef7abdbbde863a3965ae4a5c9afd903f3e1eed24bbb6c",
    ),
}


@pytest.mark.parametrize("value_nbytes", [0, 1, 8, 32, 64])
def test_the_roots_of_fixed_data_stay(value_nbytes: int) -> None:
    keys = fixed_keys()
    assert (len(keys.ints), len(keys.texts)) == (60_502, 20_005)
    nodes = memory_nodes()
    tree = build(
        nodes,
        keys,
        fixed_values(len(keys.ints), value_nbytes),
        fixed_values(len(keys.texts), value_nbytes),
    )
    assert tree.ints is not None and tree.texts is not None
    found = (tree.ints.digest.hex(), tree.texts.digest.hex())
    assert found == GOLDEN[value_nbytes]


def test_the_bytes_of_the_smallest_trees_stay() -> None:
    nodes = memory_nodes()
    values = np.array([[1, 2]], np.uint8)
    build(nodes, Keys(np.array([-2]), text_array([b"ab"])), values, values)
    assert list(objects_of(nodes).objects.values()) == [
        b"node 1\n\x00\x00\x02\x00\x00\x01\0\0\0\x08\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\x01\x02",
        b"node 1\n\x01\x00\x02\x00\x00\x01\0\0\0\x06\0\0\0\x02\0\0\0ab\x01\x02",
    ]
    assert Tree.empty(2).to_fields() == {"ints": None, "texts": None, "value_nbytes": 2}
