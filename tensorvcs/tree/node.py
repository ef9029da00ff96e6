"""The columnar layout of one node; encode, decode, check.

A node is little-endian and packed::

    magic         7 bytes   b"node 1\\n": kind and version, as in other objects
    sort          u8        0 int keys, 1 text keys
    level         u8        0 for a leaf
    value_nbytes  u8        width of a value of the tree, 0 to 64
    key_width     u8        bytes of one number in the key section: 0, 1, 2, 4 or 8
    count_width   u8        bytes of one subtree count; 0 in a leaf
    entry_count   u32       n, at least 1
    keys_nbytes   u32       bytes of the key section
    key section
    payload                 leaf: n values; inner node: n child digests, then n subtree counts

The key section of ints is the first key (i64) and n - 1 gaps less one (a key is the key before
it, plus one, plus the gap). That of texts is the length of the prefix that all keys share (u16),
the length of the shortest rest (u16), the prefix, n lengths of rests less that of the shortest,
and the rests. Every width is the smallest that fits, so one content has one encoding.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import ObjectDamagedError, UnsupportedFormatError
from tensorvcs.objects.digest import DIGEST_NBYTES
from tensorvcs.objects.schema import INLINE_NBYTES
from tensorvcs.tree.boundary import hash_keys, text_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tensorvcs.tree.boundary import Boundary

MAGIC = b"node 1\n"
MAX_NODE_ENTRIES = 1 << 17
MAX_TREE_KEY_NBYTES = 0xFFFF

_HEADER = struct.Struct("<7s5B2I")
_FIRST = struct.Struct("<q")
_TEXT_SECTION = struct.Struct("<2H")
_WIDTHS = np.array([0, 1, 2, 4, 8], np.int64)
_COUNT_WIDTHS = (1, 2, 4, 8)
_UNSIGNED = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}
# Text keys are padded to the longest of them only up to this size of the padded array.
_PADDED_LIMIT_NBYTES = 16 << 20
# A count above this is no count of keys that anybody stored.
_MAX_TOTAL = 2**62

_HEADER_DTYPE = np.dtype(
    [
        ("magic", "S7"),
        ("is_text", "u1"),
        ("level", "u1"),
        ("value_nbytes", "u1"),
        ("key_width", "u1"),
        ("count_width", "u1"),
        ("entry_count", "<u4"),
        ("keys_nbytes", "<u4"),
    ]
)
assert _HEADER_DTYPE.itemsize == _HEADER.size


class Node:
    """One decoded node. The header is read at once, the columns when they are asked for.

    Attributes
    ----------
    content : bytes
        The encoding; the columns are views of it.
    is_text : bool
    level : int
        0 for a leaf.
    value_nbytes : int
    entry_count : int

    Raises
    ------
    ObjectDamagedError
        The bytes are no node, or, from a property, its column is damaged.
    UnsupportedFormatError
        The version of the node is newer.
    """

    __slots__ = (
        "_count_width",
        "_counts",
        "_hashes",
        "_key_width",
        "_keys",
        "_payload_at",
        "_total",
        "content",
        "entry_count",
        "is_text",
        "level",
        "value_nbytes",
    )

    content: bytes
    is_text: bool
    level: int
    value_nbytes: int
    entry_count: int
    _key_width: int
    _count_width: int
    _payload_at: int
    _total: int

    def __init__(self, content: bytes) -> None:
        if len(content) < _HEADER.size:
            raise ObjectDamagedError(f"a tree node has {len(content)} bytes, too few for a header")
        (
            magic,
            sort,
            self.level,
            self.value_nbytes,
            self._key_width,
            self._count_width,
            self.entry_count,
            keys_nbytes,
        ) = _HEADER.unpack_from(content)
        if magic != MAGIC:
            _refuse_magic(magic)
        self.content = content
        self.is_text = sort == 1
        self._payload_at = _HEADER.size + keys_nbytes
        self._keys: NDArray[Any] | None = None
        self._hashes: NDArray[np.uint64] | None = None
        self._counts: NDArray[np.int64] | None = None
        self._total = self.entry_count if self.level == 0 else -1
        row_nbytes = DIGEST_NBYTES + self._count_width if self.level else self.value_nbytes
        if (
            sort > 1
            or self.value_nbytes > INLINE_NBYTES
            or not 1 <= self.entry_count <= MAX_NODE_ENTRIES
            or len(content) != self._payload_at + self.entry_count * row_nbytes
            or (self._count_width not in _COUNT_WIDTHS if self.level else self._count_width != 0)
            or not self._is_key_section_plausible(keys_nbytes)
        ):
            raise ObjectDamagedError(
                f"a tree node of {len(content)} bytes has a header that does not fit: level "
                f"{self.level}, {self.entry_count} entries, {keys_nbytes} bytes of keys"
            )

    def _is_key_section_plausible(self, keys_nbytes: int) -> bool:
        width = self._key_width
        if not self.is_text:
            fits = keys_nbytes == _FIRST.size + (self.entry_count - 1) * width
            return fits and (width <= 2 or width in (4, 8))
        return width <= 2 and keys_nbytes >= _TEXT_SECTION.size + self.entry_count * width

    @property
    def keys(self) -> NDArray[Any]:
        """The keys, shape (n,), int64 or text; of an inner node the last key of each child."""
        if self._keys is None:
            self._keys = self._decode_texts() if self.is_text else self._decode_ints()
        return self._keys

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """The hashes of the keys, shape (n,), uint64; computed once."""
        if self._hashes is None:
            self._hashes = hash_keys(self.keys)
        return self._hashes

    @property
    def values(self) -> NDArray[np.uint8]:
        """The values of a leaf, shape (n, value_nbytes), uint8, a read-only view."""
        assert self.level == 0
        shape = (self.entry_count, self.value_nbytes)
        return np.ndarray(shape, np.uint8, self.content, self._payload_at)

    def value(self, entry: int) -> bytes:
        """Return one value of a leaf."""
        at = self._payload_at + entry * self.value_nbytes
        return self.content[at : at + self.value_nbytes]

    @property
    def children(self) -> NDArray[np.uint8]:
        """The digests of the children of an inner node, shape (n, 32), uint8, read-only."""
        assert self.level > 0
        return np.ndarray(
            (self.entry_count, DIGEST_NBYTES), np.uint8, self.content, self._payload_at
        )

    def child(self, entry: int) -> bytes:
        """Return the digest of one child of an inner node."""
        at = self._payload_at + entry * DIGEST_NBYTES
        return self.content[at : at + DIGEST_NBYTES]

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of keys below each child of an inner node, shape (n,), int64."""
        assert self.level > 0
        if self._counts is None:
            at = self._payload_at + self.entry_count * DIGEST_NBYTES
            stored = np.frombuffer(self.content, _UNSIGNED[self._count_width], self.entry_count, at)
            if not int(stored.min()) or int(stored.max()) > _MAX_TOTAL // MAX_NODE_ENTRIES:
                raise ObjectDamagedError(
                    f"a tree node counts {stored.min()} to {stored.max()} keys below a child"
                )
            self._counts = stored.astype(np.int64)
            self._total = int(self._counts.sum())
        return self._counts

    @property
    def total(self) -> int:
        """The number of keys in the leaves at or below this node."""
        if self._total < 0:
            self._total = int(self.counts.sum())
        return self._total

    @property
    def memory_nbytes(self) -> int:
        """An estimate of the memory the node takes when its columns are decoded."""
        count, key_nbytes = self.entry_count, 8
        if self.is_text:
            key_nbytes = 8 + 2 * (self._payload_at - _HEADER.size) // count
        return len(self.content) + count * (key_nbytes + 8 * (self.level > 0)) + 512

    def _decode_ints(self) -> NDArray[np.int64]:
        count, width = self.entry_count, self._key_width
        first: int = _FIRST.unpack_from(self.content, _HEADER.size)[0]
        keys = np.empty(count, np.int64)
        if width:
            keys[1:] = np.frombuffer(
                self.content, _UNSIGNED[width], count - 1, _HEADER.size + _FIRST.size
            )
            keys[1:] += 1
        else:
            keys[1:] = 1
        keys[0] = first
        np.cumsum(keys, out=keys)
        # Gaps of up to 4 bytes cannot add up to a second turn through 64 bits.
        wraps = bool((keys[1:] <= keys[:-1]).any()) if width == 8 else int(keys[-1]) < first
        if wraps:
            raise ObjectDamagedError(f"the keys of a tree node run past 64 bits from {first}")
        return keys

    def _decode_texts(self) -> NDArray[Any]:
        content, count, width = self.content, self.entry_count, self._key_width
        prefix_nbytes, least = _TEXT_SECTION.unpack_from(content, _HEADER.size)
        lengths_at = _HEADER.size + _TEXT_SECTION.size + prefix_nbytes
        rests_at = lengths_at + count * width
        rests_nbytes = self._payload_at - rests_at
        lengths: NDArray[np.int64] | None = None
        longest, expected_nbytes = least, least * count
        if width and rests_nbytes >= 0:
            stored = np.frombuffer(content, _UNSIGNED[width], count, lengths_at)
            lengths = stored.astype(np.int64) + least
            longest, expected_nbytes = int(lengths.max()), int(lengths.sum())
        key_nbytes = prefix_nbytes + longest
        if rests_nbytes != expected_nbytes or not 1 <= key_nbytes <= MAX_TREE_KEY_NBYTES:
            raise ObjectDamagedError(
                f"a tree node has {rests_nbytes} bytes of text keys behind a prefix of "
                f"{prefix_nbytes}; its {count} lengths ask for {expected_nbytes}"
            )
        prefix = content[lengths_at - prefix_nbytes : lengths_at]
        rests = np.frombuffer(content, np.uint8, rests_nbytes, rests_at)
        if count * key_nbytes > _PADDED_LIMIT_NBYTES:
            return _texts_as_objects(prefix, rests.tobytes(), lengths, least, count)
        rows = np.zeros((count, key_nbytes), np.uint8)
        rows[:, :prefix_nbytes] = np.frombuffer(prefix, np.uint8)
        if lengths is None:
            rows[:, prefix_nbytes:] = rests.reshape(count, least)
        else:
            rows[:, prefix_nbytes:][np.arange(longest) < lengths[:, None]] = rests
        return rows.reshape(-1).view(f"S{key_nbytes}")


