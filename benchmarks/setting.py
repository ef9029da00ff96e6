"""Setting: where a run works, how large it is, and which peers are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import tensorvcs as tv

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SEED = 20260101
BATCH_COUNT = 256


@dataclass(frozen=True, slots=True)
class Setting:
    """What every subject is given.

    Attributes
    ----------
    folder : Path
        Empty at the start, on a real disk, removed at the end.
    is_quick : bool
        Small sizes and few repetitions, to see that everything runs.
    images : Path, optional
        A folder of JPEG files in one folder a class.
    hangar_python : Path, optional
        The Python of Hangar's environment; None leaves its figures absent.
    """

    folder: Path
    is_quick: bool = False
    images: Path | None = None
    hangar_python: Path | None = None

    def size(self, full: int, quick: int) -> int:
        """Return one of two sizes."""
        return quick if self.is_quick else full

    @property
    def repeat(self) -> int:
        """How often a short measurement is repeated."""
        return 3 if self.is_quick else 7


def new_repository(path: Path) -> tv.Repository:
    """Make a repository with a user."""
    return tv.init(path, user_name="Ada Lovelace", user_email="ada@example.org")


def random_images(count: int, pixels: int, seed: int = SEED) -> NDArray[np.uint8]:
    """Return incompressible images, shape (count, pixels, pixels, 3)."""
    shape = (count, pixels, pixels, 3)
    drawn = np.frombuffer(np.random.default_rng(seed).bytes(count * pixels * pixels * 3), np.uint8)
    return drawn.reshape(shape)


def random_batches(count: int, batch_count: int = BATCH_COUNT) -> list[NDArray[np.int64]]:
    """Return the positions of `count` samples, shuffled, in whole batches."""
    order = np.random.default_rng(SEED).permutation(count)
    whole = count // batch_count
    return [*order[: whole * batch_count].reshape(whole, batch_count)]
