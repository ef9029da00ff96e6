"""The program that writes repositories with the real Hangar, in a process of its own.

    python hangar_stories.py STORY FOLDER ORACLE

A story is one of the functions below. ORACLE gets, pickled, what Hangar itself reads back of each
commit, with its log.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def give_back_names() -> None:
    """Let Hangar load beside today's numpy and protobuf; before its first import."""
    os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
    for name, value in {"math": math, "typeDict": np.sctypeDict}.items():
        if not hasattr(np, name):
            setattr(np, name, value)


class Writer:
    """A repository of Ada's, and a writer on one of its branches."""

    def __init__(self, folder: Path, user: str = "Ada", email: str = "ada@example.org") -> None:
        from hangar import Repository

        self.repo: Any = Repository(str(folder), exists=False)
        if not self.repo.initialized:
            self.repo.init(user, email)

    def commit(self, branch: str, message: str, change: Callable[[Any], None]) -> str:
        checkout = self.repo.checkout(write=True, branch=branch)
        try:
            change(checkout)
            digest: str = checkout.commit(message)
        finally:
            checkout.close()
        return digest

    def stage(self, branch: str, change: Callable[[Any], None]) -> None:
        checkout = self.repo.checkout(write=True, branch=branch)
        try:
            change(checkout)
        finally:
            checkout.close()


def _first(co: Any) -> None:
    pixels = co.add_ndarray_column("pixels", shape=(4, 3), dtype=np.uint8)
    for key in range(6):
        pixels[key] = np.full((4, 3), key, np.uint8)
    pixels["named"] = np.arange(12, dtype=np.uint8).reshape(4, 3)
    pixels["the-same.again_1"] = np.zeros((4, 3), np.uint8)
    vectors = co.add_ndarray_column("vectors", shape=(500,), dtype=np.float32)
    pictures = co.add_ndarray_column("pictures", shape=(20, 30, 3), dtype=np.uint16)
    for key in range(4):
        vectors[key] = np.linspace(0, key, 500, dtype=np.float32)
        pictures[f"p{key}"] = np.arange(1800, dtype=np.uint16).reshape(20, 30, 3) + key
    vectors[9] = np.full(500, np.nan, np.float32)
    numbers = co.add_ndarray_column("numbers", shape=(2,), dtype=np.float64)
    numbers[0] = np.array([-0.0, np.inf])
    boxes = co.add_ndarray_column("boxes", shape=(5, 4), dtype=np.float32, variable_shape=True)
    boxes["none"] = np.zeros((0, 4), np.float32)
    boxes["two"] = np.arange(8, dtype=np.float32).reshape(2, 4)
    boxes[3] = np.arange(12, dtype=np.float32).reshape(4, 3)
    captions = co.add_str_column("captions")
    captions["a"], captions["b"], captions[7] = "a cat", "größer 猫", ""
    blobs = co.add_bytes_column("blobs")
    blobs[1], blobs["empty"] = b"\x00\x01 $:\n", b""
    co.add_str_column("nothing-yet")


def _nested(co: Any) -> None:
    scans = co.add_ndarray_column("scans", shape=(3, 2), dtype=np.int32, contains_subsamples=True)
    scans["patient-1"] = {0: np.zeros((3, 2), np.int32), "left": np.ones((3, 2), np.int32)}
    scans[5] = {10: np.full((3, 2), -7, np.int32)}
    notes = co.add_str_column("notes", contains_subsamples=True)
    notes["patient-1"] = {"first": "well", "second": "ill"}
    raw = co.add_bytes_column("raw", contains_subsamples=True)
    raw[1] = {2: b"12"}
    ragged = co.add_ndarray_column(
        "ragged", shape=(9,), dtype=np.int8, variable_shape=True, contains_subsamples=True
    )
    ragged["r"] = {1: np.arange(4, dtype=np.int8), 2: np.arange(9, dtype=np.int8)}


