from __future__ import annotations

import io
import pickle
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import InvalidInputError, SchemaMismatchError, UnreadableFileError
from tensorvcs.formats import array_tables, arrays
from tensorvcs.formats.exporting import export_from
from tensorvcs.formats.importing import import_into
from tensorvcs.objects.dtype import DTYPE_NAMES, dtype_from_name
from tensorvcs.objects.schema import Schema
from tests.unit.formats.fakes import FakeTarget

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NUMPY_DTYPES = [n for n in DTYPE_NAMES if dtype_from_name(n).type.__module__ == "numpy"]


def imported(path: Path, **options: Any) -> FakeTarget:
    target = FakeTarget()
    import_into(target, path, **options)
    return target


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_tables, "BLOCK_NBYTES", 100)
    monkeypatch.setattr(arrays, "BLOCK_NBYTES", 100)


@pytest.mark.parametrize("name", NUMPY_DTYPES)
def test_npy_rows_become_samples_in_blocks(tmp_path: Path, name: str) -> None:
    rows = np.arange(60).reshape(20, 3, 1).astype(name)
    np.save(tmp_path / "scores.npy", rows)
    column = imported(tmp_path / "scores.npy")["scores"]
    assert column.schema == Schema("ndarray", name, (3, 1))
    assert column.keys() == list(range(20))
    assert np.array_equal(column[:], rows)
    assert max(column.extended_nbytes) <= 100
    assert len(column.extended_counts) > 1 or rows.nbytes <= 100


