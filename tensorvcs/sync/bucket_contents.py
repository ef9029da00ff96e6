"""What a bucket holds: bundles, each written once, and those that are on their way there."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from tensorvcs.errors import CorruptionError
from tensorvcs.objects.digest import DIGEST_NBYTES, digest_of
from tensorvcs.sync.bundle_file import BundleFile
from tensorvcs.sync.bundle_format import MAGIC, START, VERSION, Footer, Head, decode_footer
from tensorvcs.sync.bundle_writer import BundleWriter
from tensorvcs.sync.ranges import damaged

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import StoredValues
    from tensorvcs.sync.bucket import Bucket
    from tensorvcs.sync.bundle_file import Unpack
    from tensorvcs.sync.ranges import Range

FOLDER = "bundles"
FILE_NBYTES = 64 << 20
"""A bundle in a bucket is closed when it has so many bytes."""

_NAME = re.compile(r"([0-9a-f]{64})\.bundle")
_START = START.pack(MAGIC, VERSION)
# Of a file that is opened for the first time this is read at once, and most often enough.
_END_NBYTES = 64 << 10
_END_SHARE = 64
_OPENED_AT_ONCE = 16


class DirectoryCache(Protocol):
    """Keeps the directories of bundles that were read from a bucket."""

    def get(self, name: str) -> memoryview | None:
        """Return what was put under a name, or None."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Keep a content."""
        ...


class BucketFile:
    """A bundle in a bucket whose end, with its directories, is here.

    Attributes
    ----------
    payload : bytes or None
        All of it, while it is on its way to the bucket.
    """

    def __init__(self, bucket: Bucket, digest: str, nbytes: int, end: memoryview) -> None:
        self._bucket = bucket
        self._path = f"{FOLDER}/{digest}.bundle"
        self._nbytes = nbytes
        self._end = end
        self.payload: bytes | None = None

    @property
    def name(self) -> str:
        return f"{self._bucket.name}/{self._path}"

    @property
    def nbytes(self) -> int:
        return self._nbytes

    def read(self, ranges: Sequence[Range]) -> list[memoryview]:
        payload = self.payload
        if payload is not None:
            return [memoryview(payload)[start : start + nbytes] for start, nbytes in ranges]
        found = [self._from_here(start, nbytes) for start, nbytes in ranges]
        absent = [one for one, view in zip(ranges, found, strict=True) if view is None]
        arrived = iter(self._bucket.read(self._path, absent) if absent else ())
        return [next(arrived) if view is None else view for view in found]

    def _from_here(self, start: int, nbytes: int) -> memoryview | None:
        if (start, nbytes) == (0, len(_START)):
            # All files of a bucket have the version that its refs tell.
            return memoryview(_START)
        at = start - (self._nbytes - len(self._end))
        return self._end[at : at + nbytes] if at >= 0 else None


