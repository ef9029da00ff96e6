"""Values on their way from one store to another: given out as stored, hashed on arrival."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import DigestMismatchError, InvalidColumnError, PackDamagedError
from tensorvcs.objects.digest import hash_rows
from tensorvcs.objects.dtype import dtype_from_name
from tensorvcs.objects.tensor import value_header
from tensorvcs.storage import codecs
from tensorvcs.storage.interfaces import StoredValues

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tensorvcs.storage.mapped_datasets import MappedFrames, MappedRows
    from tensorvcs.storage.pack_index import LooseValue

PART_NBYTES = 4 << 20
"""About how many bytes are given out together; a larger value comes alone."""

_PART_FRAMES = 1024
# What the frames given out together decode to at most, so that few bytes never become many.
_PART_DECODED_NBYTES = 8 * PART_NBYTES


def give_rows(
    dataset: MappedRows, rows: NDArray[np.intp], digests: NDArray[np.uint8]
) -> Iterator[StoredValues]:
    """Yield rows of one dataset of a pack, given in rising order, in parts.

    Of compressed rows a slab that is wanted as a whole is given as it is stored.
    """
    layout = dataset.layout
    if layout.compressor is None:
        step = max(1, PART_NBYTES // dataset.row_nbytes)
    else:
        step = dataset.slab_rows
    low = 0
    while low < len(rows):
        high = min(low + step, len(rows))
        if layout.compressor is not None:
            # Up to the end of the slab, so that whole slabs are met.
            slab_stop = dataset.rows_of_slab(int(rows[low]) // dataset.slab_rows)[1]
            high = min(high, int(np.searchsorted(rows, slab_stop)))
        part = rows[low:high]
        yield StoredValues(
            layout.kind,
            layout.dtype,
            dataset.shape,
            layout.compressor,
            digests[low:high],
            np.zeros((len(part), 0), np.int64),
            np.full(len(part), dataset.row_nbytes, np.int64),
            _rows_data(dataset, part),
        )
        low = high


def _rows_data(dataset: MappedRows, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    dataset.ensure_rows(rows)
    if len(rows) == dataset.slab_rows and dataset.layout.compressor is not None:
        return np.frombuffer(dataset.slab(int(rows[0]) // dataset.slab_rows), np.uint8)
    first, last = int(rows[0]), int(rows[-1])
    if last - first == len(rows) - 1:
        # Rising, so they are all neighbours.
        lying = dataset.stretch(first, last + 1)
        if lying is not None:
            return lying.reshape(-1)
    block = np.empty((len(rows), dataset.row_nbytes), np.uint8)
    dataset.take(rows, block)
    if dataset.layout.compressor is None:
        return block.reshape(-1)
    frame = codecs.compress_value(
        block.reshape(-1), dataset.dtype.itemsize, dataset.layout.compressor
    )
    return np.frombuffer(frame, np.uint8)


def give_frames(
    dataset: MappedFrames, rows: NDArray[np.intp], digests: NDArray[np.uint8]
) -> Iterator[StoredValues]:
    """Yield frames of one group of a pack as they are stored, in parts."""
    layout = dataset.layout
    frames: list[bytes] = []
    shapes: list[tuple[int, ...]] = []
    low = nbytes = decoded_nbytes = 0
    for high, row in enumerate(rows.tolist(), 1):
        frame = dataset.stored(row)
        frames.append(frame)
        shapes.append(dataset.shape(row))
        nbytes += len(frame)
        if layout.compressor is not None:
            decoded_nbytes += codecs.frame_nbytes(frame)
        is_small = nbytes < PART_NBYTES and decoded_nbytes < _PART_DECODED_NBYTES
        if is_small and high - low < _PART_FRAMES and high < len(rows):
            continue
        yield StoredValues(
            layout.kind,
            layout.dtype,
            None,
            layout.compressor,
            digests[low:high],
            np.array(shapes, np.int64).reshape(high - low, layout.ndim),
            np.array([len(frame) for frame in frames], np.int64),
            np.frombuffer(b"".join(frames), np.uint8),
        )
        frames, shapes = [], []
        low, nbytes, decoded_nbytes = high, 0, 0


def give_loose(digests: NDArray[np.uint8], values: Sequence[LooseValue]) -> Iterator[StoredValues]:
    """Yield loose values, those of one layout together."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, value in enumerate(values):
        shape = value.shape if value.is_row else None
        groups.setdefault((value.kind, value.dtype, shape, len(value.shape)), []).append(place)
    for (kind, dtype, shape, ndim), places in groups.items():
        chosen = [values[place] for place in places]
        shapes = [value.shape for value in chosen] if shape is None else [()] * len(chosen)
        yield StoredValues(
            kind,
            dtype,
            shape,
            None,
            digests[places],
            np.array(shapes, np.int64).reshape(len(places), ndim if shape is None else 0),
            np.array([len(value.data) for value in chosen], np.int64),
            np.frombuffer(b"".join(value.data for value in chosen), np.uint8),
        )