@pytest.mark.parametrize(
    "rows",
    [
        np.arange(24.0).reshape(4, 3, 2)[:, ::-1],
        np.asfortranarray(np.arange(120).reshape(20, 3, 2)),
        np.asfortranarray(np.arange(20 * 24).reshape(20, 2, 3, 4)),
        np.arange(6, dtype=">f8"),
        np.empty((0, 3)),
        np.empty((3, 0), np.int8),
        np.array([True, False]),
    ],
    ids=["strided", "fortran", "fortran4", "big-endian", "no-rows", "no-width", "bool"],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_any_layout(tmp_path: Path, rows: NDArray[Any], suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, rows)
    else:
        np.savez_compressed(path, a=rows)
    column = imported(path)["a"]
    assert column[:].shape == rows.shape
    assert np.array_equal(column[:], rows)


def test_column_and_keys(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    np.save(tmp_path / "a.int_keys.npy", np.array([-5]))
    np.save(tmp_path / "a.str_keys.npy", np.array(["x", "é"]))
    column = imported(tmp_path / "a.npy", column="numbers")["numbers"]
    assert {key: int(value) for key, value in column.items()} == {-5: 0, "x": 1, "é": 2}
    column = imported(tmp_path / "a.npy", key_from="number")["a"]
    assert column.keys() == [0, 1, 2]


@pytest.mark.parametrize(
    "keys", [np.array([1, 2]), np.array(["a", "b", "c"]), np.array([[1, 2, 3]]), np.array([1.0])]
)
def test_keys_that_do_not_fit(tmp_path: Path, keys: NDArray[Any]) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    np.save(tmp_path / "a.int_keys.npy", keys)
    with pytest.raises(UnreadableFileError, match="keys"):
        imported(tmp_path / "a.npy")


def test_texts(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array(["", "ä", "long"]))
    column = imported(tmp_path / "a.npy")["a"]
    assert column.schema == Schema("str")
    assert column.values == {0: "", 1: "ä", 2: "long"}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.float32(1), "no axes"),
        (np.array([1], object), "Python objects"),
        (np.array(["2020-01-01"], "M8[D]"), "dtype"),
        (np.array([(1, 2.0)], "i4,f8"), "dtype"),
        (np.array([b"a"]), "dtype"),
        (np.array([["a"]]), "one axis"),
        (np.array([1], np.longdouble), "dtype"),
    ],
)
def test_arrays_that_are_no_columns(tmp_path: Path, array: Any, message: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    target = FakeTarget()
    with pytest.raises(UnreadableFileError, match=message):
        import_into(target, tmp_path / "a.npy")
    assert not target.columns


def npy(header: bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + data


HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "magic alone": b"\x93NUMPY",
    "no header": npy(b"")[:9],
    "unclosed": npy(b"{'descr': '<i4', 'fortran_order': False, 'shape': (3,"),
    # What made numpy's parser raise tokenize.TokenError and other errors of its tokenizer.
    "unclosed string": npy(b"{'descr': '''<i4"),
    "long integers": npy(b"{'descr': '<i4', 'fortran_order': False, 'shape': (3L, }"),
    "indents": npy(b"if x:\n    y\n  z"),
    "deep": npy(b"(" * 5000),
    "huge header": npy(b" " * 60_000),
    "negative": npy(b"{'descr': '<i4', 'fortran_order': False, 'shape': (-3,)}"),
    "cut": npy(b"{'descr': '<i4', 'fortran_order': False, 'shape': (3,)}", b"\0" * 11),
    "enormous": npy(b"{'descr': '<i4', 'fortran_order': False, 'shape': (1, 9" + b"9" * 30 + b")}"),
    "wide text": npy(b"{'descr': '<U999999999', 'fortran_order': False, 'shape': (1,)}"),
    "bad text": npy(b"{'descr': '<U1', 'fortran_order': False, 'shape': (1,)}", b"\xff" * 4),
    "calls": npy(b"{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': ()}"),
    "objects": npy(
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps([print])
    ),
    "version 9": npy(b"{}", version=b"\x09\x00"),
    "float shape": npy(b"{'descr': '<i4', 'fortran_order': False, 'shape': (1.5,)}", b"\0" * 99),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_npy_is_unreadable_and_nothing_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.npy").write_bytes(HOSTILE[name])
    with pytest.raises(UnreadableFileError, match=r"a\.npy"):
        imported(tmp_path / "a.npy")


def test_cut_or_flipped_npy_never_raises_anything_else(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.save(whole, np.arange(6.0).reshape(3, 2))
    content = whole.getvalue()
    path = tmp_path / "a.npy"
    for place in range(128):
        for damaged in (content[:place], content[:place] + b"\xff" + content[place + 1 :]):
            path.write_bytes(damaged)
            with suppress(UnreadableFileError, SchemaMismatchError):
                imported(path)


def test_npz_members_become_columns(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "images": np.zeros((4, 2, 2), np.uint8),
        "labels": np.arange(4),
        "names": np.array(list("abcd")),
        "deep/er": np.ones((4, 1), np.float32),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    target = imported(tmp_path / "a.npz")
    assert set(target.columns) == {"images", "labels", "names", "deep.er"}
    assert target["labels"].schema == Schema("ndarray", "int64", ())
    target = imported(tmp_path / "a.npz", column="labels")
    assert set(target.columns) == {"labels"}
    with pytest.raises(InvalidInputError, match=r"it has deep\.er, images, labels, names"):
        imported(tmp_path / "a.npz", column="nothing")


def test_npz_skips_what_is_no_column_and_lists_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", good=np.arange(3), mean=np.float64(2), odd=np.array([1], object))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("bad.npy", b"\x93NUMPY")
        archive.writestr("readme.txt", b"")
    target = FakeTarget()
    report = import_into(target, tmp_path / "a.npz")
    assert set(target.columns) == {"good"}
    names = [skipped.path.rpartition(" ")[2] for skipped in report.skipped]
    assert sorted(names) == ["bad", "mean", "odd"]
    with pytest.raises(UnreadableFileError, match="2 more like it"):
        import_into(FakeTarget(), tmp_path / "a.npz", strict=True)


def test_damaged_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).random((50, 3)))
    content = bytearray(path.read_bytes())
    for cut in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(UnreadableFileError):
            imported(path)
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError):
        imported(path)


def test_npz_whose_member_claims_more_than_it_has(tmp_path: Path) -> None:
    header = npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000,)}")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", header + b"\0" * 8)
    with pytest.raises(UnreadableFileError, match="cut short"):
        imported(tmp_path / "a.npz")


def test_folder_of_npy_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for number in range(5):
        np.save(tmp_path / "sub" / f"{number}.npy", np.full((3, 2), number, np.float32))
    (tmp_path / "sub/bad.npy").write_bytes(b"no")
    target = FakeTarget()
    report = import_into(target, tmp_path, column="features")
    column = target["features"]
    assert column.schema == Schema("ndarray", "float32", (3, 2))
    assert column.keys() == [f"sub/{number}.npy" for number in range(5)]
    assert column["sub/3.npy"].tolist() == [[3.0, 3.0]] * 3
    assert [skipped.path for skipped in report.skipped] == ["sub/bad.npy"]


def test_folder_of_npy_files_of_many_shapes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    np.save(tmp_path / "b.npy", np.asfortranarray(np.arange(8.0).reshape(1, 8)))
    column = imported(tmp_path)["arrays"]
    assert column.schema == Schema("ndarray", "float64", (3, 8), variable_shape=True)
    assert column["b.npy"].tolist() == [list(range(8))]


def test_folder_of_npy_files_without_axes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.int64(7))
    column = imported(tmp_path)["arrays"]
    assert column.schema == Schema("ndarray", "int64", ())
    assert int(column["a.npy"]) == 7


@pytest.mark.parametrize("other", [np.ones(3), np.ones((3, 2), np.float32)])
def test_folder_of_npy_files_that_do_not_fit_one_column(tmp_path: Path, other: Any) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    np.save(tmp_path / "b.npy", other)
    with pytest.raises(InvalidInputError, match="one dtype and one number of axes"):
        imported(tmp_path)


