"""Pages of LMDB read past LMDB: all that it has, and no error whatever the bytes."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorvcs.errors import ObjectDamagedError, StorageError
from tensorvcs.storage.lmdb_scan import PageFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = 4096
RECORDS = {b"key %04d" % i: b"value %d " % i * (i % 40) for i in range(1500)} | {
    b"long %d" % i: random.Random(i).randbytes(1800 * i) for i in range(1, 12)
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a tree of several levels, long values, and pages of long ago."""
    folder = tmp_path_factory.mktemp("lmdb")
    environment = lmdb.open(str(folder), max_dbs=4, map_size=1 << 30)
    for part in range(3):
        with environment.begin(write=True) as txn:
            tree = environment.open_db(b"records", txn)
            for key, value in list(RECORDS.items())[part::3]:
                txn.put(key, value, db=tree)
            txn.put(b"gone", b"it was here", db=tree)
    with environment.begin(write=True) as txn:
        txn.delete(b"gone", db=environment.open_db(b"records", txn))
    environment.close()
    return folder / "data.mdb"


def everything(key: bytes, nbytes: int) -> bool:
    return True


def walked(path: Path) -> dict[bytes, bytes]:
    with PageFile(path) as file:
        head = file.heads()[0]
        file.check_free_pages(head)
        return dict(file.walk(file.databases(head)["records"], head))


def scanned(path: Path, wants: Callable[[bytes, int], bool] = everything) -> set[tuple[bytes, ...]]:
    with PageFile(path) as file:
        return set(file.scan(wants))


def changed(data: Path, folder: Path, act: Callable[[bytearray], object]) -> Path:
    content = bytearray(data.read_bytes())
    act(content)
    copy = folder / "copy.mdb"
    copy.write_bytes(content)
    return copy


def test_a_walk_yields_what_lmdb_has(data: Path) -> None:
    assert walked(data) == RECORDS
    assert list(walked(data)) == sorted(RECORDS)
    with PageFile(data) as file:
        assert file.page_nbytes == PAGE
        newest, before = file.heads()
        assert newest.transaction == before.transaction + 1
        # Of the transaction before, the trees are whole as well.
        older = dict(file.walk(file.databases(before)["records"], before))
    assert older == RECORDS | {b"gone": b"it was here"}


def test_a_scan_finds_all_and_what_was(data: Path) -> None:
    found = scanned(data)
    assert found >= set(RECORDS.items())
    assert (b"gone", b"it was here") in found


def test_only_what_is_wanted_is_read(data: Path) -> None:
    counts: list[int] = []
    with PageFile(data) as file:
        wanted = set(file.scan(lambda key, nbytes: key == b"long 5", counts.append))
        assert counts[-1] == file.page_count
    assert wanted == {(b"long 5", RECORDS[b"long 5"])}


def test_pages_of_another_size_are_told_by_the_heads_or_by_their_numbers(
    data: Path, tmp_path: Path
) -> None:
    def destroy_heads(content: bytearray) -> None:
        content[: 2 * PAGE] = bytes(2 * PAGE)

    copy = changed(data, tmp_path, destroy_heads)
    assert scanned(copy) >= set(RECORDS.items())
    with PageFile(copy) as file:
        assert file.heads() == []
        assert file.page_nbytes == PAGE