def _change(co: Any) -> None:
    pixels = co["pixels"]
    pixels[1] = np.full((4, 3), 200, np.uint8)
    del pixels[2]
    pixels[100] = np.full((4, 3), 100, np.uint8)
    co["captions"]["a"] = "another cat"
    del co["captions"]["b"]
    del co["scans"]["patient-1"]["left"]
    co["scans"]["patient-2"] = {0: np.full((3, 2), 2, np.int32)}
    del co["notes"]["patient-1"]
    co["vectors"]["twin"] = co["vectors"][3]


def _side(co: Any) -> None:
    co["pixels"][5] = np.full((4, 3), 55, np.uint8)
    co["pictures"]["p9"] = np.full((20, 30, 3), 65535, np.uint16)
    del co.columns["blobs"]
    more = co.add_ndarray_column("more", shape=(2, 2), dtype=np.bool_)
    more["x"] = np.eye(2, dtype=np.bool_)


def _renew(co: Any) -> None:
    del co.columns["numbers"]
    numbers = co.add_ndarray_column("numbers", shape=(3,), dtype=np.int64)
    numbers[0] = np.array([1, 2, 2**62])
    del co.columns["captions"]
    captions = co.add_str_column("captions", contains_subsamples=True)
    captions["a"] = {"en": "a cat", "de": "eine Katze"}


def history(folder: Path) -> Writer:
    """All sorts of columns, two branches, a merge with two parents, columns made anew."""
    writer = Writer(folder)
    writer.commit("master", "First columns", _first)
    writer.commit("master", "Nested ones\n\nWith a second paragraph.", _nested)
    writer.repo.create_branch("side")
    writer.commit("master", "Change some", _change)
    writer.commit("side", "On the side", _side)
    writer.repo.merge("Merge side", "master", "side")
    writer.commit("master", "Made anew", _renew)
    return writer


def growing(folder: Path) -> Writer:
    """One more commit and one more branch each time that it is told."""
    writer = Writer(folder)
    count = len(writer.repo.list_branches())
    if not writer.repo.log(return_contents=True)["order"]:
        writer.commit("master", "First", _first)

    def grow(co: Any) -> None:
        co["pixels"][f"grown-{count}"] = np.full((4, 3), count, np.uint8)

    writer.commit("master", f"Grow {count}", grow)
    writer.repo.create_branch(f"b{count}")
    return writer


def untidy(folder: Path) -> Writer:
    """Names that are no good here, a branch that was removed, and staged changes."""
    writer = Writer(folder, user="Ada <A>", email="")

    def start(co: Any) -> None:
        hidden = co.add_str_column(".hidden")
        hidden["a"] = "b"
        dashed = co.add_ndarray_column("-dashed", shape=(2,), dtype=np.int16)
        dashed[0] = np.array([1, 2], np.int16)

    writer.commit("master", "Untidy", start)
    for branch in ("HEAD", "a..b", "gone"):
        writer.repo.create_branch(branch)

    def more(co: Any) -> None:
        co[".hidden"]["c"] = "d"

    writer.commit("gone", "To be lost", more)
    # A writer leaves the staging area on its branch.
    writer.commit("master", "  ", more)
    writer.repo.remove_branch("gone", force_delete=True)

    def stage(co: Any) -> None:
        co[".hidden"]["staged"] = "never committed"
        del co[".hidden"]["a"]

    writer.stage("master", stage)
    return writer


def longdouble(folder: Path) -> Writer:
    """A dtype that there is not here."""
    writer = Writer(folder)

    def start(co: Any) -> None:
        column = co.add_ndarray_column("wide", shape=(2,), dtype=np.longdouble)
        column[0] = np.zeros(2, np.longdouble)

    writer.commit("master", "Wide", start)
    return writer


def huge_key(folder: Path) -> Writer:
    """An int key of more than 64 bits."""
    writer = Writer(folder)

    def start(co: Any) -> None:
        co.add_str_column("words")[2**64] = "far out"

    writer.commit("master", "Huge", start)
    return writer


