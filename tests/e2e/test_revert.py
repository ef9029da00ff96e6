"""``tvcs revert``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell

BOB = "Bob <bob@uni-3.example>"


@pytest.fixture
def grown(shell: Shell) -> Shell:
    """A tag and four commits since, two of them by Bob, who also touched another column."""
    shell.commit({"a": 1, "b": 1}, "First")
    shell.ok("tag", "v1")
    shell.stage({"a": 2, "x": 2})
    shell.stage({"a": 2}, "scores")
    shell.ok("commit", "-m", "Bob 1", "--author", BOB)
    shell.commit({"b": 3}, "Ada 1")
    shell.stage({"c": 4})
    shell.ok("commit", "-m", "Bob 2", "--author", BOB)
    shell.commit({"d": 5}, "Ada 2")
    return shell


def test_one_commit(grown: Shell) -> None:
    head = grown.id()
    assert grown.ok("revert", "HEAD") == (
        f'[main {grown.short()}] Revert "Ada 2"\n'
        " labels | +0 -1 ~0\n"
        " 1 column changed: 0 samples added, 1 deleted, 0 modified\n"
    )
    document = grown.json("show", "HEAD")
    assert document["message"] == f'Revert "Ada 2"\n\nThis reverts commit {head}.'
    assert document["metadata"] == {"reverts": head}
    assert document["snapshot"] == grown.json("show", "HEAD~2")["snapshot"]
    grown.ok("revert", "HEAD")
    assert grown.json("show", "HEAD")["snapshot"] == grown.json("show", head)["snapshot"]


def test_pairs(grown: Shell) -> None:
    head = grown.id()
    grown.ok("revert", "HEAD", "--meta", "source=review")
    assert grown.json("show", "HEAD")["metadata"] == {"reverts": head, "source": "review"}


def test_one_contributor_on_one_column(grown: Shell) -> None:
    start, head = grown.id("v1"), grown.id()
    one, two = grown.short("HEAD~1"), grown.short("HEAD~3")
    assert grown.ok("revert", "v1..HEAD", "--author", "uni-3", "--column", "labels") == (
        f"[main {grown.short()}] Revert 2 commits of v1..HEAD by uni-3\n"
        " labels | +0 -2 ~1\n"
        " 1 column changed: 0 samples added, 2 deleted, 1 modified\n"
    )
    document = grown.json("show", "HEAD")
    assert document["message"] == (
        "Revert 2 commits of v1..HEAD by uni-3\n\n"
        f"- {one} Bob 2\n- {two} Bob 1\n\nOnly column labels."
    )
    assert document["metadata"] == {"reverts": f"{start}..{head}"}
    assert document["author"]["name"] == "Ada"
    with grown.repository() as repo:
        co = repo.checkout()
        labels = {key: int(value) for key, value in co["labels"].items()}
        assert labels == {"a": 1, "b": 3, "d": 5}
        assert list(co["scores"]) == ["a"]
    assert grown.fails("revert", "v1..HEAD~1", "--author", "uni-3", "--column", "labels") == (
        "Error: nothing that v1..HEAD~1 changed is left to take back (of column labels)\n"
        "Hint: 'tvcs diff REV HEAD' shows what differs\n"
    )


def test_each(grown: Shell) -> None:
    lines = grown.ok("revert", "v1..HEAD", "--author", "bob", "--each").splitlines()
    assert lines[:2] == [
        f'[main {grown.short("HEAD~1")}] Revert "Bob 2"', f'[main {grown.short()}] Revert "Bob 1"',
    ]  # fmt: skip
    grown.ok("undo")
    assert grown.json("log", "-n", "1")[0]["message"] == "Ada 2"


def test_conflicts_with_what_came_after(grown: Shell) -> None:
    grown.commit({"a": 9}, "Ada 3")
    result = grown.run("revert", "HEAD~4")
    assert (result.code, result.stdout) == (
        1, "COLUMN  KEY  CONFLICT (OURS/THEIRS)\nlabels  a    modify/modify\n",
    )  # fmt: skip
    grown.run("revert", "HEAD~4", "--keep-conflicts")
    assert grown.ok("conflicts").splitlines()[1:] == [
        "COLUMN  KEY  CONFLICT       BASE  OURS  THEIRS",
        "labels  a    modify/modify  2     9     1",
    ]
    assert grown.ok("status").splitlines()[2].startswith("In progress: revert of ")
    grown.ok("resolve", "labels", "a", "--ours")
    assert grown.ok("revert", "--continue").startswith(f'[main {grown.short()}] Revert "Bob 1"\n')
    with grown.repository() as repo:
        assert int(repo.checkout()["labels", "a"]) == 9


def test_what_is_kept_and_left_as_it_was(grown: Shell) -> None:
    grown.commit({"a": 9}, "Ada 3")
    grown.run("revert", "HEAD~4", "--keep-conflicts", "--key", "a", "--column", "labels")
    grown.ok("resolve", "--all", "--ours")
    assert grown.fails("revert", "--continue") == (
        "Error: nothing differs from branch 'main'\n"
        "Hint: nothing is left of it; give it up: tvcs merge --abort\n"
    )
    assert grown.ok("revert", "--abort").startswith("Gave up the revert of ")


def test_the_first_commit(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("revert", "HEAD")
    assert shell.json("column", "list") == []
    assert shell.fails("revert", "HEAD~1").startswith(
        "Error: nothing that HEAD~1 changed is left to take back\n"
    )


def test_before_the_first_commit(shell: Shell) -> None:
    assert shell.fails("revert", "HEAD").startswith("Error: branch 'main' has no commits yet\n")
