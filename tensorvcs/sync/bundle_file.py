"""Read a bundle from any place, by ranges: what is there, where, and what is asked for of it."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import DigestMismatchError, RemoteError
from tensorvcs.objects.digest import digest_of
from tensorvcs.storage.interfaces import StoredValues
from tensorvcs.sync import wire
from tensorvcs.sync.bundle_format import (
    MAX_JSON_NBYTES,
    Footer,
    Head,
    Layout,
    ObjectDirectory,
    Part,
    ValueDirectory,
    decode_head,
    decode_objects_directory,
    decode_values_directory,
    read_footer,
    read_section,
)
from tensorvcs.sync.digest_lookup import find_digests
from tensorvcs.sync.ranges import Range, RangedFile, checked_range, damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Unpack = Callable[[StoredValues], list[NDArray[np.uint8]] | NDArray[np.uint8]]

# Payload that is read together; a larger part comes alone.
_READ_NBYTES = 16 << 20
_AHEAD_NBYTES = 32 << 20
_READS_AHEAD = 8
# A row of which more is said is none.
_MOST_NBYTES = 1 << 48


class BundleFile:
    """The content of one bundle.

    Parameters
    ----------
    file : RangedFile
    unpack : callable
        Returns the data of each of some values, decoded, once all of them hash to their names;
        of rows one array, shape (n, row_nbytes).
    is_checked : bool
        Whether whole directories are hashed when they are read. Otherwise each entry is checked
        to lie within the file when it is used, and what is found there to be what it is named.

    Raises
    ------
    UnsupportedFormatError
        It is no bundle.
    ObjectDamagedError
        It is a part of one.
    """

    def __init__(
        self,
        file: RangedFile,
        unpack: Unpack,
        *,
        is_checked: bool = False,
    ) -> None:
        self.file = file
        self.footer: Footer = read_footer(file)
        self.unpack = unpack
        self._is_checked = is_checked

    @cached_property
    def head(self) -> Head:
        """Refs, prerequisites and part; raises ObjectDamagedError."""
        section = self.footer.head
        if section.nbytes > MAX_JSON_NBYTES:
            raise damaged(self.file, f"its list of refs would have {section.nbytes} bytes")
        return decode_head(self.file, bytes(read_section(self.file, section, is_checked=True)))

    @cached_property
    def objects(self) -> ObjectDirectory:
        """Where objects are."""
        section = read_section(self.file, self.footer.objects, is_checked=self._is_checked)
        return decode_objects_directory(self.file, section)

    @cached_property
    def values(self) -> ValueDirectory:
        """Where values are."""
        section = read_section(self.file, self.footer.values, is_checked=self._is_checked)
        return decode_values_directory(self.file, section)

    # Objects

    def find_objects(self, digests: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return the places of objects in the directory, -1 for those that are not here."""
        return find_digests(self.objects.digests, digests)

    def read_objects(self, places: NDArray[np.intp]) -> list[bytes]:
        """Return objects by their places, each checked against its digest.

        Raises
        ------
        ObjectDamagedError
            One would lie beyond the end of the file.
        DigestMismatchError
            One does not hash to its name.
        """
        directory = self.objects
        ranges = [
            checked_range(self.file, start, size, "an object")
            for start, size in zip(
                directory.starts[places].tolist(), directory.sizes[places].tolist(), strict=True
            )
        ]
        nbytes = sum(directory.sizes[np.unique(places)].tolist())
        if nbytes > self.file.nbytes:
            raise damaged(self.file, f"{len(places)} objects would have {nbytes} bytes")
        contents = []
        for place, view in zip(places.tolist(), self.file.read(ranges), strict=True):
            content = bytes(view)
            name = directory.digests[place].tobytes()
            if digest_of(content) != name:
                raise DigestMismatchError(
                    f"{self.file.name}: object {name.hex()} does not hash to its name"
                )
            contents.append(content)
        return contents

    # Values

    def find_values(self, digests: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return the places of values in the directory, -1 for those that are not here."""
        return find_digests(self.values.digests, digests)

    def value_sizes(self, places: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the bytes of values by their places, as they travel."""
        directory = self.values
        numbers = directory.part_numbers[places].astype(np.intp)
        if len(numbers) and int(numbers.max()) >= len(directory.parts):
            raise damaged(self.file, f"a value is in part {int(numbers.max())}, which there is not")
        parts = directory.parts[numbers]
        is_frames = np.array([layout.shape is None for layout in directory.layouts], np.bool_)
        layouts = parts["layout"].astype(np.intp)
        if len(layouts) and int(layouts.max()) >= len(is_frames):
            raise damaged(self.file, f"a part has the unknown layout {int(layouts.max())}")
        sizes = parts["row_nbytes"].astype(np.int64)
        framed = np.flatnonzero(is_frames[layouts]) if len(layouts) else layouts
        frames = parts["first_frame"][framed] + directory.rows[places[framed]]
        if len(frames) and int(frames.max()) >= len(directory.frame_sizes):
            raise damaged(self.file, f"a value is frame {int(frames.max())}, which there is not")
        sizes[framed] = directory.frame_sizes[frames.astype(np.intp)]
        if (sizes < 0).any():
            raise damaged(self.file, "a value has less than no bytes")
        return sizes

    def stored_values(self, places: NDArray[np.intp]) -> Iterator[StoredValues]:
        """Yield values by their places, each given once, in the order of the file.

        Notes
        -----
        Nothing that is yielded is checked against its name, but for rows of a slab that is not
        wanted as a whole, which is decoded. Reads as `read_in_order` does.
        """
        yield from read_in_order(self.reads(places))

    def reads(self, places: NDArray[np.intp]) -> Iterator[Read]:
        """Yield what is to be read for values by their places, about 16 MiB at a time."""
        directory = self.values
        numbers = directory.part_numbers[places]
        order = np.lexsort((directory.rows[places], numbers))
        places, numbers = places[order], numbers[order]
        cuts = np.flatnonzero(np.diff(numbers)) + 1
        waiting: list[Wanted] = []
        nbytes = 0
        for chosen in np.split(places, cuts) if len(places) else []:
            wanted = self._wanted(chosen)
            waiting.append(wanted)
            nbytes += wanted.nbytes
            if nbytes >= _READ_NBYTES:
                yield Read(self, waiting, nbytes)
                waiting, nbytes = [], 0
        if waiting:
            yield Read(self, waiting, nbytes)

    def _wanted(self, places: NDArray[np.intp]) -> Wanted:
        """Return what is to be read for values of one part, given by row."""
        directory = self.values
        number = int(directory.part_numbers[places[0]])
        if number >= len(directory.parts):
            raise damaged(self.file, f"a value is in part {number} of {len(directory.parts)}")
        part = Part(*directory.parts[number].item())
        if part.layout >= len(directory.layouts):
            raise damaged(self.file, f"part {number} has the unknown layout {part.layout}")
        layout = directory.layouts[part.layout]
        checked_range(self.file, part.start, part.nbytes, f"part {number}")
        rows = directory.rows[places].astype(np.int64)
        if (
            int(rows[-1]) >= part.count
            or (np.diff(rows) < 1).any()
            or not 0 <= part.data_nbytes <= part.nbytes
            or part.row_nbytes > _MOST_NBYTES
        ):
            raise damaged(self.file, f"values of part {number} would lie outside of it")
        if layout.is_slab:
            if len(places) != part.count:
                return Wanted(layout, places, [(part.start, part.nbytes)], is_whole=True)
            ranges = [(part.data_start, part.data_nbytes)]
            sizes = np.full(len(places), part.row_nbytes, np.int64)
            return Wanted(layout, places, ranges, np.zeros((len(places), 0), np.int64), sizes)
        if layout.shape is not None:
            if part.count * part.row_nbytes > part.data_nbytes:
                raise damaged(self.file, f"the rows of part {number} are longer than it is")
            starts = part.data_start + rows * part.row_nbytes
            sizes = np.full(len(places), part.row_nbytes, np.int64)
            return Wanted(
                layout, places, _runs(starts, sizes), np.zeros((len(places), 0), np.int64), sizes
            )
        sizes = self._frame_sizes(number, part)
        starts = part.data_start + np.cumsum(sizes)[rows] - sizes[rows]
        shapes = self._shapes(number, part, layout, rows)
        return Wanted(layout, places, _runs(starts, sizes[rows]), shapes, sizes[rows])

    def _frame_sizes(self, number: int, part: Part) -> NDArray[np.int64]:
        """Return the sizes of all frames of a part, which fill no more than its data."""
        last = part.first_frame + part.count
        if last > len(self.values.frame_sizes):
            raise damaged(self.file, f"part {number} has no sizes for its values")
        sizes = self.values.frame_sizes[part.first_frame : last]
        # As floats, whose sum does not wrap.
        if (sizes < 0).any() or float(sizes.sum(dtype=np.float64)) > part.data_nbytes:
            raise damaged(self.file, f"the frames of part {number} are longer than it is")
        return sizes

    def _shapes(
        self, number: int, part: Part, layout: Layout, rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        first = rows * layout.ndim
        if part.first_extent + int(first[-1]) + layout.ndim > len(self.values.extents):
            raise damaged(self.file, f"part {number} has no shapes for its values")
        shapes: NDArray[np.int64] = self.values.extents[
            part.first_extent + first[:, None] + np.arange(layout.ndim)
        ]
        return shapes

    def values_of(
        self, waiting: Sequence[Wanted], views: Iterable[memoryview]
    ) -> Iterator[StoredValues]:
        """Yield the values of parts whose ranges were read."""
        read = iter(views)
        for wanted in waiting:
            views = [next(read) for _ in wanted.ranges]
            if wanted.is_whole:
                yield self._rows_of_slab(wanted, views[0])
                continue
            arrays = [np.frombuffer(view, np.uint8) for view in views if len(view)]
            data = arrays[0] if len(arrays) == 1 else np.concatenate([*arrays, _NOTHING])
            layout = wanted.layout
            yield self._checked(
                StoredValues(
                    layout.kind,
                    layout.dtype,
                    layout.shape,
                    layout.compressor,
                    np.ascontiguousarray(self.values.digests[wanted.places]),
                    wanted.shapes,
                    wanted.sizes,
                    data,
                )
            )

    def _rows_of_slab(self, wanted: Wanted, content: memoryview) -> StoredValues:
        """Return some rows of a slab that is one compressed frame, decoded."""
        values = self.decode_part(content)
        rows = self.values.rows[wanted.places].astype(np.intp)
        digests = self.values.digests[wanted.places]
        is_other = values.shape is None or len(values) <= int(rows.max())
        if is_other or (values.digests[rows] != digests).any():
            raise damaged(self.file, "a slab of rows is not the one that its directory names")
        chosen = np.asarray(self.unpack(values))[rows]
        return StoredValues(
            values.kind,
            values.dtype,
            values.shape,
            None,
            np.ascontiguousarray(digests),
            np.zeros((len(rows), 0), np.int64),
            np.full(len(rows), chosen.shape[1], np.int64),
            chosen.reshape(-1),
        )

    def decode_part(self, content: memoryview) -> StoredValues:
        """Return the values of a frame."""
        try:
            values = wire.decode_values(bytes(content))
        except RemoteError as error:
            raise damaged(self.file, str(error)) from error
        return self._checked(values)

    def _checked(self, values: StoredValues) -> StoredValues:
        """Return values, unless few bytes would become very many."""
        if values.compressor is None:
            return values
        try:
            return wire.check_decoded(values, wire.MAX_FRAME_NBYTES)
        except RemoteError as error:
            raise damaged(self.file, str(error)) from error


_NOTHING = np.zeros(0, np.uint8)


@dataclass(frozen=True, slots=True)
class Read:
    """Values of one bundle that are read together.

    Attributes
    ----------
    bundle : BundleFile
    wanted : sequence of Wanted
    nbytes : int
        Of their ranges.
    """

    bundle: BundleFile
    wanted: Sequence[Wanted]
    nbytes: int

    def start(self) -> list[memoryview]:
        """Return the ranges."""
        return self.bundle.file.read([one for wanted in self.wanted for one in wanted.ranges])

    def values(self, views: Sequence[memoryview]) -> Iterator[StoredValues]:
        """Yield the values, once their ranges are here."""
        return self.bundle.values_of(self.wanted, views)


def read_in_order(reads: Iterable[Read]) -> Iterator[StoredValues]:
    """Yield values of bundles; what comes next is read meanwhile.

    Notes
    -----
    Up to eight reads, and of 32 MiB together unless a single one has more, are under way.
    """
    left = iter(reads)
    first = next(left, None)
    second = next(left, None)
    if first is None or second is None:
        # A thread costs more than most single reads.
        if first is not None:
            yield from first.values(first.start())
        return
    left = chain((first, second), left)
    waiting: deque[tuple[Read, Future[list[memoryview]]]] = deque()
    with ThreadPoolExecutor(_READS_AHEAD, "tensorvcs-bundle") as pool:
        try:
            ahead = 0
            coming = next(left, None)
            while waiting or coming is not None:
                while coming is not None and (
                    not waiting
                    or (len(waiting) < _READS_AHEAD and ahead + coming.nbytes <= _AHEAD_NBYTES)
                ):
                    waiting.append((coming, pool.submit(coming.start)))
                    ahead += coming.nbytes
                    coming = next(left, None)
                read, future = waiting.popleft()
                ahead -= read.nbytes
                yield from read.values(future.result())
        finally:
            for _, future in waiting:
                future.cancel()


class Wanted:
    """Values of one part, by row, and the ranges that hold them."""

    def __init__(
        self,
        layout: Layout,
        places: NDArray[np.intp],
        ranges: list[Range],
        shapes: Any = None,
        sizes: Any = None,
        *,
        is_whole: bool = False,
    ) -> None:
        self.layout = layout
        self.places = places
        self.ranges = ranges
        self.shapes = shapes
        self.sizes = sizes
        self.is_whole = is_whole
        self.nbytes = sum(nbytes for _, nbytes in ranges)


def _runs(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[Range]:
    """Return ranges that lie one behind the other as one each."""
    ends = starts + sizes
    cuts = np.flatnonzero(starts[1:] != ends[:-1]) + 1
    first = np.concatenate([[0], cuts])
    last = np.concatenate([cuts, [len(starts)]]) - 1
    return list(zip(starts[first].tolist(), (ends[last] - starts[first]).tolist(), strict=True))
