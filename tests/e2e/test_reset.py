"""``tvcs reset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell

PART = "Dropped what was asked for; 'tvcs undo' brings it back\n"
DROPPED = "Dropped what was staged; 'tvcs undo' brings it back\n"


def test_drops_what_is_staged(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.stage({"a": 2})
    assert shell.ok("reset") == DROPPED
    assert shell.ok("diff") == ""
    shell.ok("undo")
    assert shell.ok("diff") == "labels: +0 -0 ~1\n  ~ a\n"


def test_before_the_first_commit(shell: Shell) -> None:
    assert shell.ok("reset") == "Nothing to reset\n"
    shell.stage({"a": 2})
    assert shell.ok("reset") == DROPPED
    assert shell.ok("column", "list") == ""


def test_moves_the_branch(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.commit({"a": 2}, "Second")
    assert shell.ok("reset", "HEAD~1") == f"Branch main is now at {first} First\n"
    assert shell.short() == first
    shell.ok("undo")
    shell.stage({"a": 3})
    assert shell.json("reset", "HEAD~1") == {
        "branch": "main",
        "commit": shell.id(first),
        "has_moved": True,
        "has_dropped": True,
    }
    assert shell.ok("reset") == "Nothing to reset\n"


def test_one_column(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.stage({"a": 2})
    shell.stage({"a": 2}, column="other")
    assert shell.ok("reset", "-c", "labels") == PART
    assert shell.ok("diff") == "other: +1 -0 ~0\n  (new column, int64 ())\n  + a\n"
    assert shell.ok("reset", "-c", "labels") == "Nothing of that is staged\n"
    assert (
        shell.fails("reset", "-c", "nope") == "Error: no column 'nope'; there are: labels, other\n"
    )


def test_some_keys(shell: Shell) -> None:
    shell.commit({"cat/1": 1, 5: 1}, "First")
    shell.stage({"cat/1": 2, "cat/2": 2, "dog": 2, 5: 2, 17: 2})
    assert shell.ok("reset", "--column", "labels", "-k", "cat/*", "-k", "0:10") == PART
    assert shell.ok("diff") == "labels: +2 -0 ~0\n  + 17\n  + dog\n"
    assert shell.json("reset", "--key", "17") == {
        "branch": "main",
        "commit": shell.id(),
        "has_moved": False,
        "has_dropped": True,
    }
    shell.ok("undo", "2")
    assert shell.ok("diff", "--stat").splitlines()[0].startswith(" labels | +3 -0 ~2")


def test_gives_up_a_merge(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("branch", "dev")
    shell.commit({"a": 2}, "Second")
    with shell.repository() as repo, repo.transaction("dev") as tx:
        tx["labels"]["a"] = 3
    assert shell.run("merge", "dev", "--keep-conflicts").code == 1
    text = "Gave up what was being merged; 'tvcs undo' brings it back\n"
    assert shell.ok("reset") == text
    shell.ok("undo")
    assert shell.ok("reset", "HEAD~1").splitlines()[0] + "\n" == text
    assert shell.ok("reset") == "Nothing to reset\n"


def test_refused(shell: Shell) -> None:
    assert shell.fails("reset", "HEAD", "-c", "a", code=2) == (
        "Error: REV excludes --column and --key\nHint: see 'tvcs reset --help'\n"
    )
    assert shell.fails("reset", "main") == (
        "Error: branch 'main' has no commits yet\n"
        "Hint: 'tvcs commit -m MESSAGE' records the first\n"
    )
    assert shell.fails("reset", "-k", "") == (
        "Error: a key pattern is empty; give a key, or '*' for all\n"
    )
