"""FFCV: one file of arrays, in the cache of the operating system, read by compiled threads."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

import numpy as np
from ffcv.fields import IntField, NDArrayField
from ffcv.fields.decoders import IntDecoder, NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import Squeeze, ToTensor
from ffcv.writer import DatasetWriter

from benchmarks.loaders.peers.reading import BATCH_COUNT

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images


def version() -> str:
    return f"ffcv {version_of('ffcv')}, numba {version_of('numba')}"


class _Pairs:
    """What the writer takes: samples as tuples, by number."""

    def __init__(self, data: Images) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return self._data.images[place], int(self._data.labels[place])


def ingest(data: Images, folder: Path) -> None:
    fields = {
        "images": NDArrayField(shape=data.images.shape[1:], dtype=np.dtype("uint8")),
        "labels": IntField(),
    }
    writer = DatasetWriter(str(folder / "data.beton"), fields, num_workers=2)
    writer.from_indexed_dataset(_Pairs(data))


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    return Loader(
        str(folder / "data.beton"),
        batch_size=BATCH_COUNT,
        num_workers=workers,
        os_cache=True,
        order=OrderOption.RANDOM if shuffle else OrderOption.SEQUENTIAL,
        pipelines={
            "images": [NDArrayDecoder(), ToTensor()],
            "labels": [IntDecoder(), ToTensor(), Squeeze(1)],
        },
        drop_last=False,
    )
