"""The iterable data set, and what else drives a loader: DataLoader, torchdata, training loops."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import ConcatDataset, DataLoader, StackDataset  # noqa: E402

from tensorvcs.errors import InvalidInputError, WorkerError  # noqa: E402
from tensorvcs.torch import IterableTensorDataset, TensorDataset, TensorLoader  # noqa: E402

if TYPE_CHECKING:
    import tensorvcs as tv

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]


def labels(batches: Any) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_the_stream_is_the_same_for_any_number_of_workers(
    checkout: tv.Checkout, workers: int
) -> None:
    dataset = IterableTensorDataset(checkout, "labels", batch_size=16, seed=2)
    options: Any = {"multiprocessing_context": "fork"} if workers else {}
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, **options)
    expected = TensorLoader(checkout, "labels", batch_size=16, seed=2)
    assert labels(loader) == labels(expected)
    assert len(loader) == len(dataset) == 13
    dataset.set_epoch(1)
    assert labels(loader) == labels(expected)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_epoch_that_is_set_reaches_workers_that_live_on(
    checkout: tv.Checkout, method: str
) -> None:
    dataset = IterableTensorDataset(checkout, "labels", batch_size=16)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=method,
    )
    first = labels(loader)
    assert first == labels(TensorLoader(checkout, "labels", batch_size=16))
    assert labels(loader) == first
    dataset.set_epoch(1)
    second = labels(loader)
    assert second != first
    assert sorted(chain.from_iterable(second)) == sorted(chain.from_iterable(first))
    del loader


def fails_at_37(label: Any) -> Any:
    class LocalError(Exception):
        pass

    if int(label) == 37:
        raise LocalError("of a class that is nowhere else")
    return label


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("is_iterable", [False, True])
def test_an_error_that_cannot_be_sent_reaches_the_loop(
    checkout: tv.Checkout, method: str, is_iterable: bool
) -> None:
    """A DataLoader would wait for it for ever."""
    dataset: Any = TensorDataset(checkout, "labels", transform=fails_at_37)
    size: int | None = 16
    if is_iterable:
        dataset, size = IterableTensorDataset(dataset, batch_size=16), None
    loader: Any = DataLoader(
        dataset, size, num_workers=1, multiprocessing_context=method, timeout=60
    )
    with pytest.raises(WorkerError, match="LocalError: of a class") as found:
        list(loader)
    assert "in sample 'k037'" in str(found.value)
    assert "in fails_at_37" in str(found.value)
    # Where there is no process to leave, it comes as it is.
    with pytest.raises(Exception, match="of a class") as here:
        list(DataLoader(dataset, size))
    assert type(here.value).__name__ == "LocalError"
    assert here.value.__notes__ == ["in sample 'k037'"]


def test_it_goes_on_where_its_state_was_taken(checkout: tv.Checkout) -> None:
    whole = labels(IterableTensorDataset(checkout, "labels", batch_size=16))
    for stop in range(14):
        dataset = IterableTensorDataset(checkout, "labels", batch_size=16)
        batches = iter(dataset)
        begin = [next(batches).tolist() for _ in range(stop)]
        resumed = IterableTensorDataset(checkout, "labels", batch_size=16)
        resumed.load_state_dict(dataset.state_dict())
        assert begin + labels(resumed) == whole
        assert labels(resumed) == whole
    assert list(batches) == []
    assert (dataset.state_dict()["epoch"], dataset.state_dict()["made"]) == (1, 0)
    for wrong in ({}, {"made": -1}):
        with pytest.raises(InvalidInputError):
            dataset.load_state_dict(wrong)
    with pytest.raises(InvalidInputError):
        IterableTensorDataset(checkout, "labels", batch_size=16, workers=2)
    with pytest.raises(InvalidInputError):
        dataset.set_epoch(-1)


@pytest.mark.parametrize("workers", [0, 2])
def test_under_a_stateful_data_loader(checkout: tv.Checkout, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def made() -> Any:
        options: Any = {"multiprocessing_context": "fork"} if workers else {}
        return stateful.StatefulDataLoader(
            IterableTensorDataset(checkout, "labels", batch_size=16, seed=3),
            batch_size=None,
            num_workers=workers,
            **options,
        )

    whole = labels(made())
    for stop in (0, 1, 5, 12):
        loader = made()
        batches = iter(loader)
        begin = [next(batches).tolist() for _ in range(stop)]
        state = loader.state_dict()
        del batches, loader
        resumed = made()
        resumed.load_state_dict(state)
        assert begin + labels(resumed) == whole


def test_joined_data_sets_under_a_data_loader(checkout: tv.Checkout) -> None:
    dataset = TensorDataset(checkout, ["images", "labels"])
    twice: Any = DataLoader(ConcatDataset([dataset, dataset]), 50)
    found = [int(n) for _, numbers in twice for n in numbers]
    assert found == [*range(203), *range(203)]
    stacked = DataLoader(StackDataset(dataset, TensorDataset(checkout, "texts")), 50)
    for (_, numbers), texts in stacked:
        assert [f"K{n:03}" for n in numbers.tolist()] == list(texts)
    by_name = DataLoader(StackDataset(both=dataset), 203)
    (batch,) = by_name
    assert batch["both"][0].shape == (203, 8, 9, 3)


def test_a_training_loop_that_keeps_checkpoints(checkout: tv.Checkout) -> None:
    """As Lightning does: it asks for `set_epoch`, `state_dict` and `load_state_dict` by name."""

    def fit(epochs: int, until: int, checkpoint: Any = None) -> tuple[list[float], Any]:
        torch.manual_seed(0)
        model = torch.nn.Linear(216, 1)
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        loader = TensorLoader(
            checkout,
            ["images", "labels"],
            batch_size=32,
            seed=1,
            transform={"images": lambda image, rng: image.float() / 255 + rng.normal(0, 0.1)},
        )
        losses, start, step = [], 0, 0
        if checkpoint is not None:
            model.load_state_dict(checkpoint["model"])
            loader.load_state_dict(checkpoint["loader"])
            start, step = checkpoint["epoch"], checkpoint["step"]
        for epoch in range(start, epochs):
            loader.set_epoch(epoch)
            for images, numbers in loader:
                loss = ((model(images.flatten(1))[:, 0] - numbers / 203) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
                step += 1
                if step == until:
                    state = loader.state_dict()
                    kept = {"model": model.state_dict(), "loader": state, "step": step}
                    return losses, {**kept, "epoch": state["epoch"]}
        return losses, None

    whole, _ = fit(3, -1)
    assert len(whole) == 21
    for until in (3, 7, 12):
        begin, checkpoint = fit(3, until)
        rest, _ = fit(3, -1, checkpoint)
        assert begin + rest == whole
