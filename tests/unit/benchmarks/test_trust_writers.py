"""The experiment of parallel writers finds what is lost, wrong or left of a refused commit."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

import tensorvcs as tv
from benchmarks.trust.writers import COMMITS, look, write_at_once

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("writers") / "repo"
    write_at_once(path, 2, random.Random(0), is_killed=False)
    return path


def test_nothing_counts_against_the_store(written: Path) -> None:
    told = sum(len((written / f"told-{n}").read_text().splitlines()) for n in range(2))
    reading = look(written, 2)
    assert reading.is_opened
    assert reading.is_sound
    assert not (reading.wrong or reading.missing or reading.errors or reading.foreign)
    assert COMMITS <= told <= 2 * COMMITS
    assert reading.right == 6 * told + 1


def test_what_is_lost_or_wrong_counts(written: Path) -> None:
    with (written / "told-0").open("a") as told:
        told.write(json.dumps(["f" * 64, 0, 0]) + "\n" + '["cut')
    assert look(written, 2).missing == 1
    with tv.open(written) as repo:
        (newest, *_) = repo.log()
        name, _ = newest.message.split()
        with repo.transaction() as tx:
            tx["texts"][name] = "another"
            tx["labels"]["extra"] = 1
            tx["labels"]["shared"] = -2
    assert look(written, 2).wrong == 3
    with tv.open(written) as repo:
        repo.reset("HEAD~2")
    reading = look(written, 2)
    assert reading.missing == 2
    assert "is gone" in reading.notes[0]
    for name in ("format.json", "format-copy.json"):
        (written / ".tensorvcs" / name).write_text("{")
    reading = look(written, 2)
    assert reading.errors
    assert not reading.is_opened
