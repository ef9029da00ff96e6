"""``tvcs op log``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.shell import TIME

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_log(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.ok("tag", "v1")
    shell.ok("undo")
    lines = shell.ok("op", "log").splitlines()
    start = "2026-01-02 03:04:05"
    numbers = [line.split(maxsplit=1)[0] for line in lines]
    assert numbers == sorted(numbers, reverse=True)
    assert [line.split(maxsplit=1)[1] for line in lines[:3]] == [
        f"{start}  undo: tag: create v1",
        f"{start}  tag: create v1 (undone)",
        f"{start}  commit: {first} to main: First",
    ]
    assert len(shell.ok("op", "log", "-n", "2").splitlines()) == 2


def test_json(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("tag", "v1")
    newest = shell.json("op", "log")[0]
    number = newest.pop("number")
    assert number > 1
    assert newest == {
        "command": "tag",
        "description": "create v1",
        "user": "Ada <ada@example.org>",
        "time": TIME,
        "refs": ["refs/tags/v1"],
        "undoes": [],
        "continues": None,
    }


def test_empty(shell: Shell) -> None:
    assert shell.ok("op", "log") == ""
    assert shell.fails("op", code=2) == "Error: Missing command.\nHint: see 'tvcs op --help'\n"
