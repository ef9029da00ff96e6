"""HDF5 knows the filter of compressed slabs, and needs it for nothing here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tensorvcs.objects.schema import Schema
from tensorvcs.storage import pending_values
from tests.tensor_values import (
    open_store,
    pack_files,
    put,
)


@pytest.fixture(autouse=True)
def everything_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)


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
