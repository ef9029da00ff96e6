"""``tvcs show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.shell import DATE, TIME

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_first_commit(shell: Shell) -> None:
    shell.commit({"a": 1}, "First\n\nMore text\n")
    assert shell.ok("show") == (
        f"commit {shell.id()} (HEAD -> main)\n"
        "Author: Ada <ada@example.org>\n"
        f"Date:   {DATE}\n"
        "\n"
        "    First\n"
        "\n"
        "    More text\n"
        "\n"
        " labels | +1 -0 ~0  new column, int64 ()\n"
        " 1 column changed: 1 sample added, 0 deleted, 0 modified\n"
    )


def test_revision_with_metadata(shell: Shell) -> None:
    shell.stage({"a": 1})
    shell.ok("commit", "-m", "First", "--meta", "source=camera", "--meta", "by=hand")
    shell.commit({"a": 2}, "Second")
    assert shell.ok("show", "main~1") == (
        f"commit {shell.id('main~1')}\n"
        "Author: Ada <ada@example.org>\n"
        f"Date:   {DATE}\n"
        "Meta:   by=hand\n"
        "Meta:   source=camera\n"
        "\n"
        "    First\n"
        "\n"
        " labels | +1 -0 ~0  new column, int64 ()\n"
        " 1 column changed: 1 sample added, 0 deleted, 0 modified\n"
    )


def test_tag_with_a_message(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("tag", "v1", "-m", "As used in the paper")
    lines = shell.ok("show", "v1").splitlines()
    assert lines[:4] == [
        "tag v1",
        "    As used in the paper",
        "",
        f"commit {shell.id()} (HEAD -> main, tag: v1)",
    ]


def test_merge(shell: Shell) -> None:
    shell.commit({"a": 1, "b": 1}, "First")
    shell.ok("switch", "-c", "dev")
    dev = shell.commit({"a": 2}, "Dev")
    shell.ok("switch", "main")
    main = shell.commit({"b": 2}, "Main")
    shell.ok("merge", "dev")
    assert shell.ok("show") == (
        f"commit {shell.id()} (HEAD -> main)\n"
        f"Merge:  {main} {dev}\n"
        "Author: Ada <ada@example.org>\n"
        f"Date:   {DATE}\n"
        "\n"
        "    Merge dev into main\n"
        "\n"
        " labels | +0 -0 ~1\n"
        " 1 column changed: 0 samples added, 0 deleted, 1 modified\n"
    )


def test_json(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.commit({"a": 2}, "Second")
    document = shell.json("show")
    snapshot = document.pop("snapshot")
    assert len(snapshot) == 64
    ada = {"name": "Ada", "email": "ada@example.org"}
    assert document == {
        "id": shell.id(),
        "parents": [shell.id("HEAD~1")],
        "author": ada,
        "committer": ada,
        "time": TIME,
        "message": "Second",
        "metadata": {},
        "columns": {"labels": {"added": 0, "deleted": 0, "modified": 1, "schema": None}},
    }


def test_control_characters_of_others_are_spelled_out(shell: Shell) -> None:
    shell.commit({"a": 1}, "First \x1b]0;title\x07")
    assert "    First \\x1b]0;title\\x07\n" in shell.ok("show")


def test_nothing_to_show(shell: Shell) -> None:
    assert shell.fails("show") == (
        "Error: branch 'main' has no commits yet\n"
        "Hint: 'tvcs commit -m MESSAGE' records the first\n"
    )
