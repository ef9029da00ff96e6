"""LitData: chunks of 64 MB, mapped in place, read by its own DataLoader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litdata
import numpy as np
import torch
from litdata import StreamingDataLoader, StreamingDataset

from benchmarks.loaders.peers.reading import BATCH_COUNT, with_workers

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images

# `optimize` starts processes by fork: they find the data here instead of in what is pickled.
_given: list[Any] = []


def version() -> str:
    return f"litdata {litdata.__version__}"


def _sample(place: int) -> dict[str, Any]:
    (data,) = _given
    return {"images": data.images[place], "labels": int(data.labels[place])}


def ingest(data: Images, folder: Path) -> None:
    _given[:] = [data]
    litdata.optimize(
        fn=_sample,
        inputs=list(range(len(data))),
        output_dir=str(folder / "data"),
        chunk_bytes="64MB",
        num_workers=2,
        start_method="fork",
        keep_data_ordered=True,
        verbose=False,
    )


def _collate(samples: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    images = np.stack([sample["images"] for sample in samples])
    labels = torch.tensor([sample["labels"] for sample in samples])
    return torch.from_numpy(images), labels


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    # Samples of a chunk in any order, and not in blocks of 256 that are decoded together; that is
    # slower than its defaults by a third, and nearer to a full shuffle.
    options = {"batch_decode": 0, "item_shuffle_window": "full"} if shuffle else {}
    dataset = StreamingDataset(str(folder / "data"), shuffle=shuffle, drop_last=False, **options)
    return StreamingDataLoader(
        dataset, batch_size=BATCH_COUNT, collate_fn=_collate, **with_workers(workers)
    )
