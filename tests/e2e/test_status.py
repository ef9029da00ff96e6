"""``tvcs status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_empty_repository(shell: Shell) -> None:
    assert shell.ok("status") == (
        "On branch main\n"
        "No commits yet\n"
        "\n"
        "Nothing is staged; begin with 'tvcs import SOURCE' or 'tvcs column create'.\n"
    )


def test_clean(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First\n\nwith more text")
    assert shell.ok("status") == (f"On branch main\nBased on {first} First\n\nNothing is staged.\n")


def test_staged(shell: Shell) -> None:
    first = shell.commit({"a": 1, "b": 2}, "First")
    shell.stage({"a": 3, "b": None, "c": 4, "d": 5})
    shell.stage({1: 1}, column="classes")
    assert shell.ok("status") == (
        "On branch main\n"
        f"Based on {first} First\n"
        "\n"
        "Changes to be committed:\n"
        " classes | +1 -0 ~0  new column, int64 ()\n"
        " labels  | +2 -1 ~1\n"
        " 2 columns changed: 3 samples added, 1 deleted, 1 modified\n"
        "\n"
        "Record them with 'tvcs commit -m MESSAGE', or drop them with 'tvcs reset'.\n"
    )


def test_json(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.stage({"a": 3})
    assert shell.json("status") == {
        "branch": "main",
        "head": shell.id(),
        "base": shell.id(),
        "is_dirty": True,
        "merge": None,
        "columns": {"labels": {"added": 0, "deleted": 0, "modified": 1, "schema": None}},
    }


def test_a_merge_in_progress(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("switch", "-c", "dev")
    theirs = shell.commit({"a": 2, "b": 2}, "On dev")
    shell.ok("switch", "main")
    ours = shell.commit({"a": 3}, "On main")
    shell.run("merge", "dev", "--keep-conflicts")
    start = f"On branch main\nBased on {ours} On main\nIn progress: merge of {theirs} On dev, with "
    end = (
        "\nChanges to be committed:\n labels | +1 -0 ~0\n"
        " 1 column changed: 1 sample added, 0 deleted, 0 modified\n"
    )
    assert shell.ok("status") == (
        f"{start}1 conflict to decide.\n"
        f"See 'tvcs conflicts' and 'tvcs resolve'; 'tvcs merge --abort' gives up.\n{end}"
    )
    shell.ok("resolve", "labels", "a", "--ours")
    assert shell.ok("status") == (
        f"{start}all conflicts decided.\n"
        f"Record it with 'tvcs merge --continue'; 'tvcs merge --abort' gives up.\n{end}"
    )


def test_a_branch_that_moved_since(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.stage({"b": 1})
    with shell.repository() as repo, repo.transaction("main", "Second") as tx:
        tx["labels", "c"] = 2
    assert shell.ok("status") == (
        "On branch main\n"
        f"Based on {first} First\n"
        f"The branch has moved since, to {shell.short()}; a commit is merged onto it.\n"
        "\n"
        "Changes to be committed:\n"
        " labels | +1 -0 ~0\n"
        " 1 column changed: 1 sample added, 0 deleted, 0 modified\n"
        "\n"
        "Record them with 'tvcs commit -m MESSAGE', or drop them with 'tvcs reset'.\n"
    )


def test_no_repository(bare_shell: Shell) -> None:
    assert bare_shell.fails("status") == (
        f"Error: no repository at {bare_shell.folder} or in a folder above it\n"
        "Hint: make one with 'tvcs init', or name another folder\n"
    )
    assert bare_shell.fails("-C", "/no/such/folder", "status") == (
        "Error: there is no folder '/no/such/folder'\nHint: check the PATH behind -C\n"
    )


def test_repository_above_and_elsewhere(shell: Shell) -> None:
    expected = shell.ok("status")
    shell.go(shell.folder / "deep" / "down")
    assert shell.ok("status") == expected
    shell.go(shell.folder.parent)
    assert shell.ok("-C", shell.folder.name, "status") == expected
