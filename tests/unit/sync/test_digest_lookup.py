"""Digests in order, and collections of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.objects.digest import digests_to_array
from tensorvcs.sync.digest_lookup import DigestCollection, find_digests, sort_order

# Few bytes, zeros at the end and the same first 8 bytes: what could go wrong.
DIGESTS = st.builds(
    lambda start, end: start * 8 + end * 24,
    st.sampled_from([b"\0", b"a", b"\xff"]),
    st.sampled_from([b"\0", b"\x01", b"\x80", b"\xff"]),
)
LISTS = st.lists(DIGESTS, max_size=12)


@given(LISTS, LISTS)
def test_digests_are_found_where_they_are(have: list[bytes], wanted: list[bytes]) -> None:
    ordered = digests_to_array(have)[sort_order(digests_to_array(have))]
    assert [row.tobytes() for row in ordered] == sorted(have)
    for digest, place in zip(
        wanted, find_digests(ordered, digests_to_array(wanted)).tolist(), strict=True
    ):
        assert (place >= 0) == (digest in have)
        assert place < 0 or ordered[place].tobytes() == digest


@given(st.lists(LISTS, max_size=6), LISTS)
def test_a_collection_is_a_set(parts: list[list[bytes]], wanted: list[bytes]) -> None:
    collection, expected = DigestCollection(), set()
    for part in parts:
        collection.add(digests_to_array(part))
        expected.update(part)
    found = collection.contains(digests_to_array(wanted)).tolist()
    assert found == [digest in expected for digest in wanted]


def test_a_collection_that_grows_has_few_parts() -> None:
    rng: Any = np.random.default_rng(0)
    collection = DigestCollection()
    for _ in range(500):
        collection.add(rng.integers(0, 256, (10, 32), np.uint8))
    assert len(collection._parts) < 12