def _texts_as_objects(
    prefix: bytes, rests: bytes, lengths: NDArray[np.int64] | None, least: int, count: int
) -> NDArray[Any]:
    """Build keys one by one, where padding all to the longest would take much memory."""
    if lengths is None:
        lengths = np.full(count, least, np.int64)
    stops = np.cumsum(lengths)
    keys = np.empty(count, object)
    keys[:] = [
        prefix + rests[start:stop]
        for start, stop in zip((stops - lengths).tolist(), stops.tolist(), strict=True)
    ]
    return keys


def _refuse_magic(magic: bytes) -> None:
    kind, _, version = magic.rstrip(b"\n").partition(b" ")
    if kind == b"node" and version.isdigit() and int(version) > 1:
        raise UnsupportedFormatError(
            f"a tree node has version {int(version)}; this TensorVCS reads up to 1"
        )
    raise ObjectDamagedError(f"expected a tree node, found {magic!r}")


def leaf_payloads(contents: Sequence[bytes], value_nbytes: int) -> bytes:
    """Return the values of many leaves back to back, without decoding any key.

    Parameters
    ----------
    contents : sequence of bytes
        Encoded leaves of either sort.
    value_nbytes : int
        The width that they must have.

    Notes
    -----
    About 0.3 µs a leaf, and one copy of the values.

    Raises
    ------
    ObjectDamagedError
        One of them is no leaf, or of another width.
    """
    header_nbytes = _HEADER.size
    lengths = np.fromiter(map(len, contents), np.int64, len(contents))
    if len(contents) and int(lengths.min()) >= header_nbytes:
        headers = np.frombuffer(b"".join([c[:header_nbytes] for c in contents]), _HEADER_DTYPE)
        starts = headers["keys_nbytes"].astype(np.int64) + header_nbytes
        fits = (
            (headers["magic"] == MAGIC)
            & (headers["is_text"] <= 1)
            & (headers["level"] == 0)
            & (headers["count_width"] == 0)
            & (headers["value_nbytes"] == value_nbytes)
            & (lengths == starts + headers["entry_count"].astype(np.int64) * value_nbytes)
        )
        if bool(fits.all()):
            return b"".join(
                [content[at:] for content, at in zip(contents, starts.tolist(), strict=True)]
            )
    for content in contents:
        node = Node(content)
        if node.level or node.value_nbytes != value_nbytes:
            raise ObjectDamagedError(
                f"expected a leaf with values of {value_nbytes} bytes, found a node of level "
                f"{node.level} with {node.value_nbytes}"
            )
    return b"".join([content[Node(content)._payload_at :] for content in contents])


