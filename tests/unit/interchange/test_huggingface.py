"""Columns as a Hugging Face dataset and back, with two workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

datasets = pytest.importorskip("datasets", reason="datasets is not installed")
pytest.importorskip("PIL", reason="pillow is not installed")

from tensorvcs.errors import ColumnNotFoundError, InvalidInputError  # noqa: E402
from tensorvcs.interchange.huggingface import from_huggingface, to_huggingface  # noqa: E402
from tests.unit.formats.fakes import FakeTarget  # noqa: E402
from tests.unit.interchange.conftest import BOXES, COUNT, IMAGES  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import tensorvcs as tv

pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ["blobs", "boxes", "flags", "grids", "images", "labels", "texts", "tracks"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.mark.parametrize("workers", [None, 2])
def test_columns_out_and_in_again(co: tv.Checkout, tmp_path: Path, workers: int | None) -> None:
    made = to_huggingface(co, NAMES, workers=workers, cache_dir=str(tmp_path))
    assert len(made) == COUNT
    assert isinstance(made.features["images"], datasets.Image)
    assert made.features["labels"].names == ["cat", "dog", "owl"]
    assert made.features["grids"].shape == (5, 6)
    row = made[5]
    assert row["key"] == 5
    assert np.array_equal(np.asarray(row["images"]), IMAGES[5])
    assert (row["texts"], row["labels"], row["blobs"]) == ("text 5", 2, b"xx")
    assert np.allclose(row["boxes"], BOXES[5])
    target = FakeTarget()
    report = from_huggingface(made, target)
    assert set(report.sample_counts) == set(NAMES)
    for name in NAMES:
        column = co[name]
        assert target[name].schema.spelling == column.schema.spelling
        assert target[name].keys() == list(column)
        for key in range(0, COUNT, 93):
            assert np.array_equal(target[name][key], column[key])
    assert list(target["labels_names"].values.values()) == ["cat", "dog", "owl"]


def test_a_dataset_of_others() -> None:
    features = datasets.Features({
        "id": datasets.Value("string"),
        "grid": datasets.Array2D((None, 2), "int8"),
        "odd": datasets.Value("timestamp[s]"),
    })  # fmt: skip
    rows: dict[str, list[Any]] = {
        "id": ["a", "b"], "grid": [[[1, 2]], [[3, 4], [5, 6]]], "odd": [1, 2],
    }  # fmt: skip
    made = datasets.Dataset.from_dict(rows, features=features)
    target = FakeTarget()
    with pytest.raises(InvalidInputError, match="'odd': no column here holds"):
        from_huggingface(made, target)
    from_huggingface(made, target, ["grid"], key="id")
    assert target["grid"].schema.spelling == "int8 ≤(*, *)"
    assert target["grid"]["b"].tolist() == [[3, 4], [5, 6]]
    stream = FakeTarget()
    from_huggingface(made.to_iterable_dataset(), stream, ["grid"], key="id")
    assert stream["grid"].keys() == ["a", "b"]
    with pytest.raises(InvalidInputError, match="several splits: train"):
        from_huggingface(datasets.DatasetDict({"train": made}), target)
    with pytest.raises(InvalidInputError, match="no column 'x'"):
        from_huggingface(made, target, ["x"])


def test_what_such_a_dataset_does_not_have(co: tv.Checkout) -> None:
    for column, text in (
        ("waves", "complex64"), ("scans", "nested"), ("crops", "no type for arrays"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=text):
            to_huggingface(co, column)
    with pytest.raises(InvalidInputError, match="do not have the same samples"):
        to_huggingface(co, ["labels", "notes"])
    with pytest.raises(ColumnNotFoundError):
        to_huggingface(co, "none")
