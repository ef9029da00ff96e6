"""The work that the trust experiments cut off: what it tells is whole, and a look finds losses."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

import tensorvcs as tv
from benchmarks.trust.work import SHAPE, Work, look, prepare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    path = tmp_path_factory.mktemp("work") / "repo"
    prepare(path)
    work = Work(path, 1)
    acts = (work.commit, work.import_rows, work.merge, work.repack, work.collect, work.commit)
    return path, [act(f"act {number}") for number, act in enumerate(acts)]


@pytest.fixture
def copy(worked: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> Path:
    return shutil.copytree(worked[0], tmp_path / "repo")


@pytest.fixture
def acks(worked: tuple[Path, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [dict(ack) for ack in worked[1]]


def test_nothing_counts_where_nothing_happened(copy: Path, acks: list[dict[str, Any]]) -> None:
    reading = look(copy, acks)
    assert reading.is_sound
    assert not (reading.wrong or reading.missing or reading.errors or reading.notes)
    assert reading.right == len(acks) + 1


def test_a_commit_that_is_gone_is_a_loss(copy: Path, acks: list[dict[str, Any]]) -> None:
    with tv.open(copy) as repo:
        repo.reset("HEAD~1")
    reading = look(copy, acks)
    # The commit, and its row in the newest version.
    assert reading.missing == 2
    assert not reading.wrong


def test_another_row_is_wrong(copy: Path, acks: list[dict[str, Any]]) -> None:
    with tv.open(copy) as repo, repo.transaction("main") as tx:
        tx["rows"]["act 0"] = tx["rows"]["act 0"] ^ 1
    reading = look(copy, acks)
    assert (reading.wrong, reading.missing) == (1, 0)


def test_a_column_that_is_gone_is_a_loss(copy: Path, acks: list[dict[str, Any]]) -> None:
    with tv.open(copy) as repo, repo.transaction("main") as tx:
        del tx["act 1"]
        tx.add_ndarray_column("other", SHAPE, "uint8")
    assert look(copy, acks).missing == 1


def test_a_damaged_pack_is_a_loss(copy: Path, acks: list[dict[str, Any]]) -> None:
    for pack in (copy / ".tensorvcs" / "packs").glob("*.h5"):
        pack.unlink()
    reading = look(copy, acks)
    assert reading.missing
    assert reading.errors
