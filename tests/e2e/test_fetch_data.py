"""``tvcs fetch-data``."""

from __future__ import annotations

from tests.e2e.remote import clone, with_pictures
from tests.e2e.shell import Shell

__all__ = ["Shell"]


def test_a_part_grows(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell, "--columns", "labels")
    assert other.ok("stats").splitlines()[-2:] == [
        "images  uint8 (16, 16, 3)  50 samples, 0 of them here; keys of 0 of 1 versions",
        "labels  int64 ()           50 samples, 50 of them here",
    ]
    assert other.ok("fetch-data", "--column", "images", "--key", "0/*") == (
        "Fetched 25 values, 19.2 kB\n"
    )
    assert other.json("stats")["columns"]["images"]["present_count"] == 25
    assert other.ok("fetch-data", "--key", "0/*") == "All of it is here already\n"
    document = other.json("fetch-data", "v1", "--max-bytes", "20000", "--sample", "random")
    assert 0 < document["values"] < 26
    assert other.ok("fetch-data", "v1").startswith("Fetched ")
    with other.repository() as repo:
        assert repo.stats().packs.value_count == 50


def test_what_there_is_not(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell, "--columns", "labels")
    assert other.fails("fetch-data", "--column", "nope").startswith(
        "Error: the version to clone has no column 'nope'; there are: images, labels"
    )
    assert other.fails("fetch-data", "--sample", "best").startswith("Error: sample is 'best'")
    assert other.fails("fetch-data", "--remote", "nope").startswith("Error: no remote 'nope'")
