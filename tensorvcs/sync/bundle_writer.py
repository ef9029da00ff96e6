"""Write a bundle: frames in the order in which they come, and directories at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.digest import DIGEST_NBYTES, digest_of, digests_to_array
from tensorvcs.sync import wire
from tensorvcs.sync.bundle_format import (
    DIRECTORY_FRAME,
    HEAD_FRAME,
    MAGIC,
    OBJECTS_FRAME,
    PART,
    START,
    VALUES_FRAME,
    VERSION,
    Footer,
    Head,
    Layout,
    ObjectDirectory,
    Section,
    ValueDirectory,
)
from tensorvcs.sync.digest_lookup import DigestCollection, sort_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import StoredValues

_OBJECT_HEAD_NBYTES = 4


class BundleWriter:
    """Writes the frames of a bundle, and remembers where everything is.

    Parameters
    ----------
    write : callable
        Takes bytes behind those before; large ones as views, which stay as they are.
    head : Head

    Notes
    -----
    Holds what the directories will hold, 48 bytes an object and 40 a value, or 48 and its
    shape where values have no common one, and as much again
    when it is closed.
    """

    def __init__(self, write: Callable[[wire.Frame], object], head: Head) -> None:
        self._write = write
        self._at = 0
        self._emit(START.pack(MAGIC, VERSION))
        self._head = self._frame(HEAD_FRAME, head.encode())
        self._objects = _Entries()
        self._values = _Entries()
        self._layouts: dict[Layout, int] = {}
        self._parts: list[tuple[int, ...]] = []
        self._frame_sizes: list[NDArray[np.int64]] = []
        self._extents: list[NDArray[np.int64]] = []
        self._frame_count = self._extent_count = 0

    @property
    def nbytes(self) -> int:
        """The bytes written so far."""
        return self._at

    @property
    def object_count(self) -> int:
        """The objects written so far."""
        return self._objects.count

    @property
    def value_count(self) -> int:
        """The values written so far."""
        return self._values.count

    def has_objects(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each digest whether its object was written."""
        return self._objects.names.contains(digests)

    def has_values(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each digest whether its value was written."""
        return self._values.names.contains(digests)

    def add_objects(self, contents: Sequence[bytes]) -> None:
        """Write objects."""
        sizes = np.array([len(content) for content in contents], np.uint64)
        starts = np.empty(len(contents), np.uint64)
        at = 0
        for block in wire.encode_objects(contents):
            place = self._frame(OBJECTS_FRAME, block).start
            end = place + len(block)
            while place < end:
                starts[at] = place + _OBJECT_HEAD_NBYTES
                place = int(starts[at]) + len(contents[at])
                at += 1
        digests = digests_to_array([digest_of(content) for content in contents])
        self._objects.add(digests, starts, sizes)

    def add_values(self, values: StoredValues) -> None:
        """Write values; they are not hashed."""
        count = len(values)
        start, data = wire.value_parts(values)
        frame = self._frame(VALUES_FRAME, start, data)
        layout = Layout(
            values.kind, values.dtype, values.shape, values.compressor, values.shapes.shape[1]
        )
        number = self._layouts.setdefault(layout, len(self._layouts))
        row_nbytes = int(values.sizes[0]) if layout.shape is not None and count else 0
        part_numbers = np.full(count, len(self._parts), np.uint32)
        self._parts.append(
            (
                number,
                count,
                frame.start,
                frame.nbytes,
                frame.start + len(start),
                row_nbytes,
                self._frame_count,
                self._extent_count,
            )
        )
        if layout.shape is None:
            self._frame_sizes.append(values.sizes.astype("<i8"))
            self._frame_count += count
            self._extents.append(values.shapes.reshape(-1).astype("<i8"))
            self._extent_count += values.shapes.size
        self._values.add(values.digests, part_numbers, np.arange(count, dtype=np.uint32))

    def close(self) -> Footer:
        """Write the directories and the footer; return the footer."""
        objects = self._frame(DIRECTORY_FRAME, self._objects_directory().encode())
        values = self._frame(DIRECTORY_FRAME, self._values_directory().encode())
        footer = Footer(self._head, objects, values)
        self._emit(footer.encode())
        return footer

    def _objects_directory(self) -> ObjectDirectory:
        return ObjectDirectory(*self._objects.sorted_columns("<u8", "<u8"))

    def _values_directory(self) -> ValueDirectory:
        digests, part_numbers, rows = self._values.sorted_columns("<u4", "<u4")
        nothing = np.zeros(0, "<i8")
        return ValueDirectory(
            layouts=list(self._layouts),
            parts=np.array(self._parts, PART),
            frame_sizes=np.concatenate([*self._frame_sizes, nothing]),
            extents=np.concatenate([*self._extents, nothing]),
            digests=digests,
            part_numbers=part_numbers,
            rows=rows,
        )

    def _frame(self, kind: bytes, content: bytes, rest: memoryview | None = None) -> Section:
        nbytes = len(content) + (0 if rest is None else len(rest))
        self._emit(wire.frame_head(nbytes, kind))
        self._emit(content)
        if rest is not None:
            self._emit(rest)
        # Only the sections of the footer are looked up by digest.
        is_section = kind in (HEAD_FRAME, DIRECTORY_FRAME)
        return Section(self._at - nbytes, nbytes, digest_of(content) if is_section else b"")

    def _emit(self, content: wire.Frame) -> None:
        self._write(content)
        self._at += len(content)


class _Entries:
    """Digests and columns of numbers beside them, as they come; sorted at the end."""

    def __init__(self) -> None:
        self.names = DigestCollection()
        self._columns: list[tuple[NDArray[Any], ...]] = []
        self.count = 0

    def add(self, digests: NDArray[np.uint8], *columns: NDArray[Any]) -> None:
        self.names.add(digests)
        self._columns.append((np.ascontiguousarray(digests), *columns))
        self.count += len(digests)

    def sorted_columns(self, *dtypes: str) -> tuple[Any, ...]:
        """Return the digests in ascending order, and each column in that order."""
        if not self._columns:
            empty = np.zeros((0, DIGEST_NBYTES), np.uint8)
            return empty, *(np.zeros(0, dtype) for dtype in dtypes)
        digests, *rest = (np.concatenate(column) for column in zip(*self._columns, strict=True))
        order = sort_order(digests)
        return digests[order], *(
            column[order].astype(dtype) for column, dtype in zip(rest, dtypes, strict=True)
        )
