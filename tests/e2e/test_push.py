"""``tvcs push``."""

from __future__ import annotations

from tests.e2e.remote import clone, with_pictures
from tests.e2e.shell import Shell

__all__ = ["Shell"]


def test_a_branch_moves_there(shell: Shell) -> None:
    with_pictures(shell)
    first = shell.short()
    other = clone(shell)
    assert other.ok("push") == "main of origin has all of it already\n"
    second = other.commit({"0/00": 5}, "Relabel")
    assert other.ok("push").startswith(
        f"Pushed main to origin from {first} to {second}: 1 commit, 0 values, "
    )
    assert other.short("origin/main") == second
    shell.go(shell.folder)
    assert shell.short() == second
    assert "push" in shell.ok("op", "log", "-n", "1")
    assert shell.ok("undo").startswith("Undid")
    assert shell.short() == first


def test_other_names_tags_and_deletion(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell)
    mine = other.commit({"0/00": 5}, "Relabel")
    other.ok("tag", "mine", "-m", "My labels")
    assert other.ok("push", "origin", "main:week-12").startswith(
        f"Pushed new week-12 to origin at {mine}: "
    )
    assert other.ok("push", "--tag", "mine").startswith("Pushed new tag mine to origin at ")
    assert other.ok("push", "--tag", "mine") == "tag mine of origin has all of it already\n"
    assert other.ok("push", "origin", "week-12", "--delete") == (
        f"Deleted week-12 of origin, was {mine}\n"
    )
    assert other.fails("push", "origin", "week-12", "--delete").startswith(
        "Error: remote 'origin' has no branch 'week-12'\n"
    )


def test_commits_of_others_are_never_lost(shell: Shell) -> None:
    with_pictures(shell)
    other = clone(shell)
    shell.go(shell.folder)
    theirs = shell.commit({"0/02": 7}, "Theirs")
    other.go(other.folder)
    mine = other.commit({"0/00": 5}, "Mine")
    assert other.fails("push") == (
        "Error: branch 'main' of remote 'origin' has commits that the branch here has not; "
        "nothing was pushed\n"
        "Hint: bring them in with 'tvcs pull origin main', then push again\n"
    )
    document = other.json("push", "--force")
    assert document["movement"] == "forced"
    assert document["before"].startswith(theirs)
    assert document["after"].startswith(mine)


def test_wrong_words(shell: Shell) -> None:
    assert "--tag goes with" in shell.fails("push", "origin", "main", "--tag", "v1", code=2)
    with_pictures(shell)
    shell.ok("remote", "add", "origin", str(shell.folder.parent / "nowhere"))
    assert "--delete needs" in shell.fails("push", "--delete", code=2)
    assert shell.fails("push").startswith("Error: there is no repository at ")
