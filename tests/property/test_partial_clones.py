"""Whatever a partial clone leaves out: read lazily, it is the full clone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorvcs as tv
from tensorvcs.errors import ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ["images", "labels", "notes", "scans", "shapes"]
COUNT = 30
REVISIONS = ["main", "main~1", "main~2", "main~3", "side"]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Four commits of five columns, and a branch that left at the second."""
    with tempfile.TemporaryDirectory() as name:
        random = np.random.default_rng(0)
        pixels = random.integers(0, 255, (COUNT + 9, 10, 10), np.uint8)
        path = Path(name) / "source"
        with tv.init(path, "Ada", "ada@example.org") as repo:
            with repo.edit() as co:
                co.add_ndarray_column("images", (10, 10), "uint8").extend(pixels[:COUNT])
                co.add_ndarray_column("labels", (), "int64").extend(np.arange(COUNT) % 3)
                notes = co.add_str_column("notes")
                notes.update({f"k{i}": f"note {i // 2}" * 9 for i in range(COUNT)})
                scans = co.add_ndarray_column("scans", (30,), "int32", nested=True)
                for i in range(6):
                    scans[i] = {j: np.full(30, i + j, np.int32) for j in range(3)}
                shapes = co.add_ndarray_column("shapes", (None, 5), "uint8", variable_shape=True)
                shapes.update({f"s/{i}": pixels[i].reshape(20, 5)[: i % 7] for i in range(COUNT)})
                co.commit("0")
            for number in range(1, 4):
                with repo.edit() as co:
                    co["images"][number] = pixels[COUNT + number]
                    co["labels"][number] = 10 + number
                    co["notes"][f"k{number}"] = f"other {number}" * 9
                    del co["shapes"][f"s/{number}"]
                    co["scans"][number] = {9: np.full(30, -number, np.int32)}
                    co.commit(str(number))
                if number == 1:
                    repo.create_branch("side")
            repo.switch("side")
            with repo.edit() as co:
                co["images"][20] = pixels[-1]
                co.commit("side")
            repo.switch("main")
        yield path


def contents(repo: tv.Repository, revision: str) -> dict[str, dict[Any, Any]]:
    checkout = repo.checkout(revision)
    return {name: plain(checkout[name]) for name in checkout}


def plain(column: Any) -> dict[Any, Any]:
    if column.is_nested:
        return {key: plain_items(sample) for key, sample in column.items()}
    return plain_items(column)


def plain_items(column: Any) -> dict[Any, Any]:
    return {
        key: (value.shape, value.tolist()) if isinstance(value, (np.ndarray, np.generic)) else value
        for key, value in column.items()
    }


PATTERNS = st.sampled_from(["0:10", "k1*", "s/*", "5", "k?", "nothing"])
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "columns": st.lists(st.sampled_from(COLUMNS), min_size=1, unique=True),
        "keys": st.lists(PATTERNS, min_size=1, max_size=2),
        "max_bytes": st.integers(0, 6000),
        "sample": st.sampled_from(["first", "random", "stratified:labels"]),
        "seed": st.integers(0, 3),
        "depth": st.integers(1, 5),
    },
).map(lambda part: part if "max_bytes" in part else {**part, "sample": "first"})
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.sampled_from(REVISIONS), st.sampled_from(COLUMNS)),
        st.tuples(st.just("data"), st.sampled_from(REVISIONS), st.sampled_from(COLUMNS)),
        st.tuples(st.just("deepen"), st.integers(1, 5), st.none()),
        st.tuples(st.just("blame"), st.sampled_from(REVISIONS), st.just("images")),
    ),
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(part=FILTERS, steps=STEPS)
def test_read_lazily_a_part_is_the_whole(folder: Path, part: dict[str, Any], steps: Any) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        tv.open(folder) as source,
        tv.clone(folder, Path(name) / "copy", **part) as repo,
    ):
        wanted = {revision: contents(source, revision) for revision in REVISIONS}

        def spelled(revision: str) -> str:
            return f"origin/{revision}"

        for kind, what, column in steps:
            if kind == "read":
                assert plain(repo.checkout(spelled(what))[column]) == wanted[what][column]
            elif kind == "data":
                repo.fetch_data(spelled(what), columns=[column])
            elif kind == "blame":
                assert list(repo.blame(column, revision=spelled(what)).keys()) == [
                    *wanted[what][column]
                ]
            else:
                repo.fetch(depth=what)
        assert repo.verify().is_sound
        assert [c.id for c in repo.log()] == [c.id for c in source.log()]
        for revision in REVISIONS:
            assert contents(repo, spelled(revision)) == wanted[revision]
        if repo.is_partial and not {"columns", "keys", "max_bytes"} & {*part}:
            repo.fetch(depth="all")
            assert not repo.is_partial
        report = repo.verify()
        assert report.is_sound
        assert report.absent_count == 0


@settings(max_examples=15, deadline=None)
@given(part=FILTERS)
def test_what_is_here_is_right_and_the_rest_is_absent(folder: Path, part: dict[str, Any]) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        tv.open(folder) as source,
        tv.clone(folder, Path(name) / "copy", **part, lazy=False) as repo,
    ):
        checkout, whole = repo.checkout(), source.checkout()
        stats = repo.stats().columns
        for column in ("images", "notes"):
            found = {}
            for key in whole[column]:
                try:
                    found[key] = checkout[column][key]
                except ObjectNotFoundError:
                    continue
                assert np.array_equal(found[key], whole[column][key])
            present = stats[column].present_count
            assert len(found) == (len(whole[column]) if present is None else present)
