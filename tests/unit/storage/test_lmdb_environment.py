"""Transactions that nest, environments that are shared, forks, and errors that are ours."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import lmdb
import pytest

from benchmarks.trust.harm import flip_bit
from tensorvcs.errors import (
    ClosedError,
    DiskFullError,
    ObjectDamagedError,
    StateError,
    StorageError,
    WorkInProgressError,
)
from tensorvcs.storage import lmdb_environment
from tensorvcs.storage.lmdb_environment import Database, LmdbEnvironment
from tensorvcs.storage.lmdb_scan import PageFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[LmdbEnvironment]:
    found = LmdbEnvironment(tmp_path / "lmdb")
    yield found
    found.close()


def get(environment: LmdbEnvironment, key: bytes) -> bytes | None:
    with environment.read() as txn:
        return txn.get(key, db=environment.database("objects"))


def put(environment: LmdbEnvironment, key: bytes, value: bytes = b"1") -> None:
    with environment.write() as txn:
        txn.put(key, value, db=environment.database("objects"))


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    first = LmdbEnvironment(tmp_path)
    put(first, b"a")
    first.close()
    assert get(LmdbEnvironment(tmp_path), b"a") == b"1"


def test_one_folder_is_opened_once_in_a_process(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    first, second = LmdbEnvironment(tmp_path / "real"), LmdbEnvironment(tmp_path / "link")
    put(first, b"a")
    assert get(second, b"a") == b"1"
    first.close()
    assert get(second, b"a") == b"1"
    with pytest.raises(ClosedError):
        get(first, b"a")
    second.close()
    first.close()


def test_an_environment_that_nobody_holds_is_closed(tmp_path: Path) -> None:
    LmdbEnvironment(tmp_path)
    assert not any(s.path == str(tmp_path) for s in lmdb_environment._REGISTRY.values())


def test_a_folder_that_was_made_anew_is_another_environment(tmp_path: Path) -> None:
    old = LmdbEnvironment(tmp_path / "lmdb")
    put(old, b"a")
    (tmp_path / "lmdb").rename(tmp_path / "moved")
    new = LmdbEnvironment(tmp_path / "lmdb")
    assert get(new, b"a") is None
    assert get(old, b"a") == b"1"


def test_an_exception_undoes_all(environment: LmdbEnvironment) -> None:
    with pytest.raises(KeyError), environment.write():
        put(environment, b"a")
        assert get(environment, b"a") == b"1"
        raise KeyError
    assert get(environment, b"a") is None


def test_an_inner_failure_that_is_swallowed_undoes_all(environment: LmdbEnvironment) -> None:
    with pytest.raises(StateError, match="nothing was stored"), environment.write():
        put(environment, b"a")
        with pytest.raises(KeyError), environment.write():
            raise KeyError
    assert get(environment, b"a") is None
    with pytest.raises(StateError, match="earlier part"), environment.write():
        with pytest.raises(KeyError), environment.write():
            raise KeyError
        put(environment, b"a")
    put(environment, b"b")
    assert get(environment, b"b") == b"1"


def test_other_threads_wait_and_see_nothing_unfinished(environment: LmdbEnvironment) -> None:
    is_inside, seen = threading.Event(), []

    def other() -> None:
        is_inside.wait()
        seen.append(get(environment, b"a"))
        put(environment, b"b", get(environment, b"a") or b"none")
        seen.append(get(environment, b"a"))

    with ThreadPoolExecutor(1) as pool:
        with environment.write():
            put(environment, b"a")
            task = pool.submit(other)
            is_inside.set()
            while not seen:
                pass
        task.result()
    assert seen == [None, b"1"]


def test_a_write_inside_a_read_is_refused(environment: LmdbEnvironment) -> None:
    with environment.read(), pytest.raises(StateError), environment.write():
        pass


def test_a_read_inside_a_read_sees_the_same_version(environment: LmdbEnvironment) -> None:
    with ThreadPoolExecutor(1) as pool, environment.read():
        pool.submit(put, environment, b"a").result()
        assert get(environment, b"a") is None
    assert get(environment, b"a") == b"1"


def test_callbacks_tell_how_the_transaction_ended(environment: LmdbEnvironment) -> None:
    ends: list[object] = []
    with environment.write():
        environment.after_write(ends.append)
        with environment.write():
            environment.after_write(lambda is_durable: ends.append((2, is_durable)))
        assert ends == []
    with pytest.raises(KeyError), environment.write():
        environment.after_write(ends.append)
        raise KeyError
    with environment.write():
        pass
    assert ends == [True, (2, True), False]


def test_another_database_is_made_when_it_is_named(environment: LmdbEnvironment) -> None:
    with environment.read() as txn:
        assert txn.count(db=environment.database("objects")) == 0
    other = environment.database("another")
    with environment.write() as txn:
        assert txn.put(b"a", b"1", db=other)
        assert not txn.put(b"a", b"2", db=other, overwrite=False)
        assert txn.nbytes(db=other) > 0
        assert txn.delete(b"b", db=other) is False
    assert get(environment, b"a") is None
    with environment.write() as txn, pytest.raises(StateError):
        environment.database("a third")


def test_the_modes_of_files_keep_to_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        put(LmdbEnvironment(tmp_path / "lmdb"), b"a")
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "lmdb").iterdir()} == {0o640}


def test_a_pickle_is_the_folder(environment: LmdbEnvironment) -> None:
    put(environment, b"a")
    assert get(pickle.loads(pickle.dumps(environment)), b"a") == b"1"


def run_in_child(act: object) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()  # type: ignore[operator]
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_reads_and_writes(environment: LmdbEnvironment) -> None:
    put(environment, b"a")

    def act() -> None:
        assert get(environment, b"a") == b"1"
        put(environment, b"b")
        run_in_child(lambda: put(environment, b"c"))

    run_in_child(act)
    assert [get(environment, key) for key in (b"a", b"b", b"c")] == [b"1"] * 3


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_inside_a_read_leaves_the_reader_protected(environment: LmdbEnvironment) -> None:
    def put_fifty() -> None:
        for i in range(50):
            put(environment, b"a", bytes([i]))

    put(environment, b"a")
    with environment.read() as txn:
        run_in_child(put_fifty)
        # Were the slot of this reader freed by the child, its pages would be written over.
        assert txn.get(b"a", db=environment.database("objects")) == b"1"
    assert get(environment, b"a") == bytes([49])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_inside_a_write_of_any_thread(environment: LmdbEnvironment) -> None:
    put(environment, b"before")

    def act() -> None:
        assert get(environment, b"a") is None
        assert get(environment, b"before") == b"1"

    with environment.write():
        put(environment, b"a")
        run_in_child(act)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(run_in_child, act).result()
    assert get(environment, b"a") == b"1"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_cannot_commit_for_its_parent(environment: LmdbEnvironment) -> None:
    def fork_inside() -> int:
        with environment.write():
            put(environment, b"a")
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
                raise KeyError
        return child

    parent = os.getpid()
    code = 1
    try:
        fork_inside()
    except KeyError:
        pass
    except StateError:
        code = 0
    finally:
        if os.getpid() != parent:
            os._exit(code)
    assert get(environment, b"a") is None


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_opening_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    put(LmdbEnvironment(tmp_path), b"a")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with LmdbEnvironment(tmp_path).write():
            os.write(write, b"x")
            signal.pause()
    assert os.read(read, 1) == b"x"
    try:
        assert get(LmdbEnvironment(tmp_path), b"a") == b"1"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)
    # The lock of a writer that was killed does not stay.
    put(LmdbEnvironment(tmp_path), b"b")


def test_a_small_map_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_environment, "_MAP_NBYTES", (1 << 40,))
    monkeypatch.setattr(lmdb_environment, "_MAP_NBYTES", (1 << 30, 1 << 20))
    refused = lmdb.open

    def small(path: str, map_size: int, **settings: object) -> lmdb.Environment:
        if map_size > 1 << 20:
            raise lmdb.MemoryError("no room")
        return refused(path, map_size=map_size, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(lmdb, "open", small)
    environment = LmdbEnvironment(tmp_path)
    for i in range(40):
        put(environment, bytes([i]), bytes(100_000))
    assert environment.file_nbytes > 4_000_000
    monkeypatch.setattr(lmdb_environment, "_MAP_NBYTES", (1 << 20,))
    with pytest.raises(StorageError, match="MAP_FULL") as caught:
        for i in range(90):
            put(environment, bytes([i, 0]), bytes(100_000))
    assert caught.value.hint
    assert get(environment, bytes([39])) == bytes(100_000)


def test_a_map_that_another_process_made_larger_is_mapped_anew(
    environment: LmdbEnvironment,
) -> None:
    raised: list[int] = []

    class Resized:
        def __init__(self, wrapped: lmdb.Environment) -> None:
            self.wrapped = wrapped

        def begin(self, *, write: bool = False) -> lmdb.Transaction:
            if len(raised) < 1:
                raised.append(1)
                raise lmdb.MapResizedError("larger")
            return self.wrapped.begin(write=write)

        def __getattr__(self, name: str) -> object:
            return getattr(self.wrapped, name)

    put(environment, b"a")
    shared = environment._shared
    assert shared.environment is not None
    shared.environment = Resized(shared.environment)  # type: ignore[assignment]
    assert get(environment, b"a") == b"1"
    raised.clear()
    put(environment, b"b")
    assert raised


def test_a_damaged_file_is_damage(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path)
    for i in range(300):
        put(environment, b"%04d" % i, bytes(500))
    environment.close()
    data = tmp_path / "data.mdb"
    content = data.read_bytes()
    for damage in (b"", b"\0" * len(content), b"no LMDB" * 4000):
        data.write_bytes(damage)
        with pytest.raises((ObjectDamagedError, StorageError)):
            get(LmdbEnvironment(tmp_path), b"0000")


def test_a_cut_file_is_damage_and_no_bus_error(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path)
    with environment.write() as txn:
        for i in range(3000):
            txn.put(b"%04d" % i, bytes(500), db=environment.database("objects"))
    environment.close()
    data = tmp_path / "data.mdb"
    with data.open("r+b") as file:
        file.truncate(data.stat().st_size // 2)
    with pytest.raises(ObjectDamagedError):
        for i in range(3000):
            get(LmdbEnvironment(tmp_path), b"%04d" % i)


def test_a_folder_that_cannot_be_opened_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        LmdbEnvironment(tmp_path / "file")


def _small_maps(patch: pytest.MonkeyPatch) -> None:
    """Have environments begin with a map of 1 MiB, as where the process may not map more."""
    whole = lmdb.open
    patch.setattr(lmdb_environment, "_MAP_NBYTES", (64 << 20, 1 << 20))
    patch.setattr(lmdb, "open", lambda *a, **k: whole(*a, **{**k, "map_size": 1 << 20}))


def _grow(path: Path, asked: Any, answered: Any) -> None:
    """Read what the other process wrote, and write as much, with a map of our own size."""
    with pytest.MonkeyPatch.context() as patch:
        _small_maps(patch)
        environment = LmdbEnvironment(path)
        while (number := asked.get(timeout=60)) is not None:
            seen = get(environment, b"p%d" % number) == bytes(100_000)
            put(environment, b"c%d" % number, bytes(100_000))
            answered.put(seen)
        environment.close()


def test_the_map_grows_in_two_processes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_maps(monkeypatch)
    environment = LmdbEnvironment(tmp_path / "lmdb")
    put(environment, b"a")
    context = multiprocessing.get_context("spawn")
    asked, answered = context.Queue(), context.Queue()
    child = context.Process(target=_grow, args=(tmp_path / "lmdb", asked, answered))
    child.start()
    try:
        for number in range(20):
            put(environment, b"p%d" % number, bytes(100_000))
            asked.put(number)
            assert answered.get(timeout=60)
            assert get(environment, b"c%d" % number) == bytes(100_000)
    finally:
        asked.put(None)
        child.join(60)
    assert child.exitcode == 0
    assert environment.file_nbytes > 3 << 20
    environment.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: str, **_: Any) -> lmdb.Environment:
        raise lmdb.Error(f"{path}: {os.strerror(number)}")

    monkeypatch.setattr(lmdb, "open", refuse)
    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        LmdbEnvironment(tmp_path / "lmdb")
    assert caught.value.hint == "keep the repository on a local disk"


def test_the_table_of_readers_has_its_place_on_the_disk(tmp_path: Path) -> None:
    """Otherwise a reader on a full disk would end with a bus error, as it maps the table."""
    made = LmdbEnvironment(tmp_path)
    found = (tmp_path / "lock.mdb").stat()
    assert found.st_size == lmdb_environment._TABLE_NBYTES
    assert found.st_blocks * 512 >= found.st_size
    made.close()


@pytest.mark.parametrize("is_there", [False, True])
def test_a_full_disk_refuses_a_table_of_readers_that_has_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_there: bool
) -> None:
    if is_there:
        made = LmdbEnvironment(tmp_path)
        put(made, b"a")
        made.close()

    def refuse(descriptor: int, start: int, nbytes: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    if is_there:
        assert get(LmdbEnvironment(tmp_path), b"a") == b"1"
    else:
        with pytest.raises(DiskFullError, match=r"cannot open .*lock.mdb: No space left"):
            LmdbEnvironment(tmp_path)


def test_an_interrupt_during_a_commit_is_told_from_one_before(
    environment: LmdbEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = lmdb_environment.Transaction.commit
    database = environment.database("things")

    def behind(self: lmdb_environment.Transaction) -> None:
        commit(self)
        raise KeyboardInterrupt

    def before(self: lmdb_environment.Transaction) -> None:
        raise KeyboardInterrupt

    told: list[bool] = []
    for key, interrupt in ((b"a", behind), (b"b", before)):
        monkeypatch.setattr(lmdb_environment.Transaction, "commit", interrupt)
        with pytest.raises(KeyboardInterrupt), environment.write() as txn:
            txn.put(key, b"1", db=database)
            environment.after_write(told.append)
        monkeypatch.undo()
    assert told == [True, False]
    with environment.write() as txn:
        assert [txn.get(key, db=database) for key in (b"a", b"b")] == [b"1", None]


def test_a_write_that_is_refused_leaves_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = LmdbEnvironment(tmp_path)
    put(first, b"a")
    first.close()
    environment = LmdbEnvironment(tmp_path)
    assert get(environment, b"a") == b"1"
    real = lmdb.open

    def refuse(path: str, *, readonly: bool, **settings: Any) -> lmdb.Environment:
        if not readonly:
            raise lmdb.Error(f"{path}: {os.strerror(errno.EACCES)}")
        return real(path, readonly=readonly, **settings)

    monkeypatch.setattr(lmdb, "open", refuse)
    for _ in range(2):
        with pytest.raises(StorageError, match="Permission denied"), environment.write():
            pass
        assert get(environment, b"a") == b"1"
    monkeypatch.undo()
    put(environment, b"b")
    assert get(environment, b"b") == b"1"
    environment.close()


def test_an_environment_that_was_replaced_is_not_written(tmp_path: Path) -> None:
    """Who has it open would write to what was put aside, and nobody would find it."""
    old, folder = LmdbEnvironment(tmp_path / "lmdb"), tmp_path / "lmdb"
    put(old, b"a")
    idle = pickle.loads(pickle.dumps(old))
    folder.rename(tmp_path / "aside")
    LmdbEnvironment(folder).close()
    assert get(old, b"a") == b"1"
    for environment in (old, idle):
        with pytest.raises(StateError, match="was replaced") as caught:
            put(environment, b"b")
        assert caught.value.hint == "open the repository anew"
    put(LmdbEnvironment(folder), b"c")


def test_nothing_is_written_while_it_is_recovered(environment: LmdbEnvironment) -> None:
    put(environment, b"a")
    descriptor = os.open(environment.folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(WorkInProgressError, match="is being recovered"):
            put(environment, b"b")
        assert get(environment, b"a") == b"1"
    finally:
        os.close(descriptor)
    put(environment, b"b")


def test_damage_names_the_command_that_recovers(tmp_path: Path) -> None:
    LmdbEnvironment(tmp_path).close()
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(ObjectDamagedError) as caught:
        LmdbEnvironment(tmp_path)
    assert "tvcs recover" in (caught.value.hint or "")


def test_a_database_whose_order_was_changed_is_damaged(tmp_path: Path) -> None:
    environment = LmdbEnvironment(tmp_path)
    with environment.write() as txn:
        txn.put(b"refs/heads/main", b"1", db=Database("refs"))
    environment.close()
    with PageFile(tmp_path / "data.mdb") as file:
        root = file.heads()[0].main.root
        assert root is not None
        at = root * file.page_nbytes + file.page(root).index(b"refs") + len(b"refs") + 4
    flip_bit(tmp_path / "data.mdb", at, 1)
    with pytest.raises(ObjectDamagedError, match="the database refs has the flags reverse_key"):
        LmdbEnvironment(tmp_path)
