"""``tvcs cherry-pick``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell

BOB = "Bob <bob@uni-3.example>"


@pytest.fixture
def parted(shell: Shell) -> Shell:
    """Three commits on dev, by two authors, and one on main that conflicts with one sample."""
    shell.commit({"a": 1, "b": 1}, "First")
    shell.ok("switch", "-c", "dev")
    shell.at("2026-01-03T00:00:00+00:00")
    shell.stage({"cat/1": 1, "cat/2": 1, 7: 1})
    shell.ok("commit", "-m", "Cats", "--author", BOB, "--meta", "source=camera")
    shell.commit({"a": 2}, "Relabel a")
    shell.stage({"dog/1": 1})
    shell.ok("commit", "-m", "Dogs", "--author", BOB)
    shell.ok("switch", "main")
    shell.at("2026-01-04T00:00:00+00:00")
    shell.commit({"a": 3}, "On main")
    return shell


def test_one_commit(parted: Shell) -> None:
    assert parted.ok("cherry-pick", "dev~2") == (
        f"[main {parted.short()}] Cats\n"
        " labels | +3 -0 ~0\n"
        " 1 column changed: 3 samples added, 0 deleted, 0 modified\n"
    )
    document = parted.json("show", "HEAD")
    assert document["author"]["name"] == "Bob"
    assert document["committer"]["name"] == "Ada"
    assert document["time"] == "2026-01-03T00:00:00+00:00"
    assert document["metadata"] == {
        "source": "camera", "cherry-picked-from": parted.id("dev~2"),
    }  # fmt: skip
    parted.ok("undo")
    assert parted.ok("log", "-n", "1", "--oneline").endswith(" On main\n")


def test_a_part(parted: Shell) -> None:
    assert parted.ok("cherry-pick", "dev~2", "--column", "labels", "--key", "cat/*") == (
        f"[main {parted.short()}] Cats\n"
        " labels | +2 -0 ~0\n"
        " 1 column changed: 2 samples added, 0 deleted, 0 modified\n"
    )
    assert parted.json("show", "HEAD")["message"] == "Cats\n\nOnly column labels; keys cat/*."
    parted.ok("cherry-pick", "dev~2", "-k", "5:10", "--message", "Seven", "--meta", "source=mine")
    document = parted.json("show", "HEAD")
    assert document["message"] == "Seven"
    assert document["metadata"]["source"] == "mine"


def test_a_range_by_author(parted: Shell) -> None:
    document = parted.json("cherry-pick", "main..dev", "--author", "uni-3")
    assert document["columns"]["labels"]["added"] == 4
    assert document["commit"]["message"] == (
        "Cherry-pick 2 commits of main..dev by uni-3\n\n"
        f"- {parted.short('dev')} Dogs\n- {parted.short('dev~2')} Cats"
    )
    assert (document["branch"], document["has_moved"]) == ("main", True)
    parted.ok("undo")
    assert parted.ok("cherry-pick", "main..dev", "--author", "uni-3", "--each") == (
        f"[main {parted.short('HEAD~1')}] Cats\n"
        f"[main {parted.short()}] Dogs\n"
        " labels | +4 -0 ~0\n"
        " 1 column changed: 4 samples added, 0 deleted, 0 modified\n"
    )


def test_staged_only(parted: Shell) -> None:
    assert parted.ok("cherry-pick", "dev~2", "-n") == (
        "Staged, to be recorded with 'tvcs commit'\n"
        " labels | +3 -0 ~0\n"
        " 1 column changed: 3 samples added, 0 deleted, 0 modified\n"
    )
    assert parted.fails("cherry-pick", "dev") == (
        "Error: cannot cherry-pick: the staging area has changes\n"
        "Hint: commit them, or drop them with 'tvcs reset'\n"
    )
    parted.ok("commit", "-m", "Mine")
    assert parted.json("show", "HEAD")["author"]["name"] == "Ada"


def test_conflicts(parted: Shell) -> None:
    before = parted.ok("op", "log")
    result = parted.run("cherry-pick", "dev~1")
    assert (result.code, result.stdout) == (
        1, "COLUMN  KEY  CONFLICT (OURS/THEIRS)\nlabels  a    modify/modify\n",
    )  # fmt: skip
    assert result.stderr == (
        f"Error: the cherry-pick of {parted.short('dev~1')} has 1 conflict with what is here; "
        "nothing was changed\n"
        "Hint: decide all with --strategy ours or --strategy theirs, or each with "
        "--keep-conflicts\n"
    )
    result = parted.run("cherry-pick", "dev~1", "--json")
    assert result.document == {
        "conflicts": [{"column": "labels", "key": "a", "kind": "modify/modify"}]
    }
    assert parted.ok("op", "log") == before
    parted.ok("cherry-pick", "dev~1", "--strategy", "labels=theirs")
    with parted.repository() as repo:
        assert int(repo.checkout()["labels", "a"]) == 2


def test_kept_conflicts(parted: Shell) -> None:
    result = parted.run("cherry-pick", "dev~1", "--keep-conflicts")
    assert (result.code, result.stderr) == (1, "")
    assert result.stdout == (
        "The cherry-pick of dev~1 onto main: 1 conflict to decide\n"
        "COLUMN  KEY  CONFLICT (OURS/THEIRS)\n"
        "labels  a    modify/modify\n"
        "Decide them with 'tvcs resolve' ('tvcs conflicts' shows the values), then "
        "'tvcs merge --continue'; 'tvcs merge --abort' gives up\n"
    )
    parted.ok("resolve", "labels", "a", "--theirs")
    assert parted.ok("cherry-pick", "--continue").startswith(f"[main {parted.short()}] Relabel a\n")
    assert len(parted.json("show", "HEAD")["parents"]) == 1
    parted.ok("undo")
    parted.ok("cherry-pick", "--abort")
    result = parted.run("cherry-pick", "dev~1", "--keep-conflicts", "--json")
    assert (result.code, result.document["has_moved"]) == (1, False)
    assert len(result.document["open_conflicts"]) == 1


def test_a_merge_commit_asks_for_its_parent(parted: Shell) -> None:
    parted.ok("merge", "dev", "-s", "ours")
    one, two = parted.short("HEAD^1"), parted.short("HEAD^2")
    parted.ok("switch", "-c", "other", "HEAD~1")
    assert parted.fails("cherry-pick", "main") == (
        f"Error: commit {parted.short('main')} is a merge of 2 parents (1 is {one}, 2 is {two}); "
        "its change depends on which one is kept\n"
        "Hint: name the parent to keep: --mainline 1, or mainline=1\n"
    )
    assert parted.ok("cherry-pick", "main", "-m", "1").splitlines()[1] == (" labels | +4 -0 ~0")
    assert parted.fails("cherry-pick", "main", "--mainline", "3").startswith(
        f"Error: commit {parted.short('main')} has no parent 3; it has 2\n"
    )


@pytest.mark.parametrize(("arguments", "problem"), [
    (("dev", "--key", "zz*"), "dev changes nothing of keys zz*"),
    (("dev", "--column", "nope"), "no column 'nope' in what is picked; there are: labels"),
    (("dev..dev",), "dev..dev has no commits that are no merges"),
    (("main..dev", "--author", "Eve"),
     "main..dev has no commits by 'Eve' that are no merges"),
    (("nope",), "no branch, tag or commit is called 'nope'"),
    (("a..b..c",), "range 'a..b..c' is not of the form A..B"),
    (("HEAD",), "all that HEAD changes is here already"),
])  # fmt: skip
def test_refused(parted: Shell, arguments: tuple[str, ...], problem: str) -> None:
    assert parted.fails("cherry-pick", *arguments).startswith(f"Error: {problem}\n")
    assert parted.short() == parted.short("main")


@pytest.mark.parametrize("command", ["cherry-pick", "revert"])
@pytest.mark.parametrize(("arguments", "problem"), [
    ((), "name a REV, or one of --continue and --abort"),
    (("dev", "--continue"), "name a REV, or one of --continue and --abort"),
    (("main..dev", "--each", "-n"), "--each and --no-commit exclude each other"),
    (("main..dev", "--each", "--keep-conflicts"),
     "--each and --keep-conflicts exclude each other"),
])  # fmt: skip
def test_wrong_usage(parted: Shell, command: str, arguments: tuple[str, ...], problem: str) -> None:
    assert parted.fails(command, *arguments, code=2) == (
        f"Error: {problem}\nHint: see 'tvcs {command} --help'\n"
    )


def test_a_bare_repository(bare_shell: Shell) -> None:
    shell = bare_shell
    shell.ok("init", "bare", "--bare", "--user-name", "Ada", "--user-email", "ada@example.org")
    shell.folder = shell.folder / "bare"
    shell.go(shell.folder)
    with shell.repository() as repo:
        for value in (1, 2):
            with repo.transaction("main", message=f"c{value}") as tx:
                if value == 1:
                    tx.add_ndarray_column("labels", (), "int64")
                tx["labels", "a"] = value
    assert shell.ok("revert", "HEAD").startswith(f'[main {shell.short()}] Revert "c2"\n')
    for option in ("-n", "--keep-conflicts"):
        assert shell.fails("revert", "HEAD", option).startswith("Error: the repository ")
