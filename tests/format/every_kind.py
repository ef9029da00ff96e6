"""A repository with every kind of column, made from formulas alone: the frozen ones are of this.

    python -m tests.format.every_kind tests/format/version_1.tar.xz

writes the frozen repository of the format version that the library has now. One that is there
already is never written again: it stays what that version wrote.
"""

from __future__ import annotations

import datetime as dt
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

import tensorvcs as tv

if TYPE_CHECKING:
    from numpy.typing import NDArray

START = dt.datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=dt.timezone(dt.timedelta(hours=-5.5)))
KEYS = [
    -(2**63),
    -7,
    0,
    1,
    2,
    2**63 - 1,
    "a",
    "a/b.png",
    "caf\xe9",
    "\U0001f600",
    "x" * 300,
    "\x01\x02",
]

Content = dict[str, dict[Any, Any]]


def noise(count: int, seed: int) -> NDArray[np.uint8]:
    """Return bytes that do not compress, from a formula that no library changes."""
    numbers = np.arange(count, dtype=np.uint64) + np.uint64(seed * 1_000_003)
    numbers ^= numbers >> np.uint64(15)
    numbers *= np.uint64(0x2C1B3C6D)
    numbers ^= numbers >> np.uint64(12)
    numbers *= np.uint64(0x297A2D39)
    return (numbers >> np.uint64(15)).astype(np.uint8)


