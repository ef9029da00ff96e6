"""Epochs of peers are checked, sample by sample, before they are timed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchmarks.loaders import data as given
from benchmarks.loaders.data import DataSpec, Images
from benchmarks.loaders.process import WrongEpochError, check, ingest, measure_loading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

SPEC = DataSpec("tiny", 600, 8)
Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "data"
    given.save(given.made_up(SPEC), folder)
    return folder


class Fake:
    """A peer that gives the data in order, as an epoch that a test has changed."""

    def __init__(self, made: Path, change: Callable[[Images], Images]) -> None:
        self._made = made
        self._change = change

    def version(self) -> str:
        return "fake 1"

    def ingest(self, data: Images, folder: Path) -> None:
        (folder / "data").write_bytes(data.images.tobytes())

    def open_loader(self, folder: Path, *, shuffle: bool, workers: int) -> Iterable[Batch]:
        return Epochs(self._change(given.load(self._made)))


class Epochs:
    def __init__(self, data: Images) -> None:
        self._data = data

    def __iter__(self) -> Iterator[Batch]:
        images, labels = torch.from_numpy(self._data.images), torch.from_numpy(self._data.labels)
        for low in range(0, len(labels), 256):
            yield images[low : low + 256], labels[low : low + 256]


def _same(data: Images) -> Images:
    return data


def _dropped(data: Images) -> Images:
    return Images(data.images[:-1], data.labels[:-1])


def _doubled(data: Images) -> Images:
    places = np.arange(len(data))
    places[5] = 6
    return Images(data.images[places], data.labels[places])


def _swapped_labels(data: Images) -> Images:
    other = int(np.flatnonzero(data.labels != data.labels[0])[0])
    labels = data.labels.copy()
    labels[[0, other]] = labels[[other, 0]]
    return Images(data.images, labels)


def _changed_pixel(data: Images) -> Images:
    images = data.images.copy()
    images[3, 4, 5, 1] ^= 1
    return Images(images, data.labels)


def test_an_epoch_in_order_passes_and_is_not_mixed(made: Path) -> None:
    loaded = measure_loading(Fake(made, _same), made, made, shuffle=False, workers=0, seconds=0)
    assert loaded.samples_per_second > 0
    assert loaded.epoch_count == 2
    assert loaded.mixing < 0.6


@pytest.mark.parametrize("change", [_dropped, _doubled, _swapped_labels, _changed_pixel])
def test_an_epoch_that_is_not_the_data_is_refused(
    made: Path, change: Callable[[Images], Images]
) -> None:
    with pytest.raises(WrongEpochError, match="missing"):
        measure_loading(Fake(made, change), made, made, shuffle=False, workers=0, seconds=0)


def test_images_of_another_dtype_are_refused(made: Path) -> None:
    def wider(data: Images) -> Images:
        images: Any = data.images.astype(np.int64)
        return Images(images, data.labels)

    with pytest.raises(WrongEpochError, match="int64"):
        measure_loading(Fake(made, wider), made, made, shuffle=False, workers=0, seconds=0)


def test_a_later_epoch_that_is_short_is_refused(made: Path) -> None:
    class Tiring(Epochs):
        epoch = 0

        def __iter__(self) -> Iterator[Batch]:
            self.epoch += 1
            batches = list(super().__iter__())
            yield from batches if self.epoch == 1 else batches[:-1]

    class Peer(Fake):
        def open_loader(self, folder: Path, *, shuffle: bool, workers: int) -> Iterable[Batch]:
            return Tiring(given.load(made))

    with pytest.raises(WrongEpochError, match="a later epoch had 512 samples of 600"):
        measure_loading(Peer(made, _same), made, made, shuffle=False, workers=0, seconds=0)


def test_mixing_tells_a_full_shuffle_from_order_whatever_the_order_inside_of_batches() -> None:
    expected = np.arange(25_600, dtype=np.uint64) * np.uint64(977)
    shuffled = np.random.default_rng(0).permutation(expected)
    batches = shuffled.reshape(-1, 256)
    assert check(list(batches), expected) == pytest.approx(1, abs=0.03)
    assert check(list(np.sort(batches)), expected) == pytest.approx(1, abs=0.03)
    assert check(list(expected.reshape(-1, 256)), expected) < 0.02


def test_ingest_counts_blocks_on_disk(made: Path, tmp_path: Path) -> None:
    found = ingest(Fake(made, _same), made, tmp_path / "fake")
    assert found.version == "fake 1"
    assert 600 * 8 * 8 * 3 <= found.disk_nbytes < 2 * 600 * 8 * 8 * 3
    assert found.seconds > 0


@pytest.mark.parametrize("is_shuffled", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "tensor_loader",
        "tensor_dataset",
        "in_memory",
        "in_memory_select",
        "memmap",
        "hdf5",
        "lmdb_values",
    ],
)
def test_peers_of_this_environment_give_each_sample_once(
    made: Path, tmp_path: Path, name: str, is_shuffled: bool
) -> None:
    peer: Any = importlib.import_module(f"benchmarks.loaders.peers.{name}")
    assert ingest(peer, made, tmp_path / name).version
    loaded = measure_loading(peer, made, tmp_path / name, shuffle=is_shuffled, workers=0, seconds=0)
    assert (loaded.mixing > 0.8) == is_shuffled
    assert loaded.peak_nbytes >= loaded.unmapped_nbytes > 0
