"""A server that is killed while it receives or answers, and a client that is killed as it sends."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import tensorvcs as tv
from tensorvcs.errors import RemoteError
from tensorvcs.history.refs import BRANCHES
from tensorvcs.server.listening import Place
from tensorvcs.server.serving import Rules, serve
from tensorvcs.storage.durable import set_step_hook
from tensorvcs.sync import remote_stores, wire
from tests.crash.frame import check_soundness, first_visits, go_on
from tests.crash.operations import a_remote_that_is_ahead, a_remote_that_is_behind, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

MEMORY = Path("/dev/shm")
# Of some thousand frames of an answer, the first ones and some of those behind.
SOME_FRAMES = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)


@pytest.fixture(autouse=True)
def _asks_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_stores, "time", mock.Mock())


@pytest.fixture
def place() -> Iterator[Path]:
    # What a kill leaves is in the memory of the system, so that no disk is needed to see it.
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder) / "here"


def ignore(_: object = None) -> None:
    """Let it pass."""


class Server:
    """A server of `far`, in a child.

    Parameters
    ----------
    place : Path
    on_step : callable
        Called in the child with the name of each durable step.
    on_frame : callable
        Called in the child before each piece of an answer is sent.
    """

    def __init__(
        self,
        place: Path,
        on_step: Callable[[str], None] = ignore,
        on_frame: Callable[[], None] = ignore,
    ) -> None:
        reader, writer = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            try:
                _serve(place / "far", writer, on_step, on_frame)
            finally:
                os._exit(1)
        os.close(writer)
        self.url = os.read(reader, 1000).decode()
        os.close(reader)
        assert self.url, "the server did not begin"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *problem: object) -> None:
        # Gone by a kill already, or by this one.
        os.kill(self._process, signal.SIGKILL)
        _, status = os.waitpid(self._process, 0)
        assert os.WIFSIGNALED(status), f"the server ended by itself: {status}"


def _serve(
    far: Path, writer: int, on_step: Callable[[str], None], on_frame: Callable[[], None]
) -> None:
    stream = wire.stream

    def watched(contents: Iterable[wire.Content]) -> Iterator[wire.Frame]:
        for frame in stream(contents):
            on_frame()
            yield frame

    set_step_hook(on_step)
    with mock.patch.object(wire, "stream", watched):
        serve(
            far,
            Place(port=0),
            Rules(lets_anybody=True),
            on_ready=lambda url: ignore(os.write(writer, url.encode())),
            write_log=ignore,
        )


def kill_at(at: int, victim: Callable[[], int] = os.getpid) -> Callable[..., None]:
    """Return what kills a process, that which calls it, at the call number `at`."""
    calls = count()

    def call(_: object = None) -> None:
        if next(calls) == at:
            os.kill(victim(), signal.SIGKILL)

    return call


def refs_of(place: Path, name: str) -> dict[str, Any]:
    with tv.open(place / name) as repo:
        return dict(repo._stores.refs.items(""))


def refer(place: Path, url: str) -> None:
    """Have `net` be the remote at a URL; each server has a port of its own."""
    with opened(place) as repo:
        if "net" in repo.remotes:
            repo.remove_remote("net")
        repo.add_remote("net", url)


def push(place: Path, url: str) -> Iterator[None]:
    refer(place, url)
    with opened(place) as repo:
        repo.push("net", "main")
        yield
        repo.push_tag("net", "v2")
        yield


def fetch(place: Path, url: str) -> None:
    refer(place, url)
    with opened(place) as repo:
        repo.fetch("net")


class Pushes:
    """Pushes to a server, each from the same beginning.

    Attributes
    ----------
    states : list
        The refs of `far` before, and after each of the two pushes.
    steps : list of str
        The durable steps that the server passes.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._template = place, place.with_name("template")
        place.mkdir()
        a_remote_that_is_behind(place)
        with opened(place) as repo:
            repo.push()
            repo.create_tag("v2")
        with opened(place) as repo, repo.transaction("main", "to be pushed") as tx:
            tx["images"].extend(tx["images"][:] + 1)
            tx["labels"]["main"] = 99
        shutil.copytree(place, self._template)
        self.states = [refs_of(place, "far")]
        log = place.with_name("steps")

        def note(name: str) -> None:
            with log.open("a") as file:
                file.write(f"{name}\n")

        with Server(place, note) as server:
            self.states += [refs_of(place, "far") for _ in push(place, server.url)]
        self.steps = log.read_text().splitlines()

    def restore(self) -> None:
        shutil.rmtree(self._place)
        shutil.copytree(self._template, self._place)

    def check(self, told: int, where: str) -> None:
        """Check what was left when so many pushes were answered; then push again."""
        place = self._place
        check_soundness(place, where)
        far = refs_of(place, "far")
        assert far in self.states[told : told + 2], where
        noted = refs_of(place, "repo").get("remotes/net/main")
        assert noted in (None, far[f"{BRANCHES}main"]), f"{where}: the remote has not what we note"
        with Server(place) as server:
            for _ in push(place, server.url):
                pass
        assert refs_of(place, "far") == self.states[-1], where
        go_on(place, where)


