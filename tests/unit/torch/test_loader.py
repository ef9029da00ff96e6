"""TensorLoader: what batches hold, in which order, and how a run goes on."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import pickle
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tensorvcs as tv  # noqa: E402
from tensorvcs.errors import (  # noqa: E402
    InvalidInputError,
    OtherDataError,
    SlabChecksumError,
    StateError,
    TimedOutError,
)
from tensorvcs.torch import (  # noqa: E402
    AsList,
    Balanced,
    Block,
    Pad,
    Ragged,
    TensorDataset,
    TensorLoader,
    Weighted,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 203
BOTH = ["images", "labels"]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def labels_of(loader: Any) -> list[int]:
    """Return the labels of an iteration, which are the places in order."""
    return [int(n) for batch in loader for n in (batch[1] if type(batch) is tuple else batch)]


def threads_alive() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("tensorvcs-loader")]


# What batches hold


@pytest.mark.parametrize("threads", [0, 2])
def test_batches_are_the_stored_samples(checkout: tv.Checkout, pictures: Any, threads: int) -> None:
    loader = TensorLoader(checkout, BOTH, batch_size=16, seed=3, threads=threads)
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for images, labels in loader:
            assert images.dtype == torch.uint8
            assert labels.dtype == torch.int64
            assert np.array_equal(images.numpy(), pictures[labels.numpy()])
            images.zero_()  # the batch is the loop's own
            seen += labels.tolist()
    assert sorted(seen) == list(range(COUNT))
    assert seen != sorted(seen)
    assert np.array_equal(checkout["images"][:3], pictures[:3])


def test_layouts(checkout: tv.Checkout) -> None:
    options: Any = {"batch_size": 100, "shuffle": False}
    batch = next(iter(TensorLoader(checkout, BOTH, as_dict=True, **options)))
    assert list(batch) == BOTH
    assert batch["labels"].tolist() == list(range(100))
    assert next(iter(TensorLoader(checkout, "labels", **options))).tolist() == list(range(100))
    (labels,) = next(iter(TensorLoader(checkout, ["labels"], **options)))
    assert labels.shape == (100,)
    crops, texts, scans, halves = next(
        iter(TensorLoader(checkout, ["crops", "texts", "scans", "halves"], **options))
    )
    assert [crop.shape[0] for crop in crops[:9]] == [0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert texts[:2] == ["K000", "K001"]
    assert scans[3]["a"].tolist() == [3, 1]
    assert (halves.dtype, halves.shape) == (torch.bfloat16, (100, 3))
    dataset = TensorDataset(checkout, BOTH, as_dict=True, keys=["k007", "k001"])
    (batch,) = TensorLoader(dataset, **options)
    assert batch["labels"].tolist() == [7, 1]
    assert labels_of(TensorLoader(checkout, BOTH, keys=["k009", "k002"], **options)) == [9, 2]


def test_a_batch_that_is_kept_is_never_filled_again(checkout: tv.Checkout, pictures: Any) -> None:
    loader = TensorLoader(checkout, BOTH, batch_size=64)
    kept = list(loader) + [(images[5:7], labels[5:7]) for images, labels in loader]
    gc.collect()
    assert sum(len(images) for images, _ in loader) == COUNT
    for images, labels in kept:
        assert np.array_equal(images.numpy(), pictures[labels.numpy()])


def test_memory_is_filled_again_between_epochs(checkout: tv.Checkout) -> None:
    loader = TensorLoader(checkout, "images", batch_size=203, threads=0)
    addresses = {batch.data_ptr() for _ in range(6) for batch in loader}
    assert len(addresses) <= 2  # the loop still has a batch when the next is made
    one, two, three = (next(iter(loader)) for _ in range(3))
    assert len({one.data_ptr(), two.data_ptr(), three.data_ptr()}) == 3


# Order


def test_the_order_is_the_same_for_any_threads_and_prefetch(checkout: tv.Checkout) -> None:
    orders = [
        labels_of(
            TensorLoader(checkout, "labels", batch_size=8, seed=1, threads=threads, prefetch=ahead)
        )
        for threads, ahead in [(0, 0), (1, 0), (1, 2), (4, 7)]
    ]
    assert all(order == orders[0] for order in orders)


def test_each_iteration_is_another_epoch(checkout: tv.Checkout) -> None:
    loader = TensorLoader(checkout, "labels", batch_size=50, seed=5)
    first, second = labels_of(loader), labels_of(loader)
    assert loader.epoch == 2
    assert first != second
    loader.set_epoch(0)
    assert labels_of(loader) == first
    for _ in loader:
        break
    assert loader.epoch == 2
    other = TensorLoader(checkout, "labels", batch_size=50, seed=6)
    assert labels_of(other) != first
    with pytest.raises(InvalidInputError):
        loader.set_epoch(-1)


@pytest.mark.parametrize("last", ["short", "drop", "wrap", "pad"])
@pytest.mark.parametrize(("size", "world"), [(16, 1), (203, 1), (500, 1), (16, 3), (1, 7)])
def test_the_length_is_the_number_of_batches(
    checkout: tv.Checkout, last: Any, size: int, world: int
) -> None:
    for rank in range(world):
        loader = TensorLoader(
            checkout, ["labels"], batch_size=size, rank=rank, world_size=world, last=last, threads=1
        )
        assert len(list(loader)) == len(loader)


def test_padding_is_marked(checkout: tv.Checkout) -> None:
    loader = TensorLoader(checkout, ["labels"], batch_size=64, last="pad", as_dict=True)
    batches = list(loader)
    assert [len(batch["labels"]) for batch in batches] == [64] * 4
    assert [int(batch["_valid"].sum()) for batch in batches] == [64, 64, 64, 11]
    real = torch.cat([batch["labels"][batch["_valid"]] for batch in batches])
    assert sorted(real.tolist()) == list(range(COUNT))
    with pytest.raises(InvalidInputError, match="_valid"):
        TensorLoader(checkout, "labels", batch_size=64, last="pad")


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_ranks_share_every_step(checkout: tv.Checkout, world: int) -> None:
    """Ranks together have each sample once, in the order that one rank alone has."""
    size = 42 // world
    parts = [
        list(TensorLoader(checkout, "labels", batch_size=size, rank=rank, world_size=world))
        for rank in range(world)
    ]
    assert len({len(part) for part in parts}) == 1
    together = [int(n) for step in zip(*parts, strict=True) for part in step for n in part]
    assert together == labels_of(TensorLoader(checkout, "labels", batch_size=size * world))


def test_ranks_in_groups_read_the_same(checkout: tv.Checkout) -> None:
    """As ranks do that hold the parts of one model: two groups of three."""
    parts = [
        [
            batch.tolist()
            for batch in TensorLoader(
                checkout, "labels", batch_size=20, rank=rank, world_size=6, replicate=3
            )
        ]
        for rank in range(6)
    ]
    for rank in range(6):
        alone = TensorLoader(checkout, "labels", batch_size=20, rank=rank // 3, world_size=2)
        assert parts[rank] == [batch.tolist() for batch in alone]
    assert parts[0] != parts[3]
    for wrong in (4, 0, 12):
        with pytest.raises(InvalidInputError, match=r"replicate|groups of"):
            TensorLoader(checkout, "labels", batch_size=20, rank=0, world_size=6, replicate=wrong)


def test_blocks_weights_and_classes(checkout: tv.Checkout) -> None:
    loader = TensorLoader(checkout, "labels", batch_size=8, shuffle=Block(rows=10, window=2))
    order = labels_of(loader)
    assert sorted(order) == list(range(COUNT))
    assert len({n // 10 for n in order[:16]}) <= 3
    by_size = TensorLoader(checkout, "images", batch_size=8, shuffle=Block(nbytes=2160, window=1))
    assert by_size.state_dict()["order"]["block_count"] == 10
    classes = ["rare"] * 3 + ["common"] * 200
    balanced = TensorLoader(checkout, "labels", batch_size=100, sampler=Balanced(classes))
    for batch in balanced:
        rare = int((batch < 3).sum())
        assert abs(2 * rare - len(batch)) <= 1
    weighted = Weighted(np.arange(COUNT) == 9, count=50)
    assert labels_of(TensorLoader(checkout, "labels", batch_size=20, sampler=weighted)) == [9] * 50
    by_column = TensorLoader(checkout, "labels", batch_size=50, sampler=Weighted("labels", 5000))
    drawn = labels_of(by_column)
    assert 0 not in drawn
    assert abs(np.mean(drawn) - 135) < 6
    with pytest.raises(InvalidInputError, match="exclude"):
        TensorLoader(
            checkout, "labels", batch_size=2, shuffle=Block(), sampler=Weighted([1.0] * COUNT)
        )


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 8, "threads": -1},
        {"batch_size": 8, "rank": 0},
        {"batch_size": 8, "drop_last": True, "last": "pad"},
        {"batch_size": 8, "transform": {"masks": abs}},
        {"batch_size": 8, "sampler": Weighted([1.0])},
        {"batch_size": 8, "sampler": Weighted([-1.0] * COUNT)},
        {"batch_size": 8, "sampler": Balanced([1])},
        {"batch_size": 8, "sampler": Balanced("images")},
        {"batch_size": 8, "sampler": "labels"},
        {"batch_size": "8"},
        {"batch_size": True},
        {"batch_size": 8.5},
        {"batch_size": 8, "seed": None},
        {"batch_size": 8, "threads": 1.5},
        {"batch_size": 8, "prefetch": None},
        {"batch_size": 8, "workers": "2"},
        {"batch_size": 8, "context": "thread"},
        {"batch_size": 8, "timeout": 0},
        {"batch_size": 8, "rank": "0", "world_size": "2"},
        {"batch_size": 8, "device": "no such"},
        {"batch_size": 8, "transform": 3},
        {"batch_size": 8, "collate": {"images": "Pad"}},
    ],
)
def test_arguments_that_do_not_fit(checkout: tv.Checkout, options: Any) -> None:
    with pytest.raises(InvalidInputError):
        TensorLoader(checkout, BOTH, **options)


def test_a_repository_is_no_checkout(repo: tv.Repository, checkout: tv.Checkout) -> None:
    source: Any
    for source in (repo, "pets", None, checkout["images"]):
        with pytest.raises(InvalidInputError, match="come from a checkout") as found:
            TensorLoader(source, batch_size=8)
        assert "checkout(" in (found.value.hint or "")


def test_numbers_of_numpy_are_plain_in_a_state(checkout: tv.Checkout) -> None:
    count: Any = np.int64(8)
    loader = TensorLoader(checkout, BOTH, batch_size=count, seed=count, rank=0, world_size=1)
    loader.set_epoch(count)
    state = json.loads(json.dumps(loader.state_dict()))
    assert (state["seed"], state["epoch"]) == (8, 8)
    for wrong in ("1", 1.5, -1):
        epoch: Any = wrong
        with pytest.raises(InvalidInputError, match="epoch"):
            loader.set_epoch(epoch)


def test_what_is_edited_has_no_commit(tmp_path: Path) -> None:
    with tv.init(tmp_path, user_name="A", user_email="a") as repo, repo.edit() as edit:
        edit.add_ndarray_column("x", (), "int64").extend([1, 2])
        with pytest.raises(InvalidInputError, match="commit") as found:
            TensorLoader(edit, "x", batch_size=2)  # type: ignore[arg-type]
        assert "repo.checkout()" in (found.value.hint or "")
        with pytest.raises(InvalidInputError, match="commit"):
            TensorLoader(TensorDataset(edit), batch_size=2)


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("threads", [0, 2])
def test_few_samples(tmp_path: Path, count: int, threads: int) -> None:
    with tv.init(tmp_path, user_name="A", user_email="a") as repo:
        with repo.edit() as edit:
            column = edit.add_ndarray_column("x", (64,), "float64")
            column.extend(np.arange(64.0 * count).reshape(count, 64))
            edit.commit("few")
        loader = TensorLoader(repo.checkout(), "x", batch_size=5, threads=threads)
        assert [len(batch) for batch in loader] == [count] * (count > 0)
        assert loader.state_dict()["epoch"] == 1
        assert len(loader) == (count > 0)
        assert list(TensorLoader(repo.checkout(), "x", batch_size=5, drop_last=True)) == []


# Going on


def test_a_run_resumes_at_every_batch(checkout: tv.Checkout) -> None:
    whole = labels_of(TensorLoader(checkout, "labels", batch_size=16, seed=2))
    for stop in range(14):
        first = TensorLoader(checkout, "labels", batch_size=16, seed=2, threads=stop % 3)
        seen: list[int] = []
        for batch in first:
            if len(seen) >= 16 * stop:
                break
            state = first.state_dict()
            seen += batch.tolist()
        else:
            assert first.state_dict()["epoch"] == 1
        state = first.state_dict() if stop == 13 else _state_after(checkout, stop)
        second = TensorLoader(checkout, "labels", batch_size=16, seed=2, threads=(stop + 1) % 3)
        second.load_state_dict(json.loads(json.dumps(state)))
        rest = labels_of(second)
        if stop == 13:
            assert seen == whole
            assert rest == labels_of(_at_epoch(checkout, 1))
        else:
            assert seen[: 16 * stop] + rest == whole
            assert labels_of(second) == labels_of(_at_epoch(checkout, 1))


def _state_after(checkout: tv.Checkout, stop: int) -> dict[str, Any]:
    loader = TensorLoader(checkout, "labels", batch_size=16, seed=2)
    batches = iter(loader)
    for _ in range(stop):
        next(batches)
    return loader.state_dict()


def _at_epoch(checkout: tv.Checkout, epoch: int) -> TensorLoader:
    loader = TensorLoader(checkout, "labels", batch_size=16, seed=2)
    loader.set_epoch(epoch)
    return loader


def test_a_run_goes_on_with_other_ranks_and_batch_sizes(checkout: tv.Checkout) -> None:
    whole = labels_of(TensorLoader(checkout, "labels", batch_size=64, seed=4))
    seen: list[int] = []
    state: dict[str, Any] | None = None
    for world, size, steps in [(2, 32, 1), (4, 16, 1), (1, 10, 2), (3, 5, 99)]:
        loaders = [
            TensorLoader(checkout, "labels", batch_size=size, seed=4, rank=r, world_size=world)
            for r in range(world)
        ]
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(state)
        for number, step in enumerate(zip(*loaders, strict=True), 1):
            seen += [int(n) for part in step for n in part]
            states = [loader.state_dict() for loader in loaders]
            assert all(found == states[0] for found in states)
            state = states[0]
            if number == steps:
                break
    assert seen == whole


def test_the_epoch_that_was_loaded_may_be_named_again(checkout: tv.Checkout) -> None:
    """Training loops set the epoch at the head of each."""
    state = _state_after(checkout, 3)
    loader = TensorLoader(checkout, "labels", batch_size=16, seed=2)
    loader.load_state_dict(state)
    loader.set_epoch(0)
    assert len(labels_of(loader)) == COUNT - 48
    loader.load_state_dict(state)
    loader.set_epoch(1)
    assert labels_of(loader) == labels_of(_at_epoch(checkout, 1))


def commit_labels(repo: tv.Repository, change: Callable[[Any], None], message: str) -> str:
    with repo.edit() as edit:
        change(edit)
        commit: Any = edit.commit(message)
    found: str = commit.id
    return found


def test_a_state_refuses_other_samples(tmp_path: Path) -> None:
    with tv.init(tmp_path / "one", user_name="A", user_email="a") as repo:

        def begin(edit: Any) -> None:
            edit.add_ndarray_column("x", (), "int64").extend(np.arange(40))

        commit_labels(repo, begin, "begin")
        loader = TensorLoader(repo.checkout(), "x", batch_size=8)
        next(iter(loader))
        state = loader.state_dict()
        commit_labels(repo, lambda edit: edit.add_str_column("notes"), "another column")
        same = TensorLoader(repo.checkout(), "x", batch_size=8)
        same.load_state_dict(state)
        assert len(labels_of(same)) == 32
        commit_labels(repo, lambda edit: edit["x"].update({3: 99, 4: 98}), "two changed")
        changed = TensorLoader(repo.checkout(), "x", batch_size=8)
        with pytest.raises(OtherDataError, match=r"'x': 2 modified") as found:
            changed.load_state_dict(state)
        assert state["data"]["commit"][:12] in str(found.value)
        assert "commit" in (found.value.hint or "")
        assert changed.state_dict()["seen"] == 0
        commit_labels(repo, lambda edit: edit["x"].extend(np.arange(7)), "more")
        with pytest.raises(OtherDataError, match=r"7 added, 2 modified"):
            TensorLoader(repo.checkout(), "x", batch_size=8).load_state_dict(state)
        few = TensorLoader(repo.checkout("HEAD~2"), "x", batch_size=8, keys=[1, 2])
        with pytest.raises(OtherDataError, match="samples"):
            few.load_state_dict(state)
        tv.clone(tmp_path / "one", tmp_path / "two").close()
    with tv.open(tmp_path / "two") as moved:
        first = moved.checkout("HEAD~3")
        elsewhere = TensorLoader(first, "x", batch_size=8)
        elsewhere.load_state_dict(state)
        assert len(labels_of(elsewhere)) == 32
        state["data"]["commit"] = "ab" * 32
        with pytest.raises(OtherDataError, match="not here"):
            TensorLoader(moved.checkout(), "x", batch_size=8).load_state_dict(state)


@pytest.fixture
def growing(tmp_path: Path) -> Any:
    """Return checkouts of 20 samples, of two more, and of 8 of them, and a state at sample 16."""
    with tv.init(tmp_path, user_name="A", user_email="a") as repo:
        with repo.edit() as edit:
            edit.add_ndarray_column("x", (), "int64").extend(np.arange(20))
            edit.commit("one")
        commit_labels(repo, lambda edit: edit["x"].update({20: 20, 21: 21, 3: 99}), "two")

        def shrink(edit: Any) -> None:
            for key in range(8, 22):
                del edit["x"][key]

        commit_labels(repo, shrink, "three")
        loader = TensorLoader(repo.checkout("HEAD~2"), "x", batch_size=4, seed=1)
        for batch, _ in enumerate(loader, 1):
            if batch == 4:
                break
        yield [repo.checkout(f"HEAD~{age}") for age in (2, 1, 0)], loader.state_dict()


def test_a_run_goes_on_with_other_samples_where_it_is_told(growing: Any) -> None:
    (first, second, third), state = growing
    warned = TensorLoader(second, "x", batch_size=4, seed=1)
    with pytest.warns(UserWarning, match=r"'x': 2 added, 1 modified; the run goes on .* 16 of"):
        warned.load_state_dict(state, on_other_data="warn")
    ignored = TensorLoader(second, "x", batch_size=4, seed=1)
    ignored.load_state_dict(json.loads(json.dumps(state)), on_other_data="ignore")
    assert ignored.state_dict() == warned.state_dict()
    rest = labels_of(ignored)
    assert len(rest) == 22 - 16
    facts = ignored.provenance()
    assert (facts["samples_seen"], facts["history"]) == (6, [[0, 16, 22]])
    (before,) = facts["earlier"]
    assert (before["commit"], before["samples_seen"]) == (first.base.id, 16)
    assert before["history"] == [[0, 0, 16]]
    # The next state has it too, and a state of the same samples asks nothing.
    again = TensorLoader(second, "x", batch_size=4, seed=1)
    again.load_state_dict(ignored.state_dict())
    assert again.provenance() == facts
    # Of 8 samples there is no sample 16 of an epoch: the next one begins.
    few = TensorLoader(third, "x", batch_size=4, seed=1)
    few.load_state_dict(ignored.state_dict(), on_other_data="ignore")
    assert [part["samples_seen"] for part in few.provenance()["earlier"]] == [16, 6]
    few.load_state_dict(state, on_other_data="ignore")
    assert (few.epoch, few.state_dict()["seen"]) == (1, 0)


def test_what_is_never_overlooked(growing: Any) -> None:
    (_, second, _), state = growing
    for options in ({"seed": 2}, {"seed": 1, "shuffle": False}, {"seed": 1, "shuffle": Block()}):
        other = TensorLoader(second, "x", batch_size=4, **options)
        with pytest.raises(OtherDataError, match="another order"):
            other.load_state_dict(state, on_other_data="ignore")
        assert "earlier" not in other.state_dict()
    loader = TensorLoader(second, "x", batch_size=4, seed=1)
    wrong: Any = "warning"
    with pytest.raises(InvalidInputError, match="on_other_data is one of error, warn, ignore"):
        loader.load_state_dict(state, on_other_data=wrong)
    with pytest.raises(OtherDataError, match="2 added, 1 modified") as found:
        loader.load_state_dict(state)
    assert "on_other_data" in (found.value.hint or "")


def test_a_state_refuses_another_order_and_what_is_no_state(checkout: tv.Checkout) -> None:
    state = _state_after(checkout, 2)
    for options in ({"seed": 3}, {"seed": 2, "shuffle": False}):
        with pytest.raises(OtherDataError, match="order"):
            TensorLoader(checkout, "labels", batch_size=8, **options).load_state_dict(state)  # type: ignore[arg-type]
    loader = TensorLoader(checkout, "labels", batch_size=8, seed=2)
    for wrong in ({}, {**state, "version": 9}, {"version": 1}, {**state, "seen": COUNT + 1}):
        with pytest.raises(InvalidInputError):
            loader.load_state_dict(wrong)
    other = TensorLoader(checkout, BOTH, batch_size=8, seed=2)
    with pytest.raises(OtherDataError, match="columns"):
        other.load_state_dict(state)
    with pytest.raises(OtherDataError, match="does not tell which"):
        other.load_state_dict({**state, "data": {}})


def test_provenance_tells_what_was_seen(repo: tv.Repository, checkout: tv.Checkout) -> None:
    def doubled(batch: Any) -> Any:
        return batch * 2

    def loader(**options: Any) -> TensorLoader:
        return TensorLoader(
            checkout, "labels", batch_size=16, seed=2, batch_transform=doubled, **options
        )

    whole = loader()
    for _ in range(2):
        list(whole)
    facts = whole.provenance()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["commit"] == repo.resolve("HEAD").id
    assert facts["columns"] == ["labels"]
    assert facts["transforms"]["batch_transform"].endswith("doubled")
    assert (facts["epoch"], facts["seen"], facts["samples_seen"]) == (2, 0, 2 * COUNT)
    cut = loader(threads=0)
    for number, _ in enumerate(cut):
        if number == 4:
            break
    assert cut.provenance()["samples_seen"] == 80
    assert cut.provenance()["order_digest"] != facts["order_digest"]
    resumed = loader(threads=3)
    resumed.load_state_dict(cut.state_dict())
    for _ in range(2):
        list(resumed)
    assert resumed.provenance() == facts
    dropped = TensorLoader(checkout, "labels", batch_size=16, drop_last=True)
    list(dropped)
    assert dropped.provenance()["samples_seen"] == 192


# Transforms


class Doubling(torch.nn.Module):  # type: ignore[misc,name-defined]
    def forward(self, x: Any) -> Any:
        return x.float() * 2


def test_transforms_of_samples_values_batches_and_columns(
    checkout: tv.Checkout, pictures: Any
) -> None:
    options: Any = {"batch_size": 50, "shuffle": False}
    by_sample = TensorLoader(
        checkout, BOTH, transform=lambda sample: (sample[0].float().mean(), sample[1]), **options
    )
    means, labels = next(iter(by_sample))
    assert means.shape == (50,)
    assert labels.tolist() == list(range(50))
    flipped = TensorLoader(checkout, BOTH, transform={"images": np.fliplr}, **options)
    images, _ = next(iter(flipped))
    assert np.array_equal(images.numpy(), pictures[:50, :, ::-1])
    module = TensorLoader(checkout, BOTH, batch_transform={"images": Doubling()}, **options)
    images, _ = next(iter(module))
    assert images.dtype == torch.float32
    assert np.array_equal(images.numpy(), pictures[:50].astype("f4") * 2)
    whole = TensorLoader(checkout, "images", batch_transform=Doubling(), **options)
    assert torch.equal(next(iter(whole)), images)
    numbered = TensorLoader(checkout, BOTH, transform={"labels": lambda n: int(n) + 1}, **options)
    assert next(iter(numbered))[1].tolist() == list(range(1, 51))
    given = TensorDataset(checkout, "labels", transform=lambda label: label * 3)
    assert next(iter(TensorLoader(given, **options))).tolist() == [3 * n for n in range(50)]
    with pytest.raises(InvalidInputError, match="transform"):
        TensorLoader(given, transform=abs, **options)
    listed = TensorLoader(checkout, BOTH, collate=len, **options)
    assert list(listed) == [50, 50, 50, 50, 3]


def test_shapes_that_vary(checkout: tv.Checkout) -> None:
    options: Any = {"batch_size": 8, "shuffle": False}
    padded = next(iter(TensorLoader(checkout, ["crops"], collate={"crops": Pad()}, **options)))[0]
    assert padded.values.shape == (8, 7, 9)
    assert padded.mask.sum(dim=(1, 2)).tolist() == [9 * n for n in range(8)]
    ragged = next(iter(TensorLoader(checkout, "crops", collate={"crops": Ragged()}, **options)))
    assert ragged.offsets.tolist() == [0, 0, 1, 3, 6, 10, 15, 21, 28]
    assert ragged.values.shape == (28, 9)
    assert ragged.nested().shape[0] == 8
    kept = next(iter(TensorLoader(checkout, "images", collate={"images": AsList()}, **options)))
    assert [image.shape for image in kept] == [(8, 9, 3)] * 8


def jittered(label: Any, rng: np.random.Generator) -> Any:
    return torch.tensor([int(label), int(rng.integers(2**31))])


def test_randomness_depends_on_seed_epoch_and_key_alone(checkout: tv.Checkout) -> None:
    def drawn(epoch: int, **options: Any) -> dict[int, int]:
        loader = TensorLoader(
            checkout, "labels", transform=jittered, **{"batch_size": 32} | options
        )
        loader.set_epoch(epoch)
        return {int(n): int(r) for batch in loader for n, r in batch}

    first = drawn(0)
    assert len(set(first.values())) == COUNT
    for options in ({"threads": 0}, {"threads": 4, "batch_size": 7}, {"shuffle": False}):
        assert drawn(0, **options) == first
    assert drawn(0, rank=1, world_size=3).items() <= first.items()
    assert not set(drawn(1).values()) & set(first.values())
    assert not set(drawn(0, seed=1).values()) & set(first.values())
    subset = drawn(0, keys=["k020", "k003"])
    assert subset == {20: first[20], 3: first[3]}

    def batched(labels: Any, rngs: Any) -> Any:
        assert len(rngs) == len(labels)
        draws = [int(rng.integers(2**31)) for rng in rngs]
        return torch.stack([labels, torch.tensor(draws)], 1)

    loader = TensorLoader(checkout, "labels", batch_size=9, batch_transform=batched)
    assert {int(n): int(r) for batch in loader for n, r in batch} == first
    twice = TensorLoader(
        checkout,
        "labels",
        batch_size=9,
        transform=jittered,
        sampler=Weighted(np.arange(COUNT) == 5),
    )
    assert len({int(r) for batch in twice for _, r in batch}) == COUNT


# Threads and processes


def test_an_iteration_that_is_dropped_leaves_no_thread(checkout: tv.Checkout) -> None:
    loader = TensorLoader(checkout, BOTH, batch_size=4, threads=3)
    for _ in loader:
        assert threads_alive()
        break
    gc.collect()
    assert threads_alive() == []
    batches = iter(loader)
    next(batches)
    del batches
    gc.collect()
    assert threads_alive() == []
    assert len(labels_of(loader)) == COUNT
    assert threads_alive() == []


def test_an_error_comes_at_its_batch_with_column_and_key(checkout: tv.Checkout) -> None:
    def failing(label: Any) -> Any:
        if int(label) == 37:
            raise ZeroDivisionError("37")
        return label

    for threads in (0, 2):
        loader = TensorLoader(
            checkout, BOTH, batch_size=10, shuffle=False, threads=threads,
            transform={"labels": failing},
        )  # fmt: skip
        seen = 0
        with pytest.raises(ZeroDivisionError) as found:
            for images, _ in loader:
                seen += len(images)
        assert seen == 30
        assert found.value.__notes__ == ["in column 'labels', sample 'k037'"]
        assert threads_alive() == []
        assert loader.state_dict()["seen"] == 30


def test_a_damaged_sample_is_named(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).integers(0, 256, (600, 64, 64), np.uint8)
    with tv.init(tmp_path, user_name="A", user_email="a") as repo:
        with repo.edit() as edit:
            edit.add_ndarray_column("x", (64, 64), "uint8", codec="raw").extend(rows)
            edit.commit("rows")
        (pack,) = (tmp_path / ".tensorvcs" / "packs").glob("*.h5")
        content = bytearray(pack.read_bytes())
        content[content.index(rows[500].tobytes())] ^= 1
        pack.chmod(0o644)
        pack.write_bytes(content)
    with tv.open(tmp_path) as repo:
        loader = TensorLoader(repo.checkout(), "x", batch_size=50, shuffle=False, threads=2)
        with pytest.raises(SlabChecksumError) as found:
            list(loader)
    assert any("column 'x', sample" in note for note in found.value.__notes__)


def test_a_batch_that_does_not_come_in_time(checkout: tv.Checkout) -> None:
    gate = threading.Event()

    def waiting(label: Any) -> Any:
        if int(label) == 20:
            gate.wait(60)
        return label

    loader = TensorLoader(
        checkout, "labels", batch_size=10, shuffle=False, transform=waiting, threads=1, timeout=0.3
    )
    try:
        with pytest.raises(TimedOutError, match=r"0\.3 seconds"):
            list(loader)
    finally:
        gate.set()

    def raising(label: Any) -> Any:
        raise TimeoutError("of the transform itself")

    own = TensorLoader(checkout, "labels", batch_size=10, transform=raising, timeout=5)
    with pytest.raises(TimeoutError, match="itself"):
        list(own)


def in_child(loader: Any, batches: Any, results: Any) -> None:
    try:
        if batches is not None:
            next(batches)
        results.put(labels_of(loader))
    except StateError as error:
        results.put(str(error))


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_loader_reads_in_another_process(checkout: tv.Checkout, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    loader = TensorLoader(checkout, "labels", batch_size=16, seed=2, threads=2)
    expected = labels_of(loader)
    loader.set_epoch(0)
    results = context.Queue()
    process = context.Process(target=in_child, args=(loader, None, results))
    process.start()
    assert results.get(timeout=60) == expected
    process.join(60)
    assert process.exitcode == 0


def test_an_iteration_belongs_to_its_process(
    checkout: tv.Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorvcs.torch.making._READ_STEPS", 16)
    context: Any = multiprocessing.get_context("fork")
    loader = TensorLoader(checkout, "labels", batch_size=4, threads=2)
    batches = iter(loader)
    next(batches)
    for _ in range(15):
        next(batches)
    results = context.Queue()
    process = context.Process(target=in_child, args=(loader, batches, results))
    process.start()
    assert "belongs to process" in results.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0
    assert len(list(batches)) == 51 - 16


def test_a_pickled_loader_goes_on(checkout: tv.Checkout) -> None:
    loader = TensorLoader(checkout, "labels", batch_size=16, seed=2)
    batches = iter(loader)
    next(batches)
    found = pickle.loads(pickle.dumps(loader))
    assert found.state_dict() == loader.state_dict()
    found.set_epoch(0)
    assert labels_of(found) == labels_of(_at_epoch(checkout, 0))


def slow_python(sample: Any) -> Any:
    image, label = sample
    return image.float().mean(), label, os.getpid()


def fails_at_37(sample: Any) -> Any:
    if int(sample[1]) == 37:
        raise InvalidInputError("no 37")
    return sample


@pytest.mark.parametrize("context", ["fork", "forkserver", "spawn"])
def test_worker_processes_make_the_same_batches(checkout: tv.Checkout, context: Any) -> None:
    options: Any = {"batch_size": 20, "seed": 2, "transform": slow_python}
    here = list(TensorLoader(checkout, BOTH, **options))
    loader = TensorLoader(checkout, BOTH, workers=2, context=context, timeout=60, **options)
    there = list(loader)
    for mine, theirs in zip(here, there, strict=True):
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(mine[1], theirs[1])
    pids = {int(pid) for *_, batch in there for pid in batch}
    assert len(pids) == 2
    assert os.getpid() not in pids
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    del batches  # dropped in the middle: the next iteration begins anew
    other = TensorLoader(checkout, BOTH, **options)
    other.set_epoch(2)
    second = list(loader)
    assert [b[1].tolist() for b in second] == [b[1].tolist() for b in other]
    assert {int(pid) for *_, batch in second for pid in batch} == pids
    resumed = TensorLoader(checkout, BOTH, **options)
    resumed.load_state_dict(state)
    assert sum(len(batch[1]) for batch in resumed) == COUNT - 20
    loader.close()
    assert not any(p.pid in pids for p in multiprocessing.active_children())


def test_an_error_in_a_worker_process_is_raised_here(checkout: tv.Checkout) -> None:
    loader = TensorLoader(
        checkout, BOTH, batch_size=20, transform=fails_at_37, workers=1, context="fork"
    )
    with pytest.raises(InvalidInputError, match="no 37") as found:
        list(loader)
    where, trace = found.value.__notes__
    assert where == "in sample 'k037'"
    assert trace.startswith("raised in worker process ")
    assert "in fails_at_37" in trace
    loader.close()


def stops_at_37(sample: Any) -> Any:
    if int(sample[1]) == 37:
        return next(iter(()))
    return sample


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 2}, {"workers": 1}])
def test_a_transform_that_stops_does_not_end_the_epoch(checkout: tv.Checkout, options: Any) -> None:
    loader = TensorLoader(
        checkout, BOTH, batch_size=20, transform=stops_at_37, context="fork", **options
    )
    with pytest.raises(RuntimeError, match="StopIteration") as found:
        list(loader)
    notes = getattr(found.value, "__notes__", [])
    assert "sample 'k037'" in "".join([str(found.value), *notes])
    assert loader.state_dict()["epoch"] == 0
    loader.close()


@pytest.mark.parametrize("kind", ["batch_transform", "collate"])
def test_an_error_of_a_whole_batch_names_a_sample(checkout: tv.Checkout, kind: str) -> None:
    options: Any = {kind: lambda _: 1 // 0}
    loader = TensorLoader(checkout, BOTH, batch_size=20, shuffle=False, **options)
    with pytest.raises(ZeroDivisionError) as found:
        list(loader)
    assert found.value.__notes__ == ["in the batch of sample 'k000'"]


def test_iterations_of_one_loader_do_not_mix(checkout: tv.Checkout) -> None:
    def epoch(number: int) -> list[int]:
        other = TensorLoader(checkout, "labels", batch_size=3)
        other.set_epoch(number)
        return labels_of(other)

    loader = TensorLoader(checkout, "labels", batch_size=3, threads=2)
    first, second = iter(loader), iter(loader)
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(first, second, strict=True)]
    assert [n for a, _ in pairs for n in a] == epoch(0)
    assert [n for _, b in pairs for n in b] == epoch(1)

    shared = TensorLoader(checkout, "labels", batch_size=3, workers=1, context="fork")
    first = iter(shared)
    taken = next(first).tolist()
    second = iter(shared)
    begun = next(second).tolist()
    assert taken == epoch(0)[:3]
    with pytest.raises(StateError, match="began another"):
        list(first)
    assert begun + labels_of(second) == epoch(1)
    shared.close()


def test_statistics_add_up(checkout: tv.Checkout) -> None:
    loader = TensorLoader(checkout, BOTH, batch_size=16)
    for _ in range(2):
        list(loader)
    stats = loader.stats
    assert (stats.batch_count, stats.sample_count) == (26, 2 * COUNT)
    assert stats.nbytes == 2 * COUNT * (8 * 9 * 3 + 8)
    assert stats.reading_seconds > 0
    assert stats.waiting_seconds > 0
    assert "203 samples in batches of 16" in repr(loader)
    assert "rank 1 of 2" in repr(TensorLoader(checkout, BOTH, batch_size=16, rank=1, world_size=2))


# Devices


def test_batches_on_a_device(checkout: tv.Checkout) -> None:
    loader = TensorLoader(checkout, ["images", "texts"], batch_size=16, device="meta")
    images, texts = next(iter(loader))
    assert images.device.type == "meta"
    assert isinstance(texts, list)
    assert len(list(TensorLoader(checkout, BOTH, batch_size=16, pin_memory=True))) == 13


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu(checkout: tv.Checkout, pictures: Any) -> None:
    loader = TensorLoader(checkout, BOTH, batch_size=16, device="cuda")
    seen = []
    for number, (images, labels) in enumerate(loader, 1):
        assert images.device.type == "cuda"
        places = labels.cpu().numpy()
        assert np.array_equal(images.cpu().numpy(), pictures[places])
        seen += places.tolist()
        assert loader.state_dict()["seen"] in {16 * number, 0}
    assert sorted(seen) == list(range(COUNT))
    pinned = next(iter(TensorLoader(checkout, BOTH, batch_size=16, pin_memory=True)))
    assert all(tensor.is_pinned() for tensor in pinned)


# A store that changes


def test_a_store_that_is_repacked_and_swept_under_a_running_loader(tmp_path: Path) -> None:
    rows = np.random.default_rng(2).integers(0, 256, (900, 32, 32), np.uint8)
    with tv.init(tmp_path, user_name="A", user_email="a") as repo:
        with repo.edit() as edit:
            column = edit.add_ndarray_column("x", (32, 32), "uint8")
            edit.add_ndarray_column("n", (), "int64").extend(np.arange(900))
            for low in range(0, 900, 90):
                column.extend(rows[low : low + 90], keys=range(low, low + 90))
                edit.commit(f"up to {low + 90}")
        repo.create_branch("run")
        with repo.checkout("run") as held:
            loader = TensorLoader(held, ["x", "n"], batch_size=30, seed=1, threads=2)
            seen = []
            for number, (images, places) in enumerate(loader):
                assert np.array_equal(images.numpy(), rows[places.numpy()])
                seen += places.tolist()
                if number == 3:
                    repo.repack()
                if number == 7:
                    repo.delete_branch("run", force=True)
                    repo.gc()
            assert sorted(seen) == list(range(900))
