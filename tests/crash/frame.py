"""The frame of the crash tests: record an operation, end it somewhere, look what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorvcs as tv
from tensorvcs.errors import DiskFullError, RepositoryNotFoundError
from tensorvcs.server.tokens import TokenFile
from tensorvcs.storage.durable import set_step_hook
from tensorvcs.storage.hdf5_pack import TEMPORARY_PREFIX
from tests.crash.operations import OPERATIONS, ROWS, opened
from tests.memory_repository import contents_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.crash.operations import Operation

VISITS = 1
"""How many steps of one name the quick tests end an operation at within one piece."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A run of an operation that nobody disturbed.

    Attributes
    ----------
    operation : Operation
    template : Path
        A copy of what there was before.
    place : Path
        Where the operation runs each time, since settings hold paths.
    steps : tuple of (int, str)
        The durable steps in order, each with the number of pieces told before.
    states : tuple
        What there was before the act and after each piece.
    commits : mapping
        The content of every commit that there is at the end, by id.
    """

    operation: Operation
    template: Path
    place: Path
    steps: tuple[tuple[int, str], ...]
    states: tuple[Mapping[str, Any], ...]
    commits: Mapping[str, Any]

    def restore(self) -> None:
        """Make the place as it was before the operation."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.template, self.place)


def record(name: str, place: Path, template: Path) -> Recording:
    """Prepare and run an operation at `place`, and keep at `template` what there was before."""
    operation = OPERATIONS[name]
    place.mkdir()
    operation.prepare(place)
    shutil.copytree(place, template)
    steps: list[str] = []
    states, counts = [state_of(place)], [0]
    for _ in run(operation, place, steps.append):
        states += [state_of(place)]
        counts += [len(steps)]
    pieces = [sum(count <= at for count in counts[1:]) for at in range(len(steps))]
    return Recording(
        operation,
        template,
        place,
        tuple(zip(pieces, steps, strict=True)),
        tuple(states),
        commits_of(place),
    )


def first_visits(steps: Iterable[tuple[int, str]]) -> list[int]:
    """Return the places of those steps at which the quick test kills."""
    seen: Counter[tuple[int, str]] = Counter()
    chosen = []
    for at, step in enumerate(steps):
        seen[step] += 1
        if seen[step] <= VISITS:
            chosen.append(at)
    return chosen


def state_of(folder: Path) -> dict[str, Any]:
    """Return all that may differ between two moments: refs and settings by repository, files."""
    state: dict[str, Any] = {}
    for name in ("repo", "far"):
        with suppress(RepositoryNotFoundError), tv.open(folder / name) as repo:
            # A ref names all content below it by digests, which `verify` compares.
            refs = dict(repo._stores.refs.items(""))
            state[name] = (refs, repo.config)
    for name in ("all.bundle", "tokens.json"):
        state[name] = (folder / name).exists()
    if state["tokens.json"]:
        state["tokens.json"] = [token.name for token in TokenFile(folder / "tokens.json").tokens()]
    if state["all.bundle"]:
        state["all.bundle"] = tv.verify_bundle(folder / "all.bundle").branches
    return state


def commits_of(folder: Path) -> dict[str, Mapping[str, Mapping[Any, Any]]]:
    """Return the whole content of every commit that a ref of any repository reaches, by id."""
    found: dict[str, Mapping[str, Mapping[Any, Any]]] = {}
    for name in ("repo", "far"):
        with suppress(RepositoryNotFoundError), tv.open(folder / name) as repo:
            tips = [*repo.branches, *repo.tags]
            for tip in tips:
                for commit in repo.log(tip):
                    if commit.id not in found:
                        found[commit.id] = contents_of(repo.checkout(commit).columns)
    return found


def run(operation: Operation, folder: Path, hook: Callable[[str], None]) -> Iterator[None]:
    """Run an act in this process; the hook gets the name of each durable step."""
    pieces = operation.act(folder)
    while True:
        set_step_hook(hook)
        try:
            next(pieces)
        except StopIteration:
            return
        finally:
            set_step_hook(None)
        yield