def encode_leaves(
    keys: NDArray[Any], values: NDArray[np.uint8], stops: NDArray[np.intp]
) -> list[bytes]:
    """Encode consecutive leaves.

    Parameters
    ----------
    keys : ndarray, shape (n,), int64 or text, strictly increasing
    values : ndarray, shape (n, value_nbytes), uint8
    stops : ndarray, shape (m,), intp
        Where each leaf stops; the last is n.
    """
    width = values.shape[1]
    payload = memoryview(np.ascontiguousarray(values).tobytes())
    bounds = [0, *stops.tolist()]
    return [
        b"".join((header, section, payload[start * width : stop * width]))
        for header, section, start, stop in zip(
            *_headed_sections(keys, stops, 0, width, None), bounds[:-1], bounds[1:], strict=True
        )
    ]


def encode_inner(
    keys: NDArray[Any],
    children: NDArray[np.uint8],
    counts: NDArray[np.int64],
    stops: NDArray[np.intp],
    level: int,
    value_nbytes: int,
) -> list[bytes]:
    """Encode consecutive inner nodes of one level, as `encode_leaves` does.

    Parameters
    ----------
    keys : ndarray, shape (n,), int64 or text, strictly increasing
        The last key of each child.
    children : ndarray, shape (n, 32), uint8
    counts : ndarray, shape (n,), int64
    """
    starts = np.append(0, stops[:-1])
    widths = np.maximum(_minimal_widths(np.maximum.reduceat(counts, starts)), 1)
    digests = np.ascontiguousarray(children).tobytes()
    casts = {width: counts.astype(_UNSIGNED[width]).tobytes() for width in set(widths.tolist())}
    return [
        b"".join(
            (
                header,
                section,
                digests[start * DIGEST_NBYTES : stop * DIGEST_NBYTES],
                casts[width][start * width : stop * width],
            )
        )
        for header, section, start, stop, width in zip(
            *_headed_sections(keys, stops, level, value_nbytes, widths.tolist()),
            starts.tolist(),
            stops.tolist(),
            widths.tolist(),
            strict=True,
        )
    ]


