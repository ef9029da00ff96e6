"""The disk gets back what pages held that are free; whatever is in use stays."""

from __future__ import annotations

import errno
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import StorageError
from tensorvcs.storage import lmdb_space
from tensorvcs.storage.lmdb_environment import Database, LmdbEnvironment
from tensorvcs.storage.lmdb_scan import PageFile
from tensorvcs.storage.lmdb_space import give_back_space

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOSE = Database("loose")
NBYTES = 6000  # two pages of their own


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[LmdbEnvironment]:
    made = LmdbEnvironment(tmp_path / "lmdb")
    yield made
    made.close()


def put(environment: LmdbEnvironment, values: dict[bytes, bytes]) -> None:
    with environment.write() as txn:
        for key, value in values.items():
            txn.put(key, value, db=LOOSE)


def delete(environment: LmdbEnvironment, keys: list[bytes]) -> None:
    with environment.write() as txn:
        for key in keys:
            assert txn.delete(key, db=LOOSE)


def content(environment: LmdbEnvironment) -> dict[bytes, bytes]:
    found = {}
    with environment.read() as txn, txn.cursor(db=LOOSE) as cursor:
        there = cursor.first()
        while there:
            found[cursor.key()] = cursor.value()
            there = cursor.next()
    return found


def check_pages(environment: LmdbEnvironment) -> None:
    """Walk every tree of the file past LMDB; an error tells of a page that is none."""
    with PageFile(environment.folder / "data.mdb") as file:
        head = file.heads()[0]
        file.check_free_pages(head)
        for tree in file.databases(head).values():
            for _ in file.walk(tree, head):
                pass


def values_of(count: int, seed: int = 0) -> dict[bytes, bytes]:
    drawn = random.Random(seed)
    return {b"%05d" % number: drawn.randbytes(NBYTES) for number in range(count)}


def test_what_was_deleted_takes_no_disk_any_more(environment: LmdbEnvironment) -> None:
    values = values_of(400)
    put(environment, values)
    kept = dict(list(values.items())[::10])
    delete(environment, [key for key in values if key not in kept])
    before, size = environment.file_nbytes, (environment.folder / "data.mdb").stat().st_size
    given = give_back_space(environment)
    assert given > 300 * NBYTES
    assert environment.file_nbytes < before - 300 * NBYTES
    assert size <= (environment.folder / "data.mdb").stat().st_size <= size + 8 * 4096
    assert environment.free_nbytes < before // 4
    assert content(environment) == kept
    check_pages(environment)
    assert give_back_space(environment) < 16 * 4096  # of the last versions


def test_the_pages_are_used_again(environment: LmdbEnvironment) -> None:
    first, second = values_of(200), values_of(200, seed=1)
    put(environment, first)
    delete(environment, list(first))
    assert give_back_space(environment)
    pages = environment.folder / "data.mdb"
    size = pages.stat().st_size
    put(environment, second)
    assert pages.stat().st_size == size
    assert content(environment) == second
    environment.close()
    opened = LmdbEnvironment(environment.folder)
    assert content(opened) == second
    check_pages(opened)
    opened.close()


def test_nothing_is_taken_from_who_reads_an_old_version(environment: LmdbEnvironment) -> None:
    values = values_of(100)
    put(environment, values)
    is_reading, may_end = threading.Event(), threading.Event()
    found: list[dict[bytes, bytes]] = []

    def read_slowly() -> None:
        with environment.read():
            is_reading.set()
            assert may_end.wait(60)
            found.append(content(environment))

    reader = threading.Thread(target=read_slowly)
    reader.start()
    assert is_reading.wait(60)
    delete(environment, list(values))
    assert give_back_space(environment) == 0
    may_end.set()
    reader.join()
    assert found == [values]
    assert give_back_space(environment) > 0


def test_any_history_of_writes(environment: LmdbEnvironment) -> None:
    drawn = random.Random(7)
    model: dict[bytes, bytes] = {}
    given = 0
    for _ in range(80):
        put_now = {
            b"%03d" % drawn.randrange(300): drawn.randbytes(drawn.choice([9, 900, 5000, 40_000]))
            for _ in range(drawn.randrange(6))
        }
        put(environment, put_now)
        model |= put_now
        gone = drawn.sample(sorted(model), min(len(model), drawn.randrange(5)))
        delete(environment, gone)
        for key in gone:
            del model[key]
        if drawn.random() < 0.3:
            given += give_back_space(environment)
            check_pages(environment)
        assert content(environment) == model
    assert given > 0


def test_an_environment_without_free_pages(environment: LmdbEnvironment) -> None:
    put(environment, values_of(3))
    assert give_back_space(environment) == 0


def test_a_file_system_without_holes(
    environment: LmdbEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = values_of(50)
    put(environment, values)
    delete(environment, list(values))
    monkeypatch.setattr(lmdb_space, "_punch", lambda *_: False)
    assert give_back_space(environment) == 0


def test_a_disk_that_refuses(environment: LmdbEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    values = values_of(50)
    put(environment, values)
    delete(environment, list(values)[1:])

    def refuse(*_: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(lmdb_space, "_punch", refuse)
    with pytest.raises(StorageError, match=r"cannot make holes in .*data\.mdb"):
        give_back_space(environment)
    assert content(environment) == {b"00000": values[b"00000"]}