def leaves(content: bytes | bytearray) -> list[int]:
    return [
        number
        for number in range(2, len(content) // PAGE)
        if struct.unpack_from("<QHH", content, number * PAGE)[::2] in ((number, 2), (number, 0x12))
    ]


@pytest.mark.parametrize("field", range(16))
def test_a_page_whose_header_is_wrong_still_gives_its_records(
    data: Path, tmp_path: Path, field: int
) -> None:
    def flip(content: bytearray) -> None:
        for page in leaves(content):
            content[page * PAGE + field] ^= 1 << (page % 8)

    assert scanned(changed(data, tmp_path, flip)) >= {
        (key, value) for key, value in RECORDS.items() if len(value) < 1000
    }


def test_an_offset_that_is_wrong_hides_no_node(data: Path, tmp_path: Path) -> None:
    def flip(content: bytearray) -> None:
        for page in leaves(content):
            content[page * PAGE + 16 + 2 * (page % 5)] ^= 0x40

    assert scanned(changed(data, tmp_path, flip)) >= set(RECORDS.items())


def test_a_walk_ends_with_an_error_at_any_damage_of_its_structure(
    data: Path, tmp_path: Path
) -> None:
    content = data.read_bytes()
    live = leaves(content)

    def is_told(act: Callable[[bytearray], object]) -> bool:
        try:
            return walked(changed(data, tmp_path, act)) != RECORDS
        except ObjectDamagedError:
            return True

    told = 0
    for page in live:

        def empty(content: bytearray, page: int = page) -> None:
            content[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)

        told += is_told(empty)
    with PageFile(data) as file:
        head = file.heads()[0]
        count = file.databases(head)["records"].entry_count
    assert count == len(RECORDS)
    # Most leaves are in use, and each of those is missed.
    assert told > len(live) // 2


def test_free_pages_that_are_none_are_told(data: Path, tmp_path: Path) -> None:
    with PageFile(data) as file:
        root = file.heads()[0].free.root
    assert root is not None

    def harm(content: bytearray) -> None:
        content[root * PAGE + PAGE - 4 : root * PAGE + PAGE] = b"\xff" * 4

    with pytest.raises(ObjectDamagedError, match="free pages"):
        walked(changed(data, tmp_path, harm))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1 << 30), st.binary(min_size=1, max_size=16)), max_size=12),
    st.integers(0, 1 << 30),
)
def test_no_bytes_make_it_fail(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, bytes]], cut: int
) -> None:
    """Half of the changes fall on page headers, where all the lengths and numbers are."""
    folder = tmp_path_factory.mktemp("hostile")
    environment = lmdb.open(str(folder), max_dbs=2, map_size=1 << 24)
    with environment.begin(write=True) as txn:
        tree = environment.open_db(b"records", txn)
        for i in range(60):
            txn.put(b"key %d" % i, bytes([i]) * (200 * (i % 30)), db=tree)
    environment.close()
    content = bytearray((folder / "data.mdb").read_bytes())
    for place, new in writes:
        at = place % len(content)
        if place % 2:
            at -= at % PAGE - place % 48
        content[at : at + len(new)] = new
    if cut % 3 == 0:
        del content[cut % len(content) :]
    (folder / "data.mdb").write_bytes(content)
    with PageFile(folder / "data.mdb") as file:
        for key, value in file.scan(everything):
            assert 0 < len(key) <= 511
            assert len(value) <= len(content)
        for head in file.heads():
            try:
                for tree_of_one in file.databases(head).values():
                    for _ in file.walk(tree_of_one, head):
                        pass
                file.check_free_pages(head)
            except ObjectDamagedError:
                pass


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 3), st.integers(0, 4096))
def test_pages_of_nothing_but_garbage(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, repeats: int, nbytes: int
) -> None:
    path = tmp_path_factory.mktemp("garbage") / "data.mdb"
    path.write_bytes((seed * 200 * repeats)[: 5 * PAGE + nbytes])
    with PageFile(path) as file:
        list(file.scan(everything))
        assert file.heads() == []


def test_a_tree_that_names_its_own_page_ends(data: Path, tmp_path: Path) -> None:
    with PageFile(data) as file:
        head = file.heads()[0]
        root = file.databases(head)["records"].root
    assert root is not None

    def point_to_itself(content: bytearray) -> None:
        (at,) = struct.unpack_from("<H", content, root * PAGE + 16)
        struct.pack_into("<HHH", content, root * PAGE + at, root, 0, 0)

    with pytest.raises(ObjectDamagedError, match=f"names the page {root}"):
        walked(changed(data, tmp_path, point_to_itself))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        PageFile(tmp_path / "data.mdb")
