"""The line to a repository behind the pipes of a program, such as ssh."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
import weakref
from collections import deque
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tensorvcs.errors import (
    ConnectionLostError,
    InvalidInputError,
    RemoteError,
    TensorVCSError,
    with_hint,
)
from tensorvcs.sync import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:]+")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_KEPT_LINES = 20
_LINE_LENGTH = 500
_SAID_LENGTH = 1000
_END_SECONDS = 5.0


def ssh_command(url: str, program: str = "ssh") -> list[str]:
    """Return the words that serve the repository at ``ssh://user@host:port/path``.

    No shell here sees them. The one at the other end gets the path quoted.

    Raises
    ------
    InvalidInputError
        It is no such URL: every part is checked, so that none can be an option of ssh.
    """
    try:
        parts = urlsplit(url)
        port, host, user = parts.port, parts.hostname, parts.username
    except ValueError as error:
        raise _bad_url(url, "it cannot be read") from error
    path = unquote(parts.path)
    if parts.password is not None:
        raise _bad_url("ssh://...", "it has a password; ssh asks for one, or use a key")
    if not host or not _HOST.fullmatch(host):
        raise _bad_url(url, "its host is no name of a machine")
    if user is not None and not _USER.fullmatch(user):
        raise _bad_url(url, "its user is no name of one")
    if parts.query or parts.fragment or path in ("", "/") or not path.isprintable():
        raise _bad_url(url, "its path is none of a folder")
    place = host if user is None else f"{user}@{host}"
    ports = [] if port is None else ["-p", str(port)]
    return [program, *ports, "--", place, f"tvcs serve --stdio {shlex.quote(path)}"]


def _bad_url(url: str, problem: str) -> InvalidInputError:
    return with_hint(
        InvalidInputError(f"{url!r} is no URL of a repository: {problem}"),
        "write it like ssh://user@host/folder/of/the/repository",
    )


class PipeLine:
    """The line to a repository that a program serves over its standard input and output.

    One question at a time: threads wait for each other. A forked child starts its own program.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments; started with the first question.
    where : str
        What errors call the other end.
    """

    pauses: Sequence[float] = ()
    reads_ahead = False

    def __init__(self, command: Sequence[str], where: str) -> None:
        self._command = list(command)
        self._where = where
        self._reset()

    def __repr__(self) -> str:
        return f"PipeLine({self._where!r})"

    def _reset(self) -> None:
        # A generator may end in another thread than it began, so the lock is no RLock.
        self._lock = threading.Lock()
        self._asking: int | None = None
        self._program: _Program | None = None
        self._process = os.getpid()

    def ask(
        self, method: str, contents: Sequence[wire.Content], *, is_repeatable: bool = True
    ) -> Iterator[wire.Frame]:
        """Yield the contents of an answer; see `Line.ask`.

        An answer that is not read to its end ends the program; the next question starts it anew.
        """
        if self._process != os.getpid():
            self._reset()
        if self._asking == threading.get_ident():
            raise RemoteError(f"{self._where} was asked in the middle of an answer")
        with self._lock:
            self._asking = threading.get_ident()
            is_in_step = False
            try:
                program = self._started()
                program.send(wire.stream([method.encode(), *contents]))
                output = program.output
                yield from wire.read_frames(output.read, read_into=output.readinto)
                is_in_step = True
            except ConnectionLostError as error:
                assert self._program is not None
                raise self._program.lost(self._where) from error
            except TensorVCSError as error:
                # What the other end raised is the end of its answer.
                is_in_step = not isinstance(error, RemoteError)
                raise
            finally:
                self._asking = None
                if not is_in_step:
                    self._end()

    def _started(self) -> _Program:
        if self._program is None:
            self._program = _Program(self._command)
        return self._program

    def _end(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            program.end()

    def close(self) -> None:
        """End the program."""
        if self._process == os.getpid():
            with self._lock:
                self._end()


class _Program:
    """A program that runs, its pipes, and the last lines of its standard error."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise with_hint(
                RemoteError(f"cannot run {command[0]!r}: {error.strerror or error}"),
                "install it, or reach the remote by another kind of URL",
            ) from error
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self.output: Any = child.stdout
        self._input = child.stdin
        self._child = child
        self._said: deque[str] = deque(maxlen=_KEPT_LINES)
        self._reader = threading.Thread(
            target=_keep_lines, args=(child.stderr, self._said), daemon=True
        )
        self._reader.start()
        self.end = weakref.finalize(self, _end, child, self._reader)

    def send(self, pieces: Iterator[wire.Frame]) -> None:
        try:
            for piece in pieces:
                self._input.write(piece)
            self._input.flush()
        except OSError as error:
            raise ConnectionLostError(f"the line broke: {error.strerror}") from error

    def lost(self, where: str) -> RemoteError:
        """Return the error for a program that ended: what it said, and with which code."""
        self.end()
        said = " ".join(line for line in self._said if line)[-_SAID_LENGTH:]
        code = self._child.returncode
        problem = f"{where} hung up" + (f": {said}" if said else f"; the program ended with {code}")
        return ConnectionLostError(problem)


def _keep_lines(stream: IO[bytes], said: deque[str]) -> None:
    """Read the standard error of a program to its end, so that it never waits for a reader."""
    while line := stream.readline(_LINE_LENGTH):
        text = line.decode(errors="replace")
        said.append("".join(c if c.isprintable() else " " for c in text).strip())


def _end(child: subprocess.Popen[bytes], reader: threading.Thread) -> None:
    """Close the pipes of a program, which ends it, and wait for it."""
    for stream in (child.stdin, child.stdout):
        assert stream is not None
        try:
            stream.close()
        except OSError:
            continue  # what was not written has no reader any more
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    reader.join(_END_SECONDS)
    assert child.stderr is not None
    child.stderr.close()
