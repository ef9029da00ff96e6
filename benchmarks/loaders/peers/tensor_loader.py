"""Ours: a repository, read by TensorLoader; its threads are the library's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorvcs as tv
from benchmarks.loaders.peers.reading import BATCH_COUNT
from tensorvcs.torch import TensorLoader

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.loaders.data import Images

COLUMNS = ["images", "labels"]


def version() -> str:
    return f"TensorVCS {tv.__version__}"


def ingest(data: Images, folder: Path) -> None:
    repository = tv.init(folder, user_name="Ada Lovelace", user_email="ada@example.org")
    with repository.edit() as checkout:
        columns: dict[str, Any] = {"images": data.images, "labels": data.labels}
        for name, values in columns.items():
            column = checkout.add_ndarray_column(name, values.shape[1:], values.dtype)
            column.extend(values)
        checkout.commit("Import the images")


def open_loader(folder: Path, *, shuffle: bool, workers: int) -> Any:
    checkout = tv.open(folder).checkout()
    return TensorLoader(checkout, COLUMNS, batch_size=BATCH_COUNT, shuffle=shuffle, workers=workers)
