"""Connections: the stores of another repository, wherever it is."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tensorvcs.errors import (
    InvalidInputError,
    RepositoryNotFoundError,
    TensorVCSError,
    with_hint,
)
from tensorvcs.storage.exchange import checked_data
from tensorvcs.storage.file_cache import FileCache, MemoryCache
from tensorvcs.storage.folder import FOLDER_NAME, open_folder
from tensorvcs.storage.hdf5_tensors import Hdf5Tensors
from tensorvcs.storage.interfaces import Stores
from tensorvcs.storage.leases import Leases
from tensorvcs.storage.lmdb_environment import open_existing
from tensorvcs.storage.lmdb_objects import LmdbObjects
from tensorvcs.storage.lmdb_refs import LmdbRefs
from tensorvcs.storage.local_file import LocalFile
from tensorvcs.sync import bucket
from tensorvcs.sync.bucket_contents import BucketContents, DirectoryCache
from tensorvcs.sync.bucket_stores import bucket_stores
from tensorvcs.sync.bundle_file import BundleFile
from tensorvcs.sync.bundle_stores import bundle_stores
from tensorvcs.sync.http_stores import Address, HttpLine
from tensorvcs.sync.promisor import Promisor
from tensorvcs.sync.remote_stores import Line, remote_stores
from tensorvcs.sync.remotes import BUCKET_SCHEMES, DEFAULT_REMOTE, shown_url
from tensorvcs.sync.rescue import Rescue
from tensorvcs.sync.stdio_stores import PipeLine, ssh_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tensorvcs.storage.interfaces import TensorStore
    from tensorvcs.sync.bucket import Bucket
    from tensorvcs.sync.bundle_format import Head
    from tensorvcs.sync.remotes import Remote

SCHEMES = ("path", "bundle", "http", "https", "ssh", *BUCKET_SCHEMES)
"""Kinds of remotes that this version can reach."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Open stores of a remote.

    Attributes
    ----------
    stores : Stores
    upkeep : callable
        Called after something was put there.
    close : callable
    open_writer : callable
        Return a tensor store for one thread to write to, over the same values.
    bundle : Head or None
        What a bundle says of itself; None when it is a repository.
    check_pushable : callable
        Raises RemoteError where a push would be refused whatever it brings: a bucket is tried out.
    """

    stores: Stores
    upkeep: Callable[[], object]
    close: Callable[[], None]
    open_writer: Callable[[], TensorStore]
    bundle: Head | None = None
    check_pushable: Callable[[], object] = lambda: None


def open_connection(
    url: str, *, options: Mapping[str, str] | None = None, cache: Path | None = None
) -> Connection:
    """Open the stores of the repository at a URL; a path is one.

    Parameters
    ----------
    url : str
        A path, of a repository or of a bundle, ``https://TOKEN@host:port/name``, the same with
        ``http``, ``ssh://user@host:port/path``, ``bundle://path``, or that of a bucket, such as
        ``s3://bucket/prefix``.
    options : mapping of str to str, optional
        Of the service behind a bucket; see `open_bucket`.
    cache : path, optional
        A folder for what was read from buckets and never changes; in memory when omitted.

    Raises
    ------
    RepositoryNotFoundError
        There is no repository at that place.
    InvalidInputError
        No kind of remote has such a URL.
    RemoteError
        The remote does not answer; AccessDeniedError when it wants a token, or another one.
    """
    scheme, separator, _ = url.partition("://")
    if scheme in ("http", "https") and separator:
        return _open_line(HttpLine(Address.of(url)))
    if scheme == "ssh" and separator:
        return _open_line(PipeLine(ssh_command(url), url))
    if scheme == "bundle" and separator:
        return _open_bundle(Path(url.removeprefix("bundle://")))
    if scheme in BUCKET_SCHEMES and separator:
        return _open_bucket(bucket.open_bucket(url, options or {}), cache)
    if separator:
        raise with_hint(
            InvalidInputError(f"cannot reach a remote by {scheme!r}: {shown_url(url)}"),
            f"this version reaches remotes by: {', '.join(SCHEMES)}",
        )
    return _open_path(Path(url))


@contextmanager
def connected(
    url: str, *, options: Mapping[str, str] | None = None, cache: Path | None = None
) -> Iterator[Connection]:
    """Open the stores of a remote for a while; see `open_connection`."""
    connection = open_connection(url, options=options, cache=cache)
    try:
        yield connection
    finally:
        connection.close()


def resolve_url(url: str) -> str:
    """Return a URL that means the same from every folder: a path is made absolute."""
    scheme = "bundle://" if url.startswith("bundle://") else ""
    if "://" in url and not scheme:
        return url
    url = url.removeprefix(scheme)
    return scheme + os.path.abspath(Path(url).expanduser())  # noqa: PTH100 (absolute() keeps "..")


def promisor_of(remote: Remote, cache: Path | None = None) -> Promisor:
    """Return what supplies the absent parts of a partial clone of a remote."""
    connect = partial(_stores_at, remote.url, dict(remote.options), cache)
    return Promisor(remote, connect if remote.is_promisor else None)


def rescue_of(remotes: Sequence[Remote], cache: Path | None = None) -> Rescue | None:
    """Return what gets damaged values and objects back from remotes; None without any.

    Promisors are asked first, then ``origin``, then the others by name.
    """
    if not remotes:
        return None
    ranked = sorted(remotes, key=lambda r: (not r.is_promisor, r.name != DEFAULT_REMOTE, r.name))
    return Rescue([(r.name, partial(_stores_at, r.url, dict(r.options), cache)) for r in ranked])


def _stores_at(url: str, options: Mapping[str, str], cache: Path | None) -> Stores:
    return open_connection(url, options=options, cache=cache).stores


def _open_path(path: Path) -> Connection:
    place = path.expanduser().absolute()
    if place.is_file():
        return _open_bundle(place)
    folder = open_folder(place) if place.is_dir() else None
    if folder is None or place not in (folder.path, folder.root):
        raise with_hint(
            RepositoryNotFoundError(f"there is no repository at {place}"),
            f"name the folder that holds {FOLDER_NAME}, or a bare repository",
        )
    environment = open_existing(folder.lmdb_folder)
    tensors = Hdf5Tensors(folder.root, environment)
    leases = Leases(folder.leases_folder, environment)
    stores = Stores(
        LmdbObjects(environment),
        tensors,
        LmdbRefs(environment),
        environment.write,
        leases.work,
        leases.pin,
    )

    def close() -> None:
        tensors.close()
        environment.close()

    def open_writer() -> TensorStore:
        return Hdf5Tensors(folder.root, environment)

    return Connection(stores, tensors.repack_loose, close, open_writer)


def open_bundle(path: Path, *, is_checked: bool = False) -> BundleFile:
    """Open a bundle; with `is_checked` its directories are hashed when they are read."""
    place = path.expanduser().absolute()
    if not place.is_file():
        raise RepositoryNotFoundError(f"there is no bundle at {place}")
    return BundleFile(LocalFile(place), checked_data, is_checked=is_checked)


def _open_bundle(path: Path) -> Connection:
    bundle = open_bundle(path)
    stores = bundle_stores(bundle)
    return Connection(stores, lambda: None, lambda: None, lambda: stores.tensors, bundle.head)


def _open_bucket(opened: Bucket, cache: Path | None) -> Connection:
    directories: DirectoryCache = MemoryCache() if cache is None else FileCache(cache)
    contents = BucketContents(opened, checked_data, directories)
    stores = bucket_stores(contents)
    return Connection(
        stores,
        lambda: None,
        contents.close,
        lambda: stores.tensors,
        check_pushable=contents.guard,
    )


def _open_line(line: Line) -> Connection:
    try:
        stores = remote_stores(line)
    except TensorVCSError:
        line.close()
        raise
    # The other end looks after itself.
    return Connection(stores, lambda: None, line.close, lambda: stores.tensors)
