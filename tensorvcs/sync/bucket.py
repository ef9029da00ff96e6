"""A bucket: files under names in an object store, and the few things that are done with them.

The services are reached through the package `obstore`, whose errors end here.
"""

from __future__ import annotations

import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import (
    AccessDeniedError,
    InvalidInputError,
    MissingDependencyError,
    RemoteError,
    StorageError,
    with_hint,
)
from tensorvcs.sync.service_options import used_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tensorvcs.sync.ranges import Range

# Options of the line to a service; the others are of the service.
_CLIENT_OPTIONS = frozenset(
    {
        "allow_http", "allow_invalid_certificates", "connect_timeout", "http1_only", "http2_only",
        "pool_idle_timeout", "proxy_url", "proxy_ca_certificate", "proxy_excludes", "read_timeout",
        "root_certificate", "timeout", "user_agent",
    }
)  # fmt: skip
_RETRIES = 4
# How long a request may take: a slow line needs its time for what is sent at once, four parts of
# 5 MiB.
_PATIENCE = {"connect_timeout": "10s", "timeout": "180s"}
_PARTS_AT_ONCE = 4
# What may be read for nothing, so that fewer requests are made: a share of what is asked for, and
# about what a request costs anyway.
_WASTE_SHARE = 0.01
_WASTE_NBYTES = 64 << 10
_MANY_RANGES = 256
_MANY_NBYTES = 8 << 20
_READERS = 4
_MESSAGE_LENGTH = 300
# Files that are read as a whole, and from services that know no ranges.
_MOST_NBYTES = 64 << 20
_MOST_WHOLE_NBYTES = 1 << 30
# What the client says of a service that answers with the whole of a file.
_WHOLE_FILE = "non-partial response"


@dataclass(frozen=True, slots=True)
class Version:
    """One content of a file that changes: how the service tells it from others."""

    e_tag: str | None
    number: str | None


