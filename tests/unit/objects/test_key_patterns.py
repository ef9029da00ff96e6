from __future__ import annotations

from typing import Any

import pytest

from tensorvcs.errors import InvalidInputError
from tensorvcs.objects.key_patterns import KeyPatterns
from tensorvcs.objects.keys import EMPTY_INTS, Keys, collect_keys, composite_key, text_array

LOWEST, HIGHEST = -(2**63), 2**63 - 1
KEYS: list[int | str] = [LOWEST, -3, 0, 5, 12, HIGHEST, "5", "cat/1", "cat/a/2", "dog", "é[1]"]


def picked(patterns: Any) -> list[int | str]:
    keys, places = collect_keys(KEYS)
    assert places.tolist() == list(range(len(KEYS)))
    return [KEYS[at] for at in KeyPatterns.of(patterns).match(keys, nested=False).nonzero()[0]]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("*", KEYS),
        (5, [5]),
        ("5", [5, "5"]),
        ("-3", [-3]),
        ([0, "dog"], [0, "dog"]),
        (("cat/*", 12), [12, "cat/1", "cat/a/2"]),
        ("cat/?", ["cat/1"]),
        ("[cd]*", ["cat/1", "cat/a/2", "dog"]),
        ("é[[]1]", ["é[1]"]),
        ("Dog", []),
        ("do", []),
        ("0:5", [0]),
        ("0:6", [0, 5]),
        (":0", [LOWEST, -3]),
        ("5:", [5, 12, HIGHEST]),
        (":", [LOWEST, -3, 0, 5, 12, HIGHEST]),
        ("6:5", []),
        ("-3:1", [-3, 0]),
        ("9999999999999999999", []),
        ("-9999999999999999999:-2", [LOWEST, -3]),
        (LOWEST, [LOWEST]),
        (HIGHEST, [HIGHEST]),
        (str(HIGHEST), [HIGHEST]),
    ],
)
def test_what_a_pattern_picks(patterns: Any, expected: list[int | str]) -> None:
    assert picked(patterns) == expected


def test_of_a_nested_column_the_sample_counts() -> None:
    pairs: list[tuple[int | str, int | str]] = [(1, 7), (1, "7"), (7, 1), ("a", 1), ("b", "a")]
    keys = Keys(EMPTY_INTS, text_array([composite_key(*pair) for pair in pairs]))
    cases: list[tuple[Any, Any]] = [
        (1, pairs[:2]),
        ("a", pairs[3:4]),
        (["b", "2:9"], [pairs[2], pairs[4]]),
        ("*", pairs),
    ]
    for patterns, expected in cases:
        found = KeyPatterns.of(patterns).match(keys, nested=True)
        assert [pair for pair, is_picked in zip(pairs, found, strict=True) if is_picked] == expected


def test_no_keys() -> None:
    keys, _ = collect_keys([])
    for nested in (False, True):
        assert KeyPatterns.of("a").match(keys, nested=nested).shape == (0,)


@pytest.mark.parametrize("patterns", ["", [], [""], None, 1.5, True, [None], 2**63])
def test_what_is_no_pattern(patterns: Any) -> None:
    with pytest.raises(InvalidInputError):
        KeyPatterns.of(patterns)
