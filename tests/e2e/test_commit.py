"""``tvcs commit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.shell import TIME

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_commit(shell: Shell) -> None:
    shell.stage({"a": 1, "b": 2})
    printed = shell.ok("commit", "-m", "First")
    assert printed == (
        f"[main {shell.short()}] First\n"
        " labels | +2 -0 ~0  new column, int64 ()\n"
        " 1 column changed: 2 samples added, 0 deleted, 0 modified\n"
    )


def test_paragraphs_metadata_author_and_time(shell: Shell) -> None:
    shell.stage({"a": 1})
    document = shell.json(
        *("commit", "-m", "First", "-m", "More", "--meta", "a=b=c", "--meta", "d="),
        *("--author", "Bob <bob@example.org>"),
    )
    assert document["branch"] == "main"
    assert document["message"] == "First\n\nMore"
    assert document["metadata"] == {"a": "b=c", "d": ""}
    assert document["author"] == {"name": "Bob", "email": "bob@example.org"}
    assert document["time"] == TIME
    assert document["columns"]["labels"]["added"] == 1


def test_the_same_again_has_the_same_id(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.ok("undo")
    shell.ok("commit", "-m", "First")
    assert shell.short() == first


def test_nothing_to_commit(shell: Shell) -> None:
    expected = (
        "Error: nothing differs from branch 'main'\n"
        "Hint: change a sample first; 'tvcs status' shows what is staged\n"
    )
    assert shell.fails("commit", "-m", "x") == expected
    shell.commit({"a": 1}, "First")
    assert shell.fails("commit", "-m", "x") == expected


def test_refused(shell: Shell) -> None:
    shell.stage({"a": 1})
    assert shell.fails("commit", "-m", " ") == "Error: a message cannot be empty\n"
    assert shell.fails("commit", "-m", "x", "--author", "Bob") == (
        "Error: 'Bob' is not of the form 'Name <mail>'\n"
    )
    assert shell.fails("commit", code=2) == (
        "Error: what was changed? Say it with -m\nHint: see 'tvcs commit --help'\n"
    )
    assert shell.fails("commit", "-m", "x", "--meta", "a", code=2) == (
        "Error: Invalid value for '--meta': 'a' is not of the form NAME=VALUE\n"
        "Hint: see 'tvcs commit --help'\n"
    )
    assert shell.fails("commit", "-m", "x", "--meta", "a=1", "--meta", "a=2", code=2).startswith(
        "Error: Invalid value for '--meta': 'a' is given twice\n"
    )
    assert shell.json("status")["is_dirty"]


def test_another_process_is_editing(shell: Shell) -> None:
    shell.stage({"a": 1})
    with shell.repository() as repo, repo.edit():
        errors = shell.fails("commit", "-m", "x")
        assert errors.startswith("Error: the working staging area is being edited by process ")
        assert "\nHint: wait until it is done" in errors
        assert shell.ok("column", "list") == "labels  int64 ()  1 sample\n"


def test_amend(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.stage({"b": 1})
    shell.ok("commit", "-m", "Second", "--author", "Bob <bob@example.org>", "--meta", "source=x")
    second = shell.short()
    shell.at("2026-01-03T00:00:00+01:00")
    shell.stage({"c": 1})
    assert shell.ok("commit", "--amend") == (
        f"[main {shell.short()}] Second\n"
        " labels | +2 -0 ~0\n"
        " 1 column changed: 2 samples added, 0 deleted, 0 modified\n"
    )
    document = shell.json("commit", "--amend", "-m", "Better", "--meta", "reviewed=yes")
    assert document["message"] == "Better"
    assert document["author"]["name"] == "Bob"
    assert document["committer"]["name"] == "Ada"
    assert document["time"] == TIME
    assert document["metadata"] == {"source": "x", "reviewed": "yes"}
    assert document["parents"] == [shell.id(first)]
    assert shell.short() not in (first, second)
    shell.ok("undo", "2")
    assert shell.short() == second
    assert shell.ok("diff") == "labels: +1 -0 ~0\n  + c\n"


def test_nothing_to_amend(shell: Shell) -> None:
    assert shell.fails("commit", "--amend", "-m", "x") == (
        "Error: branch 'main' has no commit yet that could be amended\n"
        "Hint: record the first one: tvcs commit -m MESSAGE\n"
    )
    first = shell.commit({"a": 1}, "First")
    assert shell.fails("commit", "--amend") == (
        f"Error: nothing to amend in {first}: nothing is staged\n"
        "Hint: change a sample first, or give another message\n"
    )
    shell.stage({"a": 2})
    with shell.repository() as repo, repo.transaction() as tx:
        tx["labels"]["b"] = 2
    assert shell.fails("commit", "--amend") == (
        f"Error: branch 'main' is at {shell.short()} now, and the staged changes were made over "
        f"{first}\n"
        "Hint: commit without amending: the changes are merged onto the branch\n"
    )
