"""Parquet files in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

import pyarrow.parquet as pq  # noqa: E402

from tensorvcs.errors import (  # noqa: E402
    DestinationExistsError,
    DuplicateKeyError,
    InvalidInputError,
    TensorVCSError,
    UnreadableFileError,
)
from tensorvcs.formats import parquet  # noqa: E402
from tensorvcs.formats.exporting import export_from  # noqa: E402
from tensorvcs.formats.importing import import_into  # noqa: E402
from tensorvcs.formats.registry import detect_format  # noqa: E402
from tensorvcs.objects.schema import Schema  # noqa: E402
from tests.unit.formats.fakes import FakeTarget  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


def checkout_of_every_sort(keys: list[Any]) -> FakeTarget:
    checkout = FakeTarget()
    count = len(keys)
    boxes = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    checkout.add("boxes", Schema("ndarray", "float32", (4,))).extend(boxes, keys)
    checkout.add("cubes", Schema("ndarray", "uint8", (2, 3, 1))).extend(
        np.arange(6 * count, dtype=np.uint8).reshape(count, 2, 3, 1), keys
    )
    checkout.add("flags", Schema("ndarray", "bool", ())).extend([True] * count, keys)
    checkout.add("texts", Schema("str")).extend([f"t{key}" for key in keys], keys)
    checkout.add("blobs", Schema("bytes")).extend([b"\0"] * count, keys)
    lists = Schema("ndarray", "int16", (None,), variable_shape=True)
    checkout.add("lists", lists).extend([np.arange(n, dtype=np.int16) for n in range(count)], keys)
    grids = Schema("ndarray", "int8", (None, None), variable_shape=True)
    checkout.add("grids", grids).extend([np.ones((n, 2), np.int8) for n in range(count)], keys)
    checkout.add("few", Schema("str")).extend(["one"], keys[1:2])
    return checkout


@pytest.mark.parametrize("keys", [["a", "b", "c"], [1, 2, 7], [1, "1", "b"]])
def test_columns_go_out_and_come_back(
    tmp_path: Path, keys: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "block_count", lambda nbytes: 2)
    checkout = checkout_of_every_sort(keys)
    path = tmp_path / "out.parquet"
    report = export_from(checkout, path)
    assert (report.format, report.file_count) == ("parquet", 1)
    again = FakeTarget()
    import_into(again, path)
    for name, column in checkout.columns.items():
        assert again[name].schema == column.schema
        assert again[name].keys() == column.keys()
        for key in column.values:
            assert np.array_equal(again[name][key], column[key])
    assert pq.ParquetFile(path).metadata.num_row_groups == 2
    with pytest.raises(DestinationExistsError):
        export_from(checkout, path)


def test_any_reader_understands_the_file(tmp_path: Path) -> None:
    export_from(checkout_of_every_sort(["a", "b", "c"]), tmp_path / "a.pq")
    table = pq.read_table(tmp_path / "a.pq")
    assert table["key"].to_pylist() == ["a", "b", "c"]
    assert table["few"].to_pylist() == [None, "one", None]
    assert table["cubes"].type == pa.fixed_shape_tensor(pa.uint8(), (2, 3, 1))


def test_a_folder_of_files_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    for part in range(3):
        rows = {"key": [f"k{part}{n}" for n in range(4)], "x": [part] * 4}
        pq.write_table(pa.table(rows), folder / f"{part}.parquet")
    assert detect_format(folder).name == "parquet"
    target = FakeTarget()
    done: list[tuple[int, int | None]] = []
    import_into(target, folder, progress=lambda n, total: done.append((n, total)))
    assert len(target["x"]) == 12
    assert done[-1] == (12, 12)
    pq.write_table(pa.table({"key": ["k01"], "x": [1]}), folder / "3.parquet")
    with pytest.raises(DuplicateKeyError, match="rows 2 and 13"):
        import_into(FakeTarget(), folder)
    pq.write_table(pa.table({"y": [1]}), folder / "3.parquet")
    with pytest.raises(UnreadableFileError, match=r"3.parquet.*not those of"):
        import_into(FakeTarget(), folder)


def test_one_column_and_another_key(tmp_path: Path) -> None:
    rows = {"id": ["a", "b"], "x": [1, 2], "y": [3, None]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    target = FakeTarget()
    report = import_into(target, tmp_path / "a.parquet", column="y", extra={"key": "id"})
    assert {name: column.values for name, column in target.columns.items()} == {"y": {"a": 3}}
    assert "1 of 2 rows have no value" in report.notes[0]
    with pytest.raises(InvalidInputError, match="no column 'z'; it has id, x, y"):
        import_into(FakeTarget(), tmp_path / "a.parquet", column="z")
    with pytest.raises(InvalidInputError, match="resize is for folders of images"):
        import_into(FakeTarget(), tmp_path / "a.parquet", resize=(2, 2))
    with pytest.raises(InvalidInputError, match="unknown option tpyes"):
        import_into(FakeTarget(), tmp_path / "a.parquet", extra={"tpyes": "1"})


def test_damaged_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": list(range(1000))}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    for content in (b"", b"PAR1", whole[:-20], whole[: len(whole) // 2], b"x" * 200):
        (tmp_path / "b.parquet").write_bytes(content)
        target = FakeTarget()
        with pytest.raises(UnreadableFileError):
            import_into(target, tmp_path / "b.parquet")
        assert not any(len(column) for column in target.columns.values())


def test_no_byte_can_do_worse_than_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": ["a", "b"], "x": [[1], [2]]}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 200).tolist():
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "b.parquet").write_bytes(broken)
        try:
            import_into(FakeTarget(), tmp_path / "b.parquet")
        except TensorVCSError:
            continue


def test_what_parquet_does_not_have(tmp_path: Path) -> None:
    checkout = FakeTarget()
    checkout.add("wave", Schema("ndarray", "complex64", ())).extend([np.complex64(1)], [0])
    with pytest.raises(InvalidInputError, match="'wave' cannot be in Parquet"):
        export_from(checkout, tmp_path / "a.parquet", format="parquet")
    with pytest.raises(InvalidInputError, match="unknown option"):
        export_from(checkout, tmp_path / "a.parquet", format="parquet", extra={"a": "b"})
    assert not list(tmp_path.iterdir())
