"""``tvcs undo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_takes_a_commit_back(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    second = shell.commit({"a": 2}, "Second")
    assert shell.ok("undo") == f"Undid commit: {second} to main: Second\n"
    assert shell.short() == first
    assert shell.ok("diff") == "labels: +0 -0 ~1\n  ~ a\n"


def test_twice_goes_back_twice(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.ok("tag", "v1")
    shell.ok("branch", "dev")
    assert shell.ok("undo") == f"Undid branch: create dev at {first}\n"
    assert shell.ok("undo") == "Undid tag: create v1\n"
    assert shell.ok("tag") == ""


def test_several_at_once(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("tag", "v1")
    shell.ok("tag", "v2")
    document = shell.json("undo", "2")
    assert document["branch"] == "main"
    assert [operation["description"] for operation in document["operations"]] == [
        "create v2",
        "create v1",
    ]


def test_nothing_to_undo(shell: Shell) -> None:
    assert shell.fails("undo") == (
        "Error: the operation log has 0 operations to undo; 1 were asked for\n"
        "Hint: 'tvcs op log' lists the operations\n"
    )
    assert shell.fails("undo", "0", code=2) == (
        "Error: Invalid value for '[N]': 0 is not in the range x>=1.\n"
        "Hint: see 'tvcs undo --help'\n"
    )


def test_an_import(shell: Shell) -> None:
    np.save(shell.folder / "x.npy", np.zeros((3, 2), np.uint8))
    shell.ok("import", "x.npy", "--column", "x")
    assert shell.ok("undo") == "Undid import: x.npy -> x\n"
    assert shell.ok("column", "list") == ""


def test_what_took_something_away(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.ok("branch", "dev")
    shell.ok("tag", "v1", "-m", "one")
    shell.stage({"a": 2})
    shell.ok("stash")
    for words, undone, look in [
        (("branch", "-d", "dev"), "branch: delete dev", ("branch",)),
        (("tag", "-d", "v1"), "tag: delete v1", ("tag",)),
        (("stash", "drop"), f"stash: drop Work on main: {first} First", ("stash", "list")),
        (("stash", "pop"), f"stash: pop Work on main: {first} First", ("status",)),
    ]:
        before = shell.ok(*look)
        shell.ok(*words)
        assert shell.ok(*look) != before
        assert shell.ok("undo") == f"Undid {undone}\n"
        assert shell.ok(*look) == before


def test_a_merge_and_a_reset(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("branch", "dev")
    second = shell.commit({"a": 2}, "Second")
    shell.ok("switch", "dev")
    third = shell.commit({"b": 1}, "Third")
    shell.ok("merge", "main")
    assert shell.ok("undo") == f"Undid merge: {second} into dev\n"
    assert shell.short() == third
    shell.ok("reset", "main")
    assert shell.ok("undo") == f"Undid reset: dev to {second}\n"
    assert shell.short() == third
