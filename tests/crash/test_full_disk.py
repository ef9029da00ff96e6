"""A disk that is full leaves a repository as it was, and work goes on when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.errors import DiskFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS = np.random.default_rng(0).integers(0, 256, (3000, 30, 30), np.uint8)
DISK_NBYTES = 40 << 20


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path_factory.mktemp("disk")
    mount = shutil.which("mount")
    if sys.platform != "linux" or mount is None:
        pytest.skip("a disk of a size of its own needs Linux")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_NBYTES}", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"cannot mount a small disk: {made.stderr.strip()}")
    yield place
    # At once, since this process keeps the packs mapped that it has read.
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def repo(disk: Path) -> Iterator[tv.Repository]:
    with tv.init(disk / "repo", user_name="Ada", user_email="ada@example.org") as made:
        with made.edit() as co:
            co.add_ndarray_column("images", (30, 30), "uint8").extend(ROWS[:1500])
            co.add_str_column("notes")["first"] = "a note that is too long to be inline " * 3
            co.commit("first")
        made.create_branch("side")
        with made.transaction("side", "more") as tx:
            tx["images"].extend(ROWS[1500:] ^ 1)
        with made.transaction("main", "out of order") as tx:
            order = np.random.default_rng(1).permutation(1500)
            tx["images"].extend(ROWS[order] ^ 2, keys=[f"{n:04}" for n in order])
        made.gc(0)
        yield made
    shutil.rmtree(disk / "repo")


def leave_free(disk: Path, nbytes: int) -> None:
    """Fill the disk but for some bytes."""
    (disk / "ballast").unlink(missing_ok=True)
    found = os.statvfs(disk)
    wanted = found.f_bavail * found.f_frsize - nbytes
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, wanted)


def make_room(disk: Path) -> None:
    (disk / "ballast").unlink(missing_ok=True)


def extend(repo: tv.Repository) -> None:
    with repo.transaction(message="a pack") as tx:
        tx["images"].extend(ROWS ^ 4)


def change_little(repo: tv.Repository) -> None:
    for n in range(3):
        with repo.transaction(message="little") as tx:
            tx["images"][n] = ROWS[n] ^ 5
            tx["notes"][n] = f"a note of {n} " * 2000


def merge(repo: tv.Repository) -> None:
    repo.merge("side")


def repack(repo: tv.Repository) -> None:
    repo.repack()


def stage(repo: tv.Repository) -> None:
    with repo.edit() as co:
        co["images"].extend(ROWS[:1400] ^ 6)


def collect(repo: tv.Repository) -> None:
    if repo.resolve("HEAD").parents:
        repo.reset("HEAD~1")
    if "side" in repo.branches:
        repo.delete_branch("side", force=True)
    repo.gc(0)


def configure(repo: tv.Repository) -> None:
    repo.set_config("a.b", "c" * 5000)
    repo.set_config("a.b", None)


ACTS = [extend, change_little, merge, repack, stage, collect, configure]
FREE_NBYTES = (0, 4 << 10, 40 << 10, 200 << 10, 1 << 20, 2 << 20)


def contents(repo: tv.Repository) -> dict[str, Any]:
    """Return what all branches hold, as sums that tell any two of them apart."""
    found = {}
    for name in repo.branches:
        co = repo.checkout(name)
        found[name] = (len(co["images"]), hash(co["images"][:].tobytes()), len(co["notes"]))
    return found


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_a_full_disk_changes_nothing(
    disk: Path, repo: tv.Repository, act: Callable[[tv.Repository], None]
) -> None:
    refused = 0
    for free_nbytes in FREE_NBYTES:
        before = contents(repo)
        commits = {name: commit.id for name, commit in repo.branches.items()}
        leave_free(disk, free_nbytes)
        try:
            act(repo)
        except DiskFullError as error:
            refused += 1
            assert "free space" in str(error.hint)
            assert "No space left" in str(error)
            found = {name: commit.id for name, commit in repo.branches.items()}
            if act not in (change_little, collect):  # these have several steps
                assert found == commits
                assert contents(repo) == before
        finally:
            make_room(disk)
        assert repo.verify().is_sound, free_nbytes
        left = [p.name for p in (disk / "repo" / ".tensorvcs").rglob("*") if "tmp-" in p.name]
        assert not left, free_nbytes
        if refused and free_nbytes == FREE_NBYTES[0]:
            # The same process goes on as soon as there is room.
            act(repo)
            assert repo.verify().is_sound
            with tv.open(repo.path) as again:
                assert again.verify().is_sound
    if act in (extend, repack, stage):  # the others find room in pages that LMDB has
        assert refused
