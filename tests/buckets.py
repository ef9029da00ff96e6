"""Buckets for tests: in memory, and behind servers that are started here."""

from __future__ import annotations

import base64
import datetime as dt
import fcntl
import hmac
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import pytest

from tensorvcs.storage.exchange import checked_data
from tensorvcs.storage.file_cache import MemoryCache
from tensorvcs.sync.bucket import Bucket, Version, open_bucket
from tensorvcs.sync.bucket_contents import BucketContents, DirectoryCache
from tensorvcs.sync.bucket_stores import bucket_stores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorvcs.storage.interfaces import Stores
    from tensorvcs.sync.ranges import Range

TOOLS = Path(__file__).parent / "tools"
SERVERS = Path(__file__).parents[1] / "build" / "servers"
"""Where `make servers` installs those that the system does not have."""

_START_SECONDS = 60


class CountedBucket(Bucket):
    """A bucket that counts what is read, and can be told to fail."""

    def __init__(self, store: Any, name: str) -> None:
        super().__init__(store, name)
        self.read_nbytes = 0
        self.read_paths: list[str] = []
        self.put_paths: list[str] = []

    def read(self, path: str, ranges: Sequence[Range]) -> list[memoryview]:
        self.read_nbytes += sum(nbytes for _, nbytes in ranges)
        self.read_paths.append(path)
        return super().read(path, ranges)

    def put(self, path: str, content: bytes) -> None:
        self.put_paths.append(path)
        super().put(path, content)


def memory_bucket() -> CountedBucket:
    """Return an empty bucket in memory, which obeys conditions."""
    store = pytest.importorskip("obstore.store").MemoryStore()
    return CountedBucket(store, "memory://pets")


class FolderBucket(CountedBucket):
    """A bucket in a folder of this machine, for one process.

    The client replaces no file there under a condition; one lock stands for that.
    """

    def __init__(self, folder: Path, name: str = "file://pets") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        store = pytest.importorskip("obstore.store").LocalStore(str(folder))
        super().__init__(store, name)
        self._lock = Lock()

    def _put_if(self, path: str, content: bytes, mode: Any) -> Version | None:
        if mode == "create":
            return super()._put_if(path, content, mode)
        with self._lock:
            found = self.get(path)
            if found is None or found[1].e_tag != mode["e_tag"]:
                return None
            return super()._put_if(path, content, "overwrite")


def contents_of(bucket: Bucket, cache: DirectoryCache | None = None) -> BucketContents:
    return BucketContents(bucket, checked_data, MemoryCache() if cache is None else cache)


def stores_in(bucket: Bucket, cache: DirectoryCache | None = None) -> Stores:
    """Return stores as a connection of its own has them."""
    return bucket_stores(contents_of(bucket, cache))


# Servers


@dataclass(frozen=True)
class Service:
    """A server of buckets: the URLs in it begin alike, and need options, secrets among them."""

    url: str
    options: dict[str, str] = field(default_factory=dict)

    def open(self, name: str) -> Bucket:
        return open_bucket(f"{self.url}/{name}", self.options)

    def kept_options(self, folder: Path) -> dict[str, str]:
        """Return the options as settings keep them, the secrets in files of a folder."""
        kept = dict(self.options)
        for name in SECRETS & kept.keys():
            if not (folder / name).exists():
                (folder / name).write_text(kept[name] + "\n")
            kept[name] = f"file:{folder / name}"
        return kept


