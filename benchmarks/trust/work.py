"""Work on a repository without end, and tell of everything that is done: what is killed or cut off.

``python -m benchmarks.trust.work FOLDER SEED`` prints a line once it is ready, and then one for
each act, once TensorVCS has said that it is done: the commit that is there then, and what must be
in it. An error ends it, and is told.
"""

from __future__ import annotations

import json
import random
import sys
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tensorvcs as tv
from benchmarks.trust.tally import Reading
from tensorvcs.errors import TensorVCSError
from tensorvcs.formats.importing import import_into

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SHAPE = (30, 30)
_IMPORTED = 1300
"""Rows of an import: enough for a pack."""


def row_of(key: str) -> np.ndarray[Any, Any]:
    """Return the row of a key."""
    return np.random.default_rng(zlib.crc32(key.encode())).integers(0, 256, SHAPE, np.uint8)


def rows_of(column: str) -> np.ndarray[Any, Any]:
    """Return the rows of a column that is imported."""
    drawn = np.random.default_rng(zlib.crc32(column.encode()))
    return drawn.integers(0, 256, (_IMPORTED, *SHAPE), np.uint8)


def prepare(folder: Path) -> None:
    """Make the repository to work on."""
    with tv.init(folder, user_name="Ada", user_email="ada@example.org") as repo, repo.edit() as co:
        co.add_ndarray_column("rows", SHAPE, "uint8")
        co.commit("schema")


class Work:
    """What is done to a repository, in any order."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._repo = tv.open(folder)
        self._scratch = folder / "import.npy"
        self._drawn = random.Random(seed)
        self._seed = seed
        self._count = 0

    def act(self) -> dict[str, Any]:
        """Do one thing and return what to tell of it."""
        self._count += 1
        chosen = self._drawn.choices(
            [self.commit, self.import_rows, self.merge, self.repack, self.collect],
            [8, 2, 3, 1, 2],
        )
        return chosen[0](f"{self._seed} {self._count}")

    def commit(self, key: str, branch: str = "main") -> dict[str, Any]:
        """Commit a row by a transaction."""
        tx = self._repo.transaction(branch, key)
        with tx as co:
            co["rows"][key] = row_of(key)
        assert tx.commit is not None
        return {"commit": tx.commit.id, "keys": [key], "columns": []}

    def import_rows(self, key: str) -> dict[str, Any]:
        """Import a file into a column of its own, and commit."""
        np.save(self._scratch, rows_of(key))
        with self._repo.edit() as co:
            import_into(co, self._scratch, column=key)
            made = co.commit(key)
        return {"commit": made.id, "keys": [], "columns": [key]}

    def merge(self, key: str) -> dict[str, Any]:
        """Commit to a branch of its own and to ``main``, and merge."""
        branch = key.replace(" ", "-")
        self._repo.create_branch(branch)
        told = [self.commit(f"{key} {name}", name) for name in (branch, "main")]
        self._repo.merge(branch)
        self._repo.delete_branch(branch)
        keys = [key for found in told for key in found["keys"]]
        return {"commit": self._repo.resolve("main").id, "keys": keys, "columns": []}

    def repack(self, key: str) -> dict[str, Any]:
        """Gather values into few packs."""
        self._repo.repack()
        return {"commit": self._repo.resolve("main").id, "keys": [], "columns": []}

    def collect(self, key: str) -> dict[str, Any]:
        """Drop a branch and what it alone has."""
        branch = key.replace(" ", "-")
        self._repo.create_branch(branch)
        self.commit(key, branch)
        self._repo.delete_branch(branch, force=True)
        self._repo.gc(0)
        return {"commit": self._repo.resolve("main").id, "keys": [], "columns": []}


def look(path: Path, acks: Sequence[Mapping[str, Any]]) -> Reading:
    """Compare what is left with what was told; then verify, and go on with the work."""
    reading = Reading()
    try:
        with tv.open(path) as repo:
            reading.is_opened = True
            reached = {commit.id for branch in repo.branches for commit in repo.log(branch)}
            everything: dict[str, list[str]] = {"keys": [], "columns": []}
            for ack in acks:
                for part, names in everything.items():
                    names += ack[part]
                if ack["commit"] in reached:
                    reading.right += 1
                    _compare(reading, repo, ack["commit"], ack["keys"], ack["columns"])
                else:
                    reading.missing += 1
                    reading.note(f"commit {ack['commit']} is gone")
            _compare(reading, repo, "main", everything["keys"], everything["columns"])
            reading.right += 1
            reading.is_sound = report_is_sound(reading, repo)
        work = Work(path, 1 << 20)
        for act in (work.commit, work.import_rows, work.merge, work.repack, work.collect):
            act(f"on {act.__name__}")
    except TensorVCSError as error:
        kind = type(error).__name__
        reading.errors[kind] = reading.errors.get(kind, 0) + 1
        # Nothing was damaged here, so that an error is a loss as well.
        reading.missing += 1
        reading.note(f"{kind}: {error}"[:300])
    return reading


def report_is_sound(reading: Reading, repo: tv.Repository) -> bool:
    """Return what `verify` says; a fault that it finds counts as a loss."""
    report = repo.verify()
    if not report.is_sound:
        reading.missing += 1
        reading.note(str(report))
    return report.is_sound


def _compare(
    reading: Reading,
    repo: tv.Repository,
    revision: str,
    keys: Iterable[str],
    columns: Iterable[str],
) -> None:
    with repo.checkout(revision) as co:
        rows = co["rows"]
        for key in keys:
            if key not in rows:
                reading.missing += 1
                reading.note(f"{revision} lacks {key}")
            elif not np.array_equal(rows[key], row_of(key)):
                reading.wrong += 1
                reading.note(f"{revision}, {key} is another row")
        for name in columns:
            if name not in co.columns:
                reading.missing += 1
                reading.note(f"{revision} lacks column {name}")
            elif not np.array_equal(co[name][:], rows_of(name)):
                reading.wrong += 1
                reading.note(f"{revision}, column {name} has other rows")


def main(folder: str, seed: str) -> int:
    """Work until it is killed, or an error comes."""
    tell = partial(print, flush=True)
    work = Work(Path(folder), int(seed))
    tell(json.dumps({"ready": True}))
    while True:
        try:
            told = work.act()
        except TensorVCSError as error:
            tell(json.dumps({"refused": f"{type(error).__name__}: {error}"}))
            return 0
        tell(json.dumps(told))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