def run_to_death(
    operation: Operation,
    place: Path,
    *,
    at: int | None = None,
    behind: int | None = None,
    end: Callable[[], object] = lambda: None,
) -> int:
    """Run an act in a child that is killed on the way; return how many pieces it told.

    Parameters
    ----------
    operation : Operation
    place : Path
    at : int, optional
        The durable step at which to end.
    behind : int, optional
        The piece behind which to end, once it is told.
    end : callable
        Called in the child before it is killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        steps = pieces = 0

        def die() -> None:
            end()
            os.kill(os.getpid(), signal.SIGKILL)

        def count(_: str) -> None:
            nonlocal steps
            if steps == at:
                die()
            steps += 1

        try:
            for _ in run(operation, place, count):
                os.write(writer, b".")
                pieces += 1
                if pieces == behind:
                    die()
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        pieces = len(told.read())
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the child ended by itself: {status}"
    return pieces


def run_to_refusal(
    recording: Recording, *, make_room: Callable[[], None], hook: Callable[[str], None], where: str
) -> bool:
    """Run an act in a child that has no room on the way, and check there what it leaves.

    Parameters
    ----------
    recording : Recording
        Its place is as before the act.
    make_room : callable
        Called in the child when the act was refused, before it looks and goes on.
    hook : callable
        Gets the name of each durable step of the act; may raise.
    where : str

    Returns
    -------
    bool
        Whether the act was refused at all.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        told, refusal, problem = 0, "", ""
        try:
            try:
                for _ in run(recording.operation, recording.place, hook):
                    told += 1
            except DiskFullError as error:
                refusal = f"{error}; {error.hint}"
            make_room()
            assert not half_written(), f"{where}: {half_written()}"
            if refusal:
                assert str(recording.place) in refusal, refusal
                assert "free space" in refusal, refusal
            check_left(recording, told, f"{where}: {refusal or 'not refused'}")
        except BaseException:  # noqa: BLE001 (told to the parent)
            problem = traceback.format_exc()
        finally:
            os.write(writer, json.dumps([bool(refusal), problem[-50_000:]]).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told_by:
        answer = told_by.read()
    _, status = os.waitpid(child, 0)
    assert answer and not status, f"{where}: the child ended with the status {status}"
    was_refused, problem = json.loads(answer)
    assert not problem, problem
    return bool(was_refused)


def half_written() -> list[str]:
    """Return the packs that this process began, did not finish, and still has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(link.readlink()))
    return [name for name in found if f"/{TEMPORARY_PREFIX}" in name]


def check_left(recording: Recording, told: int, where: str) -> None:
    """Check what a process left that had told of so many pieces when it ended."""
    operation, place = recording.operation, recording.place
    where = f"{where}, behind {told} pieces"
    check_soundness(place, where)
    allowed = recording.states[told : told + 2]
    if operation.is_atomic:
        for part, found in state_of(place).items():
            # Each of two repositories, and each file, is as before the piece or as after it.
            assert any(found == state.get(part) for state in allowed), f"{where}: {part}"
    for commit, content in commits_of(place).items():
        assert recording.commits[commit] == content, where
    if operation.is_repeatable:
        for _ in run(operation, place, lambda _: None):
            pass
        assert state_of(place) == recording.states[-1], where
    go_on(place, where)


def check_soundness(place: Path, where: str) -> None:
    for name in ("repo", "far"):
        with suppress(RepositoryNotFoundError), tv.open(place / name) as repo:
            report = repo.verify()
            assert report.is_sound, f"{where}: {report}"


def go_on(place: Path, where: str) -> None:
    """Write a pack to each repository without any unlock, and find no leftovers then."""
    for name in ("repo", "far"):
        with suppress(RepositoryNotFoundError), opened(place, name) as repo:
            repo.set_config("user.name", "Eve")
            repo.set_config("user.email", "eve@example.org")
            with repo.transaction(message="goes on") as tx:
                if "on" not in tx.columns:
                    tx.add_ndarray_column("on", (30, 30), "uint8")
                tx["on"].extend(255 - ROWS)
            if not repo.is_bare:
                with repo.edit() as co:
                    if "worked" not in co.columns:
                        co.add_ndarray_column("worked", (), "int64")
                    co["worked"]["on"] = 1
                    co.commit("goes on")
            assert repo.verify().is_sound, where
            packs = list((repo._folder.root / "packs").iterdir())
            assert len(packs) == repo.stats().packs.pack_count, f"{where}: {packs}"
    TokenFile(place / "tokens.json").add("eve", [("*", "read")])
    left = [path for path in place.rglob("*") if path.name.endswith(".new")]
    assert not left, where
