"""The data that every loader is given, as files that a process of any environment reads.

This module, `measured`, `memory`, `process` and the peers run in other environments too, with
numpy and torch alone beside the peer's own library, and import nothing else of the project.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SEED = 20260101
CLASS_COUNT = 10


@dataclass(frozen=True, slots=True)
class Images:
    """Images with labels.

    Attributes
    ----------
    images : ndarray, shape (n, height, width, 3), uint8
    labels : ndarray, shape (n,), int64
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What a data set is called, and its size.

    Attributes
    ----------
    name : str
    count : int
        Samples.
    pixels : int
        Height and width.
    is_real : bool
        From files, and not made up.
    """

    name: str
    count: int
    pixels: int
    is_real: bool = False

    @property
    def title(self) -> str:
        """The size as a person reads it."""
        origin = "real" if self.is_real else "incompressible"
        return f"{self.count:,} × {self.pixels}×{self.pixels}×3 uint8 and a label, {origin}"


def made_up(spec: DataSpec) -> Images:
    """Return incompressible images with labels, the same in each run."""
    rng = np.random.default_rng(SEED + spec.pixels)
    shape = (spec.count, spec.pixels, spec.pixels, 3)
    drawn = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
    return Images(drawn, rng.integers(0, CLASS_COUNT, spec.count))


def real(spec: DataSpec, source: Path) -> Images:
    """Return the first images of a folder, or a tar file, with a folder of JPEG files a class.

    Images of another size are left out. They come in a fixed order that mixes the classes.
    """
    from PIL import Image

    found: list[tuple[str, str, NDArray[np.uint8]]] = []
    for path, content in _files(source):
        with Image.open(io.BytesIO(content)) as image:
            if image.size == (spec.pixels, spec.pixels):
                folder, _, name = path.rpartition("/")
                found.append((folder, name, np.asarray(image.convert("RGB"))))
    classes = {folder: at for at, folder in enumerate(sorted({one[0] for one in found}))}
    order = np.random.default_rng(SEED).permutation(len(found))[: spec.count]
    found.sort(key=lambda one: one[:2])
    images = np.stack([found[at][2] for at in order])
    return Images(images, np.array([classes[found[at][0]] for at in order], np.int64))


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in source.rglob("*.jp*g"):
            yield str(path.relative_to(source)), path.read_bytes()
        return
    with tarfile.open(source) as archive:
        for member in archive:
            if member.name.endswith((".jpg", ".jpeg")):
                file: Any = archive.extractfile(member)
                yield member.name, file.read()


def fingerprints(images: Any, labels: Any) -> NDArray[np.uint64]:
    """Return a word for each sample that depends on all its bytes and its label.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, 3), uint8, C-contiguous
    labels : ndarray, shape (n,), of any integer
    """
    words = [zlib.crc32(image) for image in images]
    return np.array(words, np.uint64) << np.uint64(16) | np.asarray(labels).astype(np.uint64)


def save(data: Images, folder: Path) -> None:
    """Write data where `load` finds it."""
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", data.images)
    np.save(folder / "labels.npy", data.labels)
    np.save(folder / "fingerprints.npy", fingerprints(data.images, data.labels))


def load(folder: Path) -> Images:
    """Read data into memory."""
    return Images(np.load(folder / "images.npy"), np.load(folder / "labels.npy"))


def load_fingerprints(folder: Path) -> NDArray[np.uint64]:
    """Read the fingerprints of the samples, in the order of the samples."""
    found: NDArray[np.uint64] = np.load(folder / "fingerprints.npy")
    return found
