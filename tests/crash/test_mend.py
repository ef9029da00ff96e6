"""A process that is killed at any step of a repair leaves at least what could be read before."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.storage import dataset_writers, pack_folder, pending_values
from tensorvcs.storage.durable import set_step_hook
from tests.crash.operations import STEPS_OF_REPAIRS
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


def killed_at(number: int, act: Callable[[], object]) -> str:
    """Run `act` in a child that is killed at a step; return the name of the step, or nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        steps = count()

        def die(name: str) -> None:
            if next(steps) == number:
                os.write(writer, name.encode())
                os.kill(os.getpid(), signal.SIGKILL)

        set_step_hook(die)
        act()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        name = told.read().decode()
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]) == bool(name)
    return name


def readable(folder: Path) -> NDArray[np.bool_]:
    """Tell which values can be read, and check that these are right."""
    pack_folder._MAPPED.clear()
    store = open_store(folder)
    damaged = {digest for problem in store.verify() for digest in problem.digests}
    here = np.array([digest.tobytes() not in damaged for digest in DIGESTS])
    assert np.array_equal(store.read(IMAGES, DIGESTS[here]), VALUES[here])
    return here


def test_a_repair_that_is_killed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    monkeypatch.setattr(dataset_writers, "SLAB_NBYTES", 64 << 10)
    passed: set[str] = set()
    for number in count():
        folder = tmp_path / str(number)
        store = open_store(folder)
        put(store, IMAGES, VALUES)
        (pack,) = store._packs.refresh().packs
        flip_bit(pack.path, int(pack.record.datasets[0].slabs.starts[1]) + 5)
        store.close()
        store._environment.close()
        before = readable(folder)
        assert 0 < before.sum() < len(VALUES)

        def mend(folder: Path = folder) -> None:
            pack_folder._MAPPED.clear()
            open_store(folder).mend(rescue)

        killed_behind = killed_at(number, mend)
        passed.add(killed_behind)
        assert (readable(folder) | ~before).all()
        mend()
        after = open_store(folder)
        assert list(after.verify()) == []
        assert np.array_equal(after.read(IMAGES, DIGESTS), VALUES)
        after.remove_orphans()
        sound = [path for path in (folder / "packs").glob("*.h5") if "damaged" not in path.name]
        assert len(sound) == after.stats().pack_count
        if not killed_behind:
            break
    assert number >= 8, "a repair has so many durable steps"
    assert passed >= STEPS_OF_REPAIRS


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("name", ["format.json", "format-copy.json", "both checksums"])
def test_a_repair_of_the_format_file_that_is_killed_can_be_run_again(
    tmp_path: Path, bare: bool, name: str
) -> None:
    for number in count():
        folder = tmp_path / str(number)
        tv.init(folder, bare=bare).close()
        root = folder if bare else folder / ".tensorvcs"
        content = (root / "format.json").read_bytes()
        if name == "both checksums":
            # As older versions made a repository.
            lines = [line for line in content.splitlines() if b"crc32" not in line]
            (root / "format.json").write_bytes(b"\n".join(lines).replace(b"e,\n}", b"e\n}"))
            (root / "format-copy.json").unlink()
        else:
            (root / name).unlink()

        def mend(folder: Path = folder) -> None:
            with tv.open(folder) as repo:
                repo.verify(repair=True)

        killed_behind = killed_at(number, mend)
        with tv.open(folder) as repo:
            assert repo.head == "main"
            report = repo.verify(repair=True)
            assert report.is_sound, str(report)
        assert {(root / n).read_bytes() for n in ("format.json", "format-copy.json")} == {content}
        assert not list(root.rglob("*.new"))
        if not killed_behind:
            break
    assert number == (8 if name == "both checksums" else 4)
