"""Values that are not sealed yet: in memory, then in a pack of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.digest import array_to_digests
from tensorvcs.objects.dtype import dtype_from_name
from tensorvcs.objects.sorted_digests import DigestSet
from tensorvcs.storage import codecs
from tensorvcs.storage.dataset_writers import (
    MAX_ROW_NBYTES,
    FramesWriter,
    RowsWriter,
    small_metadata_nbytes,
)
from tensorvcs.storage.hdf5_pack import PackWriter, SealedPack
from tensorvcs.storage.pack_index import Layout, LooseValue, encode_loose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import CodecChoice, Schema

MAX_PACK_PAYLOAD_NBYTES = 2 << 30
MAX_PACK_ROWS = 1_000_000


class Unsealed:
    """The values of one layout that were written since the last seal.

    A layout without a compressor gets one by `choice`; frames of a layout that has one are
    compressed already.
    """

    def __init__(self, layout: Layout, choice: CodecChoice) -> None:
        self.layout = layout
        self.choice: CodecChoice = choice
        self.known = DigestSet()
        self.pack: PackWriter | None = None
        self._writer: RowsWriter | FramesWriter | None = None
        self._forget_buffer()

    def _forget_buffer(self) -> None:
        self.digests: list[NDArray[np.uint8]] = []
        self.rows: list[NDArray[np.uint8]] = []
        self.datas: list[bytes] = []
        self.shapes: list[tuple[int, ...]] = []
        self.buffered_nbytes = 0
        self.row_count = 0

    @property
    def is_encoded(self) -> bool:
        """Whether values come compressed, from another store."""
        return self.layout.compressor is not None

    @property
    def itemsize(self) -> int:
        """The bytes of one element; 0 for text and bytes."""
        return dtype_from_name(self.layout.dtype).itemsize if self.layout.dtype else 0

    def buffer_rows(self, digests: NDArray[np.uint8], rows: NDArray[np.uint8]) -> None:
        """Keep rows in memory; they are not copied."""
        self.known.add(digests)
        self.digests.append(np.array(digests))
        self.rows.append(rows)
        self.buffered_nbytes += rows.nbytes
        self.row_count += len(rows)

    def buffer_frames(
        self,
        digests: NDArray[np.uint8],
        datas: Sequence[bytes],
        shapes: Sequence[tuple[int, ...]],
        nbytes: int,
    ) -> None:
        """Keep values in memory; they take `nbytes` bytes before compression."""
        self.known.add(digests)
        self.digests.append(np.array(digests))
        self.datas += datas
        self.shapes += shapes
        self.buffered_nbytes += nbytes
        self.row_count += len(datas)

    def start(
        self,
        folder: Path,
        *,
        rows: NDArray[np.uint8] | None = None,
        samples: Sequence[NDArray[np.uint8]] = (),
    ) -> None:
        """Begin a pack; `rows` or `samples` will come first, and the codec is chosen by them."""
        self.pack = PackWriter(folder)
        layout = self.chosen_layout(rows, samples)
        if layout.shape is not None:
            self._writer = self.pack.rows(layout, None)
        else:
            self._writer = self.pack.frames(layout, None)
        self.write_buffered(self._writer)
        self._forget_buffer()

    def chosen_layout(
        self,
        rows: NDArray[np.uint8] | None = None,
        samples: Sequence[NDArray[np.uint8]] = (),
    ) -> Layout:
        """Return the layout with the codec chosen from some of the values."""
        if self.is_encoded:
            return self.layout
        found: list[NDArray[np.uint8]] = []
        if self.layout.shape is not None:
            blocks = [*self.rows] if rows is None else [*self.rows, rows]
            ends = np.cumsum([len(block) for block in blocks])
            nbytes = sum(block.nbytes for block in blocks)
            for position in codecs.sample_positions(int(ends[-1]), nbytes):
                block = int(np.searchsorted(ends, position, side="right"))
                found.append(blocks[block][position - int(ends[block])])
        else:
            datas = [*map(bytes_view, self.datas), *samples]
            nbytes = sum(data.size for data in datas)
            found = [datas[i] for i in codecs.sample_positions(len(datas), nbytes)]
        compressor = codecs.choose(
            self.choice, found, self.itemsize, per_row=self.layout.shape is not None
        )
        return replace(self.layout, compressor=compressor)

    def write_buffered(self, writer: RowsWriter | FramesWriter) -> None:
        """Write what is in memory."""
        if isinstance(writer, RowsWriter):
            for digests, rows in zip(self.digests, self.rows, strict=True):
                writer.append(digests, rows)
        elif self.datas:
            digests = np.concatenate(self.digests)
            writer.append(
                digests, self.encoded(writer.compressor), self.shapes, self.buffered_nbytes
            )

    def encoded(self, compressor: codecs.Choice) -> list[bytes]:
        """Return the frames of the values in memory."""
        if compressor is None or self.is_encoded:
            return self.datas
        return [codecs.compress_value(bytes_view(d), self.itemsize, compressor) for d in self.datas]

    def room(self, row_nbytes: int) -> int:
        """Return how many more values of a size the pack takes; at least one when it is empty."""
        assert self.pack is not None
        by_count = MAX_PACK_ROWS - self.pack.row_count
        by_size = (MAX_PACK_PAYLOAD_NBYTES - self.pack.payload_nbytes) // max(1, row_nbytes)
        return max(0 if self.pack.row_count else 1, min(by_count, by_size))

    def stream_rows(self, digests: NDArray[np.uint8], rows: NDArray[np.uint8]) -> None:
        """Write rows to the pack."""
        assert isinstance(self._writer, RowsWriter)
        self.known.add(digests)
        self._writer.append(digests, rows)

    def stream_frames(
        self,
        digests: NDArray[np.uint8],
        datas: Sequence[bytes | memoryview],
        shapes: Sequence[tuple[int, ...]],
        nbytes: int,
    ) -> None:
        """Write values to the pack; they take `nbytes` bytes before compression."""
        writer = self._writer
        assert isinstance(writer, FramesWriter)
        self.known.add(digests)
        if (compressor := writer.compressor) is not None and not self.is_encoded:
            datas = [codecs.compress_value(bytes_view(d), self.itemsize, compressor) for d in datas]
        writer.append(digests, datas, shapes, nbytes)

    def finish(self) -> SealedPack:
        """End the pack and publish it; what comes then goes to a new one."""
        assert self.pack is not None
        sealed = self.pack.finish()
        self.pack = self._writer = None
        self.known = DigestSet()
        return sealed

    def loose_records(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield digest and record of each value in memory."""
        layout = self.layout
        digests = array_to_digests(np.concatenate(self.digests))
        if layout.shape is not None:
            for digest, row in zip(digests, (row for b in self.rows for row in b), strict=True):
                value = LooseValue(layout.kind, layout.dtype, layout.shape, row.tobytes(), True)
                yield digest, encode_loose(value)
        else:
            for digest, data, shape in zip(digests, self.datas, self.shapes, strict=True):
                if self.is_encoded:
                    data = codecs.decompress(data)  # loose values are plain
                value = LooseValue(layout.kind, layout.dtype, shape, data, False)
                yield digest, encode_loose(value)

    def abort(self) -> None:
        """Forget everything; remove the pack that was begun."""
        if self.pack is not None:
            self.pack.abort()
            self.pack = self._writer = None
        self._forget_buffer()


