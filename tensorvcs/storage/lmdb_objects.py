"""ObjectStore on LMDB: nodes, snapshots, commits and tags by digest."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tensorvcs.errors import (
    DigestMismatchError,
    ObjectNotFoundError,
    StateError,
    StorageError,
)
from tensorvcs.objects.digest import DIGEST_NBYTES, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorvcs.storage.interfaces import ObjectStore
    from tensorvcs.storage.lmdb_environment import LmdbEnvironment

_log = logging.getLogger(__name__)

DATABASE = "objects"
_BATCH_DIGESTS = 16384


class LmdbObjects:
    """ObjectStore in the database `objects` of an LMDB environment.

    Parameters
    ----------
    environment : LmdbEnvironment
    supply : callable, optional
        The promisor of a partial clone: called with this store and the digests of objects that
        are read and not here; puts them here, or raises. Picklable when the store is to be.
    rescue : callable, optional
        Return an object that was found to be damaged when it was read, or None. It is put in the
        place of the damaged one. Picklable when the store is to be.
    """

    def __init__(
        self,
        environment: LmdbEnvironment,
        supply: Callable[[ObjectStore, Sequence[bytes]], None] | None = None,
        rescue: Callable[[bytes], bytes | None] | None = None,
    ) -> None:
        self._environment = environment
        self.supply = supply
        self.rescue = rescue

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
            objects.append(content if digest_of(content) == digest else self._rescued(digest))
        return objects

    def _rescued(self, digest: bytes) -> bytes:
        """Return what a damaged object was, and put it in its place."""
        damage = DigestMismatchError(f"object {digest.hex()} does not hash to its name")
        content = None if self.rescue is None else self.rescue(digest)
        if content is None:
            raise damage
        try:
            self.replace([(digest, content)])
        except (StateError, StorageError) as error:
            _log.warning("damaged object %s could not be replaced: %s", digest.hex(), error)
        else:
            _log.warning("object %s was damaged and came from elsewhere", digest.hex())
        return content

    def put(self, objects: Sequence[bytes]) -> list[bytes]:
        digests = [digest_of(content) for content in objects]
        if digests:
            database = self._environment.database(DATABASE)
            with self._environment.write() as txn, txn.cursor(db=database) as cursor:
                pairs = sorted(zip(digests, objects, strict=True))
                cursor.putmulti(pairs, dupdata=False, overwrite=False)
        return digests

    def replace(self, objects: Sequence[tuple[bytes, bytes]]) -> None:
        """Put objects under their digests, in place of what is there.

        Raises
        ------
        DigestMismatchError
            One does not hash to its digest; nothing is replaced.
        StorageError
            The disk refused; nothing is replaced.
        """
        for digest, content in objects:
            if digest_of(content) != digest:
                raise DigestMismatchError(f"what came for object {digest.hex()} is another one")
        database = self._environment.database(DATABASE)
        with self._environment.write() as txn:
            for digest, content in objects:
                txn.put(digest, content, db=database)

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

    def delete(self, digests: Sequence[bytes]) -> None:
        """Delete objects; only for what nothing names any more."""
        database = self._environment.database(DATABASE)
        with self._environment.write() as txn:
            for digest in sorted(digests):
                txn.delete(digest, db=database)

    def iter_digests(self) -> Iterator[bytes]:
        """Yield the digests of all objects, in order, a batch of them a read transaction."""
        for batch in self.iter_digest_batches():
            yield from batch

    def iter_digest_batches(self) -> Iterator[list[bytes]]:
        """Yield the digests of all objects, in order, those of one read transaction together."""
        last: bytes | None = None
        while batch := self._digests_after(last, _BATCH_DIGESTS):
            yield batch
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