def first_content() -> Content:
    """Return the columns of the first commit."""
    pairs = [("one", 1), ("one", "left"), ("two\x01", -5), (3, "right\x02"), (3, 4)]
    odd_bits = np.array([0x7FC0_1234, 0xFF80_0001, 0x8000_0000, 0x7F80_0000], "<u4")
    return {
        "images": {key: noise(360, i).reshape(12, 10, 3) for i, key in enumerate(KEYS)},
        "masks": {i: np.arange(i, i + 1200, dtype="<i2").reshape(30, 40) // 300 for i in range(30)},
        "crops": {i: noise(3 * i * (i % 4), i).reshape(i, i % 4, 3) for i in range(12)},
        "series": {i: np.arange(i * 40, dtype="<f8") // 7 for i in range(9)},
        "labels": {key: np.array(i * -3, "<i8") for i, key in enumerate(KEYS)},
        "boxes": {i: np.array([i, i / 3, -0.0, np.inf], "<f4") for i in range(700)},
        "odd": {"bits": odd_bits.view("<f4")},
        "flags": {i: np.array([i % 2 == 0, i % 3 == 0]) for i in range(8)},
        "many flags": {i: noise(100, i).reshape(10, 10) > 99 for i in range(3)},
        "halves": {i: (np.arange(40) * i).astype(ml_dtypes.bfloat16) for i in range(4)},
        "waves": {i: (np.arange(10) + 1j * i).astype("<c16") for i in range(4)},
        "nothing": {i: np.zeros((0, 3), "<u2") for i in range(3)},
        "scalars": {"pi": np.array(3.141592653589793, "<f8")},
        "deep": {0: np.arange(128, dtype="<i4").reshape((2,) * 7)},
        "notes": {key: f"note {i} \u20ac\n" * i for i, key in enumerate(KEYS)},
        "blobs": {i: noise(i * 50, i).tobytes() for i in range(6)},
        "views": {pair: noise(100, i).reshape(10, 10) for i, pair in enumerate(pairs)},
        "marks": {pair: np.array(i, "<u1") for i, pair in enumerate(pairs)},
        "words": {pair: f"word {i}" for i, pair in enumerate(pairs)},
        "empty": {},
    }


def second_content() -> Content:
    """Return the columns of the second commit: some values other, some gone, a column renamed."""
    content = first_content()
    content["images"]["new"] = noise(360, 99).reshape(12, 10, 3)
    del content["images"][-7]
    content["boxes"][3] = np.array([9, 9, 9, 9], "<f4")
    del content["notes"]["a"]
    content["marks"]["four", 4] = np.array(77, "<u1")
    return content


def add_columns(co: Any) -> None:
    co.add_ndarray_column("images", (12, 10, 3), "uint8", codec="raw")
    co.add_ndarray_column("masks", (30, 40), "int16", codec="blosc")
    co.add_ndarray_column("crops", (None, None, 3), "uint8", variable_shape=True)
    co.add_ndarray_column("series", (1000,), "float64", variable_shape=True, codec="blosc")
    co.add_ndarray_column("labels", (), "int64", merge="newest")
    co.add_ndarray_column("boxes", (4,), "float32")
    co.add_ndarray_column("odd", (4,), "float32")
    co.add_ndarray_column("flags", (2,), "bool")
    co.add_ndarray_column("many flags", (10, 10), "bool")
    co.add_ndarray_column("halves", (40,), ml_dtypes.bfloat16)
    co.add_ndarray_column("waves", (10,), "complex128")
    co.add_ndarray_column("nothing", (0, 3), "uint16")
    co.add_ndarray_column("scalars", (), "float64")
    co.add_ndarray_column("deep", (2,) * 7, "int32")
    co.add_str_column("notes")
    co.add_bytes_column("blobs")
    co.add_ndarray_column("views", (10, 10), "uint8", nested=True)
    co.add_ndarray_column("marks", (), "uint8", nested=True)
    co.add_str_column("words", nested=True)
    co.add_ndarray_column("empty", (5,), "uint8")


class Clock:
    """A minute later at each call."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> dt.datetime:
        self.now += dt.timedelta(minutes=1)
        return self.now


def make(folder: Path, *, is_packed: bool = True) -> tv.Repository:
    """Write the repository: a pack, loose values, branches, tags, a merge, a stash, staging."""
    repo = tv.init(folder, user_name="Ada \xc9", user_email="ada@example.org")
    repo.record_as(clock=Clock())
    with repo.edit() as co:
        add_columns(co)
        write(co, {}, first_content())
        co.commit("First", metadata={"source": "formulas"})
    if is_packed:
        repo.repack()
    repo.create_tag("plain")
    repo.create_branch("side")
    with repo.transaction("main", "Second: \u20ac\n\nwith a body") as tx:
        write(tx, first_content(), second_content())
    with repo.transaction("side", "On the side") as tx:
        tx["labels"]["side"] = 1
    repo.create_tag("annotated", "HEAD", message="what it is")
    repo.merge("side")
    with repo.edit() as co:
        co["labels"]["stashed"] = 1
    repo.stash("for later")
    with repo.edit() as co:
        co["labels"]["staged"] = 2
    return repo


def write(co: Any, before: Content, after: Content) -> None:
    """Turn what is there before into what is there after."""
    for name, values in after.items():
        old = before.get(name, {})
        for key in old.keys() - values.keys():
            if isinstance(key, tuple):
                del co[name][key[0]][key[1]]
            else:
                del co[name][key]
        changed = {k: v for k, v in values.items() if k not in old or not same(old[k], v)}
        for key, value in changed.items():
            if isinstance(key, tuple):
                co[name][key[0]] = {**dict(co[name].get(key[0], {})), key[1]: value}
        if not any(isinstance(key, tuple) for key in changed):
            co[name].update(changed)


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal bit by bit."""
    if isinstance(left, np.ndarray):
        equal: bool = (
            left.dtype == right.dtype
            and left.shape == right.shape
            and left.tobytes() == right.tobytes()
        )
        return equal
    return bool(left == right)


def freeze(target: Path) -> None:
    if target.exists():
        raise SystemExit(f"{target} is there already; a frozen repository is never written again")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "repository").close()
        (Path(folder) / "repository" / ".tensorvcs" / "lmdb" / "lock.mdb").unlink()
        with tarfile.open(target, "w:xz", preset=9) as tar:
            tar.add(Path(folder) / "repository", "repository")


if __name__ == "__main__":
    freeze(Path(sys.argv[1]))
