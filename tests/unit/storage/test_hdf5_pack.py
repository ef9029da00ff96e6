"""Packs are plain HDF5: h5py shows the values, and hdf5plugin those that are compressed."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from tensorvcs.errors import StorageError
from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name
from tensorvcs.objects.schema import Schema
from tensorvcs.storage import hdf5_pack, hdf5_tensors
from tests.tensor_values import (
    BLOBS,
    IMAGES,
    IMAGES_IN_FRAMES,
    TEXTS,
    digests_of,
    every_schema,
    open_store,
    pack_files,
    put,
    random_images,
    random_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_tensors, "LOOSE_SEAL_NBYTES", 0)


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


def test_a_compressed_pack_is_read_by_h5py_through_its_filter(tmp_path: Path) -> None:
    pytest.importorskip("hdf5plugin")
    rng = np.random.default_rng(0)
    for name, high in (("uint8", 4), ("uint16", 9), ("float32", 3)):
        schema = Schema("ndarray", name, (40, 41))
        values = rng.integers(0, high, (700, 40, 41)).astype(name)
        folder = tmp_path / name
        put(open_store(folder), schema, values)
        with h5py.File(pack_files(folder)[0]) as file:
            dataset = file[f"{name}/40x41.blosc"]
            assert dataset.id.get_create_plist().get_filter(0)[0] == 32001
            assert dataset[:].tobytes() == values.tobytes()
            assert dataset.id.get_storage_size() < values.nbytes // 2


def test_a_compressed_pack_needs_no_filter_to_be_written_and_read(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from tensorvcs.objects.schema import Schema\n"
        "from tests.tensor_values import open_store, put\n"
        "values = (np.arange(700 * 1000) % 7).astype('int32').reshape(700, 1000)\n"
        "schema = Schema('ndarray', 'int32', (1000,), codec='blosc')\n"
        "store = open_store(Path(sys.argv[1]))\n"
        "digests = put(store, schema, values)\n"
        "assert np.array_equal(store.read(schema, digests), values)\n"
        "assert store.stats().file_nbytes < values.nbytes // 2\n"
        "assert 'hdf5plugin' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True, cwd=Path.cwd())


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


@pytest.mark.parametrize(
    ("shape", "count"), [((16, 16, 3), 150), ((16, 16, 3), 5000), ((299_593,), 25)]
)
def test_a_pack_is_little_larger_than_its_values(
    tmp_path: Path, shape: tuple[int, ...], count: int
) -> None:
    schema = Schema("ndarray", "uint8", shape)
    values = random_rows(schema, count)
    store = open_store(tmp_path)
    put(store, schema, values)
    spent = store.stats().file_nbytes - values.nbytes - 40 * count
    assert spent <= 0.02 * values.nbytes + 12_000


def test_slabs_lie_back_to_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_tensors, "BUFFER_NBYTES", 0)
    monkeypatch.setattr(hdf5_pack, "SLAB_NBYTES", 16 << 10)
    store = open_store(tmp_path)
    values = random_images(30_000)
    for part in np.array_split(values, 40):
        store.write(IMAGES, digests_of(IMAGES, part), part)
    store.seal()
    (pack,) = store._refresh().packs
    assert len(pack.record.datasets[0].slabs) > 1000
    assert pack.datasets[0].values is not None  # type: ignore[union-attr]


def test_a_dataset_in_several_stretches_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With no room set aside, the metadata of HDF5 comes between the slabs.
    monkeypatch.setattr(hdf5_tensors, "BUFFER_NBYTES", 0)
    monkeypatch.setattr(hdf5_pack, "SLAB_NBYTES", 4 << 10)
    monkeypatch.setattr(hdf5_pack, "_STREAMED_METADATA_NBYTES", 2048)
    monkeypatch.setattr(hdf5_pack.PackWriter.__init__, "__defaults__", (2048,))
    store = open_store(tmp_path)
    values = random_images(4000)
    digests = digests_of(IMAGES, values)
    store.write(IMAGES, digests, values)
    store.seal()
    rows = store._refresh().packs[0].datasets[0]
    assert rows.values is None  # type: ignore[union-attr]
    assert np.array_equal(store.read(IMAGES, digests), values)
    assert np.array_equal(store.read(IMAGES, digests[:3]), values[:3])
    assert list(store.verify()) == []


def test_a_full_disk_is_a_storage_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    store = open_store(tmp_path)
    before = put(store, IMAGES, random_images(5, seed=5))
    monkeypatch.setattr("os.pwrite", refuse)
    values = random_images(2000)
    with pytest.raises(StorageError, match="No space left") as caught:
        put(store, IMAGES, values)
    assert caught.value.hint
    monkeypatch.undo()
    assert len(pack_files(tmp_path)) == store.stats().pack_count
    assert store.unsealed_nbytes == 0
    assert store.contains(before).all()
    put(store, IMAGES, values)
    assert np.array_equal(store.read(IMAGES, digests_of(IMAGES, values)), values)