def _headed_sections(
    keys: NDArray[Any],
    stops: NDArray[np.intp],
    level: int,
    value_nbytes: int,
    count_widths: list[int] | None,
) -> tuple[list[bytes], list[bytes]]:
    """Return the header and the key section of each node."""
    is_text = keys.dtype != np.int64
    sections, key_widths = (_text_sections if is_text else _int_sections)(keys, stops)
    entry_counts = np.diff(stops, prepend=0).tolist()
    headers = [
        _HEADER.pack(
            MAGIC, is_text, level, value_nbytes, key_width, count_width, entry_count, len(section)
        )
        for section, key_width, count_width, entry_count in zip(
            sections, key_widths, count_widths or [0] * len(stops), entry_counts, strict=True
        )
    ]
    return headers, sections


def _minimal_widths(largest: NDArray[Any]) -> NDArray[np.int64]:
    """Return for each number the bytes that hold it: 0, 1, 2, 4 or 8."""
    steps = (largest > 0).astype(np.int64)
    for limit in (0xFF, 0xFFFF, 0xFFFF_FFFF):
        steps += largest > limit
    widths: NDArray[np.int64] = _WIDTHS[steps]
    return widths


def _int_sections(
    keys: NDArray[np.int64], stops: NDArray[np.intp]
) -> tuple[list[bytes], list[int]]:
    starts = np.append(0, stops[:-1])
    words = keys.view(np.uint64)
    gaps = np.zeros(len(keys), np.uint64)
    np.subtract(words[1:], words[:-1], out=gaps[:-1])
    gaps[:-1] -= np.uint64(1)
    # The gap behind the last key of a node belongs to no node.
    gaps[stops - 1] = 0
    widths = _minimal_widths(np.maximum.reduceat(gaps, starts)).tolist()
    casts = {width: gaps.astype(_UNSIGNED[width]).tobytes() for width in set(widths) if width}
    casts[0] = b""
    firsts = keys[starts].astype("<i8").tobytes()
    return [
        firsts[node * 8 : node * 8 + 8] + casts[width][start * width : (stop - 1) * width]
        for node, (start, stop, width) in enumerate(
            zip(starts.tolist(), stops.tolist(), widths, strict=True)
        )
    ], widths


