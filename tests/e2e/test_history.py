"""``tvcs history``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


@pytest.fixture
def made(shell: Shell) -> list[str]:
    """Three commits that add, change and delete the label a; their short ids, oldest first."""
    short = []
    steps: list[dict[str | int, int | None]] = [{"a": 1, "b": 1}, {"a": 2}, {"a": None}]
    for at, labels in enumerate(steps):
        shell.at(f"2026-01-0{at + 1}T03:04:05+00:00")
        short.append(shell.commit(labels, f"Commit {at + 1}"))
    return short


def test_the_life_of_a_sample(shell: Shell, made: list[str]) -> None:
    assert shell.ok("history", "labels", "a") == (
        f"- {made[2]} 2026-01-03 Ada: Commit 3 (2)\n"
        f"~ {made[1]} 2026-01-02 Ada: Commit 2 (1 → 2)\n"
        f"+ {made[0]} 2026-01-01 Ada: Commit 1 (1)\n"
    )
    assert shell.ok("history", "labels", "b") == f"+ {made[0]} 2026-01-01 Ada: Commit 1 (1)\n"
    assert shell.ok("history", "labels", "a", "main~1", "-n", "1") == (
        f"~ {made[1]} 2026-01-02 Ada: Commit 2 (1 → 2)\n"
    )
    assert shell.ok("history", "labels", "a", "-n", "0") == ""


def test_the_size_of_changes(shell: Shell) -> None:
    def stage(value: int, text: str) -> None:
        with shell.repository() as repo, repo.edit() as staging:
            if "images" not in staging:
                staging.add_ndarray_column("images", (4, 4), "int32")
                staging.add_str_column("captions")
                staging.add_ndarray_column("scans", (2, 2), "int8", nested=True)
            staging["images"]["a"] = np.full((4, 4), value, np.int32)
            staging["captions"]["a"] = text
            staging["scans"]["s"] = {value: np.zeros((2, 2), np.int8)}
        shell.ok("commit", "-m", text)

    stage(1, "A cat")
    stage(4, "A dog\non a mat")
    first, second = shell.short("HEAD~1"), shell.short()
    assert shell.ok("history", "images", "a") == (
        f"~ {second} 2026-01-02 Ada: A dog (l2 12, max 3, mean 3, 100 % changed)\n"
        f"+ {first} 2026-01-02 Ada: A cat\n"
    )
    assert shell.ok("history", "captions", "a") == (
        f"~ {second} 2026-01-02 Ada: A dog (A cat → A dog\\non a mat)\n"
        f"+ {first} 2026-01-02 Ada: A cat (A cat)\n"
    )
    assert shell.ok("history", "scans", "s") == (
        f"~ {second} 2026-01-02 Ada: A dog (subsamples +1 -1 ~0)\n"
        f"+ {first} 2026-01-02 Ada: A cat (subsamples +1 -0 ~0)\n"
    )
    assert shell.ok("history", "scans", "s[1]") == (
        f"- {second} 2026-01-02 Ada: A dog\n+ {first} 2026-01-02 Ada: A cat\n"
    )


def test_json(shell: Shell, made: list[str]) -> None:
    document = shell.json("history", "labels", "a", "-n", "2")
    changes = document.pop("changes")
    assert document == {"column": "labels", "key": "a"}
    assert [change["sign"] for change in changes] == ["-", "~"]
    assert [change["commit"]["id"] for change in changes] == [shell.id(), shell.id("HEAD~1")]
    assert changes[0]["after"] is None
    assert changes[0]["size"] is None
    assert changes[1]["before"]["value"] == 1
    assert changes[1]["after"]["value"] == 2
    assert changes[1]["size"]["l2"] == 1


def test_json_of_subsamples(shell: Shell) -> None:
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_str_column("notes", nested=True)["s"] = {1: "x", "y": "z"}
    shell.ok("commit", "-m", "First")
    (change,) = shell.json("history", "notes", "s")["changes"]
    assert change["subsamples"] == {"added": 2, "deleted": 0, "modified": 0}
    document = shell.json("history", "notes", "s[y]")
    assert document["key"] == ["s", "y"]
    assert document["changes"][0]["after"]["value"] == "z"


def test_a_key_of_digits_is_a_number_or_a_text_that_was(shell: Shell) -> None:
    shell.commit({5: 1, "7": 1, 8: 1}, "First")
    shell.commit({5: None, "7": None, 8: None}, "Second")
    for key in ("5", "7"):
        assert [line[0] for line in shell.ok("history", "labels", key).splitlines()] == ["-", "+"]
    assert shell.json("history", "labels", "7")["key"] == "7"
    shell.ok("column", "delete", "labels")
    shell.ok("commit", "-m", "Third")
    for key in ("5", "7"):
        assert [line[0] for line in shell.ok("history", "labels", key).splitlines()] == ["-", "+"]


def test_subsamples_of_a_column_that_is_gone(shell: Shell) -> None:
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_str_column("notes", nested=True)["s"] = {1: "x"}
    shell.ok("commit", "-m", "First")
    shell.ok("column", "delete", "notes")
    shell.ok("commit", "-m", "Second")
    assert [line[0] for line in shell.ok("history", "notes", "s[1]").splitlines()] == ["-", "+"]
    assert [line[0] for line in shell.ok("history", "notes", "s").splitlines()] == ["-", "+"]


def test_what_never_was(shell: Shell, made: list[str]) -> None:
    assert shell.fails("history", "labels", "z") == (
        f"Error: column 'labels' has never had a sample 'z', up to commit {made[2]}\n"
    )
    assert shell.fails("history", "labels", "9") == (
        f"Error: column 'labels' has never had a sample 9, up to commit {made[2]}\n"
    )
    assert shell.fails("history", "masks", "a") == (
        f"Error: no commit up to {made[2]} has had a column 'masks'; there are: labels\n"
    )
    assert "Missing argument 'KEY'" in shell.fails("history", "labels", code=2)
