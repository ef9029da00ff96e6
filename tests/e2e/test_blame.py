"""``tvcs blame``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.e2e.shell import TIME

if TYPE_CHECKING:
    from tests.e2e.shell import Shell

ADA = {"name": "Ada", "email": "ada@example.org"}
BOB = {"name": "Bob", "email": "bob@example.org"}


@pytest.fixture
def made(shell: Shell) -> tuple[str, str]:
    """Two commits: Ada's with a, 3 and b, and Bob's that changes b; their short ids."""
    first = shell.commit({"b": 1, "a": 1, 3: 1}, "First")
    shell.stage({"b": 2})
    shell.ok("commit", "-m", "Second", "--author", "Bob <bob@example.org>")
    return first, shell.short()


def test_a_line_for_each_sample(shell: Shell, made: tuple[str, str]) -> None:
    first, second = made
    assert shell.ok("blame", "labels") == (
        f"{first}  Ada  2026-01-02  3\n{first}  Ada  2026-01-02  a\n{second}  Bob  2026-01-02  b\n"
    )


def test_some_samples_of_a_revision(shell: Shell, made: tuple[str, str]) -> None:
    first, _ = made
    assert shell.ok("blame", "labels", "b", "3", "--revision", "HEAD~1") == (
        f"{first}  Ada  2026-01-02  3\n{first}  Ada  2026-01-02  b\n"
    )


def test_summary(shell: Shell, made: tuple[str, str]) -> None:
    first, second = made
    authors = (
        "2 authors\n"
        "        2   66.7%  Ada <ada@example.org>\n"
        "        1   33.3%  Bob <bob@example.org>\n"
    )
    commits = (
        "2 commits\n"
        f"        2   66.7%  {first}  Ada  2026-01-02  First\n"
        f"        1   33.3%  {second}  Bob  2026-01-02  Second\n"
    )
    assert shell.ok("blame", "labels", "--summary") == authors + commits
    assert shell.ok("blame", "labels", "--by", "author") == authors
    assert shell.ok("blame", "labels", "--by", "commit") == commits
    assert shell.ok("blame", "labels", "b", "--by", "author") == (
        "1 author\n        1  100.0%  Bob <bob@example.org>\n"
    )


def test_json(shell: Shell, made: tuple[str, str]) -> None:
    document = shell.json("blame", "labels", "a", "b")
    first, second = shell.id("HEAD~1"), shell.id()
    commits = document.pop("commits")
    assert document == {
        "column": "labels",
        "commit": second,
        "samples": [{"key": "a", "commit": first}, {"key": "b", "commit": second}],
        "authors": [{**ADA, "count": 1, "share": 0.5}, {**BOB, "count": 1, "share": 0.5}],
    }
    assert {(c["id"], c["time"], c["message"], c["count"], c["share"]) for c in commits} == {
        (first, TIME, "First", 1, 0.5),
        (second, TIME, "Second", 1, 0.5),
    }
    assert set(shell.json("blame", "labels", "--by", "author")) == {"column", "commit", "authors"}
    assert set(shell.json("blame", "labels", "--by", "commit")) == {"column", "commit", "commits"}
    assert "samples" not in shell.json("blame", "labels", "--summary")


def test_subsamples(shell: Shell) -> None:
    with shell.repository() as repo, repo.edit() as staging:
        scans = staging.add_ndarray_column("scans", (2,), "int64", nested=True)
        zeros = np.zeros(2, np.int64)
        scans["s"] = {1: zeros, "x": zeros}
        scans[4] = {1: zeros}
    shell.ok("commit", "-m", "First")
    short = shell.short()
    lines = {key: f"{short}  Ada  2026-01-02  {key}\n" for key in ("4[1]", "s[1]", "s[x]")}
    assert shell.ok("blame", "scans") == "".join(lines.values())
    assert shell.ok("blame", "scans", "s") == lines["s[1]"] + lines["s[x]"]
    assert shell.ok("blame", "scans", "s[x]", "4[1]") == lines["4[1]"] + lines["s[x]"]
    assert shell.json("blame", "scans", "s[x]")["samples"][0]["key"] == ["s", "x"]
    assert shell.fails("blame", "scans", "s[9]").startswith(
        "Error: column 'scans' has no sample ('s', 9)\n"
    )


def test_names_of_others_are_spelled_out(shell: Shell) -> None:
    shell.stage({"a": 1})
    shell.ok("commit", "-m", "First", "--author", "E\x07ve <eve@example.org>")
    assert shell.ok("blame", "labels") == f"{shell.short()}  E\\x07ve  2026-01-02  a\n"


def test_what_is_not_there(shell: Shell, made: tuple[str, str]) -> None:
    _, second = made
    assert shell.fails("blame", "masks") == (
        f"Error: no column 'masks' in commit {second}; there are: labels\n"
    )
    assert shell.fails("blame", "labels", "z", "a", "9") == (
        "Error: column 'labels' has no sample 9 and 1 more\n"
        "Hint: 'tvcs history labels KEY' shows the life of one that was deleted\n"
    )
    assert shell.fails("blame", "labels", "--revision", "nope").startswith("Error: no branch, tag")
    assert "Missing argument 'COLUMN'" in shell.fails("blame", code=2)
    assert "'who' is not one of 'author', 'commit'" in shell.fails(
        "blame", "labels", "--by", "who", code=2
    )