def pushes_that_kill_the_server(pushes: Pushes, place: Path, steps: Iterable[int]) -> None:
    lost = 0
    for at in steps:
        pushes.restore()
        told = 0
        with Server(place, kill_at(at)) as server:
            try:
                for _ in push(place, server.url):
                    told += 1
            except RemoteError:
                lost += 1
        pushes.check(told, f"server killed at step {at}, {pushes.steps[at]!r}")
    assert lost > len(pushes.steps) // 4


def pushes_that_kill_the_client(pushes: Pushes, place: Path, steps: Iterable[int]) -> None:
    note = place.with_name("client")

    def client_process() -> int:
        return int(note.read_text())

    killed = 0
    for at in steps:
        pushes.restore()
        with Server(place, kill_at(at, client_process)) as server:
            killed += push_in_child(place, server.url, note)
            # The server, which lives on, ends what it has begun or lets it be.
            for _ in push(place, server.url):
                pass
        pushes.check(len(pushes.states) - 1, f"client killed at step {at} of the server")
    assert killed


def push_in_child(place: Path, url: str, note: Path) -> bool:
    """Push in a child that leaves its number behind; return whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            note.write_text(str(os.getpid()))
            for _ in push(place, url):
                pass
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_server_that_is_killed_as_it_receives_a_push(place: Path) -> None:
    pushes = Pushes(place)
    pushes_that_kill_the_server(pushes, place, first_visits([(0, name) for name in pushes.steps]))


@pytest.mark.slow
def test_a_server_that_is_killed_at_any_step_of_a_push(place: Path) -> None:
    pushes = Pushes(place)
    pushes_that_kill_the_server(pushes, place, range(len(pushes.steps)))


def test_a_client_that_is_killed_as_it_pushes(place: Path) -> None:
    pushes = Pushes(place)
    pushes_that_kill_the_client(pushes, place, first_visits([(0, name) for name in pushes.steps]))


@pytest.mark.slow
def test_a_client_that_is_killed_at_any_step_of_the_server(place: Path) -> None:
    pushes = Pushes(place)
    pushes_that_kill_the_client(pushes, place, range(len(pushes.steps)))


def fetches_from_a_server_that_dies(place: Path, frames: Iterable[int]) -> None:
    place.mkdir()
    a_remote_that_is_ahead(place)
    template = place.with_name("template")
    shutil.copytree(place, template)
    before = refs_of(place, "repo")
    with Server(place) as server:
        fetch(place, server.url)
    after = refs_of(place, "repo")
    assert after != before
    lost = 0
    for at in frames:
        where = f"server killed at frame {at}"
        shutil.rmtree(place)
        shutil.copytree(template, place)
        with Server(place, on_frame=kill_at(at)) as server:
            try:
                fetch(place, server.url)
                break
            except RemoteError:
                lost += 1
        assert refs_of(place, "repo") == before, where
        check_soundness(place, where)
        with Server(place) as server:
            fetch(place, server.url)
        assert refs_of(place, "repo") == after, where
        go_on(place, where)
    assert lost > 5


def test_a_server_that_is_killed_as_it_answers_a_fetch(place: Path) -> None:
    fetches_from_a_server_that_dies(place, SOME_FRAMES)


@pytest.mark.slow
def test_a_server_that_is_killed_at_any_frame_of_a_fetch(place: Path) -> None:
    fetches_from_a_server_that_dies(place, count())
