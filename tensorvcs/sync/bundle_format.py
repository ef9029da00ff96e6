"""The bytes of a bundle: commits, what they need, and where each is, in one file.

A bundle is little-endian and made of frames as they travel on a wire, so that it can be written
in one go, and of directories at its end, so that it can be read from any place::

    magic     12 bytes  b"tvcs bundle\\n"
    version   u32       1
    frames              kind (1 byte), length (u64), content; in any order and number:
        h               the head, first: JSON with refs, prerequisites and the part that is here
        o               objects: the length of each (u32), and its bytes
        v               values: `tensorvcs.sync.wire.encode_values`
        i               the directory of objects, then that of values, last
    footer              see `Footer`

The directory of objects is n digests in ascending order, n starts and n sizes (u64) of their
bytes in the file. That of values begins with five counts (u64): values n, parts p, frames f,
extents e, bytes of JSON j. Then come the parts (`PART`), the sizes of f frames and e extents of
their shapes (i64), part by part and row by row, n digests in ascending order, of each the part
and the row in it (u32), and the layouts of parts in JSON: kind, dtype, shape, compressor and ndim.
Rows need no more to be found; those of a part that are compressed are one frame together.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tensorvcs.errors import InvalidInputError, RefNameError, UnsupportedFormatError, with_hint
from tensorvcs.history.refs import BRANCHES, HEAD, TAGS, check_ref_name, ref_digest
from tensorvcs.objects.digest import DIGEST_NBYTES, CommitDigest, digest_of
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.ranges import RangedFile, checked_range, damaged
from tensorvcs.sync.wire import MAX_NDIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Kind

MAGIC = b"tvcs bundle\n"
VERSION = 1
START = struct.Struct(f"<{len(MAGIC)}sI")

HEAD_FRAME, OBJECTS_FRAME, VALUES_FRAME, DIRECTORY_FRAME = b"h", b"o", b"v", b"i"

PART = np.dtype(
    [
        ("layout", "<u4"),
        ("count", "<u4"),
        ("start", "<u8"),
        ("nbytes", "<u8"),
        ("data_start", "<u8"),
        ("row_nbytes", "<u8"),
        ("first_frame", "<u8"),
        ("first_extent", "<u8"),
    ]
)
"""Of a part: the number of its layout, its values; where the content of its frame is, and in it
the data; the bytes of a row as it is; and where its frames are among all sizes and extents."""

_COUNTS = struct.Struct("<5Q")
_SECTION = struct.Struct(f"<2Q{DIGEST_NBYTES}s")
_ENTRY_NBYTES = DIGEST_NBYTES + 8 + 8
_VALUE_NBYTES = DIGEST_NBYTES + 4 + 4
# Nobody has refs or layouts of this size; a length that lies takes no memory.
MAX_JSON_NBYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Section:
    """Where a head or a directory is, and the digest of its bytes."""

    start: int
    nbytes: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Footer:
    """The last bytes: for head, objects and values start, length and digest; digest of these.

    The digest of a footer is that of all names and places in the file, and so names the file.
    """

    head: Section
    objects: Section
    values: Section

    NBYTES = 3 * _SECTION.size + DIGEST_NBYTES

    def encode(self) -> bytes:
        """Return the bytes."""
        sections = (self.head, self.objects, self.values)
        content = b"".join(_SECTION.pack(s.start, s.nbytes, s.digest) for s in sections)
        return content + digest_of(content)


def read_footer(file: RangedFile) -> Footer:
    """Read the footer, and check the first bytes of the file.

    Raises
    ------
    UnsupportedFormatError
        It is no bundle, or one of a version that is not known.
    ObjectDamagedError
        It was cut off or changed.
    """
    least = START.size + Footer.NBYTES
    if file.nbytes < START.size:
        raise _no_bundle(f"{file.name} is no bundle: it has {file.nbytes} bytes")
    ranges = [(0, START.size)]
    if file.nbytes >= least:
        ranges.append((file.nbytes - Footer.NBYTES, Footer.NBYTES))
    start, *rest = file.read(ranges)
    magic, version = START.unpack(start)
    if magic != MAGIC:
        raise _no_bundle(f"{file.name} is no bundle")
    if version != VERSION:
        raise UnsupportedFormatError(
            f"{file.name} is a bundle of version {version}; this version reads {VERSION}"
        )
    return decode_footer(file, bytes(rest[0]) if rest else b"")


def decode_footer(file: RangedFile, content: bytes) -> Footer:
    """Read what `Footer.encode` wrote; raise ObjectDamagedError when it is something else."""
    body, digest = content[:-DIGEST_NBYTES], content[-DIGEST_NBYTES:]
    if len(content) != Footer.NBYTES or digest_of(body) != digest:
        raise damaged(file, "its end is not that of a whole bundle")
    sections = [
        Section(*_SECTION.unpack_from(content, number * _SECTION.size)) for number in range(3)
    ]
    for section in sections:
        checked_range(file, section.start, section.nbytes, "a directory")
    return Footer(*sections)


def _no_bundle(problem: str) -> UnsupportedFormatError:
    return with_hint(
        UnsupportedFormatError(problem),
        "name a repository, or a file that 'tvcs bundle create' has made",
    )


# The head


@dataclass(frozen=True, slots=True)
class Head:
    """What a bundle says of itself.

    Attributes
    ----------
    refs : mapping of str to bytes
        Branches and tags as in a ref store, and HEAD.
    prerequisites : tuple of CommitDigest
        Commits that a receiver must have.
    part : Filter
        What is here of each version.
    """

    refs: Mapping[str, bytes]
    prerequisites: tuple[CommitDigest, ...] = ()
    part: Filter = field(default_factory=Filter)

    def encode(self) -> bytes:
        """Return the bytes."""
        return json.dumps(
            {
                "refs": [[name, value.decode("latin-1")] for name, value in self.refs.items()],
                "prerequisites": [digest.hex() for digest in self.prerequisites],
                "part": None if self.part.is_everything else self.part.to_text(),
            }
        ).encode()


def decode_head(file: RangedFile, content: bytes) -> Head:
    """Read what `Head.encode` wrote; raise ObjectDamagedError when it is something else."""
    try:
        fields = json.loads(content)
        refs = {str(name): value.encode("latin-1") for name, value in fields["refs"]}
        for name, value in refs.items():
            _check_ref(name, value)
        prerequisites = tuple(
            CommitDigest(bytes.fromhex(digest)) for digest in fields["prerequisites"]
        )
        if any(len(digest) != DIGEST_NBYTES for digest in prerequisites):
            raise ValueError("a prerequisite is no digest")
        part = Filter() if fields["part"] is None else Filter.from_text(fields["part"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged(file, f"its list of refs cannot be read: {error}") from error
    return Head(refs, prerequisites, part)


def check_head(value: bytes) -> None:
    """Raise RefNameError, or another ValueError, when HEAD names no branch."""
    start = b"ref " + BRANCHES.encode()
    if not value.startswith(start):
        raise RefNameError(f"HEAD is {value[:80]!r}")
    check_ref_name(value[len(start) :].decode(), "branch")


def _check_ref(name: str, value: bytes) -> None:
    if name == HEAD:
        check_head(value)
        return
    for prefix, kinds in ((BRANCHES, (b"commit",)), (TAGS, (b"commit", b"tag"))):
        if name.startswith(prefix):
            check_ref_name(name[len(prefix) :], "ref")
            if value.partition(b" ")[0] in kinds and ref_digest(value):
                return
            raise InvalidInputError(f"ref {name!r} is {value[:80]!r}")
    raise RefNameError(f"{name[:80]!r} is neither a branch nor a tag")


# Directories


@dataclass(frozen=True, slots=True)
class ObjectDirectory:
    """Where objects are.

    Attributes
    ----------
    digests : ndarray, shape (n, 32), uint8
        In ascending order, as far as the file tells the truth.
    starts, sizes : ndarray, shape (n,), uint64
    """

    digests: NDArray[np.uint8]
    starts: NDArray[np.uint64]
    sizes: NDArray[np.uint64]

    def encode(self) -> bytes:
        """Return the bytes."""
        return b"".join((self.digests.tobytes(), self.starts.tobytes(), self.sizes.tobytes()))


def decode_objects_directory(file: RangedFile, content: memoryview) -> ObjectDirectory:
    """Return views of what `ObjectDirectory.encode` wrote."""
    count, rest = divmod(len(content), _ENTRY_NBYTES)
    if rest:
        raise damaged(file, f"its directory of objects has {len(content)} bytes")
    cut = _Cut(content)
    return ObjectDirectory(
        cut.take(np.uint8, DIGEST_NBYTES * count).reshape(count, DIGEST_NBYTES),
        cut.take("<u8", count),
        cut.take("<u8", count),
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """What the values of a part have in common; see `StoredValues`."""

    kind: Kind
    dtype: str
    shape: tuple[int, ...] | None
    compressor: Literal["lz4", "zstd"] | None
    ndim: int

    @property
    def is_slab(self) -> bool:
        """Whether all rows of a part are one compressed frame."""
        return self.shape is not None and self.compressor is not None


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of `PART`."""

    layout: int
    count: int
    start: int
    nbytes: int
    data_start: int
    row_nbytes: int
    first_frame: int
    first_extent: int

    @property
    def data_nbytes(self) -> int:
        """The bytes from where the data start to the end of the part; all of it at most."""
        return self.start + self.nbytes - self.data_start


