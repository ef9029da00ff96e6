"""Several processes make one repository at once, or push from clones to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import tensorvcs as tv
from tensorvcs.errors import NonFastForwardError, RefChangedError, RepositoryExistsError
from tests.concurrency.processes import in_processes
from tests.memory_repository import contents_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROCESSES, ROUNDS = 4, 4


def _init(path: Path, bare: bool, wait: Callable[[], object]) -> bool:
    wait()
    try:
        tv.init(path, "Ada", "ada@example.org", bare=bare).close()
    except RepositoryExistsError:
        return False
    return True


@pytest.mark.parametrize("bare", [False, True])
def test_one_of_many_makes_the_repository(tmp_path: Path, bare: bool) -> None:
    assert sum(in_processes(_init, [(tmp_path, bare)] * 2 * PROCESSES)) == 1
    with tv.open(tmp_path) as repo:
        assert repo.head == "main"
        assert repo.is_bare == bare
        assert str(repo.user) == "Ada <ada@example.org>"
    expected = (
        {"format.json", "format-copy.json", "config.json", "lmdb", "packs"}
        if bare
        else {".tensorvcs"}
    )
    assert {entry.name for entry in tmp_path.iterdir()} >= expected
    assert bare or len(list(tmp_path.iterdir())) == 1


def _push_until_it_goes(path: Path, number: int, wait: Callable[[], object]) -> list[str]:
    made = []
    with tv.open(path) as repo:
        wait()
        for n in range(ROUNDS):
            transaction = repo.transaction(message=f"{number}/{n}")
            with transaction as tx:
                tx["labels"][f"{number}/{n}"] = n
            assert transaction.commit is not None
            made.append(transaction.commit.id)
            while True:
                try:
                    repo.push()
                except (NonFastForwardError, RefChangedError):
                    repo.pull()
                else:
                    break
    return made


def test_clones_that_push_at_once_lose_nothing(tmp_path: Path) -> None:
    with tv.init(tmp_path / "far", "Ada", "ada@example.org", bare=True) as far:
        with far.transaction() as tx:
            tx.add_ndarray_column("labels", (), "int64")["start"] = 0
        clones = []
        for number in range(PROCESSES):
            clones.append((tmp_path / f"clone-{number}", number))
            tv.clone(far.path, clones[-1][0], user_name="Bo", user_email="bo@example.org").close()
        told = in_processes(_push_until_it_goes, clones)
        history = {commit.id for commit in far.log("main")}
        assert {commit for made in told for commit in made} < history
        expected = {f"{number}/{n}": n for number in range(PROCESSES) for n in range(ROUNDS)}
        assert contents_of(far.checkout("main").columns)["labels"] == {"start": 0, **expected}
        assert far.verify().is_sound
