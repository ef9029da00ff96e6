"""``tvcs tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_make_and_list(shell: Shell) -> None:
    assert shell.ok("tag") == ""
    first = shell.commit({"a": 1}, "First")
    second = shell.commit({"a": 2}, "Second")
    assert shell.ok("tag", "before", "main~1") == f"Made tag before at {first}\n"
    assert shell.ok("tag", "v1", "-m", "As used\nin the paper") == f"Made tag v1 at {second}\n"
    assert shell.ok("tag") == f"before  {first} First\nv1      {second} As used\n"
    assert shell.json("tag") == [
        {"name": "before", "commit": shell.id("before"), "message": None},
        {"name": "v1", "commit": shell.id("v1"), "message": "As used\nin the paper"},
    ]


def test_delete(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.ok("tag", "v1")
    assert shell.fails("tag", "v1") == f"Error: tag 'v1' exists already, at {first}\n"
    assert shell.ok("tag", "--delete", "v1") == f"Deleted tag v1, which was at {first}\n"
    assert shell.fails("tag", "-d", "v1") == (
        "Error: no tag 'v1'\nHint: 'tvcs tag' lists the tags\n"
    )


def test_refused(shell: Shell) -> None:
    assert shell.fails("tag", "v1") == (
        "Error: branch 'main' has no commits yet\n"
        "Hint: 'tvcs commit -m MESSAGE' records the first\n"
    )
    hint = "Hint: see 'tvcs tag --help'\n"
    cases = {
        ("-d", "-m", "x", "v1"): "--delete and --message exclude each other",
        ("-d",): "which tag? Give its name",
        ("a", "b", "c"): "expected at most a name and a revision, not 3 words",
    }
    for arguments, problem in cases.items():
        assert shell.fails("tag", *arguments, code=2) == f"Error: {problem}\n{hint}"
