"""Columns as Dask arrays, and Dask arrays into columns, with two workers."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="dask is not installed")

from tensorvcs.errors import (  # noqa: E402
    ColumnNotFoundError,
    InvalidInputError,
    SchemaMismatchError,
)
from tensorvcs.interchange.dask import ColumnRows, from_dask, to_dask  # noqa: E402
from tests.unit.interchange.conftest import BOXES, COUNT, IMAGES  # noqa: E402

if TYPE_CHECKING:
    import tensorvcs as tv

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def test_an_array_is_the_column(co: tv.Checkout) -> None:
    images = to_dask(co, "images", chunk_samples=256)
    assert images.chunks == ((256, 256, 188), (16,), (17,), (3,))
    assert images.dtype == np.uint8
    assert np.array_equal(images.compute(scheduler="threads", num_workers=2), IMAGES)
    part = images[3:600:7, 2, ::2, 1]
    assert np.array_equal(part.compute(scheduler="sync"), IMAGES[3:600:7, 2, ::2, 1])
    backward = images[::-1].compute(scheduler="sync")
    assert np.array_equal(backward, IMAGES[::-1])
    grids = to_dask(co, "grids").compute(scheduler="sync")
    assert np.array_equal(grids[:, 0, 0], np.arange(COUNT))
    assert np.array_equal(to_dask(co, "boxes").compute(scheduler="sync"), BOXES)
    assert to_dask(co, "images").numblocks[0] == 1


def test_a_chunk_is_a_view_of_the_map(co: tv.Checkout) -> None:
    chunk = ColumnRows(co, "images")[slice(10, 300), slice(None), slice(2)]
    assert np.array_equal(chunk, IMAGES[10:300, :, :2])
    assert np.shares_memory(chunk, co["images"].view())
    assert not chunk.flags.writeable


def test_two_processes_read(co: tv.Checkout) -> None:
    images = to_dask(co, "images", chunk_samples=350)
    total = images.sum(dtype=np.int64).compute(scheduler="processes", num_workers=2)
    assert total == IMAGES.sum(dtype=np.int64)


def test_the_graph_holds_no_values(repo: tv.Repository, co: tv.Checkout) -> None:
    images = to_dask(co, "images", chunk_samples=100)
    assert len(pickle.dumps(images)) < IMAGES.nbytes // 20
    assert images.name == to_dask(repo.checkout(), "images", chunk_samples=100).name
    assert images.name != to_dask(co, "boxes").name
    assert images.name != to_dask(co, "images", chunk_samples=99).name


def test_what_is_no_array(co: tv.Checkout) -> None:
    for column, text in (
        ("tracks", "no one shape"),
        ("texts", "no one shape"),
        ("scans", "nested"),
    ):
        with pytest.raises(InvalidInputError, match=text):
            to_dask(co, column)
    with pytest.raises(ColumnNotFoundError):
        to_dask(co, "none")
    with pytest.raises(InvalidInputError, match="at least 1"):
        to_dask(co, "images", chunk_samples=0)


def test_two_processes_write_at_once(co: tv.Checkout, empty: tv.Repository) -> None:
    images = to_dask(co, "images", chunk_samples=120)
    arrays = {"floats": images / np.float32(255), "labels": to_dask(co, "labels")}
    commits = from_dask(
        empty, arrays, branch="main", message="ingest", scheduler="processes", num_workers=2
    )
    assert len(set(commits)) == 6
    head = empty.checkout()
    assert np.array_equal(head["floats"][:], IMAGES / np.float32(255))
    assert head["floats"].keys()[-1] == COUNT - 1
    assert np.array_equal(head["labels"][:], np.arange(COUNT) % 3)
    assert head["readme", "about"] == "filled by a test"
    messages = {commit.message for commit in empty.log()}
    assert "ingest" in messages


def test_what_is_there_already_makes_no_commit(empty: tv.Repository) -> None:
    arrays = {"x": da.arange(40, chunks=10)}
    assert len(from_dask(empty, arrays, branch="main", message="1", scheduler="sync")) == 4
    assert from_dask(empty, arrays, branch="main", message="2", scheduler="sync") == []
    more = {"x": da.arange(40, 60, chunks=20)}
    from_dask(empty, more, branch="main", message="3", first_key=40, scheduler="sync")
    assert np.array_equal(empty.checkout()["x"][:], np.arange(60))


def test_arrays_that_do_not_fit(empty: tv.Repository) -> None:
    def write(**arrays: object) -> None:
        from_dask(empty, arrays, branch="main", message="m", scheduler="sync")

    before = empty.resolve("main")
    with pytest.raises(InvalidInputError, match="x has 4, y has 5"):
        write(x=da.zeros(4), y=da.zeros(5))
    with pytest.raises(InvalidInputError, match="no array"):
        write()
    with pytest.raises(SchemaMismatchError, match="readme"):
        write(readme=da.zeros(4))
    assert empty.resolve("main") == before
