"""One LMDB environment per process and folder: transactions, map growth, fork, errors."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import threading
import weakref
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType, Protocol, Self, cast

import lmdb

from tensorvcs.errors import (
    ClosedError,
    DiskFullError,
    ObjectDamagedError,
    StateError,
    StorageError,
    WorkInProgressError,
    with_hint,
)
from tensorvcs.storage.durable import refusal, step, sync_folder
from tensorvcs.storage.lmdb_pages import find_wild_roots, is_cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DATABASES = ("objects", "refs", "operations", "packs", "loose")
"""Databases made with a new environment; others are made when first named."""

MAX_DATABASES = 16
# An address range, not a size on disk: 4 TiB spares every later growth. Where the process may
# not map that much, less will do, and the map grows when half of it is used.
_MAP_NBYTES = (4 << 40, 64 << 30, 4 << 30, 1 << 30, 256 << 20)
_MAX_READERS = 1022
_TABLE_NBYTES = 64 << 10  # what LMDB makes of so many
_FULL_NBYTES = 16 << 20
_WAIT_SECONDS = 60.0

_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.BadTxnError,
    lmdb.BadChecksumError,
)


Database = NewType("Database", str)


class Cursor(Protocol):
    """What is used of a cursor of py-lmdb; keys and values are copies."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def first(self) -> bool: ...
    def last(self) -> bool: ...
    def next(self) -> bool: ...
    def prev(self) -> bool: ...
    def set_key(self, key: bytes) -> bool: ...
    def set_range(self, key: bytes) -> bool: ...
    def key(self) -> bytes: ...
    def value(self) -> bytes: ...
    def put(self, key: bytes, val: bytes, *, overwrite: bool = True) -> bool: ...
    def delete(self) -> bool: ...
    def getmulti(self, keys: Iterable[bytes]) -> list[tuple[bytes, bytes]]: ...
    def putmulti(
        self,
        items: Iterable[tuple[bytes, bytes]],
        *,
        dupdata: bool = True,
        overwrite: bool = True,
        append: bool = False,
    ) -> tuple[int, int]: ...


class Transaction:
    """A transaction of LMDB, in which a database goes by its name.

    The handles of py-lmdb end when the environment is opened anew, for writing or after a
    fork; a name does not.
    """

    __slots__ = ("_databases", "_txn")

    def __init__(self, txn: lmdb.Transaction, databases: dict[str, Any]) -> None:
        self._txn = txn
        self._databases = databases

    def get(self, key: bytes, *, db: Database) -> bytes | None:
        """Return a copy of the value of `key`, or None."""
        return cast("bytes | None", self._txn.get(key, None, self._databases[db]))

    def put(
        self,
        key: bytes,
        value: bytes,
        *,
        db: Database,
        overwrite: bool = True,
        append: bool = False,
    ) -> bool:
        """Store a value; False when the key is there and `overwrite` is not wanted."""
        return bool(
            self._txn.put(key, value, db=self._databases[db], overwrite=overwrite, append=append)
        )

    def delete(self, key: bytes, *, db: Database) -> bool:
        """Remove a key; False when it is not there."""
        return bool(self._txn.delete(key, db=self._databases[db]))

    def cursor(self, *, db: Database) -> Cursor:
        """Return a cursor, a context manager, over one database."""
        return cast("Cursor", self._txn.cursor(db=self._databases[db]))

    def count(self, *, db: Database) -> int:
        """Return the number of keys of a database."""
        return int(self._txn.stat(self._databases[db])["entries"])

    def nbytes(self, *, db: Database) -> int:
        """Return the bytes of the pages of a database."""
        found = self._txn.stat(self._databases[db])
        pages = found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
        return int(pages * found["psize"])

    @property
    def number(self) -> int:
        """The number that LMDB gives to this write transaction."""
        return int(self._txn.id())

    def commit(self) -> None:
        """End a write transaction; only `LmdbEnvironment` calls it."""
        self._txn.commit()

    def abort(self) -> None:
        """End a transaction and undo it; only `LmdbEnvironment` calls it."""
        self._txn.abort()


