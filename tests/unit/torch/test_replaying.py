"""Runs worked out again from their records, and compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import tensorvcs as tv  # noqa: E402
from tensorvcs.errors import InvalidInputError  # noqa: E402
from tensorvcs.torch import (  # noqa: E402
    Balanced,
    Block,
    Mix,
    TensorDataset,
    TensorLoader,
    Weighted,
    diff_runs,
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
    run = repo.record_run("a", loader.provenance())
    check = verify_run(repo, run)
    assert (check.is_same, check.note, check.samples_seen) == (True, "", 100 + 21)
    assert verify_run(repo, run, loader).is_same
    changed = dict(run.provenance) | {"seed": 6}
    other = verify_run(repo, repo.record_run("b", changed))
    assert other.is_order_same is (shuffle is False)
    assert ("worked out again" in other.note) is (shuffle is not False)


def test_what_was_seen_in_part_of_an_epoch(repo: tv.Repository) -> None:
    loader = read(TensorLoader(repo.checkout(), ["y"], batch_size=10, shuffle=True, seed=5), 4)
    run = repo.record_run("a", loader.provenance())
    keys = seen_keys(repo, run)
    assert keys is not None
    assert len(keys) == 40
    again = TensorLoader(repo.checkout(), ["y"], batch_size=10, shuffle=True, seed=5)
    labels = torch.cat([batch[0] for _, batch in zip(range(4), again, strict=False)])
    y = repo.checkout()["y"]
    assert sorted(labels.tolist()) == sorted(int(y[key]) for key in keys)


def subset_by_keys(whole: TensorDataset) -> TensorDataset:
    return TensorDataset(whole.checkout, ["x", "y"], keys=[KEYS[n] for n in (90, 3, 55, 7)])


def subset_by_mask(whole: TensorDataset) -> TensorDataset:
    return whole.subset(np.arange(100) % 3 == 0)


def subset_by_places(whole: TensorDataset) -> TensorDataset:
    return whole.subset([5, 2, 2, 99])


def part_of_a_split(whole: TensorDataset) -> TensorDataset:
    return whole.split({"train": 0.8, "test": 0.2}, seed=3)["train"]


def part_of_parts(whole: TensorDataset) -> TensorDataset:
    # Not in order of the names: a record is kept with sorted names.
    inner = whole.split({"z": 1, "a": 3}, identical="y")["a"]
    return inner.split({"b": 0.5, "a": 0.5}, seed=1)["b"]


def subset_of_a_split(whole: TensorDataset) -> TensorDataset:
    return part_of_a_split(whole).subset(range(4))


@pytest.mark.parametrize(
    "choose",
    [
        subset_by_keys,
        subset_by_mask,
        subset_by_places,
        part_of_a_split,
        part_of_parts,
        subset_of_a_split,
    ],
)
def test_a_part_of_the_samples_is_told(repo: tv.Repository, choose: Any) -> None:
    dataset = choose(TensorDataset(repo.checkout(), ["x", "y"]))
    loader = read(TensorLoader(dataset, batch_size=3, shuffle=True))
    run = repo.record_run("a", json.loads(json.dumps(loader.provenance())))
    assert seen_keys(repo, run) == sorted(set(dataset.keys_at(range(len(dataset)))))
    check = verify_run(repo, run)
    assert (check.is_same, check.note) == (True, "")
    assert verify_run(repo, run, loader).is_same
    assert run.provenance["chosen"]["count"] == len(dataset)


def test_samples_that_are_too_many_for_a_record(
    repo: tv.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorDataset.record, "__defaults__", (8,))
    dataset = subset_by_mask(TensorDataset(repo.checkout(), ["x", "y"]))
    loader = read(TensorLoader(dataset, batch_size=3))
    bare = repo.record_run("b", loader.provenance())
    assert bare.provenance["chosen"] == {"count": 34}
    assert seen_keys(repo, bare) is None
    check = verify_run(repo, bare)
    assert (check.is_data_same, check.is_order_same, check.is_same) == (False, True, False)
    assert "not in the record" in check.note
    assert verify_run(repo, bare, loader).is_same


@pytest.mark.parametrize(
    "broken",
    [
        "AAAA",
        {"count": 1, "mask": "!"},
        {"count": 1, "steps": "AAAA"},
        {"count": 1, "splits": [{"seed": 1}]},
        {"count": 1, "splits": [3]},
    ],
)
def test_a_record_of_samples_that_cannot_be_read(repo: tv.Repository, broken: Any) -> None:
    loader = read(TensorLoader(repo.checkout(), ["y"], batch_size=10))
    damaged = repo.record_run("c", loader.provenance() | {"chosen": broken})
    with pytest.raises(InvalidInputError, match="chosen samples cannot be read"):
        seen_keys(repo, damaged)


def test_a_record_that_names_another_part_is_not_believed(repo: tv.Repository) -> None:
    dataset = part_of_a_split(TensorDataset(repo.checkout(), ["y"]))
    record = read(TensorLoader(dataset, batch_size=10)).provenance()
    for part in ("test", "none"):
        record["chosen"]["splits"][0]["part"] = part
        check = verify_run(repo, repo.record_run("a", record, overwrite=True))
        assert not check.is_data_same


def test_a_mix_is_told_by_its_parts(repo: tv.Repository) -> None:
    first = repo.checkout()
    with repo.edit() as co:
        co["y"].update({"k003": 9})
        co.commit("two")
    day = TensorDataset(first, ["y"]).split({"b": 1, "a": 1})["a"]
    night = TensorDataset(repo.checkout(), ["y"], keys=KEYS[:9])
    loader = TensorLoader(Mix({"night": (night, 1), "day": (day, 3)}), batch_size=8, seed=2)
    read(loader)
    run = repo.record_run("a", json.loads(json.dumps(loader.provenance())))
    check = verify_run(repo, run)
    assert (check.is_same, check.note) == (True, "")
    keys = seen_keys(repo, run)
    assert keys is not None
    assert set(keys) <= {*KEYS[:9], *day.keys_at(range(len(day)))}
    assert set(KEYS[:9]) < set(keys)
    again = Mix({"night": (night, 1), "day": (day, 3)})
    assert verify_run(repo, run, TensorLoader(again, batch_size=8, seed=2)).is_same
    whole = repo.record_run("b", read(TensorLoader(first, ["y"], batch_size=8)).provenance())
    found = diff_runs(repo, whole, run)
    assert (found.diff, found.modified) == (None, None)
    assert found.only_a is not None
    assert set(found.only_a) == set(KEYS) - set(keys)
    assert found.only_b == ()
    assert found.both == tuple(keys)


def test_a_run_that_went_on_with_other_samples(repo: tv.Repository) -> None:
    begun = read(TensorLoader(repo.checkout(), ["y"], batch_size=10), 3)
    with repo.edit() as co:
        co["y"].update({"k003": 9})
        co.commit("two")
    loader = TensorLoader(repo.checkout(), ["y"], batch_size=10)
    loader.load_state_dict(begun.state_dict(), on_other_data="ignore")
    read(loader)
    run = repo.record_run("a", loader.provenance())
    check = verify_run(repo, run)
    assert (check.is_same, check.samples_seen) == (True, 70)
    assert "the 30 seen of those" in check.note
    assert len(seen_keys(repo, run) or ()) == 70
    assert len(run.commits) == 2
    before = repo.record_run("b", begun.provenance())
    found = diff_runs(repo, before, run)
    assert found.diff is not None
    assert list(found.diff.columns["y"].modified) == ["k003"]


@pytest.mark.parametrize("sampler", [Balanced("y"), Balanced("y", 30), Weighted("y", 50)])
def test_an_order_that_follows_a_column(repo: tv.Repository, sampler: Any) -> None:
    loader = TensorLoader(repo.checkout(), ["x"], batch_size=5, sampler=sampler)
    run = repo.record_run("a", read(loader).provenance())
    check = verify_run(repo, run)
    assert (check.is_same, check.note) == (True, "")
    assert seen_keys(repo, run)


def test_an_order_that_follows_from_more_than_the_record(repo: tv.Repository) -> None:
    def make() -> TensorLoader:
        classes = Balanced([n % 2 for n in range(100)])
        return TensorLoader(repo.checkout(), ["x", "y"], batch_size=5, sampler=classes)

    run = repo.record_run("a", read(make()).provenance())
    check = verify_run(repo, run)
    assert check.is_order_same is None
    assert "kind 'balanced'" in check.note
    assert seen_keys(repo, run) is None
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
    a = repo.record_run("a", read(TensorLoader(half, batch_size=8)).provenance())
    whole = TensorLoader(repo.checkout(), ["x", "y"], batch_size=8, shuffle=True)
    b = repo.record_run("b", read(whole).provenance())
    found = diff_runs(repo, a, b)
    assert found.only_a == ("k007",)
    assert found.only_b is not None
    assert set(found.only_b) == {"new", *KEYS[20:]}
    assert found.both == tuple(key for key in KEYS[:20] if key != "k007")
    assert found.modified == {"y": ("k003",)}
    assert found.diff is not None
    assert found.diff.stat().columns["y"].modified == 2
    by_hand = repo.record_run("c", {"commit": first.base.id})
    assert diff_runs(repo, by_hand, b).only_a is None
    assert set(getattr(diff_runs(repo, by_hand, b).diff, "columns", ())) == {"x", "y"}
    with pytest.raises(InvalidInputError, match="has no record of what a loader read"):
        verify_run(repo, by_hand)
    parts = {"p": {"commit": first.base.id}, "q": {"commit": b.commits[0].id}}
    mixed = repo.record_run("d", {"parts": parts})
    assert diff_runs(repo, a, mixed).diff is None


def test_a_record_of_positions_that_are_not_there(repo: tv.Repository) -> None:
    loader = read(TensorLoader(repo.checkout(), ["y"], batch_size=10))
    record = loader.provenance() | {"history": [[0, 0, 500]]}
    run = repo.record_run("a", record)
    with pytest.raises(InvalidInputError, match="outside of an epoch of 100"):
        verify_run(repo, run)


def test_nested_samples_that_changed(repo: tv.Repository) -> None:
    with repo.edit() as co:
        scans = co.add_ndarray_column("s", (), "int64", nested=True)
        scans.update({key: {"a": 1, "b": 2} for key in KEYS[:5]})
        co.commit("nested")
    before = read(TensorLoader(repo.checkout(), ["s"], batch_size=2)).provenance()
    with repo.edit() as co:
        co["s"]["k000"]["a"] = 5
        del co["s"]["k002"]["b"]
        co["s"]["k003"]["c"] = 7
        co.commit("changed")
    after = read(TensorLoader(repo.checkout(), ["s"], batch_size=2)).provenance()
    found = diff_runs(repo, repo.record_run("a", before), repo.record_run("b", after))
    assert found.modified is not None
    assert sorted(found.modified["s"]) == ["k000", "k002", "k003"]
