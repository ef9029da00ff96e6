"""The program that reads a Hangar repository and answers over its pipes.

It runs in a process of its own, perhaps under an old Python that has ``hangar`` and not this
package: it imports nothing but its neighbours, the standard library and what Hangar needs, and
keeps to what Python 3.8 knows.

A request is a frame on standard input; the answer is frames on standard output, the last one of
type ``end`` or ``error``.

``history``
    ``repository`` (branches, head, staged_count, unreachable_count), then a ``commit`` for each.
``changes`` (commit, parents, allow_missing)
    ``columns`` (base, deleted, created), then any of ``gone`` (column, keys), then of ``values``
    (column, keys, shapes, sizes; the payload is the values behind each other) and ``missing``
    (column, key, reason).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .frames import read_frame, write_frame
from .hangar_repository import HangarRepository, MissingValueError, ReadingError, load_hangar
from .records import changes, key_of, only_gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

VALUES_NBYTES = 16 << 20
VALUES_COUNT = 16384
"""The payload and the values after which a frame of values is sent."""


class Answer:
    """The answers to the requests of the other end.

    Parameters
    ----------
    repository : HangarRepository
    out : binary stream
    """

    def __init__(self, repository: HangarRepository, out: IO[bytes]) -> None:
        self._repository = repository
        self._out = out

    def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        write_frame(self._out, header, payload)

    def history(self, request: dict[str, Any]) -> None:
        """Send the branches, then the commits that they reach."""
        repository = self._repository
        branches = repository.branches()
        commits, waiting = {}, sorted(branches.values())
        while waiting:
            digest = waiting.pop()
            if digest not in commits:
                commits[digest] = repository.commit(digest)
                waiting.extend(commits[digest]["parents"])
        self._send(
            {
                "type": "repository",
                "branches": branches,
                "head": repository.head(),
                "staged_count": repository.staged_count(),
                "unreachable_count": len(set(repository.commit_digests()) - set(commits)),
            }
        )
        for commit in commits.values():
            self._send(commit)

    def changes(self, request: dict[str, Any]) -> None:
        """Send what turns the columns of one of the parents into those of a commit.

        It is the parent that has most in common with the commit.
        """
        commit, parents = request["commit"], request["parents"] or [""]
        repository = self._repository
        repository.keep_records_of([commit, *parents])
        columns = repository.columns(commit)
        after = repository.records(commit)
        best: tuple[Any, ...] = ()
        for parent in parents:
            known = repository.columns(parent)
            renewed = {name for name in columns if known.get(name, columns[name]) != columns[name]}
            before = repository.records(parent) if parent else b""
            names = {name.encode() for name in renewed}
            gone_count = come_count = 0
            for gone, come in changes(before, after, names):
                gone_count += len(only_gone(gone, come))
                come_count += len(come)
            if not best or gone_count + come_count < best[0] + best[1]:
                best = (gone_count, come_count, parent, before, names, known)
        gone_count, come_count, parent, before, names, known = best
        renewed = {name.decode() for name in names}
        self._send(
            {
                "type": "columns",
                "base": parent,
                "deleted": sorted(set(known) - set(columns) | renewed),
                "created": {n: columns[n] for n in columns if n not in known or n in renewed},
            }
        )
        self._repository.keep_records_of([commit, parent])
        staying = {name for name in known if name in columns and name not in renewed}
        if gone_count:
            self._send_gone(changes(before, after, names), staying)
        self._send_come(changes(before, after, names), columns, request["allow_missing"])

    def _send_gone(self, found: Iterator[Any], columns: set[str]) -> None:
        # Apart from the values and before them, so that the other end need not alternate.
        for gone, come in found:
            keys: dict[str, list[Any]] = {}
            for record in only_gone(gone, come):
                column, key, _ = key_of(record)
                if column in columns:
                    keys.setdefault(column, []).append(key)
            for column, gathered in keys.items():
                self._send({"type": "gone", "column": column, "keys": gathered})

    def _send_come(
        self, found: Iterator[Any], columns: dict[str, dict[str, Any]], allow_missing: bool
    ) -> None:
        batch = Batch("", {})
        for _, come in found:
            for record in come:
                column, key, digest = key_of(record)
                if column != batch.column or batch.is_full:
                    self._send_batch(batch)
                    batch = Batch(column, columns[column])
                try:
                    batch.add(key, self._repository.value(digest, columns[column]))
                except MissingValueError as error:
                    if not allow_missing:
                        where = f"column {column!r}, key {json.dumps(key)}"
                        raise ReadingError("missing", f"{where}: {error}") from error
                    self._send(
                        {"type": "missing", "column": column, "key": key, "reason": str(error)}
                    )
        self._send_batch(batch)

    def _send_batch(self, batch: Batch) -> None:
        if batch.keys:
            header = {
                "type": "values",
                "column": batch.column,
                "keys": batch.keys,
                "shapes": batch.shapes,
                "sizes": batch.sizes,
            }
            self._send(header, b"".join(batch.parts))


class Batch:
    """Values of one column on their way."""

    def __init__(self, column: str, schema: dict[str, Any]) -> None:
        self.column = column
        self.keys: list[Any] = []
        self.shapes: list[list[int]] = []
        self.sizes: list[int] = []
        self.parts: list[bytes] = []
        self._is_text = schema.get("kind") == "str"
        self._is_array = schema.get("kind") == "ndarray"
        self._is_fixed = not schema.get("variable_shape")
        self._nbytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it is to be sent before another value."""
        return self._nbytes >= VALUES_NBYTES or len(self.keys) >= VALUES_COUNT

    def add(self, key: Any, value: Any) -> None:
        """Take one value."""
        if self._is_array:
            # One shape is that of all values of a column of fixed shape.
            if not (self._is_fixed and self.shapes == [list(value.shape)]):
                self.shapes.append(list(value.shape))
            part = value.tobytes()
        else:
            part = value.encode() if self._is_text else value
        self.keys.append(key)
        self.sizes.append(len(part))
        self.parts.append(part)
        self._nbytes += len(part)


def answer_all(folder: Path, requests: IO[bytes], out: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    try:
        load_hangar()
        repository = HangarRepository(folder)
        repository.check_version()
        answers = Answer(repository, out)
        while True:
            found = read_frame(requests)
            if found is None:
                return
            request = found[0]
            if request["type"] == "history":
                answers.history(request)
            else:
                answers.changes(request)
            write_frame(out, {"type": "end"})
    except ReadingError as error:
        write_frame(out, {"type": "error", "kind": error.kind, "reason": str(error)})


def main(folder: str) -> None:
    """Answer on standard output what is asked on standard input."""
    # What Hangar and its libraries print must not get between the frames.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        answer_all(Path(folder), sys.stdin.buffer, out)
        out.close()
    except BrokenPipeError:
        os._exit(1)  # the other end has gone: nobody to tell
