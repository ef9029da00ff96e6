"""Loaders of a partial clone: what is absent comes ahead, many values a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tensorvcs as tv  # noqa: E402
from tensorvcs.errors import ObjectNotFoundError  # noqa: E402
from tensorvcs.torch import Block, TensorLoader  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

COUNT = 300
ROWS = np.random.default_rng(4).integers(0, 256, (COUNT, 16, 16), np.uint8)


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[tv.Repository]:
    """Return a clone that has the tree and no value."""
    with tv.init(tmp_path / "full", user_name="A", user_email="a") as repo, repo.edit() as edit:
        edit.add_ndarray_column("x", (16, 16), "uint8").extend(ROWS)
        edit.add_ndarray_column("n", (), "int64").extend(np.arange(COUNT))
        edit.add_bytes_column("b").extend([row.tobytes() for row in ROWS])
        edit.commit("rows")
    with tv.clone(tmp_path / "full", tmp_path / "part", max_bytes=0) as repo:
        yield repo


def requests_of(repo: tv.Repository) -> list[int]:
    """Return a list that grows by the number of values of each request to the remote."""
    asked: list[int] = []
    supply: Any = repo._tensors.supply

    def counting(store: Any, digests: Any) -> None:
        asked.append(len(digests))
        supply(store, digests)

    repo._tensors.supply = counting
    return asked


def test_an_epoch_asks_once_a_plan_and_column(clone: tv.Repository) -> None:
    asked = requests_of(clone)
    loader = TensorLoader(clone.checkout(), ["x", "b", "n"], batch_size=16, threads=2)
    for _ in range(2):
        for images, texts, places in loader:
            assert np.array_equal(images.numpy(), ROWS[places.numpy()])
            assert [ROWS[n].tobytes() for n in places.tolist()] == texts
    assert asked == [COUNT, COUNT]


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 2}])
def test_time_for_the_remote_is_told_apart(
    clone: tv.Repository, monkeypatch: pytest.MonkeyPatch, options: Any
) -> None:
    """By a clock that goes on in requests alone."""
    clock = [0.0]
    tensors: Any = clone._tensors
    supply = tensors.supply

    def slow(store: Any, digests: Any) -> None:
        clock[0] += 5
        supply(store, digests)

    tensors.supply = slow
    monkeypatch.setattr("tensorvcs.torch.making.perf_counter", lambda: clock[0])
    loader = TensorLoader(clone.checkout(), ["x", "b", "n"], batch_size=16, **options)
    for _ in range(2):
        assert sum(len(images) for images, _, _ in loader) == COUNT
    stats = loader.stats
    assert (stats.fetching_seconds, stats.reading_seconds) == (10.0, 0.0)


def test_worker_processes_fetch_a_batch_at_a_time(clone: tv.Repository) -> None:
    loader = TensorLoader(clone.checkout(), ["x"], batch_size=100, workers=1, context="fork")
    assert sum(len(images) for (images,) in loader) == COUNT
    stats = loader.stats
    assert stats.fetching_seconds > 0
    loader.close()


def test_only_what_is_read_comes(clone: tv.Repository) -> None:
    asked = requests_of(clone)
    loader = TensorLoader(
        clone.checkout(), ["x"], batch_size=10, shuffle=Block(rows=10, window=1), rank=0,
        world_size=3, threads=0, drop_last=True,
    )  # fmt: skip
    assert sum(len(images) for (images,) in loader) == COUNT // 3
    assert asked == [COUNT // 3]


def test_a_remote_that_is_gone_is_an_error_that_says_so(
    clone: tv.Repository, tmp_path: Path
) -> None:
    (tmp_path / "full").rename(tmp_path / "away")
    loader = TensorLoader(clone.checkout(), ["x"], batch_size=16, threads=2)
    with pytest.raises(ObjectNotFoundError, match="partial clone"):
        list(loader)
    (tmp_path / "away").rename(tmp_path / "full")
    assert sum(len(images) for (images,) in loader) == COUNT
    (tmp_path / "full").rename(tmp_path / "away")
    assert sum(len(images) for (images,) in loader) == COUNT  # all of it is here now
