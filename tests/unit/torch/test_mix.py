"""Several data sets as one, by weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tensorvcs as tv  # noqa: E402
from tensorvcs.errors import InvalidInputError, OtherDataError  # noqa: E402
from tensorvcs.torch import Mix, TensorDataset, TensorLoader  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[dict[str, TensorDataset]]:
    """Return data sets of two commits: labels from 0, and from 1000."""
    with tv.init(tmp_path, user_name="A", user_email="a") as repo:
        with repo.edit() as edit:
            edit.add_ndarray_column("x", (), "int64").extend(np.arange(100))
            edit.add_str_column("t").extend([str(n) for n in range(100)])
            edit.commit("one")
            edit["x"].update({n: 1000 + n for n in range(100)})
            edit.commit("two")
        yield {
            "old": TensorDataset(repo.checkout("HEAD~1"), ["x", "t"]),
            "new": TensorDataset(repo.checkout(), ["x", "t"]).subset(range(30)),
        }


def drawn(loader: TensorLoader) -> list[int]:
    found = []
    for numbers, texts in loader:
        assert [n % 1000 for n in numbers.tolist()] == [int(text) for text in texts]
        found += numbers.tolist()
    return found


def test_samples_come_by_weight(parts: dict[str, TensorDataset]) -> None:
    mix = Mix({"old": (parts["old"], 3), "new": (parts["new"], 1)}, samples_per_epoch=8192)
    found = np.array(drawn(TensorLoader(mix, batch_size=100, seed=1)))
    assert (found >= 1000).sum() == 2048
    # In every stretch, not only in all.
    assert all(10 <= (part >= 1000).sum() <= 40 for part in np.split(found[:8100], 81))
    # Each sample of a part once before any comes again.
    new = found[found >= 1000]
    assert all(len(set(new[low : low + 30])) == 30 for low in range(0, 2040, 30))
    assert len({tuple(new[low : low + 30]) for low in range(0, 2040, 30)}) > 60
    assert "old 3 of 100" in repr(mix)


def test_the_order_is_that_of_seed_and_epoch(parts: dict[str, TensorDataset]) -> None:
    mix = Mix({name: (part, 1) for name, part in parts.items()})
    assert len(mix) == mix.samples_per_epoch == 130
    loader = TensorLoader(mix, batch_size=16, seed=1)
    first = drawn(loader)
    assert len(first) == 130
    assert drawn(loader) != first
    ranks = [TensorLoader(mix, batch_size=8, seed=1, rank=r, world_size=2) for r in range(2)]
    together = [n for step in zip(*ranks, strict=True) for x, _ in step for n in x.tolist()]
    assert together == first
    cut = TensorLoader(mix, batch_size=16, seed=1)
    batches = iter(cut)
    begin = [n for _ in range(3) for n in next(batches)[0].tolist()]
    resumed = TensorLoader(mix, batch_size=16, seed=1, threads=0)
    resumed.load_state_dict(cut.state_dict())
    assert begin + drawn(resumed) == first


def test_a_state_of_other_parts_is_refused(parts: dict[str, TensorDataset]) -> None:
    state = TensorLoader(Mix({"old": (parts["old"], 1)}), batch_size=4).state_dict()
    with pytest.raises(OtherDataError, match="mix"):
        TensorLoader(Mix({"new": (parts["new"], 1)}), batch_size=4).load_state_dict(state)
    with pytest.raises(OtherDataError, match="part 'old'"):
        TensorLoader(Mix({"old": (parts["new"], 1)}), batch_size=4).load_state_dict(state)
    heavier = Mix({"old": (parts["old"], 1), "new": (parts["new"], 1)})
    other = Mix({"old": (parts["old"], 1), "new": (parts["new"], 2)})
    with pytest.raises(OtherDataError, match="order"):
        TensorLoader(other, batch_size=4).load_state_dict(
            TensorLoader(heavier, batch_size=4).state_dict()
        )


def test_randomness_tells_parts_apart(parts: dict[str, TensorDataset]) -> None:
    mix = Mix({"a": (parts["old"], 1), "b": (parts["old"], 1)}, samples_per_epoch=200)

    def draw(sample: Any, rng: Any) -> Any:
        return int(rng.integers(2**40))

    found = [int(n) for batch in TensorLoader(mix, batch_size=9, transform=draw) for n in batch]
    assert len(set(found)) == 200
    assert mix.keys_at([0, 150]) == [0, 50]
    assert mix.values_of("x").tolist() == [*range(100), *range(100)]


def test_parts_that_do_not_fit(parts: dict[str, TensorDataset], checkout: tv.Checkout) -> None:
    old, new = parts["old"], parts["new"]
    other = TensorDataset(checkout, ["texts", "labels"])
    wrong: list[Any] = [
        {},
        {"a": (old, 0)},
        {"a": (old, 1), "b": (new, 1e-6)},
        {"a": (old, 1), "b": (other, 1)},
        {"a": (old, 1), "b": (TensorDataset(old.checkout, ["x", "t"], as_dict=True), 1)},
        {"a": (old.subset([]), 1)},
        {"a": (TensorDataset(old.checkout, ["x", "t"], abs), 1)},
    ]
    for given in wrong:
        with pytest.raises(InvalidInputError):
            Mix(given)
    with pytest.raises(InvalidInputError, match="order"):
        TensorLoader(Mix({"a": (old, 1)}), batch_size=4, shuffle=False)
