"""Values of every kind, their digests, and stores to put them in."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.digest import digest_of, digests_to_array
from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name
from tensorvcs.objects.schema import Schema
from tensorvcs.objects.tensor import digest_rows, digest_value
from tensorvcs.storage.hdf5_tensors import Hdf5Tensors
from tensorvcs.storage.lmdb_environment import LmdbEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import LocationTable, TensorStore

IMAGES = Schema("ndarray", "uint8", (16, 16, 3))
IMAGES_IN_FRAMES = Schema("ndarray", "uint8", (None, None, 3), variable_shape=True)
TEXTS = Schema("str")
BLOBS = Schema("bytes")
LEAF_COUNT = 64


def random_images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return images that do not compress, shape (count, 16, 16, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)


def random_rows(schema: Schema, count: int, seed: int = 0) -> NDArray[Any]:
    """Return values of a fixed-shape schema with random bits, NaN payloads included."""
    dtype = dtype_from_name(schema.dtype)
    bits = np.random.default_rng(seed).integers(0, 256, (count, schema.row_nbytes), np.uint8)
    if schema.dtype == "bool":
        bits &= 1
    return bits.view(dtype).reshape(count, *schema.fixed_shape)


def digests_of(schema: Schema, values: Sequence[Any] | NDArray[Any]) -> NDArray[np.uint8]:
    """Return the digest array of values."""
    if isinstance(values, np.ndarray):
        return digest_rows(schema, values)
    return digests_to_array([digest_value(value) for value in values])


def put(
    store: TensorStore, schema: Schema, values: Sequence[Any] | NDArray[Any]
) -> NDArray[np.uint8]:
    """Write and seal values; return their digests."""
    digests = digests_of(schema, values)
    store.write(schema, digests, values)
    store.seal()
    return digests


def table_of(
    store: TensorStore,
    schema: Schema,
    digests: NDArray[np.uint8],
    loaded: list[bytes] | None = None,
) -> LocationTable:
    """Return the table of a column whose leaves have `LEAF_COUNT` values each.

    The digests of the leaves that were loaded are appended to `loaded`.
    """
    parts = [digests[low : low + LEAF_COUNT] for low in range(0, len(digests), LEAF_COUNT)]
    names = [digest_of(part.tobytes()) for part in parts]
    leaves = dict(zip(names, parts, strict=True))

    def load(wanted: Sequence[bytes]) -> list[NDArray[np.uint8]]:
        if loaded is not None:
            loaded.extend(wanted)
        return [leaves[leaf] for leaf in wanted]

    counts = np.array([len(part) for part in parts], np.int64)
    return store.table(schema, names, counts, load)


def open_store(folder: Path) -> Hdf5Tensors:
    """Open the disk store in a folder; it is closed with the process."""
    return Hdf5Tensors(folder, LmdbEnvironment(folder / "lmdb"))


def pack_files(folder: Path) -> list[Path]:
    """Return the pack files of a store, temporary ones included."""
    return sorted((folder / "packs").glob("*.h5"))


def is_whole(store: Hdf5Tensors) -> bool:
    """Tell whether nothing is damaged and no file is there that the index does not know."""
    return not list(store.verify()) and len(pack_files(store.folder)) == store.stats().pack_count


def flip_bit(path: Path, offset: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def every_schema() -> list[tuple[str, Schema, Callable[[int], Any]]]:
    """Return name, schema, and a function from a seed to some 300 values, for every kind."""
    rows = [(name, Schema("ndarray", name, (9, 11)), 300) for name in DTYPE_NAMES]
    rows += [
        (f"shape {shape}", Schema("ndarray", "float64", shape), 30)
        for shape in [(), (1,), (0, 3), (3000,), (2,) * 12, (1,) * 32]
    ]
    return [
        *((name, schema, partial(_seeded_rows, schema, count)) for name, schema, count in rows),
        ("variable", IMAGES_IN_FRAMES, _variable_images),
        ("text", TEXTS, lambda seed: [f"{seed} é\n" * (i % 70) for i in range(300)]),
        ("bytes", BLOBS, lambda seed: [bytes([seed, i % 256]) * i for i in range(300)]),
    ]


def _seeded_rows(schema: Schema, count: int, seed: int) -> NDArray[Any]:
    return random_rows(schema, count, seed)


def _variable_images(seed: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 256, (int(rng.integers(0, 9)), int(rng.integers(0, 9)), 3), np.uint8)
        for _ in range(300)
    ]


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are the same, bit for bit."""
    left, right = (np.asarray(v) if isinstance(v, np.generic) else v for v in (left, right))
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return (left.dtype, left.shape, left.tobytes()) == (
            right.dtype,
            right.shape,
            right.tobytes(),
        )
    return type(left) is type(right) and bool(left == right)
