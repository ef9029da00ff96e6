"""``tvcs fetch``."""

from __future__ import annotations

from tests.e2e.remote import clone, with_pictures
from tests.e2e.shell import Shell

__all__ = ["Shell"]


def test_new_commits_and_branches(shell: Shell) -> None:
    with_pictures(shell)
    before = shell.short()
    other = clone(shell)
    assert other.ok("fetch") == "Nothing new at origin\n"
    shell.go(shell.folder)
    after = shell.commit({"0/00": 5}, "Relabel")
    shell.ok("branch", "dev")
    other.go(other.folder)
    lines = other.ok("fetch").splitlines()
    assert lines[0].startswith("From origin: 1 commit, 0 values, ")
    assert lines[1:] == [
        f"  new       origin/dev at {after}",
        f"  forward   origin/main from {before} to {after}",
    ]
    assert other.short() == before
    assert other.short("origin/main") == after


def test_json_and_pruning(shell: Shell) -> None:
    with_pictures(shell)
    shell.ok("branch", "dev")
    other = clone(shell)
    shell.go(shell.folder)
    shell.ok("branch", "--delete", "dev")
    other.go(other.folder)
    document = other.json("fetch", "--prune")
    assert document["moved"] == {"commits": 0, "objects": 0, "values": 0, "nbytes": 0}
    assert document["refs"] == [
        {
            "name": "origin/dev",
            "is_tag": False,
            "movement": "deleted",
            "before": other.id(),
            "after": None,
        }
    ]
    assert other.ok("undo").startswith("Undid")
    assert other.id("origin/dev") == other.id()


def test_what_there_is_not(shell: Shell) -> None:
    assert shell.fails("fetch") == (
        "Error: no remote 'origin'; there are: none\n"
        "Hint: add it with 'tvcs remote add origin URL'\n"
    )
    with_pictures(shell)
    other = clone(shell)
    assert other.fails("fetch", "origin", "nope").startswith(
        "Error: remote 'origin' has no branch 'nope'; there are: main\n"
    )
