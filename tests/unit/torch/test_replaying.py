"""Runs worked out again from their records, and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import tensorvcs as tv  # noqa: E402
from tensorvcs.errors import InvalidInputError  # noqa: E402
from tensorvcs.torch import Balanced, Block, TensorDataset, TensorLoader  # noqa: E402
from tensorvcs.torch.replaying import (  # noqa: E402
    CHOSEN,
    diff_runs,
    provenance_of,
    seen_keys,
    verify_run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = [f"k{n:03}" for n in range(100)]


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path, user_name="Ada", user_email="ada@example.org") as opened:
        with opened.edit() as co:
            co.add_ndarray_column("x", (40,), "float32").extend(
                np.ones((100, 40), np.float32), keys=KEYS
            )
            co.add_ndarray_column("y", (), "int64").extend(np.arange(100) % 3, keys=KEYS)
            co.commit("one")
        yield opened


def read(loader: TensorLoader, batches: int | None = None) -> TensorLoader:
    for place, _ in enumerate(loader):
        if place + 1 == batches:
            break
    return loader


@pytest.mark.parametrize("shuffle", [False, True, Block()])
def test_an_order_is_reproduced(repo: tv.Repository, shuffle: Any) -> None:
    loader = read(TensorLoader(repo.checkout(), ["x", "y"], batch_size=7, shuffle=shuffle, seed=5))
    loader.set_epoch(1)
    read(loader, 3)
    run = repo.record_run("a", provenance_of(loader))
    check = verify_run(repo, run)
    assert (check.is_same, check.note, check.samples_seen) == (True, "", 100 + 21)
    assert verify_run(repo, run, loader).is_same
    changed = dict(run.provenance) | {"seed": 6}
    other = verify_run(repo, repo.record_run("b", changed))
    assert other.is_order_same is (shuffle is False)
    assert ("worked out again" in other.note) is (shuffle is not False)


def test_what_was_seen_in_part_of_an_epoch(repo: tv.Repository) -> None:
    loader = read(TensorLoader(repo.checkout(), ["y"], batch_size=10, shuffle=True, seed=5), 4)
    run = repo.record_run("a", provenance_of(loader))
    keys = seen_keys(repo, run)
    assert keys is not None
    assert len(keys) == 40
    again = TensorLoader(repo.checkout(), ["y"], batch_size=10, shuffle=True, seed=5)
    labels = torch.cat([batch[0] for _, batch in zip(range(4), again, strict=False)])
    y = repo.checkout()["y"]
    assert sorted(labels.tolist()) == sorted(int(y[key]) for key in keys)


def test_a_subset_is_told_by_what_was_chosen(repo: tv.Repository) -> None:
    chosen = [KEYS[n] for n in (90, 3, 55, 7)]
    dataset = TensorDataset(repo.checkout(), ["x", "y"], keys=chosen)
    loader = read(TensorLoader(dataset, batch_size=3, shuffle=True))
    run = repo.record_run("a", provenance_of(loader))
    assert seen_keys(repo, run) == sorted(chosen)
    assert verify_run(repo, run).is_same
    bare = repo.record_run("b", loader.provenance())
    assert seen_keys(repo, bare) is None
    check = verify_run(repo, bare)
    assert (check.is_data_same, check.is_order_same, check.is_same) == (False, True, False)
    assert verify_run(repo, bare, loader).is_same
    for broken in ("!", "AAAA"):
        damaged = repo.record_run("c", dict(run.provenance) | {CHOSEN: broken}, overwrite=True)
        with pytest.raises(InvalidInputError, match="chosen samples cannot be read"):
            seen_keys(repo, damaged)


def test_an_order_that_follows_from_more_than_the_record(repo: tv.Repository) -> None:
    def make() -> TensorLoader:
        return TensorLoader(repo.checkout(), ["x", "y"], batch_size=5, sampler=Balanced("y"))

    run = repo.record_run("a", provenance_of(read(make())))
    check = verify_run(repo, run)
    assert check.is_order_same is None
    assert "kind 'balanced'" in check.note
    assert verify_run(repo, run, make()).is_same
    other = TensorLoader(repo.checkout(), ["x"], batch_size=5)
    assert verify_run(repo, run, other).note == "the loader has another order"


def test_two_runs_are_compared(repo: tv.Repository) -> None:
    first = repo.checkout()
    with repo.edit() as co:
        co["y"].update({"k003": 9, "k050": 9, "new": 1})
        co["x"]["new"] = np.zeros(40, np.float32)
        del co["x"]["k007"], co["y"]["k007"]
        co.commit("two")
    half = TensorDataset(first, ["x", "y"], keys=KEYS[:20])
    a = repo.record_run("a", provenance_of(read(TensorLoader(half, batch_size=8))))
    whole = TensorLoader(repo.checkout(), ["x", "y"], batch_size=8, shuffle=True)
    b = repo.record_run("b", provenance_of(read(whole)))
    found = diff_runs(repo, a, b)
    assert found.only_a == ("k007",)
    assert found.only_b is not None
    assert set(found.only_b) == {"new", *KEYS[20:]}
    assert found.both == tuple(key for key in KEYS[:20] if key != "k007")
    assert found.modified == {"y": ("k003",)}
    assert found.diff.stat().columns["y"].modified == 2
    by_hand = repo.record_run("c", {"commit": first.base.id})
    assert diff_runs(repo, by_hand, b).only_a is None
    assert set(diff_runs(repo, by_hand, b).diff.columns) == {"x", "y"}
    with pytest.raises(InvalidInputError, match="has no record of what a loader read"):
        verify_run(repo, by_hand)
    parts = {"p": {"commit": first.base.id}, "q": {"commit": b.commits[0].id}}
    mixed = repo.record_run("d", {"parts": parts})
    with pytest.raises(InvalidInputError, match="read 2 commits"):
        diff_runs(repo, a, mixed)


def test_a_record_of_positions_that_are_not_there(repo: tv.Repository) -> None:
    loader = read(TensorLoader(repo.checkout(), ["y"], batch_size=10))
    record = provenance_of(loader) | {"history": [[0, 0, 500]]}
    run = repo.record_run("a", record)
    with pytest.raises(InvalidInputError, match="outside of an epoch of 100"):
        verify_run(repo, run)
