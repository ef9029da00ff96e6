"""The datasets of packs are plain HDF5: h5py shows every value."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import pending_values
from tests.tensor_values import (
    BLOBS,
    IMAGES_IN_FRAMES,
    TEXTS,
    every_schema,
    open_store,
    pack_files,
    put,
    random_rows,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)


def directory_of(file: h5py.File) -> list[bytes]:
    """Return the digests in the order of the rows of the first dataset."""
    rows = file["index/rows"][:]
    first = np.nonzero(rows[:, 0] == 0)[0]
    ordered = first[np.argsort(rows[first, 1])]
    return [digest.tobytes() for digest in file["index/digests"][:][ordered]]


@pytest.mark.parametrize("name", DTYPE_NAMES)
def test_h5py_shows_rows_of_every_dtype(tmp_path: Path, name: str) -> None:
    schema = Schema("ndarray", name, (9, 11), codec="raw")
    values = random_rows(schema, 40)
    digests = put(open_store(tmp_path), schema, values)
    with h5py.File(pack_files(tmp_path)[0]) as file:
        dataset = file[f"{name}/9x11"]
        assert dataset.attrs["dtype"] == name
        assert dataset.shape == values.shape
        shown = dataset[:]
        if dtype_from_name(name).type.__module__ == "numpy":
            assert shown.dtype == values.dtype
        assert shown.tobytes() == values.tobytes()
        assert directory_of(file) == [digest.tobytes() for digest in digests]


@pytest.mark.parametrize("codec", ["raw", "blosc"])
@pytest.mark.parametrize("shape", [(2000,), (300, 301), (70000,), (7,), (2,) * 12, (1,) * 32])
def test_h5py_shows_rows_of_every_size(tmp_path: Path, shape: tuple[int, ...], codec: Any) -> None:
    pytest.importorskip("hdf5plugin")
    schema = Schema("ndarray", "float64", shape, codec=codec)
    values = (random_rows(schema, 50).view(np.uint8) % 3).view(np.float64)
    put(open_store(tmp_path), schema, values)
    with h5py.File(pack_files(tmp_path)[0]) as file:
        name = "float64/" + "x".join(map(str, shape)) + (".blosc" if codec == "blosc" else "")
        assert file[name][:].tobytes() == values.tobytes()
        assert tuple(file[name].attrs["shape"]) == shape


@pytest.mark.parametrize("schema", [TEXTS, BLOBS, IMAGES_IN_FRAMES], ids=lambda s: s.kind)
def test_frames_can_be_rebuilt_with_plain_h5py(tmp_path: Path, schema: Schema) -> None:
    values = {s: values_of for _, s, values_of in every_schema()}[schema](3)
    plain = Schema(schema.kind, schema.dtype, schema.shape, schema.variable_shape, codec="raw")
    put(open_store(tmp_path), plain, values)
    path = {"str": "str/utf8", "bytes": "bytes/any"}.get(schema.kind, "uint8/3d")
    with h5py.File(pack_files(tmp_path)[0]) as file:
        group = file[path]
        assert group.attrs["compression"] == "none"
        offsets = group["offsets"][:].tolist()
        data: NDArray[np.uint8] = group["data"][:]
        stored = [data[a:b].tobytes() for a, b in pairwise(offsets)]
        if schema.kind == "str":
            assert [s.decode() for s in stored] == list(dict.fromkeys(values))
        elif schema.kind == "bytes":
            assert stored == list(dict.fromkeys(values))
        else:
            shapes = [tuple(shape) for shape in group["shapes"][:].tolist()]
            unique = {(value.shape, value.tobytes()): None for value in values}
            assert list(zip(shapes, stored, strict=True)) == list(unique)


def test_a_value_may_be_larger_than_a_slab(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    big = np.random.default_rng(0).bytes(5_000_001)
    digests = put(store, BLOBS, [b"a", big, b"", big[1:], b"z"])
    assert store.read(BLOBS, digests) == [b"a", big, b"", big[1:], b"z"]
    schema = Schema("ndarray", "uint8", (1_500_000,))
    rows = random_rows(schema, 5)
    digests = put(store, schema, rows)
    assert np.array_equal(store.read(schema, digests), rows)
