"""``tvcs op``, and ``tvcs --at-op``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.e2e.shell import DATE, TIME

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


def test_the_log_says_what_was_done(shell: Shell) -> None:
    folder = shell.folder / "photos"
    folder.mkdir()
    np.save(folder / "x.npy", np.zeros((3, 2), np.uint8))
    shell.ok("column", "create", "labels", "--dtype", "int64")
    shell.ok("import", "photos/x.npy", "--column", "x")
    shell.stage({"a": 1})
    shell.ok("stash", "-m", "half")
    told = [line.split("  ")[-1] for line in shell.ok("op", "log").splitlines()]
    assert told == [
        "stash: push half",
        "edit: branch main",
        "import: photos/x.npy -> x",
        "column: create labels",
    ]


def test_show(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    assert shell.ok("op", "show", "2") == (
        "operation 2\n"
        "User:   Ada <ada@example.org>\n"
        f"Date:   {DATE}\n"
        "\n"
        f"    commit: {first} to main: First\n"
        "\n"
        "refs/heads/main\n"
        f"  + commit {first} First\n"
        "\n"
        "staging\n"
        "  - changes over no commit\n"
    )
    shell.ok("undo")
    lines = shell.ok("op", "show", "3").splitlines()
    assert lines[3] == "Undoes: 2"
    assert lines[-1] == "  + changes over no commit"
    shell.ok("op", "restore", "2")
    assert shell.json("op", "show", "2")["changes"] == [
        {
            "ref": "refs/heads/main",
            "before": None,
            "after": {"text": f"commit {first}", "commit": shell.id()},
        },
        {
            "ref": "staging",
            "before": {"text": "changes over no commit", "commit": None},
            "after": None,
        },
    ]


def test_restore(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.commit({"a": 2}, "Second")
    shell.ok("tag", "v1")
    assert (
        shell.ok("op", "restore", "2") == f"Restored operation 2, commit: {first} to main: First\n"
    )
    assert shell.short() == first
    assert shell.ok("tag") == ""
    assert shell.ok("op", "restore", "2") == (
        f"All is as it was after operation 2, commit: {first} to main: First\n"
    )
    assert shell.ok("undo").startswith("Undid restore: 2, commit: ")
    assert shell.ok("tag").startswith("v1")
    document = shell.json("op", "restore", "1")
    assert (document["restored"]["number"], document["has_changed"]) == (1, True)
    assert shell.ok("diff") == "labels: +1 -0 ~0\n  (new column, int64 ())\n  + a\n"


def test_an_operation_that_there_is_not(shell: Shell) -> None:
    for words in (("show", "1"), ("restore", "1")):
        assert shell.fails("op", *words) == (
            "Error: no operation 1; the operation log is empty\nHint: 'tvcs op log' lists them\n"
        )
    shell.stage({"a": 1})
    assert shell.fails("--at-op", "7", "status") == (
        "Error: no operation 7; the newest is 1\nHint: 'tvcs op log' lists them\n"
    )
    assert shell.fails("op", "restore", "0", code=2) == (
        "Error: Invalid value for 'OP': 0 is not in the range x>=1.\n"
        "Hint: see 'tvcs op restore --help'\n"
    )


def test_looking_back(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    second = shell.commit({"a": 2}, "Second")
    shell.ok("tag", "v1")
    assert shell.ok("--at-op", "2", "log", "--oneline") == f"{first} (HEAD -> main) First\n"
    assert shell.ok("--at-op", "3", "status").splitlines()[:2] == [
        "On branch main", f"Based on {first} First",
    ]  # fmt: skip
    assert shell.ok("--at-op", "3", "diff") == "labels: +0 -0 ~1\n  ~ a\n"
    assert shell.ok("--at-op", "4", "tag") == ""
    assert len(shell.ok("--at-op", "4", "op", "log").splitlines()) == 4
    assert shell.ok("--at-op", "5", "show", "v1").splitlines()[0].startswith(f"commit {second}")
    count = len(shell.json("op", "log"))
    for words in (
        ("commit", "-m", "x"), ("undo",), ("reset",), ("tag", "v2"), ("stash",),
        ("switch", "-c", "x"),
        ("branch", "x"), ("op", "restore", "1"), ("column", "delete", "labels"), ("merge", "main"),
        ("config", "user.name", "Eve"), ("commit", "--amend", "-m", "x"),
    ):  # fmt: skip
        assert shell.fails("--at-op", "2", *words) == (
            "Error: the repository is shown as it was after operation 2\n"
            "Hint: go back to it first: tvcs op restore 2\n"
        ), words
    assert len(shell.json("op", "log")) == count
    assert shell.fails("--at-op", "2", "init", "other", code=2) == (
        "Error: --at-op looks at a repository that is there already\nHint: see 'tvcs init --help'\n"
    )
