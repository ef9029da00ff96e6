"""Read an LMDB file past LMDB, trusting nothing: all its pages, or one tree with all its links.

A tree is *walked* from a head page, and whatever does not fit together ends the walk with an error.
All pages are *scanned*, those of trees of long ago as well, and whatever looks like a record comes
out: what is a record, its bytes must prove. Neither ever reads outside of the file.

References
----------
The layout is that of LMDB 0.9: ``MDB_page``, ``MDB_node``, ``MDB_db`` and ``MDB_meta`` in mdb.c.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from tensorvcs.errors import ObjectDamagedError, StorageError
from tensorvcs.storage.lmdb_pages import MAX_ABSENT_NBYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

_MAGIC = 0xBEEFC0DE
_DATA_VERSION = 1
_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, end of the offsets, start of the nodes
_LONG_PAGE = struct.Struct("<QHHI")  # number, padding, flags, pages of a long value
_NODE = struct.Struct("<HHHH")  # low and high of a size or a page, flags, size of the key
_META = struct.Struct("<II16x")
_TREE = struct.Struct("<IHHQQQQQ")  # page size, flags, depth, three page counts, entries, root
_TAIL = struct.Struct("<QQ")  # last page, transaction
_NUMBER = struct.Struct("<Q")
_BRANCH, _LEAF, _LONG, _HEAD = 0x01, 0x02, 0x04, 0x08
_LONG_VALUE, _SUB_TREE = 0x01, 0x02
_KINDS = _BRANCH | _LEAF | _LONG | _HEAD | 0x20 | 0x40
_BY_NUMBER, _ORDERS = 0x08, 0x7E  # of the flags of a tree: how its keys are ordered
_NO_PAGE = (1 << 64) - 1
_MAX_KEY_NBYTES = 511
_PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
_SAMPLED_PAGES = 4096
_SCAN_NBYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Tree:
    """What LMDB keeps of the tree of one database.

    Attributes
    ----------
    root : int or None
        None when it is empty.
    entry_count, depth : int
    page_counts : tuple of int
        Inner pages, leaves, and pages of long values.
    padding, flags : int
        The padding of the tree of free pages is the size of a page.
    """

    root: int | None
    entry_count: int
    depth: int
    page_counts: tuple[int, int, int]
    padding: int
    flags: int


@dataclass(frozen=True, slots=True)
class Head:
    """What one of the two head pages says.

    Attributes
    ----------
    page : int
        0 or 1.
    transaction : int
    last_page : int
    free, main : Tree
        Of the pages that are free, and of the names of the databases.
    """

    page: int
    transaction: int
    last_page: int
    free: Tree
    main: Tree


@dataclass(frozen=True, slots=True)
class _Node:
    """One entry of a page: where its data is, or what it names."""

    key: bytes
    flags: int
    nbytes: int
    data_at: int
    child: int


class PageFile:
    """An LMDB file, opened for reading page by page.

    Parameters
    ----------
    path : Path
        ``data.mdb``.

    Raises
    ------
    StorageError
        The file cannot be opened.

    Notes
    -----
    Memory is a MiB, and one value.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
            self.nbytes = self._file.seek(0, 2)
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error
        self.page_nbytes = self._find_page_nbytes()
        self.page_count = -(-self.nbytes // self.page_nbytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _find_page_nbytes(self) -> int:
        """Return the size of a page: as a head page says, or as most pages have their numbers."""
        for nbytes in _PAGE_SIZES:
            for page in (0, 1):
                head = _decode_head(self._read(page * nbytes, nbytes), page)
                if head is not None and head.free.padding == nbytes:
                    return nbytes

        def numbered(nbytes: int) -> int:
            count = self.nbytes // nbytes
            stride = max(1, count // _SAMPLED_PAGES)
            return nbytes * sum(
                self._read(page * nbytes, 8) == _NUMBER.pack(page)
                for page in range(2, count, stride)
            )

        return max(_PAGE_SIZES, key=numbered)

    def _read(self, at: int, nbytes: int) -> bytes:
        """Return the bytes of a stretch, fewer at the end of the file, none where it fails."""
        try:
            self._file.seek(at)
            parts = []
            while nbytes:
                part = self._file.read(nbytes)
                if not part:
                    break
                parts.append(part)
                nbytes -= len(part)
        except (OSError, OverflowError):
            return b""
        return b"".join(parts)

    def page(self, number: int) -> bytes:
        """Return the bytes of a page, with zeros where the file ends or the disk does not read."""
        if not 0 <= number < self.page_count:
            return b""
        return self._read(number * self.page_nbytes, self.page_nbytes).ljust(
            self.page_nbytes, b"\0"
        )

    def heads(self) -> list[Head]:
        """Return the head pages that can be read, that of the newest transaction first."""
        found = [_decode_head(self.page(number), number) for number in (0, 1)]
        return sorted(
            (head for head in found if head is not None and head.free.padding == self.page_nbytes),
            key=lambda head: head.transaction,
            reverse=True,
        )

    # One tree

    def databases(self, head: Head) -> dict[str, Tree]:
        """Return the named databases of a head.

        Raises
        ------
        ObjectDamagedError
            Their tree is damaged.
        """
        found = {}
        for node, page in self._walk(head.main, head.last_page):
            if node.flags != _SUB_TREE or node.nbytes != _TREE.size:
                raise self._damage(f"the database {node.key!r} is none")
            tree = _decode_tree(page, node.data_at)
            found[node.key.decode(errors="backslashreplace")] = tree
        return found

    def walk(self, tree: Tree, head: Head) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records of a database, in order of their keys.

        Raises
        ------
        ObjectDamagedError
            At the first thing that does not fit: a page that is not what names it, keys out of
            order, a value outside of the file; at the end when there are fewer or more records
            than the tree claims.
        """
        for node, page in self._walk(tree, head.last_page):
            yield node.key, self._value_in_place(node, page)

    def free_pages(self, head: Head) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        """Yield for transactions that freed pages, their number and those that nobody took since.

        Raises
        ------
        ObjectDamagedError
            The tree of the free pages is damaged, or tells of pages that are not there.
        """
        for node, page in self._walk(head.free, head.last_page, is_ordered=False):
            value = self._value_in_place(node, page)
            is_list = len(node.key) == _NUMBER.size and value and not len(value) % _NUMBER.size
            numbers = np.frombuffer(value, "<u8") if is_list else np.zeros(0, np.uint64)
            pages = numbers[1:]
            if (
                not len(numbers)
                or int(numbers[0]) != len(pages)
                or bool(((pages < 2) | (pages > head.last_page)).any())
            ):
                raise self._damage("the list of its free pages is none")
            yield _NUMBER.unpack(node.key)[0], pages

    def check_free_pages(self, head: Head) -> None:
        """Check the tree of the pages that are free, which writers use.

        Raises
        ------
        ObjectDamagedError
            It is damaged, or tells of pages that are not there.
        """
        for _ in self.free_pages(head):
            pass

    def _value_in_place(self, node: _Node, page: bytes) -> bytes:
        value = self._value(node, page, must_fit=True)
        if value is None:
            raise self._damage(f"the value of the key {node.key.hex()} is not where it should be")
        return value

    def _walk(
        self, tree: Tree, last_page: int, *, is_ordered: bool = True
    ) -> Iterator[tuple[_Node, bytes]]:
        if tree.flags & _ORDERS != (0 if is_ordered else _BY_NUMBER):
            raise self._damage(f"a tree has the flags {tree.flags:#x}")
        if is_ordered and tree.padding:
            raise self._damage(f"a tree has the padding {tree.padding:#x}")
        if (last_page + 1) * self.page_nbytes > self.nbytes + MAX_ABSENT_NBYTES:
            raise self._damage(f"a head says that the last page is {last_page}")
        waiting = [] if tree.root is None else [(tree.root, 1)]
        seen: set[int] = set()
        count, last_key = 0, b""
        inner_count = long_count = 0
        while waiting:
            number, depth = waiting.pop()
            if not 2 <= number <= last_page or number >= self.page_count or number in seen:
                raise self._damage(f"a tree names the page {number}")
            seen.add(number)
            page = self.page(number)
            found, _, flags, _, _ = _PAGE.unpack_from(page)
            nodes = _listed(page)
            if found != number or flags & _KINDS not in (_BRANCH, _LEAF) or not nodes:
                raise self._damage(f"page {number} is none of a tree")
            if flags & _BRANCH:
                inner_count += 1
                waiting += [(node.child, depth + 1) for node in reversed(nodes)]
                continue
            if depth != tree.depth:
                raise self._damage(f"page {number} has the depth {depth} of {tree.depth}")
            for node in nodes:
                is_behind = not is_ordered or node.key > last_key
                if not is_behind or node.flags & ~(_LONG_VALUE | _SUB_TREE):
                    raise self._damage(f"page {number} has a node out of order")
                last_key = node.key
                count += 1
                if node.flags & _LONG_VALUE:
                    long_count += self._long_page_count(node)
                yield node, page
        page_counts = inner_count, len(seen) - inner_count, long_count
        if (count, page_counts) != (tree.entry_count, tree.page_counts):
            raise self._damage(f"a tree has {count} records of {tree.entry_count}")

    def _long_page_count(self, node: _Node) -> int:
        """Return how many pages a long value takes, its header counted in."""
        return -(-(_PAGE.size + node.nbytes) // self.page_nbytes)

    def _damage(self, problem: str) -> ObjectDamagedError:
        return ObjectDamagedError(f"the LMDB file {self.path} is damaged: {problem}")

    # All pages

    def scan(
        self, wants: Callable[[bytes, int], bool], progress: Callable[[int], None] | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield whatever looks like a record on any page, whether it is in use or not.

        Parameters
        ----------
        wants : callable
            Called with a key and the bytes of its value; the value is read where it is True.
        progress : callable, optional
            Called with the number of pages that were read, now and then.

        Notes
        -----
        Reads the file once from its begin to its end, and long values where they are named.
        Never raises on what is in the file; one record may come several times, and records that
        never were may come as well.
        """
        batch = max(1, _SCAN_NBYTES // self.page_nbytes)
        for first in range(0, self.page_count, batch):
            content = self._read(first * self.page_nbytes, batch * self.page_nbytes)
            for at in range(0, len(content), self.page_nbytes):
                page = content[at : at + self.page_nbytes].ljust(self.page_nbytes, b"\0")
                for node in _all_nodes(page):
                    if wants(node.key, node.nbytes):
                        value = self._value(node, page, must_fit=False)
                        if value is not None:
                            yield node.key, value
            if progress is not None:
                progress(min(first + batch, self.page_count))

    def _value(self, node: _Node, page: bytes, *, must_fit: bool) -> bytes | None:
        """Return the value of a node; None when it is not in the file.

        The first page of a long value says its number, its kind and how many pages there are:
        all must be right with `must_fit`, and two of the three otherwise.
        """
        if not node.flags & _LONG_VALUE:
            return page[node.data_at : node.data_at + node.nbytes]
        number = _NUMBER.unpack_from(page, node.data_at)[0]
        count = self._long_page_count(node)
        if not 2 <= number < self.page_count or number + count > self.page_count:
            return None
        at = number * self.page_nbytes
        found, _, flags, page_count = _LONG_PAGE.unpack(
            self._read(at, _LONG_PAGE.size).ljust(_LONG_PAGE.size, b"\0")
        )
        fits = (found == number) + (flags & _KINDS == _LONG) + (page_count == count)
        if fits < (3 if must_fit else 2):
            return None
        value = self._read(at + _LONG_PAGE.size, node.nbytes)
        return value if len(value) == node.nbytes else None


def _decode_head(page: bytes, number: int) -> Head | None:
    """Read a head page; None when it is none that LMDB would take."""
    if len(page) < _PAGE.size + _META.size + 2 * _TREE.size + _TAIL.size:
        return None
    _, _, flags, _, _ = _PAGE.unpack_from(page)
    magic, version = _META.unpack_from(page, _PAGE.size)
    if magic != _MAGIC or version != _DATA_VERSION or not flags & _HEAD:
        return None
    trees_at = _PAGE.size + _META.size
    free, main = (_decode_tree(page, trees_at + place * _TREE.size) for place in (0, 1))
    last_page, transaction = _TAIL.unpack_from(page, trees_at + 2 * _TREE.size)
    return Head(number, transaction, last_page, free, main)


def _decode_tree(page: bytes, at: int) -> Tree:
    padding, flags, depth, inner, leaves, long, entry_count, root = _TREE.unpack_from(page, at)
    root = None if root == _NO_PAGE else root
    return Tree(root, entry_count, depth, (inner, leaves, long), padding, flags)


def _node_at(page: bytes, at: int, *, is_branch: bool) -> _Node | None:
    """Read a node; None when it does not lie within the page."""
    if at < _PAGE.size or at + _NODE.size > len(page):
        return None
    low, high, flags, key_nbytes = _NODE.unpack_from(page, at)
    data_at = at + _NODE.size + key_nbytes
    if data_at > len(page):
        return None
    key = page[at + _NODE.size : data_at]
    if is_branch:
        return _Node(key, 0, 0, data_at, low | high << 16 | flags << 32)
    nbytes = low | high << 16
    inline_nbytes = _NUMBER.size if flags & _LONG_VALUE else nbytes
    if data_at + inline_nbytes > len(page) or not 0 < key_nbytes <= _MAX_KEY_NBYTES:
        return None
    return _Node(key, flags, nbytes, data_at, 0)


def _listed(page: bytes) -> list[_Node]:
    """Return the nodes that a page lists; none when one of them does not lie within it."""
    _, _, flags, lower, upper = _PAGE.unpack_from(page)
    if not _PAGE.size < lower <= upper <= len(page) or lower % 2:
        return []
    nodes = []
    for (at,) in struct.iter_unpack("<H", page[_PAGE.size : lower]):
        node = _node_at(page, at, is_branch=bool(flags & _BRANCH)) if at >= upper else None
        if node is None:
            return []
        nodes.append(node)
    return nodes


def _all_nodes(page: bytes) -> Iterator[_Node]:
    """Yield whatever looks like a node of a leaf, on a page whose header may be wrong as well.

    The nodes of a page lie back to back from `upper` to its end, and the list of their offsets is
    in order of their keys. Where the two do not agree, each may tell of nodes that the other does
    not.
    """
    _, _, _, lower, upper = _PAGE.unpack_from(page)
    listed: list[int] = []
    is_listed = _PAGE.size < lower <= upper <= len(page) and not lower % 2
    if is_listed:
        listed = [at for (at,) in struct.iter_unpack("<H", page[_PAGE.size : lower])]
    else:
        listed = _likely_offsets(page)
    places = dict.fromkeys(listed)
    if not is_listed or min(listed) != upper or len(places) < len(listed):
        starts = {upper, *(at for at in listed if at >= _PAGE.size)}
    else:
        starts = {upper}
    for start in starts:
        places.update(dict.fromkeys(_back_to_back(page, start, places)))
    for at in places:
        node = _node_at(page, at, is_branch=False)
        if node is not None and not node.flags & ~_LONG_VALUE:
            yield node


def _likely_offsets(page: bytes) -> list[int]:
    """Return the numbers of a page that may be offsets of nodes of a leaf.

    They stand before the first node. On a page that is no leaf hardly any number looks like one.
    """
    numbers = np.frombuffer(page, "<u2")
    halves = numbers[_PAGE.size // 2 :]
    is_inside = (halves > _PAGE.size) & (halves <= len(page) - _NODE.size) & (halves % 2 == 0)
    slots = np.nonzero(is_inside)[0]
    at = halves[slots] // 2
    flags, key_nbytes = numbers[at + 2], numbers[at + 3]
    is_node = (flags <= _LONG_VALUE) & (key_nbytes > 0) & (key_nbytes <= _MAX_KEY_NBYTES)
    offsets, stop = [], len(page)
    for slot, offset in zip(slots[is_node].tolist(), (2 * at[is_node]).tolist(), strict=True):
        if _PAGE.size + 2 * slot >= stop:
            break
        if offset > _PAGE.size + 2 * slot:
            offsets.append(offset)
            stop = min(stop, offset)
    return offsets


def _back_to_back(page: bytes, at: int, known: dict[int, None]) -> Iterator[int]:
    """Yield the offsets of nodes that lie one behind the other, as far as they are some."""
    found = []
    while (node := _node_at(page, at, is_branch=False)) is not None:
        if at not in known:
            found.append(at)
        inline_nbytes = _NUMBER.size if node.flags & _LONG_VALUE else node.nbytes
        at = node.data_at + inline_nbytes
        at += at % 2
    yield from found
