"""Columns as Arrow tables and back, and what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from tensorvcs.errors import (  # noqa: E402
    ColumnNotFoundError,
    DuplicateKeyError,
    InvalidInputError,
    SchemaMismatchError,
    UnreadableFileError,
)
from tensorvcs.interchange.arrow import arrow_reader, arrow_rows, from_arrow, to_arrow  # noqa: E402
from tests.unit.formats.fakes import FakeTarget  # noqa: E402
from tests.unit.interchange.conftest import BOXES, COUNT, IMAGES  # noqa: E402

if TYPE_CHECKING:
    import tensorvcs as tv


def test_by_default_a_table_has_inline_values_and_texts(co: tv.Checkout) -> None:
    table = to_arrow(co)
    assert table.column_names == [
        "key",
        "boxes",
        "flags",
        "labels",
        "labels_names",
        "notes",
        "texts",
    ]
    assert table.num_rows == COUNT
    assert table["key"].to_pylist() == list(range(COUNT))
    assert table["labels"].to_pylist() == [n % 3 for n in range(COUNT)]
    assert table["flags"].to_pylist()[:3] == [True, False, True]
    assert table["texts"].to_pylist()[7] == "text 7"
    assert np.array_equal(table["boxes"].chunk(0).to_numpy_ndarray(), BOXES)


def test_a_column_without_a_key_has_null_there(co: tv.Checkout) -> None:
    notes = to_arrow(co, ["labels", "notes"])["notes"].to_pylist()
    assert {n: note for n, note in enumerate(notes) if note is not None} == {
        3: "three",
        699: "last",
    }
    flags = to_arrow(co, ["notes", "flags", "boxes"])
    assert flags.num_rows == COUNT
    alone = to_arrow(co, "notes")
    assert alone.to_pydict() == {"key": [3, 699], "notes": ["three", "last"]}


def test_stacked_numbers_are_not_copied(co: tv.Checkout) -> None:
    images = to_arrow(co, ["images", "labels"])["images"]
    assert images.num_chunks == 1
    flat = images.chunk(0).storage.flatten()
    view = co["images"].view()
    assert view is not None
    assert flat.buffers()[1].address == view.ctypes.data
    assert np.array_equal(images.chunk(0).to_numpy_ndarray(), IMAGES)


def test_arrays_of_varying_shape(co: tv.Checkout) -> None:
    table = to_arrow(co, ["tracks", "crops", "blobs", "grids"])
    assert table["tracks"].to_pylist()[3] == [0, 1, 2]
    assert table["crops"].to_pylist()[4] == {"data": [4.0] * 5, "shape": [1, 5]}
    assert table["blobs"].to_pylist()[2] == b"xx"
    assert table["grids"].chunk(0).to_numpy_ndarray()[9, 2, 3] == 9


@pytest.mark.parametrize(
    ("column", "text"),
    [("waves", "Arrow has no type for complex64"), ("halves", "bfloat16"), ("scans", "nested")],
)
def test_what_arrow_does_not_have_is_refused(co: tv.Checkout, column: str, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        to_arrow(co, ["labels", column])


def test_a_column_that_is_not_there(co: tv.Checkout) -> None:
    with pytest.raises(ColumnNotFoundError, match="lables"):
        to_arrow(co, "lables")


def test_the_stream_has_the_same_rows(co: tv.Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorvcs.interchange import arrow

    monkeypatch.setattr(arrow, "block_count", lambda nbytes: 100)
    for columns in (["labels", "texts", "boxes"], ["labels", "notes"]):
        reader = arrow_reader(co, columns)
        batches = list(reader)
        assert [batch.num_rows for batch in batches] == [100] * 7
        assert pa.Table.from_batches(batches).to_pydict() == to_arrow(co, columns).to_pydict()
    assert arrow_rows(co, ["texts"], 5, 7).to_pydict() == {
        "key": [5, 6], "texts": ["text 5", "text 6"],
    }  # fmt: skip


def test_ints_and_texts_as_keys_are_two_columns(empty: tv.Repository) -> None:
    with empty.edit() as edit:
        del edit["readme"]
        labels: dict[int | str, int] = {5: 1, "5": 2, "a": 3}
        edit.add_ndarray_column("labels", (), "int8").update(labels)
        table = to_arrow(edit)
        assert table.to_pydict() == {
            "int_key": [5, None, None], "str_key": [None, "5", "a"], "labels": [1, 2, 3],
        }  # fmt: skip
        target = FakeTarget()
        from_arrow(table, target)
        assert target["labels"].values == {5: 1, "5": 2, "a": 3}
        edit["labels"].clear()
        assert to_arrow(edit).to_pydict() == {"key": [], "labels": []}


def test_a_column_named_as_the_keys_are(empty: tv.Repository) -> None:
    with empty.edit() as edit:
        edit.add_str_column("key")["a"] = "b"
        assert "about" in to_arrow(edit)["key"].to_pylist()
        with pytest.raises(InvalidInputError, match="names its keys 'key'"):
            to_arrow(edit, ["key"])


def test_columns_come_back_as_they_were(co: tv.Checkout) -> None:
    names = ["boxes", "flags", "labels", "notes", "texts", "blobs", "tracks", "crops", "images"]
    target = FakeTarget()
    report = from_arrow(to_arrow(co, names), target)
    assert list(report.sample_counts) == names
    assert report.sample_counts["notes"] == 2
    assert "698 of 700 rows have no value" in report.notes[0]
    for name in names:
        column = co[name]
        assert target[name].schema.spelling == (
            "float32 ≤(*, *)" if name == "crops" else column.schema.spelling
        )
        assert target[name].keys() == list(column)
        for key in list(column)[::97]:
            assert np.array_equal(target[name][key], column[key])


def test_other_types_of_arrow() -> None:
    target = FakeTarget()
    table = pa.table({
        "name": pa.array(["a", "b", "c"]).dictionary_encode(),
        "class": pa.array(["x", "y", "x"]).dictionary_encode(),
        "point": pa.array([[1, 2], None, [5, 6]], pa.list_(pa.int32(), 2)),
        "long": pa.array([[1.5], [], [2.5, 3]], pa.large_list(pa.float64())),
        "when": pa.array([1, 2, 3], pa.timestamp("s")),
        "-odd": [1, 2, 3],
    })  # fmt: skip
    report = from_arrow(table, target, key="name")
    assert target["class"].values == {"a": "x", "b": "y", "c": "x"}
    assert target["point"].keys() == ["a", "c"]
    assert target["point"]["c"].tolist() == [5, 6]
    assert target["long"]["c"].tolist() == [2.5, 3]
    assert [s.path for s in report.skipped] == ["the table: when", "the table: -odd"]
    assert "timestamp" in report.skipped[0].reason


@pytest.mark.parametrize(
    ("table", "options", "error", "text"),
    [
        ({"key": ["a", "b", "a"], "x": [1, 2, 3]}, {}, DuplicateKeyError, "rows 1 and 3.*'a'"),
        ({"key": [1, None], "x": [1, 2]}, {}, UnreadableFileError, "row 2 has no key"),
        ({"key": [1.5], "x": [1]}, {}, UnreadableFileError, "'key' is of double"),
        ({"x": [1]}, {"key": "id"}, InvalidInputError, "no column 'id'; it has x"),
        ({"x": [1]}, {"columns": ["y"]}, InvalidInputError, "no column 'y'"),
        ({"key": [1]}, {}, UnreadableFileError, "no column besides the keys"),
        ({"x": [[1, None]]}, {}, UnreadableFileError, "nulls are inside"),
    ],
)
def test_tables_that_do_not_fit(
    table: dict[str, Any], options: dict[str, Any], error: type[Exception], text: str
) -> None:
    target = FakeTarget()
    made = pa.table(table)
    with pytest.raises(error, match=text):
        from_arrow(made, target, **options)
    assert all(not len(column) for column in target.columns.values())


def test_hashes_that_meet_are_no_duplicate_keys() -> None:
    """In Python -1 and -2 have one hash."""
    target = FakeTarget()
    from_arrow(pa.table({"key": [-1, -2], "x": [1, 2]}), target)
    assert target["x"].values == {-1: 1, -2: 2}


def test_a_column_that_is_there_must_fit(empty: tv.Repository) -> None:
    with empty.edit() as edit:
        edit.add_ndarray_column("x", (), "int8")
        with pytest.raises(SchemaMismatchError, match="int64"):
            from_arrow(pa.table({"x": [1]}), edit)
        from_arrow(pa.table({"x": pa.array([1], pa.int8())}), edit)
        assert edit["x"][0] == 1


def test_pandas_queries_labels(co: tv.Checkout) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = to_arrow(co, ["labels", "texts", "boxes"]).to_pandas()
    assert frame.query("labels == 2")["key"].tolist() == list(range(2, COUNT, 3))


def test_polars_queries_labels(co: tv.Checkout) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.from_arrow(to_arrow(co, ["labels", "texts"]))
    assert frame.filter(polars.col("labels") == 2)["key"].to_list() == list(range(2, COUNT, 3))


def test_duckdb_queries_labels(co: tv.Checkout) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    connection = duckdb.connect()
    connection.register("labelled", arrow_reader(co, ["labels", "texts"]))
    rows = connection.sql("select key from labelled where labels = 2 order by key").fetchall()
    assert [key for (key,) in rows] == list(range(2, COUNT, 3))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_are_taken(library: str) -> None:
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    target = FakeTarget()
    frame = module.DataFrame({"key": ["a", "b"], "score": [0.5, 1.5], "text": ["x", "y"]})
    from_arrow(frame, target)
    assert target["score"].values == {"a": 0.5, "b": 1.5}
    assert target["text"].values == {"a": "x", "b": "y"}