class LmdbEnvironment:
    """The LMDB environment of a folder, shared by all objects of this process that name it.

    Picklable as its folder; after a fork the child opens its own on first use.

    Parameters
    ----------
    folder : Path
        Made when it is missing. Files in it get the modes that the umask allows.

    Raises
    ------
    StorageError
        The folder cannot be opened.
    ObjectDamagedError
        What is there is no LMDB environment.

    Notes
    -----
    A commit is on stable storage when `write` ends. A reader sees one version from its start
    to its end and never waits; keep it short, for the file cannot reuse pages freed since.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shared = _acquire(folder)
        self._release = weakref.finalize(self, _give_up, self._shared)

    def __reduce__(self) -> tuple[type[LmdbEnvironment], tuple[Path]]:
        return LmdbEnvironment, (self.folder,)

    def __repr__(self) -> str:
        return f"LmdbEnvironment({str(self.folder)!r})"

    def read(self) -> _Read:
        """Open a read transaction: ``with environment.read() as txn``.

        Inside `write` of the same thread it is that transaction, which sees its own writes;
        inside another `read` of the same thread it is that one.
        """
        return _Read(self._live())

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open the write transaction: ``with environment.write() as txn``.

        Nested use in one thread joins the outer transaction; other threads and processes wait.
        All is durable when the outermost block ends; an exception in any block undoes all.

        Raises
        ------
        StorageError
            The disk is full or refused; nothing was changed.
        ObjectDamagedError
            LMDB found its file damaged; nothing was changed.
        StateError
            An inner block failed and the outer one went on as if it had not.
        """
        shared = self._live()
        with shared.write_lock:
            if shared.writer is None:
                with shared.outer_write() as txn:
                    yield txn
            else:
                with shared.inner_write() as txn:
                    yield txn

    @property
    def is_writing(self) -> bool:
        """Whether this thread is inside `write`."""
        return self._live().writer_thread == threading.get_ident()

    def after_write(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` when the open write transaction of this thread ends.

        It gets True when the transaction is durable and False when it was undone. It runs
        outside of the transaction, in order of registration.
        """
        assert self.is_writing
        self._live().callbacks.append(callback)

    def database(self, name: str) -> Database:
        """Return the handle of a database for ``txn.get(key, db=...)``; made when missing.

        It stays good for the life of the environment. A name that is not in `DATABASES` must
        be asked for before `read` and `write`, not inside.
        """
        shared = self._live()
        if name not in shared.databases:
            with shared.write_lock:
                if shared.writer is not None:
                    raise StateError(f"database {name!r} must be opened before the transaction")
                with _translated(shared.path):
                    try:
                        shared.open_database(name)
                    except lmdb.NotFoundError:
                        shared.make_writable()
                        shared.open_database(name)
        return Database(name)

    @property
    def file_nbytes(self) -> int:
        """How much of the disk the data file takes; its holes take nothing."""
        found = (self.folder / "data.mdb").stat()
        return min(found.st_size, 512 * found.st_blocks)

    @property
    def free_nbytes(self) -> int:
        """The bytes on the disk that hold nothing and are used by the next writers.

        The file never becomes shorter, since other processes have it mapped; `give_back_space`
        leaves holes in it.
        """
        with self.read() as txn:
            used = sum(txn.nbytes(db=Database(name)) for name in DATABASES)
        return max(0, min(self._live().paged_nbytes(), self.file_nbytes) - used)

    def oldest_reader(self) -> int | None:
        """Return the number of the oldest version that any process is reading, None when none is.

        Those of processes that died are forgotten first.
        """
        return self._live().oldest_reader()

    @property
    def last_transaction(self) -> int:
        """The number of the last write transaction that changed anything, of any process."""
        return self._live().last_transaction()

    def close(self) -> None:
        """Give up this use of the environment; the last one closes the files."""
        self._release()

    def _live(self) -> _Shared:
        if not self._release.alive:
            raise ClosedError(f"the store in {self.folder} was closed")
        shared = self._shared
        if shared.is_stale:
            shared.reopen()
        return shared


def open_existing(folder: Path) -> LmdbEnvironment:
    """Return the environment of a folder, which must be there.

    Raises
    ------
    ObjectDamagedError
        It is gone: a new one in its place would look like an empty repository.
    """
    if not (folder / "data.mdb").exists():
        raise _damaged(f"{folder / 'data.mdb'} is gone")
    return LmdbEnvironment(folder)


class _Shared:
    """What all `LmdbEnvironment` objects of one folder share in this process."""

    def __init__(self, folder: Path) -> None:
        self.path = os.path.realpath(folder)
        self.identity: tuple[int, int] | None = None
        self.use_count = 0
        self.databases: dict[str, Any] = {}
        self.environment: lmdb.Environment | None = None
        self.is_writable = False
        self.is_abandoned = False
        self.reset()
        self.open(writable=False)

    def reset(self) -> None:
        """Drop everything that belongs to threads, which a fork does not copy."""
        self.is_stale = False
        self.write_lock = threading.RLock()
        self.readers_changed = threading.Condition(threading.Lock())
        self.reader_count = 0
        self.local = threading.local()
        self.writer: Transaction | None = None
        self.writer_thread: int | None = None
        self.has_failed = False
        self.callbacks: list[Callable[[bool], None]] = []

    def open(self, *, writable: bool) -> None:
        """Open the environment and the known databases.

        py-lmdb opens a named database in a write transaction, which waits for other writers,
        unless the environment is read-only; and readers must never wait. So it is opened for
        reading as long as it holds all that is known, and anew for the first write.
        """
        data = os.path.join(self.path, "data.mdb")  # noqa: PTH118
        try:
            os.makedirs(self.path, exist_ok=True)  # noqa: PTH103
            exists = os.path.exists(data)  # noqa: PTH110
            if exists and os.path.getsize(data) == 0:  # noqa: PTH202
                raise _damaged(f"{data} is empty: its content is lost")
        except OSError as error:
            raise StorageError(f"cannot open {self.path}: {error}") from error
        self._check_place()
        problem = find_wild_roots(Path(data)) if exists else None
        if problem is not None:
            raise _damaged(f"{data} is damaged: {problem}")
        with _translated(self.path):
            self.databases = {}
            self.is_writable = writable or not exists
            with _guard_lifted() if self.is_abandoned else nullcontext():
                self.environment = self._map()
            if not exists:
                # LMDB syncs its file, but not the name of it.
                sync_folder(Path(self.path))
            self._cover_pages(data)
            try:
                for name in DATABASES:
                    self.open_database(name)
            except lmdb.NotFoundError:
                self.close()
                self.open(writable=True)
            except ObjectDamagedError:
                self.close()
                raise

    def _check_place(self) -> None:
        """Refuse another folder than the one that was opened first."""
        found = os.stat(self.path)  # noqa: PTH116
        identity = found.st_dev, found.st_ino
        if self.identity is not None and self.identity != identity:
            raise with_hint(
                StateError(f"{self.path} was replaced since it was opened: it was recovered"),
                "open the repository anew",
            )
        self.identity = identity

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Keep the folder from being replaced while it is written."""
        owner = os.getpid()
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise refusal(f"cannot open {self.path}", error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise with_hint(
                    WorkInProgressError(f"nothing was stored: {self.path} is being recovered"),
                    "try again when 'tvcs recover' has ended",
                ) from None
            except OSError:
                pass  # a file system without locks
            self._check_place()
            yield
        finally:
            if os.getpid() == owner:
                # Closing alone would leave the lock to a child that was forked inside the block.
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def open_database(self, name: str) -> None:
        """Open a database in a transaction of its own; NotFoundError when it must be made."""
        assert self.environment is not None
        found = self.environment.open_db(name.encode(), create=self.is_writable)
        orders = [flag for flag, is_set in found.flags().items() if is_set]
        if orders:
            # Look-ups would go astray in it, while a walk through all of it finds nothing wrong.
            raise _damaged(f"{self.path}: the database {name} has the flags {', '.join(orders)}")
        self.databases[name] = found

    def _map(self) -> lmdb.Environment:
        _take_room(Path(self.path, "lock.mdb"))
        for map_nbytes in _MAP_NBYTES:
            try:
                return lmdb.open(
                    self.path,
                    map_size=map_nbytes,
                    max_dbs=MAX_DATABASES,
                    max_readers=_MAX_READERS,
                    mode=0o666,
                    readonly=not self.is_writable,
                )
            except lmdb.MemoryError:
                continue
        raise StorageError(f"the process may not map even {_MAP_NBYTES[-1]} bytes of {self.path}")

    def _cover_pages(self, data: str) -> None:
        """Extend a file that is shorter than its pages, so that no access can be a bus error.

        LMDB leaves the last pages out when they were freed in the transaction that took them. In
        a file that was cut some of them are in use, and LMDB must not look at it.
        """
        assert self.environment is not None
        page_nbytes = self.environment.stat()["psize"]
        wanted = (self.environment.info()["last_pgno"] + 1) * page_nbytes
        with suppress(OSError):
            if os.stat(data).st_size < wanted:  # noqa: PTH116
                if is_cut(Path(data), page_nbytes):
                    found = os.stat(data).st_size  # noqa: PTH116
                    self.close()
                    raise _damaged(
                        f"{data} was cut: it has {found} bytes of {wanted}, and some of those that "
                        "it lacks are in use"
                    )
                with open(data, "r+b") as file:  # noqa: PTH123
                    os.posix_fallocate(file.fileno(), 0, wanted)

    def reopen(self) -> None:
        """Open anew in a forked child."""
        with _REGISTRY_LOCK:
            if not self.is_stale:
                return
            self.open(writable=False)
            self.is_stale = False

    def close(self) -> None:
        if self.environment is not None:
            self.environment.close()
            self.environment = None

    def paged_nbytes(self) -> int:
        assert self.environment is not None
        last_page = int(self.environment.info()["last_pgno"])
        return (last_page + 1) * int(self.environment.stat()["psize"])

    def last_transaction(self) -> int:
        assert self.environment is not None
        return int(self.environment.info()["last_txnid"])

    def oldest_reader(self) -> int | None:
        assert self.environment is not None
        with _translated(self.path):
            self.environment.reader_check()
            # A heading, and a line each: process, thread and version, or "-" for none.
            lines = self.environment.readers().splitlines()[1:]
        versions = [line.split()[-1] for line in lines]
        return min((int(version) for version in versions if version != "-"), default=None)

    def begin_read(self) -> Transaction:
        try:
            return self._begin_counted()
        except lmdb.MapResizedError:
            self.resize(0)
            return self._begin_counted()

    def _begin_counted(self) -> Transaction:
        assert self.environment is not None
        with self.readers_changed:
            self.reader_count += 1
        try:
            return Transaction(self.environment.begin(), self.databases)
        except BaseException:
            self.end_read()
            raise

    def end_read(self) -> None:
        with self.readers_changed:
            self.reader_count -= 1
            self.readers_changed.notify_all()

    @contextmanager
    def _without_readers(self) -> Iterator[None]:
        """Keep readers of this process out, to replace the map that they would look at."""
        with self.readers_changed:
            if not self.readers_changed.wait_for(lambda: self.reader_count == 0, _WAIT_SECONDS):
                raise StorageError(f"a reader keeps the map of {self.path} from being replaced")
            yield

    def resize(self, map_nbytes: int) -> None:
        """Map anew, with another size."""
        with self._without_readers():
            assert self.environment is not None
            self.environment.set_mapsize(map_nbytes)

    def make_writable(self) -> None:
        """Open anew for writing."""
        if not self.is_writable:
            with self._without_readers(), _REGISTRY_LOCK:
                self.close()
                try:
                    self.open(writable=True)
                except BaseException:
                    # Who may not write, or cannot now, goes on reading.
                    self.close()
                    self.open(writable=False)
                    raise

    def begin_write(self) -> Transaction:
        if getattr(self.local, "reader", None) is not None:
            raise StateError("a write was begun inside a read of the same thread")
        self.make_writable()
        assert self.environment is not None
        info = self.environment.info()
        map_nbytes = info["map_size"]
        if map_nbytes < _MAP_NBYTES[0] and info["last_pgno"] * 4096 > map_nbytes // 2:
            self.resize(2 * map_nbytes)
        try:
            return Transaction(self.environment.begin(write=True), self.databases)
        except lmdb.MapResizedError:
            self.resize(0)
            return Transaction(self.environment.begin(write=True), self.databases)

    @contextmanager
    def outer_write(self) -> Iterator[Transaction]:
        with self._in_place(), self._outer_write() as txn:
            yield txn

    @contextmanager
    def _outer_write(self) -> Iterator[Transaction]:
        with _translated(self.path):
            txn = self.writer = self.begin_write()
        self.writer_thread = threading.get_ident()
        self.has_failed = False
        is_durable = False
        try:
            with _translated(self.path):
                yield txn
                if self.has_failed:
                    raise StateError(
                        "nothing was stored: a part of the transaction failed, and its error "
                        "was not passed on"
                    )
                if self.writer is not txn:
                    raise StateError("a transaction ends in the process that began it")
                number = txn.number
                step("transaction complete")
                try:
                    txn.commit()
                except lmdb.Error:
                    raise
                except BaseException:
                    # An interrupt that comes while LMDB commits is raised when it has done so.
                    is_durable = self.last_transaction() >= number
                    raise
                is_durable = True
                step("transaction durable")
        finally:
            if self.writer is txn:  # not so in a child forked inside the block
                self.writer = self.writer_thread = None
                callbacks, self.callbacks = self.callbacks, []
                if not is_durable:
                    with suppress(lmdb.Error):  # a commit that failed has ended it already
                        txn.abort()
                for callback in callbacks:
                    callback(is_durable)

    @contextmanager
    def inner_write(self) -> Iterator[Transaction]:
        assert self.writer is not None
        if self.has_failed:
            raise StateError("an earlier part of this transaction failed")
        try:
            with _translated(self.path):
                yield self.writer
        except BaseException:
            self.has_failed = True
            raise


class _Read:
    """The context manager of one read; a class because it is on the path of single look-ups."""

    __slots__ = ("_own", "_shared")

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._own: Transaction | None = None

    def __enter__(self) -> Transaction:
        shared = self._shared
        if shared.writer_thread == threading.get_ident():
            assert shared.writer is not None
            return shared.writer
        joined: Transaction | None = getattr(shared.local, "reader", None)
        if joined is not None:
            return joined
        try:
            self._own = shared.begin_read()
        except lmdb.Error as error:
            raise _translate(error, shared.path) from error
        shared.local.reader = self._own
        return self._own

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        own = self._own
        if own is not None:
            joined: Transaction | None = getattr(self._shared.local, "reader", None)
            if joined is own:
                self._shared.local.reader = None
                own.abort()
                self._shared.end_read()
            self._own = None  # after a fork inside the block it is left to the parent
        if isinstance(error, lmdb.Error):
            raise _translate(error, self._shared.path) from error


_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What opening says on a network file system that cannot lock."""

_REGISTRY: dict[tuple[int, int], _Shared] = {}
_REGISTRY_LOCK = threading.RLock()


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _acquire(folder: Path) -> _Shared:
    """Return the shared environment of a folder, opened when this process has none."""
    with _REGISTRY_LOCK:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            key = _identity(folder)
        except OSError as error:
            raise StorageError(f"cannot open {folder}: {error}") from error
        shared = _REGISTRY.get(key)
        if shared is None:
            shared = _REGISTRY[key] = _Shared(folder)
        shared.use_count += 1
        return shared


def _give_up(shared: _Shared) -> None:
    with _REGISTRY_LOCK:
        shared.use_count -= 1
        if shared.use_count == 0:
            for key in [k for k, v in _REGISTRY.items() if v is shared]:
                del _REGISTRY[key]
            shared.close()


def _abandon() -> None:
    """Leave every environment of the parent behind, in a forked child.

    Closing it here would end the transactions of the parent in the reader table that both
    share, or wait for a thread that was not copied. So the inherited objects are leaked: a
    reference that nobody gives back keeps even the end of the interpreter from closing them.
    """
    global _REGISTRY_LOCK  # noqa: PLW0603
    _REGISTRY_LOCK = threading.RLock()
    for shared in _REGISTRY.values():
        for inherited in (shared.environment, shared.writer):
            if inherited is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
        shared.environment = None
        shared.databases = {}
        shared.reset()
        shared.is_stale = shared.is_abandoned = True


os.register_at_fork(after_in_child=_abandon)


@contextmanager
def _guard_lifted() -> Iterator[None]:
    """Let py-lmdb open files that it takes for open because an abandoned environment is there.

    Its guard protects the POSIX locks of the process; those are not inherited through a fork.
    """
    try:
        from lmdb import _envid
    except ImportError:  # a py-lmdb without the guard
        yield
        return
    keys = _envid.env_keys
    _envid.env_keys = lambda path, subdir: ()
    try:
        yield
    finally:
        _envid.env_keys = keys


def _take_room(table: Path) -> None:
    """Set disk aside for the whole table of readers, which LMDB writes through its map.

    Otherwise a reader on a full disk, even the first, would end with a bus error. LMDB must not
    have the file open in this process: closing it here would end its locks.

    Raises
    ------
    DiskFullError
        There is no room for any of it.
    """
    try:
        descriptor = os.open(table, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return  # LMDB says what is wrong, or can do without
    try:
        os.posix_fallocate(descriptor, 0, _TABLE_NBYTES)
    except OSError as error:
        refused = refusal(f"cannot open {table}", error)
        # The first page of a table that was made without is enough for 60 readers.
        if isinstance(refused, DiskFullError) and not os.fstat(descriptor).st_blocks:
            raise refused from error
    finally:
        os.close(descriptor)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except lmdb.Error as error:
        raise _translate(error, path) from error


def _damaged(problem: str) -> ObjectDamagedError:
    return with_hint(
        ObjectDamagedError(problem),
        "run 'tvcs recover' to make a new one of all that is left in it",
    )


def _translate(error: lmdb.Error, path: str) -> StorageError | ObjectDamagedError:
    if isinstance(error, _DAMAGE):
        return _damaged(f"the LMDB file in {path} is damaged: {error}")
    problem = f"LMDB in {path} refused"
    if isinstance(error, lmdb.MapFullError):
        full_map = DiskFullError(f"{problem}: {error}")
        return with_hint(full_map, "free space on the disk and try again")
    # As LMDB says of a write that ends too early.
    is_cut = os.strerror(errno.EIO) in str(error)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    translated = refusal(problem, full if is_cut and _is_full(path) else error)
    if isinstance(translated, DiskFullError):
        return translated
    if isinstance(error, lmdb.ReadonlyError) or os.strerror(errno.EACCES) in str(error):
        return with_hint(translated, "check the permissions of the folder")
    if any(os.strerror(number) in str(error) for number in _NO_LOCKS):
        return with_hint(translated, "keep the repository on a local disk")
    return translated


def _is_full(path: str) -> bool:
    """Tell whether a disk has less room than LMDB writes at once."""
    with suppress(OSError):
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize < _FULL_NBYTES
    return False
