"""What a bucket holds: bundles, each written once, and those that are on their way there."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from tensorvcs.errors import CorruptionError
from tensorvcs.objects.digest import DIGEST_NBYTES, digest_of
from tensorvcs.sync.bundle_file import BundleFile
from tensorvcs.sync.bundle_format import MAGIC, START, VERSION, Footer, Head
from tensorvcs.sync.bundle_writer import BundleWriter
from tensorvcs.sync.ranges import damaged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tensorvcs.storage.interfaces import StoredValues
    from tensorvcs.sync.bucket import Bucket
    from tensorvcs.sync.bundle_file import Unpack
    from tensorvcs.sync.ranges import Range

FOLDER = "bundles"
FILE_NBYTES = 64 << 20
"""A bundle in a bucket is closed when it has so many bytes."""

# The digest of its footer, and the bytes from its directories to its end.
_NAME = re.compile(r"([0-9a-f]{64})-([1-9][0-9]{0,17})\.bundle")
_START = START.pack(MAGIC, VERSION)
_OPENED_AT_ONCE = 16
# A file of this size is read as a whole: asking for parts of it would take longer.
_SMALL_NBYTES = 64 << 10
# The directories of a file as we write it have little more bytes than its content.
_MOST_END_NBYTES = 512 << 20


class DirectoryCache(Protocol):
    """Keeps the directories of bundles that were read from a bucket."""

    def get(self, name: str) -> memoryview | None:
        """Return what was put under a name, or None."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Keep a content."""
        ...


class BucketFile:
    """A bundle in a bucket whose end, with its directories, is here; of a small one all is.

    Attributes
    ----------
    payload : bytes or None
        All of it, while it is on its way to the bucket.
    """

    def __init__(self, bucket: Bucket, path: str, nbytes: int, end: memoryview) -> None:
        self._bucket = bucket
        self._path = path
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
            self._files = self._arrivals({})
        return self._files

    def refresh(self) -> bool:
        """Look for bundles that others have sent; tell whether there are any."""
        known = self._known()
        fresh = self._arrivals(known)
        known.update(fresh)
        return bool(fresh)

    def _arrivals(self, known: Mapping[str, BundleFile]) -> dict[str, BundleFile]:
        listed = self.bucket.list_files(FOLDER)
        fresh = {n: size for n, size in listed.items() if _NAME.fullmatch(n) and n not in known}
        if not fresh:
            return {}
        with ThreadPoolExecutor(min(_OPENED_AT_ONCE, len(fresh))) as pool:
            return dict(zip(fresh, pool.map(self._open, fresh, fresh.values()), strict=True))

    def _open(self, name: str, nbytes: int) -> BundleFile:
        end = self._cache.get(name)
        if end is not None:
            with suppress(CorruptionError):
                return self._opened(name, nbytes, end)
        size = min(nbytes, int(name.removesuffix(".bundle").partition("-")[2]))
        if size > _MOST_END_NBYTES:
            raise damaged(
                BucketFile(self.bucket, f"{FOLDER}/{name}", nbytes, memoryview(b"")),
                f"its directories would have {size} bytes",
            )
        is_small = nbytes <= _SMALL_NBYTES
        start = 0 if is_small else nbytes - size
        (end,) = self.bucket.read(f"{FOLDER}/{name}", [(start, nbytes - start)])
        bundle = self._opened(name, nbytes, end)
        # Only what is checked when it comes out of the cache is put there.
        self._cache.put(name, bytes(end[len(end) - size :]))
        # What the cache has mapped need not stay in memory.
        kept = None if is_small else self._cache.get(name)
        return bundle if kept is None else self._opened(name, nbytes, kept)

    def _opened(self, name: str, nbytes: int, end: memoryview) -> BundleFile:
        """Return a bundle whose directories are what its name says."""
        file = BucketFile(self.bucket, f"{FOLDER}/{name}", nbytes, end)
        if len(end) < Footer.NBYTES or not name.startswith(bytes(end[-DIGEST_NBYTES:]).hex()):
            raise damaged(file, "its end is not that of the bundle that its name says")
        bundle = BundleFile(file, self._unpack, is_checked=True)
        _ = bundle.objects, bundle.values
        return bundle

    # What is sent

    def _start_file(self) -> None:
        self._chunks: list[bytes | memoryview] = []
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
        content = b"".join(self._chunks)
        end = content[min(footer.objects.start, footer.values.start) :]
        name = f"{end[-DIGEST_NBYTES:].hex()}-{len(end)}.bundle"
        file = BucketFile(self.bucket, f"{FOLDER}/{name}", len(content), memoryview(end))
        file.payload = content
        self._known()[name] = BundleFile(file, self._unpack)
        self._start_file()
        self._sending = self._sender.submit(self._send, name, file, end)

    def _send(self, name: str, file: BucketFile, end: bytes) -> None:
        assert file.payload is not None
        self.bucket.put(f"{FOLDER}/{name}", file.payload)
        file.payload = None
        self._cache.put(name, end)

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