@dataclass(frozen=True, slots=True)
class ValueDirectory:
    """Where values are.

    Attributes
    ----------
    layouts : sequence of Layout
    parts : ndarray, shape (p,), of `PART`
    frame_sizes : ndarray, shape (f,), int64
        The bytes of frames as they are stored, part by part and row by row.
    extents : ndarray, shape (e,), int64
        The shapes of frames, alike.
    digests : ndarray, shape (n, 32), uint8
        In ascending order, as far as the file tells the truth.
    part_numbers, rows : ndarray, shape (n,), uint32
    """

    layouts: Sequence[Layout]
    parts: NDArray[np.void]
    frame_sizes: NDArray[np.int64]
    extents: NDArray[np.int64]
    digests: NDArray[np.uint8]
    part_numbers: NDArray[np.uint32]
    rows: NDArray[np.uint32]

    def encode(self) -> bytes:
        """Return the bytes."""
        layouts = json.dumps(
            [[v.kind, v.dtype, v.shape, v.compressor, v.ndim] for v in self.layouts]
        ).encode()
        arrays: tuple[NDArray[Any], ...] = (
            self.parts, self.frame_sizes, self.extents, self.digests, self.part_numbers, self.rows,
        )  # fmt: skip
        counts = (
            len(self.digests),
            len(self.parts),
            len(self.frame_sizes),
            len(self.extents),
            len(layouts),
        )
        return b"".join((_COUNTS.pack(*counts), *(array.tobytes() for array in arrays), layouts))


