"""``tvcs diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


@pytest.fixture
def history(shell: Shell) -> Shell:
    """Three commits on main, one on dev beside the third, and a staged change."""
    shell.commit({"a": 1, "b": 2, 5: 5}, "First")
    shell.ok("tag", "v1")
    shell.commit({"a": 9, "b": None, "c": 3}, "Second")
    shell.ok("branch", "dev")
    shell.commit({"d": 4}, "Third")
    shell.ok("switch", "dev")
    shell.commit({"e": 5}, "On dev")
    shell.stage({5: 6})
    return shell


def test_staged(history: Shell) -> None:
    assert history.ok("diff") == "labels: +0 -0 ~1\n  ~ 5\n"


def test_staged_beyond_a_revision(history: Shell) -> None:
    assert history.ok("diff", "v1") == ("labels: +2 -1 ~2\n  ~ 5\n  ~ a\n  - b\n  + c\n  + e\n")


def test_two_revisions(history: Shell) -> None:
    expected = "labels: +2 -1 ~1\n  ~ a\n  - b\n  + c\n  + d\n"
    assert history.ok("diff", "v1", "main") == expected
    assert history.ok("diff", "v1..main") == expected
    assert history.ok("diff", "main", "main") == ""


def test_since_the_branches_parted(history: Shell) -> None:
    assert history.ok("diff", "main...dev") == "labels: +1 -0 ~0\n  + e\n"
    assert history.ok("diff", "main..dev") == "labels: +1 -1 ~0\n  - d\n  + e\n"
    assert history.ok("diff", "main...") == history.ok("diff", "main...HEAD")


def test_stat_and_names(history: Shell) -> None:
    assert history.ok("diff", "v1", "main", "--stat") == (
        " labels | +2 -1 ~1\n 1 column changed: 2 samples added, 1 deleted, 1 modified\n"
    )
    assert history.ok("diff", "v1", "main", "--names") == (
        "~\tlabels\ta\n-\tlabels\tb\n+\tlabels\tc\n+\tlabels\td\n"
    )


def test_json(history: Shell) -> None:
    counts = {"added": 2, "deleted": 1, "modified": 1, "schema": None}
    keys = {"added_keys": ["c", "d"], "deleted_keys": ["b"], "modified_keys": ["a"]}
    assert history.json("diff", "v1", "main") == {"columns": {"labels": {**counts, **keys}}}
    assert history.json("diff", "v1", "main", "--stat") == {"columns": {"labels": counts}}
    assert history.json("diff")["columns"]["labels"]["modified_keys"] == [5]


def test_one_column(history: Shell) -> None:
    history.stage({"x": 1}, column="other")
    assert history.ok("diff", "--column", "other") == (
        "other: +1 -0 ~0\n  (new column, int64 ())\n  + x\n"
    )
    assert history.fails("diff", "-c", "nope") == (
        "Error: neither version has a column 'nope'; there are: labels, other\n"
    )


def test_long_lists_are_cut(shell: Shell) -> None:
    shell.commit({f"k{number:02}": 0 for number in range(15)}, "First")
    shell.stage({f"k{number:02}": 1 for number in range(30)})
    lines = shell.ok("diff").splitlines()
    assert lines[0] == "labels: +15 -0 ~15"
    assert lines[1:16] == [f"  ~ k{number:02}" for number in range(15)]
    assert lines[16:] == [
        *(f"  + k{number:02}" for number in range(15, 20)),
        "  … and 10 more; --all lists them",
    ]
    assert len(shell.ok("diff", "--all").splitlines()) == 31
    assert len(shell.ok("diff", "--names").splitlines()) == 30


def test_subsamples_and_odd_keys(shell: Shell) -> None:
    with shell.repository() as repo, repo.edit() as staging:
        nested = staging.add_str_column("scans", nested=True)
        nested["scan"] = {"slice-3": "text", 4: "text"}
        texts = staging.add_str_column("texts")
        for key in ("7", "a\x1b[2J", " b"):
            texts[key] = "x"
    assert shell.ok("diff") == (
        "scans: +2 -0 ~0\n"
        "  (new column, nested str)\n"
        "  + scan[4]\n"
        "  + scan[slice-3]\n"
        "texts: +3 -0 ~0\n"
        "  (new column, str)\n"
        '  + " b"\n'
        '  + "7"\n'
        '  + "a\\u001b[2J"\n'
    )
    assert shell.json("diff")["columns"]["scans"]["added_keys"] == [
        ["scan", 4],
        ["scan", "slice-3"],
    ]


def test_schema_changes(shell: Shell) -> None:
    with shell.repository() as repo, repo.edit() as staging:
        staging.add_ndarray_column("a", (2,), "uint8")
        staging.add_str_column("b")
        staging.commit("First")
        del staging["a"]
        del staging["b"]
        staging.add_ndarray_column("a", (3,), "uint8")
    assert shell.ok("diff") == (
        "a: +0 -0 ~0\n  (schema uint8 (2) to uint8 (3))\nb: +0 -0 ~0\n  (column deleted)\n"
    )


def test_wrong_usage(history: Shell) -> None:
    assert history.fails("diff", "a", "b", "c", code=2).startswith(
        "Error: a diff has at most two revisions, not 3\n"
    )
    assert history.fails("diff", "--stat", "--names", code=2).startswith(
        "Error: --stat and --names exclude each other\n"
    )
    assert history.fails("diff", "nope") == (
        "Error: no branch, tag or commit is called 'nope'\n"
        "Hint: 'tvcs log', 'tvcs branch' and 'tvcs tag' list what there is\n"
    )
