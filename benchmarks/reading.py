"""Reading: random batches, one process, page cache warm, verified reads on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

import tensorvcs as tv
from benchmarks.measuring import best_of, seconds_of
from benchmarks.peers import ABSENT, hangar_figures
from benchmarks.row import Bar, Row
from benchmarks.setting import SEED, new_repository, random_batches, random_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.setting import Setting


def _store(path: Path, images: NDArray[np.uint8]) -> None:
    """Keep images three times: in a repository with labels, as a memory map and in HDF5."""
    labels = np.random.default_rng(SEED).integers(0, 10, len(images))
    with new_repository(path) as repository, repository.edit() as checkout:
        shape = images.shape[1:]
        checkout.add_ndarray_column("images", shape=shape, dtype="uint8").extend(images)
        checkout.add_ndarray_column("labels", shape=(), dtype="int64").extend(labels)
        checkout.commit("images and labels")
    images.tofile(path / "rows.bin")
    np.save(path / "labels.npy", labels)
    with h5py.File(path / "rows.h5", "w") as file:
        file["rows"] = images


def _map(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.memmap(path / "rows.bin", np.uint8, "r", shape=shape)


def _image_folder(setting: Setting, count: int, pixels: int) -> Path:
    path = setting.folder / f"images-{pixels}-{count}"
    if not path.exists():
        _store(path, random_images(count, pixels))
    return path


def _each(batches: Sequence[Any], read: Callable[[Any], object]) -> Callable[[], None]:
    def epoch() -> None:
        for batch in batches:
            read(batch)

    return epoch


def random_batch_rows(setting: Setting, pixels: int, count: int, bar: float) -> Iterator[Row]:
    """Random batches of 256 into a buffer that is given, beside `np.take` on a memory map."""
    path = _image_folder(setting, count, pixels)
    shape = (count, pixels, pixels, 3)
    rows = _map(path, shape)
    batches = random_batches(count)
    sample_count = sum(map(len, batches))
    out = np.empty((len(batches[0]), *shape[1:]), np.uint8)
    with tv.open(path) as repository, h5py.File(path / "rows.h5") as file:
        column = repository.checkout()["images"]
        taken = rows.take(batches[0], axis=0)
        assert np.array_equal(column.read(batches[0], out=out), taken)
        read = _each(batches, lambda batch: column.read(batch, out=out))
        take = _each(batches, lambda batch: np.take(rows, batch, axis=0, out=out, mode="clip"))
        # The first epoch checks every slab and fills the page cache.
        seconds_of(read)
        ours, baseline = (
            sample_count / seconds for seconds in best_of(setting.repeat + 4, read, take)
        )
        name = f"random batches of 256, {count:,} × {pixels}×{pixels}×3 uint8, into a buffer"
        yield Row(name, "samples/s", ours, "np.take on a memmap", baseline, Bar("at least", bar))
        some = [np.sort(batch) for batch in batches[: 4 if pixels < 100 else 1]]
        fancy = best_of(1, _each(some, lambda batch: file["rows"][batch]))[0]
        yield Row(name, "samples/s", ours, "h5py, sorted rows", sum(map(len, some)) / fancy)
    if pixels == 32:
        figures = hangar_figures(setting, "ingest", setting.size(20_000, 5_000))
        hangar = figures.get("read_samples_per_second")
        yield Row(name, "samples/s", ours, "Hangar", hangar, note="" if figures else ABSENT)


def reading_32px(setting: Setting) -> Iterator[Row]:
    yield from random_batch_rows(setting, 32, setting.size(60_000, 20_000), 0.9)


def reading_224px(setting: Setting) -> Iterator[Row]:
    yield from random_batch_rows(setting, 224, setting.size(4_000, 512), 0.95)


def inline_labels(setting: Setting) -> Iterator[Row]:
    """A scan of inline labels to one array, in a checkout that was just opened."""
    count = 1_000_000
    path = setting.folder / "labels"
    labels = np.random.default_rng(SEED).integers(0, 1000, count)
    with new_repository(path) as repository, repository.edit() as checkout:
        checkout.add_ndarray_column("labels", shape=(), dtype="int64").extend(labels)
        checkout.commit("labels")
    np.save(path / "labels.npy", labels)
    found: list[Any] = []

    def scan() -> None:
        # Opened anew, so that no node of the tree is in memory as an object.
        with tv.open(path) as opened:
            column = opened.checkout()["labels"]
            found[:] = [column]
            seconds.append(seconds_of(column.to_numpy))

    def load() -> None:
        np.load(path / "labels.npy")

    seconds: list[float] = []
    baseline = best_of(setting.repeat, scan, load)[1]
    assert np.array_equal(found[0].to_numpy(), labels)
    yield Row(
        f"scan of {count:,} inline int64 labels, checkout just opened",
        "s",
        min(seconds),
        "np.load",
        baseline,
        Bar("at most", 0.020, "figure"),
    )


def loader(setting: Setting) -> Iterator[Row]:
    """Epochs of images and labels through PyTorch, beside a batched memory map."""
    try:
        from benchmarks.torch_loading import epochs_in_order, shuffled_epochs
    except (ImportError, tv.errors.MissingDependencyError) as error:
        work = "PyTorch epoch, 32×32×3 + label, shuffled batches of 256"
        bar = Bar("at least", 1.5)
        yield Row(work, "samples/s", None, "memmap under DataLoader", bar=bar, note=str(error))
        return
    for pixels, count in (
        (32, setting.size(60_000, 20_000)),
        (224, setting.size(4_000, 500)),
    ):
        path = _image_folder(setting, count, pixels)
        rows, labels = _map(path, (count, pixels, pixels, 3)), np.load(path / "labels.npy")
        for order, ways in (
            ("shuffled", shuffled_epochs(path, rows, labels)),
            ("in key order", epochs_in_order(path, rows, labels)),
        ):
            work = f"PyTorch epoch, {pixels}×{pixels}×3 + label, {order}, batches of 256"
            has_bar = (pixels, order) == (32, "shuffled")
            yield from _epoch_rows(setting, work, ways, count, has_bar=has_bar)


def _epoch_rows(
    setting: Setting,
    work: str,
    ways: dict[str, Callable[[], None]],
    count: int,
    *,
    has_bar: bool,
) -> Iterator[Row]:
    for epoch in ways.values():
        epoch()
    times = dict(zip(ways, best_of(setting.repeat, *ways.values()), strict=True))
    baseline = count / times.pop("memmap")
    for name, seconds in times.items():
        yield Row(
            f"{work}, {name}",
            "samples/s",
            count / seconds,
            "memmap under DataLoader",
            baseline,
            Bar("at least", 1.5) if has_bar and name == "TensorLoader" else None,
        )
