"""ObjectStore on LMDB: nodes, snapshots, commits and tags by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorvcs.errors import DigestMismatchError, ObjectNotFoundError
from tensorvcs.objects.digest import DIGEST_NBYTES, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment

DATABASE = "objects"


class LmdbObjects:
    """ObjectStore in the database `objects` of an LMDB environment.

    Parameters
    ----------
    environment : LmdbEnvironment
    supply : callable, optional
        The promisor of a partial clone: called with this store and the digests of objects that
        are read and not here; puts them here, or raises. Picklable when the store is to be.
    """

    def __init__(
        self,
        environment: LmdbEnvironment,
        supply: Callable[[ObjectStore, Sequence[bytes]], None] | None = None,
    ) -> None:
        self._environment = environment
        self.supply = supply

    def _find(self, digests: Sequence[bytes]) -> list[bytes | None]:
        database = self._environment.database(DATABASE)
        with self._environment.read() as txn:
            return [txn.get(digest, db=database) for digest in digests]

    def get(self, digests: Sequence[bytes]) -> list[bytes]:
        found = self._find(digests)
        if self.supply is not None and None in found:
            self.supply(self, [d for d, c in zip(digests, found, strict=True) if c is None])
            found = self._find(digests)
        objects: list[bytes] = []
        for digest, content in zip(digests, found, strict=True):
            if content is None:
                raise ObjectNotFoundError(f"object {digest.hex()} is not in the repository")
            if digest_of(content) != digest:
                raise DigestMismatchError(
                    f"object {digest.hex()} ({len(content)} bytes) does not hash to its name"
                )
            objects.append(content)
        return objects

    def put(self, objects: Sequence[bytes]) -> list[bytes]:
        digests = [digest_of(content) for content in objects]
        if digests:
            database = self._environment.database(DATABASE)
            with self._environment.write() as txn, txn.cursor(db=database) as cursor:
                pairs = sorted(zip(digests, objects, strict=True))
                cursor.putmulti(pairs, dupdata=False, overwrite=False)
        return digests

    def missing(self, digests: Sequence[bytes]) -> list[bytes]:
        database = self._environment.database(DATABASE)
        with self._environment.read() as txn, txn.cursor(db=database) as cursor:
            return [digest for digest in digests if not cursor.set_key(digest)]

    def find(self, prefix_hex: str, limit: int = 3) -> list[bytes]:
        database = self._environment.database(DATABASE)
        low = bytes.fromhex(prefix_hex.ljust(2 * DIGEST_NBYTES, "0"))
        found: list[bytes] = []
        with self._environment.read() as txn, txn.cursor(db=database) as cursor:
            there = cursor.set_range(low)
            while there and cursor.key().hex().startswith(prefix_hex) and len(found) < limit:
                found.append(cursor.key())
                there = cursor.next()
        return found

    def iter_digests(self) -> Iterator[bytes]:
        """Yield the digests of all objects, in order, a batch of them a read transaction."""
        last: bytes | None = None
        while True:
            batch = self._digests_after(last, 4096)
            yield from batch
            if not batch:
                return
            last = batch[-1]

    def _digests_after(self, last: bytes | None, limit: int) -> list[bytes]:
        database = self._environment.database(DATABASE)
        with self._environment.read() as txn, txn.cursor(db=database) as cursor:
            there = cursor.first() if last is None else cursor.set_range(last)
            if there and cursor.key() == last:
                there = cursor.next()
            found: list[bytes] = []
            while there and len(found) < limit:
                found.append(cursor.key())
                there = cursor.next()
        return found
