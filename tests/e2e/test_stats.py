"""``tvcs stats``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_counts(shell: Shell) -> None:
    shell.commit({"a": 1, "b": 2}, "First")
    shell.ok("branch", "dev")
    shell.ok("tag", "v1")
    lines = shell.ok("stats").splitlines()
    rows = dict(line.split(maxsplit=1) for line in lines if line)
    assert rows["branch"] == "main"
    assert (rows["commits"], rows["branches"], rows["tags"]) == ("1", "2", "1")
    assert lines[-1] == "labels  int64 ()  2 samples"


def test_json(shell: Shell) -> None:
    shell.commit({"a": 1, "b": 2}, "First")
    document = shell.json("stats")
    assert document["commit_count"] == 1
    assert document["columns"] == {
        "labels": {
            "schema": "int64 ()",
            "sample_count": 2,
            "present_count": None,
            "version_count": None,
            "present_version_count": None,
        }
    }
    assert document["total_nbytes"] >= document["lmdb_nbytes"] > 0
