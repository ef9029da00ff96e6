"""Between machines: clone, part of a clone, push and fetch, on the loopback of one machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import tensorvcs as tv
from benchmarks.measuring import ROOT, best_of, seconds_of
from benchmarks.peers import ABSENT, hangar_figures
from benchmarks.row import Bar, Row
from benchmarks.setting import new_repository, random_images
from benchmarks.vectors import change_one, vector_repository
from tensorvcs.objects.schema import Schema
from tensorvcs.objects.tensor import digest_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.setting import Setting

_PIXELS = 32
_ROUNDS = 5
_FETCHES = 15
_HANGAR_COUNT = 5_000
_HANGAR_TRIES = 3

# What answers for one file beside `tvcs serve`: the same program that listens, the same framework.
_FILES = """
import sys, socket, uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
app = Starlette(routes=[Mount("/", StaticFiles(directory=sys.argv[1]))])
config = uvicorn.Config(app, http="h11", loop="asyncio", log_level="error")
uvicorn.Server(config).run(sockets=[listener])
"""
_PLAIN_FILES = """
import functools, http.server, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args):
        pass
handler = functools.partial(Quiet, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def _program(words: Sequence[str], errors: Path | None = None) -> Iterator[str]:
    """Run a program beside the block; yields the first line that it prints."""
    with ExitStack() as stack:
        target = subprocess.DEVNULL if errors is None else stack.enter_context(errors.open("w"))
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=target, text=True
        )
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.terminate()
            process.communicate()


@contextmanager
def _server(root: Path) -> Iterator[str]:
    """Serve a folder of repositories by ``tvcs serve``; yields the URL."""
    words = ["-m", "cli", "serve", str(root), "--port", "0", "--insecure-anonymous"]
    with _program(words, root.parent / f"{root.name}.log") as line:
        yield line.split(" at ")[1].strip()


@contextmanager
def _file_server(program: str, folder: Path) -> Iterator[str]:
    with _program(["-c", program, str(folder)]) as line:
        yield f"http://127.0.0.1:{line.strip()}"


class _Meter:
    """Passes bytes on to a server and counts them, those of both directions, heads included."""

    def __init__(self, url: str) -> None:
        scheme, _, place = url.partition("://")
        host, _, port = place.partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.nbytes = 0
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> _Meter:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(1 << 18):
                with self._lock:
                    self.nbytes += len(content)
                target.sendall(content)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _clone(source: str | Path, target: Path, max_bytes: int | None = None) -> None:
    shutil.rmtree(target, ignore_errors=True)
    name, mail = "Ada", "ada@example.org"
    tv.clone(source, target, max_bytes=max_bytes, user_name=name, user_email=mail).close()


def _image_repository(path: Path, count: int, pixels: int) -> int:
    """Make a repository of incompressible images; return the bytes of their values."""
    images = random_images(count, pixels)
    with new_repository(path) as repository, repository.edit() as staging:
        staging.add_ndarray_column("images", images.shape[1:], "uint8").extend(images)
        staging.commit("Images")
    return images.nbytes


def _hash_seconds(count: int) -> float:
    images = random_images(count, _PIXELS)
    schema = Schema("ndarray", dtype="uint8", shape=images.shape[1:])
    return best_of(3, partial(digest_rows, schema, images))[0]


def clones(setting: Setting) -> Iterator[Row]:
    """Clone and push of incompressible images, beside programs that copy the same bytes."""
    count = setting.size(60_000, 2_000)
    root, copy, files = (setting.folder / name for name in ("served", "copy", "files"))
    nbytes = _image_repository(root / "images", count, _PIXELS)
    files.mkdir()
    (files / "images.bin").write_bytes(random_images(count, _PIXELS).tobytes())
    target = setting.folder / "got.bin"

    def curl(url: str) -> None:
        words = ["curl", "--silent", "--fail", "--output", str(target), f"{url}/images.bin"]
        subprocess.run(words, check=True)

    def copied(words: Sequence[str]) -> None:
        shutil.rmtree(copy, ignore_errors=True)
        subprocess.run([*words, str(root / "images"), str(copy)], check=True)

    with (
        _server(root) as url,
        _file_server(_FILES, files) as beside,
        _file_server(_PLAIN_FILES, files) as plain,
    ):
        works: dict[str, Callable[[], object]] = {
            "http": lambda: _clone(f"{url}/images", copy),
            "path": lambda: _clone(root / "images", copy),
            "cp": lambda: copied(["cp", "-r"]),
        }
        if shutil.which("curl"):
            works |= {"beside": lambda: curl(beside), "plain": lambda: curl(plain)}
        if shutil.which("rsync"):
            works["rsync"] = lambda: copied(["rsync", "-a"])
        times = best_of(setting.size(_ROUNDS, 2), *works.values())
        rates = {name: count / seconds for name, seconds in zip(works, times, strict=True)}
        yield from _clone_rows(setting, count, rates)
        _clone(f"{url}/images", copy)
        yield from _push(setting, url, root, copy, count)
    shutil.rmtree(copy)
    yield from _part(setting, root, "images", nbytes, f"{count:,} × {_PIXELS}×{_PIXELS}×3")
    for folder in (root, files):
        shutil.rmtree(folder)


