"""MosaicML Streaming: shards of arrays, read by its own DataLoader in the order "naive".

That order is a permutation of all samples; its others save downloads, of which there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

# Its readers of vision data sets, which are not used here, import torchvision. The one on PyPI is
# built with CUDA: beside the CPU build of torch its operators are missing, and importing it fails
# where it describes two of them.
_library: Any = torch.library.Library
_operators = _library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import numpy as np  # noqa: E402
import streaming  # noqa: E402
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset  # noqa: E402

from benchmarks.loaders.peers.reading import BATCH_COUNT, with_workers  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images


def version() -> str:
    return f"mosaicml-streaming {streaming.__version__}"


def ingest(data: Images, folder: Path) -> None:
    shape = ",".join(map(str, data.images.shape[1:]))
    columns = {"images": f"ndarray:uint8:{shape}", "labels": "int"}
    with MDSWriter(out=str(folder / "data"), columns=columns) as writer:
        for image, label in zip(data.images, data.labels, strict=True):
            writer.write({"images": image, "labels": int(label)})


def _collate(samples: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    images = np.stack([sample["images"] for sample in samples])
    labels = torch.tensor([sample["labels"] for sample in samples])
    return torch.from_numpy(images), labels


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    streaming.base.util.clean_stale_shared_memory()
    dataset = StreamingDataset(
        local=str(folder / "data"),
        batch_size=BATCH_COUNT,
        shuffle=shuffle,
        shuffle_algo="naive",
        num_canonical_nodes=1,
    )
    return StreamingDataLoader(
        dataset, batch_size=BATCH_COUNT, collate_fn=_collate, **with_workers(workers)
    )
