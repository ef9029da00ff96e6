"""``tvcs stash``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.shell import TIME

if TYPE_CHECKING:
    from tests.e2e.shell import Shell

ONE = " labels | +0 -0 ~1\n 1 column changed: 0 samples added, 0 deleted, 1 modified\n"
CLEAN = "Nothing is staged."


def test_push_and_pop(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.stage({"a": 2})
    text = f"Work on main: {first} First"
    assert shell.ok("stash") == f"Put aside: {text}\n{ONE}"
    assert shell.ok("status").splitlines()[-1] == CLEAN
    assert shell.ok("stash", "list") == f"0  2026-01-02 03:04  {text}  (1 change in labels)\n"
    assert shell.ok("stash", "show") == ONE
    assert shell.ok("stash", "show", "--keys") == "labels: +0 -0 ~1\n  ~ a\n"
    assert shell.ok("stash", "pop") == f"Staged and dropped stash 0: {text}\n{ONE}"
    assert shell.ok("stash", "list") == ""
    assert shell.ok("diff") == "labels: +0 -0 ~1\n  ~ a\n"


def test_options_without_a_command_are_those_of_push(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.stage({"a": 2})
    document = shell.json("stash", "-m", "half")
    identifier = document.pop("id")
    assert len(identifier) == 12
    assert document == {
        "place": 0,
        "message": "half",
        "branch": "main",
        "base": shell.id(),
        "time": TIME,
        "columns": {"labels": {"added": 0, "deleted": 0, "modified": 1, "schema": None}},
        "is_dirty": False,
    }
    listed = shell.json("stash", "list")
    assert [stash["id"] for stash in listed] == [identifier]
    assert shell.json("stash", "show", "--keys")["columns"]["labels"]["modified_keys"] == ["a"]
    assert shell.json("stash", "drop")["dropped"] == listed[0]


def test_a_part(shell: Shell) -> None:
    shell.commit({"cat/1": 1, "dog": 1}, "First")
    shell.stage({"cat/1": 2, "dog": 2, 5: 2})
    shell.stage({"a": 1}, column="other")
    assert shell.ok("stash", "push", "-m", "cats", "-c", "labels", "-k", "cat/*", "-k", "5") == (
        "Put aside: cats\n"
        " labels | +1 -0 ~1\n"
        " 1 column changed: 1 sample added, 0 deleted, 1 modified\n"
    )
    assert shell.ok("diff", "--column", "labels") == "labels: +0 -0 ~1\n  ~ dog\n"
    shell.ok("stash", "-m", "rest")
    assert shell.ok("stash", "list").splitlines() == [
        "0  2026-01-02 03:04  rest  (2 changes in labels, other)",
        "1  2026-01-02 03:04  cats  (2 changes in labels)",
    ]
    assert shell.ok("stash", "apply", "1").splitlines()[0] == "Staged stash 1: cats"
    assert shell.ok("stash", "pop", "0").splitlines()[0] == "Staged and dropped stash 0: rest"
    assert shell.ok("diff", "--column", "labels") == (
        "labels: +1 -0 ~2\n  + 5\n  ~ cat/1\n  ~ dog\n"
    )
    assert shell.ok("stash", "drop") == "Dropped stash 0: cats; 'tvcs undo' brings it back\n"


def test_a_conflict_keeps_all(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.stage({"a": 2})
    shell.ok("stash", "-m", "mine")
    shell.commit({"a": 3}, "Second")
    status = shell.ok("status")
    for command in ("pop", "apply"):
        assert shell.fails("stash", command) == (
            "Error: applying stash 0 has 1 conflict, and changed nothing:\n"
            "  labels['a']: modify/modify\n"
            "Hint: the stash is kept; it fits on a branch at the commit it was made over: "
            f"tvcs switch -c NEW {first}\n"
        )
    assert shell.ok("status") == status
    shell.ok("switch", "-c", "new", first)
    shell.ok("stash", "pop")
    assert shell.ok("diff") == "labels: +0 -0 ~1\n  ~ a\n"


def test_refused(shell: Shell) -> None:
    assert shell.fails("stash") == (
        "Error: nothing is staged, so that there is nothing to put aside\n"
    )
    for command in ("pop", "apply", "show", "drop"):
        assert shell.fails("stash", command) == (
            "Error: no stash 0; nothing is stashed\nHint: 'tvcs stash list' lists them\n"
        )
    shell.stage({"a": 2})
    before = shell.ok("status")
    assert shell.fails("stash", "-c", "nope") == "Error: no column 'nope'; there are: labels\n"
    assert shell.fails("stash", "-k", "zzz") == (
        "Error: nothing that is staged is in the columns and keys asked for\n"
        "Hint: 'tvcs diff' lists what is staged\n"
    )
    assert shell.fails("stash", "-m", " ") == "Error: a message cannot be empty\n"
    assert shell.fails("stash", "pop", "x", code=2).startswith("Error: Invalid value for '[N]'")
    assert shell.fails("stash", "clear", code=2) == (
        "Error: No such command 'clear'.\nHint: see 'tvcs stash --help'\n"
    )
    assert shell.ok("status") == before
    assert shell.ok("stash", "--help").startswith("Usage: tvcs stash ")
