"""Look at the pages of an LMDB file, past LMDB: is a file that is short a file that was cut?

LMDB trusts its file. A page that was cut off reads as zeros, on which LMDB may end the process with
an assertion, so that a cut file is told before LMDB looks at it, and so are heads that lead out of
the file. What remains is a length on another page, of a node or a long value, that a damaged bit
makes lead behind the end of the file: it ends the process with a signal when that record is read.
`lmdb_scan` reads all of that without LMDB.

References
----------
The layout is that of LMDB 0.9: ``MDB_page``, ``MDB_node``, ``MDB_db`` and ``MDB_meta`` in mdb.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAGIC = 0xBEEFC0DE
_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, end of the offsets, start of the nodes
_NODE = struct.Struct("<HHHH")  # low and high of a size or a page, flags, size of the key
_META = struct.Struct("<II16x")
_TREE = struct.Struct("<IHHQQQQQ")  # ..., root
_TAIL = struct.Struct("<QQ")  # last page, transaction
_NUMBER = struct.Struct("<Q")
_BRANCH, _LEAF, _LEAF_OF_KEYS = 0x01, 0x02, 0x20
_BIG_DATA, _SUB_TREE = 0x01, 0x02
_NO_PAGE = (1 << 64) - 1
_HEAD_NBYTES = _PAGE.size + _META.size + 2 * _TREE.size + _TAIL.size
_PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)


MAX_ABSENT_NBYTES = 4 << 30
"""How far a file may end before its last page: LMDB leaves those out that were freed in the
transaction that took them."""


def find_wild_roots(path: Path) -> str | None:
    """Return what is wrong with the head pages, where LMDB would look outside of its file.

    LMDB takes what its newest head says on trust. Pages that a tree names it compares with the last
    page, but not the last page with the file, nor the roots with either. None when they fit, or
    when LMDB says itself what is wrong.

    Notes
    -----
    Reads two pages, in about 10 µs.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_NBYTES)
        if len(head) < _HEAD_NBYTES:
            return None
        page_nbytes = _TREE.unpack_from(head, _PAGE.size + _META.size)[0]
        if page_nbytes not in _PAGE_SIZES:
            return f"a head page says that pages have {page_nbytes} bytes"
        file.seek(page_nbytes)
        other = file.read(_HEAD_NBYTES)
        nbytes = file.seek(0, 2)
    if len(other) < _HEAD_NBYTES:
        return None
    at = _PAGE.size + _META.size
    (last_page, transaction), (other_last_page, other_transaction) = (
        _TAIL.unpack_from(page, at + 2 * _TREE.size) for page in (head, other)
    )
    if other_transaction > transaction:
        head, last_page = other, other_last_page
    if (last_page + 1) * page_nbytes > nbytes + MAX_ABSENT_NBYTES:
        return f"its head says that the last page is {last_page}"
    roots = [_TREE.unpack_from(head, at + place * _TREE.size)[-1] for place in (0, 1)]
    wild = [root for root in roots if root != _NO_PAGE and not 1 < root <= last_page]
    return f"its head names the page {wild[0]} of {last_page + 1}" if wild else None


def is_cut(path: Path, page_nbytes: int) -> bool:
    """Tell whether a page that is in use lies behind the end of a file.

    Notes
    -----
    Reads all pages of the trees, those of long values left out, one after the other.
    """
    with path.open("rb") as file:
        page_count = file.seek(0, 2) // page_nbytes
        try:
            pages = list(_roots(file, page_nbytes))
            seen: set[int] = set()
            while pages:
                number = pages.pop()
                if number >= page_count:
                    return True
                if number not in seen:
                    seen.add(number)
                    children, last = _named_by(_read(file, number, page_nbytes))
                    if last >= page_count:
                        return True
                    pages += children
        except (struct.error, IndexError):
            # Something else is wrong with it, which LMDB says.
            return False
    return False


def _read(file: BinaryIO, number: int, page_nbytes: int) -> bytes:
    file.seek(number * page_nbytes)
    return file.read(page_nbytes)


def _roots(file: BinaryIO, page_nbytes: int) -> Iterator[int]:
    """Yield the roots of the free list and of the main tree of the newest transaction."""
    newest, found = -1, b""
    for number in (0, 1):
        page = _read(file, number, page_nbytes)[_PAGE.size :]
        magic, _ = _META.unpack_from(page)
        _, transaction = _TAIL.unpack_from(page, _META.size + 2 * _TREE.size)
        if magic == _MAGIC and transaction > newest:
            newest, found = transaction, page
    for place in (0, 1):
        root = _TREE.unpack_from(found, _META.size + place * _TREE.size)[-1]
        if root != _NO_PAGE:
            yield root


def _named_by(page: bytes) -> tuple[list[int], int]:
    """Return the tree pages that a page names, and the last page of the long values in it."""
    _, _, flags, lower, _ = _PAGE.unpack_from(page)
    named: list[int] = []
    last = 0
    if flags & _LEAF_OF_KEYS or not flags & (_BRANCH | _LEAF):
        return named, last
    for (at,) in struct.iter_unpack("<H", page[_PAGE.size : lower]):
        low, high, node_flags, key_nbytes = _NODE.unpack_from(page, at)
        data_at = at + _NODE.size + key_nbytes
        if flags & _BRANCH:
            named.append(low | high << 16 | node_flags << 32)
        elif node_flags & _BIG_DATA:
            # The first page of a long value has a header.
            nbytes = (low | high << 16) + _PAGE.size
            last = max(last, _NUMBER.unpack_from(page, data_at)[0] + (nbytes - 1) // len(page))
        elif node_flags & _SUB_TREE:
            root = _TREE.unpack_from(page, data_at)[-1]
            if root != _NO_PAGE:
                named.append(root)
    return named, last