@pytest.mark.parametrize(
    "options", [{"resize": (2, 2)}, {"mode": "L"}, {"label_column": "y"}, {"extra": {"a": "b"}}]
)
def test_options_of_images_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(InvalidInputError):
        imported(tmp_path / "a.npy", **options)


def filled(schema: Schema, values: dict[Any, Any], name: str = "a") -> FakeTarget:
    target = FakeTarget()
    column = target.add(name, schema)
    column.extend(list(values.values()), keys=list(values))
    return target


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
@pytest.mark.parametrize("name", NUMPY_DTYPES)
@pytest.mark.parametrize("keys", [[0, 1, 2], [-4, 7, "é"], ["a", "b/c", "d"]])
def test_round_trip_is_exact(tmp_path: Path, suffix: str, name: str, keys: list[Any]) -> None:
    rows = np.random.default_rng(1).bytes(3 * 4 * dtype_from_name(name).itemsize)
    values = np.frombuffer(rows, dtype_from_name(name)).reshape(3, 2, 2)
    if name == "bool":
        values = values.view(np.uint8) > 100
    before = filled(Schema("ndarray", name, (2, 2)), dict(zip(keys, values, strict=True)))
    path = tmp_path / f"a{suffix}"
    export_from(before, path)
    after = imported(path)
    assert set(after.columns) == {"a"}
    assert after["a"].schema == before["a"].schema
    assert after["a"].keys() == before["a"].keys()
    for key in keys:
        assert after["a"][key].tobytes() == before["a"][key].tobytes()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_texts_round_trip(tmp_path: Path, suffix: str) -> None:
    before = filled(Schema("str"), {"x": "", "y": "ä\n", "z": "long " * 50})
    export_from(before, tmp_path / f"a{suffix}")
    assert imported(tmp_path / f"a{suffix}")["a"].values == before["a"].values


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_round_trips(tmp_path: Path, suffix: str, shape: tuple[int, int]) -> None:
    rows = np.empty(shape, np.int16)
    before = filled(Schema("ndarray", "int16", shape[1:]), dict(enumerate(rows)))
    export_from(before, tmp_path / f"a{suffix}")
    after = imported(tmp_path / f"a{suffix}")
    assert after["a"].schema == before["a"].schema
    assert len(after["a"]) == shape[0]


def test_texts_that_numpy_would_cut_are_refused(tmp_path: Path) -> None:
    before = filled(Schema("str"), {"x": "end\0"})
    for suffix in (".npy", ".h5"):
        with pytest.raises(InvalidInputError, match="NUL"):
            export_from(before, tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
@pytest.mark.parametrize(
    "schema",
    [
        Schema("ndarray", "int8", (2,), variable_shape=True),
        Schema("ndarray", "bfloat16", (2,)),
        Schema("ndarray", "int8", (2,), nested=True),
        Schema("bytes"),
    ],
)
def test_columns_that_do_not_stack_are_refused(tmp_path: Path, suffix: str, schema: Schema) -> None:
    target = FakeTarget()
    target.add("a", schema)
    with pytest.raises(InvalidInputError, match="column 'a' cannot be one"):
        export_from(target, tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_shapes_that_vary_go_to_a_folder(tmp_path: Path) -> None:
    before = filled(
        Schema("ndarray", "float32", (5, 5), variable_shape=True),
        {"b/1": np.ones((2, 3), np.float32), "../b": np.zeros((5, 1), np.float32)},
    )
    report = export_from(before, tmp_path / "out")
    assert (report.format, report.file_count) == ("npy", 2)
    after = imported(tmp_path / "out", key_from="stem")["arrays"]
    assert after["b/1"].tolist() == before["a"]["b/1"].tolist()
    assert after["%2E%2E/b"].tolist() == before["a"]["../b"].tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_npy_holds_one_column(tmp_path: Path) -> None:
    target = filled(Schema("ndarray", "int8", ()), {0: np.int8(1)})
    target.add("b", Schema("ndarray", "int8", ()))
    with pytest.raises(InvalidInputError, match="holds one column, not 2"):
        export_from(target, tmp_path / "a.npy")
    export_from(target, tmp_path / "a.npy", columns=["a"])


def test_keys_of_an_earlier_export_do_not_stay(tmp_path: Path) -> None:
    named = filled(Schema("ndarray", "int8", ()), {"x": np.int8(1)})
    plain = filled(Schema("ndarray", "int8", ()), {0: np.int8(1)})
    export_from(named, tmp_path / "a.npy")
    export_from(plain, tmp_path / "a.npy", overwrite=True)
    assert imported(tmp_path / "a.npy")["a"].keys() == [0]
