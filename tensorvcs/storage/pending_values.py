"""All values that were written since the last seal: a buffer or a pack for each layout."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import SchemaMismatchError
from tensorvcs.objects.tensor import array_bytes, value_data
from tensorvcs.storage import codecs
from tensorvcs.storage.dataset_writers import MAX_ROW_NBYTES, SLAB_NBYTES
from tensorvcs.storage.mapped_pack import MappedPack
from tensorvcs.storage.pack_index import Layout
from tensorvcs.storage.unsealed import (
    Unsealed,
    bytes_view,
    data_nbytes,
    schema_layout,
    write_together,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import CodecChoice, Schema
    from tensorvcs.objects.sorted_digests import SortedDigests
    from tensorvcs.storage.hdf5_pack import SealedPack
    from tensorvcs.storage.interfaces import StoredValues

LOOSE_SEAL_NBYTES = SLAB_NBYTES
"""A seal of less payload than this becomes loose values, not a pack."""

LOOSE_SEAL_ROWS = 2048
BUFFER_NBYTES = 32 << 20
"""Payload kept in memory before a pack is begun."""


class PendingValues:
    """Values on their way to packs, or to the loose values when they are few.

    Parameters
    ----------
    folder : Path
        Of the packs.
    """

    def __init__(self, folder: Path) -> None:
        self.nbytes = 0
        """Payload bytes since the last `finish` or `discard`."""
        self._folder = folder
        self._unsealed: dict[tuple[Layout, CodecChoice], Unsealed] = {}
        self._rolled: list[tuple[SealedPack, MappedPack]] = []

    def __bool__(self) -> bool:
        return bool(self._unsealed or self._rolled)

    @property
    def buffered_nbytes(self) -> int:
        """Payload bytes in memory."""
        return sum(one.buffered_nbytes for one in self._unsealed.values())

    def contain(self, wanted: SortedDigests) -> NDArray[np.bool_]:
        """Tell for each digest whether its value is among these, in their sorted order."""
        is_known = np.zeros(len(wanted), np.bool_)
        for _, mapped in self._rolled:
            found, _ = mapped.locate(wanted.digests, wanted.prefixes)
            is_known[found] = True
        for one in self._unsealed.values():
            is_known |= one.known.contains(wanted)
        return is_known

    def _of(self, layout: Layout, choice: CodecChoice) -> Unsealed:
        one = self._unsealed.get((layout, choice))
        if one is None:
            one = self._unsealed[layout, choice] = Unsealed(layout, choice)
        return one

    def take(
        self,
        values: StoredValues,
        datas: list[NDArray[np.uint8]] | NDArray[np.uint8],
        chosen: NDArray[np.intp],
    ) -> None:
        """Add values of another store.

        Parameters
        ----------
        values : StoredValues
        datas : list of ndarray, or ndarray of shape (n, row_nbytes)
            The data of each value, decoded.
        chosen : ndarray, intp
            Which of them are added.
        """
        ndim = len(values.shape) if values.shape is not None else values.shapes.shape[1]
        is_row = values.shape is not None and 0 < int(values.sizes[0]) <= MAX_ROW_NBYTES
        layout = Layout(values.kind, values.dtype, values.shape if is_row else None, ndim, None)
        digests = values.digests[chosen]
        if values.shape is None and values.compressor is not None:
            layout = replace(layout, compressor=values.compressor)
        unsealed = self._of(layout, "raw" if values.compressor is None else "blosc")
        if is_row:
            assert isinstance(datas, np.ndarray)
            is_all = len(chosen) == len(values)
            self._write_rows(unsealed, digests, datas, chosen, is_all=is_all)
            return
        if values.shape is None:
            ends = np.cumsum(values.sizes)
            frames = [values.data[ends[i] - values.sizes[i] : ends[i]].data for i in chosen]
            shapes = [tuple(values.shapes[i].tolist()) for i in chosen.tolist()]
        else:
            frames = [datas[i].data for i in chosen.tolist()]
            shapes = [values.shape] * len(chosen)
        nbytes = sum(len(datas[i]) for i in chosen.tolist())
        self._write_datas(unsealed, digests, frames, shapes, nbytes)

    def write(
        self,
        schema: Schema,
        digests: NDArray[np.uint8],
        values: NDArray[Any] | Sequence[Any],
        chosen: NDArray[np.intp],
    ) -> None:
        """Add canonical values of a column; `chosen`, intp, tells which of them."""
        layout = schema_layout(schema)
        codec = schema.codec
        if layout.shape is None and any(
            data_nbytes(value) > codecs.MAX_FRAME_NBYTES for value in values
        ):
            codec = "raw"
        unsealed = self._of(layout, codec)
        is_all = len(chosen) == len(digests)
        if not is_all:
            digests = digests[chosen]
        if layout.shape is not None:
            self._write_rows(unsealed, digests, _stacked(schema, values), chosen, is_all=is_all)
        else:
            self._write_frames(
                unsealed, digests, values if is_all else [values[i] for i in chosen.tolist()]
            )

    def _write_rows(
        self,
        unsealed: Unsealed,
        digests: NDArray[np.uint8],
        rows: NDArray[np.uint8],
        chosen: NDArray[np.intp],
        *,
        is_all: bool,
    ) -> None:
        row_nbytes = rows.shape[1]
        self.nbytes += len(chosen) * row_nbytes
        is_little = self.buffered_nbytes + len(chosen) * row_nbytes <= BUFFER_NBYTES
        if unsealed.pack is None and is_little:
            unsealed.buffer_rows(digests, rows.copy() if is_all else rows[chosen])
            return
        # Rows not chosen are left out a block at a time, so that memory stays bounded.
        step = len(chosen) if is_all else max(1, SLAB_NBYTES * 8 // row_nbytes)
        done = 0
        while done < len(chosen):
            if unsealed.pack is None:
                unsealed.start(self._folder, rows=rows)
            count = min(step, len(chosen) - done, unsealed.room(row_nbytes))
            if count == 0:
                self._roll(unsealed)
                continue
            part = slice(done, done + count)
            unsealed.stream_rows(digests[part], rows[part] if is_all else rows[chosen[part]])
            done += count

    def _write_frames(
        self,
        unsealed: Unsealed,
        digests: NDArray[np.uint8],
        values: NDArray[Any] | Sequence[Any],
    ) -> None:
        """Write values in batches of a few MiB, each with what it takes in memory."""
        low = nbytes = 0
        for high, value in enumerate(values, 1):
            nbytes += data_nbytes(value)
            if nbytes < 8 * SLAB_NBYTES and high < len(values):
                continue
            part = digests[low:high]
            datas = [value_data(v) for v in values[low:high]]
            shapes = [v.shape if isinstance(v, np.ndarray) else () for v in values[low:high]]
            self._write_datas(unsealed, part, datas, shapes, nbytes)
            low, nbytes = high, 0

    def _write_datas(
        self,
        unsealed: Unsealed,
        digests: NDArray[np.uint8],
        datas: Sequence[bytes | memoryview],
        shapes: Sequence[tuple[int, ...]],
        nbytes: int,
    ) -> None:
        """Write the data of a few values, which take `nbytes` bytes before compression."""
        self.nbytes += nbytes
        if unsealed.pack is None and self.buffered_nbytes + nbytes <= BUFFER_NBYTES:
            unsealed.buffer_frames(digests, [bytes(data) for data in datas], shapes, nbytes)
            return
        if unsealed.pack is not None and unsealed.room(nbytes // len(digests)) < len(digests):
            self._roll(unsealed)
        if unsealed.pack is None:
            unsealed.start(self._folder, samples=[bytes_view(d) for d in datas])
        unsealed.stream_frames(digests, datas, shapes, nbytes)

    def _roll(self, unsealed: Unsealed) -> None:
        """End a pack that is full; its record waits for `finish`."""
        sealed = unsealed.finish()
        try:
            self._rolled.append((sealed, MappedPack(sealed.path, sealed.record)))
        except BaseException:
            sealed.remove()
            raise

    def finish(self) -> tuple[list[SealedPack], list[tuple[bytes, bytes]]]:
        """End all packs, and give out what is in memory; nothing is pending then.

        Returns
        -------
        sealed : list of SealedPack
            Synced and under their names, for the caller to put into the index or to remove.
        loose : list of (digest, record)
            In order; not empty only when all that is in memory is little.

        Raises
        ------
        StorageError
            The disk refused; all is lost.
        """
        sealed = [pack for pack, _ in self._rolled]
        try:
            for one in self._unsealed.values():
                if one.pack is not None:
                    # One by one, so that none is forgotten when the next one fails.
                    sealed.append(one.finish())  # noqa: PERF401
            left = [one for one in self._unsealed.values() if one.row_count]
            loose: list[tuple[bytes, bytes]] = []
            is_little = (
                self.buffered_nbytes < LOOSE_SEAL_NBYTES
                and sum(one.row_count for one in left) <= LOOSE_SEAL_ROWS
            )
            if is_little:
                loose = sorted(entry for one in left for entry in one.loose_records())
            elif left:
                sealed.append(write_together(self._folder, left))
        except BaseException:
            for pack in sealed:
                pack.remove()
            self.discard()
            raise
        self._reset()
        return sealed, loose

    def discard(self) -> None:
        """Forget everything, and remove the packs that were begun."""
        for one in self._unsealed.values():
            one.abort()
        for sealed, _ in self._rolled:
            sealed.remove()
        self._reset()

    def leave_parent(self) -> None:
        """Forget everything, in a forked child: it stays with the parent."""
        for one in self._unsealed.values():
            if one.pack is not None:
                one.pack.abandon()
        for sealed, _ in self._rolled:
            sealed.release()  # the lock is that of the parent, who holds on to it
        self._reset()

    def _reset(self) -> None:
        """Forget everything that nobody else knows of."""
        self._unsealed = {}
        self._rolled = []
        self.nbytes = 0


def _stacked(schema: Schema, values: NDArray[Any] | Sequence[Any]) -> NDArray[np.uint8]:
    """View stacked values as rows of bytes."""
    array = np.ascontiguousarray(values, schema.numpy_dtype)
    if array.shape[1:] != schema.fixed_shape:
        raise SchemaMismatchError(
            "wrong shape", found=str(array.shape[1:]), expected=str(schema.fixed_shape)
        )
    return array_bytes(array).reshape(len(array), schema.row_nbytes)