class Bucket:
    """Files of one prefix of an object store.

    Parameters
    ----------
    store : ObjectStore of obstore
    name : str
        What errors call it: its URL.

    Notes
    -----
    Every method raises RemoteError when the service does not answer or refuses, and
    AccessDeniedError when it wants other credentials.
    """

    def __init__(self, store: Any, name: str) -> None:
        self.store = store
        self.name = name
        self._strips_quotes = False
        # Simple services know no ranges. They are for tests, and may be slow.
        self._gives_whole_files = False
        self._whole: tuple[str, memoryview] = "", memoryview(b"")

    def list_files(self, folder: str) -> dict[str, int]:
        """Return the names of the files in a folder, and their bytes."""
        import obstore

        start = f"{folder}/"
        found: dict[str, int] = {}
        with _translated(self.name):
            for chunk in obstore.list(self.store, folder):
                for entry in chunk:
                    if entry["path"].startswith(start):
                        found[entry["path"][len(start) :]] = entry["size"]
        return found

    def read(self, path: str, ranges: Sequence[Range]) -> list[memoryview]:
        """Return ranges of a file.

        Notes
        -----
        Ranges that are near each other are read together as long as that reads at most 1 % more
        than is asked for, or 64 KiB.
        """
        if self._gives_whole_files:
            whole = self._read_whole(path)
            return [
                _whole_part(f"{self.name}/{path}", whole[start : start + nbytes], start, nbytes)
                for start, nbytes in ranges
            ]
        starts = [start for start, nbytes in ranges if nbytes]
        lengths = [nbytes for _, nbytes in ranges if nbytes]
        parts: Iterator[memoryview] = iter(())
        if starts:
            try:
                parts = iter(list(self._read_parts(path, starts, lengths)))
            except RemoteError as error:
                if _WHOLE_FILE not in str(error):
                    raise
                self._gives_whole_files = True
                return self.read(path, ranges)
        return [next(parts) if nbytes else memoryview(b"") for _, nbytes in ranges]

    def _read_parts(self, path: str, starts: list[int], lengths: list[int]) -> Iterator[memoryview]:
        gap = _joined_gap(starts, lengths)

        def read(chosen: NDArray[np.intp]) -> Sequence[Any]:
            import obstore

            with _translated(f"{self.name}/{path}"):
                return obstore.get_ranges(
                    self.store,
                    path,
                    starts=[starts[place] for place in chosen],
                    lengths=[lengths[place] for place in chosen],
                    coalesce=gap,
                )

        # The client makes ten requests of one call at a time, and one of all that lies together;
        # of many ranges, and of many bytes, more are made.
        is_much = len(starts) > _MANY_RANGES or sum(lengths) > _MANY_NBYTES
        count = min(_READERS, len(starts)) if is_much else 1
        places = np.array_split(np.argsort(np.array(starts, np.int64)), count)
        with ThreadPoolExecutor(count) as pool:
            found = {
                place: part
                for chosen, parts in zip(places, pool.map(read, places), strict=True)
                for place, part in zip(chosen.tolist(), parts, strict=True)
            }
        for place, (start, nbytes) in enumerate(zip(starts, lengths, strict=True)):
            part = memoryview(found[place])
            yield _whole_part(f"{self.name}/{path}", part, start, nbytes)

    def _read_whole(self, path: str) -> memoryview:
        """Return a file, which is kept until another one is read."""
        if self._whole[0] != path:
            found = self.get(path, _MOST_WHOLE_NBYTES)
            if found is None:
                raise RemoteError(f"{self.name}/{path} is not there")
            self._whole = path, memoryview(found[0])
        return self._whole[1]

    def put(self, path: str, content: bytes) -> None:
        """Write a file that is only ever written with this content."""
        import obstore

        with _translated(f"{self.name}/{path}"):
            obstore.put(self.store, path, content, max_concurrency=_PARTS_AT_ONCE)

    def delete(self, path: str) -> None:
        """Delete a file."""
        import obstore

        with _translated(f"{self.name}/{path}"):
            obstore.delete(self.store, path)

    # Files that change

    def get(self, path: str, max_nbytes: int = _MOST_NBYTES) -> tuple[bytes, Version] | None:
        """Return the content of a file and its version; None where there is none.

        Raises RemoteError when it has more than `max_nbytes`, of which no more are read.
        """
        import obstore

        parts: list[bytes] = []
        left = max_nbytes
        with _translated(f"{self.name}/{path}"):
            try:
                answer = obstore.get(self.store, path)
            except FileNotFoundError:
                return None
            meta = answer.meta
            for part in answer.stream():
                left -= len(part)
                if left < 0:
                    break
                parts.append(bytes(part))
        if left < 0:
            raise RemoteError(f"{self.name}/{path} has more than {max_nbytes} bytes")
        return b"".join(parts), Version(meta.get("e_tag"), meta.get("version"))

    def create(self, path: str, content: bytes) -> Version | None:
        """Write a file where there is none; return None, and write nothing, where there is."""
        return self._put_if(path, content, "create")

    def replace(self, path: str, content: bytes, version: Version) -> Version | None:
        """Write a file that has a version; return None, and write nothing, when it has another.

        Notes
        -----
        Services differ in whether the tag of a version has quotes when it comes back to them.
        """
        if version.e_tag is None:
            raise unguarded(self.name)
        spellings = [version.e_tag, version.e_tag.strip('"')]
        if self._strips_quotes:
            spellings.reverse()
        for spelling in dict.fromkeys(spellings):
            mode = {"e_tag": spelling}
            if version.number is not None and self.name.startswith("gs://"):
                # This service compares numbers; others take a number for a copy to be replaced.
                mode["version"] = version.number
            written = self._put_if(path, content, mode)
            if written is not None:
                self._strips_quotes = spelling != version.e_tag
                return written
        return None

    def _put_if(self, path: str, content: bytes, mode: Any) -> Version | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with _translated(f"{self.name}/{path}"):
            try:
                meta = obstore.put(self.store, path, content, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return None
            except NotImplementedError as error:
                raise unguarded(self.name) from error
        return Version(meta.get("e_tag"), meta.get("version"))

    def check_conditions(self) -> None:
        """Try whether the service obeys conditions; six small requests.

        Raises
        ------
        RemoteError
            It writes although a condition does not hold, so that of two pushes at a time one
            would be lost.
        """
        path = f"probes/{secrets.token_hex(8)}"
        first = self.create(path, b"1")
        if first is None:
            raise unguarded(self.name)
        try:
            is_guarded = (
                self.create(path, b"22") is None
                and self.replace(path, b"333", first) is not None
                and self.replace(path, b"4444", first) is None
            )
        finally:
            # Who may write may not always delete; a few bytes are left then.
            with suppress(RemoteError):
                self.delete(path)
        if not is_guarded:
            raise unguarded(self.name)


def open_bucket(url: str, options: Mapping[str, str]) -> Bucket:
    """Return the bucket at a URL such as ``s3://bucket/prefix``; nothing is asked yet.

    Parameters
    ----------
    options : mapping of str to str
        Of the service, such as ``endpoint`` and ``region``, and of the line to it, such as
        ``allow_http``. A value ``file:PATH`` is what that file holds. What is not among them the
        client takes from where it always does: variables of the environment, and files and
        services with credentials.

    Raises
    ------
    MissingDependencyError
        The package obstore is not installed.
    InvalidInputError
        It is no such URL, or an option is not known.
    StorageError
        The file of an option cannot be read.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise MissingDependencyError("obstore", "buckets", "a remote in a bucket") from error
    used = used_options(options)
    client = {key: value for key, value in used.items() if key in _CLIENT_OPTIONS}
    service = {key: value for key, value in used.items() if key not in _CLIENT_OPTIONS}
    scheme, _, rest = url.partition("://")
    place = rest.strip("/")
    if not place or any(part in ("", ".", "..") for part in place.split("/")):
        raise with_hint(
            InvalidInputError(f"{url!r} is no URL of a bucket"),
            f"write it like {scheme}://bucket/prefix",
        )
    settings: dict[str, Any] = {
        "config": service or None,
        "client_options": _client_options({**_PATIENCE, **client}),
        "retry_config": {"max_retries": _RETRIES},
    }
    try:
        store = from_url(f"{scheme}://{place}", **settings)
    except (BaseError, OSError, ValueError, TypeError) as error:
        raise with_hint(
            InvalidInputError(f"{url} cannot be reached so: {_line_of(error)}"),
            "options are those of obstore: tvcs config remote.NAME.option.region eu-central-1",
        ) from error
    return Bucket(store, f"{scheme}://{place}")


def _client_options(options: Mapping[str, str]) -> dict[str, Any]:
    """Return options with truths as such."""
    words = {"true": True, "false": False}
    return {key: words.get(value.lower(), value) for key, value in options.items()}


def unguarded(name: str) -> RemoteError:
    """Return the error of a service that cannot keep two pushes apart."""
    return with_hint(
        RemoteError(
            f"{name} writes whether or not conditions hold: of two pushes at a time one would be "
            "lost; nothing was pushed"
        ),
        "reading works; to push, put a server before the data: 'tvcs serve'",
    )


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn errors of obstore into ours."""
    from obstore import exceptions as found

    _check_process(what)
    try:
        yield
    except (PermissionError, found.PermissionDeniedError, found.UnauthenticatedError) as error:
        raise AccessDeniedError(f"{what}: {_line_of(error)}") from error
    except FileNotFoundError as error:
        raise RemoteError(f"{what} is not there: {_line_of(error)}") from error
    except StorageError:
        raise
    except (found.BaseError, OSError, NotImplementedError, ValueError) as error:
        raise RemoteError(f"{what}: {_line_of(error)}") from error


_process: list[int] = []
"""The process whose threads the client uses, once it has made any."""


def _check_process(what: str) -> None:
    """Raise RemoteError in a child that was forked: it would wait for threads it has not."""
    if not _process:
        _process.append(os.getpid())
    if _process != [os.getpid()]:
        raise with_hint(
            RemoteError(f"{what} cannot be reached from a process that was forked after it was"),
            "start workers by 'spawn', or bring the values before with 'tvcs fetch-data'",
        )


def _line_of(error: Exception) -> str:
    """Return the first line of a message without what may be secret: queries of URLs."""
    line = re.split(r": <\?xml|\n", str(error).strip())[0]
    line = re.sub(r"(?<=\w)\?\S*", "?…", line)
    return line if len(line) <= _MESSAGE_LENGTH else f"{line[:_MESSAGE_LENGTH]}…"


def _whole_part(what: str, part: memoryview, start: int, nbytes: int) -> memoryview:
    if len(part) != nbytes:
        raise RemoteError(f"{what}: {len(part)} bytes arrived of {nbytes} from {start} on")
    return part


def _joined_gap(starts: Sequence[int], lengths: Sequence[int]) -> int:
    """Return up to how many bytes apart ranges are to be read together."""
    order = np.argsort(np.array(starts, np.int64), kind="stable")
    low = np.array(starts, np.int64)[order]
    high = np.maximum.accumulate(low + np.array(lengths, np.int64)[order])
    gaps = np.sort(np.maximum(low[1:] - high[:-1], 0))
    allowed = max(_WASTE_NBYTES, int(_WASTE_SHARE * sum(lengths)))
    count = int(np.searchsorted(np.cumsum(gaps), allowed, "right"))
    if count == len(gaps):
        return int(gaps[-1]) if count else 0
    # All gaps of the first size that does not fit stay.
    return max(0, int(gaps[count]) - 1)
