"""CSV files in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.errors import (
    DestinationExistsError,
    DuplicateKeyError,
    InvalidInputError,
    UnreadableFileError,
)
from tensorvcs.formats import csv_tables
from tensorvcs.formats.exporting import export_from
from tensorvcs.formats.importing import import_into
from tensorvcs.formats.registry import detect_format
from tensorvcs.objects.schema import Schema
from tests.unit.formats.fakes import FakeTarget

if TYPE_CHECKING:
    from pathlib import Path


def taken(path: Path, text: str | bytes, **options: Any) -> FakeTarget:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    target = FakeTarget()
    import_into(target, path, **options)
    return target


def test_types_are_those_that_fit_all_cells(tmp_path: Path) -> None:
    target = taken(
        tmp_path / "a.csv",
        "key,i,big,f,b,zip,huge,mixed,text\n"
        'a,1,18446744073709551615,0.5,true,007,99999999999999999999999,1,"x, ""y"""\n'
        "b,-2,0,1e3,false,123,1,z,\u00e9\n"
        "c,0,1,nan,True,5,2,2.5,3\n",
    )
    kinds = {name: column.schema.dtype or "str" for name, column in target.columns.items()}
    assert kinds == {
        "i": "int64", "big": "uint64", "f": "float64", "b": "bool", "zip": "str", "huge": "str",
        "mixed": "str", "text": "str",
    }  # fmt: skip
    assert target["i"].values == {"a": 1, "b": -2, "c": 0}
    assert int(target["big"]["a"]) == 2**64 - 1
    assert np.isnan(target["f"]["c"])
    assert target["text"].values == {"a": 'x, "y"', "b": "\u00e9", "c": "3"}


def test_keys_are_ints_texts_or_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert taken(path, "key,x\n5,1\n-7,2\n")["x"].keys() == [-7, 5]
    assert taken(path, "key,x\n5,1\n007,2\n")["x"].keys() == ["007", "5"]
    assert taken(path, "id,x\nq,1\n\nr,2\n", extra={"key": "id"})["x"].keys() == ["q", "r"]
    assert taken(path, "id,x\nq,1\nr,2\n")["id"].values == {0: "q", 1: "r"}
    assert taken(path, "key,x\nq,1\n", key_from="number")["key"].values == {0: "q"}
    both = taken(path, "int_key,str_key,x\n5,,1\n,5,2\n")
    assert both["x"].values == {5: 1, "5": 2}


def test_an_empty_cell_is_no_value(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("key,x,t\na,,u\nb,2,\n")
    target = FakeTarget()
    report = import_into(target, path)
    assert target["x"].values == {"b": 2}
    assert target["t"].values == {"a": "u"}
    assert "column 'x': 1 of 2 rows have no value" in report.notes[0]
    assert taken(path, path.read_text(), extra={"empty": "text"})["t"]["b"] == ""


def test_types_and_delimiters_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("x\n")
    assert detect_format(path).name == "csv"
    target = taken(path, "key\tx\ty\na\t1\t2\n", extra={"types": "x:int8,y:str"}, column=None)
    assert target["x"].schema == Schema("ndarray", "int8", ())
    assert target["y"]["a"] == "2"
    semicolons = taken(tmp_path / "b.csv", "x;y\n1;2\n", extra={"delimiter": ";"}, column="y")
    assert list(semicolons.columns) == ["y"]
    marked = taken(tmp_path / "c.csv", b"\xef\xbb\xbfx\n1\n")
    assert list(marked.columns) == ["x"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x,y\n1,2\n1\n", UnreadableFileError, "line 3: 1 cells, where the first line has 2"),
        ("x,y\n1,2,3\n", UnreadableFileError, "line 2: 3 cells"),
        ("", UnreadableFileError, "it is empty"),
        ("x,y\n", UnreadableFileError, "no rows"),
        ("x,x\n1,2\n", UnreadableFileError, "two columns named 'x'"),
        ("key,x\na,1\nb,2\na,3\n", DuplicateKeyError, "rows 1 and 3 have one key, 'a'"),
        ("key,x\n1,1\n1,3\n", DuplicateKeyError, "rows 1 and 2"),
        ("key,x\na,1\n,2\n", UnreadableFileError, "line 3: no key"),
        ("int_key,str_key,x\n5,a,1\n", UnreadableFileError, "line 2: int_key or str_key"),
        ('x\n"a\n', UnreadableFileError, "line 2: unexpected end"),
        ("key\na\n", UnreadableFileError, "no column besides the keys"),
        (b"x\n\xff\n", UnreadableFileError, "no UTF-8"),
        ("x,-y\n1,2\n", None, ""),
    ],
)
def test_damaged_files(
    tmp_path: Path, text: str | bytes, error: type[Exception] | None, message: str
) -> None:
    if error is None:
        assert list(taken(tmp_path / "a.csv", text).columns) == ["x"]
        return
    target = FakeTarget()
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(error, match=message):
        import_into(target, path)
    assert not target.columns


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"types": "x:int8"}, "line 3: '300' in column 'x' is no int8"),
        ({"types": "x:bool"}, "line 2: '1' in column 'x' is no bool"),
        ({"types": "x"}, "NAME:DTYPE"),
        ({"types": "x:complex64"}, "a cell holds no complex64"),
        ({"types": "z:int8"}, "no column 'z'"),
        ({"key": "z"}, "no column 'z'; it has x, y"),
        ({"delimiter": "::"}, "one character"),
        ({"empty": "zero"}, "'missing' or 'text'"),
        ({"other": "1"}, "unknown option other"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, extra: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        taken(tmp_path / "a.csv", "x,y\n1,2\n300,4\n", extra=extra)


def test_a_file_comes_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_tables, "_ROWS_AT_ONCE", 10)
    lines = "".join(f"k{n},{n}\n" + "\n" * 12 * (n == 40) for n in range(95))
    done: list[tuple[int, int | None]] = []
    target = taken(
        tmp_path / "a.csv", "key,x\n" + lines, progress=lambda n, total: done.append((n, total))
    )
    assert max(target["x"].extended_counts) == 10
    assert len(target["x"]) == 95
    assert done[-1] == (95, 95)
    path = tmp_path / "b.csv"
    path.write_text("key,x\n" + lines + "k3,0\n")
    with pytest.raises(DuplicateKeyError, match="rows 4 and 96"):
        import_into(FakeTarget(), path)


