"""A partial clone drops what its remote gives back, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import InvalidInputError, ObjectNotFoundError, TensorVCSError
from tensorvcs.maintenance.release import values_of
from tensorvcs.tree.cursor import scan_values
from tensorvcs.tree.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = np.random.default_rng(0).integers(0, 256, (1600, 30, 30), np.uint8)
ROW_NBYTES = 900


@pytest.fixture
def far(tmp_path: Path) -> Iterator[tv.Repository]:
    with tv.init(tmp_path / "far", user_name="Ada", user_email="ada@example.org") as made:
        with made.edit() as co:
            images = co.add_ndarray_column("images", (30, 30), "uint8")
            images.extend(ROWS[:1200])
            co.add_ndarray_column("labels", (), "int64").extend(np.arange(1200))
            co.commit("first")
            images.extend(ROWS[:200] ^ 1, keys=list(range(200)))
            co.commit("second")
        yield made


@pytest.fixture
def near(far: tv.Repository, tmp_path: Path) -> Iterator[tv.Repository]:
    """A partial clone of all columns, of which every value has come."""
    with tv.clone(
        far.path, tmp_path / "near", columns=["images", "labels"], user_name="B", user_email="b@c.d"
    ) as made:
        for revision in ("HEAD", "HEAD~1"):
            made.fetch_data(revision)
        yield made


def here(repo: tv.Repository) -> int:
    return repo.stats().packs.value_count


def test_the_newest_and_first_are_kept(near: tv.Repository) -> None:
    assert here(near) == 1400
    told = near.gc(keep_bytes=300 * ROW_NBYTES, dry_run=True)
    report = near.gc(keep_bytes=300 * ROW_NBYTES)
    assert report.released_count == told.released_count == 1100
    assert report.released_nbytes == 1100 * ROW_NBYTES
    assert here(near) == 300
    first = near._stores.tensors.contains(
        next(values_of(near._objects, near._columns_of(near.resolve("HEAD"))))[:300]
    )
    assert first.all()
    assert near.stats().columns["images"].present_count == 300
    assert near.verify().is_sound
    # What is read comes back.
    assert np.array_equal(near.checkout()["images"][250:400], ROWS[250:400])
    assert np.array_equal(near.checkout("HEAD~1")["images"][:200], ROWS[:200])
    assert here(near) > 300


def test_what_was_made_here_stays(near: tv.Repository, far: tv.Repository) -> None:
    with near.transaction(message="mine") as tx:
        tx["images"].extend(ROWS[1200:])
    report = near.gc(keep_bytes=0)
    assert report.released_count == 1400
    assert here(near) == 400
    assert near.verify().is_sound
    near.push()
    assert near.gc(keep_bytes=0).released_count == 400
    assert here(near) == 0
    assert np.array_equal(near.checkout()["images"][1200:], ROWS[1200:])


def test_what_the_remote_merely_has_stays(near: tv.Repository, far: tv.Repository) -> None:
    # Garbage of the remote, which it may drop at any time.
    with far.edit() as co:
        co["images"].extend(ROWS[1200:])
        co.flush()
        co.reset()
    with near.transaction(message="mine") as tx:
        tx["images"].extend(ROWS[1200:])
    assert near.gc(keep_bytes=0).released_count == 1400
    assert here(near) == 400
    far.gc(0)
    assert np.array_equal(near.checkout()["images"][1200:], ROWS[1200:])


def test_without_the_remote_nothing_is_dropped(near: tv.Repository, tmp_path: Path) -> None:
    (tmp_path / "far").rename(tmp_path / "away")
    with pytest.raises(TensorVCSError):
        near.gc(keep_bytes=0)
    assert here(near) == 1400


def test_a_clone_that_fetches_nothing_keeps_everything(far: tv.Repository, tmp_path: Path) -> None:
    expected = "no remote would give the others back"
    for name, columns in (("near", ["images"]), ("all", None)):
        near = tv.clone(far.path, tmp_path / name, columns=columns, lazy=False)
        with near, pytest.raises(InvalidInputError, match=expected):
            near.gc(keep_bytes=0)


def test_a_partial_clone_collects_garbage(near: tv.Repository) -> None:
    near.gc(keep_bytes=0)
    with near.transaction("main", "mine") as tx:
        tx["images"]["mine"] = ROWS[1500]
    near.reset("HEAD~1")
    report = near.gc(0)
    assert report.value_count == 1
    assert report.object_count
    assert near.verify().is_sound
    with pytest.raises(ObjectNotFoundError):
        near.undo()


def test_values_come_in_key_order(far: tv.Repository) -> None:
    columns = far._columns_of(far.resolve("HEAD"))
    found = np.concatenate(list(values_of(far._objects, columns)))
    nodes = Nodes(far._objects)
    expected = columns["images"].tree
    assert len(found) == expected.count == 1200
    assert np.array_equal(found, scan_values(nodes, expected))
