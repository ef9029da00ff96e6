"""``tvcs branch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_list(shell: Shell) -> None:
    assert shell.ok("branch") == "* main  no commits yet\n"
    first = shell.commit({"a": 1}, "First")
    shell.ok("branch", "experiment")
    second = shell.commit({"a": 2}, "Second")
    assert shell.ok("branch") == f"  experiment  {first} First\n* main        {second} Second\n"
    assert shell.json("branch") == [
        {"name": "experiment", "commit": shell.id("experiment"), "is_current": False},
        {"name": "main", "commit": shell.id("main"), "is_current": True},
    ]


def test_make(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.commit({"a": 2}, "Second")
    assert shell.ok("branch", "dev", "main~1") == f"Made branch dev at {first}\n"
    assert shell.fails("branch", "dev") == "Error: branch 'dev' exists already\n"
    assert shell.fails("branch", "a b") == "Error: branch name 'a b' is not legal: it has ' '\n"


def test_rename(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("branch", "dev")
    assert shell.ok("branch", "--move", "dev", "trial") == "Renamed branch dev to trial\n"
    assert shell.ok("branch", "-m", "trunk") == "Renamed branch main to trunk\n"
    assert [branch["name"] for branch in shell.json("branch")] == ["trial", "trunk"]
    assert shell.json("status")["branch"] == "trunk"


def test_delete(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.ok("branch", "dev")
    assert shell.ok("branch", "--delete", "dev") == f"Deleted branch dev, which was at {first}\n"
    assert shell.fails("branch", "-d", "dev") == (
        "Error: no branch 'dev'\nHint: 'tvcs branch' lists the branches\n"
    )
    assert shell.fails("branch", "-d", "main") == (
        "Error: branch 'main' is the current one\nHint: switch to another branch first\n"
    )


def test_delete_what_nothing_else_reaches(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("switch", "-c", "dev")
    second = shell.commit({"a": 2}, "Second")
    shell.ok("switch", "main")
    assert shell.fails("branch", "-d", "dev") == (
        "Error: branch 'dev' has commits that nothing else reaches\n"
        "Hint: merge it, or delete it all the same: tvcs branch --delete --force dev\n"
    )
    assert shell.ok("branch", "--delete", "--force", "dev") == (
        f"Deleted branch dev, which was at {second}\n"
    )


def test_wrong_usage(shell: Shell) -> None:
    hint = "Hint: see 'tvcs branch --help'\n"
    cases = {
        ("-d", "-m", "a"): "--delete and --move exclude each other",
        ("-f", "a"): "--force goes with --delete",
        ("-d",): "which branch? Give its name",
        ("a", "b", "c"): "expected at most two names, not 3",
    }
    for arguments, problem in cases.items():
        assert shell.fails("branch", *arguments, code=2) == f"Error: {problem}\n{hint}"