def test_columns_go_out_and_come_back(tmp_path: Path) -> None:
    checkout = FakeTarget()
    keys = ["a", "b", 'c,"d"', "line\nbreak"]
    checkout.add("f", Schema("ndarray", "float64", ())).extend([0.1, -0.0, np.inf, 1e-300], keys)
    checkout.add("i", Schema("ndarray", "int64", ())).extend([1, 2, 3, -(2**63)], keys)
    checkout.add("b", Schema("ndarray", "bool", ())).extend([True, False, True, True], keys)
    checkout.add("t", Schema("str")).extend(["x", "tab\t", ' "q" ', "two\r\nlines"], keys)
    checkout.add("few", Schema("str")).extend(["one"], ["b"])
    path = tmp_path / "out.csv"
    report = export_from(checkout, path)
    assert (report.format, report.file_count) == ("csv", 1)
    again = FakeTarget()
    import_into(again, path)
    assert {n: c.schema for n, c in again.columns.items()} == {
        n: c.schema for n, c in checkout.columns.items()
    }
    for name, column in checkout.columns.items():
        assert again[name].values == column.values
    assert np.signbit(again["f"]["b"])
    with pytest.raises(DestinationExistsError):
        export_from(checkout, path)


@pytest.mark.parametrize("keys", [[1, 2], ["1", "2"], [1, "1"], ["007", "x"], [-1, 0]])
def test_keys_come_back_as_they_were(tmp_path: Path, keys: list[Any]) -> None:
    checkout = FakeTarget()
    checkout.add("x", Schema("ndarray", "int64", ())).extend([5, 6], keys)
    export_from(checkout, tmp_path / "a.csv")
    again = FakeTarget()
    import_into(again, tmp_path / "a.csv")
    assert again["x"].values == checkout["x"].values


def test_what_is_no_cell(tmp_path: Path) -> None:
    checkout = FakeTarget()
    checkout.add("box", Schema("ndarray", "int64", (2,))).extend([[1, 2]], [0])
    checkout.add("raw", Schema("bytes")).extend([b"x"], [0])
    checkout.add("wave", Schema("ndarray", "complex64", ())).extend([np.complex64(1)], [0])
    for name in checkout.columns:
        with pytest.raises(InvalidInputError, match=f"'{name}' cannot be cells"):
            export_from(checkout, tmp_path / "a.csv", columns=[name], format="csv")
    checkout.add("key", Schema("str")).extend(["x"], [0])
    with pytest.raises(InvalidInputError, match="names its keys 'key'"):
        export_from(checkout, tmp_path / "a.csv", columns=["key"])
    empty = FakeTarget()
    empty.add("t", Schema("str")).extend(["", "b"], [0, 1])
    with pytest.raises(InvalidInputError, match="has the empty text"):
        export_from(empty, tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
    export_from(empty, tmp_path / "a.csv", extra={"empty": "text", "delimiter": "tab"})
    assert (tmp_path / "a.csv").read_text() == "key\tt\n0\t\n1\tb\n"
    with pytest.raises(InvalidInputError, match="unknown option"):
        export_from(empty, tmp_path / "b.csv", extra={"x": "1"})
