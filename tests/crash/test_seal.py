"""A process that is killed at any durable step of a seal or a repack leaves a sound store."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.storage import pending_values
from tensorvcs.storage.durable import set_step_hook
from tests.tensor_values import (
    IMAGES,
    TEXTS,
    digests_of,
    open_store,
    pack_files,
    put,
    random_images,
    same,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tensorvcs.storage.hdf5_tensors import Hdf5Tensors

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

BEFORE = random_images(30, seed=1)
NEW = random_images(3000, seed=2)
NEW_TEXTS = [f"text {i}" * 20 for i in range(500)]
SMALL_SEALS = 9


def seal_images_and_texts(store: Hdf5Tensors) -> None:
    store.write(IMAGES, digests_of(IMAGES, NEW), NEW)
    store.write(TEXTS, digests_of(TEXTS, NEW_TEXTS), NEW_TEXTS)
    store.seal()


def seal_little(store: Hdf5Tensors) -> None:
    put(store, IMAGES, NEW[:5])


def repack(store: Hdf5Tensors) -> None:
    store.repack_loose(force=True)


def merge(store: Hdf5Tensors) -> None:
    store.repack_loose()


def drop(store: Hdf5Tensors) -> None:
    kept = {digest.tobytes() for digest in digests_of(IMAGES, BEFORE)}

    def is_dropped(digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.array([digest.tobytes() not in kept for digest in digests], np.bool_)

    for block in list(store.value_blocks()):
        dropped = block.digests[is_dropped(block.digests)]
        if block.pack_id is None:
            store.delete_loose([digest.tobytes() for digest in dropped])
        elif len(dropped):
            rewriting = store.rewrite(block.pack_id, is_dropped)
            assert rewriting is not None
            assert rewriting.commit()


def loose_values(store: Hdf5Tensors) -> None:
    put(store, IMAGES, BEFORE)


def small_packs(store: Hdf5Tensors) -> None:
    limit, pending_values.LOOSE_SEAL_NBYTES = pending_values.LOOSE_SEAL_NBYTES, 0
    try:
        for part in np.array_split(np.arange(len(BEFORE)), SMALL_SEALS):
            put(store, IMAGES, BEFORE[part])
        put(store, IMAGES, random_images(30, seed=4))
    finally:
        pending_values.LOOSE_SEAL_NBYTES = limit


ACTS: list[tuple[Callable[[Hdf5Tensors], None], Callable[[Hdf5Tensors], None]]] = [
    (loose_values, seal_images_and_texts),
    (loose_values, seal_little),
    (loose_values, repack),
    (small_packs, merge),
    (small_packs, drop),
]


def steps_of(
    folder: Path, prepare: Callable[[Hdf5Tensors], None], act: Callable[..., None]
) -> list[str]:
    """Return the durable steps of an act, in order."""
    store = open_store(folder)
    prepare(store)
    steps: list[str] = []
    set_step_hook(steps.append)
    try:
        act(store)
    finally:
        set_step_hook(None)
    store.close()
    return steps


def run_and_die(folder: Path, act: Callable[[Hdf5Tensors], None], at: int) -> None:
    """Run an act in a child that is killed at its step number `at`."""
    child = os.fork()
    if child == 0:
        count = 0

        def die(_: str) -> None:
            nonlocal count
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

        try:
            store = open_store(folder)
            set_step_hook(die)
            act(store)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the child ended by itself: {status}"


@pytest.mark.parametrize(("prepare", "act"), ACTS, ids=lambda act: act.__name__)
def test_a_killed_writer_leaves_all_or_nothing(
    tmp_path: Path, prepare: Callable[[Hdf5Tensors], None], act: Callable[[Hdf5Tensors], None]
) -> None:
    steps = steps_of(tmp_path / "whole", prepare, act)
    assert steps, "the act has no durable step"
    for at in range(len(steps)):
        folder = tmp_path / f"killed-{at}"
        store = open_store(folder)
        prepare(store)
        store.close()
        run_and_die(folder, act, at)

        store = open_store(folder)
        where = f"killed at step {at}, {steps[at]!r}"
        assert list(store.verify()) == [], where
        before = digests_of(IMAGES, BEFORE)
        assert same(np.array(store.read(IMAGES, before)), BEFORE), where
        if act is seal_images_and_texts:
            images = store.contains(digests_of(IMAGES, NEW))
            texts = store.contains(digests_of(TEXTS, NEW_TEXTS))
            is_there = at >= steps.index("transaction durable")
            assert images.all() == images.any() == texts.all() == texts.any() == is_there, where
        store.remove_orphans()
        assert len(pack_files(folder)) == store.stats().pack_count, where

        act(store)
        assert list(store.verify()) == [], where
        assert same(np.array(store.read(IMAGES, before)), BEFORE), where
        if act is seal_images_and_texts:
            assert store.read(TEXTS, digests_of(TEXTS, NEW_TEXTS)) == NEW_TEXTS
        store.close()


def test_orphans_of_a_living_writer_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, other = open_store(tmp_path), open_store(tmp_path)
    writer.write(IMAGES, digests_of(IMAGES, NEW), NEW)
    monkeypatch.setattr(pending_values, "BUFFER_NBYTES", 0)
    more = random_images(10, seed=9)
    writer.write(IMAGES, digests_of(IMAGES, more), more)
    assert len(pack_files(tmp_path)) == 1
    assert other.remove_orphans() == 0
    writer.seal()
    assert same(np.array(other.read(IMAGES, digests_of(IMAGES, NEW))), NEW)


def test_a_pack_of_an_open_transaction_is_no_orphan(tmp_path: Path) -> None:
    writer, other = open_store(tmp_path), open_store(tmp_path)
    with writer._environment.write():
        put(writer, IMAGES, NEW)
        assert len(pack_files(tmp_path)) == 1
        # In another thread, which does not see what this one has not committed.
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(other.remove_orphans).result() == 0
    assert same(np.array(other.read(IMAGES, digests_of(IMAGES, NEW))), NEW)


def test_a_transaction_that_fails_takes_its_packs_away(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(RuntimeError), store._environment.write():
        digests = put(store, IMAGES, NEW)
        assert store.contains(digests).all()
        raise RuntimeError
    assert not store.contains(digests).any()
    assert pack_files(tmp_path) == []
    put(store, IMAGES, NEW)
    assert same(np.array(store.read(IMAGES, digests)), NEW)
