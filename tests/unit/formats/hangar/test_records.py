"""What two commits of Hangar do not share, against plain dicts."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.formats.hangar import records as module
from tensorvcs.formats.hangar.records import (
    blocks_of,
    changes,
    key_of,
    only_gone,
    records_digest,
    schemas_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# Names where one is the start of another, and characters on both sides of the digits.
NAMES = st.sampled_from(["a", "a-", "a.", "a.b", "a1", "aa", "#1", "#10", "#2", "b", "z_"])
KEYS = st.tuples(st.sampled_from(["f:x:", "f:x.y:", "n:x:s:", "n:z:#1:"]), NAMES).map("".join)
RECORDS = st.dictionaries(KEYS, st.sampled_from(["0=00", "0=01", "2=ff"]))


@pytest.fixture(autouse=True)
def small_blocks() -> Iterator[None]:
    """Blocks of a record or two, so that keys fall apart in all ways."""
    before = module._BLOCK_NBYTES, module._COMPARED_NBYTES
    module._BLOCK_NBYTES, module._COMPARED_NBYTES = 15, 5
    yield
    module._BLOCK_NBYTES, module._COMPARED_NBYTES = before


def packed(found: dict[str, str]) -> bytes:
    return b"$".join(sorted(f"{key} {value}".encode() for key, value in found.items()))


def as_dict(found: list[bytes]) -> dict[str, str]:
    return dict(record.decode().split(" ") for record in found)


@given(RECORDS, RECORDS)
def test_changes(before: dict[str, str], after: dict[str, str]) -> None:
    gone: dict[str, str] = {}
    come: dict[str, str] = {}
    deleted: set[str] = set()
    for some_gone, some_come in changes(packed(before), packed(after), set()):
        gone.update(as_dict(some_gone))
        come.update(as_dict(some_come))
        deleted.update(as_dict(only_gone(some_gone, some_come)))
    assert gone == {k: v for k, v in before.items() if after.get(k) != v}
    assert come == {k: v for k, v in after.items() if before.get(k) != v}
    assert deleted == set(before) - set(after)


@given(RECORDS, RECORDS)
def test_a_column_made_anew_shares_nothing(before: dict[str, str], after: dict[str, str]) -> None:
    come: dict[str, str] = {}
    for _, some in changes(packed(before), packed(after), {b"x"}):
        come.update(as_dict(some))
    assert come == {k: v for k, v in after.items() if before.get(k) != v or k.split(":")[1] == "x"}


def test_what_is_shared_is_not_split() -> None:
    """Of a thousand records with one change, a few are looked at."""
    before = {f"f:x:{n:04}": "0=00" for n in range(1000)}
    yielded: list[bytes] = []
    blocks = module.blocks_of

    def counted(records: bytes, at: int = 0, stop: int | None = None) -> Iterator[list[bytes]]:
        for block in blocks(records, at, stop):
            yielded.extend(block)
            yield block

    module.blocks_of = counted
    try:
        found = list(changes(packed(before), packed({**before, "f:x:0500": "0=01"}), set()))
    finally:
        module.blocks_of = blocks
    assert sum(len(come) for _, come in found) == 1
    assert len(yielded) <= 8


def test_schemas() -> None:
    found = packed({"f:x:a": "0=1", "n:y:b:#2": "0=2", "s:x.1:f": "1=aa", "s:y:n": "1=bb"})
    assert schemas_of(found) == {"x.1": ("f", "1=aa"), "y": ("n", "1=bb")}
    assert schemas_of(packed({"s:x:f": "1=aa"})) == {"x": ("f", "1=aa")}
    assert schemas_of(packed({"f:x:a": "0=1"})) == {}
    assert schemas_of(b"") == {}
    (some, none), *_ = changes(b"", packed({"s:x:f": "1=aa"}), set())
    assert (some, none) == ([], [])


@given(RECORDS)
def test_the_digest_is_that_of_hangar(found: dict[str, str]) -> None:
    def digest(content: bytes) -> str:
        return blake2b(content, digest_size=20).hexdigest()

    listed = packed(found).split(b"$") if found else []
    assert records_digest(packed(found)) == digest("".join(map(digest, listed)).encode())
    assert [record for block in blocks_of(packed(found)) for record in block] == listed


@pytest.mark.parametrize("content", [b"f:x:b 1$f:x:a 1", b"f:x:a 1$f:x:c 1$f:x:b 1", b"f:x:a 1$$"])
def test_records_without_order(content: bytes) -> None:
    with pytest.raises(ValueError, match="not sorted"):
        records_digest(content)


def test_keys() -> None:
    assert key_of(b"f:x.y:a-b 0=12") == ("x.y", "a-b", b"0=12")
    assert key_of(b"f:x:#42 0=12") == ("x", 42, b"0=12")
    assert key_of(b"n:x:#42:in 0=12") == ("x", [42, "in"], b"0=12")
    assert key_of(b"n:x:s:#0 0=12") == ("x", ["s", 0], b"0=12")
    assert key_of(b"f:x:#True 0=12") == ("x", 1, b"0=12")
    assert key_of(b"f:x:#False 0=12") == ("x", 0, b"0=12")
    for broken in (b"f:x 0=1", b"f:x:a:b 0=1", b"n:x:a 0=1"):
        with pytest.raises(ValueError, match="keys"):
            key_of(broken)
