"""A process that is killed at any step of a repair leaves at least what could be read before."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.storage import hdf5_pack, hdf5_tensors
from tensorvcs.storage.durable import set_step_hook
from tests.tensor_values import IMAGES, digests_of, flip_bit, open_store, put, random_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import TensorStore

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

VALUES = random_images(300)
DIGESTS = digests_of(IMAGES, VALUES)


def rescue(store: TensorStore, wanted: NDArray[np.uint8]) -> NDArray[np.bool_]:
    known = {digest.tobytes(): place for place, digest in enumerate(DIGESTS)}
    places = [known[digest.tobytes()] for digest in wanted]
    store.write(IMAGES, DIGESTS[places], VALUES[places])
    return np.ones(len(wanted), np.bool_)


def killed_at(number: int, act: Callable[[], object]) -> bool:
    """Run `act` in a child that is killed at a step; tell whether it was."""
    child = os.fork()
    if child == 0:
        steps = count()

        def die(name: str) -> None:
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        set_step_hook(die)
        act()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def readable(folder: Path) -> NDArray[np.bool_]:
    """Tell which values can be read, and check that these are right."""
    hdf5_tensors._MAPPED.clear()
    store = open_store(folder)
    damaged = {digest for problem in store.verify() for digest in problem.digests}
    here = np.array([digest.tobytes() not in damaged for digest in DIGESTS])
    assert np.array_equal(store.read(IMAGES, DIGESTS[here]), VALUES[here])
    return here


def test_a_repair_that_is_killed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_tensors, "LOOSE_SEAL_NBYTES", 0)
    monkeypatch.setattr(hdf5_pack, "SLAB_NBYTES", 64 << 10)
    for number in count():
        folder = tmp_path / str(number)
        store = open_store(folder)
        put(store, IMAGES, VALUES)
        (pack,) = store._refresh().packs
        flip_bit(pack.path, int(pack.record.datasets[0].slabs.starts[1]) + 5)
        store.close()
        store._environment.close()
        before = readable(folder)
        assert 0 < before.sum() < len(VALUES)

        def mend(folder: Path = folder) -> None:
            hdf5_tensors._MAPPED.clear()
            open_store(folder).mend(rescue)

        was_killed = killed_at(number, mend)
        assert (readable(folder) | ~before).all()
        mend()
        after = open_store(folder)
        assert list(after.verify()) == []
        assert np.array_equal(after.read(IMAGES, DIGESTS), VALUES)
        after.remove_orphans()
        sound = [path for path in (folder / "packs").glob("*.h5") if "damaged" not in path.name]
        assert len(sound) == after.stats().pack_count
        if not was_killed:
            break
    assert number >= 8, "a repair has so many durable steps"
