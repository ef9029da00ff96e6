"""The packs as the index has them: seen by others, moved by others, opened when needed."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tensorvcs.storage import pack_folder, pending_values, upkeep
from tensorvcs.storage.durable import set_step_hook
from tensorvcs.storage.lmdb_environment import Transaction
from tensorvcs.storage.pack_index import PackIndex
from tests.tensor_values import (
    IMAGES,
    digests_of,
    is_whole,
    open_store,
    pack_files,
    put,
    random_images,
    same,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_another_store_sees_what_was_sealed(tmp_path: Path) -> None:
    writer, reader = open_store(tmp_path), open_store(tmp_path)
    for i in range(3):
        images = random_images(1 if i % 2 else 2000, seed=i)
        digests = put(writer, IMAGES, images)
        assert same(np.array(reader.read(IMAGES, digests)), images)
    writer.repack_loose(force=True)
    assert same(np.array(reader.read(IMAGES, digests)), images)


def test_readers_never_miss_a_value_while_packs_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "REPACK_LOOSE_COUNT", 5)
    writer = open_store(tmp_path)
    images = random_images(400)
    digests = digests_of(IMAGES, images)
    put(writer, IMAGES, images[:100])
    done = threading.Event()
    order = np.random.default_rng(0).permutation(100)

    def read() -> int:
        store, rounds = open_store(tmp_path), 0
        table = table_of(store, IMAGES, digests[:100])
        while not done.is_set() or rounds < 3:
            assert same(table.read(order), images[order])
            assert same(np.array(store.read(IMAGES, digests[order[:5]])), images[order[:5]])
            assert same(table_of(store, IMAGES, digests[order]).read(np.arange(100)), images[order])
            assert store.contains(digests[:100]).all()
            rounds += 1
        return rounds

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for i in range(100, 400, 5):
            put(writer, IMAGES, images[i : i + 5])
            writer.repack_loose()
        done.set()
        assert all(reader.result() >= 3 for reader in readers)
    assert is_whole(writer)


def test_a_process_whose_packs_were_merged_away_finds_the_values(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from tests.tensor_values import IMAGES, digests_of, open_store, random_images\n"
        "from tensorvcs.storage import mapped_pack\n"
        "store = open_store(Path(sys.argv[1]))\n"
        "digests = digests_of(IMAGES, random_images(16))\n"
        "assert len(store.read(IMAGES, digests)) == 16\n"
        "print('ready', flush=True); input()\n"
        "assert np.array_equal(store.read(IMAGES, digests), random_images(16))\n"
        "assert store.stats().pack_count == 1\n"
    )
    store = open_store(tmp_path)
    for part in np.split(random_images(16), 8):
        store.write(IMAGES, digests_of(IMAGES, part), part)
        limit, pending_values.LOOSE_SEAL_NBYTES = pending_values.LOOSE_SEAL_NBYTES, 0
        try:
            store.seal()
        finally:
            pending_values.LOOSE_SEAL_NBYTES = limit
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path.cwd(),
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        assert store.repack_loose()
        other.communicate("\n")
    assert other.returncode == 0


def test_opening_reads_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = put(open_store(tmp_path), IMAGES, random_images(2000))
    pack_folder._MAPPED.clear()
    read: list[bytes] = []
    found = PackIndex.pack_record

    def record(self: PackIndex, pack_id: bytes) -> object:
        read.append(pack_id)
        return found(self, pack_id)

    monkeypatch.setattr(PackIndex, "pack_record", record)
    store = open_store(tmp_path)
    assert read == []
    for _ in range(3):
        store.read(IMAGES, digests[:1])
    assert len(read) == 1


@pytest.fixture
def interrupted_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Interrupt the process as each transaction ends, before LMDB commits or behind it.

    The list holds which: True for behind.
    """
    is_behind: list[bool] = []
    commit = Transaction.commit

    def interrupt(self: Transaction) -> None:
        if not is_behind:
            commit(self)
            return
        if is_behind[0]:
            commit(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Transaction, "commit", interrupt)
    yield is_behind
    monkeypatch.undo()


@pytest.mark.parametrize("has_transaction", [False, True])
@pytest.mark.parametrize("is_durable", [False, True])
def test_an_interrupt_at_the_end_of_a_commit_loses_nothing(
    tmp_path: Path, interrupted_commit: list[bool], is_durable: bool, has_transaction: bool
) -> None:
    store = open_store(tmp_path)
    images = random_images(2000)
    digests = digests_of(IMAGES, images)
    store.write(IMAGES, digests, images)
    interrupted_commit.append(is_durable)
    with (
        pytest.raises(KeyboardInterrupt),
        store._environment.write() if has_transaction else nullcontext(),
    ):
        store.seal()
    interrupted_commit.clear()
    assert store.contains(digests).tolist() == [is_durable] * 2000
    assert len(pack_files(tmp_path)) == is_durable
    assert is_whole(store)
    assert same(np.array(store.read(IMAGES, put(store, IMAGES, images))), images)


def test_an_interrupt_among_the_old_packs_keeps_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_values, "LOOSE_SEAL_NBYTES", 0)
    store = open_store(tmp_path)
    images = random_images(16)
    for part in np.split(images, 8):
        put(store, IMAGES, part)

    def interrupt(step: str) -> None:
        if step == "pack removed":
            raise KeyboardInterrupt

    set_step_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            store.repack_loose()
    finally:
        set_step_hook(None)
    assert same(np.array(store.read(IMAGES, digests_of(IMAGES, images))), images)
    assert store.remove_orphans() == 7
    assert is_whole(store)


def test_packs_that_are_gone_meanwhile_are_not_replaced(tmp_path: Path) -> None:
    store, other = open_store(tmp_path), open_store(tmp_path)
    digests = put(store, IMAGES, random_images(3000))
    (block, _) = store.value_blocks()
    assert block.pack_id is not None
    slow = store.rewrite(block.pack_id, lambda names: np.zeros(len(names), np.bool_))
    quick = other.rewrite(block.pack_id, lambda names: np.zeros(len(names), np.bool_))
    assert slow is not None
    assert quick is not None
    assert quick.commit()
    assert not slow.commit()
    assert store.contains(digests).all()
    assert is_whole(store)
