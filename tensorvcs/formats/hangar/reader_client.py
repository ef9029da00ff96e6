"""This side of the reader: starts its process, asks, and turns what it says into values."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorvcs.errors import MissingDependencyError, UnreadableFileError, with_hint
from tensorvcs.formats.hangar.frames import FrameError, read_frame, write_frame

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from tensorvcs.objects.schema import Schema

# The neighbours of this module under a name of their own, since the other Python may know no
# `tensorvcs`. What lies in the current folder must not be taken for a package.
_PROGRAM = """
import sys, types
sys.path[:] = [folder for folder in sys.path if folder]
package = types.ModuleType("hangar_reader")
package.__path__ = [sys.argv[1]]
sys.modules["hangar_reader"] = package
from hangar_reader.reader import main
main(sys.argv[2])
"""

_ENDING_SECONDS = 10
"""How long a process may take to end after it has closed its output."""


@dataclass(frozen=True, slots=True)
class HangarCommit:
    """A commit of Hangar.

    Attributes
    ----------
    digest : str
        Hangar's name of it.
    parents : tuple of str
        The one on the branch first; none for a first commit, two for a merge.
    seconds : float
        When it was made, since 1970-01-01 UTC.
    message, user, email : str
    """

    digest: str
    parents: tuple[str, ...]
    seconds: float
    message: str
    user: str
    email: str


@dataclass(frozen=True, slots=True)
class HangarHistory:
    """What a Hangar repository holds.

    Attributes
    ----------
    branches : dict of str to str
        The commit digest of each branch that has one.
    head : str
        The branch that a writer would change.
    staged_count : int
        Records in its staging area that no commit has.
    unreachable_count : int
        Commits that no branch reaches.
    commits : dict of str to HangarCommit
        All that the branches reach, in no order.
    """

    branches: dict[str, str]
    head: str
    staged_count: int
    unreachable_count: int
    commits: dict[str, HangarCommit]


class ReaderClient:
    """The process that reads one Hangar repository; a context manager that ends it.

    Parameters
    ----------
    path : Path
        Where the repository is, as a person named it.
    folder : Path
        Its `.hangar`.
    python : path, optional
        An interpreter that has ``hangar``; this one when omitted.

    Notes
    -----
    One frame is held at a time, 16 MiB or one value. What the process prints goes to a temporary
    file, and its last line into the error when it fails.
    """

    def __init__(
        self, path: Path, folder: Path, python: str | os.PathLike[str] | None = None
    ) -> None:
        self._path = path
        self._python = None if python is None else str(python)
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        command = [
            self._python or sys.executable, "-W", "ignore", "-c", _PROGRAM,
            str(Path(__file__).parent), str(folder.resolve()),
        ]  # fmt: skip
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._printed
            )
        except OSError as error:
            self._printed.close()
            raise with_hint(
                UnreadableFileError(f"it cannot be run: {error.strerror}", path=command[0]),
                "name a Python interpreter that has the package 'hangar'",
            ) from error

    def __enter__(self) -> ReaderClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; a second call does nothing."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.kill()
        self._child.wait()
        with suppress(BrokenPipeError):  # a request that nobody read
            self._child.stdin.close()
        self._child.stdout.close()
        self._printed.close()

    def history(self) -> HangarHistory:
        """Return the branches and their commits."""
        frames = self._ask({"type": "history"})
        try:
            first, _ = next(frames)
            commits = [
                HangarCommit(
                    str(fields["commit"]),
                    tuple(map(str, fields["parents"])),
                    float(fields["time"]),
                    str(fields["message"]),
                    str(fields["user"]),
                    str(fields["email"]),
                )
                for fields, _ in frames
            ]
            return HangarHistory(
                {str(name): str(digest) for name, digest in first["branches"].items()},
                str(first["head"]),
                int(first["staged_count"]),
                int(first["unreachable_count"]),
                {commit.digest: commit for commit in commits},
            )
        except UnreadableFileError:
            raise
        except (StopIteration, LookupError, TypeError, ValueError, AttributeError) as error:
            raise self._broken(f"its history has no such form: {error}") from error

    def changes(
        self, commit: HangarCommit, *, allow_missing: bool
    ) -> Iterator[tuple[dict[str, Any], bytearray]]:
        """Yield the frames that turn one of the parents into a commit.

        The first is of type ``columns``; those of type ``gone`` come before ``values`` and
        ``missing``.
        """
        return self._ask(
            {
                "type": "changes",
                "commit": commit.digest,
                "parents": list(commit.parents),
                "allow_missing": allow_missing,
            }
        )

    def values(
        self, header: Mapping[str, Any], payload: bytearray, schema: Schema
    ) -> NDArray[Any] | list[Any]:
        """Return the values of a frame: a stacked array of a fixed shape, or a list.

        Raises
        ------
        UnreadableFileError
            The sizes in the header are not those of the payload or of the schema.
        """
        try:
            return decode_values(header, payload, schema)
        except (LookupError, TypeError, ValueError) as error:
            raise self._broken(f"values of column {header.get('column')!r}: {error}") from error

    # The pipes

    def _ask(self, request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytearray]]:
        assert self._child.stdin is not None and self._child.stdout is not None
        with suppress(BrokenPipeError):  # why it ended comes out of the other pipe
            write_frame(self._child.stdin, request)
        while True:
            try:
                found = read_frame(self._child.stdout)
            except FrameError as error:
                raise self._broken(str(error)) from error
            if found is None:
                raise self._broken("it ended without an answer", is_over=True)
            header, payload = found
            if header["type"] == "end":
                return
            if header["type"] == "error":
                raise self._error_of(str(header.get("kind")), str(header.get("reason")))
            yield header, payload

    def _error_of(self, kind: str, reason: str) -> Exception:
        if kind == "package":
            missing = MissingDependencyError("hangar", "hangar", "importing from Hangar")
            if "not installed" not in reason:
                missing.hint = f"{reason}; give another interpreter that has it: --python EXE"
            elif self._python is not None:
                missing.hint = f"{self._python} -m pip install hangar"
            return missing
        error = UnreadableFileError(reason, path=str(self._path))
        if kind == "missing":
            error.hint = (
                "fetch its data with 'hangar fetch-data', or leave such samples out with "
                "--allow-missing"
            )
        return error

    def _broken(self, problem: str, *, is_over: bool = False) -> UnreadableFileError:
        """Return the error of a reader that broke down, with the last line that it printed."""
        remarks = []
        if is_over:
            with suppress(subprocess.TimeoutExpired):
                remarks.append(f"exit status {self._child.wait(_ENDING_SECONDS)}")
        self._child.kill()
        self._child.wait()
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").splitlines()
        remarks += [f"said last: {line.strip()[:300]}" for line in lines if line.strip()][-1:]
        more = f" ({', '.join(remarks)})" if remarks else ""
        return UnreadableFileError(
            f"the process that reads it failed: {problem}{more}", path=str(self._path)
        )


def decode_values(
    header: Mapping[str, Any], payload: bytearray, schema: Schema
) -> NDArray[Any] | list[Any]:
    """Return the values of a frame; raise ValueError when the sizes contradict each other."""
    keys, sizes = header["keys"], header["sizes"]
    if len(sizes) != len(keys) or any(size < 0 for size in sizes) or sum(sizes) != len(payload):
        raise ValueError(f"{len(keys)} keys and {sum(sizes)} bytes, found {len(payload)}")
    if schema.is_fixed_shape:
        shape = (len(keys), *schema.fixed_shape)
        if header["shapes"] != [list(schema.fixed_shape)]:
            raise ValueError(f"shapes {header['shapes']}, expected {schema.fixed_shape}")
        return np.frombuffer(payload, schema.numpy_dtype).reshape(shape)
    ends = np.cumsum([0, *sizes]).tolist()
    parts = [bytes(payload[a:b]) for a, b in itertools.pairwise(ends)]
    if schema.kind == "bytes":
        return parts
    if schema.kind == "str":
        return [part.decode() for part in parts]
    shapes = header["shapes"]
    if len(shapes) != len(parts):
        raise ValueError(f"{len(shapes)} shapes of {len(parts)} values")
    dtype = schema.numpy_dtype
    for size, extents in zip(sizes, shapes, strict=True):
        if prod(extents) * dtype.itemsize != size:
            raise ValueError(f"{size} bytes, expected an array of shape {extents}")
    return [
        np.frombuffer(part, dtype).reshape(extents)
        for part, extents in zip(parts, shapes, strict=True)
    ]
