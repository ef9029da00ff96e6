"""A cut LMDB file is told from one that is short because LMDB left freed pages out."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import lmdb
import pytest

from tensorvcs.errors import ObjectDamagedError
from tensorvcs.storage.lmdb_environment import LmdbEnvironment
from tensorvcs.storage.lmdb_pages import find_wild_roots, is_cut

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An LMDB file with trees of several levels, long values, and free pages."""
    environment = lmdb.open(str(tmp_path), max_dbs=4, map_size=1 << 30)
    for name in (b"one", b"other"):
        tree = environment.open_db(name)
        for step in range(3):
            with environment.begin(tree, write=True) as txn:
                for i in range(2000):
                    txn.put(b"key %d" % i, b"value %d" % (i + step))
        with environment.begin(tree, write=True) as txn:
            for i in range(20):
                txn.put(b"long %d" % i, b"x" * (3000 * i))
    with environment.begin(environment.open_db(b"other"), write=True) as txn:
        for i in range(500, 1500):
            txn.delete(b"key %d" % i)
    environment.close()
    return tmp_path / "data.mdb"


def used_count(data: Path) -> int:
    """Return how many pages are in use, as LMDB counts them."""
    environment = lmdb.open(str(data.parent), readonly=True, max_dbs=4, lock=False)
    try:
        total = 2
        with environment.begin() as txn:
            for tree in (environment.open_db(n, txn, create=False) for n in (b"one", b"other")):
                stat = txn.stat(tree)
                total += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    finally:
        environment.close()
    return total


def test_a_whole_file_is_not_cut(data: Path) -> None:
    assert not is_cut(data, PAGE)


def test_a_file_that_lacks_pages_in_use_is_cut(data: Path) -> None:
    content = data.read_bytes()
    needed = used_count(data)
    for count in (*range(2, needed, 7), needed - 1):
        # Whichever they are, fewer pages than are in use cannot hold them.
        data.write_bytes(content[: count * PAGE])
        assert is_cut(data, PAGE), count


def test_free_pages_at_the_end_may_be_left_out(tmp_path: Path) -> None:
    environment = lmdb.open(str(tmp_path), max_dbs=4, map_size=1 << 30)
    with environment.begin(environment.open_db(b"one"), write=True) as txn:
        txn.put(b"long", b"x" * 100_000)
        txn.put(b"short", b"x")
    with environment.begin(environment.open_db(b"one"), write=True) as txn:
        txn.delete(b"long")
    # The pages in use move into those that are free.
    for i in range(6):
        with environment.begin(environment.open_db(b"one"), write=True) as txn:
            txn.put(b"count", b"%d" % i)
    environment.close()
    data = tmp_path / "data.mdb"
    content = data.read_bytes()
    shortest = next(
        count
        for count in range(2, len(content) // PAGE + 1)
        if data.write_bytes(content[: count * PAGE]) and not is_cut(data, PAGE)
    )
    assert shortest < len(content) // PAGE
    data.write_bytes(content[: shortest * PAGE])
    environment = lmdb.open(str(tmp_path), max_dbs=4, readonly=True)
    with environment.begin(environment.open_db(b"one", create=False)) as txn:
        assert txn.get(b"short") == b"x"
    environment.close()


def test_an_environment_that_was_cut_is_not_opened(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path)
    database = environment.database("objects")
    with environment.write() as txn:
        for i in range(500):
            txn.put(b"%d" % i, b"value" * 20, db=database)
    environment.close()
    data = tmp_path / "data.mdb"
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 2])
    with pytest.raises(ObjectDamagedError, match="was cut: it has"):
        LmdbEnvironment(tmp_path)
    data.write_bytes(content)
    LmdbEnvironment(tmp_path).close()


# Of a head page: where the page size, the root of all names, and the last page are.
@pytest.mark.parametrize(("place", "number"), [(40, 12), (128, 1 << 40), (128, 0), (136, 1 << 50)])
def test_heads_that_lead_out_of_the_file_are_told(data: Path, place: int, number: int) -> None:
    assert find_wild_roots(data) is None
    content = bytearray(data.read_bytes())
    for head in (0, PAGE):
        struct.pack_into("<I" if place == 40 else "<Q", content, head + place, number)
    data.write_bytes(content)
    assert find_wild_roots(data) is not None
    with pytest.raises(ObjectDamagedError):
        LmdbEnvironment(data.parent)


def test_the_older_head_may_say_anything(data: Path) -> None:
    content = bytearray(data.read_bytes())
    transactions = [struct.unpack_from("<Q", content, head + 144)[0] for head in (0, PAGE)]
    older = transactions.index(min(transactions)) * PAGE
    struct.pack_into("<Q", content, older + 128, 1 << 40)
    data.write_bytes(content)
    assert find_wild_roots(data) is None
    data.write_bytes(content[:200])
    assert find_wild_roots(data) is None