def _clone_rows(setting: Setting, count: int, rates: dict[str, float]) -> Iterator[Row]:
    size = f"{count:,} × {_PIXELS}×{_PIXELS}×3"
    work, hashing = f"clone of {size} over HTTP", _hash_seconds(count) * rates["http"] / count
    names = {
        "beside": "curl of one file of the same bytes, from uvicorn and starlette, as `tvcs serve`",
        "plain": "curl of that file from http.server",
    }
    bar = Bar("at least", 0.5)
    yield Row(work, "samples/s", rates["http"], names["beside"], rates.get("beside"), bar)
    note = f"hashing alone is {hashing:.0%} of the time"
    yield Row(work, "samples/s", rates["http"], names["plain"], rates.get("plain"), note=note)
    yield Row(work, "samples/s", rates["http"], "clone of a path", rates["path"])
    seen, note = _hangar(setting, "clone_samples_per_second")
    yield Row(work, "samples/s", rates["http"], "Hangar, clone and fetch-data", seen, note=note)
    work = f"clone of {size} by path, hashed and synced"
    yield Row(work, "samples/s", rates["path"], "cp -r of the repository", rates["cp"])
    note = "" if "rsync" in rates else "rsync is not installed"
    yield Row(work, "samples/s", rates["path"], "rsync -a", rates.get("rsync"), note=note)


def _push(setting: Setting, url: str, root: Path, copy: Path, count: int) -> Iterator[Row]:
    """Push all images to an empty repository."""
    seconds = []
    with tv.open(copy) as repository:
        for at in range(setting.size(3, 1)):
            tv.init(root / f"empty-{at}", bare=True).close()
            repository.add_remote(f"empty-{at}", f"{url}/empty-{at}")
            seconds.append(seconds_of(partial(repository.push, f"empty-{at}")))
            shutil.rmtree(root / f"empty-{at}")
    seen, note = _hangar(setting, "push_samples_per_second")
    work = f"push of {count:,} × {_PIXELS}×{_PIXELS}×3 over HTTP"
    yield Row(work, "samples/s", count / min(seconds), "Hangar", seen, note=note)


def _hangar(setting: Setting, figure: str) -> tuple[float | None, str]:
    """Return a figure of Hangar's own server, and what to know of it.

    It often answers a push with an error of LMDB ("mdb_put: Invalid argument"), the more often
    the more there is to push.
    """
    for _ in range(_HANGAR_TRIES):
        with suppress(subprocess.CalledProcessError):
            figures = hangar_figures(setting, "transfers", _HANGAR_COUNT)
            note = f"Hangar: {_HANGAR_COUNT:,} samples" if figures else ABSENT
            return figures.get(figure), note
    return None, "the server of Hangar failed each time"


def _part(setting: Setting, root: Path, name: str, nbytes: int, size: str) -> Iterator[Row]:
    """Clone a tenth of the values, and count what passes in both directions."""
    asked, copy = nbytes // 10, setting.folder / "part"
    with _server(root) as url, _Meter(url) as meter:
        _clone(f"{meter.url}/{name}", copy, max_bytes=asked)
    shutil.rmtree(copy)
    yield Row(
        f"clone of a tenth of {size} by --max-bytes: all bytes on the line",
        "bytes",
        meter.nbytes,
        "the bytes asked for",
        asked,
        Bar("at most", 1.1),
    )


def parts(setting: Setting) -> Iterator[Row]:
    """A part of a clone of larger images; that of small ones is measured with their clone."""
    count, root = setting.size(4_000, 200), setting.folder / "large-served"
    nbytes = _image_repository(root / "images", count, 224)
    yield from _part(setting, root, "images", nbytes, f"{count:,} × 224×224×3")
    shutil.rmtree(root)


def fetches(setting: Setting) -> Iterator[Row]:
    """Fetch of commits of one changed sample each, over HTTP."""
    count = setting.size(1_000_000, 50_000)
    root, copy = setting.folder / "vectors-served", setting.folder / "vectors-copy"
    root.mkdir()
    source = root / "vectors"
    shutil.copytree(vector_repository(setting, count), source)
    seconds, moved = [], []
    with (
        _server(root) as url,
        tv.clone(f"{url}/vectors", copy) as mine,
        tv.open(source) as theirs,
    ):
        for at in range(setting.size(_FETCHES, 3)):
            change_one(theirs, at * 7919 % count, 90_000 + at)
            seconds.append(seconds_of(mine.fetch))
        for at in range(3):
            change_one(theirs, at * 7919 % count, 80_000 + at)
            with _Meter(url) as meter:
                mine.remove_remote("origin")
                mine.add_remote("origin", f"{meter.url}/vectors")
                mine.fetch()
            moved.append(meter.nbytes)
    work = f"fetch of a commit of one changed sample of {count:,} over HTTP"
    yield Row(work, "s", sorted(seconds)[len(seconds) // 2], bar=Bar("at most", 0.1, "figure"))
    bar = Bar("at most", 100_000, "figure")
    yield Row(f"{work}: all bytes on the line", "bytes", max(moved), bar=bar)
    for folder in (root, copy):
        shutil.rmtree(folder)