SECRETS = {"secret_access_key", "account_key"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens at a port, or its process ends."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError(f"nothing listens at port {port}")


@contextmanager
def program(port: int, *words: str, variables: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run a server until the block ends."""
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(variables or {})},
    )
    try:
        wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def gateway(folder: Path) -> Iterator[Service]:
    """Have an S3 server that obeys conditions: the RADOS Gateway of Ceph.

    It takes long to start. Processes that name the same folder share one: the first of them
    starts it, and the last one ends it.
    """
    if shutil.which("radosgw") is None or shutil.which("ceph-osd") is None:
        pytest.skip(
            "Ceph is not installed: 'make servers' as root, or apt-get install "
            "--no-install-recommends ceph-mon ceph-osd radosgw ceph-common"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with _users_of(folder) as users:
        if not users:
            # It may have been started here before, and ended.
            place = folder / f"gateway-{os.getpid()}"
            users.update(count=0, place=str(place), **_start_gateway(place))
        users["count"] += 1
        problem, options = users["problem"], users["options"]
    try:
        if problem:
            pytest.skip(f"Ceph does not start here: {problem}")
        yield Service("s3://pets", options)
    finally:
        with _users_of(folder) as users:
            users["count"] -= 1
            if not users["count"]:
                words = [str(TOOLS / "rgw_down.sh"), users["place"]]
                subprocess.run(words, timeout=60, check=False)
                users.clear()


@contextmanager
def _users_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Lock what the processes that share a server keep, which is written at the end."""
    with (folder / "users.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        users: dict[str, Any] = json.loads(file.read() or "{}")
        yield users
        file.truncate(0)
        file.write(json.dumps(users))


def _start_gateway(folder: Path) -> dict[str, Any]:
    """Return the options that reach it, or what kept it from starting."""
    words = [str(TOOLS / "rgw_up.sh"), str(folder), str(free_port()), str(free_port())]
    try:
        started = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    except subprocess.SubprocessError as error:
        problem = str(getattr(error, "stderr", None) or error).strip()[-300:]
        return {"problem": problem, "options": {}}
    endpoint, key, secret = started.stdout.split()
    options = {
        "endpoint": endpoint,
        "access_key_id": key,
        "secret_access_key": secret,
        "region": "us-east-1",
        "allow_http": "true",
    }
    make_bucket(Service("s3://pets", options))
    return {"problem": "", "options": options}


def make_bucket(service: Service) -> None:
    """Make the bucket, which the client does not."""
    obstore = pytest.importorskip("obstore")
    config = {key: value for key, value in service.options.items() if key != "allow_http"}
    store = obstore.store.S3Store("pets", config=config, client_options={"allow_http": True})
    url = obstore.sign(store, "PUT", "", dt.timedelta(minutes=1))
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT", data=b"")) as answer:
        assert answer.status == 200


@contextmanager
def careless_server(folder: Path) -> Iterator[Service]:
    """Start an S3 server that ignores conditions: that of rclone."""
    found = (str(SERVERS / "rclone" / "rclone_api" / "bin" / "rclone"), shutil.which("rclone"))
    rclone = next((path for path in found if path is not None and _serves_buckets(path)), None)
    if rclone is None:
        pytest.skip("no rclone of 1.65 or later, which serves buckets: 'make servers' gets one")
    (folder / "pets").mkdir(parents=True)
    port = free_port()
    options = {
        "endpoint": f"http://127.0.0.1:{port}",
        "access_key_id": "key",
        "secret_access_key": "secret",
        "region": "us-east-1",
        "allow_http": "true",
    }
    words = ("serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret")
    with program(port, rclone, *words, str(folder)):
        yield Service("s3://pets", options)


def _serves_buckets(rclone: str) -> bool:
    try:
        words = [rclone, "serve", "s3", "--help"]
        return subprocess.run(words, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextmanager
def azurite(folder: Path) -> Iterator[Service]:
    """Start the emulator of Azure."""
    own = SERVERS / "node_modules" / ".bin" / "azurite-blob"
    found = str(own) if own.is_file() and shutil.which("node") else shutil.which("azurite-blob")
    if found is None:
        pytest.skip("azurite is not installed: 'make servers', where npm is")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    account, key = "ada", base64.b64encode(b"the key of these tests alone").decode()
    options = {
        "account_name": account,
        "account_key": key,
        "endpoint": f"http://127.0.0.1:{port}/{account}",
        "allow_http": "true",
    }
    words = ("--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location", str(folder))
    accounts = {"AZURITE_ACCOUNTS": f"{account}:{key}"}
    with program(port, found, *words, "--blobPort", str(port), variables=accounts):
        service = Service("az://pets", options)
        make_container(service)
        yield service


def make_container(service: Service) -> None:
    """Make the container, which the client does not."""
    account, key = service.options["account_name"], service.options["account_key"]
    headers = {
        "x-ms-date": dt.datetime.now(dt.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "x-ms-version": "2021-08-06",
    }
    signed = "\n".join(
        ["PUT", *[""] * 11, *(f"{key}:{value}" for key, value in headers.items()),
         f"/{account}/{account}/pets", "restype:container"]
    )  # fmt: skip
    digest = hmac.digest(base64.b64decode(key), signed.encode(), "sha256")
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    url = f"{service.options['endpoint']}/pets?restype=container"
    request = urllib.request.Request(url, method="PUT", headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201


SERVICES = {"gateway": gateway, "azurite": azurite}
"""Those that obey conditions."""


class Services:
    """Servers that are started when they are first asked for, and run until the end.

    Parameters
    ----------
    own, shared : path
        Folders of this process, and of all processes of the run.
    """

    def __init__(self, own: Path, shared: Path) -> None:
        self._folders = {"gateway": shared, "azurite": own}
        self._started: dict[str, Service] = {}
        self._absent: dict[str, str] = {}
        self._rest = ExitStack()
        self._names = count()

    def get(self, name: str) -> Service:
        """Return a server; skips where it is not installed."""
        pytest.importorskip("obstore")
        if name in self._absent:
            pytest.skip(self._absent[name])
        if name not in self._started:
            folder = self._folders[name] / name
            try:
                self._started[name] = self._rest.enter_context(SERVICES[name](folder))
            except pytest.skip.Exception as reason:
                # It is not tried again for each test.
                self._absent[name] = str(reason)
                raise
        return self._started[name]

    def new_name(self) -> str:
        """Return the name of a repository that there is not yet."""
        return f"test/{os.getpid()}-{next(self._names)}"

    def close(self) -> None:
        """End all of them, as far as nobody else uses them."""
        self._rest.close()
