"""The line over pipes: what ssh is told, and programs that end, talk and break."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.connections import open_connection
from tensorvcs.errors import (
    ConnectionLostError,
    InvalidInputError,
    ObjectNotFoundError,
    RemoteError,
)
from tensorvcs.server.pipes import serve_pipes
from tensorvcs.sync import wire
from tensorvcs.sync.remote_stores import remote_stores
from tensorvcs.sync.stdio_stores import PipeLine, ssh_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVE = [sys.executable, "-m", "cli", "serve", "--stdio"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ssh://host/data/pets", ["--", "host", "tvcs serve --stdio /data/pets"]),
        (
            "ssh://ada@data.example.org:2222/my%20pets",
            ["-p", "2222", "--", "ada@data.example.org", "tvcs serve --stdio '/my pets'"],
        ),
        ("ssh://h/a;rm -rf $HOME", ["--", "h", "tvcs serve --stdio '/a;rm -rf $HOME'"]),
        ("ssh://h/it's", ["--", "h", """tvcs serve --stdio '/it'"'"'s'"""]),
        ("ssh://[::1]/p", ["--", "::1", "tvcs serve --stdio /p"]),
    ],
)
def test_what_ssh_is_told(url: str, words: list[str]) -> None:
    assert ssh_command(url) == ["ssh", *words]
    assert ssh_command(url, "other")[0] == "other"


@pytest.mark.parametrize(
    "url",
    [
        "ssh://", "ssh:///p", "ssh://host", "ssh://host/", "ssh://-oProxyCommand=x/p",
        "ssh://-l@host/p", "ssh://a b@host/p", "ssh://ho st/p", "ssh://h;x/p", "ssh://host:x/p",
        "ssh://host:99999/p", "ssh://host/p?q", "ssh://host/p#q", "ssh://host/a%0ab",
        "ssh://host/%00", "ssh://h$(x)/p", "ssh://host./p", "ssh://[::1/p",
    ],
)  # fmt: skip
def test_no_part_of_a_url_becomes_an_option(url: str) -> None:
    with pytest.raises(InvalidInputError, match="is no URL of a repository") as caught:
        open_connection(url)
    assert "ssh://user@host/" in (caught.value.hint or "")


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(InvalidInputError, match="it has a password") as caught:
        ssh_command("ssh://ada:s3cr3t@host/p")
    assert "s3cr3t" not in str(caught.value)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    with tv.init(tmp_path / "pets", "Ada", "ada@example.org") as repo, repo.edit() as co:
        co.add_ndarray_column("images", (4, 4), "uint8").extend(np.zeros((5, 4, 4), np.uint8))
        co.commit("First")
    return tmp_path / "pets"


def line_to(words: list[str]) -> PipeLine:
    return PipeLine(words, "the other end")


def test_a_repository_is_reached_by_ssh(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a program called ssh that runs its last word in a shell, as sshd does."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text('#!/bin/sh\necho "$@" >&2\nfor last; do :; done\neval "$last"\n')
    (programs / "tvcs").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    url = f"ssh://ada@host{pets}"
    with tv.clone(url, tmp_path / "copy", user_name="B", user_email="b@b.org") as repo:
        with repo.transaction("main", "More") as tx:
            tx["images"][9] = np.ones((4, 4), np.uint8)
        assert repo.push().movement == "fast-forward"
        with tv.open(pets) as source:
            assert source.branches["main"] == repo.branches["main"]
            assert source.operations()[0].command == "push"
    with pytest.raises(tv.errors.RepositoryNotFoundError, match="no repository at"):
        open_connection(f"ssh://ada@host{tmp_path}/nowhere")


def test_errors_do_not_end_the_program(pets: Path) -> None:
    line = line_to([*SERVE, str(pets)])
    remote = remote_stores(line)
    program = line._program
    for _ in range(2):
        with pytest.raises(ObjectNotFoundError):
            remote.objects.get([bytes(32)])
        assert remote.refs.get("HEAD")
    assert line._program is program
    line.close()
    assert remote.refs.get("HEAD")
    assert line._program is not program
    line.close()
    line.close()


def test_an_answer_that_is_left_ends_the_program(pets: Path) -> None:
    line = line_to([*SERVE, str(pets)])
    remote = remote_stores(line)
    program = line._program
    answer = line.ask("refs", [b""])
    assert next(answer)
    with pytest.raises(RemoteError, match="in the middle of an answer"):
        remote.refs.items()
    thread = threading.Thread(target=answer.close)  # type: ignore[attr-defined]
    thread.start()
    thread.join()
    assert remote.refs.items()
    assert line._program is not program
    line.close()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("import sys; sys.exit('no such folder \\x1b[2J')", r"hung up: no such folder  \[2J"),
        ("pass", "hung up; the program ended with 0"),
        ("import os, signal; os.kill(os.getpid(), 9)", "the program ended with -9"),
        ("import sys; sys.stdin.read(20); print('x' * 5, end='')", "hung up"),
        ("import os; os.close(0); os.write(2, b'a\\nb\\n')", "hung up: a b"),
    ],
)
def test_programs_that_end(script: str, text: str) -> None:
    line = line_to([sys.executable, "-c", script])
    with pytest.raises(ConnectionLostError, match=text):
        remote_stores(line)
    line.close()


def test_a_program_that_says_much_is_not_stuck() -> None:
    script = "import sys\nsys.stderr.write('noise\\n' * 200_000)"
    with pytest.raises(ConnectionLostError, match=r"hung up: (noise )+noise$") as caught:
        remote_stores(line_to([sys.executable, "-c", script]))
    assert len(str(caught.value)) < 2000


def test_a_program_that_speaks_something_else() -> None:
    line = line_to([sys.executable, "-c", "print('Welcome to the host of all hosts')"])
    with pytest.raises(RemoteError, match="is announced"):
        remote_stores(line)
    line.close()


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(RemoteError, match="cannot run 'no-such-program'") as caught:
        remote_stores(line_to(["no-such-program"]))
    assert "install it" in (caught.value.hint or "")


def test_threads_wait_for_each_other(pets: Path) -> None:
    line = line_to([*SERVE, str(pets)])
    remote = remote_stores(line)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(remote.refs.items())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(set(refs) == {"HEAD", "refs/heads/main"} for refs in found)
    line.close()


def test_a_forked_child_starts_a_program_of_its_own(pets: Path) -> None:
    line = line_to([*SERVE, str(pets)])
    remote = remote_stores(line)
    expected, program = remote.refs.items(), line._program
    child = os.fork()
    if child == 0:  # pragma: no cover (in the child)
        line.close()
        is_right = remote.refs.items() == expected and line._program is not program
        line.close()
        os._exit(0 if is_right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert remote.refs.items() == expected
    assert line._program is program
    line.close()


# The program itself


def run_pipes(pets: Path, content: bytes, *, is_read_only: bool = False) -> bytes:
    """Serve a prepared stream; return what was answered."""
    target = io.BytesIO()
    serve_pipes(str(pets), io.BytesIO(content), target, "ada", is_read_only=is_read_only)
    return target.getvalue()


def question(method: str, *contents: bytes) -> bytes:
    return b"".join(wire.stream([method.encode(), *contents]))


def answers(content: bytes) -> Iterator[list[wire.Frame] | BaseException]:
    """Yield each answer of a stream of them, or its error."""
    source = io.BytesIO(content)
    while source.tell() < len(content):
        try:
            yield list(wire.read_frames(source.read))
        except tv.errors.TensorVCSError as error:
            yield error


def kinds(content: bytes) -> list[str]:
    return [type(answer).__name__ for answer in answers(content)]


def test_questions_are_answered_one_after_the_other(pets: Path) -> None:
    hello = question("hello")
    assert run_pipes(pets, b"") == b""
    assert kinds(run_pipes(pets, hello * 3)) == ["list"] * 3
    absent = question("objects/get", bytes(32))
    assert kinds(run_pipes(pets, hello + absent + hello)) == ["list", "ObjectNotFoundError", "list"]
    broken = question("objects/put", *wire.encode_objects([b"x"]), b"more", b"still more")
    assert kinds(run_pipes(pets, broken + hello)) == ["ObjectDamagedError", "list"]


@pytest.mark.parametrize(
    "content",
    [
        question("nothing"), question(""), question("x" * 5000), b"junk" * 10,
        b"z" + bytes(8), question("objects/get", b"x"), question("swap"), question("hello")[:-1],
        question("objects/put", b"1234567890")[:-12],
    ],
)  # fmt: skip
def test_what_is_no_question_ends_it(pets: Path, content: bytes) -> None:
    found = kinds(run_pipes(pets, content + question("hello")))
    assert (
        found[-1] in ("RemoteError", "ConnectionLostError", "ObjectDamagedError")
        or len(content) == len(question("hello")) - 1
    )
    assert len(found) == 1


def test_pipes_can_be_read_only(pets: Path) -> None:
    content = question("objects/put", *wire.encode_objects([b"x"]))
    (error,) = answers(run_pipes(pets, content, is_read_only=True))
    assert "'ada' may read here, and not write" in str(error)


def test_a_reader_that_goes_is_told_of(pets: Path) -> None:
    class Gone(io.BytesIO):
        def write(self, content: Any) -> int:
            raise BrokenPipeError

    with pytest.raises(ConnectionLostError, match="hung up before its answer was whole"):
        serve_pipes(str(pets), io.BytesIO(question("hello")), Gone(), "a", is_read_only=False)