class BucketContents:
    """The bundles of a bucket; new ones are filled and sent, one behind the other.

    Parameters
    ----------
    bucket : Bucket
    unpack : callable
        As for `BundleFile`.
    cache : DirectoryCache

    Notes
    -----
    What is put or taken is there for whoever asks this object, and durable after `finish`. A
    bundle is sent only when those before it have arrived, so that what lies in the bucket never
    names what does not. One is sent while the next is filled: memory is twice `FILE_NBYTES`.
    """

    def __init__(self, bucket: Bucket, unpack: Unpack, cache: DirectoryCache) -> None:
        self.bucket = bucket
        self._unpack = unpack
        self._cache = cache
        self._files: dict[str, BundleFile] | None = None
        self._is_guarded = False
        self._sender = ThreadPoolExecutor(1)
        self._sending: Future[None] | None = None
        self._start_file()

    # What is there

    def files(self) -> list[BundleFile]:
        """Return the bundles, those sent last first."""
        return list(self._known().values())[::-1]

    def _known(self) -> dict[str, BundleFile]:
        if self._files is None:
            self._files = {}
            self.refresh()
        return self._files

    def refresh(self) -> bool:
        """Look for bundles that others have sent; tell whether there are any."""
        known = self._known()
        listed = self.bucket.list_files(FOLDER)
        matches = ((_NAME.fullmatch(name), nbytes) for name, nbytes in listed.items())
        fresh = {m[1]: nbytes for m, nbytes in matches if m is not None and m[1] not in known}
        if fresh:
            with ThreadPoolExecutor(min(_OPENED_AT_ONCE, len(fresh))) as pool:
                known.update(zip(fresh, pool.map(self._open, fresh, fresh.values()), strict=True))
        return bool(fresh)

    def _open(self, digest: str, nbytes: int) -> BundleFile:
        end = self._cache.get(digest)
        if end is not None:
            with suppress(CorruptionError):
                return self._opened(digest, nbytes, end)
        read = self._read_end(digest, nbytes)
        bundle = self._opened(digest, nbytes, memoryview(read))
        self._cache.put(digest, read)
        return bundle

    def _opened(self, digest: str, nbytes: int, end: memoryview) -> BundleFile:
        """Return a bundle whose directories are what its name says."""
        file = BucketFile(self.bucket, digest, nbytes, end)
        if len(end) < Footer.NBYTES or bytes(end[-DIGEST_NBYTES:]).hex() != digest:
            raise damaged(file, "its end is not that of the bundle that its name says")
        bundle = BundleFile(file, self._unpack, is_checked=True)
        _ = bundle.objects, bundle.values
        return bundle

    def _read_end(self, digest: str, nbytes: int) -> bytes:
        """Read the directories and the footer of a bundle."""
        path = f"{FOLDER}/{digest}.bundle"
        guess = min(nbytes, max(_END_NBYTES, nbytes // _END_SHARE))
        (end,) = self.bucket.read(path, [(nbytes - guess, guess)])
        file = BucketFile(self.bucket, digest, nbytes, end)
        footer = decode_footer(file, bytes(end[-Footer.NBYTES :]))
        start = min(footer.objects.start, footer.values.start)
        missing = nbytes - guess - start
        if missing <= 0:
            return bytes(end[len(end) - (nbytes - start) :])
        (before,) = self.bucket.read(path, [(start, missing)])
        return bytes(before) + bytes(end)

    # What is sent

    def _start_file(self) -> None:
        self._chunks: list[bytes] = []
        self._waiting: dict[bytes, bytes] = {}
        self._writer = BundleWriter(self._chunks.append, Head({}))

    @property
    def waiting(self) -> dict[bytes, bytes]:
        """Objects that are in the bundle that is being filled."""
        return self._waiting

    def has_waiting_values(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for each value whether it is in the bundle that is being filled."""
        return self._writer.has_values(digests)

    def add_objects(self, contents: Sequence[bytes]) -> None:
        """Add objects to the bundle that is being filled."""
        self.guard()
        self._writer.add_objects(contents)
        self._waiting.update((digest_of(content), content) for content in contents)
        self._send_when_full()

    def add_values(self, values: StoredValues) -> None:
        """Add values, once they hash to their names."""
        self._unpack(values)
        if self.has_waiting_values(values.digests).all():
            return
        self.guard()
        self._writer.add_values(values)
        self._send_when_full()

    def guard(self) -> None:
        """Make sure, before the first bytes are sent, that refs can move then."""
        if not self._is_guarded:
            self.bucket.check_conditions()
            self._is_guarded = True

    def _send_when_full(self) -> None:
        if self._writer.nbytes >= FILE_NBYTES:
            self.send()

    def send(self) -> None:
        """Close the bundle that is being filled, and begin to send it."""
        if not (self._writer.object_count or self._writer.value_count):
            return
        self._wait()
        footer = self._writer.close()
        digest = footer.encode()[-DIGEST_NBYTES:].hex()
        content = b"".join(self._chunks)
        end = content[min(footer.objects.start, footer.values.start) :]
        file = BucketFile(self.bucket, digest, len(content), memoryview(end))
        file.payload = content
        self._known()[digest] = BundleFile(file, self._unpack)
        self._start_file()
        self._sending = self._sender.submit(self._send, digest, file, end)

    def _send(self, digest: str, file: BucketFile, end: bytes) -> None:
        assert file.payload is not None
        self.bucket.put(f"{FOLDER}/{digest}.bundle", file.payload)
        file.payload = None
        self._cache.put(digest, end)

    def finish(self) -> None:
        """Wait until all that was added is durable.

        Raises
        ------
        RemoteError
            Something could not be sent. Whoever goes on does so with new contents.
        """
        self.send()
        self._wait()

    def _wait(self) -> None:
        # What failed once fails here each time: nothing may come to lie behind it.
        if self._sending is not None:
            self._sending.result()

    def close(self) -> None:
        """Stop; what was not finished may be lost."""
        self._sender.shutdown(cancel_futures=True)
