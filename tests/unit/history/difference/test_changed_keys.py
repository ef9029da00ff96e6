"""The keys of changed samples."""

from __future__ import annotations

import numpy as np

from tensorvcs.history.difference.changed_keys import ChangedKeys, no_keys
from tensorvcs.objects.keys import Keys, composite_key, text_array

MIXED = ChangedKeys(Keys(np.array([3, 5]), text_array([b"a", b"b", b"c"])), nested=False)


def test_ints_come_before_texts() -> None:
    assert list(MIXED) == [MIXED[at] for at in range(5)] == [3, 5, "a", "b", "c"]
    assert MIXED[-1] == "c"
    assert MIXED[1:3] == [5, "a"]


def test_the_first_keys() -> None:
    assert [list(MIXED.first(count)) for count in (0, 1, 3, 9)] == [
        [],
        [3],
        [3, 5, "a"],
        [3, 5, "a", "b", "c"],
    ]


def test_tree_keys_at_places() -> None:
    found = MIXED.tree_keys(np.array([1, 4, 2]))
    assert found.ints.tolist() == [5]
    assert found.texts.tolist() == [b"c", b"a"]


def test_pairs() -> None:
    texts = text_array([composite_key("s", 1), composite_key("s", "x")])
    nested = ChangedKeys(Keys(no_keys().ints, texts), nested=True)
    assert list(nested) == [("s", 1), ("s", "x")]
    assert nested[1] == ("s", "x")


def test_keys_show_their_beginning() -> None:
    assert repr(MIXED) == "[3, 5, 'a', 'b', 'c']"
    many = ChangedKeys(Keys(np.arange(9), no_keys().texts), nested=False)
    assert repr(many) == "[0, 1, 2, 3, 4, 5, …]"
    assert MIXED == [3, 5, "a", "b", "c"]
    assert MIXED != "text"
