"""``tvcs switch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_there_and_back(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    assert shell.ok("switch", "-c", "dev") == "Switched to new branch dev\n"
    assert shell.ok("switch", "main") == "Switched to branch main\n"
    assert shell.ok("switch", "main") == "Already on main\n"
    assert shell.ok("switch", "-") == "Switched to branch dev\n"
    assert shell.ok("switch", "-") == "Switched to branch main\n"
    assert shell.json("switch", "dev") == {"branch": "dev", "before": "main", "is_new": False}


def test_no_branch_before(shell: Shell) -> None:
    assert shell.fails("switch", "-") == (
        "Error: there is no branch before this one\nHint: 'tvcs branch' lists the branches\n"
    )


def test_new_branch_at_a_revision(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.commit({"a": 2}, "Second")
    shell.ok("switch", "-c", "fix", "main~1")
    assert shell.short() == first


def test_staged_changes(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("branch", "dev")
    shell.stage({"a": 2})
    hint = "Hint: commit them, or drop them with 'tvcs reset'\n"
    assert shell.fails("switch", "dev") == (
        f"Error: cannot switch branches: the staging area has changes\n{hint}"
    )
    assert shell.fails("switch", "-c", "fix", "main") == (
        f"Error: cannot switch to another commit with staged changes\n{hint}"
    )
    assert [branch["name"] for branch in shell.json("branch")] == ["dev", "main"]
    shell.ok("switch", "-c", "trial")
    assert shell.ok("diff") == "labels: +0 -0 ~1\n  ~ a\n"


def test_unknown_branch(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("branch", "experiment")
    assert shell.fails("switch", "experimnet") == (
        "Error: no branch 'experimnet'\n"
        "Hint: did you mean 'tvcs switch experiment'? 'tvcs switch -c experimnet' makes it\n"
    )
    assert shell.fails("switch", "zzz") == (
        "Error: no branch 'zzz'\nHint: make it with 'tvcs switch -c zzz'\n"
    )
    assert shell.fails("switch", "main", "v1", code=2) == (
        "Error: REV goes with --create\nHint: see 'tvcs switch --help'\n"
    )


def test_a_tag_is_no_branch(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("tag", "v1")
    assert shell.fails("switch", "v1") == (
        "Error: no branch 'v1'\n"
        "Hint: 'v1' is a tag; 'tvcs switch -c BRANCH v1' begins a branch there\n"
    )