def checked_data(values: StoredValues) -> list[NDArray[np.uint8]] | NDArray[np.uint8]:
    """Return the data of each value, decoded, once all of them hash to their names.

    Of rows it is one array, shape (n, row_nbytes).

    Raises
    ------
    DigestMismatchError
        A value is not what its name says, or the description of the values does not fit.

    Notes
    -----
    What comes from another machine is not trusted: a frame is decoded only when it says that it
    has as many bytes as its shape and dtype have.
    """
    _check_description(values)
    if values.shape is not None:
        row_nbytes = prod(values.shape) * _itemsize(values)
        data = values.data
        if values.compressor is not None:
            data = _decoded(data, len(values) * row_nbytes)
        rows = data.reshape(len(values), row_nbytes)
        header = value_header(values.kind, values.dtype, values.shape, rows.shape[1])
        _check_names(values.digests, hash_rows(header, rows))
        return rows
    ends = np.cumsum(values.sizes).tolist()
    found: list[NDArray[np.uint8]] = []
    for place, (end, size) in enumerate(zip(ends, values.sizes.tolist(), strict=True)):
        stored = values.data[end - size : end]
        shape = tuple(values.shapes[place].tolist())
        data = stored
        if values.compressor is not None:
            data = _decoded(stored, None if values.kind != "ndarray" else _nbytes(values, shape))
        header = value_header(values.kind, values.dtype, shape, len(data))
        _check_names(
            values.digests[place : place + 1], hash_rows(header, data.reshape(1, len(data)))
        )
        if values.kind == "ndarray" and len(data) != _nbytes(values, shape):
            raise DigestMismatchError(f"a value of shape {shape} arrived with {len(data)} bytes")
        found.append(data)
    return found


def _itemsize(values: StoredValues) -> int:
    return dtype_from_name(values.dtype).itemsize if values.kind == "ndarray" else 1


def _nbytes(values: StoredValues, shape: tuple[int, ...]) -> int:
    return prod(shape) * _itemsize(values)


def _check_description(values: StoredValues) -> None:
    count = len(values)
    try:
        itemsize = _itemsize(values)
    except InvalidColumnError as error:
        raise DigestMismatchError(f"values arrived with the dtype {values.dtype!r}") from error
    is_array = values.kind == "ndarray"
    is_packed = values.shape is not None and values.compressor is not None
    fits = (
        values.digests.shape == (count, 32)
        and values.sizes.shape == (count,)
        and values.shapes.shape[:1] == (count,)
        and bool((values.sizes >= 0).all())
        and (is_packed or _adds_up(values.sizes, len(values.data)))
        and bool((values.shapes >= 0).all())
        and (is_array or (values.dtype == "" and values.shape is None and not values.shapes.size))
    )
    if fits and values.shape is not None:
        row_nbytes = prod(values.shape) * itemsize
        fits = min(values.shape, default=0) >= 0 and bool((values.sizes == row_nbytes).all())
    if not fits:
        raise DigestMismatchError(
            f"{count} values of {values.dtype or values.kind} arrived whose sizes do not fit them"
        )


def _adds_up(sizes: NDArray[np.int64], nbytes: int) -> bool:
    """Tell whether sizes add up to a number of bytes, and not by overflow."""
    return int(sizes.max(initial=0)) <= nbytes and int(sizes.sum()) == nbytes


def _decoded(stored: NDArray[np.uint8], expected: int | None) -> NDArray[np.uint8]:
    frame = stored.tobytes()
    try:
        nbytes = codecs.frame_nbytes(frame)
        if expected is not None and nbytes != expected:
            raise PackDamagedError(f"it has {nbytes} bytes, expected {expected}")
        data = np.empty(nbytes, np.uint8)
        codecs.decompress_into(frame, data.ctypes.data, nbytes)
    except PackDamagedError as error:
        raise DigestMismatchError(f"a compressed value arrived damaged: {error}") from error
    return data


def _check_names(names: NDArray[np.uint8], found: NDArray[np.uint8]) -> None:
    is_other = (names != found).any(axis=1)
    if bool(is_other.any()):
        place = int(np.argmax(is_other))
        raise DigestMismatchError(
            f"value {names[place].tobytes().hex()} arrived as another value, which hashes to "
            f"{found[place].tobytes().hex()}; nothing of it was kept"
        )
