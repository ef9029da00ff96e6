"""``tvcs pull``."""

from __future__ import annotations

from tests.e2e.remote import clone, with_pictures
from tests.e2e.shell import Shell

__all__ = ["Shell"]


def test_fast_forward_then_merge_then_nothing(shell: Shell) -> None:
    with_pictures(shell)
    first = shell.short()
    other = clone(shell)
    shell.go(shell.folder)
    second = shell.commit({"0/00": 5}, "Theirs")
    other.go(other.folder)
    assert other.ok("pull") == (
        f"Fast-forward of main from {first} to {second}\n"
        " labels | +0 -0 ~1\n"
        " 1 column changed: 0 samples added, 0 deleted, 1 modified\n"
    )
    other.commit({"0/02": 6}, "Mine")
    shell.go(shell.folder)
    shell.commit({"0/04": 7}, "Theirs again")
    other.go(other.folder)
    assert other.ok("pull", "origin", "main").startswith("Merged origin/main into main as ")
    with other.repository() as repo, repo.checkout() as checkout:
        assert [checkout["labels", key] for key in ("0/00", "0/02", "0/04")] == [5, 6, 7]
    assert other.ok("pull") == "Branch main has all of origin/main already\n"


def test_a_repository_without_commits_starts_where_the_remote_is(shell: Shell) -> None:
    with_pictures(shell)
    other = type(shell)(shell.folder.parent / "fresh", shell._patch)
    other.ok("init", "--user-name", "Bob", "--user-email", "bob@example.org")
    other.ok("remote", "add", "origin", str(shell.folder))
    document = other.json("pull")
    assert document["has_moved"]
    assert document["commit"]["id"] == other.id("v1") == other.id()


def test_conflicts_change_nothing(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell)
    shell.go(shell.folder)
    shell.commit({"0/00": 5}, "Theirs")
    other.go(other.folder)
    mine = other.commit({"0/00": 6}, "Mine")
    result = other.run("pull")
    assert result.code == 1
    assert "conflict" in result.stderr
    assert other.short() == mine
    assert other.ok("pull", "--strategy", "theirs").startswith("Merged origin/main into main as ")


def test_what_was_done_is_told_where_a_column_is_not_here(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell, "--columns", "images", "--no-lazy")
    first = other.short()
    shell.go(shell.folder)
    second = shell.commit({"0/00": 5}, "Theirs")
    other.go(other.folder)
    assert other.ok("pull") == (
        f"Fast-forward of main from {first} to {second}\n"
        " labels | not here\n"
        " 1 column changed: 0 samples added, 0 deleted, 0 modified, not counting 1 column\n"
    )
    other.ok("undo")
    assert other.json("merge", "origin/main")["columns"]["labels"] == {
        "added": None, "deleted": None, "modified": None, "schema": None, "is_here": False,
    }  # fmt: skip
    # A commit is shown as far as it is here; who asks for the keys is told how to get them.
    assert " labels | not here\n" in other.ok("show")
    for arguments in (["diff", "HEAD~1", "HEAD"], ["diff", "HEAD~1", "HEAD", "--json"]):
        assert other.fails(*arguments).startswith("Error: 1 tree node is not in this partial")
    assert other.ok("verify").startswith("Sound: 2 commits")
