"""What the crash tests kill: each operation as a script that a child runs piece by piece.

An act is a generator: what it did up to a `yield` is told to the caller, and so must survive. A
new operation that writes belongs into `OPERATIONS`; a new step of `tensorvcs.storage.durable`
must be passed by at least one of them.
"""

from __future__ import annotations

import datetime as dt
import struct
import unittest.mock
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import tensorvcs as tv
from tensorvcs.errors import RepositoryExistsError
from tensorvcs.formats.importing import import_into
from tensorvcs.server.tokens import TokenFile
from tensorvcs.storage import pending_values, upkeep
from tensorvcs.storage.durable import temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS = np.random.default_rng(0).integers(0, 256, (1300, 30, 30), np.uint8)
START = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)

STEPS_OF_REPAIRS = frozenset({"pack put aside"})
"""Passed by a repair alone, which begins where nothing is sound; test_mend.py kills it at each."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An act, what must be there before it, and what a kill may leave.

    Attributes
    ----------
    prepare : callable
        Makes, in an empty folder, what there is before.
    act : callable
        Runs in the folder; what came before each `yield` is acknowledged.
    is_atomic : bool
        Whether each piece is done as a whole or not at all. Otherwise a repository may be seen
        between two states, but never a broken one.
    is_repeatable : bool
        Whether the act, run again after a kill, ends as if it had never been killed.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], Iterator[None]]
    is_atomic: bool = True
    is_repeatable: bool = False


class Clock:
    """A second later at each call, so that a run can be repeated to the commit id."""

    def __init__(self) -> None:
        self._ticks = 0

    def __call__(self) -> dt.datetime:
        self._ticks += 1
        return START + dt.timedelta(seconds=self._ticks)


@contextmanager
def opened(folder: Path, name: str = "repo") -> Iterator[tv.Repository]:
    with tv.open(folder / name) as repo:
        repo.record_as(clock=Clock())
        yield repo


def nothing(folder: Path) -> None:
    """There is nothing before."""


def a_history(folder: Path, name: str = "repo") -> None:
    """Two branches, a tag, loose values; nothing is staged."""
    tv.init(folder / name, user_name="Ada", user_email="ada@example.org").close()
    with opened(folder, name) as repo:
        with repo.edit() as co:
            co.add_ndarray_column("images", (30, 30), "uint8").extend(ROWS[:20])
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(20))
            co.add_str_column("notes")["first"] = "a note that is long enough to be an object " * 3
            co.commit("first")
        repo.create_branch("side")
        with repo.transaction("side", "of the side") as tx:
            tx["images"]["side"] = ROWS[20]
            tx["labels"]["side"] = 20
        with repo.transaction("main", "of main") as tx:
            tx["labels"]["main"] = 21
        repo.create_tag("v1")


def a_staged_change(folder: Path) -> None:
    a_history(folder)
    with opened(folder) as repo, repo.edit() as co:
        co["labels"]["staged"] = 1
        co["images"]["staged"] = ROWS[30]


def a_remote_that_is_behind(folder: Path) -> None:
    """A bare repository with the first commits of `repo`, which has gone on."""
    a_history(folder)
    tv.clone(folder / "repo", folder / "far", bare=True).close()
    with opened(folder) as repo:
        repo.add_remote("origin", str(folder / "far"))
        repo.fetch()
        with repo.transaction("main", "news") as tx:
            tx["images"].extend(ROWS)
            tx["labels"]["main"] = 22


def a_remote_that_is_ahead(folder: Path) -> None:
    """A clone of `far`, which has gone on since on two branches."""
    a_history(folder, "far")
    with tv.clone(folder / "far", folder / "repo") as repo:
        repo.set_config("user.name", "Bob")
        repo.set_config("user.email", "bob@example.org")
    with opened(folder, "far") as far:
        for branch, count in (("main", len(ROWS)), ("side", 40)):
            with far.transaction(branch, "news") as tx:
                tx["images"].extend(ROWS[:count] + 1)
                tx["labels"][branch] = 23
        far.create_tag("v2", message="annotated")


def images_to_import(folder: Path) -> None:
    a_history(folder)
    np.save(folder / "new.npy", ROWS)


def a_bundle(folder: Path) -> None:
    a_remote_that_is_ahead(folder)
    with opened(folder, "far") as far:
        far.create_bundle(folder / "file.bundle")
    with opened(folder) as repo:
        repo.add_remote("file", str(folder / "file.bundle"))


def small_packs(folder: Path) -> None:
    """Packs that are enough to be merged."""
    a_history(folder)
    with (
        unittest.mock.patch.object(pending_values, "LOOSE_SEAL_NBYTES", 0),
        unittest.mock.patch.object(upkeep, "MERGE_PACK_COUNT", 1000),
        opened(folder) as repo,
    ):
        for n in range(8):
            with repo.transaction(message=f"pack {n}") as tx:
                tx["images"].extend(ROWS[40 + 3 * n : 43 + 3 * n] + 1)


def packs_out_of_order(folder: Path) -> None:
    """One pack whose rows lie in another order than their keys, and values of an old version."""
    a_history(folder)
    order = np.random.default_rng(1).permutation(len(ROWS))
    with opened(folder) as repo:
        with repo.transaction(message="shuffled") as tx:
            tx["images"].extend(ROWS[order] + 1, keys=[f"{n:04}" for n in order])
        with repo.transaction(message="changed") as tx:
            tx["images"].extend(ROWS[:300] + 2, keys=[f"{n:04}" for n in range(300)])


def garbage(folder: Path) -> None:
    """A deleted branch, with packs of its own, a part of another one, and a loose value."""
    a_history(folder)
    with opened(folder) as repo:
        repo.create_branch("gone")
        with repo.transaction("gone", "more") as tx:
            tx["images"].extend(ROWS + 3)
        with repo.transaction("main", "a part of it") as tx:
            tx["images"].extend(ROWS[:700] + 3)
        with repo.transaction("gone", "little") as tx:
            tx["images"]["gone"] = ROWS[5] + 9
        repo.delete_branch("gone", force=True)
        repo.create_tag("last")


def what_the_dead_left(folder: Path) -> None:
    """A pack that was begun, one that is not in the index, and half a settings file."""
    a_history(folder)
    root = folder / "repo" / ".tensorvcs"
    (root / "packs" / f"tmp-{bytes(16).hex()}.h5").write_bytes(b"half")
    (root / "packs" / f"{bytes(16).hex()}.h5").write_bytes(b"whole")
    temporary_name(root / "config.json").write_bytes(b"half")


def a_damaged_database(folder: Path) -> None:
    """A database whose older head is not the one before the newest; LMDB does not look at it."""
    a_history(folder)
    with opened(folder) as repo:
        newest = repo._environment.last_transaction
    data = folder / "repo" / ".tensorvcs" / "lmdb" / "data.mdb"
    with data.open("r+b") as file:
        file.seek((newest + 1) % 2 * 4096 + 144)
        (older,) = struct.unpack("<Q", file.read(8))
        assert older == newest - 1
        file.seek(-8, 1)
        file.write(struct.pack("<Q", older - 2))


def init(folder: Path) -> Iterator[None]:
    with suppress(RepositoryExistsError):
        tv.init(folder / "repo", user_name="Ada", user_email="ada@example.org").close()
    yield


def init_bare(folder: Path) -> Iterator[None]:
    with suppress(RepositoryExistsError):
        tv.init(folder / "repo", bare=True).close()
    yield


def edit_and_commit(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        with repo.edit() as co:
            co["images"].extend(ROWS)  # a pack
            co["labels"]["a"] = 1
            co.flush()
            yield
            co["images"]["small"] = ROWS[3]  # a loose value
            co["labels"]["a"] = 2
            co.commit("second")
            yield
            co["labels"]["a"] = 3
            co.commit("third")
            yield
            co["labels"]["a"] = 4
        yield


def transact(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        for n in range(2):
            with repo.transaction(message=f"tx {n}") as tx:
                tx["images"][f"tx {n}"] = ROWS[n]
                tx["images"].extend(ROWS + n)
                tx["labels"]["a"] = n
            yield


def import_array(folder: Path) -> Iterator[None]:
    with opened(folder) as repo, repo.edit() as co:
        import_into(co, folder / "new.npy", column="imported")
        co.flush()
        yield
        co.commit("imported")
        yield


def merge(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.merge("side")
        yield


def move_refs(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.switch("side")
        yield
        repo.switch("new", create=True)
        yield
        repo.create_tag("v2", message="annotated")
        yield
        repo.rename_branch("new", "newer")
        yield
        repo.undo()
        yield


def stash_and_reset(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.stash("later")
        yield
        repo.pop_stash()
        yield
        repo.reset(columns="labels")
        yield
        repo.reset("HEAD~1")
        yield
        repo.undo()
        yield


def pick_and_revert(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.cherry_pick("side")
        yield
        repo.revert("HEAD")
        yield


def repack(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.repack()
        yield


def collect_garbage(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.gc(0)
        yield


def notice_garbage(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.gc("2w")
        yield


def configure(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.set_config("a.b", "c")
        yield
        repo.add_remote("there", str(folder / "far"))
        yield
        repo.set_config("a.b", None)
        yield


def push(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.push()
        yield
        repo.push_tag("origin", "v1")
        yield


def fetch(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.fetch()
        yield


def fetch_bundle(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.fetch("file")
        yield


def clone(folder: Path) -> Iterator[None]:
    with suppress(RepositoryExistsError):  # when it was whole, but not told
        tv.clone(folder / "far", folder / "repo", user_name="B", user_email="b@example.org").close()
    yield


def write_bundle(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        repo.create_bundle(folder / "all.bundle")
    yield


def change_tokens(folder: Path) -> Iterator[None]:
    tokens = TokenFile(folder / "tokens.json")
    tokens.add("ada", [("*", "write")])
    yield
    tokens.add("bob", [("*", "read")])
    yield
    tokens.revoke("ada")
    yield


def recover(folder: Path) -> Iterator[None]:
    tv.recover(folder / "repo")
    yield


def far_history(folder: Path) -> None:
    a_history(folder, "far")


def write_after_a_crash(folder: Path) -> Iterator[None]:
    with opened(folder) as repo:
        with repo.transaction(message="next") as tx:
            tx["labels"]["next"] = 1
            tx["images"]["next"] = ROWS[50]
        yield
        repo.set_config("a.b", "c")
        yield


OPERATIONS: dict[str, Operation] = {
    "init": Operation(nothing, init, is_atomic=False, is_repeatable=True),
    "init-bare": Operation(nothing, init_bare, is_atomic=False, is_repeatable=True),
    "edit": Operation(a_history, edit_and_commit),
    "transaction": Operation(a_history, transact),
    "import": Operation(images_to_import, import_array),
    "merge": Operation(a_history, merge),
    "refs": Operation(a_history, move_refs),
    "stash-and-reset": Operation(a_staged_change, stash_and_reset),
    "pick-and-revert": Operation(a_history, pick_and_revert),
    "repack": Operation(a_history, repack, is_repeatable=True),
    "repack-packs": Operation(small_packs, repack, is_repeatable=True),
    "repack-in-order": Operation(packs_out_of_order, repack, is_repeatable=True),
    "gc": Operation(garbage, collect_garbage, is_repeatable=True),
    "gc-of-leftovers": Operation(what_the_dead_left, notice_garbage, is_repeatable=True),
    "after-a-crash": Operation(what_the_dead_left, write_after_a_crash),
    "recover": Operation(a_damaged_database, recover, is_repeatable=True),
    "config": Operation(a_history, configure),
    "push": Operation(a_remote_that_is_behind, push, is_repeatable=True),
    "fetch": Operation(a_remote_that_is_ahead, fetch, is_repeatable=True),
    "fetch-bundle": Operation(a_bundle, fetch_bundle, is_repeatable=True),
    "clone": Operation(far_history, clone, is_atomic=False, is_repeatable=True),
    "bundle": Operation(a_history, write_bundle, is_repeatable=True),
    "token": Operation(nothing, change_tokens),
}