def taken_names(folder: Path) -> Writer:
    """Two columns that have one name here."""
    writer = Writer(folder)

    def start(co: Any) -> None:
        co.add_str_column(".x")["a"] = "b"
        co.add_str_column("_.x")["a"] = "c"

    writer.commit("master", "Taken", start)
    return writer


def boolean_key(folder: Path) -> Writer:
    """A key that Hangar takes and cannot read back."""
    writer = Writer(folder)

    def start(co: Any) -> None:
        column = co.add_ndarray_column("x", shape=(2,), dtype=np.int8)
        column[True] = np.array([1, 2], np.int8)

    writer.commit("master", "True", start)
    return writer


def lossy(folder: Path) -> Writer:
    """Values whose data is lost, was never fetched, or is damaged."""
    writer = Writer(folder)

    def start(co: Any) -> None:
        words = co.add_str_column("words")
        words.update({"kept": "here", "lost": "lost 1", "elsewhere": "far", "changed": "before"})
        parts = co.add_str_column("parts", contains_subsamples=True)
        parts["s"] = {1: "lost 2", 2: "two"}
        numbers = co.add_ndarray_column("numbers", shape=(3,), dtype=np.int32)
        numbers[0], numbers[1] = np.array([1, 2, 3], np.int32), np.array([7, 8, 9], np.int32)

    def change(co: Any) -> None:
        co["words"]["changed"] = "lost 3"

    def delete(co: Any) -> None:
        del co["words"]["lost"]
        del co["parts"]["s"][1]

    writer.commit("master", "Start", start)
    writer.commit("master", "Change", change)
    writer.commit("master", "Delete", delete)
    with writer.repo._env.hashenv.begin(write=True) as txn:
        for text in ("lost 1", "lost 2", "lost 3"):
            assert txn.delete(_text_record(text))
        txn.put(_text_record("far"), b"50:1=abcdef")
    (damaged,) = (folder / ".hangar" / "data" / "10").glob("*.npy")
    content = bytearray(damaged.read_bytes())
    at = content.index(np.array([7, 8, 9], np.int32).tobytes())
    content[at] ^= 1
    damaged.write_bytes(content)
    return writer


def _text_record(text: str) -> bytes:
    from hangar.records import hash_func_from_tcode

    digest: str = hash_func_from_tcode("2")(text)
    return b"h:" + digest.encode()


def empty(folder: Path) -> Writer:
    """No commit at all."""
    return Writer(folder)


def content_of(writer: Writer) -> dict[str, Any]:
    """Return what Hangar reads of every commit, and what it says of it."""
    from hangar.records import commiting

    environments = writer.repo._env
    found: dict[str, Any] = {}
    for digest in commiting.list_all_commits(environments.refenv):
        spec = commiting.get_commit_spec(environments.refenv, digest)
        above = commiting.get_commit_ancestors(environments.refenv, digest)
        checkout = writer.repo.checkout(commit=digest)
        columns = {}
        for name in checkout.columns.keys():  # noqa: SIM118 (no mapping)
            column = checkout[name]
            columns[name] = {
                key: dict(column[key].items()) if column.contains_subsamples else column[key]
                for key in column.keys()  # noqa: SIM118
            }
        checkout.close()
        found[digest] = {
            "parents": [p for p in (above.master_ancestor, above.dev_ancestor) if p],
            "spec": spec._asdict(),
            "columns": columns,
        }
    return found


def main(story: str, folder: str, oracle: str) -> None:
    give_back_names()
    writer = globals()[story](Path(folder))
    from hangar.records import heads

    branches = {
        branch: heads.get_branch_head_commit(writer.repo._env.branchenv, branch)
        for branch in writer.repo.list_branches()
    }
    commits = {} if story in ("boolean_key", "lossy") else content_of(writer)
    Path(oracle).write_bytes(pickle.dumps({"branches": branches, "commits": commits}))


if __name__ == "__main__":
    main(*sys.argv[1:])
