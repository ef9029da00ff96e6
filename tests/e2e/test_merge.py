"""``tvcs merge``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


@pytest.fixture
def parted(shell: Shell) -> Shell:
    """Two branches that disagree on two samples."""
    shell.commit({"a": 1, "b": 1, "c": 1}, "First")
    shell.ok("switch", "-c", "dev")
    shell.commit({"a": 2, "b": None, "d": 1}, "On dev")
    shell.ok("switch", "main")
    shell.commit({"a": 3, "b": 3}, "On main")
    return shell


def test_fast_forward(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.ok("switch", "-c", "dev")
    second = shell.commit({"a": 2}, "Second")
    shell.ok("switch", "main")
    assert shell.ok("merge", "dev") == (
        f"Fast-forward of main from {first} to {second}\n"
        " labels | +0 -0 ~1\n"
        " 1 column changed: 0 samples added, 0 deleted, 1 modified\n"
    )
    assert shell.ok("merge", "dev") == "Branch main has all of dev already\n"


def test_without_fast_forward(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("switch", "-c", "dev")
    shell.commit({"a": 2}, "Second")
    shell.ok("switch", "main")
    document = shell.json("merge", "dev", "--no-ff", "-m", "Take it")
    assert not document["is_fast_forward"]
    assert document["commit"]["parents"] == [shell.id("main~1"), shell.id("dev")]
    assert document["commit"]["message"] == "Take it"


def test_into_another_branch(shell: Shell) -> None:
    shell.commit({"a": 1, "b": 1}, "First")
    shell.ok("branch", "release")
    second = shell.commit({"a": 2}, "Second")
    assert shell.ok("merge", "main", "--into", "release").startswith("Fast-forward of release ")
    assert shell.short("release") == second
    assert shell.fails("merge", "main", "--into", "nope") == (
        "Error: no branch 'nope' to merge into, or it has no commits\n"
        "Hint: 'tvcs branch' lists the branches\n"
    )


def test_conflicts_change_nothing(parted: Shell) -> None:
    before = parted.id()
    result = parted.run("merge", "dev")
    errors = (
        "Error: 2 conflicts between 'main' and 'dev'; nothing was changed\n"
        "Hint: change one side, or decide all with --strategy ours or --strategy theirs\n"
    )
    assert (result.code, result.stderr) == (1, errors)
    assert result.stdout == (
        "COLUMN  KEY  CONFLICT (OURS/THEIRS)\n"
        "labels  a    modify/modify\n"
        "labels  b    modify/delete\n"
    )
    result = parted.run("merge", "dev", "--json")
    assert (result.code, result.stderr) == (1, errors)
    assert result.document == {
        "conflicts": [
            {"column": "labels", "key": "a", "kind": "modify/modify"},
            {"column": "labels", "key": "b", "kind": "modify/delete"},
        ]
    }
    assert parted.id() == before
    assert not parted.json("status")["is_dirty"]


def test_long_reports_are_cut(shell: Shell) -> None:
    shell.commit({"z": 0}, "First")
    shell.ok("branch", "dev")
    shell.commit(dict.fromkeys(range(25), 1), "On main")
    shell.ok("switch", "dev")
    shell.commit(dict.fromkeys(range(25), 2), "On dev")
    lines = shell.run("merge", "main").stdout.splitlines()
    assert len(lines) == 22
    assert lines[20:] == ["labels  19   add/add", "… and 5 more; --json lists them"]


@pytest.mark.parametrize(("strategy", "label", "has_b"), [("ours", 3, True), ("theirs", 2, False)])
def test_strategies(parted: Shell, strategy: str, label: int, has_b: bool) -> None:
    lines = parted.ok("merge", "dev", "--strategy", strategy).splitlines()
    assert lines[:2] == [
        f"Merged dev into main as {parted.short()}",
        f"2 conflicts decided by strategy {strategy}",
    ]
    with parted.repository() as repo:
        labels = repo.checkout()["labels"]
        assert (int(labels["a"]), "b" in labels, int(labels["d"])) == (label, has_b, 1)


def test_refused(parted: Shell) -> None:
    assert parted.fails("merge", "nope") == (
        "Error: no branch, tag or commit is called 'nope'\n"
        "Hint: 'tvcs log', 'tvcs branch' and 'tvcs tag' list what there is\n"
    )
    parted.stage({"a": 7})
    assert parted.fails("merge", "dev") == (
        "Error: cannot merge: the staging area has changes\n"
        "Hint: commit them, or drop them with 'tvcs reset'\n"
    )
    assert parted.fails("merge", "dev", "--strategy", "mine", code=2).startswith(
        "Error: Invalid value for '--strategy' / '-s': 'mine' is not one of"
    )
