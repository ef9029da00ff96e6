"""RefStore on LMDB: refs and the operation log, changed in one transaction."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tensorvcs.errors import ObjectDamagedError, RefChangedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorvcs.storage.interfaces import RefChange
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment

REFS_DATABASE = "refs"
OPERATIONS_DATABASE = "operations"
_NUMBER = struct.Struct(">Q")
_MAX_KEY_NBYTES = 511  # of LMDB


def _key(name: str) -> bytes | None:
    """Return the key of a name, or None when no ref can have it."""
    try:
        key = name.encode()
    except UnicodeEncodeError:
        return None
    return key if 0 < len(key) <= _MAX_KEY_NBYTES else None


def _name(key: bytes) -> str:
    """Return the name of a key; of one that was damaged a name that no ref can have."""
    return key.decode(errors="backslashreplace")


def _number(key: bytes) -> int:
    if len(key) != _NUMBER.size:
        raise ObjectDamagedError(f"the operation log has an entry under the key {key.hex()}")
    number: int = _NUMBER.unpack(key)[0]
    return number


class LmdbRefs:
    """RefStore in the databases `refs` and `operations` of an LMDB environment."""

    def __init__(self, environment: LmdbEnvironment) -> None:
        self._environment = environment

    def get(self, name: str) -> bytes | None:
        database = self._environment.database(REFS_DATABASE)
        key = _key(name)
        if key is None:
            return None
        with self._environment.read() as txn:
            return txn.get(key, db=database)

    def items(self, prefix: str = "") -> Mapping[str, bytes]:
        database = self._environment.database(REFS_DATABASE)
        start = prefix.encode()
        found: dict[str, bytes] = {}
        with self._environment.read() as txn, txn.cursor(db=database) as cursor:
            there = cursor.set_range(start) if start else cursor.first()
            while there and cursor.key().startswith(start):
                found[_name(cursor.key())] = cursor.value()
                there = cursor.next()
        return found

    def swap(self, changes: Sequence[RefChange], operation: bytes | None = None) -> None:
        refs = self._environment.database(REFS_DATABASE)
        operations = self._environment.database(OPERATIONS_DATABASE)
        with self._environment.write() as txn:
            for change in changes:
                found = txn.get(change.name.encode(), db=refs)
                if found != change.before:
                    raise RefChangedError(
                        f"ref {change.name} was changed by somebody else in the meantime"
                    )
            for change in changes:
                if change.after is None:
                    txn.delete(change.name.encode(), db=refs)
                else:
                    txn.put(change.name.encode(), change.after, db=refs)
            if operation is not None:
                with txn.cursor(db=operations) as cursor:
                    last = _number(cursor.key()) if cursor.last() else 0
                txn.put(_NUMBER.pack(last + 1), operation, db=operations, append=True)

    def operations(self, limit: int | None = None) -> list[tuple[int, bytes]]:
        database = self._environment.database(OPERATIONS_DATABASE)
        found: list[tuple[int, bytes]] = []
        with self._environment.read() as txn, txn.cursor(db=database) as cursor:
            there = cursor.last()
            while there and (limit is None or len(found) < limit):
                found.append((_number(cursor.key()), cursor.value()))
                there = cursor.prev()
        return found

    def forget_operations(self, before: int) -> None:
        """Delete the records with a lower number than `before`; the newest one stays."""
        database = self._environment.database(OPERATIONS_DATABASE)
        with self._environment.write() as txn:
            with txn.cursor(db=database) as cursor:
                last = cursor.key() if cursor.last() else b""
                forgotten = []
                there = cursor.first()
                while there and cursor.key() < min(_NUMBER.pack(before), last):
                    forgotten.append(cursor.key())
                    there = cursor.next()
            for key in forgotten:
                txn.delete(key, db=database)
