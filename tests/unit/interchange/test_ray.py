"""Columns as a Ray dataset, and a Ray dataset into columns, with two workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="ray is not installed")
pytest.importorskip("ray.data", reason="ray[data] is not installed")

from tensorvcs.errors import InvalidInputError  # noqa: E402
from tensorvcs.interchange.ray import from_ray, to_ray  # noqa: E402
from tests.unit.interchange.conftest import COUNT, IMAGES  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tensorvcs as tv

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=1 << 30,
        log_to_driver=False,
        configure_logging=False,
    )
    yield
    ray.shutdown()
    patch.undo()


def test_workers_read_what_the_columns_hold(co: tv.Checkout) -> None:
    made = to_ray(co, ["images", "labels", "texts", "tracks"], block_samples=200)
    assert made.count() == COUNT
    assert made.sum("labels") == int((np.arange(COUNT) % 3).sum())

    def wrong(batch: dict[str, Any]) -> dict[str, Any]:
        place = batch["key"]
        is_same = (batch["images"] == IMAGES[place]).all(axis=(1, 2, 3))
        is_same &= batch["texts"] == np.array([f"text {n}" for n in place])
        is_same &= np.array([len(track) for track in batch["tracks"]]) == place % 4
        return {"wrong": np.array([int((~is_same).sum())])}

    assert made.map_batches(wrong, batch_format="numpy").sum("wrong") == 0


def test_two_workers_write_at_once(co: tv.Checkout, empty: tv.Repository) -> None:
    made = to_ray(co, ["images", "labels"], block_samples=100).map_batches(
        lambda batch: {
            "key": batch["key"],
            "inverse": 255 - batch["images"],
            "label": batch["labels"],
        }
    )
    commits = from_ray(made, empty, branch="main", message="ingest", batch_samples=150, workers=2)
    assert len(commits) >= 4
    head = empty.checkout()
    assert np.array_equal(head["inverse"][:], 255 - IMAGES)
    assert np.array_equal(head["label"][:], np.arange(COUNT) % 3)
    assert head["readme", "about"] == "filled by a test"
    assert from_ray(made, empty, branch="main", message="again", workers=2) == []


def test_texts_and_nulls(empty: tv.Repository) -> None:
    rows = [
        {"key": f"k{n}", "text": f"t{n}" if n % 2 else None, "vector": [n, 1]} for n in range(1, 9)
    ]
    from_ray(ray.data.from_items(rows), empty, branch="main", message="m")
    head = empty.checkout()
    assert list(head["text"]) == ["k1", "k3", "k5", "k7"]
    assert head["vector", "k8"].tolist() == [8, 1]


def test_what_does_not_fit(co: tv.Checkout, empty: tv.Repository) -> None:
    with pytest.raises(InvalidInputError, match="do not have the same samples"):
        to_ray(co, ["labels", "notes"])
    with pytest.raises(InvalidInputError, match="complex64"):
        to_ray(co, "waves")
    with pytest.raises(InvalidInputError, match="no column 'key'; it has id"):
        from_ray(ray.data.range(3), empty, branch="main", message="m")
