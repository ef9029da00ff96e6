"""An epoch of training: how much of a step is waiting for data. Needs torch and Pillow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.importing import synthetic_folder
from benchmarks.row import Row
from benchmarks.setting import BATCH_COUNT, SEED, new_repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.setting import Setting


def training(setting: Setting) -> Iterator[Row]:
    """One epoch of a small network on images that were imported from JPEG files."""
    try:
        import torch
        from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

        from tensorvcs.formats.importing import import_into
        from tensorvcs.torch import TensorLoader
    except ImportError as error:
        yield Row("an epoch of training", "samples/s", None, "tensors in memory", note=str(error))
        return
    source = setting.images
    if source is None:
        source = synthetic_folder(setting.folder / "jpeg", setting.size(20_000, 1_000), 32)
    with new_repository(setting.folder / "training") as repository:
        with repository.edit() as checkout:
            import_into(checkout, source, label_column="labels")
            checkout.commit("images")
        images = repository.checkout()
        count = len(images["images"])
        loader = TensorLoader(images, ["images", "labels"], batch_size=BATCH_COUNT, seed=SEED)
        in_memory = TensorDataset(
            torch.from_numpy(images["images"][0:count].copy()),
            torch.from_numpy(images["labels"][0:count].copy()),
        )
        order = BatchSampler(RandomSampler(in_memory), BATCH_COUNT, drop_last=False)
        held = DataLoader(in_memory, sampler=order, batch_size=None)
        seconds, waited = {}, {}
        for name, batches in (("held", held), ("ours", loader)):
            seconds[name], waited[name] = _epoch(batches)
    work = f"an epoch of a small network on {count:,} images, batches of {BATCH_COUNT}, by CPU"
    beside = "the same from tensors in memory under DataLoader"
    yield Row(work, "samples/s", count / seconds["ours"], beside, count / seconds["held"])
    yield Row(
        f"{work}: waiting for the loader, as a share of the epoch",
        "x",
        waited["ours"] / seconds["ours"],
        beside,
        waited["held"] / seconds["held"],
    )


def _epoch(batches: Iterable[Any]) -> tuple[float, float]:
    """Train for an epoch; return its seconds, and those in which a batch was waited for."""
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    waited = 0.0
    start = asked = time.perf_counter()
    for images, labels in batches:
        waited += time.perf_counter() - asked
        pixels = images.permute(0, 3, 1, 2).float().div_(255)
        loss = nn.functional.cross_entropy(model(pixels), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        asked = time.perf_counter()
    return time.perf_counter() - start, waited