def decode_values_directory(file: RangedFile, content: memoryview) -> ValueDirectory:
    """Return views of what `ValueDirectory.encode` wrote.

    Raises
    ------
    ObjectDamagedError
        It is something else. Single entries are checked when they are used.
    """
    if len(content) < _COUNTS.size:
        raise damaged(file, f"its directory of values has {len(content)} bytes")
    values, parts, frames, extents, json_nbytes = _COUNTS.unpack_from(content)
    expected = _COUNTS.size + values * _VALUE_NBYTES + parts * PART.itemsize
    expected += (frames + extents) * 8 + json_nbytes
    if len(content) != expected or json_nbytes > MAX_JSON_NBYTES:
        raise damaged(
            file, f"its directory of values has {len(content)} bytes, expected {expected}"
        )
    cut = _Cut(content, _COUNTS.size)
    return ValueDirectory(
        parts=cut.take(PART, parts),
        frame_sizes=cut.take("<i8", frames),
        extents=cut.take("<i8", extents),
        digests=cut.take(np.uint8, DIGEST_NBYTES * values).reshape(values, DIGEST_NBYTES),
        part_numbers=cut.take("<u4", values),
        rows=cut.take("<u4", values),
        layouts=_decode_layouts(file, bytes(cut.take(np.uint8, json_nbytes))),
    )


class _Cut:
    """Cuts arrays off the front of a buffer."""

    def __init__(self, content: memoryview, at: int = 0) -> None:
        self._content = content
        self._at = at

    def take(self, dtype: Any, count: int) -> NDArray[Any]:
        if not count:
            return np.zeros(0, dtype)
        array = np.frombuffer(self._content, dtype, count, self._at)
        self._at += array.nbytes
        return array


def _decode_layouts(file: RangedFile, content: bytes) -> list[Layout]:
    try:
        listed = json.loads(content)
        return [_layout(*fields) for fields in listed]
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(file, f"its list of layouts cannot be read: {error}") from error


def _layout(kind: Any, dtype: Any, shape: Any, compressor: Any, ndim: Any) -> Layout:
    extents = [ndim, *(shape or ())]
    if (
        kind not in ("ndarray", "str", "bytes")
        or compressor not in (None, "lz4", "zstd")
        or not isinstance(dtype, str)
        or not (shape is None or isinstance(shape, list))
        or any(type(extent) is not int or not 0 <= extent < 2**48 for extent in extents)
        or max(ndim, len(shape or ())) > MAX_NDIM
    ):
        raise ValueError("a layout of an unknown kind")
    return Layout(kind, dtype, None if shape is None else tuple(shape), compressor, ndim)


def read_section(file: RangedFile, section: Section, *, is_checked: bool) -> memoryview:
    """Read the head or a directory.

    Parameters
    ----------
    is_checked : bool
        Whether its bytes are hashed; what is not is checked entry by entry as it is used.
    """
    (content,) = file.read([(section.start, section.nbytes)])
    if is_checked and digest_of(content) != section.digest:
        raise damaged(file, "a directory does not hash to its digest")
    return content
