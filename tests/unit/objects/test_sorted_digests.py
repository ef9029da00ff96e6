"""Sorting and sets agree with Python's own, whatever digests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.objects.digest import array_to_digests, digests_to_array
from tensorvcs.objects.sorted_digests import DigestSet, PrefixSet, digest_prefixes, sort_digests

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Few first bytes and few last ones, so that digests share prefixes, and are equal, often.
DIGESTS = st.lists(
    st.tuples(st.sampled_from([b"\0", b"\x7f", b"\xff"]), st.integers(0, 5)).map(
        lambda pair: pair[0] * 8 + bytes(23) + bytes([pair[1]])
    ),
    max_size=40,
)


def as_array(digests: list[bytes]) -> NDArray[np.uint8]:
    return digests_to_array(digests)


@given(DIGESTS)
def test_the_order_is_that_of_bytes_and_stable(digests: list[bytes]) -> None:
    ranked = sort_digests(as_array(digests))
    assert array_to_digests(ranked.digests) == sorted(digests)
    assert [digests[i] for i in ranked.order] == sorted(digests)
    firsts = ranked.order[~ranked.is_repeat()]
    assert sorted(firsts.tolist()) == sorted(
        {d: i for i, d in reversed(list(enumerate(digests)))}.values()
    )
    assert ranked.prefixes.tolist() == [int.from_bytes(d[:8], "big") for d in sorted(digests)]


@given(st.lists(DIGESTS, max_size=6), DIGESTS)
def test_a_set_knows_what_was_added(batches: list[list[bytes]], wanted: list[bytes]) -> None:
    known, model = DigestSet(), set[bytes]()
    for batch in batches:
        fresh = [d for d in dict.fromkeys(batch) if d not in model]
        known.add(as_array(fresh))
        model.update(fresh)
    assert len(known) == len(model)
    ranked = sort_digests(as_array(wanted))
    assert known.contains(ranked).tolist() == [d in model for d in sorted(wanted)]


def test_a_set_keeps_few_parts() -> None:
    known = DigestSet()
    names = np.random.default_rng(0).integers(0, 256, (5000, 32), np.uint8)
    for low in range(0, 5000, 10):
        known.add(names[low : low + 10])
    assert len(known._parts) <= 10
    assert known.contains(sort_digests(names)).all()


def test_prefixes_of_a_part_of_an_array() -> None:
    names = np.arange(320, dtype=np.uint16).astype(np.uint8).reshape(10, 32)
    assert digest_prefixes(names[::3]).tolist() == [
        int.from_bytes(name[:8].tobytes(), "big") for name in names[::3]
    ]


@given(st.lists(DIGESTS, max_size=6), DIGESTS)
def test_a_set_of_prefixes_finds_all_and_more_only_by_prefix(
    parts: list[list[bytes]], wanted: list[bytes]
) -> None:
    found = PrefixSet()
    for part in parts:
        found.add(as_array(part))
    expected = {digest[:8] for part in parts for digest in part}
    assert len(found) == len(expected)
    assert found.contains(as_array(wanted)).tolist() == [d[:8] in expected for d in wanted]


def test_a_large_set_of_prefixes_is_settled_on_the_way() -> None:
    digests = np.random.default_rng(0).integers(0, 256, (700_000, 32), np.uint8)
    found = PrefixSet()
    for low in range(0, len(digests), 50_000):
        found.add(digests[low : low + 50_000])
    assert found._waiting_count < len(digests) // 2
    assert found.contains(digests).all()
    others = digests[:1000] ^ np.uint8(1)
    assert not found.contains(others).any()
