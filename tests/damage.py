"""Packs to be damaged, and what supplies their values again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.objects.digest import digests_to_array
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import pack_folder
from tests.tensor_values import IMAGES, TEXTS, open_store, put, random_images

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.hdf5_tensors import Hdf5Tensors
    from tensorvcs.storage.mapped_pack import MappedPack

MASKS = Schema("ndarray", "uint8", (64, 64), codec="blosc")


def values_of(schema: Schema) -> Any:
    if schema is IMAGES:
        return random_images(400)
    if schema is MASKS:
        return (np.arange(200 * 64 * 64) // 100 % 5).astype(np.uint8).reshape(200, 64, 64)
    if schema is TEXTS:
        return [f"text number {i} " * 40 for i in range(300)]
    return [random_images(1, seed=i)[0, : 1 + i % 16] for i in range(300)]


def sealed(folder: Path, schema: Schema) -> tuple[MappedPack, NDArray[np.uint8]]:
    """Seal values in one pack and close the store; return the pack and the digests."""
    store = open_store(folder)
    digests = put(store, schema, values_of(schema))
    (pack,) = store._packs.refresh().packs
    store.close()
    pack_folder._MAPPED.clear()
    return pack, digests


def reopened(folder: Path) -> Hdf5Tensors:
    pack_folder._MAPPED.clear()
    return open_store(folder)


def rescue_of(schema: Schema, digests: NDArray[np.uint8], values: Any) -> Any:
    """Return what supplies values, as a remote that has them does; and what it was asked for."""
    known = {digest.tobytes(): value for digest, value in zip(digests, values, strict=True)}
    asked: list[bytes] = []

    def rescue(store: Any, wanted: NDArray[np.uint8]) -> NDArray[np.bool_]:
        names = [digest.tobytes() for digest in wanted]
        asked.extend(names)
        here = [name for name in names if name in known]
        if here:
            chosen = [known[name] for name in here]
            store.write(
                schema,
                digests_to_array(here),
                np.stack(chosen) if schema.is_fixed_shape else chosen,
            )
        return np.array([name in known for name in names], np.bool_)

    return rescue, asked


def nothing(store: Any, wanted: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Supply no value, as a remote that has none."""
    return np.zeros(len(wanted), np.bool_)
