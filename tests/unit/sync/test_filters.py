"""Filters: what a partial clone takes, and in which order a budget is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tensorvcs.checkout.areas import columns_of
from tensorvcs.errors import ColumnNotFoundError, InvalidInputError, ObjectNotFoundError
from tensorvcs.objects.digest import array_to_digests
from tensorvcs.storage.memory import MemoryTensors
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.values import fetch_values
from tests.memory_repository import MemoryRepository

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNT = 600


@pytest.fixture(scope="module")
def repo() -> MemoryRepository:
    made = MemoryRepository()

    def change(co: Any) -> None:
        pixels = np.arange(COUNT * 100, dtype=np.int32).reshape(COUNT, 100)
        images = co.add_ndarray_column("images", (100,), "int32")
        images.update({f"k{i:03}": pixels[i] for i in range(COUNT)})
        depth = co.add_ndarray_column("depth", (100,), "float64")
        depth.update({f"k{i:03}": pixels[i].astype("f8") for i in range(COUNT)})
        labels = co.add_ndarray_column("labels", (), "int64")
        labels.update({f"k{i:03}": i % 4 if i < 400 else 9 for i in range(COUNT)})
        co.add_str_column("cities").update({f"k{i:03}": "AB"[i % 2] for i in range(300)})
        scans = co.add_ndarray_column("scans", (100,), "int32", nested=True)
        for i in range(20):
            scans[f"k{i:03}"] = {j: pixels[i] + 10**6 * (j + 1) for j in range(3)}
        vectors = co.add_ndarray_column("vectors", (3,), "float32")
        vectors.update({f"k{i:03}": np.full(3, i % 3, np.float32) for i in range(300)})

    made.commit(change)
    return made


def order(repo: MemoryRepository, chosen: Filter) -> list[Any]:
    """Return the values in the order in which a budget is spent."""
    columns = columns_of(repo.stores, repo.resolve("main"))
    blocks = list(chosen.values_in_order(repo.nodes, columns))
    names: Mapping[bytes, Any] = repo.stores.tensors.values  # type: ignore[attr-defined]
    return [names[digest] for block in blocks for digest in array_to_digests(block)]


def first_pixels(values: list[Any]) -> list[int]:
    return [int(value[0]) // 100 for value in values]


def test_first_is_key_order_and_columns_come_side_by_side(repo: MemoryRepository) -> None:
    values = order(repo, Filter(columns=("images", "depth"), max_bytes=1))
    assert first_pixels(values) == [i for i in range(COUNT) for _ in range(2)]
    assert [value.dtype.str for value in values[:2]] == ["<f8", "<i4"]


def test_random_takes_the_same_samples_everywhere(repo: MemoryRepository) -> None:
    chosen = Filter(columns=("images", "depth"), max_bytes=1, sample="random", seed=3)
    values = first_pixels(order(repo, chosen))
    assert values[::2] == values[1::2]
    assert sorted(values[::2]) == list(range(COUNT))
    # Pinned: another version of the library must take the same.
    assert values[:12:2] == PINNED
    alone = Filter(columns=("images",), max_bytes=1, sample="random", seed=3)
    assert first_pixels(order(repo, alone)) == values[::2]
    other = Filter(columns=("images",), max_bytes=1, sample="random", seed=4)
    assert first_pixels(order(repo, other)) != values[::2]


PINNED = [372, 151, 326, 27, 33, 443]


@pytest.mark.parametrize(
    ("column", "label_of"),
    [
        ("labels", lambda i: i % 4 if i < 400 else 9),
        ("cities", lambda i: i % 2 if i < 300 else None),
        ("vectors", lambda i: i % 3 if i < 300 else None),
    ],
)
def test_stratified_keeps_the_share_of_every_label(
    repo: MemoryRepository, column: str, label_of: Any
) -> None:
    chosen = Filter(columns=("images",), max_bytes=1, sample=f"stratified:{column}", seed=1)
    taken = [label_of(i) for i in first_pixels(order(repo, chosen))]
    labels = {label_of(i) for i in range(COUNT)} - {None}
    labelled = [label for label in taken if label is not None]
    # Samples without a label come last.
    assert taken[: len(labelled)] == labelled
    for part in (24, 120, len(labelled)):
        for label in labels:
            share = labelled.count(label) / len(labelled)
            assert abs(labelled[:part].count(label) - share * part) <= 2


def test_subsamples_of_a_sample_stay_together(repo: MemoryRepository) -> None:
    chosen = Filter(columns=("scans",), max_bytes=1, sample="random")
    samples = [int(value[0]) % 10**6 // 100 for value in order(repo, chosen)]
    assert samples[::3] == samples[1::3] == samples[2::3]
    assert samples[::3] != sorted(samples[::3])


def test_keys_narrow_a_budget(repo: MemoryRepository) -> None:
    chosen = Filter(columns=("images",), keys=("k00?",), max_bytes=1)
    assert first_pixels(order(repo, chosen)) == list(range(10))


def test_columns_that_are_inline_or_absent(repo: MemoryRepository) -> None:
    assert order(repo, Filter(columns=("labels",), max_bytes=1)) == []
    with pytest.raises(ColumnNotFoundError, match="no column 'nope'; there are: cities"):
        order(repo, Filter(columns=("nope",), max_bytes=1))
    with pytest.raises(ColumnNotFoundError, match="no column 'nope'"):
        order(repo, Filter(max_bytes=1, sample="stratified:nope"))
    with pytest.raises(InvalidInputError, match="is nested"):
        order(repo, Filter(max_bytes=1, sample="stratified:scans"))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"columns": ()}, "a list of columns is empty"),
        ({"columns": ("a/b",)}, "is not legal"),
        ({"keys": ()}, "a list of key patterns is empty"),
        ({"max_bytes": -1}, "max_bytes is -1"),
        ({"max_bytes": True}, "max_bytes is True"),
        ({"sample": "best"}, "sample is 'best'"),
        ({"sample": "stratified:"}, "sample is 'stratified:'"),
        ({"sample": "random"}, "sample is 'random', and nothing says of how many bytes"),
        ({"seed": -1}, "seed is -1"),
        ({"depth": 0}, "depth is 0; expected 1 or more commits"),
        ({"depth": True}, "depth is True"),
    ],
)
def test_filters_that_make_no_sense(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        Filter(**fields)


def test_a_filter_is_kept_as_text() -> None:
    chosen = Filter(("a", "ü"), ("x*",), 5, "stratified:a", 7)
    assert Filter.from_text(chosen.to_text()) == chosen
    assert Filter.from_text(Filter().to_text()).is_everything
    assert not chosen.is_everything
    shallow = Filter(depth=3)
    assert Filter.from_text(shallow.to_text()) == shallow
    assert not shallow.is_everything
    # As versions without depths wrote it, and read it.
    assert "depth" not in chosen.to_text()
    for text in ("", "[]", "{}", '{"columns": 3, "keys": null}'):
        with pytest.raises(InvalidInputError):
            Filter.from_text(text)


def test_a_budget_is_never_passed_and_is_the_same_twice(repo: MemoryRepository) -> None:
    columns = columns_of(repo.stores, repo.resolve("main"))
    chosen = Filter(columns=("images", "depth"), max_bytes=100_000)
    here = MemoryTensors()
    seen: list[int] = []

    def run() -> Any:
        return fetch_values(
            repo.stores.tensors,
            here,
            chosen.values_in_order(repo.nodes, columns),
            max_bytes=chosen.max_bytes,
            progress=lambda moved: seen.append(moved.nbytes),
        )

    moved = run()
    # Whole samples of 1,200 bytes, and the larger column of one more.
    assert 98_800 < moved.nbytes <= 100_000
    assert len(here.values) == moved.value_count == seen.__len__()
    assert run().nbytes == 0


def test_all_values_come_without_a_budget(repo: MemoryRepository) -> None:
    columns = columns_of(repo.stores, repo.resolve("main"))
    here = MemoryTensors()
    blocks = Filter(columns=("images",)).values_in_order(repo.nodes, columns)
    assert fetch_values(repo.stores.tensors, here, blocks).value_count == COUNT
    with pytest.raises(ObjectNotFoundError):
        fetch_values(repo.stores.tensors, here, [np.zeros((1, 32), np.uint8)])
