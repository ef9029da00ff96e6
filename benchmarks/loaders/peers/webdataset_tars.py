"""WebDataset: tar files of 64 MB, with raw pixels; shuffled by tar, then in a buffer.

Workers share the tars, so each is given whole batches, and what is left over is a batch for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import webdataset as wds

from benchmarks.loaders.peers.reading import BATCH_COUNT, versions, with_workers

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images

BUFFER_COUNT = 5000
BUFFER_NBYTES = 1 << 28
_TAR_NBYTES = 1 << 26


def version() -> str:
    return versions("webdataset")


def ingest(data: Images, folder: Path) -> None:
    pattern = str(folder / "data-%04d.tar")
    row_nbytes = data.images[0].nbytes
    shape = "x".join(map(str, data.images.shape[1:]))
    (folder / "shape").write_text(shape)
    with wds.ShardWriter(pattern, maxcount=_TAR_NBYTES // row_nbytes, verbose=0) as writer:
        for place, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            writer.write(
                {"__key__": f"{place:08d}", "bin": image.tobytes(), "cls": str(int(label))}
            )


class _Collated:
    """Make the batch of a list of tuples of bytes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def __call__(self, samples: list[tuple[bytes, bytes]]) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = np.stack([np.frombuffer(pixels, np.uint8) for pixels, _ in samples])
        labels = torch.tensor([int(label) for _, label in samples])
        return torch.from_numpy(pixels).view(-1, *self._shape), labels


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    tars = sorted(map(str, folder.glob("*.tar")))
    shape = tuple(map(int, (folder / "shape").read_text().split("x")))
    dataset = wds.WebDataset(tars, shardshuffle=len(tars) if shuffle else False, empty_check=False)
    if shuffle:
        count = min(BUFFER_COUNT, BUFFER_NBYTES // int(np.prod(shape)))
        dataset = dataset.shuffle(count, initial=count)
    dataset = dataset.to_tuple("bin", "cls").batched(BATCH_COUNT, collation_fn=_Collated(shape))
    return wds.WebLoader(dataset, batch_size=None, shuffle=False, **with_workers(workers))