def schema_layout(schema: Schema) -> Layout:
    """Return how values of a schema are laid out; the compressor is chosen later."""
    if schema.kind != "ndarray":
        return Layout(schema.kind, "", None, 0, None)
    assert schema.shape is not None
    shape = None
    if schema.is_fixed_shape and 0 < schema.row_nbytes <= MAX_ROW_NBYTES:
        shape = schema.fixed_shape
    return Layout("ndarray", schema.dtype, shape, len(schema.shape), None)


def loose_layout(value: LooseValue) -> Layout:
    """Return how a loose value is laid out in a pack."""
    shape = value.shape if value.is_row else None
    return Layout(value.kind, value.dtype, shape, len(value.shape), None)


def data_nbytes(value: NDArray[Any] | str | bytes) -> int:
    """Return the bytes of a value; of a text the number of code points, which is no more."""
    return value.nbytes if isinstance(value, np.ndarray) else len(value)


def bytes_view(data: bytes | memoryview) -> NDArray[np.uint8]:
    """View the data of a value as an array of bytes."""
    return np.frombuffer(data, np.uint8)


def write_together(folder: Path, unsealed: Sequence[Unsealed]) -> SealedPack:
    """Write values in memory to one pack, a dataset for each layout."""
    groups: dict[Layout, list[Unsealed]] = {}
    for one in unsealed:
        groups.setdefault(one.chosen_layout(), []).append(one)
    # Two columns of one layout may wish for different codecs; a file has one dataset of a name.
    packs: list[tuple[Layout, list[Unsealed]]] = []
    for layout, members in groups.items():
        same = [m for found, m in packs if path_key(found) == path_key(layout)]
        if same:
            same[0].extend(members)
        else:
            packs.append((layout, members))
    nbytes = sum(one.buffered_nbytes for one in unsealed)
    writer = PackWriter(folder, small_metadata_nbytes(len(packs), nbytes))
    try:
        for layout, members in packs:
            if layout.shape is not None:
                rows = writer.rows(layout, sum(one.row_count for one in members))
                for one in members:
                    one.write_buffered(rows)
            else:
                encoded = [one.encoded(layout.compressor) for one in members]
                frames = writer.frames(layout, sum(len(f) for part in encoded for f in part))
                for one, part in zip(members, encoded, strict=True):
                    frames.append(
                        np.concatenate(one.digests), part, one.shapes, one.buffered_nbytes
                    )
            writer.close_dataset()
    except BaseException:
        writer.abort()
        raise
    return writer.finish()


def path_key(layout: Layout) -> tuple[object, ...]:
    """Return what two layouts share when their values go to one dataset of a pack."""
    return layout.kind, layout.dtype, layout.shape, layout.ndim, layout.compressor is None
