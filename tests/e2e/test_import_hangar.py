"""``tvcs import-hangar``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hangar_repositories import needs_hangar, write_story

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


@needs_hangar
def test_a_history_and_what_was_committed_since(shell: Shell) -> None:
    theirs = write_story("growing", shell.folder.parent / "theirs")
    assert shell.ok("import-hangar", "../theirs") == (
        "Imported 2 commits with 27 samples added or changed\n"
        "2 branches: b1, master\n"
        "\n"
        "You are on branch master; 'tvcs log --graph' shows its history.\n"
    )
    assert shell.ok("log", "--oneline") == (
        f"{shell.short()} (HEAD -> master, b1) Grow 1\n{shell.short('HEAD~1')} First\n"
    )
    with shell.repository() as repo:
        assert repo.resolve("HEAD").metadata == {"hangar-commit": theirs.branches["master"]}
    assert shell.ok("import-hangar", "../theirs") == (
        "There is nothing new to import\n2 commits were here already\n"
    )
    write_story("growing", shell.folder.parent / "theirs")
    assert shell.ok("import-hangar", "../theirs") == (
        "Imported 1 commit with 1 sample added or changed\n"
        "3 branches: b1, b2, master\n"
        "2 commits were here already\n"
        "\n"
        "You are on branch master; 'tvcs log --graph' shows its history.\n"
    )
    shell.ok("undo")
    assert (
        shell.ok("branch")
        == f"  b1      {shell.short('b1')} Grow 1\n* master  {shell.short()} Grow 1\n"
    )


@needs_hangar
def test_lost_values(shell: Shell) -> None:
    folder = shell.folder.parent / "theirs"
    write_story("lossy", folder)
    errors = shell.fails("import-hangar", "../theirs")
    assert errors.startswith("Error: ../theirs: column 'numbers', key 1: its data cannot be read: ")
    assert errors.endswith(
        "\nHint: fetch its data with 'hangar fetch-data', or leave such samples out with "
        "--allow-missing\n"
    )
    document = shell.json("import-hangar", "../theirs", "--allow-missing")
    missing = document.pop("missing")
    assert document == {
        "commits": 3,
        "samples": 4,
        "skipped": 0,
        "branches": {"master": shell.id("master")},
        "head": "master",
        "notes": [],
    }
    assert [(m["column"], m["key"]) for m in missing] == [
        ("numbers", 1), ("words", "elsewhere"), ("words", "lost"), ("parts", ["s", 1]),
        ("words", "changed"),
    ]  # fmt: skip
    shell.ok("undo")
    lines = shell.ok("import-hangar", "../theirs", "--allow-missing").splitlines()
    assert lines[:3] == [
        "Imported 3 commits with 4 samples added or changed",
        "1 branch: master",
        "Left out 5 samples without data:",
    ]
    with shell.repository() as repo:
        first = repo.resolve("HEAD~2").metadata["hangar-commit"][:14]
    assert f"  {first} words lost: Hangar has lost its data" in lines
    assert f"  {first} parts s[1]: Hangar has lost its data" in lines


def test_refused(shell: Shell) -> None:
    assert shell.fails("import-hangar", "nowhere") == ("Error: nowhere: there is no such folder\n")
    assert shell.fails("import-hangar", ".") == (
        "Error: .: it is no Hangar repository\nHint: name the folder that has '.hangar' in it\n"
    )
    assert shell.fails("import-hangar", code=2) == (
        "Error: Missing argument 'PATH'.\nHint: see 'tvcs import-hangar --help'\n"
    )
    hangar = shell.folder / "theirs" / ".hangar"
    hangar.mkdir(parents=True)
    (hangar / "branch.lmdb").write_bytes(b"")
    assert shell.fails("import-hangar", "theirs", "--python", "no-python") == (
        "Error: no-python: it cannot be run: No such file or directory\n"
        "Hint: name a Python interpreter that has the package 'hangar'\n"
    )


@needs_hangar
def test_a_repository_that_is_damaged(shell: Shell) -> None:
    hangar = shell.folder / "theirs" / ".hangar"
    hangar.mkdir(parents=True)
    (hangar / "branch.lmdb").write_bytes(b"no database")
    (hangar / "ref.lmdb").write_bytes(b"")
    errors = shell.fails("import-hangar", "theirs")
    assert errors.startswith(
        "Error: theirs: the process that reads it failed: it ended without an answer "
        "(exit status 1, said last: lmdb.Error: "
    )
    assert shell.ok("status", "--json")