def _text_sections(keys: NDArray[Any], stops: NDArray[np.intp]) -> tuple[list[bytes], list[int]]:
    starts = np.append(0, stops[:-1])
    lengths = text_lengths(keys)
    assert not len(lengths) or int(lengths.max()) <= MAX_TREE_KEY_NBYTES
    prefix_lengths = _shared_lengths(keys[starts], keys[stops - 1])
    entry_counts = np.diff(stops, prepend=0)
    entry_prefixes = np.repeat(prefix_lengths, entry_counts)
    rest_lengths = lengths - entry_prefixes
    least = np.minimum.reduceat(rest_lengths, starts)
    extra = rest_lengths - np.repeat(least, entry_counts)
    widths = _minimal_widths(np.maximum.reduceat(extra, starts)).tolist()
    casts = {width: extra.astype(_UNSIGNED[width]).tobytes() for width in set(widths) if width}
    casts[0] = b""
    rests = _rests(keys, lengths, entry_prefixes)
    rest_stops = np.cumsum(rest_lengths)[stops - 1].tolist()
    sections = []
    rest_start = 0
    for first, start, stop, prefix_length, shortest, width, rest_stop in zip(
        keys[starts].tolist(),
        starts.tolist(),
        stops.tolist(),
        prefix_lengths.tolist(),
        least.tolist(),
        widths,
        rest_stops,
        strict=True,
    ):
        sections.append(
            b"".join(
                (
                    _TEXT_SECTION.pack(prefix_length, shortest),
                    first[:prefix_length],
                    casts[width][start * width : stop * width],
                    rests[rest_start:rest_stop],
                )
            )
        )
        rest_start = rest_stop
    return sections, widths


def _rests(
    keys: NDArray[Any], lengths: NDArray[np.int64], prefix_lengths: NDArray[np.int64]
) -> bytes:
    """Return the keys back to back, each without as many first bytes as `prefix_lengths` says."""
    if keys.dtype == object:
        pairs = zip(keys.tolist(), prefix_lengths.tolist(), strict=True)
        return b"".join([key[prefix_length:] for key, prefix_length in pairs])
    columns = np.arange(keys.itemsize)
    rows = np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), keys.itemsize)
    kept = (columns >= prefix_lengths[:, None]) & (columns < lengths[:, None])
    return bytes(rows[kept].tobytes())


def _shared_lengths(firsts: NDArray[Any], lasts: NDArray[Any]) -> NDArray[np.int64]:
    """Return how many first bytes each pair of keys shares."""
    if firsts.dtype == object:
        return np.array(
            [_shared_length(*pair) for pair in zip(firsts.tolist(), lasts.tolist(), strict=True)],
            np.int64,
        )
    shape = (len(firsts), firsts.itemsize)
    differs = np.ones((shape[0], shape[1] + 1), np.bool_)
    differs[:, :-1] = firsts.view(np.uint8).reshape(shape) != lasts.view(np.uint8).reshape(shape)
    shared: NDArray[np.int64] = np.minimum(np.argmax(differs, axis=1), text_lengths(firsts))
    return shared


def _shared_length(first: bytes, last: bytes) -> int:
    length = min(len(first), len(last))
    return next((i for i in range(length) if first[i] != last[i]), length)


def check_node(content: bytes, boundary: Boundary) -> Node:
    """Decode a node and check all that its bytes alone can tell.

    Keys strictly increase, no entry but the last ends its run, the node is not too heavy, counts
    are possible, and the bytes are the one encoding of this content.

    Raises
    ------
    ObjectDamagedError
        One of these does not hold.
    UnsupportedFormatError
        The version of the node is newer.

    Notes
    -----
    Whether the node ends where it must also depends on its neighbours: see `tree.check`.
    """
    node = Node(content)
    keys = node.keys
    if not bool((keys[1:] > keys[:-1]).all()):
        raise ObjectDamagedError("the keys of a tree node do not strictly increase")
    if node.is_text:
        found = keys.tolist()
        if not found[0] or any(b"\0" in key for key in found):
            raise ObjectDamagedError("a tree node has a key that is empty or has NUL")
    ends = boundary.ends_run(node.hashes, node.level, node.value_nbytes)
    stops = boundary.node_stops(keys, node.hashes, node.level, node.value_nbytes)
    if bool(ends[:-1].any()) or len(stops) != 1:
        raise ObjectDamagedError(
            f"a tree node of level {node.level} goes on behind the entry that ends it"
        )
    whole = np.array([node.entry_count])
    if node.level:
        again = encode_inner(keys, node.children, node.counts, whole, node.level, node.value_nbytes)
    else:
        again = encode_leaves(keys, node.values, whole)
    if again[0] != content:
        raise ObjectDamagedError("a tree node is not in its canonical encoding")
    return node
