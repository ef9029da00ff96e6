"""``tvcs merge``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tensorvcs.errors import StagingLockedError
from tensorvcs.history.refs import MERGE
from tensorvcs.storage.interfaces import RefChange

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
        "Hint: decide all with --strategy ours or --strategy theirs, or each with "
        "--keep-conflicts\n"
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
    for wrong in ("mine", "labels=mine"):
        assert parted.fails("merge", "dev", "--strategy", wrong, code=2).startswith(
            "Error: Invalid value for '--strategy' / '-s': 'mine' is not one of fail, ours, theirs"
        )


ALONE = "--continue and --abort take no other option, but -m for a message"


@pytest.mark.parametrize(("arguments", "problem"), [
    ((), "name a REV, or one of --continue and --abort"),
    (("dev", "--abort"), "name a REV, or one of --continue and --abort"),
    (("--continue", "--abort"), "name a REV, or one of --continue and --abort"),
    (("--continue", "--no-ff"), ALONE),
    (("--abort", "-s", "ours"), ALONE),
    (("dev", "--dry-run", "--keep-conflicts"), "--dry-run and --keep-conflicts exclude each other"),
    (("dev", "-s", "ours", "-s", "theirs"),
     "Invalid value for '--strategy' / '-s': two strategies for all columns"),
    (("dev", "-s", "x=ours", "-s", "x=theirs"),
     "Invalid value for '--strategy' / '-s': two strategies for column 'x'"),
])  # fmt: skip
def test_wrong_usage(parted: Shell, arguments: tuple[str, ...], problem: str) -> None:
    assert parted.fails("merge", *arguments, code=2) == (
        f"Error: {problem}\nHint: see 'tvcs merge --help'\n"
    )


def test_strategies_by_column(parted: Shell) -> None:
    lines = parted.ok("merge", "dev", "-s", "labels=theirs").splitlines()
    assert lines[1] == "2 conflicts decided by strategy theirs"
    parted.ok("undo")
    assert parted.fails("merge", "dev", "-s", "lables=theirs") == (
        "Error: a merge strategy names the column 'lables', which neither side has; there are: "
        "labels\nHint: 'tvcs column list REV' lists the columns of a revision\n"
    )


def test_several_strategies_decide(shell: Shell) -> None:
    for column in ("x", "y"):
        shell.stage({"a": 1}, column)
    shell.ok("commit", "-m", "First")
    shell.ok("switch", "-c", "dev")
    for column in ("x", "y"):
        shell.stage({"a": 2}, column)
    shell.ok("commit", "-m", "On dev")
    shell.ok("switch", "main")
    for column in ("x", "y"):
        shell.stage({"a": 4}, column)
    shell.ok("commit", "-m", "On main")
    lines = shell.ok("merge", "dev", "-s", "mean", "-s", "x=theirs").splitlines()
    assert lines[1] == "2 conflicts decided: 1 by theirs, 1 by mean"


def test_dry_run(parted: Shell) -> None:
    before = parted.ok("op", "log")
    result = parted.run("merge", "dev", "--dry-run")
    assert (result.code, result.stderr) == (1, "")
    assert result.stdout == (
        "Merging dev into main would have 2 conflicts\n"
        " labels | +1 -0 ~0\n"
        " 1 column changed: 1 sample added, 0 deleted, 0 modified\n"
        "COLUMN  KEY  CONFLICT (OURS/THEIRS)\n"
        "labels  a    modify/modify\n"
        "labels  b    modify/delete\n"
    )
    assert parted.ok("merge", "dev", "--dry-run", "-s", "theirs") == (
        "Merging dev into main would make a merge commit\n"
        "2 conflicts decided by strategy theirs\n"
        " labels | +1 -1 ~1\n"
        " 1 column changed: 1 sample added, 1 deleted, 1 modified\n"
    )
    document = parted.run("merge", "dev", "--dry-run", "--json").document
    assert [c["key"] for c in document["open_conflicts"]] == ["a", "b"]
    assert (document["is_fast_forward"], document["conflicts"]) == (False, [])
    assert parted.ok("merge", "main~1", "--dry-run") == "Branch main has all of main~1 already\n"
    assert parted.ok("merge", "main", "--into", "dev", "--dry-run", "-s", "ours").startswith(
        "Merging main into dev would make a merge commit\n"
    )
    assert parted.ok("op", "log") == before


def test_dry_run_of_a_fast_forward(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("switch", "-c", "dev")
    shell.commit({"a": 2}, "Second")
    shell.ok("switch", "main")
    assert shell.ok("merge", "dev", "--dry-run").startswith(
        "Merging dev into main would be a fast-forward\n labels | +0 -0 ~1\n"
    )


KEPT = (
    "Merging dev into main: 2 conflicts to decide\n"
    "COLUMN  KEY  CONFLICT (OURS/THEIRS)\n"
    "labels  a    modify/modify\n"
    "labels  b    modify/delete\n"
    "Decide them with 'tvcs resolve' ('tvcs conflicts' shows the values), then "
    "'tvcs merge --continue'; 'tvcs merge --abort' gives up\n"
)


def test_a_merge_in_several_steps(parted: Shell) -> None:
    head, theirs = parted.id(), parted.id("dev")
    result = parted.run("merge", "dev", "--keep-conflicts", "-m", "Take it")
    assert (result.code, result.stderr, result.stdout) == (1, "", KEPT)
    assert parted.id() == head
    assert parted.fails("merge", "--continue") == (
        f"Error: the merge of {theirs[:12]} has 2 open conflicts\n"
        "Hint: 'tvcs conflicts' lists them; decide them with 'tvcs resolve'\n"
    )
    assert parted.fails("commit", "-m", "x") == parted.fails("merge", "--continue")
    parted.ok("resolve", "--all", "--theirs")
    assert parted.ok("commit").startswith(f"[main {parted.short()}] Take it\n")
    parted.ok("undo")
    assert parted.ok("merge", "--continue") == (
        f"[main {parted.short()}] Take it\n"
        " labels | +1 -1 ~1\n"
        " 1 column changed: 1 sample added, 1 deleted, 1 modified\n"
    )
    assert parted.json("show", "HEAD")["parents"] == [head, theirs]
    assert parted.fails("merge", "--continue") == (
        "Error: no merge, cherry-pick or revert is in progress\n"
        "Hint: begin one that keeps its conflicts: tvcs merge REV --keep-conflicts\n"
    )
    parted.ok("undo")
    assert parted.json("status")["merge"] == {"verb": "merge", "theirs": theirs, "open": 0}
    document = parted.json("merge", "--continue", "-m", "Again")
    assert (document["branch"], document["commit"]["message"]) == ("main", "Again")
    assert parted.ok("verify").startswith("Sound: ")


def test_what_would_lose_a_merge_is_refused(parted: Shell) -> None:
    parted.run("merge", "dev", "--keep-conflicts")
    hint = "Hint: finish it with 'tvcs merge --continue', or give it up: tvcs merge --abort\n"
    for arguments, what in (
        (("merge", "dev"), "merge"), (("switch", "dev"), "switch branches"),
        (("switch", "-c", "new"), "switch branches"),
        (("cherry-pick", "dev"), "cherry-pick"), (("revert", "dev"), "revert"),
    ):  # fmt: skip
        assert parted.fails(*arguments) == f"Error: cannot {what}: a merge is in progress\n{hint}"
    assert parted.fails("commit", "--amend", "-m", "x").startswith("Error: cannot amend a commit")
    assert parted.fails("stash").startswith("Error: ")
    assert parted.json("status")["merge"]["open"] == 2
    # Another branch may be merged into all the same.
    parted.ok("merge", "main", "--into", "dev", "-s", "ours")
    assert parted.json("status")["merge"]["open"] == 2
    assert parted.ok("verify").startswith("Sound: ")


def test_giving_up(parted: Shell) -> None:
    theirs = parted.short("dev")
    for end in (("merge", "--abort"), ("reset",)):
        parted.run("merge", "dev", "--keep-conflicts")
        parted.ok("resolve", "labels", "a", "--theirs")
        assert parted.fails("cherry-pick", "--abort") == (
            "Error: no cherry-pick is in progress, but a merge\n"
            "Hint: 'tvcs merge --continue' records it, 'tvcs merge --abort' gives it up\n"
        )
        assert parted.fails("revert", "--continue").startswith("Error: no revert is in progress")
        said = parted.ok(*end)
        if end[0] != "reset":
            assert said == f"Gave up the merge of {theirs}; 'tvcs undo' brings it back\n"
        status = parted.json("status")
        assert (status["merge"], status["is_dirty"]) == (None, False)
        parted.ok("undo")
        assert parted.json("status")["merge"]["open"] == 1
        parted.ok("merge", "--abort")
    assert parted.json("merge", "dev", "-s", "ours")["has_moved"]


def test_conflicts_are_kept_in_the_current_branch_alone(parted: Shell) -> None:
    assert parted.fails("merge", "main", "--into", "dev", "--keep-conflicts") == (
        "Error: conflicts are kept in the staging area, which is of branch 'main'\n"
        "Hint: switch first: tvcs switch dev\n"
    )


def test_a_kept_merge_as_a_document(parted: Shell) -> None:
    result = parted.run("merge", "dev", "--keep-conflicts", "--json")
    assert (result.code, result.stderr) == (1, "")
    document = result.document
    assert (document["has_moved"], document["conflicts"]) == (False, [])
    assert document["open_conflicts"] == [
        {"column": "labels", "key": "a", "kind": "modify/modify"},
        {"column": "labels", "key": "b", "kind": "modify/delete"},
    ]
    assert document["columns"]["labels"]["added"] == 1
    assert parted.json("merge", "--abort") == {
        "branch": "main", "verb": "merge", "theirs": parted.id("dev"),
    }  # fmt: skip


def test_some_decided_and_some_kept(shell: Shell) -> None:
    for number, branch in enumerate(("main", "dev", "main")):
        if number:
            shell.ok("switch", *(["-c"] if number == 1 else []), branch)
        for column in ("x", "y"):
            shell.stage({"a": number}, column)
        shell.ok("commit", "-m", f"c{number}")
    result = shell.run("merge", "dev", "-s", "x=theirs", "--keep-conflicts")
    assert result.stdout.splitlines()[:4] == [
        "Merging dev into main: 1 conflict to decide",
        "1 conflict decided by strategy theirs",
        "COLUMN  KEY  CONFLICT (OURS/THEIRS)",
        "y       a    modify/modify",
    ]


def test_a_merge_in_progress_lives_in_another_process(parted: Shell) -> None:
    parted.run("merge", "dev", "--keep-conflicts")
    with parted.repository() as repo:
        merge = repo.merge_in_progress
        assert merge is not None
        assert [c.key for c in repo.conflicts] == ["a", "b"]
        with repo.edit(), pytest.raises(StagingLockedError):
            merge.resolve_all("ours")
        parted.ok("resolve", "labels", "a", "--theirs")
        assert [c.key for c in repo.conflicts] == ["b"]
        assert merge.resolve("labels", "b", "ours") == 0
        assert merge.finish().message == "Merge dev into main"
        assert (repo.merge_in_progress, list(repo.conflicts)) == (None, [])


def test_metadata_of_the_merge_commit(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("switch", "-c", "dev")
    shell.commit({"b": 2}, "Dev")
    shell.ok("switch", "main")
    document = shell.json("merge", "dev", "--no-ff", "--meta", "source=uni-3")
    assert document["commit"]["metadata"] == {"source": "uni-3"}
    assert "Meta:   source=uni-3\n" in shell.ok("show")
    assert shell.fails("merge", "--continue", "--meta", "a=b", code=2).startswith(
        "Error: --continue and --abort take no other option"
    )
    assert shell.fails("merge", "dev", "--meta", " =b").startswith("Error: the metadata name ' '")


def test_a_damaged_record_is_told(parted: Shell) -> None:
    parted.run("merge", "dev", "--keep-conflicts")
    with parted.repository() as repo:
        refs = repo._stores.refs
        refs.swap([RefChange(MERGE, refs.get(MERGE), b"merge nothing")])
    result = parted.run("verify")
    assert result.code == 1
    assert "merge in progress: the ref merge has a value that is none" in result.stdout
    assert parted.fails("status").startswith("Error: the ref merge has a value that is none")
    # It is no obstacle for going back.
    parted.ok("undo")
