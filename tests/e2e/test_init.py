"""``tvcs init``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_makes_a_repository_here(bare_shell: Shell) -> None:
    assert bare_shell.ok("init") == f"Made an empty repository in {bare_shell.folder}\n"
    assert (bare_shell.folder / ".tensorvcs").is_dir()
    assert bare_shell.json("config") == {}


def test_makes_the_folder_and_keeps_the_user(bare_shell: Shell) -> None:
    bare_shell.ok("init", "a/b", "--user-name", "Ada", "--user-email", "ada@example.org")
    bare_shell.go(bare_shell.folder / "a" / "b")
    assert bare_shell.json("config") == {"user.email": "ada@example.org", "user.name": "Ada"}


def test_path_is_relative_to_the_folder_of_the_repository_option(bare_shell: Shell) -> None:
    bare_shell.ok("-C", "a", "init", "b")
    assert (bare_shell.folder / "a" / "b" / ".tensorvcs").is_dir()


def test_bare(bare_shell: Shell) -> None:
    document = bare_shell.json("init", "--bare", "server")
    folder = bare_shell.folder / "server"
    assert document == {"path": str(folder), "is_bare": True, "branch": "main"}
    assert bare_shell.fails("-C", "server", "commit", "-m", "x") == (
        f"Error: the repository {folder} is bare: it has no staging area\n"
    )


def test_bare_in_the_current_folder_leaves_the_shell_where_it_is(bare_shell: Shell) -> None:
    before = bare_shell.folder.stat().st_ino
    bare_shell.ok("init", "--bare")
    assert bare_shell.folder.stat().st_ino == before
    assert bare_shell.ok("branch") == "* main  no commits yet\n"
    assert sorted(entry.name for entry in bare_shell.folder.iterdir()) == [
        "config.json",
        "format-copy.json",
        "format.json",
        "lmdb",
        "packs",
    ]


def test_there_is_one_already(shell: Shell) -> None:
    assert shell.fails("init") == (
        f"Error: {shell.folder} is the repository {shell.folder}\n"
        "Hint: open that one, or choose a folder outside of it\n"
    )
    assert shell.fails("init", "inside") == (
        f"Error: {shell.folder}/inside lies inside the repository {shell.folder}\n"
        "Hint: open that one, or choose a folder outside of it\n"
    )
    assert not (shell.folder / "inside").exists()


def test_half_an_identity(bare_shell: Shell) -> None:
    assert bare_shell.fails("init", "--user-name", "Ada", code=2) == (
        "Error: --user-name and --user-email go together\nHint: see 'tvcs init --help'\n"
    )
