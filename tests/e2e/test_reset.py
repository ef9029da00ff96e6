"""``tvcs reset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell

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
    assert shell.ok("reset", "-c", "labels") == (
        "Dropped what was staged in column labels; 'tvcs undo' brings it back\n"
    )
    assert shell.ok("diff") == "other: +1 -0 ~0\n  (new column, int64 ())\n  + a\n"
    assert shell.ok("reset", "-c", "labels") == "Nothing is staged in column labels\n"
    assert (
        shell.fails("reset", "-c", "nope") == "Error: no column 'nope'; there are: labels, other\n"
    )


def test_refused(shell: Shell) -> None:
    assert shell.fails("reset", "HEAD", "-c", "a", code=2) == (
        "Error: REV and --column exclude each other\nHint: see 'tvcs reset --help'\n"
    )
    assert shell.fails("reset", "HEAD") == "Error: branch 'main' has no commits yet\n"
